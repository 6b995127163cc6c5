// SPDX-License-Identifier: GPL-2.0-only
/* Hook `uplink` on devices without a link layer, as those of tunnels: packets begin with the IP header. */
#define LINK_LEN 0
#include "uplink.h"

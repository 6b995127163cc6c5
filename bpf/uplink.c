// SPDX-License-Identifier: GPL-2.0-only
/* Hook `uplink` on devices whose frames have Ethernet headers. */
#include "uplink.h"

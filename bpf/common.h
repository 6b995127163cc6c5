/* SPDX-License-Identifier: GPL-2.0-only */
/* What both families share. */
#ifndef SLUICE_COMMON_H
#define SLUICE_COMMON_H

#include "checksum.h"
#include "config.h"
#include "count.h"
#include "enter.h"
#include "family.h"
#include "ipv4/addr.h"
#include "ipv4/protocol.h"
#include "ipv6/addr.h"
#include "ipv6/protocol.h"
#include "limit.h"
#include "maps.h"
#include "ports.h"
#include "report.h"
#include "said.h"
#include "state.h"
#include "sum.h"
#include "uplinks.h"
#include "workspace.h"

#endif

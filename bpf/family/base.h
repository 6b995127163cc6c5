/* SPDX-License-Identifier: GPL-2.0-only */
/* What every hook does with a family's packets, in the order of their way. */
#include "packet.h"
#include "parse.h"
#if FAMILY == 4
#include "../ipv4/header.h"
#include "../ipv4/source_route.h"
#include "../ipv4/route.h"
#else
#include "../ipv6/header.h"
#include "../ipv6/route.h"
#endif
#include "key.h"
#include "tenured.h"
#include "halves.h"
#include "waiting.h"
#include "conntrack.h"
#include "fragment.h"
#include "rewrite.h"
#include "quote.h"
#if FAMILY == 4
#include "../ipv4/quote.h"
#include "../ipv4/answer.h"
#else
#include "../ipv6/quote.h"
#include "../ipv6/answer.h"
#endif
#include "related.h"
#include "answer.h"
#include "reset.h"
#include "route.h"
#include "leave.h"
#include "translate.h"
#include "ports.h"
#include "carried.h"
#include "open.h"
#include "snat.h"

/* SPDX-License-Identifier: GPL-2.0-only */
/* What functions say beside a verdict. */
#ifndef SLUICE_SAID_H
#define SLUICE_SAID_H

/* The packet is none of its business. */
#define NO_VERDICT (-1)

/* The packet has opened a flow: it has yet to be carried. */
#define OPENED (-2)

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Checks of a new release request: what it names, before anything changes. */
#ifndef CAPACITY_RELEASE_PLAN_H
#define CAPACITY_RELEASE_PLAN_H

#include "capacity/capacity_priv.h"

typedef struct ReleasePlan {
	DcDevice *dev;
	const ReleaseRequest *request;
	GPtrArray *extents; /* the Extent of each range */
	GArray *ranges;     /* DcRange, each inside one extent */
	uint64_t len;
} ReleasePlan;

/* Fills extents, ranges and len. Changes nothing else. */
bool release_plan_decide(ReleasePlan *plan, GError **error);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* What will be programmed where for a region, worked out before any register is touched. */
#ifndef DRIVER_REGION_PLAN_H
#define DRIVER_REGION_PLAN_H

#include "driver/driver_private.h"

#define PLAN_MAX_DEPTH 10
#define PLAN_MAX_USES  64

/* How a region passes one port */
typedef struct PortUse {
	Port *port;
	unsigned n_targets; /* = ways here */
	uint8_t target[CXL_DRIVER_MAX_WAYS];
	unsigned stride; /* granules after which this port's choice may change */
	uint32_t granularity;
} PortUse;

typedef struct RegionPlan {
	const CxlWindow *window;
	uint64_t hpa, len; /* whole region */
	uint64_t dpa;
	unsigned ways;
	uint32_t granularity;
	bool lock;
	CxlMemdev *memdevs[CXL_DRIVER_MAX_WAYS]; /* by position */
	PortUse uses[PLAN_MAX_USES];             /* host bridges first, then what hangs below */
	unsigned n_uses;
} RegionPlan;

/* Fills PLAN for SPEC and changes nothing. */
int region_plan(CxlDriver *driver, const CxlRegionSpec *spec, RegionPlan *plan);
unsigned port_depth(const Port *port); /* 0: host bridge */

#endif

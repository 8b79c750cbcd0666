/* SPDX-License-Identifier: BSD-3-Clause */
/* What an operator may ask of a device's extents, whatever their state. */
#ifndef CAPACITY_QUERY_H
#define CAPACITY_QUERY_H

#include "capacity/capacity.h"

typedef enum DcExtentState {
	DC_EXTENT_QUEUED,
	DC_EXTENT_OFFERED, /* in the host's event log */
	DC_EXTENT_ACCEPTED,
	DC_EXTENT_DRAINING,
	DC_EXTENT_QUARANTINED,
	DC_EXTENT_N_STATES
} DcExtentState;

const char *dc_extent_state_name(DcExtentState state);

/*
 * Every extent that is not accepted, of offers with an id above AFTER, offer by offer in the order
 * of their ids, until at least N have been shown. Returns the id of the last offer looked at, 0
 * when there are no more.
 */
typedef void (*DcExtentFunc)(const DcExtent *extent, DcExtentState state, void *opaque);
uint64_t dc_device_foreach_other(const DcDevice *dev, uint64_t after, size_t n, DcExtentFunc func,
				 void *opaque);

/* Bytes of a tag in a region, by state. */
void dc_device_tag_bytes(const DcDevice *dev, unsigned region, const Uuid *tag,
			 uint64_t ret_len[DC_EXTENT_N_STATES]);

#endif

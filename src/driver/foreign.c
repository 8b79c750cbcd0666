/* SPDX-License-Identifier: BSD-3-Clause */
/* Decoders somebody else committed on the way to a device: found, and taken back on demand. */
#include "driver/region_plan.h"

#include <errno.h>

/* Host bridge first, then switches, the endpoint last; returns their number. */
static unsigned blocks_on_path(const CxlMemdev *memdev, HdmBlock *blocks[PLAN_MAX_DEPTH + 1])
{
	unsigned depth = port_depth(memdev->port);
	unsigned n = depth + 2;

	if (n > PLAN_MAX_DEPTH + 1)
		return 0;
	for (Port *port = memdev->port; port; port = port->parent)
		blocks[port_depth(port)] = &port->hdm;
	blocks[n - 1] = (HdmBlock *)&memdev->hdm;
	return n;
}

static bool is_foreign(const HdmDecoder *decoder)
{
	return decoder->committed && !decoder->region;
}

bool cxl_memdev_find_foreign(const CxlMemdev *memdev, CxlForeignDecoder *ret_decoder)
{
	HdmBlock *blocks[PLAN_MAX_DEPTH + 1];
	unsigned n = blocks_on_path(memdev, blocks);

	for (unsigned i = 0; i < n; i++) {
		for (unsigned k = 0; k < blocks[i]->n_decoders; k++) {
			const HdmDecoder *decoder = &blocks[i]->decoders[k];

			if (!is_foreign(decoder))
				continue;
			*ret_decoder = (CxlForeignDecoder){
				.owner = blocks[i]->name,
				.index = k,
				.hpa = decoder->hpa,
				.len = decoder->len,
				.locked = decoder->locked,
			};
			return true;
		}
	}
	return false;
}

/* Decoders are let go in the reverse order of their commits: the first that must stay ends it. */
static int reset_block(HdmBlock *block, uint64_t hpa, uint64_t len)
{
	for (unsigned k = hdm_block_next(block); k > 0; k--) {
		const HdmDecoder *decoder = &block->decoders[k - 1];
		int err;

		if (!is_foreign(decoder) || decoder->hpa < hpa || decoder->len > len ||
		    decoder->hpa - hpa > len - decoder->len)
			return 0;
		err = hdm_block_reset(block, k - 1);
		if (err < 0)
			return err;
	}
	return 0;
}

int cxl_memdev_reset_foreign(CxlMemdev *memdev, uint64_t hpa, uint64_t len)
{
	HdmBlock *blocks[PLAN_MAX_DEPTH + 1];
	unsigned n = blocks_on_path(memdev, blocks);

	for (unsigned i = 0; i < n; i++) {
		int err = reset_block(blocks[i], hpa, len);

		if (err < 0)
			return err;
	}
	return 0;
}

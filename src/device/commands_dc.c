/* SPDX-License-Identifier: BSD-3-Clause */
/* Dynamic capacity commands: the wire side of what capacity/ decides (CXL 3.1 8.2.9.9.9). */
#include "device/cdat.h"
#include "device/command.h"

#include <string.h>

#define EXTENTS_AT_ONCE 32 /* copied from the list in steps of this */

/* 4800h */
static int get_dc_config(Cci *cci, MailboxCall *call)
{
	const CxlDcConfigIn *in = (const CxlDcConfigIn *)call->in;
	unsigned n_regions = dc_device_n_regions(cci->dc);
	uint32_t extents, extents_available, tags, tags_available;
	CxlDcConfigOut out = { .n_available = (uint8_t)n_regions };
	CxlDcConfigTail tail;
	uint8_t *end = call->out + sizeof(out);

	G_STATIC_ASSERT(sizeof(out) + DC_MAX_REGIONS * sizeof(CxlDcRegionConfig) + sizeof(tail) <=
			1u << MAILBOX_PAYLOAD_LOG2_MIN);
	if (in->start >= n_regions)
		return CXL_RC_INVALID_INPUT;
	out.n_returned = (uint8_t)MIN(in->n_regions, n_regions - in->start);
	for (unsigned i = 0; i < out.n_returned; i++) {
		const DcRegion *region = dc_device_region(cci->dc, in->start + i);
		CxlDcRegionConfig wire = {
			.base_dpa = le64_put(region->base),
			.decode_len = le64_put(region->config.len / CXL_CAPACITY_UNIT),
			.len = le64_put(region->config.len),
			.block_len = le64_put(region->config.block_size),
			.dsmad_handle = le32_put(cdat_dc_region_handle(in->start + i)),
			.flags = region->config.sanitize_on_release
					 ? CXL_DC_REGION_SANITIZE_ON_RELEASE
					 : 0,
		};

		memcpy(end, &wire, sizeof(wire));
		end += sizeof(wire);
	}
	dc_device_limits(cci->dc, &extents, &extents_available, &tags, &tags_available);
	tail.n_extents_supported = le32_put(extents);
	tail.n_extents_available = le32_put(extents_available);
	tail.n_tags_supported = le32_put(tags);
	tail.n_tags_available = le32_put(tags_available);
	memcpy(end, &tail, sizeof(tail));
	memcpy(call->out, &out, sizeof(out));
	call->out_len = (uint32_t)(end + sizeof(tail) - call->out);
	return CXL_RC_SUCCESS;
}

static uint32_t copy_extents(Cci *cci, uint32_t start, uint32_t n, uint8_t *ret_wire)
{
	DcExtent extents[EXTENTS_AT_ONCE];
	uint32_t n_copied = 0;

	while (n_copied < n) {
		size_t want = MIN(n - n_copied, EXTENTS_AT_ONCE);
		size_t got = dc_device_extents(cci->dc, start + n_copied, extents, want);

		for (size_t i = 0; i < got; i++) {
			CxlDcExtent wire = {
				.dpa = le64_put(extents[i].dpa),
				.len = le64_put(extents[i].len),
				.shared_seq = le16_put(extents[i].shared_seq),
			};

			memcpy(wire.tag, extents[i].tag.b, sizeof(wire.tag));
			memcpy(ret_wire, &wire, sizeof(wire));
			ret_wire += sizeof(wire);
		}
		n_copied += (uint32_t)got;
		if (got < want)
			break;
	}
	return n_copied;
}

/* 4801h: accepted extents, never pending ones */
static int get_dc_extent_list(Cci *cci, MailboxCall *call)
{
	const CxlDcExtentListIn *in = (const CxlDcExtentListIn *)call->in;
	uint32_t total = (uint32_t)dc_device_n_extents(cci->dc);
	uint32_t start = le32_get(in->start);
	uint32_t fit = (call->out_max - (uint32_t)sizeof(CxlDcExtentListOut)) /
		       (uint32_t)sizeof(CxlDcExtent);
	uint32_t n;
	CxlDcExtentListOut out = {
		.n_total = le32_put(total),
		.generation = le32_put(dc_device_generation(cci->dc)),
	};

	if (start > total)
		return CXL_RC_INVALID_INPUT;
	n = MIN(MIN(le32_get(in->n_extents), total - start), fit);
	n = copy_extents(cci, start, n, call->out + sizeof(out));
	out.n_returned = le32_put(n);
	memcpy(call->out, &out, sizeof(out));
	call->out_len = (uint32_t)(sizeof(out) + n * sizeof(CxlDcExtent));
	if (start + n == total) {
		dc_device_list_was_read(cci->dc);
		if (!cci->list_was_read) {
			cci->list_was_read = true;
			cci_state_changed(cci);
		}
	}
	return CXL_RC_SUCCESS;
}

/* ---- 4802h, 4803h: the same input; the core answers within a second ---- */

typedef void (*DcResponse)(DcDevice *dev, const DcRange *ranges, size_t n, bool more,
			   DcResponseDone done, void *opaque);

static void response_done(void *opaque, enum cxl_rc rc)
{
	mailbox_ticket_complete(opaque, rc);
}

/* Values of the ranges are the core's to judge; only their number is checked here. */
static int respond(Cci *cci, MailboxCall *call, DcResponse response)
{
	const CxlDcResponseHeader *in = (const CxlDcResponseHeader *)call->in;
	const CxlDcResponseEntry *entries = (const CxlDcResponseEntry *)(call->in + sizeof(*in));
	uint32_t n = le32_get(in->n_extents);

	if (n > (call->in_len - sizeof(*in)) / sizeof(*entries))
		return CXL_RC_INVALID_PAYLOAD_LENGTH;
	for (uint32_t i = 0; i < n; i++) {
		cci->dc_ranges[i].dpa = le64_get(entries[i].dpa);
		cci->dc_ranges[i].len = le64_get(entries[i].len);
	}
	response(cci->dc, cci->dc_ranges, n, in->flags & CXL_DC_RESPONSE_MORE, response_done,
		 mailbox_defer(cci->mailbox));
	return MAILBOX_PENDING;
}

static int add_dc_response(Cci *cci, MailboxCall *call)
{
	return respond(cci, call, dc_device_add_response);
}

static int release_dc(Cci *cci, MailboxCall *call)
{
	return respond(cci, call, dc_device_release_response);
}

#define EFFECTS_CAPACITY_CHANGES (CXL_EFFECT_CONFIG_NOW | CXL_EFFECT_DATA_NOW)

static const Command commands[] = {
	{ CXL_OP_GET_DC_CONFIG, 2, 2, 0, COMMAND_NEEDS_DC, "get-dc-config", get_dc_config },
	{ CXL_OP_GET_DC_EXTENT_LIST, 8, 8, 0, COMMAND_NEEDS_DC, "get-dc-extent-list",
	  get_dc_extent_list },
	{ CXL_OP_ADD_DC_RESPONSE, 8, COMMAND_VAR, EFFECTS_CAPACITY_CHANGES, COMMAND_NEEDS_DC,
	  "add-dc-response", add_dc_response },
	{ CXL_OP_RELEASE_DC, 8, COMMAND_VAR, EFFECTS_CAPACITY_CHANGES, COMMAND_NEEDS_DC,
	  "release-dc", release_dc },
};

const CommandSet command_set_dynamic_capacity = { commands, G_N_ELEMENTS(commands) };

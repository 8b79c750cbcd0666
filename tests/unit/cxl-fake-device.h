/* SPDX-License-Identifier: BSD-3-Clause */
/* What the fake CXL machine does: decoders, mailbox commands, DOE. */
#ifndef TESTS_CXL_FAKE_DEVICE_H
#define TESTS_CXL_FAKE_DEVICE_H

#include "cxl-fake-machine.h"

/* ---- decoders ---- */

static inline void fake_hdm_write(Fake *fake, FakeHdm *hdm, uint8_t *block, uint64_t offset,
				  uint32_t val)
{
	uint8_t *reg = block + offset;
	uint64_t at = offset - CXL_COMPONENT_CACHEMEM - FAKE_HDM;
	uint64_t n;
	uint32_t old;

	if (at < CXL_HDM_DECODER(0) || at >= 0x400) {
		if (at == CXL_HDM_CTRL)
			g_string_append_printf(fake->trace, "%s enable\n", hdm->name);
		put32(reg, val);
		return;
	}
	n = (at - CXL_HDM_DECODER(0)) / CXL_HDM_DECODER_STRIDE;
	old = le32_load(block + CXL_COMPONENT_CACHEMEM + FAKE_HDM + CXL_HDM_DEC_CTRL(n));
	g_string_append_printf(fake->trace, "%s %u+%02x %08x\n", hdm->name, (unsigned)n,
			       (unsigned)((at - CXL_HDM_DECODER(0)) % CXL_HDM_DECODER_STRIDE), val);
	if (at != CXL_HDM_DEC_CTRL(n)) {
		if (!(old & CXL_HDM_DEC_COMMITTED))
			put32(reg, val);
		return;
	}
	if (old & CXL_HDM_DEC_LOCK && old & CXL_HDM_DEC_COMMITTED)
		return;
	val &= ~(CXL_HDM_DEC_COMMITTED | CXL_HDM_DEC_ERROR);
	if (val & CXL_HDM_DEC_COMMIT && hdm->commit == FAKE_COMMIT_OK)
		val |= CXL_HDM_DEC_COMMITTED;
	else if (val & CXL_HDM_DEC_COMMIT && hdm->commit == FAKE_COMMIT_ERROR)
		val |= CXL_HDM_DEC_ERROR;
	else if (hdm->stuck)
		val |= old & CXL_HDM_DEC_COMMITTED;
	put32(reg, val);
}

/* Programs decoder N as firmware would. */
static inline void fake_hdm_preset(uint8_t *block, unsigned n, uint64_t hpa, uint64_t len,
				   uint32_t ctrl, uint64_t extra)
{
	uint8_t *hdm = block + CXL_COMPONENT_CACHEMEM + FAKE_HDM;

	le64_store(hdm + CXL_HDM_BASE_LO(n), hpa);
	le64_store(hdm + CXL_HDM_SIZE_LO(n), len);
	le64_store(hdm + CXL_HDM_TARGET_LO(n), extra);
	put32(hdm + CXL_HDM_DEC_CTRL(n), ctrl | CXL_HDM_DEC_COMMIT | CXL_HDM_DEC_COMMITTED);
}

/* ---- commands ---- */

static const uint8_t fake_cel_uuid[] = CXL_UUID_CEL;
static const uint16_t fake_cel[] = { 0x0100, 0x0101, 0x0102, 0x0103, 0x0301, 0x0400,
				     0x0401, 0x4000, 0x4800, 0x4801, 0x4802, 0x4803 };

static inline int fake_identity(uint16_t opcode, const uint8_t *in, uint8_t *out, uint32_t *out_len)
{
	switch (opcode) {
	case CXL_OP_GET_SUPPORTED_LOGS:
		memset(out, 0, 8);
		put16(out, 1);
		memcpy(out + 8, fake_cel_uuid, sizeof(fake_cel_uuid));
		put32(out + 24, sizeof(fake_cel) * 2);
		*out_len = 28;
		return 0;
	case CXL_OP_GET_LOG:
		for (uint32_t i = 0; i < le32_load(in + 20); i += 4) {
			put16(out + i, fake_cel[(le32_load(in + 16) + i) / 4]);
			put16(out + i + 2, CXL_EFFECT_LOG_NOW);
		}
		*out_len = le32_load(in + 20);
		return 0;
	case CXL_OP_SET_TIMESTAMP:
		return 0;
	default: { /* Identify */
		CxlIdentifyMemdevOut id = {
			.fw_revision = "fake 1",
			.total_capacity = le64_put(1),
			.volatile_capacity = le64_put(1),
		};

		memcpy(out, &id, sizeof(id));
		*out_len = sizeof(id);
		return 0;
	}
	}
}

static inline int fake_events(FakeEp *ep, uint16_t opcode, const uint8_t *in, uint8_t *out,
			      uint32_t *out_len)
{
	GArray *log = ep->log[in[0] % CXL_N_LOGS];
	guint room = ((1u << ep->payload_log2) - 0x20) / CXL_EVENT_RECORD_LEN;
	guint n = MIN(log->len, room);

	if (opcode == CXL_OP_GET_EVENT_RECORDS) {
		memset(out, 0, 0x20);
		out[0] = (uint8_t)((log->len > n ? CXL_EVENTS_MORE : 0) |
				   (ep->overflow ? CXL_EVENTS_OVERFLOW : 0));
		put16(out + 0x14, (uint16_t)n);
		if (n)
			memcpy(out + 0x20, log->data, n * CXL_EVENT_RECORD_LEN);
		*out_len = 0x20 + n * CXL_EVENT_RECORD_LEN;
		return 0;
	}
	for (guint i = 0; i < in[2]; i++) {
		if (log->len == 0 ||
		    le16_get(g_array_index(log, CxlEventRecord, 0).header.handle) !=
			    le16_load(in + 6 + 2 * i))
			return CXL_RC_INVALID_HANDLE;
		g_array_remove_index(log, 0);
	}
	ep->overflow = false;
	return 0;
}

static inline int fake_respond(FakeEp *ep, const uint8_t *in)
{
	const CxlDcResponseHeader *header = (const CxlDcResponseHeader *)in;
	const CxlDcResponseEntry *entry = (const CxlDcResponseEntry *)(in + sizeof(*header));

	if (!ep->response_open)
		g_array_set_size(ep->response, 0);
	ep->n_parts++;
	for (uint32_t i = 0; i < le32_get(header->n_extents); i++) {
		CxlDpaRange range = { le64_get(entry[i].dpa), le64_get(entry[i].len) };

		g_array_append_val(ep->response, range);
	}
	ep->response_open = header->flags & CXL_DC_RESPONSE_MORE;
	if (ep->n_responses < ep->n_script && ep->script[ep->n_responses])
		return ep->script[ep->n_responses++];
	if (ep->respond_rc) {
		ep->response_open = false;
		ep->n_responses++;
		return ep->respond_rc;
	}
	if (ep->response_open)
		return 0;
	ep->n_responses++;
	for (guint i = 0; i < ep->response->len; i++) {
		CxlDpaRange *range = &g_array_index(ep->response, CxlDpaRange, i);
		CxlDcExtent *found = NULL;

		for (guint k = 0; k < ep->offered->len && !found; k++) {
			CxlDcExtent *offered = &g_array_index(ep->offered, CxlDcExtent, k);

			if (le64_get(offered->dpa) == range->dpa)
				found = offered;
		}
		if (!found)
			return CXL_RC_INVALID_PA;
		g_array_append_val(ep->accepted, *found);
		ep->generation++;
	}
	return 0;
}

static inline int fake_release(FakeEp *ep, const uint8_t *in)
{
	const CxlDcResponseHeader *header = (const CxlDcResponseHeader *)in;
	const CxlDcResponseEntry *entry = (const CxlDcResponseEntry *)(in + sizeof(*header));

	ep->n_releases++;
	if (ep->release_rc)
		return ep->release_rc;
	for (uint32_t i = 0; i < le32_get(header->n_extents); i++) {
		CxlDpaRange range = { le64_get(entry[i].dpa), le64_get(entry[i].len) };

		g_array_append_val(ep->released, range);
		for (guint k = 0; k < ep->accepted->len; k++) {
			CxlDcExtent *held = &g_array_index(ep->accepted, CxlDcExtent, k);

			if (le64_get(held->dpa) != range.dpa)
				continue;
			if (le64_get(held->len) == range.len) {
				g_array_remove_index(ep->accepted, k);
			} else {
				held->dpa = le64_put(range.dpa + range.len);
				held->len = le64_put(le64_get(held->len) - range.len);
			}
			break;
		}
		ep->generation++;
	}
	return 0;
}

static inline int fake_capacity(FakeEp *ep, uint16_t opcode, const uint8_t *in, uint8_t *out,
				uint32_t *out_len)
{
	uint32_t n = 0;

	switch (opcode) {
	case CXL_OP_GET_DC_CONFIG: {
		CxlDcRegionConfig region = {
			.base_dpa = le64_put(256 * MIB + in[1] * 16 * GIB),
			.decode_len = le64_put(64),
			.len = le64_put(16 * GIB),
			.block_len = le64_put(FAKE_BLOCK),
			.dsmad_handle = le32_put(in[1] + 1u),
		};

		out[0] = (uint8_t)ep->n_dc_regions;
		out[1] = 1; /* one at a time: paging */
		memset(out + 2, 0, 6);
		memcpy(out + 8, &region, sizeof(region));
		memset(out + 48, 0, 16);
		put32(out + 48, 4096);
		*out_len = 64;
		return 0;
	}
	case CXL_OP_GET_DC_EXTENT_LIST: {
		uint32_t start = le32_load(in + 4);

		memset(out, 0, 16);
		if (start < ep->accepted->len)
			n = MIN(le32_load(in), ep->accepted->len - start);
		put32(out, n);
		put32(out + 4, ep->accepted->len);
		put32(out + 8, ep->generation);
		if (n)
			memcpy(out + 16, &g_array_index(ep->accepted, CxlDcExtent, start),
			       n * sizeof(CxlDcExtent));
		*out_len = 16 + n * (uint32_t)sizeof(CxlDcExtent);
		return 0;
	}
	case CXL_OP_ADD_DC_RESPONSE:
		return fake_respond(ep, in);
	default:
		return fake_release(ep, in);
	}
}

static inline int fake_default(FakeEp *ep, uint16_t opcode, const uint8_t *in, uint32_t in_len,
			       uint8_t *out, uint32_t *out_len)
{
	switch (opcode) {
	case CXL_OP_GET_SUPPORTED_LOGS:
	case CXL_OP_GET_LOG:
	case CXL_OP_SET_TIMESTAMP:
	case CXL_OP_IDENTIFY_MEMDEV:
		return fake_identity(opcode, in, out, out_len);
	case CXL_OP_GET_EVENT_INT_POLICY:
		memcpy(out, ep->policy, sizeof(ep->policy));
		*out_len = sizeof(ep->policy);
		return 0;
	case CXL_OP_SET_EVENT_INT_POLICY:
		for (uint32_t i = 0; i < in_len && i < CXL_N_LOGS; i++)
			ep->policy[i] = in[i] | 0x20;
		return 0;
	case CXL_OP_GET_EVENT_RECORDS:
	case CXL_OP_CLEAR_EVENT_RECORDS:
		return fake_events(ep, opcode, in, out, out_len);
	case CXL_OP_GET_DC_CONFIG:
	case CXL_OP_GET_DC_EXTENT_LIST:
	case CXL_OP_ADD_DC_RESPONSE:
	case CXL_OP_RELEASE_DC:
		return fake_capacity(ep, opcode, in, out, out_len);
	default:
		return CXL_RC_UNSUPPORTED;
	}
}

static inline void fake_doorbell(FakeEp *ep)
{
	uint8_t *mbox = ep->bar + FAKE_DEVICE + FAKE_MAILBOX;
	uint64_t cmd = le64_load(mbox + CXL_MBOX_CMD);
	uint16_t opcode = (uint16_t)cmd;
	uint32_t in_len = (uint32_t)CXL_FIELD_GET(CXL_MBOX_CMD_LEN, cmd);
	uint32_t out_len = 0;
	g_autofree uint8_t *in = g_memdup2(mbox + CXL_MBOX_PAYLOAD, 1u << ep->payload_log2);
	int rc = -1;

	g_array_append_val(ep->opcodes, opcode);
	put32(mbox + CXL_MBOX_CTRL, CXL_MBOX_CTRL_DOORBELL);
	if (ep->hang && ep->hang == opcode) {
		ep->done_at = UINT64_MAX;
		return;
	}
	if (ep->command)
		rc = ep->command(ep, opcode, in, in_len, mbox + CXL_MBOX_PAYLOAD, &out_len);
	if (rc < 0)
		rc = fake_default(ep, opcode, in, in_len, mbox + CXL_MBOX_PAYLOAD, &out_len);
	le64_store(mbox + CXL_MBOX_CMD, opcode | (uint64_t)out_len << 16);
	le64_store(mbox + CXL_MBOX_STATUS, (uint64_t)rc << 32);
	ep->done_at = ep->fake->now + ep->late_us;
	if (!ep->late_us)
		put32(mbox + CXL_MBOX_CTRL, 0);
}

/* ---- DOE ---- */

static inline void fake_doe_go(FakeEp *ep)
{
	uint32_t first = ep->doe_in[0];

	memset(ep->doe_out, 0, sizeof(ep->doe_out));
	ep->doe_pos = 0;
	ep->doe_n_in = 0;
	ep->doe_out[0] = first;
	if ((first & PCI_DOE_OBJECT_VENDOR) == PCI_VENDOR_PCISIG) {
		ep->doe_out[2] = (ep->doe_in[2] & 0xff) == 0
					 ? PCI_VENDOR_PCISIG | 1u << 24
					 : PCI_VENDOR_CXL | CXL_DOE_TYPE_CDAT << 16;
		ep->doe_n_out = 3;
	} else {
		guint handle = ep->doe_in[2] >> 16;
		GByteArray *entry = ep->cdat->pdata[MIN(handle, ep->cdat->len - 1)];
		uint32_t next = handle + 1 < ep->cdat->len ? handle + 1 : CXL_CDAT_DOE_LAST;

		ep->doe_out[2] = next << 16;
		memcpy(&ep->doe_out[3], entry->data, MIN(entry->len, 200));
		ep->doe_n_out = 3 + entry->len / 4;
	}
	ep->doe_out[1] = ep->doe_n_out;
}

static inline uint32_t fake_doe_read(FakeEp *ep, unsigned reg)
{
	if (reg == PCI_DOE_REG_STATUS)
		return ep->doe_pos < ep->doe_n_out ? PCI_DOE_STA_READY : 0;
	if (reg == PCI_DOE_REG_READ && ep->doe_pos < ep->doe_n_out)
		return ep->doe_out[ep->doe_pos];
	return 0;
}

static inline void fake_doe_write(FakeEp *ep, unsigned reg, uint32_t val)
{
	if (reg == PCI_DOE_REG_CTRL && val & PCI_DOE_CONTROL_ABORT)
		ep->doe_n_in = ep->doe_n_out = ep->doe_pos = 0;
	else if (reg == PCI_DOE_REG_CTRL && val & PCI_DOE_CONTROL_GO)
		fake_doe_go(ep);
	else if (reg == PCI_DOE_REG_WRITE && ep->doe_n_in < 8)
		ep->doe_in[ep->doe_n_in++] = val;
	else if (reg == PCI_DOE_REG_READ)
		ep->doe_pos++;
}

#endif

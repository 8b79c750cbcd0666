/* SPDX-License-Identifier: BSD-3-Clause */
/* A small CXL machine in memory for driver tests: bridges, root ports, endpoints that can lie. */
#ifndef TESTS_CXL_FAKE_H
#define TESTS_CXL_FAKE_H

#include "cxl/cdat.h"
#include "cxl/component.h"
#include "cxl/device.h"
#include "cxl/dvsec.h"
#include "cxl/pci.h"
#include "driver/cxl_driver.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#define FAKE_BRIDGES 4
#define FAKE_PORTS   16
#define FAKE_BAR_LEN 0x40000
#define FAKE_DEVICE  0x10000 /* device registers in BAR0 */
#define FAKE_STATUS  0x80
#define FAKE_MEMDEV  0x90
#define FAKE_MAILBOX 0x100
#define FAKE_HDM     0x40 /* in the cache/mem capability block, all components */
#define FAKE_DOE     0x200
#define FAKE_DVSEC   0x100
#define FAKE_WINDOW  (UINT64_C(0x80) << 32)
#define MIB          (UINT64_C(1) << 20)
#define GIB          (UINT64_C(1) << 30)
#define FAKE_BLOCK   (2 * MIB)

typedef struct Fake Fake;
typedef struct FakeEp FakeEp;

/* How the next commits of a decoder block end */
typedef enum FakeCommit {
	FAKE_COMMIT_OK,
	FAKE_COMMIT_ERROR,
	FAKE_COMMIT_NEVER,
} FakeCommit;

typedef struct FakeHdm {
	char name[16];
	FakeCommit commit;
	bool stuck; /* COMMITTED does not drop */
	unsigned late_polls;
} FakeHdm;

/* Answers a command: return code; *out_len is set. Falls through to the default if it returns -1.
 */
typedef int (*FakeCommand)(FakeEp *ep, uint16_t opcode, const uint8_t *in, uint32_t in_len,
			   uint8_t *out, uint32_t *out_len);

struct FakeEp {
	Fake *fake;
	bool present;
	uint8_t config[PCI_CONFIG_LEN];
	_Alignas(8) uint8_t bar[FAKE_BAR_LEN];
	FakeHdm hdm;
	unsigned payload_log2;
	bool map_payload;
	uint32_t shift_map; /* hand out a pointer that is off by this */
	bool dead;          /* reads all-ones */

	FakeCommand command;
	uint16_t hang; /* opcode that never completes, 0 = none */
	uint64_t late_us;
	uint64_t done_at;
	GArray *opcodes; /* uint16_t, as they came */

	/* DOE */
	GPtrArray *cdat; /* GByteArray per entry */
	uint32_t doe_in[8];
	unsigned doe_n_in;
	uint32_t doe_out[64];
	unsigned doe_n_out, doe_pos;

	/* events and dynamic capacity */
	GArray *log[CXL_N_LOGS]; /* CxlEventRecord */
	bool overflow;
	uint16_t next_handle;
	uint8_t policy[CXL_N_LOGS];
	GArray *offered;  /* CxlDcExtent: whatever was ever offered */
	GArray *accepted; /* CxlDcExtent */
	uint32_t generation;
	GArray *response; /* CxlDpaRange: of the last 4802h, all parts */
	bool response_open;
	unsigned n_responses, n_parts, n_releases;
	GArray *released; /* CxlDpaRange of all 4803h */
	int respond_rc, release_rc;
	unsigned n_dc_regions;
	bool sharable;
};

typedef struct FakePort {
	uint8_t config[PCI_CONFIG_LEN];
	FakeEp *ep;
} FakePort;

typedef struct FakeBridge {
	uint32_t uid;
	uint8_t bus_first, bus_last;
	unsigned n_ports;
	uint8_t chbcr[CXL_COMPONENT_LEN];
	FakeHdm hdm;
	FakePort port[FAKE_PORTS];
} FakeBridge;

struct Fake {
	uint64_t now;
	FakeBridge bridge[FAKE_BRIDGES];
	unsigned n_bridges;
	CxlWindow window[2];
	unsigned n_windows;
	CxlHostBridge host[FAKE_BRIDGES];
	GString *trace; /* decoder register writes */
	GString *log;
	unsigned n_access; /* of any kind, to see that loops end */
	CxlDriver *driver;
};

static inline void put16(uint8_t *at, uint16_t val)
{
	le16_store(at, val);
}

static inline void put32(uint8_t *at, uint32_t val)
{
	le32_store(at, val);
}

/* ---- building ---- */

static inline void fake_component(uint8_t *block, unsigned n_decoders, unsigned n_targets)
{
	uint8_t *cm = block + CXL_COMPONENT_CACHEMEM;

	put32(cm, CXL_CM_ARRAY_HEADER(n_decoders ? 2 : 0));
	if (!n_decoders)
		return;
	put32(cm + 4, CXL_CM_CAP_HEADER(CXL_CM_ID_RAS, CXL_CM_RAS_VERSION, 0x600));
	put32(cm + 8, CXL_CM_CAP_HEADER(CXL_CM_ID_HDM, CXL_CM_HDM_VERSION, FAKE_HDM));
	put32(cm + FAKE_HDM, (uint32_t)cxl_hdm_count_encode(n_decoders) | n_targets << 4 |
				     CXL_HDM_CAP_INTERLEAVE_11_8 | CXL_HDM_CAP_INTERLEAVE_14_12 |
				     CXL_HDM_CAP_WAYS_3_6_12 | CXL_HDM_CAP_WAYS_16);
}

/* A DVSEC with the next capability right behind it (0 = last) */
static inline unsigned fake_dvsec(uint8_t *config, unsigned at, uint16_t id, unsigned len,
				  unsigned next)
{
	put32(config + at, PCI_EXTCAP_HEADER(PCI_EXTCAP_DVSEC, PCI_DVSEC_VERSION, next));
	put32(config + at + 4, CXL_DVSEC_HEADER1(0, len));
	put16(config + at + 8, id);
	return at + len;
}

#define FAKE_DVSEC_DEVICE  0x100
#define FAKE_DVSEC_GPF     0x13c
#define FAKE_DVSEC_FLEX    0x14c
#define FAKE_DVSEC_LOCATOR 0x16c
#define FAKE_DSN           0x190

static inline void fake_ep_config(FakeEp *ep, uint64_t serial)
{
	uint8_t *c = ep->config;

	put16(c + PCI_CFG_VENDOR_ID, 0x1234);
	put16(c + PCI_CFG_DEVICE_ID, 0x5678);
	put32(c + PCI_CFG_REVISION, PCI_CLASS_CXL_MEMDEV << 8);
	put32(c + PCI_CFG_BAR(0), PCI_BAR_MEM_64);
	fake_dvsec(c, FAKE_DVSEC_DEVICE, CXL_DVSEC_ID_DEVICE, 0x3c, FAKE_DVSEC_GPF);
	put16(c + FAKE_DVSEC_DEVICE + 0x0a, 0x1e);
	put32(c + FAKE_DVSEC_DEVICE + 0x1c, CXL_DVSEC_RANGE_VALID | CXL_DVSEC_RANGE_ACTIVE);
	fake_dvsec(c, FAKE_DVSEC_GPF, CXL_DVSEC_ID_GPF_DEVICE, 0x10, FAKE_DVSEC_FLEX);
	fake_dvsec(c, FAKE_DVSEC_FLEX, CXL_DVSEC_ID_FLEX_BUS, 0x20, FAKE_DVSEC_LOCATOR);
	fake_dvsec(c, FAKE_DVSEC_LOCATOR, CXL_DVSEC_ID_REGISTER_LOCATOR, CXL_DVSEC_LOCATOR_LEN(2),
		   FAKE_DSN);
	put32(c + FAKE_DVSEC_LOCATOR + CXL_DVSEC_LOCATOR_ENTRY(0),
	      CXL_LOCATOR_LO(0, CXL_LOCATOR_ID_COMPONENT, 0));
	put32(c + FAKE_DVSEC_LOCATOR + CXL_DVSEC_LOCATOR_ENTRY(1),
	      CXL_LOCATOR_LO(0, CXL_LOCATOR_ID_DEVICE, FAKE_DEVICE));
	put32(c + FAKE_DSN, PCI_EXTCAP_HEADER(PCI_EXTCAP_DSN, PCI_DSN_VERSION, FAKE_DOE));
	put32(c + FAKE_DSN + PCI_DSN_LO, (uint32_t)serial);
	put32(c + FAKE_DSN + PCI_DSN_HI, (uint32_t)(serial >> 32));
	put32(c + FAKE_DOE, PCI_EXTCAP_HEADER(PCI_EXTCAP_DOE, PCI_DOE_VERSION, 0));
}

static inline void fake_dev_cap(FakeEp *ep, unsigned n, uint16_t id, uint32_t offset, uint32_t len)
{
	uint8_t *at = ep->bar + FAKE_DEVICE + CXL_DEV_CAP_HEADER(n);

	put16(at, id);
	at[2] = 1;
	put32(at + 4, offset);
	put32(at + 8, len);
}

static inline void fake_set_payload(FakeEp *ep, unsigned log2_len)
{
	ep->payload_log2 = log2_len;
	put32(ep->bar + FAKE_DEVICE + FAKE_MAILBOX + CXL_MBOX_CAPS, log2_len);
	fake_dev_cap(ep, 1, CXL_DEV_CAP_ID_MAILBOX, FAKE_MAILBOX, CXL_MBOX_LEN(1u << log2_len));
}

static inline void fake_cdat_add(FakeEp *ep, const void *entry, guint len)
{
	g_ptr_array_add(ep->cdat, g_byte_array_append(g_byte_array_new(), entry, len));
}

/* Makes entry 0 right for the entries there are. */
static inline void fake_cdat_seal(FakeEp *ep)
{
	CxlCdatHeader header = { .revision = CXL_CDAT_REVISION };
	GByteArray *first = ep->cdat->pdata[0];
	guint len = sizeof(header);
	uint8_t sum = 0;

	for (guint i = 1; i < ep->cdat->len; i++) {
		GByteArray *entry = ep->cdat->pdata[i];

		len += entry->len;
		for (guint k = 0; k < entry->len; k++)
			sum = (uint8_t)(sum + entry->data[k]);
	}
	header.len = le32_put(len);
	for (guint k = 0; k < sizeof(header); k++)
		sum = (uint8_t)(sum + ((uint8_t *)&header)[k]);
	header.checksum = (uint8_t)(0u - sum);
	memcpy(first->data, &header, sizeof(header));
}

static inline void fake_byte_array_free(gpointer array)
{
	g_byte_array_unref(array);
}

static inline FakeEp *fake_ep_new(Fake *fake, uint64_t serial)
{
	FakeEp *ep = g_new0(FakeEp, 1);
	uint8_t *dev = ep->bar + FAKE_DEVICE;
	CxlCdatHeader header = { 0 };
	CxlCdatDsmas ram = {
		.entry = { .type = CXL_CDAT_TYPE_DSMAS, .len = le16_put(sizeof(ram)) },
		.len = le64_put(256 * MIB),
	};
	CxlCdatDsmas dc = {
		.entry = { .type = CXL_CDAT_TYPE_DSMAS, .len = le16_put(sizeof(dc)) },
		.handle = 1,
		.flags = CXL_DSMAS_DYNAMIC_CAPACITY,
		.dpa = le64_put(256 * MIB),
		.len = le64_put(16 * GIB),
	};
	CxlCdatDslbis latency = {
		.entry = { .type = CXL_CDAT_TYPE_DSLBIS, .len = le16_put(sizeof(latency)) },
		.handle = 1,
		.data_type = CXL_CDAT_DATA_READ_LATENCY,
		.base_unit = le64_put(1000),
		.value = { le16_put(150) },
	};

	ep->fake = fake;
	ep->present = true;
	ep->map_payload = true;
	ep->n_dc_regions = 1;
	fake_ep_config(ep, serial);
	fake_component(ep->bar, 4, 0);
	put32(dev + 4, 3); /* three capabilities */
	fake_dev_cap(ep, 0, CXL_DEV_CAP_ID_STATUS, FAKE_STATUS, 8);
	fake_dev_cap(ep, 2, CXL_DEV_CAP_ID_MEMDEV_STATUS, FAKE_MEMDEV, 8);
	fake_set_payload(ep, 12);
	le64_store(dev + FAKE_MEMDEV, CXL_MEMDEV_STATUS_IDLE);
	ep->opcodes = g_array_new(FALSE, FALSE, sizeof(uint16_t));
	ep->cdat = g_ptr_array_new_with_free_func(fake_byte_array_free);
	fake_cdat_add(ep, &header, sizeof(header));
	fake_cdat_add(ep, &ram, sizeof(ram));
	fake_cdat_add(ep, &dc, sizeof(dc));
	fake_cdat_add(ep, &latency, sizeof(latency));
	fake_cdat_seal(ep);
	for (unsigned i = 0; i < CXL_N_LOGS; i++)
		ep->log[i] = g_array_new(FALSE, FALSE, sizeof(CxlEventRecord));
	ep->next_handle = 1;
	ep->offered = g_array_new(FALSE, FALSE, sizeof(CxlDcExtent));
	ep->accepted = g_array_new(FALSE, FALSE, sizeof(CxlDcExtent));
	ep->response = g_array_new(FALSE, FALSE, sizeof(CxlDpaRange));
	ep->released = g_array_new(FALSE, FALSE, sizeof(CxlDpaRange));
	return ep;
}

static inline void fake_ep_free(FakeEp *ep)
{
	if (!ep)
		return;
	g_array_unref(ep->opcodes);
	g_ptr_array_unref(ep->cdat);
	for (unsigned i = 0; i < CXL_N_LOGS; i++)
		g_array_unref(ep->log[i]);
	g_array_unref(ep->offered);
	g_array_unref(ep->accepted);
	g_array_unref(ep->response);
	g_array_unref(ep->released);
	g_free(ep);
}

/* Marks the DC region's DSMAS sharable. */
static inline void fake_set_sharable(FakeEp *ep)
{
	GByteArray *entry = ep->cdat->pdata[2];

	((CxlCdatDsmas *)entry->data)->flags |= CXL_DSMAS_SHAREABLE;
	fake_cdat_seal(ep);
}

static inline Fake *fake_new(unsigned n_bridges, unsigned n_ports)
{
	Fake *fake = g_new0(Fake, 1);

	fake->trace = g_string_new(NULL);
	fake->log = g_string_new(NULL);
	fake->n_bridges = n_bridges;
	for (unsigned b = 0; b < n_bridges; b++) {
		FakeBridge *bridge = &fake->bridge[b];

		bridge->uid = b + 1;
		bridge->bus_first = (uint8_t)(b * 0x20);
		bridge->bus_last = (uint8_t)(b * 0x20 + 0x1f);
		bridge->n_ports = n_ports;
		fake_component(bridge->chbcr, 4, 8);
		g_snprintf(bridge->hdm.name, sizeof(bridge->hdm.name), "hb%u", bridge->uid);
		fake->host[b] = (CxlHostBridge){ bridge->uid, bridge->bus_first, bridge->bus_last };
		for (unsigned p = 0; p < n_ports; p++) {
			uint8_t *c = bridge->port[p].config;

			put16(c + PCI_CFG_VENDOR_ID, 0x1234);
			c[PCI_CFG_HEADER_TYPE] = PCI_HDR_TYPE_1;
			put32(c + PCI_CFG_REVISION, PCI_CLASS_BRIDGE << 8);
			put16(c + PCI_CFG_STATUS, PCI_STA_CAP_LIST);
			c[PCI_CFG_CAP_PTR] = 0x40;
			put16(c + 0x40, PCI_CAP_PCIE);
			put16(c + 0x42, PCI_PCIE_TYPE_ROOT_PORT << 4 | 2);
			put32(c + 0x40 + PCI_PCIE_LNKCAP, (p + 10) << 24);
		}
	}
	fake->n_windows = 1;
	fake->window[0] = (CxlWindow){
		.hpa = FAKE_WINDOW,
		.len = 64 * GIB,
		.ways = 1,
		.granularity = 256,
		.restrictions = 6,
		.targets = { 1 },
	};
	return fake;
}

static inline FakeEp *fake_plug(Fake *fake, unsigned b, unsigned p)
{
	FakeEp *ep = fake_ep_new(fake, 0x1000 + b * 0x10 + p);

	g_snprintf(ep->hdm.name, sizeof(ep->hdm.name), "ep%u.%u", b + 1, p);
	fake->bridge[b].port[p].ep = ep;
	return ep;
}

static inline void fake_free(Fake *fake)
{
	cxl_driver_free(fake->driver);
	for (unsigned b = 0; b < FAKE_BRIDGES; b++) {
		for (unsigned p = 0; p < FAKE_PORTS; p++)
			fake_ep_free(fake->bridge[b].port[p].ep);
	}
	g_string_free(fake->trace, TRUE);
	g_string_free(fake->log, TRUE);
	g_free(fake);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Fake, fake_free)

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

/* ---- the bus ---- */

static inline uint8_t *fake_config(Fake *fake, uint32_t bdf, FakeEp **ret_ep)
{
	uint8_t bus = (uint8_t)(bdf >> 8);
	unsigned dev = bdf >> 3 & 0x1f;

	*ret_ep = NULL;
	if (bdf & 7)
		return NULL;
	for (unsigned b = 0; b < fake->n_bridges; b++) {
		FakeBridge *bridge = &fake->bridge[b];

		if (bus == bridge->bus_first)
			return dev < bridge->n_ports ? bridge->port[dev].config : NULL;
		for (unsigned p = 0; p < bridge->n_ports && dev == 0; p++) {
			FakePort *port = &bridge->port[p];

			if (port->ep && port->ep->present &&
			    port->config[PCI_CFG1_SECONDARY_BUS] == bus) {
				*ret_ep = port->ep;
				return port->ep->config;
			}
		}
	}
	return NULL;
}

static inline int fake_config_read(void *opaque, uint32_t bdf, uint32_t offset, void *buf,
				   uint32_t len)
{
	Fake *fake = opaque;
	FakeEp *ep;
	uint8_t *config = fake_config(fake, bdf, &ep);

	fake->n_access++;
	g_assert_cmpuint(offset + len, <=, PCI_CONFIG_LEN);
	g_assert_cmpuint(offset % len, ==, 0);
	if (!config || (ep && ep->dead)) {
		memset(buf, 0xff, len);
		return config ? 0 : -ENODEV;
	}
	memcpy(buf, config + offset, len);
	if (ep && offset > FAKE_DOE && offset < FAKE_DOE + PCI_DOE_LEN)
		le32_store(buf, fake_doe_read(ep, offset - FAKE_DOE));
	return 0;
}

static inline int fake_config_write(void *opaque, uint32_t bdf, uint32_t offset, const void *buf,
				    uint32_t len)
{
	Fake *fake = opaque;
	FakeEp *ep;
	uint8_t *config = fake_config(fake, bdf, &ep);

	fake->n_access++;
	g_assert_cmpuint(offset + len, <=, PCI_CONFIG_LEN);
	if (!config)
		return -ENODEV;
	if (ep && offset > FAKE_DOE && offset < FAKE_DOE + PCI_DOE_LEN) {
		fake_doe_write(ep, offset - FAKE_DOE, le32_load(buf));
		return 0;
	}
	memcpy(config + offset, buf, len);
	if (ep && offset == PCI_CFG_BAR(0))
		put32(config + offset,
		      (le32_load(buf) & ~(uint32_t)(FAKE_BAR_LEN - 1)) | PCI_BAR_MEM_64);
	else if (ep && offset >= PCI_CFG_BAR(2) && offset <= PCI_CFG_BAR(5))
		put32(config + offset, 0);
	return 0;
}

static inline uint32_t fake_event_status(FakeEp *ep)
{
	uint32_t status = 0;

	for (unsigned i = 0; i < CXL_N_LOGS; i++)
		status |= ep->log[i]->len ? CXL_BIT(i) : 0;
	return status;
}

static inline int fake_bar_read(void *opaque, uint32_t bdf, unsigned bar, uint64_t offset,
				void *buf, uint32_t len)
{
	Fake *fake = opaque;
	FakeEp *ep;

	fake->n_access++;
	fake_config(fake, bdf, &ep);
	g_assert_nonnull(ep);
	g_assert_cmpuint(bar, ==, 0);
	g_assert_cmpuint(offset + len, <=, FAKE_BAR_LEN);
	g_assert_cmpuint(len, <=, 8);
	if (ep->dead) {
		memset(buf, 0xff, len);
		return 0;
	}
	if (ep->done_at && fake->now >= ep->done_at && ep->done_at != UINT64_MAX) {
		put32(ep->bar + FAKE_DEVICE + FAKE_MAILBOX + CXL_MBOX_CTRL, 0);
		ep->done_at = 0;
	}
	memcpy(buf, ep->bar + offset, len);
	if (offset == FAKE_DEVICE + FAKE_STATUS)
		le32_store(buf, fake_event_status(ep));
	return 0;
}

static inline int fake_bar_write(void *opaque, uint32_t bdf, unsigned bar, uint64_t offset,
				 const void *buf, uint32_t len)
{
	Fake *fake = opaque;
	FakeEp *ep;

	fake->n_access++;
	fake_config(fake, bdf, &ep);
	g_assert_nonnull(ep);
	g_assert_cmpuint(bar, ==, 0);
	g_assert_cmpuint(offset + len, <=, FAKE_BAR_LEN);
	g_assert_cmpuint(len, <=, 8);
	if (offset < CXL_COMPONENT_LEN) {
		g_assert_cmpuint(len, ==, 4);
		fake_hdm_write(fake, &ep->hdm, ep->bar, offset, le32_load(buf));
		return 0;
	}
	if (offset == FAKE_DEVICE + FAKE_MAILBOX + CXL_MBOX_CTRL) {
		if (le32_load(buf) & CXL_MBOX_CTRL_DOORBELL)
			fake_doorbell(ep);
		return 0;
	}
	memcpy(ep->bar + offset, buf, len);
	return 0;
}

static inline void *fake_bar_map(void *opaque, uint32_t bdf, unsigned bar, uint64_t offset,
				 uint64_t len)
{
	Fake *fake = opaque;
	FakeEp *ep;

	fake_config(fake, bdf, &ep);
	g_assert_cmpuint(offset + len, <=, FAKE_BAR_LEN);
	return ep->map_payload ? ep->bar + offset + ep->shift_map : NULL;
}

static inline FakeBridge *fake_find_bridge(Fake *fake, uint32_t uid)
{
	for (unsigned b = 0; b < fake->n_bridges; b++) {
		if (fake->bridge[b].uid == uid)
			return &fake->bridge[b];
	}
	g_assert_not_reached();
}

static inline int fake_chbcr_read(void *opaque, uint32_t uid, uint32_t offset, void *buf,
				  uint32_t len)
{
	Fake *fake = opaque;

	fake->n_access++;
	memcpy(buf, fake_find_bridge(fake, uid)->chbcr + offset, len);
	return 0;
}

static inline int fake_chbcr_write(void *opaque, uint32_t uid, uint32_t offset, const void *buf,
				   uint32_t len)
{
	Fake *fake = opaque;
	FakeBridge *bridge = fake_find_bridge(fake, uid);

	g_assert_cmpuint(len, ==, 4);
	fake_hdm_write(fake, &bridge->hdm, bridge->chbcr, offset, le32_load(buf));
	return 0;
}

static inline uint64_t fake_now(void *opaque)
{
	return ++((Fake *)opaque)->now;
}

static inline void fake_sleep(void *opaque, uint64_t us)
{
	((Fake *)opaque)->now += us;
}

static inline void fake_log(void *opaque, const char *line)
{
	g_string_append_printf(((Fake *)opaque)->log, "%s\n", line);
	g_test_message("%s", line);
}

static const CxlBus fake_bus = {
	.config_read = fake_config_read,
	.config_write = fake_config_write,
	.bar_read = fake_bar_read,
	.bar_write = fake_bar_write,
	.bar_map = fake_bar_map,
	.chbcr_read = fake_chbcr_read,
	.chbcr_write = fake_chbcr_write,
	.now_us = fake_now,
	.sleep_us = fake_sleep,
	.log = fake_log,
};

/* Creates the driver over the machine and enumerates: number of devices or -errno. */
static inline int fake_start(Fake *fake, const CxlDriverOptions *options)
{
	CxlPlatform platform = {
		.windows = fake->window,
		.n_windows = fake->n_windows,
		.bridges = fake->host,
		.n_bridges = fake->n_bridges,
		.assign_buses = true,
	};

	fake->driver = cxl_driver_new(&fake_bus, fake, &platform, options);
	g_assert_nonnull(fake->driver);
	return cxl_driver_enumerate(fake->driver);
}

/* The usual: one bridge, one port, one endpoint, all well */
static inline Fake *fake_simple(FakeEp **ret_ep, CxlMemdev **ret_memdev)
{
	Fake *fake = fake_new(1, 1);

	*ret_ep = fake_plug(fake, 0, 0);
	g_assert_cmpint(fake_start(fake, NULL), ==, 1);
	*ret_memdev = cxl_driver_memdev(fake->driver, 0);
	g_assert_cmpstr(cxl_memdev_error(*ret_memdev), ==, "");
	return fake;
}

#endif

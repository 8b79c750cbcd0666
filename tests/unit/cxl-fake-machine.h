/* SPDX-License-Identifier: BSD-3-Clause */
/* What the fake CXL machine of driver tests consists of, and putting it together. */
#ifndef TESTS_CXL_FAKE_MACHINE_H
#define TESTS_CXL_FAKE_MACHINE_H

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
	const int *script; /* return codes of the first responses, of one part each */
	unsigned n_script;
	unsigned n_dc_regions;
	bool sharable;
};

typedef struct FakePort {
	uint8_t config[PCI_CONFIG_LEN];
	FakeEp *ep;
	struct FakeSwitch *sw; /* instead of an endpoint */
} FakePort;

typedef struct FakeSwitch {
	uint8_t config[PCI_CONFIG_LEN]; /* upstream port */
	uint8_t bar[CXL_COMPONENT_LEN];
	FakeHdm hdm;
	FakePort port[4];
	unsigned n_ports;
} FakeSwitch;

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

static inline void fake_port_config(uint8_t *c, unsigned type, unsigned no)
{
	put16(c + PCI_CFG_VENDOR_ID, 0x1234);
	c[PCI_CFG_HEADER_TYPE] = PCI_HDR_TYPE_1;
	put32(c + PCI_CFG_REVISION, PCI_CLASS_BRIDGE << 8);
	put16(c + PCI_CFG_STATUS, PCI_STA_CAP_LIST);
	c[PCI_CFG_CAP_PTR] = 0x40;
	put16(c + 0x40, PCI_CAP_PCIE);
	put16(c + 0x42, (uint16_t)(type << 4 | 2));
	put32(c + 0x40 + PCI_PCIE_LNKCAP, no << 24);
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
		for (unsigned p = 0; p < n_ports; p++)
			fake_port_config(bridge->port[p].config, PCI_PCIE_TYPE_ROOT_PORT, p + 10);
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

/* A switch with N downstream ports, numbered from 20 */
static inline FakeSwitch *fake_plug_switch(Fake *fake, unsigned b, unsigned p, unsigned n_ports)
{
	FakeSwitch *sw = g_new0(FakeSwitch, 1);

	g_snprintf(sw->hdm.name, sizeof(sw->hdm.name), "sw%u.%u", b + 1, p);
	sw->n_ports = n_ports;
	fake_port_config(sw->config, PCI_PCIE_TYPE_UPSTREAM, 0);
	put32(sw->config + PCI_CFG_BAR(0), PCI_BAR_MEM_64);
	fake_dvsec(sw->config, 0x100, CXL_DVSEC_ID_REGISTER_LOCATOR, CXL_DVSEC_LOCATOR_LEN(1), 0);
	put32(sw->config + 0x100 + CXL_DVSEC_LOCATOR_ENTRY(0),
	      CXL_LOCATOR_LO(0, CXL_LOCATOR_ID_COMPONENT, 0));
	fake_component(sw->bar, 4, 4);
	for (unsigned i = 0; i < n_ports; i++) {
		fake_port_config(sw->port[i].config, PCI_PCIE_TYPE_DOWNSTREAM, i + 20);
		sw->port[i].ep = fake_ep_new(fake, 0x2000 + b * 0x100 + p * 0x10 + i);
		g_snprintf(sw->port[i].ep->hdm.name, sizeof(sw->hdm.name), "ep%u.%u.%u", b + 1, p,
			   i);
	}
	fake->bridge[b].port[p].sw = sw;
	return sw;
}

static inline void fake_port_free(FakePort *port)
{
	fake_ep_free(port->ep);
	for (unsigned i = 0; port->sw && i < port->sw->n_ports; i++)
		fake_ep_free(port->sw->port[i].ep);
	g_free(port->sw);
}

static inline void fake_free(Fake *fake)
{
	cxl_driver_free(fake->driver);
	for (unsigned b = 0; b < FAKE_BRIDGES; b++) {
		for (unsigned p = 0; p < FAKE_PORTS; p++)
			fake_port_free(&fake->bridge[b].port[p]);
	}
	g_string_free(fake->trace, TRUE);
	g_string_free(fake->log, TRUE);
	g_free(fake);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Fake, fake_free)

#endif

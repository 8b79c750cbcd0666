/* SPDX-License-Identifier: BSD-3-Clause */
/* A whole endpoint between a scripted core and a host that walks its configuration space. */
#ifndef TESTS_ENDPOINT_FIXTURE_H
#define TESTS_ENDPOINT_FIXTURE_H

#include "cxl/component.h"
#include "cxl/dvsec.h"
#include "device-fixture.h"

#define HPA UINT64_C(0x8000000000)

typedef struct Endpoint {
	Fixture f; /* the core and the configuration; its register block stays unused */
	Device *dev;
	unsigned n_dc_resets;
	DcReset dc_reset;
	unsigned n_committed, n_taken_back;
	bool silent; /* do not answer decoder requests */
	uint64_t last_req;
	unsigned n_deadlines;
	unsigned n_state_changes;
} Endpoint;

void dc_device_reset(DcDevice *dev, DcReset kind)
{
	Endpoint *ep = dev->user;

	ep->n_dc_resets++;
	ep->dc_reset = kind;
}

static inline void ep_decoder(void *opaque, uint64_t req, const HdmDecoder *decoder)
{
	Endpoint *ep = opaque;

	if (decoder->committed)
		ep->n_committed++;
	else
		ep->n_taken_back++;
	ep->last_req = req;
	if (!ep->silent)
		device_decoder_done(ep->dev, req, true);
}

static inline void ep_irq(void *opaque, unsigned vector)
{
	g_assert_cmpuint(vector, <, DEVICE_N_VECTORS);
}

static inline uint64_t ep_now(void *opaque)
{
	return ((Endpoint *)opaque)->f.now_us;
}

static inline void ep_deadline_changed(void *opaque)
{
	((Endpoint *)opaque)->n_deadlines++;
}

static inline void ep_state_changed(void *opaque)
{
	((Endpoint *)opaque)->n_state_changes++;
}

static const DeviceOps ep_ops = { .irq = ep_irq,
				  .decoder = ep_decoder,
				  .now_us = ep_now,
				  .deadline_changed = ep_deadline_changed,
				  .state_changed = ep_state_changed };

static inline Endpoint *ep_new(uint64_t ram_len, uint64_t pmem_len, unsigned n_regions)
{
	g_autoptr(GError) error = NULL;
	Endpoint *ep = g_new0(Endpoint, 1);
	uint64_t base = ram_len + pmem_len;

	ep->f.dc.user = ep;
	ep->f.dc.static_len = base;
	ep->f.dc.n_regions = n_regions;
	for (unsigned i = 0; i < n_regions; i++, base += GIB) {
		ep->f.dc.regions[i].base = base;
		ep->f.dc.regions[i].config.len = GIB;
		ep->f.dc.regions[i].config.block_size = 2 * MIB;
	}
	ep->f.config = (DeviceConfig){ .name = "dev0",
				       .serial = 0x1122334455667788,
				       .ram_len = ram_len,
				       .pmem_len = pmem_len };
	ep->dev = device_new(&ep->f.config, &ep->f.dc, &ep_ops, ep, &error);
	g_assert_no_error(error);
	return ep;
}

static inline void ep_free(Endpoint *ep)
{
	device_free(ep->dev);
	g_free(ep);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Endpoint, ep_free)

static inline uint32_t cfg(Endpoint *ep, unsigned offset, unsigned len)
{
	uint8_t b[4] = { 0 };

	g_assert_cmpint(device_config_read(ep->dev, offset, b, len), ==, 0);
	return le32_load(b);
}

static inline void cfg_write(Endpoint *ep, unsigned offset, uint32_t value, unsigned len)
{
	uint8_t b[4];

	le32_store(b, value);
	g_assert_cmpint(device_config_write(ep->dev, offset, b, len), ==, 0);
}

static inline uint64_t bar(Endpoint *ep, unsigned index, uint64_t offset, uint32_t len)
{
	uint8_t b[8] = { 0 };

	g_assert_cmpint(device_bar_read(ep->dev, index, offset, b, len), ==, 0);
	return le64_load(b);
}

static inline void bar_write(Endpoint *ep, unsigned index, uint64_t offset, uint64_t value,
			     uint32_t len)
{
	uint8_t b[8];

	le64_store(b, value);
	g_assert_cmpint(device_bar_write(ep->dev, index, offset, b, len), ==, 0);
}

static inline unsigned find_cap(Endpoint *ep, unsigned id)
{
	unsigned ttl = 48;

	g_assert_true(cfg(ep, PCI_CFG_STATUS, 2) & PCI_STA_CAP_LIST);
	for (unsigned at = cfg(ep, PCI_CFG_CAP_PTR, 1); at != 0; at = cfg(ep, at + 1, 1)) {
		g_assert_cmpuint(ttl--, >, 0);
		g_assert_cmpuint(at, >=, 0x40);
		g_assert_cmpuint(at % 4, ==, 0);
		if (cfg(ep, at, 1) == id)
			return at;
	}
	return 0;
}

/* DVSEC id of an extended capability, or -1 */
static inline int dvsec_id(Endpoint *ep, unsigned at)
{
	if (CXL_FIELD_GET(CXL_DVSEC_VENDOR, cfg(ep, at + 4, 4)) != PCI_VENDOR_CXL)
		return -1;
	return (int)cfg(ep, at + 8, 2);
}

static inline unsigned find_ext_cap(Endpoint *ep, unsigned id, int dvsec)
{
	unsigned ttl = 480, found = 0;

	for (unsigned at = PCI_EXTCAP_FIRST; at != 0;) {
		uint32_t header = cfg(ep, at, 4);

		g_assert_cmpuint(ttl--, >, 0);
		g_assert_cmpuint(at, >=, PCI_EXTCAP_FIRST);
		g_assert_cmpuint(at % 4, ==, 0);
		g_assert_cmphex(header, !=, 0);
		g_assert_cmphex(header, !=, UINT32_MAX);
		if (CXL_FIELD_GET(PCI_EXTCAP_ID, header) == id &&
		    (dvsec < 0 || dvsec_id(ep, at) == dvsec)) {
			g_assert_cmpuint(found, ==, 0); /* each once */
			found = at;
		}
		at = CXL_FIELD_GET(PCI_EXTCAP_NEXT, header);
	}
	return found;
}

static inline unsigned find_dvsec(Endpoint *ep, unsigned id, unsigned revision, unsigned len)
{
	unsigned at = find_ext_cap(ep, PCI_EXTCAP_DVSEC, (int)id);
	uint32_t header1;

	g_assert_cmpuint(at, !=, 0);
	header1 = cfg(ep, at + 4, 4);
	g_assert_cmpuint(CXL_FIELD_GET(CXL_DVSEC_REVISION, header1), ==, revision);
	g_assert_cmpuint(CXL_FIELD_GET(CXL_DVSEC_LEN, header1), ==, len);
	return at;
}

#endif

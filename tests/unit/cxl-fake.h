/* SPDX-License-Identifier: BSD-3-Clause */
/* A small CXL machine in memory for driver tests: bridges, switches, endpoints that can lie. */
#ifndef TESTS_CXL_FAKE_H
#define TESTS_CXL_FAKE_H

#include "cxl-fake-device.h"

/* ---- the bus ---- */

/* What is at the far end of a port, if BUS is the one behind it */
static inline uint8_t *fake_behind(FakePort *port, uint8_t bus, unsigned dev, FakeEp **ret_ep,
				   FakeSwitch **ret_sw)
{
	FakeSwitch *sw = port->sw;
	uint8_t *config = NULL;

	if (bus == port->config[PCI_CFG1_SECONDARY_BUS] && dev == 0 && port->ep &&
	    port->ep->present) {
		*ret_ep = port->ep;
		return port->ep->config;
	}
	if (!sw)
		return NULL;
	if (bus == port->config[PCI_CFG1_SECONDARY_BUS] && dev == 0) {
		*ret_sw = sw;
		return sw->config;
	}
	if (bus == sw->config[PCI_CFG1_SECONDARY_BUS])
		return dev < sw->n_ports ? sw->port[dev].config : NULL;
	for (unsigned i = 0; i < sw->n_ports && !config; i++)
		config = fake_behind(&sw->port[i], bus, dev, ret_ep, ret_sw);
	return config;
}

static inline uint8_t *fake_config(Fake *fake, uint32_t bdf, FakeEp **ret_ep, FakeSwitch **ret_sw)
{
	uint8_t bus = (uint8_t)(bdf >> 8);
	unsigned dev = bdf >> 3 & 0x1f;
	uint8_t *config = NULL;

	*ret_ep = NULL;
	*ret_sw = NULL;
	if (bdf & 7)
		return NULL;
	for (unsigned b = 0; b < fake->n_bridges; b++) {
		FakeBridge *bridge = &fake->bridge[b];

		if (bus == bridge->bus_first)
			return dev < bridge->n_ports ? bridge->port[dev].config : NULL;
		for (unsigned p = 0; p < bridge->n_ports && !config; p++)
			config = fake_behind(&bridge->port[p], bus, dev, ret_ep, ret_sw);
	}
	return config;
}

static inline int fake_config_read(void *opaque, uint32_t bdf, uint32_t offset, void *buf,
				   uint32_t len)
{
	Fake *fake = opaque;
	FakeEp *ep;
	FakeSwitch *sw;
	uint8_t *config = fake_config(fake, bdf, &ep, &sw);

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
	FakeSwitch *sw;
	uint8_t *config = fake_config(fake, bdf, &ep, &sw);

	fake->n_access++;
	g_assert_cmpuint(offset + len, <=, PCI_CONFIG_LEN);
	if (!config)
		return -ENODEV;
	if (ep && offset > FAKE_DOE && offset < FAKE_DOE + PCI_DOE_LEN) {
		fake_doe_write(ep, offset - FAKE_DOE, le32_load(buf));
		return 0;
	}
	memcpy(config + offset, buf, len);
	if ((ep || sw) && offset == PCI_CFG_BAR(0))
		put32(config + offset,
		      (le32_load(buf) & ~(uint32_t)((sw ? CXL_COMPONENT_LEN : FAKE_BAR_LEN) - 1)) |
			      PCI_BAR_MEM_64);
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
	FakeSwitch *sw;

	fake->n_access++;
	fake_config(fake, bdf, &ep, &sw);
	if (sw) {
		g_assert_cmpuint(offset + len, <=, CXL_COMPONENT_LEN);
		memcpy(buf, sw->bar + offset, len);
		return 0;
	}
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
	FakeSwitch *sw;

	fake->n_access++;
	fake_config(fake, bdf, &ep, &sw);
	if (sw) {
		g_assert_cmpuint(offset + len, <=, CXL_COMPONENT_LEN);
		fake_hdm_write(fake, &sw->hdm, sw->bar, offset, le32_load(buf));
		return 0;
	}
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
	FakeSwitch *sw;

	fake_config(fake, bdf, &ep, &sw);
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

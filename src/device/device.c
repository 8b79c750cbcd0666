/* SPDX-License-Identifier: BSD-3-Clause */
/* Device: joins configuration space, register blocks and CDAT to one CXL Type-3 function. */
#include "cxl/device.h"
#include "device/device_priv.h"
#include <errno.h>
#include <gio/gio.h>
#include <inttypes.h>
#include <string.h>

#define MIN_PAYLOAD_LOG2       9u /* the answer to 4800h must fit */
#define DEFAULT_LATENCY_NS     150
#define DEFAULT_BANDWIDTH_MBPS 16000

CXL_STATIC_ASSERT(EP_COMPONENT_OFFSET + CXL_COMPONENT_LEN == DEVICE_REGS_BAR_OFFSET);

/* ---- construction ---- */

static bool check_partitions(const DeviceConfig *config, uint64_t static_len, GError **error)
{
	const struct {
		const char *name;
		uint64_t len;
	} partitions[] = { { "ram", config->ram_len }, { "pmem", config->pmem_len } };

	for (size_t i = 0; i < G_N_ELEMENTS(partitions); i++) {
		if (partitions[i].len % DC_REGION_ALIGN == 0)
			continue;
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
			    "device %s: %s of %" PRIu64 " bytes is not a multiple of 256 MiB",
			    config->name, partitions[i].name, partitions[i].len);
		return false;
	}
	if (config->ram_len > static_len || config->pmem_len != static_len - config->ram_len) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
			    "device %s: ram of %" PRIu64 " and pmem of %" PRIu64 " bytes do not add"
			    " up to the %" PRIu64 " bytes before DC region 0",
			    config->name, config->ram_len, config->pmem_len, static_len);
		return false;
	}
	return true;
}

static bool check_config(const DeviceConfig *config, uint64_t static_len, GError **error)
{
	if (config->name == NULL || config->name[0] == '\0') {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
			    "a device needs a name");
		return false;
	}
	if (!check_partitions(config, static_len, error))
		return false;
	if (config->payload_log2 != 0 && (config->payload_log2 < MIN_PAYLOAD_LOG2 ||
					  config->payload_log2 > CXL_MBOX_PAYLOAD_LOG2_MAX)) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
			    "device %s: mailbox payload of 2^%u bytes is not within 2^%u to 2^%u",
			    config->name, config->payload_log2, MIN_PAYLOAD_LOG2,
			    CXL_MBOX_PAYLOAD_LOG2_MAX);
		return false;
	}
	/* CDAT's largest 16-bit value says "unknown" */
	if (config->read_latency_ns == UINT16_MAX || config->write_latency_ns == UINT16_MAX) {
		g_set_error(
			error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
			"device %s: a latency of 65535 ns cannot be reported, 65534 is the most",
			config->name);
		return false;
	}
	return true;
}

static Cdat *build_cdat(const DeviceConfig *config, DcDevice *dc)
{
	DcRegion regions[DC_MAX_REGIONS];
	CdatConfig cdat = {
		.ram_len = config->ram_len,
		.pmem_len = config->pmem_len,
		.regions = regions,
		.n_regions = dc_device_n_regions(dc),
		.read_latency_ns = config->read_latency_ns,
		.write_latency_ns = config->write_latency_ns,
		.bandwidth_mbps = config->bandwidth_mbps,
	};

	if (cdat.read_latency_ns == 0)
		cdat.read_latency_ns = DEFAULT_LATENCY_NS;
	if (cdat.write_latency_ns == 0)
		cdat.write_latency_ns = DEFAULT_LATENCY_NS;
	if (cdat.bandwidth_mbps == 0)
		cdat.bandwidth_mbps = DEFAULT_BANDWIDTH_MBPS;
	g_assert(cdat.n_regions <= DC_MAX_REGIONS);
	for (unsigned i = 0; i < cdat.n_regions; i++)
		regions[i] = *dc_device_region(dc, i);
	return cdat_new(&cdat);
}

/* Where the device's DPA space ends: decoders may not reach beyond. */
static uint64_t dpa_len(const DcDevice *dc)
{
	uint64_t end = dc_device_static_len(dc);

	for (unsigned i = 0; i < dc_device_n_regions(dc); i++) {
		const DcRegion *region = dc_device_region(dc, i);

		end = MAX(end, region->base + region->config.len);
	}
	return end;
}

static uint32_t read_doe(void *opaque, unsigned offset)
{
	Device *dev = opaque;

	return doe_read(dev->doe, PCI_DOE_REG_CAP + offset);
}

static void write_doe(void *opaque, unsigned offset, uint32_t value, uint32_t mask)
{
	Device *dev = opaque;

	doe_write(dev->doe, PCI_DOE_REG_CAP + offset, value, mask);
}

static void write_devctl(void *opaque, unsigned offset, uint32_t value, uint32_t mask)
{
	if (value & mask & PCI_PCIE_DEVCTL_FLR)
		device_reset(opaque, DEVICE_RESET_FLR);
}

/* The dword holds lock (low half) and capability 2 */
static void write_dvsec_lock(void *opaque, unsigned offset, uint32_t value, uint32_t mask)
{
	Device *dev = opaque;

	if (value & mask & CXL_DVSEC_DEVICE_LOCK_CONFIG)
		config_space_set_locked(dev->config, true);
}

static void build_config_space(Device *dev, const DeviceConfig *config)
{
	const EndpointConfig endpoint = {
		.serial = config->serial,
		.bar0_len = dev->bar0_len,
		.ram_len = config->ram_len,
		.pmem_len = config->pmem_len,
		.n_vectors = DEVICE_N_VECTORS,
	};
	const ConfigHook hooks[] = {
		{ EP_DOE + PCI_DOE_REG_CAP, PCI_DOE_LEN - PCI_DOE_REG_CAP, read_doe, write_doe,
		  dev },
		{ EP_PCIE + PCI_PCIE_DEVCTL, 4, NULL, write_devctl, dev },
		{ EP_DVSEC_DEVICE + offsetof(CxlDvsecDevice, lock), 4, NULL, write_dvsec_lock,
		  dev },
	};

	dev->config = config_space_new();
	endpoint_config_build(dev->config, &endpoint);
	for (size_t i = 0; i < G_N_ELEMENTS(hooks); i++)
		config_space_add_hook(dev->config, &hooks[i]);
}

static void ask_decoder(void *opaque, uint64_t req, const HdmDecoder *decoder)
{
	Device *dev = opaque;

	dev->ops.decoder(dev->opaque, req, decoder);
}

static uint64_t now_us(void *opaque)
{
	Device *dev = opaque;

	return dev->ops.now_us(dev->opaque);
}

static void state_changed(Device *dev)
{
	if (dev->ops.state_changed != NULL)
		dev->ops.state_changed(dev->opaque);
}

static void deadline_changed(void *opaque)
{
	Device *dev = opaque;

	if (dev->ops.deadline_changed != NULL)
		dev->ops.deadline_changed(dev->opaque);
}

static void reset_msix_table(Device *dev)
{
	memset(dev->msix, 0, sizeof(dev->msix));
	for (unsigned i = 0; i < DEVICE_N_VECTORS; i++)
		dev->msix[i].ctrl = le32_put(PCI_MSIX_ENTRY_MASKED);
}

static uint64_t round_up_pow2(uint64_t len)
{
	uint64_t pow2 = 1;

	while (pow2 < len)
		pow2 <<= 1;
	return pow2;
}

Device *device_new(const DeviceConfig *config, DcDevice *dc, const DeviceOps *ops, void *opaque,
		   GError **error)
{
	static const HdmOps hdm_ops = { ask_decoder, now_us, deadline_changed };
	g_autoptr(Device) dev = NULL;

	if (!check_config(config, dc_device_static_len(dc), error))
		return NULL;
	dev = g_new0(Device, 1);
	dev->dc = dc;
	dev->ops = *ops;
	dev->opaque = opaque;
	dev->regs = device_regs_new(config, dc, ops, opaque, error);
	if (dev->regs == NULL)
		return NULL;
	dev->bar0_len = round_up_pow2(DEVICE_REGS_BAR_OFFSET + device_regs_len(dev->regs));
	dev->cdat = build_cdat(config, dc);
	dev->doe = doe_new(dev->cdat);
	dev->component = component_new(DEVICE_N_DECODERS, dpa_len(dc), &hdm_ops, dev);
	dev->layout = (DeviceLayout){
		.serial = le64_put(config->serial),
		.ram_len = le64_put(config->ram_len),
		.pmem_len = le64_put(config->pmem_len),
		.dpa_len = le64_put(dpa_len(dc)),
		.bar0_len = le64_put(dev->bar0_len),
		.n_regions = le32_put(dc_device_n_regions(dc)),
		.n_vectors = le32_put(DEVICE_N_VECTORS),
	};
	build_config_space(dev, config);
	reset_msix_table(dev);
	return g_steal_pointer(&dev);
}

void device_free(Device *dev)
{
	if (dev == NULL)
		return;
	device_regs_free(dev->regs);
	component_free(dev->component);
	doe_free(dev->doe);
	cdat_free(dev->cdat);
	config_space_free(dev->config);
	g_free(dev);
}

/* ---- time and answers ---- */

void device_tick(Device *dev)
{
	bool is_due = hdm_next_deadline_us(component_peek_hdm(dev->component)) <= now_us(dev);

	hdm_tick(component_peek_hdm(dev->component));
	device_regs_tick(dev->regs);
	if (is_due)
		state_changed(dev);
}

uint64_t device_next_deadline_us(const Device *dev)
{
	return MIN(hdm_next_deadline_us(component_peek_hdm(dev->component)),
		   device_regs_next_deadline_us(dev->regs));
}

bool device_is_deciding(const Device *dev)
{
	return hdm_next_deadline_us(component_peek_hdm(dev->component)) != UINT64_MAX;
}

void device_decoder_done(Device *dev, uint64_t req, bool ok)
{
	hdm_done(component_peek_hdm(dev->component), req, ok);
	state_changed(dev);
}

/* ---- register access ---- */

static bool inside(uint64_t space_len, uint64_t offset, uint32_t len)
{
	return len <= space_len && offset <= space_len - len;
}

int device_config_read(Device *dev, uint32_t offset, void *buf, uint32_t len)
{
	if (!inside(DEVICE_CONFIG_LEN, offset, len))
		return -EINVAL;
	config_space_read(dev->config, offset, buf, len);
	return 0;
}

int device_config_write(Device *dev, uint32_t offset, const void *buf, uint32_t len)
{
	if (!inside(DEVICE_CONFIG_LEN, offset, len))
		return -EINVAL;
	if (config_space_write(dev->config, offset, buf, len))
		state_changed(dev);
	return 0;
}

uint64_t device_bar_len(const Device *dev, unsigned bar)
{
	switch (bar) {
	case DEVICE_BAR_REGS:
		return dev->bar0_len;
	case DEVICE_BAR_MSIX:
		return EP_MSIX_BAR_LEN;
	default:
		return 0;
	}
}

/* The part of an access that falls into one of BAR0's blocks, and where in it. */
static uint32_t clip(uint64_t offset, uint32_t len, uint64_t start, uint64_t end)
{
	return offset < start || offset >= end ? 0 : (uint32_t)MIN(len, end - offset);
}

static int read_bar0(Device *dev, uint64_t offset, uint8_t *buf, uint32_t len)
{
	const uint64_t regs_at = DEVICE_REGS_BAR_OFFSET;
	uint32_t n = clip(offset, len, EP_COMPONENT_OFFSET, regs_at);
	int rc = 0;

	if (n > 0) {
		component_read(dev->component, (uint32_t)offset, buf, n);
		offset += n;
		buf += n;
		len -= n;
	}
	n = clip(offset, len, regs_at, regs_at + device_regs_len(dev->regs));
	if (n > 0)
		rc = device_regs_read(dev->regs, offset - regs_at, buf, n);
	memset(buf + n, 0, len - n);
	return rc;
}

static int write_bar0(Device *dev, uint64_t offset, const uint8_t *buf, uint32_t len)
{
	const uint64_t regs_at = DEVICE_REGS_BAR_OFFSET;
	uint32_t n = clip(offset, len, EP_COMPONENT_OFFSET, regs_at);

	if (n > 0) {
		component_write(dev->component, (uint32_t)offset, buf, n);
		state_changed(dev);
		offset += n;
		buf += n;
		len -= n;
	}
	n = clip(offset, len, regs_at, regs_at + device_regs_len(dev->regs));
	return n > 0 ? device_regs_write(dev->regs, offset - regs_at, buf, n) : 0;
}

/* The client owns interrupt delivery and masking: the table is memory, the pending bits read 0. */
static void read_msix(const Device *dev, uint64_t offset, uint8_t *buf, uint32_t len)
{
	uint32_t n = clip(offset, len, EP_MSIX_TABLE, EP_MSIX_TABLE + sizeof(dev->msix));

	if (n > 0)
		memcpy(buf, (const uint8_t *)dev->msix + (offset - EP_MSIX_TABLE), n);
	memset(buf + n, 0, len - n);
}

void device_write_msix(Device *dev, uint64_t offset, const uint8_t *buf, uint32_t len)
{
	static const PciMsixEntry writable = {
		.msg_lo = { { 0xfc, 0xff, 0xff, 0xff } },
		.msg_hi = { { 0xff, 0xff, 0xff, 0xff } },
		.data = { { 0xff, 0xff, 0xff, 0xff } },
		.ctrl = { { PCI_MSIX_ENTRY_MASKED, 0, 0, 0 } },
	};
	uint32_t n = clip(offset, len, EP_MSIX_TABLE, EP_MSIX_TABLE + sizeof(dev->msix));
	uint8_t *table = (uint8_t *)dev->msix;

	for (uint32_t i = 0; i < n; i++) {
		size_t at = offset - EP_MSIX_TABLE + i;
		uint8_t mask = ((const uint8_t *)&writable)[at % PCI_MSIX_ENTRY_LEN];

		table[at] = (uint8_t)((table[at] & ~mask) | (buf[i] & mask));
	}
}

int device_bar_read(Device *dev, unsigned bar, uint64_t offset, void *buf, uint32_t len)
{
	if (!inside(device_bar_len(dev, bar), offset, len))
		return -EINVAL;
	if (bar == DEVICE_BAR_REGS)
		return read_bar0(dev, offset, buf, len);
	read_msix(dev, offset, buf, len);
	return 0;
}

int device_bar_write(Device *dev, unsigned bar, uint64_t offset, const void *buf, uint32_t len)
{
	if (!inside(device_bar_len(dev, bar), offset, len))
		return -EINVAL;
	if (bar == DEVICE_BAR_REGS)
		return write_bar0(dev, offset, buf, len);
	device_write_msix(dev, offset, buf, len);
	state_changed(dev);
	return 0;
}

uint64_t device_payload_offset(const Device *dev)
{
	return DEVICE_REGS_BAR_OFFSET + device_regs_payload_offset(dev->regs);
}

uint64_t device_payload_len(const Device *dev)
{
	return device_regs_payload_len(dev->regs);
}

int device_peek_payload_fd(const Device *dev)
{
	return device_regs_peek_payload_fd(dev->regs);
}

/* ---- sessions and resets ---- */

/* One row for each column of the design's reset table. */
static const struct ResetRule {
	bool cxl_control; /* DVSEC control and component registers with the HDM decoders */
	bool new_host;    /* what the former host side answers no longer counts */
	DcReset dc;
} reset_rules[] = {
	[DEVICE_RESET_FLR] = { false, false, DC_RESET_FLR },
	[DEVICE_RESET_CONVENTIONAL] = { true, false, DC_RESET_CONVENTIONAL },
	[DEVICE_RESET_NEW_SESSION] = { true, true, DC_RESET_CONVENTIONAL },
	[DEVICE_RESET_FORGET] = { true, false, DC_RESET_FORGET },
};

void device_reset(Device *dev, DeviceReset kind)
{
	const struct ResetRule *rule = &reset_rules[kind];

	if (rule->cxl_control)
		config_space_set_locked(dev->config, false);
	config_space_reset(dev->config, !rule->cxl_control);
	doe_reset(dev->doe);
	reset_msix_table(dev);
	device_regs_reset(dev->regs, kind);
	if (rule->cxl_control)
		component_reset(dev->component, rule->new_host);
	dc_device_reset(dev->dc, rule->dc);
	state_changed(dev);
}

void device_foreach_decoder(const Device *dev, void (*func)(const HdmDecoder *, void *),
			    void *opaque)
{
	hdm_foreach_committed(component_peek_hdm(dev->component), func, opaque);
}

/* ---- event logs ---- */

bool device_inject_event(Device *dev, unsigned log, const CxlEventRecord *record)
{
	return device_regs_inject_event(dev->regs, log, record);
}

bool device_dc_log_reserve(Device *dev, uint32_t n)
{
	return device_regs_dc_log_reserve(dev->regs, n);
}

void device_dc_log_unreserve(Device *dev, uint32_t n)
{
	device_regs_dc_log_unreserve(dev->regs, n);
}

void device_dc_log_post(Device *dev, const DcEvent *event)
{
	device_regs_dc_log_post(dev->regs, event);
}

void device_dc_log_withdraw(Device *dev, uint64_t cookie)
{
	device_regs_dc_log_withdraw(dev->regs, cookie);
}

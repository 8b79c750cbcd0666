/* SPDX-License-Identifier: BSD-3-Clause */
/* Configuration space as Linux walks it, BAR sizing, bounds, random access. */
#include "endpoint-fixture.h"

static void test_header(void)
{
	g_autoptr(Endpoint) ep = ep_new(GIB, 0, 1);
	uint8_t all[DEVICE_CONFIG_LEN];
	unsigned at;

	g_assert_cmphex(cfg(ep, PCI_CFG_CLASS, 3), ==, 0x050210);
	g_assert_cmphex(cfg(ep, PCI_CFG_HEADER_TYPE, 1), ==, 0);
	g_assert_cmphex(cfg(ep, PCI_CFG_INT_PIN, 1), ==, 0);
	g_assert_cmphex(cfg(ep, PCI_CFG_VENDOR_ID, 2), !=, 0xffff);
	g_assert_cmphex(cfg(ep, PCI_CFG0_ROM, 4), ==, 0);

	at = find_cap(ep, PCI_CAP_PCIE);
	g_assert_cmpuint(at, !=, 0);
	g_assert_cmpuint(CXL_FIELD_GET(PCI_PCIE_CAPS_TYPE, cfg(ep, at + PCI_PCIE_CAPS, 2)), ==,
			 PCI_PCIE_TYPE_ENDPOINT);
	g_assert_true(cfg(ep, at + PCI_PCIE_DEVCAP, 4) & PCI_PCIE_DEVCAP_FLR);
	g_assert_cmphex(cfg(ep, at + PCI_PCIE_LNKCAP, 2) & 0x3ff, ==, 0x85);
	g_assert_cmphex(cfg(ep, at + PCI_PCIE_LNKSTA, 2) & 0x3ff, ==, 0x85);

	g_assert_cmpuint(find_ext_cap(ep, PCI_EXTCAP_AER, -1), ==, 0x100);
	at = find_ext_cap(ep, PCI_EXTCAP_DSN, -1);
	g_assert_cmphex(cfg(ep, at + PCI_DSN_LO, 4), ==, 0x55667788);
	g_assert_cmphex(cfg(ep, at + PCI_DSN_HI, 4), ==, 0x11223344);
	g_assert_cmpuint(find_ext_cap(ep, PCI_EXTCAP_DOE, -1), !=, 0);

	/* One read of everything says what byte reads say */
	g_assert_cmpint(device_config_read(ep->dev, 0, all, sizeof(all)), ==, 0);
	for (unsigned i = 0; i < sizeof(all); i++)
		g_assert_cmphex(all[i], ==, cfg(ep, i, 1));
}

static void test_bar_sizing(void)
{
	g_autoptr(Endpoint) ep = ep_new(GIB, 0, 1);
	static const unsigned bars[] = { DEVICE_BAR_REGS, DEVICE_BAR_MSIX };

	for (unsigned i = 0; i < G_N_ELEMENTS(bars); i++) {
		unsigned at = PCI_CFG_BAR(bars[i]);
		uint64_t len;

		g_assert_cmphex(cfg(ep, at, 4), ==, PCI_BAR_MEM_64);
		cfg_write(ep, at, UINT32_MAX, 4);
		cfg_write(ep, at + 4, UINT32_MAX, 4);
		len = cfg(ep, at, 4) | (uint64_t)cfg(ep, at + 4, 4) << 32;
		g_assert_cmphex(len & PCI_BAR_FLAGS, ==, PCI_BAR_MEM_64);
		len = ~(len & ~(uint64_t)PCI_BAR_FLAGS) + 1;
		g_assert_cmphex(len, ==, device_bar_len(ep->dev, bars[i]));
		cfg_write(ep, at, 0xfe000000, 4);
		cfg_write(ep, at + 4, 0x40, 4);
		g_assert_cmphex(cfg(ep, at, 4), ==, 0xfe000000 | PCI_BAR_MEM_64);
		g_assert_cmphex(cfg(ep, at + 4, 4), ==, 0x40);
	}
	for (unsigned i = 4; i < PCI_CFG0_N_BARS; i++) {
		cfg_write(ep, PCI_CFG_BAR(i), UINT32_MAX, 4);
		g_assert_cmphex(cfg(ep, PCI_CFG_BAR(i), 4), ==, 0);
	}
	cfg_write(ep, PCI_CFG0_ROM, UINT32_MAX, 4);
	g_assert_cmphex(cfg(ep, PCI_CFG0_ROM, 4), ==, 0);
	g_assert_cmphex(device_bar_len(ep->dev, 1), ==, 0);
	g_assert_cmphex(device_bar_len(ep->dev, 6), ==, 0);
}

static void test_msix(void)
{
	g_autoptr(Endpoint) ep = ep_new(GIB, 0, 1);
	unsigned at = find_cap(ep, PCI_CAP_MSIX);
	uint32_t table = cfg(ep, at + PCI_MSIX_TABLE_REG, 4),
		 pba = cfg(ep, at + PCI_MSIX_PBA_REG, 4);
	unsigned n = CXL_FIELD_GET(PCI_MSIX_CTRL_SIZE, cfg(ep, at + PCI_MSIX_CTRL, 2)) + 1;
	uint64_t entry;

	g_assert_cmpuint(n, ==, DEVICE_N_VECTORS);
	g_assert_cmpuint(n, <=, 16); /* message numbers in the mailbox capabilities have 4 bits */
	g_assert_cmpuint(table & PCI_MSIX_BIR, ==, DEVICE_BAR_MSIX);
	g_assert_cmpuint(pba & PCI_MSIX_BIR, ==, DEVICE_BAR_MSIX);
	table &= PCI_MSIX_OFFSET;
	pba &= PCI_MSIX_OFFSET;
	g_assert_true(table + n * 16 <= pba || pba + 8 <= table);
	g_assert_cmpuint(MAX(table + n * 16, pba + 8), <=,
			 device_bar_len(ep->dev, DEVICE_BAR_MSIX));

	cfg_write(ep, at + PCI_MSIX_CTRL, 0xffff, 2);
	g_assert_cmphex(cfg(ep, at + PCI_MSIX_CTRL, 2), ==, 0xc000 | (n - 1));
	entry = table + (n - 1) * 16;
	g_assert_cmphex(bar(ep, DEVICE_BAR_MSIX, entry + 12, 4), ==, 1); /* masked */
	bar_write(ep, DEVICE_BAR_MSIX, entry, UINT64_MAX, 8);
	bar_write(ep, DEVICE_BAR_MSIX, entry + 8, UINT64_MAX, 8);
	g_assert_cmphex(bar(ep, DEVICE_BAR_MSIX, entry, 8), ==, 0xfffffffffffffffc);
	g_assert_cmphex(bar(ep, DEVICE_BAR_MSIX, entry + 8, 8), ==, 0x1ffffffff);
	bar_write(ep, DEVICE_BAR_MSIX, pba, UINT64_MAX, 8);
	g_assert_cmphex(bar(ep, DEVICE_BAR_MSIX, pba, 8), ==, 0);
}

static void test_dvsecs(void)
{
	g_autoptr(Endpoint) ep = ep_new(GIB, 0, 1);
	unsigned at = find_dvsec(ep, CXL_DVSEC_ID_DEVICE, 3, 0x3c);

	g_assert_cmphex(cfg(ep, at + 0x0a, 2), ==, 0x001e);
	g_assert_cmphex(cfg(ep, at + 0x0c, 2), ==, 0x0002);
	cfg_write(ep, at + 0x0c, 0x0004, 2);
	g_assert_cmphex(cfg(ep, at + 0x0c, 2), ==, 0x0006);
	cfg_write(ep, at + 0x0c, 0, 2);
	g_assert_cmphex(cfg(ep, at + 0x0c, 2), ==, 0x0002);

	find_dvsec(ep, CXL_DVSEC_ID_GPF_DEVICE, 0, 0x10);
	at = find_dvsec(ep, CXL_DVSEC_ID_FLEX_BUS, 2, 0x20);
	g_assert_cmphex(cfg(ep, at + 0x0e, 2) & 0x27, ==, 0x26); /* io, mem, 68 byte flits */

	/* Register blocks: two entries, 64 KiB granular, inside their BAR */
	at = find_dvsec(ep, CXL_DVSEC_ID_REGISTER_LOCATOR, 0, 0x1c);
	for (unsigned i = 0; i < 2; i++) {
		uint32_t lo = cfg(ep, at + CXL_DVSEC_LOCATOR_ENTRY(i), 4);
		uint64_t offset = lo & CXL_LOCATOR_OFFSET_LO;

		g_assert_cmphex(cfg(ep, at + CXL_DVSEC_LOCATOR_ENTRY(i) + 4, 4), ==, 0);
		g_assert_cmpuint(lo & CXL_LOCATOR_BIR, ==, DEVICE_BAR_REGS);
		g_assert_cmphex(offset + CXL_LOCATOR_BLOCK_LEN, <=, device_bar_len(ep->dev, 0));
		if (i == 0) {
			g_assert_cmpuint(CXL_FIELD_GET(CXL_LOCATOR_ID, lo), ==, 1);
			g_assert_cmphex(bar(ep, 0, offset + 0x1000, 2), ==, 1);
		} else {
			g_assert_cmpuint(CXL_FIELD_GET(CXL_LOCATOR_ID, lo), ==, 3);
			g_assert_cmphex(bar(ep, 0, offset, 2), ==, 0);
			g_assert_cmpuint(bar(ep, 0, offset + 4, 2), >=, 3);
		}
	}
}

static void test_ranges(void)
{
	static const struct {
		uint64_t ram, pmem;
		unsigned n_ranges;
	} rows[] = {
		{ 0, 0, 1 }, { GIB, 0, 1 }, { 0, GIB, 1 }, { 5 * GIB, 6 * GIB + 256 * MIB, 2 }
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autoptr(Endpoint) ep = ep_new(rows[i].ram, rows[i].pmem, 8);
		unsigned at = find_dvsec(ep, CXL_DVSEC_ID_DEVICE, 3, 0x3c);
		uint64_t sum = 0;

		g_assert_cmpuint(CXL_FIELD_GET(CXL_DVSEC_DEVICE_CAP_RANGES, cfg(ep, at + 0x0a, 2)),
				 ==, rows[i].n_ranges);
		for (unsigned r = 0; r < rows[i].n_ranges; r++) {
			uint32_t lo = cfg(ep, at + 0x1c + 0x10 * r, 4);

			g_assert_cmphex(lo & 3, ==, 3); /* valid, active */
			sum += (uint64_t)cfg(ep, at + 0x18 + 0x10 * r, 4) << 32;
			sum += lo & CXL_DVSEC_RANGE_LO_MASK;
		}
		g_assert_cmphex(sum, ==, rows[i].ram + rows[i].pmem);
	}
}

static void test_lock(void)
{
	g_autoptr(Endpoint) ep = ep_new(GIB, 0, 1);
	unsigned at = find_dvsec(ep, CXL_DVSEC_ID_DEVICE, 3, 0x3c);

	cfg_write(ep, at + 0x24, 0x10000000, 4);
	cfg_write(ep, at + 0x14, 0, 2);
	cfg_write(ep, at + 0x0c, 0x4, 2);
	cfg_write(ep, at + 0x14, 1, 1);
	device_reset(ep->dev, DEVICE_RESET_FLR);
	cfg_write(ep, at + 0x14, 0, 4);
	cfg_write(ep, at + 0x0c, 0, 2);
	cfg_write(ep, at + 0x24, 0xf0000000, 4);
	g_assert_cmphex(cfg(ep, at + 0x14, 2), ==, 1);
	g_assert_cmphex(cfg(ep, at + 0x0c, 2), ==, 0x6);
	g_assert_cmphex(cfg(ep, at + 0x24, 4), ==, 0x10000000);
	device_reset(ep->dev, DEVICE_RESET_CONVENTIONAL);
	g_assert_cmphex(cfg(ep, at + 0x14, 2), ==, 0);
	g_assert_cmphex(cfg(ep, at + 0x0c, 2), ==, 0x2);
	cfg_write(ep, at + 0x0c, 0x4, 2);
	g_assert_cmphex(cfg(ep, at + 0x0c, 2), ==, 0x6);
}

static void test_bounds(void)
{
	g_autoptr(Endpoint) ep = ep_new(GIB, 0, 1);
	uint64_t bar0 = device_bar_len(ep->dev, 0);
	g_autofree uint8_t *buf = g_malloc0(bar0 + 1);

	g_assert_cmpint(device_config_read(ep->dev, 4096, buf, 1), ==, -EINVAL);
	g_assert_cmpint(device_config_read(ep->dev, 4093, buf, 4), ==, -EINVAL);
	g_assert_cmpint(device_config_read(ep->dev, UINT32_MAX, buf, 2), ==, -EINVAL);
	g_assert_cmpint(device_config_write(ep->dev, 1, buf, 4096), ==, -EINVAL);
	g_assert_cmpint(device_config_write(ep->dev, 0, buf, UINT32_MAX), ==, -EINVAL);
	g_assert_cmpint(device_config_read(ep->dev, 4096, buf, 0), ==, 0);
	g_assert_cmpint(device_bar_read(ep->dev, 0, bar0, buf, 1), ==, -EINVAL);
	g_assert_cmpint(device_bar_read(ep->dev, 0, UINT64_MAX - 3, buf, 8), ==, -EINVAL);
	g_assert_cmpint(device_bar_write(ep->dev, 0, 1, buf, (uint32_t)bar0), ==, -EINVAL);
	g_assert_cmpint(device_bar_read(ep->dev, 1, 0, buf, 1), ==, -EINVAL);
	g_assert_cmpint(device_bar_write(ep->dev, 7, 0, buf, 1), ==, -EINVAL);
	g_assert_cmpint(device_bar_read(ep->dev, 2, 4095, buf, 2), ==, -EINVAL);

	/* One read over all blocks and the gaps between them */
	memset(buf, 0xa5, bar0 + 1);
	g_assert_cmpint(device_bar_read(ep->dev, 0, 0, buf, (uint32_t)bar0), ==, 0);
	g_assert_cmphex(le16_load(buf + 0x1000), ==, 1);
	g_assert_cmphex(buf[0xffff], ==, 0);
	g_assert_cmphex(le64_load(buf + 0x10000), ==, bar(ep, 0, 0x10000, 8));
	g_assert_cmphex(buf[bar0 - 1], ==, 0);
	g_assert_cmphex(buf[bar0], ==, 0xa5);
	g_assert_cmphex(bar(ep, 0, 0xfffc, 8) >> 32, ==, bar(ep, 0, 0x10000, 4));
	bar_write(ep, 0, 0xfffc, UINT64_MAX, 8);

	g_assert_cmphex(device_payload_offset(ep->dev) % 4096, ==, 0);
	g_assert_cmphex(device_payload_offset(ep->dev) + device_payload_len(ep->dev), <=, bar0);
}

/* The DOE where it stands: dword writes act, other widths do not, reading moves nothing. */
static void test_doe(void)
{
	g_autoptr(Endpoint) ep = ep_new(GIB, 0, 1);
	unsigned at = find_ext_cap(ep, PCI_EXTCAP_DOE, -1);
	static const uint32_t request[] = { 0x00021e98, 3, 0 };
	uint8_t all[DEVICE_CONFIG_LEN], both[8];

	cfg_write(ep, at + PCI_DOE_REG_CTRL, PCI_DOE_CONTROL_ABORT, 4);
	for (unsigned i = 0; i < 3; i++) {
		cfg_write(ep, at + PCI_DOE_REG_WRITE, 0xdead, 2);
		cfg_write(ep, at + PCI_DOE_REG_WRITE, request[i], 4);
	}
	cfg_write(ep, at + PCI_DOE_REG_CTRL + 3, 0x80, 1);
	g_assert_cmphex(cfg(ep, at + PCI_DOE_REG_STATUS, 4), ==, 0);
	cfg_write(ep, at + PCI_DOE_REG_CTRL, PCI_DOE_CONTROL_GO, 4);
	for (unsigned i = 0; i < 7; i++) {
		g_assert_cmphex(cfg(ep, at + PCI_DOE_REG_STATUS, 4), ==, PCI_DOE_STA_READY);
		g_assert_cmpint(device_config_read(ep->dev, 0, all, sizeof(all)), ==, 0);
		g_assert_cmphex(cfg(ep, at + PCI_DOE_REG_READ, 4), ==,
				le32_load(all + at + PCI_DOE_REG_READ));
		if (i == 0)
			g_assert_cmphex(cfg(ep, at + PCI_DOE_REG_READ, 4), ==, request[0]);
		cfg_write(ep, at + PCI_DOE_REG_READ, 0, 4);
	}
	g_assert_cmphex(cfg(ep, at + PCI_DOE_REG_STATUS, 4), ==, 0);
	/* 8 bytes are two dwords: one into the write mailbox, an acknowledgement to nobody */
	le64_store(both, 1);
	g_assert_cmpint(device_config_write(ep->dev, at + PCI_DOE_REG_WRITE, both, 8), ==, 0);
	cfg_write(ep, at + PCI_DOE_REG_WRITE, 3, 4);
	cfg_write(ep, at + PCI_DOE_REG_WRITE, 0, 4);
	cfg_write(ep, at + PCI_DOE_REG_CTRL, PCI_DOE_CONTROL_GO, 4);
	g_assert_cmphex(cfg(ep, at + PCI_DOE_REG_STATUS, 4), ==, PCI_DOE_STA_READY);
}

/* Every bit a host may change, as the documents say; all others must never change. */
static const struct {
	unsigned cap, offset, len;
	uint32_t mask;
} writable[] = {
	{ 0, 0x04, 2, 0x0546 },
	{ 0, 0x0c, 1, 0xff },
	{ 0, 0x10, 4, 0xffffffff },
	{ 0, 0x14, 4, 0xffffffff },
	{ 0, 0x18, 4, 0xfffff000 },
	{ 0, 0x1c, 4, 0xffffffff },
	{ 0, 0x3c, 1, 0xff },
	{ 0x40, 0x08, 2, 0x79ff },
	{ 0x40, 0x10, 2, 0x43 },
	{ 0x40, 0x28, 2, 0x10 },
	{ 0x40, 0x30, 2, 0xf },
	{ 0x80, 0x02, 2, 0xc000 },
	{ 0x100, 0x08, 4, 0x5ff030 },
	{ 0x100, 0x0c, 4, 0x5ff030 },
	{ 0x100, 0x14, 4, 0xf1c1 },
	{ 0x160, 0x0c, 2, 0x4 },
	{ 0x160, 0x14, 2, 0x1 },
	{ 0x160, 0x20, 4, 0xffffffff },
	{ 0x160, 0x24, 4, 0xf0000000 },
	/* DOE status and read mailbox */
	{ 0x1f0, 0x0c, 4, 0x80000004 },
	{ 0x1f0, 0x14, 4, 0xffffffff },
};

static void writable_mask(Endpoint *ep, uint8_t mask[DEVICE_CONFIG_LEN])
{
	uint32_t bar0 = ~((uint32_t)device_bar_len(ep->dev, 0) - 1);

	memset(mask, 0, DEVICE_CONFIG_LEN);
	for (unsigned i = 0; i < G_N_ELEMENTS(writable); i++) {
		uint8_t b[4];

		le32_store(b, writable[i].offset == 0x10 && writable[i].cap == 0
				      ? bar0
				      : writable[i].mask);
		memcpy(mask + writable[i].cap + writable[i].offset, b, writable[i].len);
	}
}

static void assert_read_only(Endpoint *ep, const uint8_t *before, const uint8_t *mask)
{
	uint8_t now[DEVICE_CONFIG_LEN];

	g_assert_cmpint(device_config_read(ep->dev, 0, now, sizeof(now)), ==, 0);
	for (unsigned i = 0; i < sizeof(now); i++) {
		if ((now[i] ^ before[i]) & ~mask[i])
			g_error("config byte %#x: %#x became %#x", i, before[i], now[i]);
	}
}

static void test_read_only(void)
{
	g_autoptr(Endpoint) ep = ep_new(GIB, 0, 1);
	uint8_t before[DEVICE_CONFIG_LEN], mask[DEVICE_CONFIG_LEN], ones[DEVICE_CONFIG_LEN], after;

	writable_mask(ep, mask);
	memset(ones, 0xff, sizeof(ones));
	g_assert_cmpint(device_config_read(ep->dev, 0, before, sizeof(before)), ==, 0);
	for (unsigned at = 0; at < DEVICE_CONFIG_LEN; at++) {
		if (at == 0x49) /* FLR: its own test */
			continue;
		if (at == 0x175) /* the lock has just been set */
			device_reset(ep->dev, DEVICE_RESET_CONVENTIONAL);
		g_assert_cmpint(device_config_write(ep->dev, at, ones, 1), ==, 0);
		after = (uint8_t)cfg(ep, at, 1);
		/* Byte writes never act on the DOE; all else that is writable takes the ones */
		if (at < 0x1f0)
			g_assert_cmphex(after, ==, before[at] | mask[at]);
		g_assert_cmpint(device_config_write(ep->dev, at, "\0", 1), ==, 0);
	}
	assert_read_only(ep, before, mask);
	/* All at once: an FLR and the lock in the middle of it */
	g_assert_cmpint(device_config_write(ep->dev, 0, ones, sizeof(ones)), ==, 0);
	g_assert_cmpuint(ep->dc_reset, ==, DC_RESET_FLR);
	assert_read_only(ep, before, mask);
}

static void test_fuzz(void)
{
	g_autoptr(Endpoint) ep = ep_new(GIB, GIB, 2);
	uint32_t seed = 0x5eed0002;
	g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
	uint8_t before[DEVICE_CONFIG_LEN], mask[DEVICE_CONFIG_LEN], buf[DEVICE_CONFIG_LEN];

	g_test_message("seed %#x", seed);
	writable_mask(ep, mask);
	/* Two ranges here: the second's base, too */
	memcpy(mask + 0x190, "\xff\xff\xff\xff\0\0\0\xf0", 8);
	g_assert_cmpint(device_config_read(ep->dev, 0, before, sizeof(before)), ==, 0);
	for (unsigned op = 0; op < 100000; op++) {
		unsigned space = g_rand_int(rand) % 4;
		uint32_t len = (uint32_t[]){ 1, 2, 4, 4, 4, 8, 3, 64 }[g_rand_int(rand) % 8];
		bool write = g_rand_boolean(rand);
		uint64_t space_len = space < 2 ? DEVICE_CONFIG_LEN
					       : device_bar_len(ep->dev, space == 2 ? 0 : 2);
		uint64_t offset = g_rand_int(rand) % (space_len + 8);
		int expected;

		/* Aligned dwords in the busy parts, too */
		if (g_rand_boolean(rand))
			offset = space < 2 ? (g_rand_int(rand) % 0x210) & ~3u
					   : offset & ~(uint64_t)3;
		expected = len <= space_len && offset <= space_len - len ? 0 : -EINVAL;
		for (uint32_t b = 0; b < len; b++)
			buf[b] = (uint8_t)g_rand_int(rand);
		if (space < 2 && write)
			g_assert_cmpint(device_config_write(ep->dev, (uint32_t)offset, buf, len),
					==, expected);
		else if (space < 2)
			g_assert_cmpint(device_config_read(ep->dev, (uint32_t)offset, buf, len), ==,
					expected);
		else if (write)
			g_assert_cmpint(
				device_bar_write(ep->dev, space == 2 ? 0 : 2, offset, buf, len), ==,
				expected);
		else
			g_assert_cmpint(
				device_bar_read(ep->dev, space == 2 ? 0 : 2, offset, buf, len), ==,
				expected);
		if (op % 256 == 0)
			assert_read_only(ep, before, mask);
		if (op % 4096 == 0)
			device_reset(ep->dev, (DeviceReset)(g_rand_int(rand) % 4));
	}
	assert_read_only(ep, before, mask);
}

static void test_refused(void)
{
	static const struct {
		DeviceConfig config;
		uint64_t static_len;
		const char *says;
	} rows[] = {
		{ { .name = NULL }, 0, "*needs a name*" },
		{ { .name = "" }, 0, "*needs a name*" },
		{ { .name = "d", .ram_len = MIB },
		  MIB,
		  "device d: ram*1048576*multiple of 256 MiB*" },
		{ { .name = "d", .ram_len = GIB, .pmem_len = 1 }, GIB, "device d: pmem*256 MiB*" },
		{ { .name = "d", .ram_len = GIB }, 2 * GIB, "device d:*add up*2147483648*" },
		{ { .name = "d", .ram_len = 2 * GIB }, GIB, "device d:*add up*" },
		{ { .name = "d", .ram_len = UINT64_MAX - 256 * MIB + 1, .pmem_len = 512 * MIB },
		  256 * MIB,
		  "device d:*add up*" },
		{ { .name = "d", .read_latency_ns = 65535 }, 0, "device d:*latency*65534*" },
		{ { .name = "d", .write_latency_ns = 65535 }, 0, "device d:*latency*65534*" },
		{ { .name = "d", .payload_log2 = 8 }, 0, "device d:*payload*" },
		{ { .name = "d", .payload_log2 = 21 }, 0, "device d:*payload*" },
		{ { .name = "d", .log_depth = { 70000 } }, 0, "device d:*log*70000*" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autoptr(GError) error = NULL;
		g_autofree DcDevice *dc = g_new0(DcDevice, 1);

		dc->static_len = rows[i].static_len;
		g_assert_null(device_new(&rows[i].config, dc, &ep_ops, NULL, &error));
		g_assert_nonnull(error);
		if (!g_pattern_match_simple(rows[i].says, error->message))
			g_error("row %u: %s", i, error->message);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/device/config/header", test_header);
	g_test_add_func("/unit/device/config/bar-sizing", test_bar_sizing);
	g_test_add_func("/unit/device/config/msix", test_msix);
	g_test_add_func("/unit/device/config/dvsecs", test_dvsecs);
	g_test_add_func("/unit/device/config/ranges", test_ranges);
	g_test_add_func("/unit/device/config/lock", test_lock);
	g_test_add_func("/unit/device/config/bounds", test_bounds);
	g_test_add_func("/unit/device/config/doe", test_doe);
	g_test_add_func("/unit/device/config/read-only", test_read_only);
	g_test_add_func("/unit/device/config/fuzz", test_fuzz);
	g_test_add_func("/unit/device/config/refused", test_refused);
	return g_test_run();
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Windows, host bridge registers, root ports and configuration space routing. */

#include "cxl/dvsec.h"
#include "cxl/pci.h"
#include "fabric_fake.h"
#include <gio/gio.h>

#define UID 7

static const FabricHostBridge two_bridges[] = {
	{ .uid = UID, .bus_first = 0x10, .bus_last = 0x1f, .n_ports = 4, .n_decoders = 4 },
	{ .uid = 9, .bus_first = 0x20, .bus_last = 0x2f, .n_ports = 1 },
};

static const FabricWindow plain_window = {
	.hpa = 16 * MIB256,
	.len = 16 * MIB256,
	.ways = 1,
	.granularity = 256,
	.targets = { UID },
};

static Fabric *plain_fabric(FakeMapper *fake)
{
	FabricConfig config = {
		.windows = &plain_window, .n_windows = 1, .bridges = two_bridges, .n_bridges = 2
	};

	return fake_fabric(fake, &config, true);
}

static void assert_window_refused(const FabricWindow *windows, unsigned n, const char *word)
{
	FabricConfig config = {
		.windows = windows, .n_windows = n, .bridges = two_bridges, .n_bridges = 2
	};
	FabricMapper mapper = { .map = fake_map, .unmap = fake_unmap };
	g_autoptr(GError) error = NULL;

	g_assert_null(fabric_new(&config, &mapper, NULL, &error));
	g_assert_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT);
	if (!strstr(error->message, word))
		g_error("\"%s\" lacks \"%s\"", error->message, word);
}

static void test_windows(void)
{
	FabricWindow w[2] = { plain_window, plain_window };

	w[1].hpa += 15 * MIB256;
	assert_window_refused(w, 2, "overlaps");
	w[1].hpa = 0;
	w[1].len = 17 * MIB256;
	assert_window_refused(w, 2, "overlaps");
	w[0].ways = 5;
	assert_window_refused(w, 1, "ways");
	w[0].ways = 2;
	assert_window_refused(w, 1, "target");
	w[0].targets[1] = UID;
	assert_window_refused(w, 1, "twice");
	w[0].targets[1] = 9;
	w[0].len = 15 * MIB256;
	assert_window_refused(w, 1, "256 MiB per way");
	w[0].len = 0;
	assert_window_refused(w, 1, "256 MiB per way");
	w[0].len = 16 * MIB256;
	w[0].granularity = 300;
	assert_window_refused(w, 1, "granularity");
	w[0].granularity = 512;
	w[0].hpa += 4096;
	assert_window_refused(w, 1, "multiple of 256 MiB");
	w[0].hpa = UINT64_MAX - MIB256 + 1;
	w[0].len = 2 * MIB256;
	assert_window_refused(w, 1, "last address");
}

static void test_bridges(void)
{
	FabricHostBridge b[2] = { two_bridges[0], two_bridges[1] };
	FabricConfig config = { .bridges = b, .n_bridges = 2 };
	FabricMapper mapper = { .map = fake_map, .unmap = fake_unmap };

	b[1].uid = UID;
	g_assert_null(fabric_new(&config, &mapper, NULL, NULL));
	b[1].uid = 9;
	b[1].bus_first = 0x1f;
	g_assert_null(fabric_new(&config, &mapper, NULL, NULL));
	b[1] = two_bridges[1];
	b[1].n_ports = 33;
	g_assert_null(fabric_new(&config, &mapper, NULL, NULL));
	b[1].n_ports = 1;
	b[1].n_decoders = 3;
	g_assert_null(fabric_new(&config, &mapper, NULL, NULL));
}

static void test_capabilities(void)
{
	FakeMapper fake;
	g_autoptr(Fabric) fabric = plain_fabric(&fake);
	uint32_t array = chbcr_get(fabric, UID, CXL_COMPONENT_CACHEMEM), hdm = 0, cap;
	uint8_t wide[8];

	g_assert_cmpuint(CXL_FIELD_GET(CXL_CM_ARRAY_ID, array), ==, CXL_CM_ID_CXL);
	for (unsigned i = 1; i <= CXL_FIELD_GET(CXL_CM_ARRAY_COUNT, array); i++) {
		uint32_t header = chbcr_get(fabric, UID, CXL_COMPONENT_CACHEMEM + 4 * i);

		if (CXL_FIELD_GET(CXL_CM_CAP_ID, header) == CXL_CM_ID_HDM)
			hdm = CXL_COMPONENT_CACHEMEM + CXL_FIELD_GET(CXL_CM_CAP_PTR, header);
	}
	g_assert_cmpuint(hdm, ==, HDM);
	cap = chbcr_get(fabric, UID, hdm + CXL_HDM_CAP);
	g_assert_cmpuint(cxl_hdm_count_decode(CXL_FIELD_GET(CXL_HDM_CAP_COUNT, cap)), ==, 4);
	g_assert_cmpuint(CXL_FIELD_GET(CXL_HDM_CAP_TARGETS, cap), ==, 8);
	/* Outside the block, and of no bridge at all. */
	fabric_chbcr_read(fabric, UID, CXL_COMPONENT_LEN - 4, wide, 8);
	g_assert_cmpuint(le64_load(wide), ==, 0);
	fabric_chbcr_write(fabric, UID, UINT32_MAX - 3, wide, 8);
	g_assert_cmphex(chbcr_get(fabric, 1234, 0), ==, UINT32_MAX);
	chbcr_put(fabric, 1234, 0, 1);
	fake_clear(&fake);
}

static void test_commit_rules(void)
{
	FakeMapper fake;
	g_autoptr(Fabric) fabric = plain_fabric(&fake);
	FakeBridgeDecoder d = { .index = 1, .hpa = 16 * MIB256, .len = MIB256 };
	static const struct {
		FakeBridgeDecoder decoder;
		bool ok;
	} cases[] = {
		{ { .len = 0 }, false },
		{ { .len = MIB256, .targets = { 4 } }, false }, /* no such port */
		{ { .len = MIB256, .targets = { 3 } }, true },
		{ { .len = MIB256, .ways = 2, .targets = { 0, 1 } }, false }, /* half each */
		{ { .len = 2 * MIB256, .ways = 2, .targets = { 0, 1 } }, true },
		{ { .len = 2 * MIB256, .ways = 2, .targets = { 1, 1 } }, false },
		{ { .len = 3 * MIB256, .ways = 3, .targets = { 0, 1, 2 } }, false },
		{ { .len = 16 * MIB256, .ways = 16 }, false },
		{ { .len = 4 * MIB256, .ways = 4, .targets = { 3, 1, 0, 2 } }, true },
		{ { .hpa = UINT64_MAX - MIB256 + 1, .len = 2 * MIB256 }, false },
	};

	g_assert_false(bridge_commit(fabric, UID, &d)); /* 0 is not committed */
	bridge_take_back(fabric, UID, 1);
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		FakeBridgeDecoder decoder = cases[i].decoder;

		decoder.hpa += 16 * MIB256 * (decoder.hpa == 0);
		g_assert_true(bridge_commit(fabric, UID, &decoder) == cases[i].ok);
		bridge_take_back(fabric, UID, 0);
	}
	d.index = 0;
	g_assert_true(bridge_commit(fabric, UID, &d));
	d.index = 1;
	g_assert_false(bridge_commit(fabric, UID, &d)); /* not above decoder 0 */
	bridge_take_back(fabric, UID, 1);
	d.hpa += MIB256;
	g_assert_true(bridge_commit(fabric, UID, &d));
	/* Out of order taking back is allowed, committing below a committed one is not. */
	bridge_take_back(fabric, UID, 0);
	d.index = 0;
	d.hpa -= MIB256;
	g_assert_false(bridge_commit(fabric, UID, &d));
	fake_clear(&fake);
}

static void test_frozen_and_locked(void)
{
	FakeMapper fake;
	g_autoptr(Fabric) fabric = plain_fabric(&fake);
	FakeBridgeDecoder d = { .hpa = 16 * MIB256, .len = MIB256, .targets = { 2 } };
	uint32_t ctrl_reg = HDM + CXL_HDM_DEC_CTRL(0), ctrl;
	uint8_t byte;

	/* Only what exists can be written, also byte by byte. */
	chbcr_put(fabric, UID, HDM + CXL_HDM_BASE_LO(0), UINT32_MAX);
	g_assert_cmphex(chbcr_get(fabric, UID, HDM + CXL_HDM_BASE_LO(0)), ==, 0xf0000000);
	byte = 0x20;
	fabric_chbcr_write(fabric, UID, HDM + CXL_HDM_BASE_LO(0) + 3, &byte, 1);
	g_assert_cmphex(chbcr_get(fabric, UID, HDM + CXL_HDM_BASE_LO(0)), ==, 0x20000000);
	chbcr_put(fabric, UID, HDM + CXL_HDM_CAP, 0);
	g_assert_cmphex(chbcr_get(fabric, UID, HDM + CXL_HDM_CAP), !=, 0);
	/* Read-only status bits cannot be set by software. */
	chbcr_put(fabric, UID, ctrl_reg, CXL_HDM_DEC_COMMITTED | CXL_HDM_DEC_ERROR);
	g_assert_cmphex(chbcr_get(fabric, UID, ctrl_reg), ==, 0);

	g_assert_true(bridge_commit(fabric, UID, &d));
	chbcr_put(fabric, UID, HDM + CXL_HDM_SIZE_HI(0), 1);
	chbcr_put(fabric, UID, HDM + CXL_HDM_TARGET_LO(0), 1);
	g_assert_cmphex(chbcr_get(fabric, UID, HDM + CXL_HDM_SIZE_HI(0)), ==, 0);
	g_assert_cmphex(chbcr_get(fabric, UID, HDM + CXL_HDM_TARGET_LO(0)), ==, 2);
	/* A write of other bits alone leaves it committed. */
	ctrl = chbcr_get(fabric, UID, ctrl_reg);
	chbcr_put(fabric, UID, ctrl_reg, ctrl | 0xff);
	g_assert_cmphex(chbcr_get(fabric, UID, ctrl_reg), ==, ctrl);
	/* Half a write: COMMIT is in the second byte. */
	byte = 0;
	fabric_chbcr_write(fabric, UID, ctrl_reg, &byte, 1);
	g_assert_cmphex(chbcr_get(fabric, UID, ctrl_reg), ==, ctrl);
	bridge_take_back(fabric, UID, 0);
	chbcr_put(fabric, UID, HDM + CXL_HDM_TARGET_LO(0), 1);
	g_assert_cmphex(chbcr_get(fabric, UID, HDM + CXL_HDM_TARGET_LO(0)), ==, 1);
	/* Locked: committed for good. */
	chbcr_put(fabric, UID, ctrl_reg, CXL_HDM_DEC_LOCK | CXL_HDM_DEC_COMMIT);
	g_assert_cmphex(chbcr_get(fabric, UID, ctrl_reg) & CXL_HDM_DEC_COMMITTED, !=, 0);
	chbcr_put(fabric, UID, ctrl_reg, 0);
	g_assert_cmphex(chbcr_get(fabric, UID, ctrl_reg) & CXL_HDM_DEC_COMMITTED, !=, 0);
	fake_clear(&fake);
}

/* ---- Root ports ---- */

static uint32_t port_get(Fabric *fabric, unsigned port, uint32_t offset)
{
	uint8_t buf[4];

	fabric_port_config_read(fabric, UID, port, offset, buf, 4);
	return le32_load(buf);
}

static void port_put(Fabric *fabric, unsigned port, uint32_t offset, uint32_t value, uint32_t len)
{
	uint8_t buf[4];

	le32_store(buf, value);
	fabric_port_config_write(fabric, UID, port, offset, buf, len);
}

static void test_root_port(void)
{
	FakeMapper fake;
	g_autoptr(Fabric) fabric = plain_fabric(&fake);
	uint32_t cap = port_get(fabric, 2, PCI_CFG_CAP_PTR) & 0xff, dvsecs = 0, regs = 0;
	uint8_t buf[8];

	g_assert_cmphex(port_get(fabric, 2, PCI_CFG_REVISION) >> 8, ==, PCI_CLASS_BRIDGE);
	g_assert_cmphex(port_get(fabric, 2, PCI_CFG_CACHE_LINE) >> 16 & 0x7f, ==, PCI_HDR_TYPE_1);
	g_assert_cmphex(port_get(fabric, 2, cap) & 0xff, ==, PCI_CAP_PCIE);
	g_assert_cmpuint(CXL_FIELD_GET(PCI_PCIE_CAPS_TYPE, port_get(fabric, 2, cap) >> 16), ==,
			 PCI_PCIE_TYPE_ROOT_PORT);
	g_assert_cmpuint(
		CXL_FIELD_GET(PCI_PCIE_LNKCAP_PORT, port_get(fabric, 2, cap + PCI_PCIE_LNKCAP)), ==,
		2);
	g_assert_cmphex(port_get(fabric, 2, cap + PCI_PCIE_LNKCTL) >> 16 & PCI_PCIE_LNKSTA_DLLLA,
			!=, 0);
	for (uint32_t at = PCI_EXTCAP_FIRST; at != 0;) {
		uint32_t header = port_get(fabric, 2, at),
			 id = port_get(fabric, 2, at + 8) & 0xffff;

		if (CXL_FIELD_GET(PCI_EXTCAP_ID, header) == PCI_EXTCAP_DVSEC) {
			g_assert_cmphex(port_get(fabric, 2, at + 4) & 0xffff, ==, PCI_VENDOR_CXL);
			dvsecs |= 1u << id;
			if (id == CXL_DVSEC_ID_REGISTER_LOCATOR)
				regs = port_get(fabric, 2, at + CXL_DVSEC_LOCATOR_ENTRY(0));
		}
		at = CXL_FIELD_GET(PCI_EXTCAP_NEXT, header);
	}
	g_assert_cmphex(dvsecs, ==, 1u << 3 | 1u << 4 | 1u << 7 | 1u << 8);
	g_assert_cmphex(regs, ==, CXL_LOCATOR_LO(0, CXL_LOCATOR_ID_COMPONENT, 0));
	/* BAR 0: sized, then placed. */
	port_put(fabric, 2, PCI_CFG_BAR(0), UINT32_MAX, 4);
	port_put(fabric, 2, PCI_CFG_BAR(1), UINT32_MAX, 4);
	g_assert_cmphex(port_get(fabric, 2, PCI_CFG_BAR(0)), ==, 0xffff0004);
	g_assert_cmphex(port_get(fabric, 2, PCI_CFG_BAR(1)), ==, 0xffffffff);
	/* Identity is nobody's to change, and only this port's registers change at all. */
	port_put(fabric, 2, PCI_CFG_VENDOR_ID, 0, 4);
	g_assert_cmphex(port_get(fabric, 2, PCI_CFG_VENDOR_ID) & 0xffff, ==, PCI_VENDOR_CXL);
	g_assert_cmphex(port_get(fabric, 1, PCI_CFG_BAR(0)), ==, 4);
	/* No decoders here, but the error registers. */
	fabric_port_bar_read(fabric, UID, 2, CXL_COMPONENT_CACHEMEM, buf, 8);
	g_assert_cmpuint(CXL_FIELD_GET(CXL_CM_ARRAY_COUNT, le32_load(buf)), ==, 1);
	g_assert_cmpuint(CXL_FIELD_GET(CXL_CM_CAP_ID, le32_load(buf + 4)), ==, CXL_CM_ID_RAS);
	fabric_port_bar_read(fabric, UID, 2, UINT64_MAX, buf, 8);
	g_assert_cmphex(port_get(fabric, 4, 0), ==, UINT32_MAX);
	fake_clear(&fake);
}

typedef struct FakeFunction {
	int ret;
	unsigned n_resets;
	uint32_t last_write;
} FakeFunction;

static int function_config_read(void *opaque, uint32_t offset, void *buf, uint32_t len)
{
	memset(buf, 0x42, len);
	return ((FakeFunction *)opaque)->ret;
}

static int function_config_write(void *opaque, uint32_t offset, const void *buf, uint32_t len)
{
	((FakeFunction *)opaque)->last_write = offset;
	return 0;
}

static int function_bar_read(void *opaque, unsigned bar, uint64_t offset, void *buf, uint32_t len)
{
	memset(buf, (int)bar, len);
	return 0;
}

static int function_bar_write(void *opaque, unsigned bar, uint64_t offset, const void *buf,
			      uint32_t len)
{
	((FakeFunction *)opaque)->last_write = (uint32_t)offset;
	return 0;
}

static void function_reset(void *opaque)
{
	((FakeFunction *)opaque)->n_resets++;
}

static const FabricFunction fake_function = { function_config_read, function_config_write,
					      function_bar_read, function_bar_write,
					      function_reset };

static uint32_t config_get(Fabric *fabric, uint32_t bdf, int expected)
{
	uint8_t buf[4];

	g_assert_cmpint(fabric_config_read(fabric, bdf, 0, buf, 4), ==, expected);
	return le32_load(buf);
}

static void test_routing(void)
{
	FakeMapper fake;
	g_autoptr(Fabric) fabric = plain_fabric(&fake);
	FakeFunction function = { 0 };
	uint32_t uid = 0;
	unsigned port = 0;
	uint8_t buf[4] = { 0 };

	g_assert_true(fabric_plug(fabric, UID, 1, &fake_function, &function));
	g_assert_false(fabric_plug(fabric, UID, 1, &fake_function, &function));
	g_assert_false(fabric_plug(fabric, UID, 4, &fake_function, &function));
	/* Ports are there from the start; what is behind only once buses are numbered. */
	g_assert_cmphex(config_get(fabric, 0x1000, 0) & 0xffff, ==, PCI_VENDOR_CXL);
	g_assert_cmphex(config_get(fabric, 0x1018, 0) & 0xffff, ==, PCI_VENDOR_CXL);
	g_assert_cmphex(config_get(fabric, 0x2000, 0) & 0xffff, ==, PCI_VENDOR_CXL);
	g_assert_cmphex(config_get(fabric, 0x1020, 0), ==, UINT32_MAX); /* no port 4 */
	g_assert_cmphex(config_get(fabric, 0x1001, 0), ==, UINT32_MAX); /* no function 1 */
	g_assert_cmphex(config_get(fabric, 0x1100, 0), ==, UINT32_MAX);
	g_assert_cmphex(config_get(fabric, 0x3000, 0), ==, UINT32_MAX);
	g_assert_cmphex(config_get(fabric, 0x11000, 0), ==, UINT32_MAX);
	port_put(fabric, 1, PCI_CFG1_PRIMARY_BUS, 0x151210, 3); /* 12h to 15h behind port 1 */
	g_assert_cmphex(config_get(fabric, 0x1200, 0), ==, 0x42424242);
	g_assert_cmphex(config_get(fabric, 0x1208, 0), ==, UINT32_MAX);
	g_assert_cmphex(config_get(fabric, 0x1300, 0), ==, UINT32_MAX);
	g_assert_true(fabric_find_function(fabric, 0x1200, &uid, &port));
	g_assert_cmpuint(uid, ==, UID);
	g_assert_cmpuint(port, ==, 1);
	g_assert_false(fabric_find_function(fabric, 0x1008, &uid, &port));
	g_assert_cmpint(fabric_bar_read(fabric, 0x1200, 2, 0, buf, 4), ==, 0);
	g_assert_cmphex(le32_load(buf), ==, 0x02020202);
	g_assert_cmpint(fabric_bar_write(fabric, 0x1200, 2, 0x77, buf, 4), ==, 0);
	g_assert_cmphex(function.last_write, ==, 0x77);
	g_assert_cmpint(fabric_config_write(fabric, 0x1200, 0x44, buf, 4), ==, 0);
	g_assert_cmphex(function.last_write, ==, 0x44);
	g_assert_cmpint(fabric_bar_read(fabric, 0x1008, 0, CXL_COMPONENT_CACHEMEM, buf, 4), ==, 0);
	g_assert_cmpuint(CXL_FIELD_GET(CXL_CM_ARRAY_ID, le32_load(buf)), ==, CXL_CM_ID_CXL);
	function.ret = -EIO;
	g_assert_cmphex(config_get(fabric, 0x1200, -EIO), ==, UINT32_MAX);
	g_assert_true(fabric_plug(fabric, UID, 1, NULL, NULL));
	g_assert_cmphex(config_get(fabric, 0x1200, 0), ==, UINT32_MAX);
	fake_clear(&fake);
}

static void test_bus_reset(void)
{
	FakeMapper fake;
	g_autoptr(Fabric) fabric = plain_fabric(&fake);
	FakeFunction function = { 0 };
	uint32_t port_dvsec = PCI_EXTCAP_FIRST;

	while ((port_get(fabric, 1, port_dvsec) & 0xffff) != PCI_EXTCAP_DVSEC ||
	       (port_get(fabric, 1, port_dvsec + 8) & 0xffff) != CXL_DVSEC_ID_PORT)
		port_dvsec = CXL_FIELD_GET(PCI_EXTCAP_NEXT, port_get(fabric, 1, port_dvsec));
	fabric_plug(fabric, UID, 1, &fake_function, &function);
	port_put(fabric, 1, PCI_CFG1_BRIDGE_CTRL, PCI_BRIDGE_BUS_RESET, 2);
	g_assert_cmpuint(function.n_resets, ==, 0); /* masked on CXL ports */
	port_put(fabric, 1, PCI_CFG1_BRIDGE_CTRL, 0, 2);
	port_put(fabric, 1, port_dvsec + offsetof(CxlDvsecPort, ctrl),
		 CXL_DVSEC_PORT_CTRL_UNMASK_SBR, 2);
	port_put(fabric, 1, PCI_CFG1_BRIDGE_CTRL, PCI_BRIDGE_BUS_RESET, 2);
	port_put(fabric, 1, PCI_CFG1_BRIDGE_CTRL, PCI_BRIDGE_BUS_RESET, 2);
	g_assert_cmpuint(function.n_resets, ==, 1);
	fake_clear(&fake);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/fabric/registers/windows", test_windows);
	g_test_add_func("/unit/fabric/registers/bridges", test_bridges);
	g_test_add_func("/unit/fabric/registers/capabilities", test_capabilities);
	g_test_add_func("/unit/fabric/registers/commit-rules", test_commit_rules);
	g_test_add_func("/unit/fabric/registers/frozen-and-locked", test_frozen_and_locked);
	g_test_add_func("/unit/fabric/registers/root-port", test_root_port);
	g_test_add_func("/unit/fabric/registers/routing", test_routing);
	g_test_add_func("/unit/fabric/registers/bus-reset", test_bus_reset);
	return g_test_run();
}

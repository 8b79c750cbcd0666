/* SPDX-License-Identifier: BSD-3-Clause */
/* The design's reset table, row by row; resets reached through registers; the device's clock. */
#include "device/hdm.h"
#include "endpoint-fixture.h"

static uint64_t find_hdm(Endpoint *ep)
{
	unsigned n = (unsigned)bar(ep, 0, 0x1003, 1);

	for (unsigned i = 1; i <= n; i++) {
		uint32_t cap = (uint32_t)bar(ep, 0, 0x1000 + 4 * i, 4);

		if (CXL_FIELD_GET(CXL_CM_CAP_ID, cap) == CXL_CM_ID_HDM)
			return 0x1000 + CXL_FIELD_GET(CXL_CM_CAP_PTR, cap);
	}
	g_assert_not_reached();
}

/* Everything a reset may touch is set to something else first. */
static void scribble(Endpoint *ep)
{
	uint64_t hdm = find_hdm(ep);

	cfg_write(ep, PCI_CFG_COMMAND, PCI_CMD_MEM | PCI_CMD_MASTER, 2);
	cfg_write(ep, PCI_CFG_BAR(0), 0xfe000000, 4);
	cfg_write(ep, PCI_CFG_BAR(1), 1, 4);
	cfg_write(ep, find_cap(ep, PCI_CAP_MSIX) + PCI_MSIX_CTRL, PCI_MSIX_CTRL_ENABLE, 2);
	cfg_write(ep, find_cap(ep, PCI_CAP_PCIE) + PCI_PCIE_LNKCTL, PCI_PCIE_LNKCTL_COMMON_CLOCK,
		  2);
	cfg_write(ep, find_cap(ep, PCI_CAP_PCIE) + PCI_PCIE_DEVCTL, 0x1 | 1 << 5, 2);
	cfg_write(ep, find_ext_cap(ep, PCI_EXTCAP_AER, -1) + PCI_AER_UE_MASK, 0, 4);
	cfg_write(ep, find_dvsec(ep, CXL_DVSEC_ID_DEVICE, 3, 0x3c) + 0x0c, 4, 2);
	cfg_write(ep, find_ext_cap(ep, PCI_EXTCAP_DOE, -1) + PCI_DOE_REG_CTRL, PCI_DOE_CONTROL_GO,
		  4);
	bar_write(ep, DEVICE_BAR_MSIX, 0, 0xfee00000, 8);
	bar_write(ep, 0, hdm + CXL_HDM_CTRL, CXL_HDM_CTRL_ENABLE, 4);
	for (unsigned i = 0; i < 2; i++) {
		bar_write(ep, 0, hdm + CXL_HDM_BASE_LO(i), HPA + i * GIB, 8);
		bar_write(ep, 0, hdm + CXL_HDM_SIZE_LO(i), GIB, 8);
		bar_write(ep, 0, hdm + CXL_HDM_DEC_CTRL(i),
			  CXL_HDM_DEC_COMMIT | (i == 0 ? CXL_HDM_DEC_LOCK : 0), 4);
	}
}

static void check_reset(Endpoint *ep, bool flr)
{
	uint64_t hdm = find_hdm(ep);
	unsigned pcie = find_cap(ep, PCI_CAP_PCIE);

	g_assert_cmphex(cfg(ep, PCI_CFG_COMMAND, 2), ==, 0);
	g_assert_cmphex(cfg(ep, PCI_CFG_BAR(0), 4), ==, PCI_BAR_MEM_64);
	g_assert_cmphex(cfg(ep, PCI_CFG_BAR(1), 4), ==, 0);
	g_assert_cmphex(cfg(ep, find_cap(ep, PCI_CAP_MSIX) + PCI_MSIX_CTRL, 2), ==, 7);
	g_assert_cmphex(bar(ep, DEVICE_BAR_MSIX, 0, 8), ==, 0);
	g_assert_cmphex(cfg(ep, find_ext_cap(ep, PCI_EXTCAP_DOE, -1) + PCI_DOE_REG_STATUS, 4), ==,
			0);
	g_assert_cmphex(cfg(ep, pcie + PCI_PCIE_DEVCTL, 2) & 0x800f, ==, 0);
	g_assert_cmphex(cfg(ep, pcie + PCI_PCIE_DEVCTL, 2) & PCI_PCIE_DEVCTL_MPS, ==,
			flr ? 0x20 : 0);
	g_assert_cmphex(cfg(ep, pcie + PCI_PCIE_LNKCTL, 2), ==, flr ? 0x40 : 0);
	g_assert_cmphex(cfg(ep, find_ext_cap(ep, PCI_EXTCAP_AER, -1) + PCI_AER_UE_MASK, 4), ==,
			flr ? 0 : PCI_AER_UE_MASK_DEFAULT);
	g_assert_cmphex(cfg(ep, find_dvsec(ep, CXL_DVSEC_ID_DEVICE, 3, 0x3c) + 0x0c, 2), ==,
			flr ? 6 : 2);
	g_assert_cmphex(bar(ep, 0, hdm + CXL_HDM_CTRL, 4), ==, flr ? CXL_HDM_CTRL_ENABLE : 0);
	for (unsigned i = 0; i < 2; i++) {
		uint64_t ctrl = bar(ep, 0, hdm + CXL_HDM_DEC_CTRL(i), 4);

		g_assert_cmphex(ctrl & CXL_HDM_DEC_COMMITTED, ==, flr ? CXL_HDM_DEC_COMMITTED : 0);
		g_assert_cmphex(bar(ep, 0, hdm + CXL_HDM_BASE_LO(i), 8), ==,
				flr ? HPA + i * GIB : 0);
	}
}

static void count(const HdmDecoder *decoder, void *opaque)
{
	(*(unsigned *)opaque)++;
}

static void test_resets(void)
{
	static const struct {
		DeviceReset kind;
		DcReset dc;
	} rows[] = {
		{ DEVICE_RESET_FLR, DC_RESET_FLR },
		{ DEVICE_RESET_CONVENTIONAL, DC_RESET_CONVENTIONAL },
		{ DEVICE_RESET_NEW_SESSION, DC_RESET_CONVENTIONAL },
		{ DEVICE_RESET_FORGET, DC_RESET_FORGET },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autoptr(Endpoint) ep = ep_new(2 * GIB, 0, 1);
		bool flr = rows[i].kind == DEVICE_RESET_FLR;
		unsigned n = 0;

		scribble(ep);
		g_assert_cmpuint(ep->n_committed, ==, 2);
		device_reset(ep->dev, rows[i].kind);
		check_reset(ep, flr);
		g_assert_cmpuint(ep->n_dc_resets, ==, 1);
		g_assert_cmpint(ep->dc_reset, ==, rows[i].dc);
		g_assert_cmpuint(ep->n_taken_back, ==, flr ? 0 : 2);
		device_foreach_decoder(ep->dev, count, &n);
		g_assert_cmpuint(n, ==, flr ? 2 : 0);
	}
}

static void test_flr(void)
{
	g_autoptr(Endpoint) ep = ep_new(2 * GIB, 0, 1);
	unsigned devctl = find_cap(ep, PCI_CAP_PCIE) + PCI_PCIE_DEVCTL;

	scribble(ep);
	cfg_write(ep, devctl, 0x7f, 1); /* the other byte */
	g_assert_cmpuint(ep->n_dc_resets, ==, 0);
	cfg_write(ep, devctl, cfg(ep, devctl, 2) | PCI_PCIE_DEVCTL_FLR, 2);
	g_assert_cmpuint(ep->n_dc_resets, ==, 1);
	g_assert_cmpint(ep->dc_reset, ==, DC_RESET_FLR);
	g_assert_cmphex(cfg(ep, devctl, 2) & PCI_PCIE_DEVCTL_FLR, ==, 0);
	scribble(ep);
	cfg_write(ep, devctl + 1, 0x80, 1);
	g_assert_cmpuint(ep->n_dc_resets, ==, 2);
	check_reset(ep, true);
}

/* The decoders' deadline is the device's. */
static void test_deadline(void)
{
	g_autoptr(Endpoint) ep = ep_new(2 * GIB, 0, 1);
	uint64_t hdm = find_hdm(ep), ctrl;

	g_assert_true(device_next_deadline_us(ep->dev) == UINT64_MAX);
	ep->silent = true;
	scribble(ep);
	g_assert_cmpuint(ep->n_deadlines, >, 0);
	g_assert_cmpuint(device_next_deadline_us(ep->dev), ==, ep->f.now_us + HDM_ANSWER_US);
	ep->f.now_us += HDM_ANSWER_US - 1;
	device_tick(ep->dev);
	ctrl = bar(ep, 0, hdm + CXL_HDM_DEC_CTRL(0), 4);
	g_assert_cmphex(ctrl & (CXL_HDM_DEC_ERROR | CXL_HDM_DEC_COMMITTED), ==, 0);
	ep->f.now_us += 1;
	device_tick(ep->dev);
	ctrl = bar(ep, 0, hdm + CXL_HDM_DEC_CTRL(0), 4);
	g_assert_cmphex(ctrl & (CXL_HDM_DEC_ERROR | CXL_HDM_DEC_COMMITTED), ==, CXL_HDM_DEC_ERROR);
	g_assert_true(device_next_deadline_us(ep->dev) == UINT64_MAX);
}

/* An FLR leaves a commit under way alone; a conventional reset does not. */
static void test_under_way(void)
{
	g_autoptr(Endpoint) ep = ep_new(2 * GIB, 0, 1);
	uint64_t ctrl = find_hdm(ep) + CXL_HDM_DEC_CTRL(0);

	ep->silent = true;
	scribble(ep);
	device_reset(ep->dev, DEVICE_RESET_FLR);
	device_decoder_done(ep->dev, ep->last_req, true);
	g_assert_true(bar(ep, 0, ctrl, 4) & CXL_HDM_DEC_COMMITTED);
	device_reset(ep->dev, DEVICE_RESET_CONVENTIONAL);
	scribble(ep);
	device_reset(ep->dev, DEVICE_RESET_CONVENTIONAL);
	device_decoder_done(ep->dev, ep->last_req, true);
	g_assert_cmphex(bar(ep, 0, ctrl, 4), ==, CXL_HDM_DEC_HOST_ONLY);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/device/reset/resets", test_resets);
	g_test_add_func("/unit/device/reset/flr", test_flr);
	g_test_add_func("/unit/device/reset/deadline", test_deadline);
	g_test_add_func("/unit/device/reset/under-way", test_under_way);
	return g_test_run();
}

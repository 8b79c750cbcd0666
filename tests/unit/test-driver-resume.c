/* SPDX-License-Identifier: BSD-3-Clause */
/* Driver: a device that was away and is back, as it was, without memory of us, or another one. */
#include "dcd-fixture.h"

#define DVSEC_CTRL (FAKE_DVSEC_DEVICE + offsetof(CxlDvsecDevice, ctrl))

/* What a new daemon without a session makes of it. */
static void forget_host(Host *host)
{
	FakeEp *ep = host->ep;

	memset(ep->bar, 0, CXL_COMPONENT_LEN);
	fake_component(ep->bar, 4, 0);
	put16(ep->config + PCI_CFG_COMMAND, 0);
	put16(ep->config + DVSEC_CTRL, 0);
	memset(ep->policy, 0, sizeof(ep->policy));
	for (unsigned i = 0; i < CXL_N_LOGS; i++)
		g_array_set_size(ep->log[i], 0);
	g_string_truncate(host->fake->trace, 0);
}

static uint64_t hpa_of(Host *host, uint64_t dpa)
{
	uint64_t hpa = 0, run;

	g_assert_cmpint(cxl_memdev_hpa_of_dpa(host->memdev, dpa, &hpa, &run), ==, 0);
	return hpa;
}

static void assert_policy(Host *host)
{
	for (unsigned i = 0; i < CXL_N_LOGS; i++)
		g_assert_cmpuint(CXL_FIELD_GET(CXL_INT_MODE, host->ep->policy[i]), ==,
				 CXL_INT_MODE_MSI);
}

static void test_kept(void)
{
	g_autoptr(Host) host = host_new(12, false, NULL);

	accept_one(host, 5, 0, 3);
	g_string_truncate(host->fake->trace, 0);
	g_assert_cmpint(cxl_memdev_resume(host->memdev), ==, 1);
	g_assert_cmpstr(host->fake->trace->str, ==, "");
	g_assert_cmpint(cxl_dcd_resume(host->dcd), ==, 0);
	assert_story(host, "");
	assert_held(host, 1, 3);
	assert_policy(host);
	g_assert_cmpuint(host->ep->n_releases, ==, 0);
}

static void test_forgotten(void)
{
	g_autoptr(Host) host = host_new(12, false, NULL);
	uint64_t hpa = hpa_of(host, DC_BASE);

	accept_one(host, 5, 0, 3);
	forget_host(host);
	g_array_set_size(host->ep->accepted, 0);
	g_assert_cmpint(cxl_memdev_resume(host->memdev), ==, 0);
	/* The endpoint's decoder only, where it was; the bridge's has not changed. */
	g_assert_cmpstr(host->fake->trace->str, ==,
			"ep1.0 enable\n"
			"ep1.0 0+04 00000080\n"
			"ep1.0 0+00 00000000\n"
			"ep1.0 0+0c 00000004\n"
			"ep1.0 0+08 00000000\n"
			"ep1.0 0+18 00000000\n"
			"ep1.0 0+14 10000000\n"
			"ep1.0 0+10 00001200\n");
	g_assert_cmphex(hpa_of(host, DC_BASE), ==, hpa);
	g_assert_cmphex(le16_load(host->ep->config + DVSEC_CTRL), ==, CXL_DVSEC_DEVICE_CTRL_MEM);
	g_assert_cmphex(le16_load(host->ep->config + PCI_CFG_COMMAND), ==,
			PCI_CMD_MEM | PCI_CMD_MASTER);
	g_assert_cmpint(cxl_dcd_resume(host->dcd), ==, 0);
	assert_story(host, "revoked:05*3 ");
	assert_held(host, 0, 0);
	assert_policy(host);

	/* And all goes on. */
	offer(host, 6, 0, 2, false);
	cxl_dcd_poll(host->dcd, 0);
	assert_story(host, "offer:06*2 mapped:06*2 ");
	g_assert_cmphex(g_array_index(host->mapped, CxlHostExtent, 3).hpa, ==, hpa);
	g_assert_cmpint(cxl_driver_unprogram(host->fake->driver, host->region), ==, 0);
}

/* What somebody else has programmed meanwhile is taken back first. */
static void test_programmed_otherwise(void)
{
	g_autoptr(Host) host = host_new(12, false, NULL);
	uint64_t hpa = hpa_of(host, DC_BASE);
	uint8_t *hdm = host->ep->bar + CXL_COMPONENT_CACHEMEM + FAKE_HDM;

	put32(hdm + CXL_HDM_BASE_HI(0), 0x90);
	g_string_truncate(host->fake->trace, 0);
	g_assert_cmpint(cxl_memdev_resume(host->memdev), ==, 0);
	g_assert_true(g_str_has_prefix(host->fake->trace->str, "ep1.0 0+10 00001000\n"));
	g_assert_true(g_str_has_suffix(host->fake->trace->str, "ep1.0 0+10 00001200\n"));
	g_assert_cmphex(le32_load(hdm + CXL_HDM_BASE_HI(0)), ==, (uint32_t)(hpa >> 32));
	g_assert_cmpint(cxl_memdev_resume(host->memdev), ==, 1);
}

static void test_fails_and_tries_again(void)
{
	g_autoptr(Host) host = host_new(12, false, NULL);

	forget_host(host);
	host->ep->hdm.commit = FAKE_COMMIT_ERROR;
	g_assert_cmpint(cxl_memdev_resume(host->memdev), ==, -EIO);
	host->ep->hdm.commit = FAKE_COMMIT_NEVER;
	g_assert_cmpint(cxl_memdev_resume(host->memdev), ==, -ETIMEDOUT);
	host->ep->hdm.commit = FAKE_COMMIT_OK;
	host->ep->dead = true;
	g_assert_cmpint(cxl_memdev_resume(host->memdev), ==, -ENODEV);
	g_assert_cmpint(cxl_dcd_resume(host->dcd), <, 0);
	host->ep->dead = false;
	g_assert_cmpint(cxl_memdev_resume(host->memdev), ==, 0);
	g_assert_cmpint(cxl_dcd_resume(host->dcd), ==, 0);
	hpa_of(host, DC_BASE);
}

/* Not the device it was: nothing is programmed, and it may be right the next time. */
static void test_another_device(void)
{
	g_autoptr(Host) host = host_new(12, false, NULL);
	uint8_t *serial = host->ep->config + FAKE_DSN + PCI_DSN_LO;

	accept_one(host, 5, 0, 3);
	forget_host(host);
	serial[0] ^= 1;
	g_assert_cmpint(cxl_memdev_resume(host->memdev), ==, -ESTALE);
	g_assert_nonnull(strstr(cxl_driver_error(host->fake->driver), "another identity"));
	serial[0] ^= 1;
	fake_set_payload(host->ep, 11);
	g_assert_cmpint(cxl_memdev_resume(host->memdev), ==, -ESTALE);
	fake_set_payload(host->ep, 13); /* more than the register block that was found */
	g_assert_cmpint(cxl_memdev_resume(host->memdev), ==, -ERANGE);
	fake_set_payload(host->ep, 12);
	host->ep->n_dc_regions = 2;
	g_assert_cmpint(cxl_memdev_resume(host->memdev), ==, -ESTALE);
	host->ep->n_dc_regions = 1;
	g_assert_cmpstr(host->fake->trace->str, ==, "");
	g_assert_cmpint(cxl_memdev_resume(host->memdev), ==, 0);
	g_assert_cmpint(cxl_dcd_resume(host->dcd), ==, 0);
	assert_held(host, 1, 3);
}

/* An offer of which half had been read comes again, and is one offer. */
static void test_half_a_chain(void)
{
	g_autoptr(Host) host = host_new(12, false, NULL);

	post(host, CXL_DC_EVENT_ADD, extent(7, 0, 0), true);
	cxl_dcd_poll(host->dcd, 0);
	assert_story(host, "");
	forget_host(host);
	offer(host, 7, 0, 2, false);
	g_assert_cmpint(cxl_memdev_resume(host->memdev), ==, 0);
	g_assert_cmpint(cxl_dcd_resume(host->dcd), ==, 0);
	cxl_dcd_poll(host->dcd, 0);
	assert_story(host, "offer:07*2 mapped:07*2 ");
	assert_held(host, 1, 2);
}

/* Accepted while we could not hear it: the device's list tells. */
static void test_answer_unheard(void)
{
	g_autoptr(Host) host = host_new(12, false, NULL);
	CxlDcExtent accepted = extent(8, 4, 0);

	host->ep->hang = CXL_OP_ADD_DC_RESPONSE;
	offer(host, 8, 4, 1, false);
	g_assert_cmpint(cxl_dcd_poll(host->dcd, 0), ==, -ETIMEDOUT);
	g_assert_true(g_str_has_prefix(host->story->str, "offer:08*1 refused:08="));
	g_string_truncate(host->story, 0);
	host->ep->hang = 0;
	/* The new device has no command of the old one. */
	put32(host->ep->bar + FAKE_DEVICE + FAKE_MAILBOX + CXL_MBOX_CTRL, 0);
	forget_host(host);
	g_array_set_size(host->ep->accepted, 0);
	g_array_append_val(host->ep->accepted, accepted);
	g_assert_cmpint(cxl_memdev_resume(host->memdev), ==, 0);
	g_assert_cmpint(cxl_dcd_resume(host->dcd), ==, 0);
	assert_story(host, "found:08*1 mapped:08*1 ");
	assert_held(host, 1, 1);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/driver/resume/kept", test_kept);
	g_test_add_func("/unit/driver/resume/forgotten", test_forgotten);
	g_test_add_func("/unit/driver/resume/programmed-otherwise", test_programmed_otherwise);
	g_test_add_func("/unit/driver/resume/fails", test_fails_and_tries_again);
	g_test_add_func("/unit/driver/resume/another-device", test_another_device);
	g_test_add_func("/unit/driver/resume/half-a-chain", test_half_a_chain);
	g_test_add_func("/unit/driver/resume/answer-unheard", test_answer_unheard);
	return g_test_run();
}

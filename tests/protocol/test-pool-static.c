/* SPDX-License-Identifier: BSD-3-Clause */
/* A decoder over static memory is committed when the host has the memory, not before. */
#include "pool_fixture.h"

static TestHost *start(Pool *pool)
{
	DcRegionConfig region = { .len = REGION_LEN, .block_size = BLOCK };
	PoolDeviceConfig config = {
		.name = "dev0",
		.ram_len = REGION_LEN,
		.regions = &region,
		.n_regions = 1,
		.hold_off = true,
	};

	return test_host(pool, test_device_with(pool, &config), LINK_RAW);
}

/* What nobody answers yet. */
static void begin_commit(TestHost *host, unsigned index, uint64_t hpa, uint64_t len)
{
	reg_write(host, host->hdm + CXL_HDM_BASE_LO(index), hpa, 8);
	reg_write(host, host->hdm + CXL_HDM_SIZE_LO(index), len, 8);
	reg_write(host, host->hdm + CXL_HDM_DEC_CTRL(index), CXL_HDM_DEC_COMMIT, 4);
}

static bool has_error(TestHost *host, unsigned index)
{
	return reg_read(host, host->hdm + CXL_HDM_DEC_CTRL(index), 4) & CXL_HDM_DEC_ERROR;
}

/* The host hears of the decoder only when all it leads to is there. */
static void test_waits(void)
{
	g_autoptr(Pool) pool = test_pool();
	g_autoptr(TestHost) host = start(pool);

	begin_commit(host, 0, WINDOW_HPA, 2 * REGION_LEN);
	link_oblige(host->link, MEM_LINK_PREPARE);
	link_oblige(host->link, MEM_LINK_EXPOSE);
	g_assert_cmpuint(link_n_exposed(host->link), ==, 1);
	link_oblige(host->link, MEM_LINK_DECODER);
	g_assert_true(host_decoder_is_committed(host, 0));
	g_assert_false(has_error(host, 0));
}

/* Registers that are asked for meanwhile are answered when it is decided. */
static void test_held(void)
{
	g_autoptr(Pool) pool = test_pool();
	g_autoptr(TestHost) host = start(pool);

	begin_commit(host, 0, WINDOW_HPA, REGION_LEN);
	link_peer_run(host->link, 20);
	g_assert_true(host_decoder_is_committed(host, 0));
	link_peer_stop(host->link);
	g_assert_cmpuint(link_n_exposed(host->link), ==, 1);
}

/* Dynamic capacity is another matter. */
static void test_other_range(void)
{
	g_autoptr(Pool) pool = test_pool();
	g_autoptr(TestHost) host = start(pool);
	g_autoptr(LinkMessage) prepare = NULL;

	reg_write(host, host->hdm + CXL_HDM_SKIP_LO(0), REGION_LEN, 8);
	begin_commit(host, 0, WINDOW_HPA, REGION_LEN);
	prepare = link_expect(host->link, MEM_LINK_PREPARE);
	link_oblige(host->link, MEM_LINK_DECODER);
	g_assert_true(host_decoder_is_committed(host, 0));
}

/* Without memory there is no commit; with it there is, at the next try. */
static void test_refused(void)
{
	g_autoptr(Pool) pool = test_pool();
	g_autoptr(TestHost) host = start(pool);
	g_autoptr(LinkMessage) prepare = NULL;

	begin_commit(host, 0, WINDOW_HPA, REGION_LEN);
	prepare = link_expect(host->link, MEM_LINK_PREPARE);
	g_assert_true(has_error(host, 0));
	g_assert_false(host_decoder_is_committed(host, 0));
	link_apply(host->link, prepare);
	link_answer(host->link, prepare, MEM_LINK_OK);
	link_oblige(host->link, MEM_LINK_EXPOSE);
	/* What came too late is told to the host and taken back. */
	link_oblige(host->link, MEM_LINK_DECODER);
	link_oblige(host->link, MEM_LINK_DECODER);
	g_assert_false(host_decoder_is_committed(host, 0));
	reg_write(host, host->hdm + CXL_HDM_DEC_CTRL(0), 0, 4);
	begin_commit(host, 0, WINDOW_HPA, REGION_LEN);
	link_oblige(host->link, MEM_LINK_DECODER);
	g_assert_true(host_decoder_is_committed(host, 0));
}

/* A link that goes takes the commit with it; the next one brings memory and decoder. */
static void test_link_goes(void)
{
	g_autoptr(Pool) pool = test_pool();
	g_autoptr(TestHost) host = start(pool);

	begin_commit(host, 0, WINDOW_HPA, REGION_LEN);
	test_host_unlink(host);
	g_assert_true(has_error(host, 0));
	reg_write(host, host->hdm + CXL_HDM_DEC_CTRL(0), 0, 4);
	test_host_relink(host, NULL, 0);
	begin_commit(host, 0, WINDOW_HPA, REGION_LEN);
	link_oblige(host->link, MEM_LINK_PREPARE);
	link_oblige(host->link, MEM_LINK_EXPOSE);
	link_oblige(host->link, MEM_LINK_DECODER);
	g_assert_true(host_decoder_is_committed(host, 0));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/pool-static/waits", test_waits);
	g_test_add_func("/protocol/pool-static/held", test_held);
	g_test_add_func("/protocol/pool-static/other-range", test_other_range);
	g_test_add_func("/protocol/pool-static/refused", test_refused);
	g_test_add_func("/protocol/pool-static/link-goes", test_link_goes);
	return g_test_run();
}

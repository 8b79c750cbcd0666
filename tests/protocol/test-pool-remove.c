/* SPDX-License-Identifier: BSD-3-Clause */
/* Devices that go, and pools that end, while hosts are connected and commands under way. */
#include "../unit/processes.h"
#include "pool_fixture.h"

#include <glib/gstdio.h>
#include <sys/socket.h>

#define TAG 1

/* An open command that asked for an interrupt; the link says nothing to it. */
static void start_with_interrupt(TestHost *host)
{
	const DcRange range = { 0, BLOCK };
	uint8_t payload[sizeof(CxlDcResponseHeader) + sizeof(CxlDcResponseEntry)] = { 0 };
	CxlDcResponseHeader header = { .n_extents = le32_put(1) };
	CxlDcResponseEntry entry = { .dpa = le64_put(range.dpa), .len = le64_put(range.len) };

	test_offer_one(host, TAG, range.dpa, range.len);
	memcpy(payload, &header, sizeof(header));
	memcpy(payload + sizeof(header), &entry, sizeof(entry));
	g_assert_cmpint(vfu_client_write(host->vfu, DEVICE_BAR_REGS, host->payload, payload,
					 sizeof(payload), false),
			==, 0);
	reg_write(host, host->mbox + CXL_MBOX_CMD,
		  CXL_FIELD_PUT(CXL_MBOX_CMD_OPCODE, (uint64_t)CXL_OP_ADD_DC_RESPONSE) |
			  CXL_FIELD_PUT(CXL_MBOX_CMD_LEN, (uint64_t)sizeof(payload)),
		  8);
	reg_write(host, host->mbox + CXL_MBOX_CTRL,
		  CXL_MBOX_CTRL_DOORBELL | CXL_MBOX_CTRL_DOORBELL_INT_EN, 4);
	g_assert_true(mbox_is_busy(host));
}

static void test_end_in_command(void)
{
	g_autoptr(Pool) pool = test_pool();
	g_autoptr(TestHost) host = NULL;
	g_autoptr(LinkMessage) prepare = NULL;

	test_backend(pool, "kv", TAG, BLOCK);
	host = test_host(pool, test_device(pool, "dev0"), LINK_RAW);
	host_settle(host);
	start_with_interrupt(host);
	prepare = link_expect(host->link, MEM_LINK_PREPARE);
	g_clear_pointer(&pool, pool_free);
	host->pool = NULL;
}

static PoolDevice *device_with_statics(Pool *pool, const char *dir)
{
	g_autofree char *pmem = g_build_filename(dir, "pmem", NULL);
	DcRegionConfig region = { .len = REGION_LEN, .block_size = BLOCK };
	PoolDeviceConfig config = {
		.name = "dev0",
		.ram_len = 256 * MIB,
		.pmem_len = 256 * MIB,
		.pmem_path = pmem,
		.lsa_len = 4096,
		.regions = &region,
		.n_regions = 1,
		.hold_off = true,
	};

	return test_device_with(pool, &config);
}

/* With a host on it that maps its partitions, and asked for something just now. */
static void test_remove_under_host(void)
{
	g_autofree char *dir = g_dir_make_tmp("softdcd-XXXXXX", NULL);
	g_autofree char *pmem = g_build_filename(dir, "pmem", NULL);
	g_autoptr(Pool) pool = test_pool();
	g_autoptr(GError) error = NULL;
	unsigned n_fds = 0;

	test_backend(pool, "kv", TAG, BLOCK);
	for (unsigned i = 0; i < 3; i++) {
		PoolDevice *device = device_with_statics(pool, dir);
		g_autoptr(TestHost) host = test_host(pool, device, i == 2 ? LINK_NONE : LINK_RAW);

		/* Answered, or not: a prepare of the partitions is then open. */
		if (i == 0)
			host_settle(host);
		test_offer_one(host, TAG, 0, BLOCK);
		pool_remove_device(pool, device, &error);
		g_assert_no_error(error);
		if (host->link)
			while (!link_is_closed(host->link))
				;
		g_clear_pointer(&host, test_host_free);
		pool_barrier(pool);
		/* One stays: the pool watches this process. */
		if (i == 0)
			n_fds = count_fds();
		g_assert_cmpuint(count_fds(), ==, n_fds);
	}
	g_unlink(pmem);
	g_rmdir(dir);
}

static void test_remove_busy(void)
{
	g_autoptr(Pool) pool = test_pool();
	PoolDevice *device = test_device(pool, "dev0");
	g_autoptr(TestHost) host = test_host(pool, device, LINK_RAW);
	g_autoptr(GError) error = NULL;

	host_settle(host);
	test_backend(pool, "kv", TAG, BLOCK);
	test_offer_one(host, TAG, 0, BLOCK);
	g_assert_cmphex(host_accept_one(host, 0, BLOCK), ==, CXL_RC_SUCCESS);
	g_assert_false(pool_remove_device(pool, device, &error));
	g_assert_error(error, CAPACITY_ERROR, CAPACITY_ERROR_BUSY);
	g_assert_cmphex(host_release_one(host, 0, BLOCK), ==, CXL_RC_SUCCESS);
	host_drain(host);
	g_clear_error(&error);
	pool_remove_device(pool, device, &error);
	g_assert_no_error(error);
}

/* What cannot be made leaves nothing behind, and its name free. */
static void test_add_refused(void)
{
	g_autofree char *dir = g_dir_make_tmp("softdcd-XXXXXX", NULL);
	g_autofree char *nowhere = g_build_filename(dir, "no", "where", NULL);
	g_autofree char *stray = g_build_filename(dir, "stray", NULL);
	g_autoptr(Pool) pool = test_pool();
	PoolDeviceConfig config = { .name = "dev0", .pmem_len = 256 * MIB, .pmem_path = nowhere };
	unsigned n_fds;

	pool_barrier(pool);
	n_fds = count_fds();
	g_assert_null(pool_add_device(pool, &config, NULL));
	g_assert_cmpuint(count_fds(), ==, n_fds);
	test_device(pool, "dev0");
	/* The name is taken: no file is made. */
	config.pmem_path = stray;
	g_assert_null(pool_add_device(pool, &config, NULL));
	g_assert_false(g_file_test(stray, G_FILE_TEST_EXISTS));
	g_rmdir(dir);
}

/* A link that cannot be served takes the registers' connection with it. */
static void test_attach_both_or_none(void)
{
	g_autoptr(Pool) pool = test_pool();
	PoolDevice *device = test_device(pool, "dev0");
	int vfu[2], wrong[2];
	g_autoptr(TestHost) host = NULL;

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, vfu), ==, 0);
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, wrong), ==, 0);
	g_assert_false(pool_attach_host(pool, device, vfu[0], wrong[0], NULL));
	host = test_host(pool, device, LINK_RAW);
	host_settle(host);
	close(vfu[1]);
	close(wrong[1]);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/pool/remove/end-in-command", test_end_in_command);
	g_test_add_func("/pool/remove/under-host", test_remove_under_host);
	g_test_add_func("/pool/remove/busy", test_remove_busy);
	g_test_add_func("/pool/remove/add-refused", test_add_refused);
	g_test_add_func("/pool/remove/attach-both-or-none", test_attach_both_or_none);
	return g_test_run();
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* A host that keeps every descriptor it was given and does with it what the kernel allows. */
#include "pool_child.h"

#include "mem_link_raw.h"

#include <errno.h>
#include <linux/falloc.h>
#include <sys/stat.h>

#define TAG  1
#define SIZE (8 * BLOCK)

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

static void fill(void *memory, uint8_t byte, size_t len)
{
	memset(memory, byte, len);
}

/* ---- what a writable descriptor allows ---- */

static void assert_sealed(int fd)
{
	struct stat st;

	g_assert_cmpint(ftruncate(fd, 0), ==, -1);
	g_assert_cmpint(ftruncate(fd, SIZE - 1), ==, -1);
	g_assert_cmpint(ftruncate(fd, 2 * SIZE), ==, -1);
	g_assert_cmpint(fallocate(fd, 0, SIZE, 4096), ==, -1);
	g_assert_cmpint(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, 4096), ==, -1);
	g_assert_cmpint(fallocate(fd, FALLOC_FL_INSERT_RANGE, 0, 4096), ==, -1);
	g_assert_cmpint(pwrite(fd, "x", 1, SIZE), ==, -1);
	g_assert_cmpint(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), ==, -1);
	g_assert_cmpint(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), ==, -1);
	g_assert_cmpint(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW), ==, -1);
	g_assert_cmpint(fstat(fd, &st), ==, 0);
	g_assert_cmpuint((uint64_t)st.st_size, ==, SIZE);
}

/*
 * The file cannot be made unusable for the pool; it is not the file of the next tenant, so what is
 * done through it after the release harms nobody.
 */
static void test_keeps_descriptor(void)
{
	g_autoptr(Pool) pool = test_pool();
	g_autoptr(TestHost) host = test_host(pool, test_device(pool, "dev0"), LINK_RAW);
	g_autoptr(TestHost) next = test_host(pool, test_device(pool, "dev1"), LINK_RAW);
	struct stat kept_st, next_st;
	uint8_t *kept, *memory;
	int fd;

	test_backend(pool, "mem", TAG, SIZE);
	test_offer_one(host, TAG, 0, SIZE);
	g_assert_cmphex(host_accept_one(host, 0, SIZE), ==, CXL_RC_SUCCESS);
	fd = dup(link_map_at(host->link, 0)->fd);
	assert_sealed(fd);
	kept = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	g_assert_true(kept != MAP_FAILED);
	fill(kept, 0x41, SIZE);
	g_assert_cmphex(host_release_one(host, 0, SIZE), ==, CXL_RC_SUCCESS);
	host_drain(host);
	assert_sealed(fd);
	fill(kept, 0x42, SIZE); /* after it said that it had let go */

	test_offer_one(next, TAG, 16 * MIB, SIZE);
	g_assert_cmphex(host_accept_one(next, 16 * MIB, SIZE), ==, CXL_RC_SUCCESS);
	g_assert_cmpint(fstat(fd, &kept_st), ==, 0);
	g_assert_cmpint(fstat(link_map_at(next->link, 16 * MIB)->fd, &next_st), ==, 0);
	g_assert_cmpuint(kept_st.st_ino, !=, next_st.st_ino);
	memory = link_map_memory(link_map_at(next->link, 16 * MIB), PROT_READ | PROT_WRITE);
	g_assert_true(is_filled(memory, 0, SIZE));
	fill(memory, 0x99, SIZE);
	g_assert_true(is_filled(kept, 0x42, SIZE));
	fill(kept, 0x43, SIZE);
	g_assert_true(is_filled(memory, 0x99, SIZE));
	munmap(memory, SIZE);
	munmap(kept, SIZE);
	close(fd);
}

/* One map of one block, but the descriptor is that of the tag's file: no other tag's, no more. */
static void test_remaps_all(void)
{
	g_autoptr(Pool) pool = test_pool();
	g_autoptr(TestHost) host = test_host(pool, test_device(pool, "dev0"), LINK_RAW);
	static const OfferExtent extents[] = { { 0, BLOCK }, { BLOCK, 7 * BLOCK } };
	uint8_t *all;
	uint8_t byte;
	int fd;

	test_backend(pool, "mem", TAG, SIZE);
	test_backend(pool, "other", TAG + 1, SIZE);
	test_offer(host, TAG, extents, 2);
	g_assert_cmphex(host_accept_one(host, 0, BLOCK), ==, CXL_RC_SUCCESS);
	fd = dup(link_map_at(host->link, 0)->fd);
	all = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	g_assert_true(all != MAP_FAILED);
	fill(all, 0x51, SIZE); /* also what it declined */
	backend_read(pool, "other", 0, &byte, 1);
	g_assert_cmphex(byte, ==, 0);
	/* What it declined is not free before this host's descriptor means nothing any more. */
	assert_counters(host, 0, BLOCK, 0, 0);
	{
		g_autoptr(GError) error = NULL;
		OfferRequest request = { .tag = test_tag(TAG) };

		g_assert_false(pool_offer(pool, host->device, &request, NULL, &error));
		g_assert_error(error, CAPACITY_ERROR, CAPACITY_ERROR_BUSY);
	}
	g_assert_cmphex(host_release_one(host, 0, BLOCK), ==, CXL_RC_SUCCESS);
	host_drain(host);
	for (uint64_t offset = 0; offset < SIZE; offset += BLOCK) {
		backend_read(pool, "mem", offset, &byte, 1);
		g_assert_cmphex(byte, ==, 0);
	}
	munmap(all, SIZE);
	close(fd);
}

/* ---- read-only memory ---- */

static void assert_not_writable(int fd, size_t len)
{
	g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
	void *memory = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);

	g_assert_true(memory != MAP_FAILED);
	g_assert_true(mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
	g_assert_cmpint(mprotect(memory, len, PROT_READ | PROT_WRITE), ==, -1);
	munmap(memory, len);
	g_assert_cmpint(pwrite(fd, "x", 1, 0), ==, -1);
	g_assert_cmpint(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), ==, -1);
	g_assert_cmpint(ftruncate(fd, 0), ==, -1);
	for (unsigned i = 0; i < 2; i++) {
		int again = open(path, (i == 0 ? O_RDWR : O_WRONLY) | O_CLOEXEC);

		/* A seal lets it be opened, never written; a mount does not even let it be opened.
		 */
		if (again < 0)
			continue;
		g_assert_cmpint(pwrite(again, "x", 1, 0), ==, -1);
		g_assert_true(mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, again, 0) ==
			      MAP_FAILED);
		g_assert_cmpint(
			fallocate(again, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), ==,
			-1);
		close(again);
	}
}

static PoolDevice *shared_device(Pool *pool, const char *name)
{
	DcRegionConfig region = {
		.len = REGION_LEN,
		.block_size = BLOCK,
		.sharable = true,
		.read_only = true,
	};
	PoolDeviceConfig config = {
		.name = name,
		.regions = &region,
		.n_regions = 1,
		.hold_off = true,
	};

	return test_device_with(pool, &config);
}

/* One data set for two hosts, neither of which can write it, root or not. */
static void test_read_only(BackendType type, const char *path)
{
	g_autoptr(Pool) pool = test_pool();
	g_autoptr(TestHost) a = test_host(pool, shared_device(pool, "dev0"), LINK_RAW);
	g_autoptr(TestHost) b = test_host(pool, shared_device(pool, "dev1"), LINK_RAW);
	TestHost *hosts[] = { a, b };
	g_autoptr(GError) error = NULL;
	BackendConfig config = {
		.name = "data",
		.type = type,
		.size = SIZE,
		.path = path,
		.tag = test_tag(TAG),
		.shareable = true,
		.read_only = true,
	};
	PoolState state;

	pool_add_backend(pool, &config, &error);
	g_assert_no_error(error);
	for (unsigned i = 0; i < 2; i++) {
		OfferRequest request = { .tag = test_tag(TAG), .policy = OFFER_CONTIGUOUS };
		const LinkMap *map;

		pool_offer(pool, hosts[i]->device, &request, NULL, &error);
		g_assert_no_error(error);
		g_assert_cmphex(host_accept_one(hosts[i], 0, SIZE), ==, CXL_RC_SUCCESS);
		map = link_map_at(hosts[i]->link, 0);
		g_assert_false(map->writable);
		assert_not_writable(map->fd, SIZE);
	}
	pool_state(a, &state);
	g_assert_cmpuint(state.pool.accepted, ==, SIZE); /* once */
	for (unsigned i = 0; i < 2; i++) {
		g_assert_cmphex(host_release_one(hosts[i], 0, SIZE), ==, CXL_RC_SUCCESS);
		host_drain(hosts[i]);
	}
	pool_state(a, &state);
	g_assert_cmpuint(state.pool.free, ==, SIZE);
}

static void test_read_only_memfd(void)
{
	test_read_only(BACKEND_MEMFD, NULL);
}

static void test_read_only_file(void)
{
	g_autofree char *dir = g_dir_make_tmp("softdcd-test-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(dir, "data", NULL);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	g_assert_cmpint(ftruncate(fd, SIZE), ==, 0);
	if (geteuid() == 0)
		test_read_only(BACKEND_FILE, path);
	else
		g_test_skip("a mount of its own needs root");
	close(fd);
	unlink(path);
	rmdir(dir);
}

/* ---- another process ---- */

#define PATTERN 0x7e

/* Accepts all of it, fills it, keeps descriptor and mapping for ever. */
static void role_keeper(int control)
{
	TestHost *host = child_connect(control, true);
	struct pollfd parent = { .fd = control, .events = POLLIN };
	uint8_t *memory;
	int fd;

	child_tell(control, 'c');
	g_assert_cmpint(child_hear(control), ==, 'a');
	g_assert_cmphex(host_accept_one(host, 0, SIZE), ==, CXL_RC_SUCCESS);
	fd = dup(link_map_at(host->link, 0)->fd);
	memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	fill(memory, PATTERN, SIZE);
	child_tell(control, 'u');
	g_assert_cmpint(child_hear(control), ==, 'r');
	g_assert_cmphex(host_release_one(host, 0, SIZE), ==, CXL_RC_SUCCESS);
	child_tell(control, 'd');
	/* Scribbles on until it is killed, or left alone. */
	while (poll(&parent, 1, 0) == 0) {
		fill(memory, PATTERN, SIZE);
		g_assert_cmpint(pwrite(fd, "kept", 4, 0), ==, 4);
	}
}

static void keeper_takes(TestChild *child, TestHost *parent_view, unsigned tag)
{
	g_assert_cmpint(child_hear(child->control), ==, 'c');
	test_offer_one(parent_view, tag, 0, SIZE);
	child_tell(child->control, 'a');
	g_assert_cmpint(child_hear(child->control), ==, 'u');
	child_tell(child->control, 'r');
	g_assert_cmpint(child_hear(child->control), ==, 'd');
}

static void wait_free(Pool *pool, const char *name)
{
	CapacityCounters bytes;
	uint64_t allocated;
	gint64 give_up = g_get_monotonic_time() + WAIT_MS * (gint64)1000;

	do {
		g_usleep(200);
		g_assert_true(pool_backend_counters(pool, name, &bytes, &allocated));
		g_assert_cmpint(g_get_monotonic_time(), <, give_up);
	} while (bytes.free != bytes.total);
}

static void test_other_process(void)
{
	g_autoptr(Pool) pool = test_pool();
	PoolDevice *device = test_device(pool, "dev0");
	g_autoptr(TestHost) next = test_host(pool, test_device(pool, "dev1"), LINK_RAW);
	TestHost view = { .pool = pool, .device = device };
	TestChild child = child_spawn("keeper");
	uint64_t ino[2], incarnation[2];
	uint8_t *memory;

	test_backend(pool, "mem", TAG, SIZE);
	backend_identity(pool, "mem", &ino[0], &incarnation[0]);
	child_attach(&child, pool, device);
	keeper_takes(&child, &view, TAG);
	wait_free(pool, "mem");
	backend_identity(pool, "mem", &ino[1], &incarnation[1]);
	g_assert_cmpuint(ino[0], !=, ino[1]);
	/* While it scribbles. */
	test_offer_one(next, TAG, 0, SIZE);
	g_assert_cmphex(host_accept_one(next, 0, SIZE), ==, CXL_RC_SUCCESS);
	memory = link_map_memory(link_map_at(next->link, 0), PROT_READ);
	for (unsigned i = 0; i < 5; i++) {
		g_assert_true(is_filled(memory, 0, SIZE));
		g_usleep(2000);
	}
	munmap(memory, SIZE);
	child_end(&child, true);
}

/* Memory to be kept cannot be replaced: to whom it goes next depends on who had it. */
static void test_kept_memory(void)
{
	g_autoptr(Pool) pool = test_pool();
	PoolDevice *device = test_device(pool, "dev0");
	g_autoptr(TestHost) next = test_host(pool, test_device(pool, "dev1"), LINK_RAW);
	TestHost view = { .pool = pool, .device = device };
	TestChild child = child_spawn("foreign-keeper");
	g_autoptr(GError) error = NULL;
	BackendConfig config = {
		.name = "mem",
		.type = BACKEND_MEMFD,
		.size = SIZE,
		.tag = test_tag(TAG),
		.on_release = ON_RELEASE_KEEP,
	};
	OfferRequest request = { .tag = test_tag(TAG) };
	CapacityCounters bytes;
	uint64_t allocated;
	uint8_t byte;

	if (geteuid() != 0) {
		child_end(&child, true);
		g_test_skip("only root can play a host of another user");
		return;
	}
	pool_add_backend(pool, &config, &error);
	g_assert_no_error(error);
	child_attach(&child, pool, device);
	keeper_takes(&child, &view, TAG);
	pool_barrier(pool);
	g_assert_true(pool_backend_counters(pool, "mem", &bytes, &allocated));
	g_assert_cmpuint(bytes.quarantined, ==, SIZE);
	g_assert_false(pool_offer(pool, next->device, &request, NULL, &error));
	g_assert_error(error, CAPACITY_ERROR, CAPACITY_ERROR_BUSY);
	g_clear_error(&error);
	child_end(&child, true);
	wait_free(pool, "mem");
	backend_read(pool, "mem", SIZE / 2, &byte, 1);
	g_assert_cmphex(byte, ==, PATTERN);
	test_offer_one(next, TAG, 0, SIZE);
	g_assert_cmphex(host_accept_one(next, 0, SIZE), ==, CXL_RC_SUCCESS);
}

static void role_foreign_keeper(int control)
{
	if (geteuid() == 0)
		g_assert_cmpint(setresuid(65534, 65534, 65534), ==, 0);
	role_keeper(control);
}

#define P "/protocol/pool/hostile/"

int main(int argc, char **argv)
{
	static const TestRole roles[] = {
		{ "keeper", role_keeper },
		{ "foreign-keeper", role_foreign_keeper },
	};

	child_main(argc, argv, roles, G_N_ELEMENTS(roles));
	g_test_init(&argc, &argv, NULL);
	g_test_add_func(P "keeps-descriptor", test_keeps_descriptor);
	g_test_add_func(P "remaps-all", test_remaps_all);
	g_test_add_func(P "read-only-memfd", test_read_only_memfd);
	g_test_add_func(P "read-only-file", test_read_only_file);
	g_test_add_func(P "other-process", test_other_process);
	g_test_add_func(P "kept-memory", test_kept_memory);
	return g_test_run();
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* A backend of huge pages, from the kernel's pool to the window and back. */
#include "host_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#define HUGE_DIR "/sys/kernel/mm/hugepages/hugepages-2048kB/"
#define N_PAGES  6
#define N_ASKED  32 /* other tests may use what they find */

static uint64_t read_number(const char *path)
{
	g_autofree char *text = NULL;

	return g_file_get_contents(path, &text, NULL, NULL) ? g_ascii_strtoull(text, NULL, 10) : 0;
}

static bool write_number(const char *path, uint64_t number)
{
	g_autofree char *text = g_strdup_printf("%" PRIu64, number);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

/*
 * The machine's, so only one process at a time may ask for more and give them back. A process that
 * dies here leaves the machine with the pages it asked for.
 */
typedef struct HugePages {
	int lock_fd;
	uint64_t before; /* in the kernel's pool */
	bool asked;
} HugePages;

/* False: the test has been skipped. */
static bool huge_pages_get(HugePages *pages)
{
	uint64_t n_free;

	pages->asked = false;
	pages->lock_fd = open(HUGE_DIR "nr_hugepages", O_RDONLY | O_CLOEXEC);
	if (pages->lock_fd < 0) {
		g_test_skip("the kernel has no 2 MiB pages");
		return false;
	}
	while (flock(pages->lock_fd, LOCK_EX) != 0 && errno == EINTR)
		;
	pages->before = read_number(HUGE_DIR "nr_hugepages");
	n_free = read_number(HUGE_DIR "free_hugepages") - read_number(HUGE_DIR "resv_hugepages");
	if (n_free >= N_PAGES)
		return true;
	pages->asked = write_number(HUGE_DIR "nr_hugepages", pages->before + N_ASKED);
	n_free = read_number(HUGE_DIR "free_hugepages") - read_number(HUGE_DIR "resv_hugepages");
	if (n_free >= N_PAGES)
		return true;
	if (pages->asked)
		write_number(HUGE_DIR "nr_hugepages", pages->before);
	close(pages->lock_fd);
	g_test_skip("fewer than 6 free 2 MiB pages, and no more to be had; as root: "
		    "echo 6 > /proc/sys/vm/nr_hugepages");
	return false;
}

static void huge_pages_put(HugePages *pages)
{
	if (pages->asked)
		write_number(HUGE_DIR "nr_hugepages", pages->before);
	close(pages->lock_fd);
}

/* KernelPageSize of the mapping at HVA, from smaps; line by line, as it is long. */
static uint64_t page_size_at(const void *hva)
{
	FILE *file = fopen("/proc/self/smaps", "re");
	uint64_t start, end, len = 0;
	char line[512];
	bool is_in = false;
	unsigned kib;

	g_assert_nonnull(file);
	while (!len && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &start, &end) == 2)
			is_in = start <= (uintptr_t)hva && (uintptr_t)hva < end;
		else if (is_in && sscanf(line, "KernelPageSize: %u", &kib) == 1)
			len = kib * KIB;
	}
	fclose(file);
	return len;
}

static void check(Pool *pool)
{
	PoolDevice *device = host_device(pool, "dev0", 1);
	g_autoptr(HostEnd) host = host_end_new(pool, &device, 1);
	HostPort *port = &host->ports[0];
	BackendConfig config = {
		.name = "mem1",
		.type = BACKEND_HUGETLB,
		.size = 3 * BLOCK,
		.page_size = BLOCK,
		.tag = host_tag(1),
	};
	static const OfferExtent extents[] = { { 5 * BLOCK, 2 * BLOCK }, { BLOCK, BLOCK } };
	uint64_t base = host_region_dpa(port, 0);
	uint8_t *hva = host_hva(port, base + 5 * BLOCK);
	CapacityCounters counters;
	uint64_t allocated_len;

	host_backend_with(pool, &config);
	for (unsigned i = 0; i < 3; i++) {
		host_give(port, 1, extents, 2);
		host_assert_filled(port, base + 5 * BLOCK, 2 * BLOCK, 0);
		host_assert_filled(port, base + BLOCK, BLOCK, 0);
		g_assert_cmpuint(page_size_at(hva), ==, BLOCK);
		host_fill(hva, 2 * BLOCK, i, 0);
		host_fill(host_hva(port, base + BLOCK), BLOCK, i, 2 * BLOCK);
		/* Half of the first extent goes: a huge page by itself. */
		host_take_back(port, base + 6 * BLOCK, BLOCK);
		host_assert_fill(hva, BLOCK, i, 0);
		host_assert_filled(port, base + 6 * BLOCK, BLOCK, UINT64_MAX);
		host_assert_fill(host_hva(port, base + BLOCK), BLOCK, i, 2 * BLOCK);
		host_take_back_tag(port, 1);
		host_assert_filled(port, base, 8 * BLOCK, UINT64_MAX);
		g_assert_cmpuint(page_size_at(hva), ==, PAGE);
		g_assert_true(pool_backend_counters(pool, "mem1", &counters, &allocated_len));
		g_assert_cmpuint(counters.free, ==, 3 * BLOCK);
		g_assert_cmpuint(allocated_len, ==, 0);
	}
}

static void test_hugetlb(void)
{
	HugePages pages;
	Pool *pool;

	if (!huge_pages_get(&pages))
		return;
	pool = host_pool();
	check(pool);
	pool_free(pool);
	huge_pages_put(&pages);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/host/hugetlb/life", test_hugetlb);
	return g_test_run();
}

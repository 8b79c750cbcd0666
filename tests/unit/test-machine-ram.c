/* SPDX-License-Identifier: BSD-3-Clause */
/* RAM of guests: of reserved huge pages if there are enough, else of ordinary ones. */
#include "machine/ram.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MIB      (UINT64_C(1) << 20)
#define HUGE_LEN (2 * MIB)

static uint64_t meminfo(const char *name)
{
	g_autofree char *text = NULL;
	const char *line;

	g_assert_true(g_file_get_contents("/proc/meminfo", &text, NULL, NULL));
	line = strstr(text, name);
	return line ? strtoull(line + strlen(name), NULL, 10) : 0;
}

/* Of 2 MiB, that nobody has been promised. */
static uint64_t n_free(void)
{
	if (meminfo("\nHugepagesize:") != HUGE_LEN >> 10)
		return 0;
	return meminfo("\nHugePages_Free:") - meminfo("\nHugePages_Rsvd:");
}

/* Where huge mappings are possible, all there, all zeros, all its own. */
static void check(const Ram *ram, uint64_t len)
{
	struct stat st;

	g_assert_cmpuint(ram->len, ==, len);
	g_assert_cmpuint((uintptr_t)ram->hva % HUGE_LEN, ==, 0);
	g_assert_cmpint(fstat(ram->fd, &st), ==, 0);
	g_assert_cmpuint((uint64_t)st.st_size, ==, len);
	for (uint64_t i = 0; i < len; i += HUGE_LEN) {
		g_assert_cmpint(ram->hva[i], ==, 0);
		ram->hva[i] = 1;
	}
	ram->hva[len - 1] = 1;
}

static void finish(Ram *ram)
{
	ram_clear(ram);
	g_assert_null(ram->hva);
	g_assert_cmpint(ram->fd, <, 0);
}

static void test_ordinary(void)
{
	uint64_t len = (n_free() + 1) * HUGE_LEN;
	g_autoptr(GError) error = NULL;
	Ram ram = { .fd = -1 };

	/* One page more than there are. */
	g_assert_true(ram_init(&ram, len, &error));
	g_assert_false(ram.is_huge);
	check(&ram, len);
	finish(&ram);
}

static void test_huge(void)
{
	g_autoptr(GError) error = NULL;
	Ram ram = { .fd = -1 };
	uint64_t n = n_free();

	if (n < 4) {
		g_test_skip("there are no 4 free huge pages of 2 MiB (vm.nr_hugepages)");
		return;
	}
	g_assert_true(ram_init(&ram, 4 * HUGE_LEN, &error));
	g_assert_true(ram.is_huge);
	g_assert_cmpuint(n - n_free(), ==, 4);
	check(&ram, 4 * HUGE_LEN);
	finish(&ram);
	g_assert_cmpuint(n_free(), ==, n);
}

/* No address space is that large. */
static void test_refused(void)
{
	g_autoptr(GError) error = NULL;
	Ram ram = { .fd = -1 };

	g_assert_false(ram_init(&ram, UINT64_C(1) << 56, &error));
	g_assert_nonnull(strstr(error->message, "68719476736 MiB of memory for the guest"));
	finish(&ram);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/machine/ram/ordinary", test_ordinary);
	g_test_add_func("/machine/ram/huge", test_huge);
	g_test_add_func("/machine/ram/refused", test_refused);
	return g_test_run();
}

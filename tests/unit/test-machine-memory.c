/* SPDX-License-Identifier: BSD-3-Clause */
/* Guest memory: slots and listeners in the right order, and nothing left when something fails. */
#include "machine/guest_memory.h"
#include "machine/ram.h"
#include "vm_fake.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE   UINT64_C(4096)
#define WINDOW UINT64_C(0x5000000000)

typedef struct Bench {
	KvmVm *vm;
	GuestMemory *memory;
	uint8_t *hva; /* 64 pages */
	GString *log; /* "+a" listener a was told to add, "-a" to remove */
} Bench;

/* What a listener saw while it was called. */
typedef struct Back {
	Bench *bench;
	char name;
	int rc;              /* of the next add() */
	unsigned n_known;    /* by its own count */
	bool slot_was_there; /* at the last call */
	bool found;          /* guest_memory_find() had it at the last call */
} Back;

static void note(Back *back, char what, const GuestRegion *region)
{
	GuestRegion found;
	VmFakeSlot slot;

	g_string_append_printf(back->bench->log, "%c%c", what, back->name);
	back->slot_was_there = vm_fake_find(back->bench->vm, region->gpa, &slot);
	back->found = guest_memory_find(back->bench->memory, region->gpa, region->len, &found);
}

static int back_add(void *opaque, const GuestRegion *region)
{
	Back *back = opaque;

	note(back, '+', region);
	back->n_known += back->rc == 0;
	return back->rc;
}

static void back_remove(void *opaque, const GuestRegion *region)
{
	Back *back = opaque;

	note(back, '-', region);
	back->n_known--;
}

static const GuestListenerOps back_ops = { .add = back_add, .remove = back_remove };

static void bench_init(Bench *bench, bool with_dma)
{
	bench->vm = vm_fake_new();
	bench->memory = guest_memory_new(bench->vm, with_dma);
	bench->hva = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			  0);
	g_assert_true(bench->hva != MAP_FAILED);
	bench->log = g_string_new("");
}

static void bench_clear(Bench *bench)
{
	guest_memory_free(bench->memory);
	kvm_vm_free(bench->vm);
	munmap(bench->hva, 64 * PAGE);
	g_string_free(bench->log, TRUE);
}

static void assert_log(Bench *bench, const char *expected)
{
	g_assert_cmpstr(bench->log->str, ==, expected);
	g_string_truncate(bench->log, 0);
}

/* N pages from PAGE_INDEX of window and backing */
static GuestRegion region_at(Bench *bench, unsigned index, unsigned n)
{
	return (GuestRegion){
		.gpa = WINDOW + index * PAGE,
		.len = n * PAGE,
		.hva = bench->hva + index * PAGE,
		.fd = 7,
		.offset = index * PAGE,
		.writable = true,
	};
}

static void test_order(void)
{
	Bench bench;
	Back a = { .bench = &bench, .name = 'a' }, b = { .bench = &bench, .name = 'b' };
	GuestRegion region, found;
	VmFakeSlot slot;
	int rc = 0;

	bench_init(&bench, true);
	g_assert_nonnull(guest_memory_listen(bench.memory, &back_ops, &a, 0, &rc));
	g_assert_nonnull(guest_memory_listen(bench.memory, &back_ops, &b, 0, &rc));
	region = region_at(&bench, 4, 2);
	region.writable = false;
	g_assert_cmpint(guest_memory_add(bench.memory, &region), ==, 0);
	assert_log(&bench, "+a+b");
	g_assert_false(a.slot_was_there); /* the guest could not use it yet */
	g_assert_true(a.found);
	g_assert_true(vm_fake_find(bench.vm, region.gpa + PAGE, &slot));
	g_assert_cmpuint(slot.len, ==, 2 * PAGE);
	g_assert_true(slot.readonly);
	g_assert_true(slot.hva == region.hva);

	g_assert_true(guest_memory_find(bench.memory, region.gpa + PAGE, PAGE, &found));
	g_assert_cmpint(found.fd, ==, 7);
	g_assert_cmpuint(found.offset, ==, 4 * PAGE);
	g_assert_false(guest_memory_find(bench.memory, region.gpa + PAGE, PAGE + 1, &found));
	g_assert_false(guest_memory_find(bench.memory, region.gpa - 1, 1, &found));
	g_assert_false(guest_memory_find(bench.memory, region.gpa + 2 * PAGE, 1, &found));
	g_assert_false(guest_memory_find(bench.memory, region.gpa, UINT64_MAX, &found));

	guest_memory_remove(bench.memory, region.gpa, PAGE); /* not exactly it */
	assert_log(&bench, "");
	guest_memory_remove(bench.memory, region.gpa, 2 * PAGE);
	assert_log(&bench, "-b-a");
	g_assert_true(a.slot_was_there); /* they let go before it went */
	g_assert_false(a.found);
	g_assert_cmpuint(vm_fake_n_slots(bench.vm), ==, 0);
	guest_memory_remove(bench.memory, region.gpa, 2 * PAGE);
	assert_log(&bench, "");
	bench_clear(&bench);
}

static void test_failures(void)
{
	Bench bench;
	Back a = { .bench = &bench, .name = 'a' }, b = { .bench = &bench, .name = 'b' };
	GuestRegion region, other;
	int rc = 0;

	bench_init(&bench, true);
	guest_memory_listen(bench.memory, &back_ops, &a, 0, &rc);
	guest_memory_listen(bench.memory, &back_ops, &b, 0, &rc);
	region = region_at(&bench, 4, 4);
	b.rc = -ENOMEM;
	g_assert_cmpint(guest_memory_add(bench.memory, &region), ==, -ENOMEM);
	assert_log(&bench, "+a+b-a");
	b.rc = 0;
	vm_fake_fail_at(bench.vm, 1);
	g_assert_cmpint(guest_memory_add(bench.memory, &region), ==, -ENOSPC);
	assert_log(&bench, "+a+b-b-a");
	g_assert_cmpuint(a.n_known + b.n_known, ==, 0);
	g_assert_cmpuint(guest_memory_n_regions(bench.memory), ==, 0);
	g_assert_cmpint(guest_memory_add(bench.memory, &region), ==, 0);
	assert_log(&bench, "+a+b");

	/* Overlaps, from both sides and inside; neighbours are none. */
	for (unsigned i = 1; i < 8; i++) {
		other = region_at(&bench, i, i == 1 ? 16 : 1);
		rc = guest_memory_add(bench.memory, &other);
		g_assert_cmpint(rc, ==, i == 1 || (i >= 4 && i < 8) ? -EEXIST : 0);
	}
	other = region_at(&bench, 8, 1);
	g_assert_cmpint(guest_memory_add(bench.memory, &other), ==, 0);
	other.len = 0;
	g_assert_cmpint(guest_memory_add(bench.memory, &other), ==, -EINVAL);
	other.gpa = UINT64_MAX - PAGE + 1;
	other.len = 2 * PAGE;
	g_assert_cmpint(guest_memory_add(bench.memory, &other), ==, -EINVAL);
	g_assert_cmpuint(guest_memory_n_regions(bench.memory), ==, 4);
	bench_clear(&bench);
}

static void test_listeners(void)
{
	Bench bench;
	Back a = { .bench = &bench, .name = 'a' }, b = { .bench = &bench, .name = 'b' };
	GuestListener *listener;
	GuestRegion region;
	int rc = 0;

	bench_init(&bench, true);
	for (unsigned i = 0; i < 3; i++) {
		region = region_at(&bench, 4 * i, 2);
		g_assert_cmpint(i ? guest_memory_add(bench.memory, &region)
				  : guest_memory_add_ram(bench.memory, &region),
				==, 0);
	}
	/* Late, it hears of all; one that refuses is told to forget what it took. */
	listener = guest_memory_listen(bench.memory, &back_ops, &a, 0, &rc);
	g_assert_nonnull(listener);
	assert_log(&bench, "+a+a+a");
	b.rc = -EPIPE;
	g_assert_null(guest_memory_listen(bench.memory, &back_ops, &b, 0, &rc));
	g_assert_cmpint(rc, ==, -EPIPE);
	assert_log(&bench, "+b");
	g_assert_cmpuint(b.n_known, ==, 0);
	guest_memory_remove(bench.memory, WINDOW, 2 * PAGE); /* RAM stays */
	assert_log(&bench, "");
	guest_memory_unlisten(bench.memory, listener);
	guest_memory_remove(bench.memory, WINDOW + 4 * PAGE, 2 * PAGE);
	assert_log(&bench, "");
	g_assert_cmpuint(guest_memory_n_regions(bench.memory), ==, 1);
	bench_clear(&bench);
}

static void test_without_dma(void)
{
	Bench bench;
	Back a = { .bench = &bench, .name = 'a' };
	GuestRegion region;
	int rc = 0;

	bench_init(&bench, false);
	guest_memory_listen(bench.memory, &back_ops, &a, 2, &rc);
	region = region_at(&bench, 0, 1);
	g_assert_cmpint(guest_memory_add_ram(bench.memory, &region), ==, 0);
	assert_log(&bench, "+a");
	region = region_at(&bench, 1, 1);
	g_assert_cmpint(guest_memory_add(bench.memory, &region), ==, 0);
	assert_log(&bench, "");
	g_assert_cmpuint(guest_memory_max_regions(bench.memory), >, 1000);
	guest_memory_cut(bench.memory, region.gpa, region.len, region.gpa, region.len);
	assert_log(&bench, "");
	bench_clear(&bench);
}

static void test_limits(void)
{
	Bench bench;
	Back a = { .bench = &bench, .name = 'a' }, b = { .bench = &bench, .name = 'b' };
	GuestRegion region;
	int rc = 0;

	bench_init(&bench, true);
	g_assert_cmpuint(guest_memory_max_regions(bench.memory), <, 32764);
	for (unsigned i = 0; i < 2; i++) {
		region = region_at(&bench, i, 1);
		guest_memory_add_ram(bench.memory, &region);
	}
	guest_memory_listen(bench.memory, &back_ops, &a, 8, &rc);
	g_assert_cmpuint(guest_memory_max_regions(bench.memory), ==, 6);
	guest_memory_listen(bench.memory, &back_ops, &b, 2, &rc);
	g_assert_cmpuint(guest_memory_max_regions(bench.memory), ==, 0);
	bench_clear(&bench);
}

/* Regions of many mappings: no listener hears of them, and other regions become fewer. */
static void test_pieces(void)
{
	Bench bench;
	Back a = { .bench = &bench, .name = 'a' };
	GuestRegion region, found;
	VmFakeSlot slot;
	uint32_t max;
	uint64_t aside;
	int rc = 0;

	bench_init(&bench, true);
	max = guest_memory_max_regions(bench.memory);
	aside = guest_memory_set_aside(bench.memory);
	g_assert_cmpuint(aside, >, 0);
	g_assert_cmpuint(guest_memory_set_aside(bench.memory), ==, aside);
	g_assert_cmpuint(guest_memory_max_regions(bench.memory), <=, max);
	g_assert_cmpuint(guest_memory_max_regions(bench.memory), >, 0);
	/* 512 MiB by 16 KiB at the kernel's default, by 4 KiB at four times that */
	g_assert_cmpuint(guest_memory_map_count_for(32768), <=, 65530);
	g_assert_cmpuint(guest_memory_map_count_for(131072), <=, 262144);

	guest_memory_listen(bench.memory, &back_ops, &a, 8, &rc);
	region = region_at(&bench, 0, 4);
	region.fd = -1;
	g_assert_cmpint(guest_memory_add(bench.memory, &region), ==, 0);
	g_assert_true(vm_fake_find(bench.vm, region.gpa, &slot));
	g_assert_true(guest_memory_find(bench.memory, region.gpa, PAGE, &found));
	g_assert_cmpint(found.fd, ==, -1);
	guest_memory_remove(bench.memory, region.gpa, region.len);
	g_assert_false(vm_fake_find(bench.vm, region.gpa, &slot));
	assert_log(&bench, "");
	bench_clear(&bench);
}

/* ---- cutting ---- */

typedef struct Pause {
	Bench *bench;
	unsigned n_pauses;
	unsigned n_slots; /* when the guest ran again */
	bool is_paused;
} Pause;

static void pause_guest(void *opaque)
{
	Pause *pause = opaque;

	pause->is_paused = true;
	pause->n_pauses++;
}

static void resume_guest(void *opaque)
{
	Pause *pause = opaque;

	pause->is_paused = false;
	pause->n_slots = vm_fake_n_slots(pause->bench->vm);
}

static void test_cut(void)
{
	static const struct {
		unsigned from, n;
		const char *log;
		unsigned n_left;
	} cases[] = {
		{ 0, 8, "-a", 0 },     /* all */
		{ 0, 3, "-a+a", 1 },   /* the front */
		{ 5, 3, "-a+a", 1 },   /* the end */
		{ 2, 3, "-a+a+a", 2 }, /* the middle */
	};
	GuestPauser pauser = { pause_guest, resume_guest };
	Bench bench;
	Back a = { .bench = &bench, .name = 'a' };
	Pause pause = { .bench = &bench };
	int rc = 0;

	bench_init(&bench, true);
	guest_memory_listen(bench.memory, &back_ops, &a, 0, &rc);
	guest_memory_set_pauser(bench.memory, &pauser, &pause);
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		GuestRegion region = region_at(&bench, 8, 8), found;
		unsigned from = cases[i].from, end = from + cases[i].n;

		g_assert_cmpint(guest_memory_add(bench.memory, &region), ==, 0);
		g_string_truncate(bench.log, 0);
		guest_memory_cut(bench.memory, region.gpa, region.len, region.gpa + from * PAGE,
				 cases[i].n * PAGE);
		assert_log(&bench, cases[i].log);
		g_assert_cmpuint(pause.n_pauses, ==, i + 1);
		g_assert_cmpuint(pause.n_slots, ==, cases[i].n_left);
		for (unsigned page = 0; page < 8; page++) {
			VmFakeSlot slot;
			uint64_t gpa = region.gpa + page * PAGE;
			bool is_there = page < from || page >= end;

			g_assert_true(vm_fake_find(bench.vm, gpa, &slot) == is_there);
			g_assert_true(guest_memory_find(bench.memory, gpa, PAGE, &found) ==
				      is_there);
			if (!is_there)
				continue;
			g_assert_true(slot.hva + (gpa - slot.gpa) == region.hva + page * PAGE);
			g_assert_cmpuint(found.offset + (gpa - found.gpa), ==, (8 + page) * PAGE);
		}
		guest_memory_remove(bench.memory, region.gpa, from * PAGE);
		guest_memory_remove(bench.memory, region.gpa + end * PAGE, (8 - end) * PAGE);
		g_assert_cmpuint(guest_memory_n_regions(bench.memory), ==, 0);
		g_assert_cmpuint(a.n_known, ==, 0);
	}
	bench_clear(&bench);
}

/* What does not fit any more is a hole, and taking it back later is none of anybody's trouble. */
static void test_cut_fails(void)
{
	Bench bench;
	GuestRegion region;
	VmFakeSlot slot;

	bench_init(&bench, true);
	region = region_at(&bench, 8, 8);
	g_assert_cmpint(guest_memory_add(bench.memory, &region), ==, 0);
	vm_fake_fail_at(bench.vm, 1);
	guest_memory_cut(bench.memory, region.gpa, region.len, region.gpa + PAGE, PAGE);
	g_assert_false(vm_fake_find(bench.vm, region.gpa, &slot));
	g_assert_true(vm_fake_find(bench.vm, region.gpa + 2 * PAGE, &slot));
	guest_memory_remove(bench.memory, region.gpa, PAGE);
	guest_memory_remove(bench.memory, region.gpa + 2 * PAGE, 6 * PAGE);
	g_assert_cmpuint(vm_fake_n_slots(bench.vm), ==, 0);
	/* Beyond the region, or of none: nothing happens. */
	g_assert_cmpint(guest_memory_add(bench.memory, &region), ==, 0);
	guest_memory_cut(bench.memory, region.gpa, region.len, region.gpa + PAGE, 8 * PAGE);
	guest_memory_cut(bench.memory, region.gpa, PAGE, region.gpa, PAGE);
	guest_memory_cut(bench.memory, region.gpa, region.len, region.gpa - PAGE, PAGE);
	g_assert_cmpuint(vm_fake_n_slots(bench.vm), ==, 1);
	bench_clear(&bench);
}

/* ---- threads ---- */

#define N_THREADS 4
#define N_ROUNDS  500

typedef struct Worker {
	Bench *bench;
	unsigned index;
} Worker;

static gpointer work(gpointer opaque)
{
	Worker *worker = opaque;
	GuestMemory *memory = worker->bench->memory;

	for (unsigned i = 0; i < N_ROUNDS; i++) {
		GuestRegion region = region_at(worker->bench, 8 * worker->index, 8), found;

		g_assert_cmpint(guest_memory_add(memory, &region), ==, 0);
		g_assert_true(guest_memory_find(memory, region.gpa + PAGE, PAGE, &found));
		guest_memory_cut(memory, region.gpa, region.len, region.gpa + PAGE, PAGE);
		guest_memory_remove(memory, region.gpa, PAGE);
		guest_memory_remove(memory, region.gpa + 2 * PAGE, 6 * PAGE);
		g_assert_false(guest_memory_find(memory, region.gpa, PAGE, &found));
	}
	return NULL;
}

static void test_threads(void)
{
	GThread *threads[N_THREADS];
	Worker workers[N_THREADS];
	Bench bench;
	Back a = { .bench = &bench, .name = 'a' };
	int rc = 0;

	bench_init(&bench, true);
	guest_memory_listen(bench.memory, &back_ops, &a, 0, &rc);
	for (unsigned i = 0; i < N_THREADS; i++) {
		workers[i] = (Worker){ &bench, i };
		threads[i] = g_thread_new("worker", work, &workers[i]);
	}
	for (unsigned i = 0; i < N_THREADS; i++)
		g_thread_join(threads[i]);
	g_assert_cmpuint(a.n_known, ==, 0);
	bench_clear(&bench);
}

/* A back end that has RAM's file cannot take it away. */
static void test_ram_stays(void)
{
	const uint64_t len = UINT64_C(4) << 20;
	g_autoptr(GError) error = NULL;
	Ram ram;

	g_assert_true(ram_init(&ram, len, &error));
	g_assert_no_error(error);
	g_assert_cmpint(ftruncate(ram.fd, 0), ==, -1);
	g_assert_cmpint(errno, ==, EPERM);
	g_assert_cmpint(ftruncate(ram.fd, 2 * (off_t)len), ==, -1);
	ram.hva[len - 1] = 1;
	ram_clear(&ram);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/machine/memory/order", test_order);
	g_test_add_func("/unit/machine/memory/failures", test_failures);
	g_test_add_func("/unit/machine/memory/listeners", test_listeners);
	g_test_add_func("/unit/machine/memory/without-dma", test_without_dma);
	g_test_add_func("/unit/machine/memory/limits", test_limits);
	g_test_add_func("/unit/machine/memory/pieces", test_pieces);
	g_test_add_func("/unit/machine/memory/cut", test_cut);
	g_test_add_func("/unit/machine/memory/cut-fails", test_cut_fails);
	g_test_add_func("/unit/machine/memory/threads", test_threads);
	g_test_add_func("/unit/machine/memory/ram-stays", test_ram_stays);
	return g_test_run();
}

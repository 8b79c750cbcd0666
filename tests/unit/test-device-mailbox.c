/* SPDX-License-Identifier: BSD-3-Clause */
/* Device registers and mailbox: layout, doorbell, hostile timing, resets and sessions. */
#include "device-fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>

static void test_layout(void)
{
	g_autoptr(Fixture) f = fixture_new();
	uint64_t page = device_regs_payload_offset(f->regs);
	uint32_t len;

	/* the array, as 8-byte accesses */
	g_assert_cmphex(get(f, 0, 8), ==, UINT64_C(0x301010000));
	g_assert_cmphex(get(f, 8, 8), ==, 0);
	g_assert_cmpuint(find_capability(f, 1, &len), ==, 0x80);
	g_assert_cmpuint(len, ==, 8);
	g_assert_cmpuint(find_capability(f, 0x4000, &len), ==, 0x90);
	g_assert_cmpuint(len, ==, 8);
	g_assert_cmpuint(find_capability(f, 2, &len), ==, page - 0x20);
	g_assert_cmpuint(len, ==, 0x20 + 0x10000);
	g_assert_cmpuint(page % (uint64_t)sysconf(_SC_PAGESIZE), ==, 0);
	g_assert_cmpuint(device_regs_payload_len(f->regs), ==, 0x10000);
	g_assert_cmpuint(device_regs_len(f->regs), ==, page + 0x10000);

	g_assert_cmphex(get(f, 0x80, 8), ==, 0);
	g_assert_cmphex(get(f, 0x90, 8), ==, 0x14);
	/* 64 KiB, doorbell interrupt, vector 0, a memory device's */
	g_assert_cmphex(get(f, f->mailbox, 4), ==, 16 | 1 << 5 | 1 << 19);
	g_assert_cmphex(get(f, f->mailbox + 0x18, 8), ==, 0);
	/* a vector nobody allocated is never named */
	g_assert_cmpuint(DEVICE_VECTOR_DC, <, DEVICE_N_VECTORS);
}

static void test_access(void)
{
	g_autoptr(Fixture) f = fixture_new();
	uint64_t len = device_regs_len(f->regs);
	g_autofree uint8_t *all = g_malloc(len);
	uint8_t byte = 0xff;

	g_assert_cmpint(device_regs_read(f->regs, 0, all, (uint32_t)len), ==, 0);
	g_assert_cmpint(device_regs_read(f->regs, len, all, 0), ==, 0);
	g_assert_cmpint(device_regs_read(f->regs, len, all, 1), ==, -EINVAL);
	g_assert_cmpint(device_regs_read(f->regs, len - 1, all, 2), ==, -EINVAL);
	g_assert_cmpint(device_regs_read(f->regs, UINT64_MAX, all, 1), ==, -EINVAL);
	g_assert_cmpint(device_regs_write(f->regs, UINT64_MAX, &byte, 1), ==, -EINVAL);
	g_assert_cmpint(device_regs_write(f->regs, UINT64_MAX - 1, all, 8), ==, -EINVAL);
	g_assert_cmpint(device_regs_write(f->regs, len, &byte, 1), ==, -EINVAL);

	/* any piece of any size says the same */
	for (uint64_t i = 0; i < payload_at(f); i++)
		for (uint32_t n = 1; n <= 8 && i + n <= len; n++) {
			uint8_t piece[8];

			g_assert_cmpint(device_regs_read(f->regs, i, piece, n), ==, 0);
			g_assert_cmpmem(piece, n, all + i, n);
		}

	/* what is read-only stays so; the doorbell's byte is left out */
	for (uint64_t i = 0; i < payload_at(f); i++)
		if (i != f->mailbox + CXL_MBOX_CTRL)
			put(f, i, 0xff, 1);
	g_assert_cmphex(get(f, 0, 8), ==, UINT64_C(0x301010000));
	g_assert_cmphex(get(f, 0x90, 8), ==, 0x14);
	g_assert_cmphex(get(f, f->mailbox + CXL_MBOX_STATUS, 8), ==, 0);
	g_assert_cmphex(get(f, f->mailbox + CXL_MBOX_CMD, 8), ==, UINT64_C(0x1fffffffff));
	/* there is no background interrupt to enable */
	put(f, f->mailbox + CXL_MBOX_CTRL, 0xfe, 1);
	g_assert_cmphex(get(f, f->mailbox + CXL_MBOX_CTRL, 4), ==, 2);
	g_assert_cmpuint(f->n_traces, ==, 0);
}

static void test_bad_config(void)
{
	static const struct {
		unsigned payload_log2;
		uint32_t depth;
		uint64_t ram_len;
		const char *rule;
	} cases[] = {
		{ 8, 0, 1 * GIB, "2^9 to 2^20" },
		{ 21, 0, 1 * GIB, "2^9 to 2^20" },
		{ 0, 65536, 1 * GIB, "at most 65535" },
		{ 0, UINT32_MAX, 1 * GIB, "at most 65535" },
		{ 0, 0, 1 * GIB + 4096, "multiples of 256 MiB" },
		{ 0, 0, 2 * GIB, "add up" },
		{ 0, 0, UINT64_MAX / (256 * MIB) * (256 * MIB), "add up" },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(Fixture) f = fixture_new_unstarted();
		g_autoptr(GError) error = NULL;

		f->config.payload_log2 = cases[i].payload_log2;
		f->config.log_depth[CXL_LOG_DC] = cases[i].depth;
		f->config.ram_len = cases[i].ram_len;
		g_assert_null(device_regs_new(&f->config, &f->dc, fixture_ops(), f, &error));
		g_assert_nonnull(error);
		g_assert_nonnull(strstr(error->message, cases[i].rule));
	}
}

static void test_payload_sizes(void)
{
	for (unsigned log2 = 9; log2 <= 20; log2++) {
		g_autoptr(Fixture) f = fixture_new_unstarted();
		uint8_t in[2] = { 8, 0 };

		f->config.payload_log2 = log2;
		fixture_start(f);
		g_assert_cmpuint(get(f, f->mailbox, 4) & 31, ==, log2);
		assert_rc(run(f, 0x4800, in, 2), CXL_RC_SUCCESS);
		ring(f, 0x4802, NULL, 0, (1u << log2) + 1);
		assert_rc(collect(f), CXL_RC_INVALID_PAYLOAD_LENGTH);
		ring(f, 0x4802, "\0\0\0\0\0\0\0", 8, 1u << log2);
		assert_rc(collect(f), CXL_RC_SUCCESS);
	}
}

static void test_doorbell_is_the_only_trigger(void)
{
	g_autoptr(Fixture) f = fixture_new();

	put(f, f->mailbox + CXL_MBOX_CMD, 0x4000, 4);
	put(f, f->mailbox + CXL_MBOX_CMD + 4, 0, 4);
	put(f, f->mailbox + CXL_MBOX_CMD, 0x4000, 8);
	put(f, f->mailbox + CXL_MBOX_CTRL, 0, 4);
	put(f, f->mailbox + CXL_MBOX_CTRL + 1, 0xff, 1);
	g_assert_cmpuint(f->n_traces, ==, 0);
	put(f, f->mailbox + CXL_MBOX_CTRL, 1, 1);
	g_assert_cmpuint(f->n_traces, ==, 1);
	assert_rc(collect(f), CXL_RC_SUCCESS);
	g_assert_cmpuint(f->out_len, ==, 0x45);
	g_assert_cmphex(get(f, f->mailbox + CXL_MBOX_CMD, 8), ==, 0x454000);
}

/* One access over control, command and payload: the doorbell comes last. */
static void test_one_wide_access(void)
{
	g_autoptr(Fixture) f = fixture_new();
	uint8_t bytes[0x20 - 4 + 8] = { 0 };

	bytes[0] = 1;
	le64_store(bytes + 4, 0x0301 | 8 << 16);
	le64_store(bytes + 0x1c, 5000);
	g_assert_cmpint(device_regs_write(f->regs, f->mailbox + 4, bytes, sizeof(bytes)), ==, 0);
	assert_rc(collect(f), CXL_RC_SUCCESS);
	assert_rc(run(f, 0x0300, NULL, 0), CXL_RC_SUCCESS);
	g_assert_cmpuint(le64_load(f->out), ==, 5000);
}

static void test_interrupt(void)
{
	g_autoptr(Fixture) f = fixture_new();

	assert_rc(run(f, 0x0300, NULL, 0), CXL_RC_SUCCESS);
	g_assert_cmpuint(f->n_irqs[DEVICE_VECTOR_MAILBOX], ==, 0);
	put(f, f->mailbox + CXL_MBOX_CTRL, CXL_MBOX_CTRL_DOORBELL_INT_EN, 4);
	g_assert_cmpuint(f->n_irqs[DEVICE_VECTOR_MAILBOX], ==, 0);
	assert_rc(run(f, 0x0300, NULL, 0), CXL_RC_SUCCESS);
	g_assert_cmpuint(f->n_irqs[DEVICE_VECTOR_MAILBOX], ==, 1);
	assert_rc(run(f, 0xffff, NULL, 0), CXL_RC_UNSUPPORTED);
	g_assert_cmpuint(f->n_irqs[DEVICE_VECTOR_MAILBOX], ==, 2);

	f->dc.hold = true;
	ring(f, 0x4802, "\0\0\0\0\0\0\0", 8, 8);
	g_assert_cmpuint(f->n_irqs[DEVICE_VECTOR_MAILBOX], ==, 2);
	answer(&f->dc, CXL_RC_SUCCESS);
	g_assert_cmpuint(f->n_irqs[DEVICE_VECTOR_MAILBOX], ==, 3);
}

/* QEMU 11.1 copied from beyond its window here. */
static void test_length_beyond_payload(void)
{
	static const uint32_t lens[] = { 0x10001, 0x1fffff, 0x100000, 0xfffff };

	for (size_t i = 0; i < G_N_ELEMENTS(lens); i++) {
		g_autoptr(Fixture) f = fixture_new();

		ring(f, 0x4802, NULL, 0, lens[i]);
		assert_rc(collect(f), CXL_RC_INVALID_PAYLOAD_LENGTH);
		ring(f, 0xbeef, NULL, 0, lens[i]);
		assert_rc(collect(f), CXL_RC_INVALID_PAYLOAD_LENGTH);
		g_assert_cmpuint(f->dc.n_adds, ==, 0);
	}
}

/* The file is laid out like the BAR. */
static off_t payload_in_file(Fixture *f)
{
	return DEVICE_REGS_BAR_OFFSET + (off_t)device_regs_payload_offset(f->regs);
}

static uint8_t *map_payload(Fixture *f)
{
	uint8_t *map = mmap(NULL, device_regs_payload_len(f->regs), PROT_READ | PROT_WRITE,
			    MAP_SHARED, device_regs_peek_payload_fd(f->regs), payload_in_file(f));

	g_assert_true(map != MAP_FAILED);
	return map;
}

static void unmap_payload(Fixture *f, uint8_t *map)
{
	munmap(map, device_regs_payload_len(f->regs));
}

static void test_payload_file(void)
{
	g_autoptr(Fixture) f = fixture_new();
	int fd = device_regs_peek_payload_fd(f->regs);
	uint8_t *map = map_payload(f);

	g_assert_cmpint(ftruncate(fd, 0), ==, -1);
	g_assert_cmpint(ftruncate(fd, 1 << 20), ==, -1);
	g_assert_cmpint(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), ==, -1);
	g_assert_cmpint(fcntl(fd, F_GETFD) & FD_CLOEXEC, !=, 0);

	/* both ways are the same memory */
	memset(map, 0xaa, 0x10000);
	g_assert_cmphex(get(f, payload_at(f) + 0xfff8, 8), ==, UINT64_C(0xaaaaaaaaaaaaaaaa));
	put(f, payload_at(f), 7, 8);
	g_assert_cmphex(le64_load(map), ==, 7);

	/* an output is padded with zeros to its page, and the rest of the payload is left alone */
	assert_rc(run(f, 0x0300, NULL, 0), CXL_RC_SUCCESS);
	for (unsigned i = 0; i < 4096; i++)
		g_assert_cmphex(map[i], ==, 0);
	g_assert_cmphex(map[4096], ==, 0xaa);

	/* a guest may punch holes: no harm */
	g_assert_cmpint(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				  payload_in_file(f) + 0x10000),
			==, 0);
	assert_rc(run(f, 0x4000, NULL, 0), CXL_RC_SUCCESS);
	unmap_payload(f, map);
}

/* What the guest does to the payload after the doorbell changes nothing. */
static void test_scribble(void)
{
	g_autoptr(Fixture) f = fixture_new();
	uint8_t *map = map_payload(f);
	uint8_t in[32] = { 1 };

	le64_store(in + 8, 6 * GIB);
	le64_store(in + 16, 2 * MIB);
	f->dc.hold = true;
	ring(f, 0x4802, in, sizeof(in), sizeof(in));
	g_assert_true(is_busy(f));
	memset(map, 0xff, 0x10000);
	g_assert_cmpuint(f->dc.n_ranges, ==, 1);
	g_assert_cmpuint(f->dc.ranges[0].dpa, ==, 6 * GIB);
	g_assert_cmpuint(f->dc.ranges[0].len, ==, 2 * MIB);

	/* registers are deaf meanwhile */
	put(f, f->mailbox + CXL_MBOX_CMD, 0x4803, 8);
	put(f, f->mailbox + CXL_MBOX_CTRL, 3, 4);
	put(f, f->mailbox + CXL_MBOX_CTRL, 0, 4);
	g_assert_true(is_busy(f));
	g_assert_cmphex(get(f, f->mailbox + CXL_MBOX_CMD, 8), ==, 0x4802 | 32 << 16);
	g_assert_cmpuint(f->dc.n_adds + f->dc.n_releases, ==, 1);

	f->now_us += 700;
	answer(&f->dc, CXL_RC_INVALID_PA);
	assert_rc(collect(f), CXL_RC_INVALID_PA);
	g_assert_cmphex(get(f, f->mailbox + CXL_MBOX_CMD, 8), ==, 0x4802);
	g_assert_cmphex(f->traced_opcode, ==, 0x4802);
	g_assert_cmphex(f->traced_rc, ==, CXL_RC_INVALID_PA);
	g_assert_cmpuint(f->traced_us, ==, 700);
	unmap_payload(f, map);
}

typedef struct Scribbler {
	uint8_t *map;
	gint stop;
} Scribbler;

static void *scribble(void *opaque)
{
	Scribbler *s = opaque;
	volatile uint8_t *count = s->map;

	for (uint8_t i = 0; !g_atomic_int_get(&s->stop); i++)
		count[i % 4] = i & 8 ? 0xff : i % 4 == 0;
	return NULL;
}

/* The count is checked and used in one copy: it never is another one in between. */
static void test_scribbling_thread(void)
{
	g_autoptr(Fixture) f = fixture_new();
	Scribbler s = { .map = map_payload(f) };
	GThread *thread = g_thread_new("scribble", scribble, &s);
	unsigned n_accepted = 0;

	for (unsigned i = 0; i < 50000; i++) {
		ring(f, 0x4802, NULL, 0, 8 + 24);
		if (collect(f) != CXL_RC_SUCCESS)
			continue;
		g_assert_cmpuint(f->dc.n_ranges, <=, 1);
		n_accepted++;
	}
	g_assert_cmpuint(f->dc.n_adds, ==, n_accepted);
	g_atomic_int_set(&s.stop, 1);
	g_thread_join(thread);
	unmap_payload(f, s.map);
}

static void test_reset_during_command(void)
{
	static const DeviceReset kinds[] = { DEVICE_RESET_FLR, DEVICE_RESET_CONVENTIONAL,
					     DEVICE_RESET_NEW_SESSION, DEVICE_RESET_FORGET };

	for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
		g_autoptr(Fixture) f = fixture_new();
		DcResponseDone old_done;
		void *old_opaque;

		put(f, f->mailbox + CXL_MBOX_CTRL, CXL_MBOX_CTRL_DOORBELL_INT_EN, 4);
		f->dc.hold = true;
		ring(f, 0x4802, "\0\0\0\0\0\0\0", 8, 8);
		old_done = f->dc.done;
		old_opaque = f->dc.done_opaque;
		device_regs_reset(f->regs, kinds[i]);
		g_assert_false(is_busy(f));
		g_assert_cmphex(get(f, f->mailbox + CXL_MBOX_CTRL, 4), ==, 0);
		g_assert_cmphex(get(f, f->mailbox + CXL_MBOX_CMD, 8), ==, 0);
		g_assert_cmphex(get(f, f->mailbox + CXL_MBOX_STATUS, 8), ==, 0);

		/* the late answer to the old command is not taken for the new one's */
		f->dc.done = NULL;
		ring(f, 0x4803, "\0\0\0\0\0\0\0", 8, 8);
		g_assert_true(is_busy(f));
		old_done(old_opaque, CXL_RC_ABORTED);
		g_assert_true(is_busy(f));
		answer(&f->dc, CXL_RC_SUCCESS);
		assert_rc(collect(f), CXL_RC_SUCCESS);
		g_assert_cmphex(get(f, f->mailbox + CXL_MBOX_CMD, 8), ==, 0x4803);
		g_assert_cmpuint(f->n_irqs[DEVICE_VECTOR_MAILBOX], ==, 0);
	}
}

static void test_free_during_command(void)
{
	Fixture *f = fixture_new();

	f->dc.hold = true;
	ring(f, 0x4802, "\0\0\0\0\0\0\0", 8, 8);
	device_regs_free(f->regs);
	f->regs = NULL;
	answer(&f->dc, CXL_RC_SUCCESS);
	fixture_free(f);
}

static void test_sessions_share_nothing(void)
{
	g_autoptr(Fixture) f = fixture_new();
	uint8_t *old_map = map_payload(f);
	uint8_t *new_map;

	memset(old_map, 0x55, 0x10000);
	device_regs_reset(f->regs, DEVICE_RESET_NEW_SESSION);
	g_assert_cmpint(device_regs_peek_payload_fd(f->regs), >=, 0);
	new_map = map_payload(f);
	for (unsigned i = 0; i < 0x10000; i++)
		g_assert_cmphex(new_map[i], ==, 0);

	assert_rc(run(f, 0x4000, NULL, 0), CXL_RC_SUCCESS);
	g_assert_cmphex(le64_load(new_map + 0x10), ==, 6);
	for (unsigned i = 0; i < 0x10000; i++)
		g_assert_cmphex(old_map[i], ==, 0x55);
	memset(old_map, 0x77, 0x10000);
	g_assert_cmphex(le64_load(new_map + 0x10), ==, 6);
	unmap_payload(f, old_map);
	unmap_payload(f, new_map);

	/* other resets keep the file: the client's mapping stays good */
	new_map = map_payload(f);
	device_regs_reset(f->regs, DEVICE_RESET_FLR);
	device_regs_reset(f->regs, DEVICE_RESET_CONVENTIONAL);
	assert_rc(run(f, 0x4000, NULL, 0), CXL_RC_SUCCESS);
	g_assert_cmphex(le64_load(new_map + 0x10), ==, 6);
	unmap_payload(f, new_map);
}

/* Without a file to give the mailbox still works, by trapped access. */
static void test_no_descriptor_left(void)
{
	g_autoptr(Fixture) f = fixture_new();
	struct rlimit old, none = { 0, 0 };
	uint8_t byte = 0x5a;

	g_assert_cmpint(device_regs_write(f->regs, payload_at(f), &byte, 1), ==, 0);
	g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &old), ==, 0);
	none.rlim_max = old.rlim_max;
	g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &none), ==, 0);
	g_test_expect_message(NULL, G_LOG_LEVEL_WARNING, "*payload access is trapped*");
	device_regs_reset(f->regs, DEVICE_RESET_NEW_SESSION);
	g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &old), ==, 0);
	g_test_assert_expected_messages();
	g_assert_cmpint(device_regs_peek_payload_fd(f->regs), ==, -1);
	g_assert_cmphex(get(f, payload_at(f), 8), ==, 0);
	assert_rc(run(f, 0x4000, NULL, 0), CXL_RC_SUCCESS);
	g_assert_cmpuint(f->out_len, ==, 0x45);
	device_regs_reset(f->regs, DEVICE_RESET_NEW_SESSION);
	g_assert_cmpint(device_regs_peek_payload_fd(f->regs), >=, 0);
}

static void test_no_deadline(void)
{
	g_autoptr(Fixture) f = fixture_new();

	device_regs_tick(f->regs);
	g_assert_cmpuint(device_regs_next_deadline_us(f->regs), ==, UINT64_MAX);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/device/mailbox/layout", test_layout);
	g_test_add_func("/unit/device/mailbox/access", test_access);
	g_test_add_func("/unit/device/mailbox/bad-config", test_bad_config);
	g_test_add_func("/unit/device/mailbox/payload-sizes", test_payload_sizes);
	g_test_add_func("/unit/device/mailbox/doorbell-is-the-only-trigger",
			test_doorbell_is_the_only_trigger);
	g_test_add_func("/unit/device/mailbox/one-wide-access", test_one_wide_access);
	g_test_add_func("/unit/device/mailbox/interrupt", test_interrupt);
	g_test_add_func("/unit/device/mailbox/length-beyond-payload", test_length_beyond_payload);
	g_test_add_func("/unit/device/mailbox/payload-file", test_payload_file);
	g_test_add_func("/unit/device/mailbox/scribble", test_scribble);
	g_test_add_func("/unit/device/mailbox/scribbling-thread", test_scribbling_thread);
	g_test_add_func("/unit/device/mailbox/reset-during-command", test_reset_during_command);
	g_test_add_func("/unit/device/mailbox/free-during-command", test_free_during_command);
	g_test_add_func("/unit/device/mailbox/sessions-share-nothing", test_sessions_share_nothing);
	g_test_add_func("/unit/device/mailbox/no-descriptor-left", test_no_descriptor_left);
	g_test_add_func("/unit/device/mailbox/no-deadline", test_no_deadline);
	return g_test_run();
}

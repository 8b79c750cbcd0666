/* SPDX-License-Identifier: BSD-3-Clause */
/* Every command by its bytes: answers, refusals with their codes, the CEL, and random abuse. */
#include "device-fixture.h"

#define CEL_UUID                                                                                  \
	0x0d, 0xa9, 0xc0, 0xb5, 0xbf, 0x41, 0x4b, 0x78, 0x8f, 0x79, 0x96, 0xb1, 0x62, 0x3b, 0x3f, \
		0x17

/* opcode, effects, accepted input lengths; ascending */
static const struct {
	uint16_t opcode;
	uint16_t effects;
	uint32_t in_min, in_max; /* UINT32_MAX: the payload size */
} commands[] = {
	{ 0x0001, 0x00, 0, 0 },          { 0x0100, 0x00, 1, 1 },
	{ 0x0101, 0x10, 6, UINT32_MAX }, { 0x0102, 0x00, 0, 0 },
	{ 0x0103, 0x08, 4, 5 },          { 0x0200, 0x00, 0, 0 },
	{ 0x0300, 0x00, 0, 0 },          { 0x0301, 0x08, 8, 8 },
	{ 0x0400, 0x00, 0, 0 },          { 0x0401, 0x00, 24, 24 },
	{ 0x4000, 0x00, 0, 0 },          { 0x4100, 0x00, 0, 0 },
	{ 0x4102, 0x00, 8, 8 },          { 0x4103, 0x06, 8, UINT32_MAX },
	{ 0x4200, 0x00, 0, 0 },          { 0x4201, 0x00, 0, 0 },
	{ 0x4202, 0x08, 12, 12 },        { 0x4203, 0x00, 0, 0 },
	{ 0x4204, 0x08, 1, 1 },          { 0x4800, 0x00, 2, 2 },
	{ 0x4801, 0x00, 8, 8 },          { 0x4802, 0x06, 8, UINT32_MAX },
	{ 0x4803, 0x06, 8, UINT32_MAX },
};

static unsigned find_command(uint32_t opcode)
{
	unsigned i = 0;

	while (i < G_N_ELEMENTS(commands) && commands[i].opcode != opcode)
		i++;
	return i;
}

static enum cxl_rc get_cel(Fixture *f, uint32_t offset, uint32_t len)
{
	uint8_t in[24] = { CEL_UUID };

	le32_store(in + 16, offset);
	le32_store(in + 20, len);
	return run(f, 0x0401, in, sizeof(in));
}

/* ---- the table and what is made of it ---- */

static void test_cel(void)
{
	g_autoptr(Fixture) f = fixture_new();
	uint32_t len = 4 * G_N_ELEMENTS(commands);
	bool seen[G_N_ELEMENTS(commands)] = { false };

	assert_rc(run(f, 0x0400, NULL, 0), CXL_RC_SUCCESS);
	assert_out(f, 1, 0, 0, 0, 0, 0, 0, 0, CEL_UUID, 4 * G_N_ELEMENTS(commands), 0, 0, 0);
	assert_rc(get_cel(f, 0, len), CXL_RC_SUCCESS);
	g_assert_cmpuint(f->out_len, ==, len);
	for (uint32_t at = 0; at < len; at += 4) {
		unsigned i = find_command(le16_load(f->out + at));

		g_assert_cmpuint(i, <, G_N_ELEMENTS(commands));
		g_assert_false(seen[i]);
		seen[i] = true;
		g_assert_cmphex(le16_load(f->out + at + 2), ==, commands[i].effects);
	}

	/* pieces, and the exact bounds */
	assert_rc(get_cel(f, len - 4, 4), CXL_RC_SUCCESS);
	g_assert_cmpuint(f->out_len, ==, 4);
	assert_rc(get_cel(f, 1, 2), CXL_RC_SUCCESS);
	g_assert_cmpuint(f->out_len, ==, 2);
	assert_rc(get_cel(f, len, 0), CXL_RC_SUCCESS);
	assert_rc(get_cel(f, len - 3, 4), CXL_RC_INVALID_INPUT);
	assert_rc(get_cel(f, 0, len + 1), CXL_RC_INVALID_INPUT);
	assert_rc(get_cel(f, len + 1, 0), CXL_RC_INVALID_INPUT);
	assert_rc(get_cel(f, UINT32_MAX, UINT32_MAX), CXL_RC_INVALID_INPUT);
	assert_rc(get_cel(f, 4, UINT32_MAX - 3), CXL_RC_INVALID_INPUT);
	assert_rc(run(f, 0x0401, (uint8_t[24]){ 0 }, 24), CXL_RC_INVALID_LOG);
}

static void test_every_opcode(void)
{
	g_autoptr(Fixture) f = fixture_new();

	for (uint32_t opcode = 0; opcode <= 0xffff; opcode++) {
		unsigned i = find_command(opcode);
		enum cxl_rc rc = run(f, (uint16_t)opcode,
				     "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
				     i < G_N_ELEMENTS(commands) ? commands[i].in_min : 0);

		g_assert_cmpint(rc == CXL_RC_UNSUPPORTED, ==, i == G_N_ELEMENTS(commands));
		g_assert_cmphex(f->traced_opcode, ==, opcode);
		g_assert_cmphex(rc, <=, 0x1e);
	}
	g_assert_cmpuint(f->n_traces, ==, 0x10000);
}

static void test_input_lengths(void)
{
	g_autoptr(Fixture) f = fixture_new();
	static const uint8_t zeros[0x10000];

	for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
		uint32_t max = MIN(commands[i].in_max, 0x10000);
		uint16_t opcode = commands[i].opcode;

		if (commands[i].in_min > 0)
			assert_rc(run(f, opcode, zeros, commands[i].in_min - 1),
				  CXL_RC_INVALID_PAYLOAD_LENGTH);
		ring(f, opcode, zeros, max, max + 1);
		assert_rc(collect(f), CXL_RC_INVALID_PAYLOAD_LENGTH);
		assert_rc(run(f, opcode, zeros, commands[i].in_min) ==
				  CXL_RC_INVALID_PAYLOAD_LENGTH,
			  false);
	}
}

/* Nothing is advertised that is not there. */
static void test_absent_commands(void)
{
	g_autoptr(Fixture) f = fixture_new_unstarted();

	f->config.lsa = NULL;
	f->dc.n_regions = 0;
	fixture_start(f);
	assert_rc(run(f, 0x0400, NULL, 0), CXL_RC_SUCCESS);
	g_assert_cmpuint(le32_load(f->out + 24), ==, 4 * (G_N_ELEMENTS(commands) - 6));
	assert_rc(run(f, 0x4000, NULL, 0), CXL_RC_SUCCESS);
	g_assert_cmpuint(le32_load(f->out + 0x38), ==, 0);
	for (uint16_t opcode = 0x4800; opcode <= 0x4803; opcode++)
		assert_rc(run(f, opcode, "\0\0\0\0\0\0\0", 8), CXL_RC_UNSUPPORTED);
	assert_rc(run(f, 0x4102, "\0\0\0\0\0\0\0", 8), CXL_RC_UNSUPPORTED);
	assert_rc(run(f, 0x4103, "\0\0\0\0\0\0\0", 8), CXL_RC_UNSUPPORTED);
}

/* ---- generic and memory device commands ---- */

static void test_identify(void)
{
	g_autoptr(Fixture) f = fixture_new();

	assert_rc(run(f, 0x0001, NULL, 0), CXL_RC_SUCCESS);
	assert_out(f, 0x98, 0x1e, 0xd0, 0xdc, 0x98, 0x1e, 0xd0, 0xdc, 0x88, 0x77, 0x66, 0x55, 0x44,
		   0x33, 0x22, 0x11, 16, 3);

	assert_rc(run(f, 0x0200, NULL, 0), CXL_RC_SUCCESS);
	g_assert_cmpuint(f->out_len, ==, 0x50);
	g_assert_cmpmem(f->out, 3, "\1\1\0", 3);
	g_assert_cmpstr((const char *)f->out + 16, ==, "softdcd " SOFTDCD_VERSION);

	assert_rc(run(f, 0x4000, NULL, 0), CXL_RC_SUCCESS);
	g_assert_cmpstr((const char *)f->out, ==, "softdcd " SOFTDCD_VERSION);
	memset(f->out, 0, 16);
	assert_out(f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, /* firmware */
		   6, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0,    /* total, volatile */
		   2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,    /* persistent, alignment */
		   64, 0, 64, 0, 64, 0, 64, 0,                        /* logs */
		   0, 0x10, 1, 0,                                     /* LSA */
		   0, 0, 0, 0, 0, 0, 0,                               /* poison, QoS */
		   0, 0x10 /* DC log */);

	assert_rc(run(f, 0x4100, NULL, 0), CXL_RC_SUCCESS);
	assert_out(f, 4, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		   0, 0, 0, 0, 0, 0);
}

static void test_timestamp(void)
{
	g_autoptr(Fixture) f = fixture_new();
	uint8_t in[8];

	assert_rc(run(f, 0x0300, NULL, 0), CXL_RC_SUCCESS);
	assert_out(f, 0, 0, 0, 0, 0, 0, 0, 0); /* never set */
	le64_store(in, UINT64_C(0x17a1b2c3d4e5f600));
	assert_rc(run(f, 0x0301, in, 8), CXL_RC_SUCCESS);
	g_assert_cmpuint(f->out_len, ==, 0);
	f->now_us += 2;
	assert_rc(run(f, 0x0300, NULL, 0), CXL_RC_SUCCESS);
	assert_out(f, 0xd0, 0xfd, 0xe5, 0xd4, 0xc3, 0xb2, 0xa1, 0x17); /* 2000 ns later */
	le64_store(in, UINT64_MAX);
	assert_rc(run(f, 0x0301, in, 8), CXL_RC_SUCCESS);
	assert_rc(run(f, 0x0300, NULL, 0), CXL_RC_SUCCESS);
	g_assert_cmphex(le64_load(f->out), ==, UINT64_MAX);
}

static void test_label_storage(void)
{
	g_autoptr(Fixture) f = fixture_new();
	g_autofree uint8_t *big = g_malloc0(0x10000);
	uint8_t in[8 + 4] = { 0xfe, 0x0f, 1, 0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4 };

	/* the last two bytes of 65536 + 4096; the reserved field does not matter */
	assert_rc(run(f, 0x4103, in, 10), CXL_RC_SUCCESS);
	assert_rc(run(f, 0x4103, in, 11), CXL_RC_INVALID_INPUT);
	assert_rc(run(f, 0x4103, in, 8), CXL_RC_SUCCESS); /* nothing to write */
	g_assert_cmpmem(f->lsa.bytes + 0x10ffc, 4, "\0\0\1\2", 4);
	assert_rc(run(f, 0x4102, "\xfc\x0f\1\0\4\0\0\0", 8), CXL_RC_SUCCESS);
	assert_out(f, 0, 0, 1, 2);
	assert_rc(run(f, 0x4102, "\xfd\x0f\1\0\4\0\0\0", 8), CXL_RC_INVALID_INPUT);
	assert_rc(run(f, 0x4102, "\xff\xff\xff\xff\xff\xff\xff\xff", 8), CXL_RC_INVALID_INPUT);
	assert_rc(run(f, 0x4102, "\0\x10\1\0\0\0\0\0", 8), CXL_RC_SUCCESS);
	g_assert_cmpuint(f->out_len, ==, 0);
	assert_rc(run(f, 0x4102, "\0\0\0\0\0\0\1\0", 8), CXL_RC_SUCCESS);
	g_assert_cmpuint(f->out_len, ==, 0x10000);
	assert_rc(run(f, 0x4102, "\0\0\0\0\1\0\1\0", 8), CXL_RC_INVALID_PAYLOAD_LENGTH);
	le32_store(big, 0xffffffff);
	assert_rc(run(f, 0x4103, big, 0x10000), CXL_RC_INVALID_INPUT);

	/* a write that fails half way leaves what was there */
	f->lsa.fail_writes = 1;
	le32_store(in, 0x10ffc);
	assert_rc(run(f, 0x4103, in, 12), CXL_RC_INTERNAL_ERROR);
	g_assert_cmpmem(f->lsa.bytes + 0x10ffc, 4, "\0\0\1\2", 4);
	f->lsa.fail_reads = true;
	assert_rc(run(f, 0x4102, "\0\0\0\0\4\0\0\0", 8), CXL_RC_INTERNAL_ERROR);
	assert_rc(run(f, 0x4103, in, 12), CXL_RC_INTERNAL_ERROR);
	g_assert_cmpmem(f->lsa.bytes + 0x10ffc, 4, "\0\0\1\2", 4);
}

static void test_health(void)
{
	g_autoptr(Fixture) f = fixture_new();

	assert_rc(run(f, 0x4200, NULL, 0), CXL_RC_SUCCESS);
	assert_out(f, 0, 0, 0, 0, 0xff, 0x7f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);

	assert_rc(run(f, 0x4203, NULL, 0), CXL_RC_SUCCESS);
	assert_out(f, 0);
	assert_rc(run(f, 0x4204, "\xff", 1), CXL_RC_SUCCESS);
	assert_rc(run(f, 0x4203, NULL, 0), CXL_RC_SUCCESS);
	assert_out(f, 1);
	assert_rc(run(f, 0x4204, "\0", 1), CXL_RC_SUCCESS);
	assert_rc(run(f, 0x4203, NULL, 0), CXL_RC_SUCCESS);
	assert_out(f, 0);
}

static void test_alerts(void)
{
	g_autoptr(Fixture) f = fixture_new();
	static const struct {
		uint8_t in[12];
		enum cxl_rc rc;
	} cases[] = {
		/* valid, enable, life, -, over, under, volatile, persistent */
		{ { 0x01, 0x01, 100 }, CXL_RC_INVALID_INPUT },
		{ { 0x01, 0x01, 255 }, CXL_RC_INVALID_INPUT },
		{ { 0x02, 0x02, 0, 0, 95, 0 }, CXL_RC_INVALID_INPUT },
		{ { 0x02, 0x02, 0, 0, 0xff, 0x7f }, CXL_RC_INVALID_INPUT },
		{ { 0x04, 0x04, 0, 0, 0, 0, 0xd8, 0xff }, CXL_RC_INVALID_INPUT },
		{ { 0x04, 0x04, 0, 0, 0, 0, 0x00, 0x80 }, CXL_RC_INVALID_INPUT },
		/* the first is fine, the last is not: nothing is applied */
		{ { 0x07, 0x07, 50, 0, 60, 0, 0xd8, 0xff }, CXL_RC_INVALID_INPUT },
		/* not to be changed, or to be switched off: the value does not matter */
		{ { 0x00, 0x1f, 255, 0, 0xff, 0x7f, 0, 0x80 }, CXL_RC_SUCCESS },
		{ { 0x07, 0x00, 255, 0, 0xff, 0x7f, 0, 0x80 }, CXL_RC_SUCCESS },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		assert_rc(run(f, 0x4202, cases[i].in, 12), cases[i].rc);
		assert_rc(run(f, 0x4201, NULL, 0), CXL_RC_SUCCESS);
		assert_out(f, 0, 0x1f, 100, 80, 95, 0, 0xd8, 0xff, 85, 0, 0xec, 0xff, 0xe8, 3, 0xe8,
			   3);
	}
	assert_rc(run(f, 0x4202, "\xff\xfd\x63\0\x5e\0\xd9\xff\1\2\3\4", 12), CXL_RC_SUCCESS);
	assert_rc(run(f, 0x4201, NULL, 0), CXL_RC_SUCCESS);
	assert_out(f, 0x1d, 0x1f, 100, 99, 95, 0, 0xd8, 0xff, 85, 0, 0xd9, 0xff, 1, 2, 3, 4);
	assert_rc(run(f, 0x4202, "\1\0\0\0\0\0\0\0\0\0\0\0", 12), CXL_RC_SUCCESS);
	assert_rc(run(f, 0x4201, NULL, 0), CXL_RC_SUCCESS);
	assert_out(f, 0x1c, 0x1f, 100, 99, 95, 0, 0xd8, 0xff, 85, 0, 0xd9, 0xff, 1, 2, 3, 4);
	device_regs_reset(f->regs, DEVICE_RESET_CONVENTIONAL);
	assert_rc(run(f, 0x4201, NULL, 0), CXL_RC_SUCCESS);
	assert_out(f, 0, 0x1f, 100, 80, 95, 0, 0xd8, 0xff, 85, 0, 0xec, 0xff, 0xe8, 3, 0xe8, 3);
}

/* ---- dynamic capacity ---- */

#define TAIL 0, 0, 1, 0, 0xfe, 0xff, 0, 0, 0, 4, 0, 0, 0xff, 3, 0, 0
#define REGION_1                                                                               \
	0, 0, 0, 0x60, 1, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, \
		0x40, 0, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0

static void test_dc_config(void)
{
	g_autoptr(Fixture) f = fixture_new();

	assert_rc(run(f, 0x4800, "\x08\0", 2), CXL_RC_SUCCESS);
	assert_out(f, 2, 2, 0, 0, 0, 0, 0, 0,
		   /* 1.5 GiB, 16 * 256 MiB, 4 GiB, 2 MiB, handle 2 */
		   0, 0, 0, 0x60, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0,
		   0x20, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, REGION_1, TAIL);
	assert_rc(run(f, 0x4800, "\xff\1", 2), CXL_RC_SUCCESS);
	assert_out(f, 2, 1, 0, 0, 0, 0, 0, 0, REGION_1, TAIL);
	assert_rc(run(f, 0x4800, "\0\1", 2), CXL_RC_SUCCESS);
	assert_out(f, 2, 0, 0, 0, 0, 0, 0, 0, TAIL);
	assert_rc(run(f, 0x4800, "\1\2", 2), CXL_RC_INVALID_INPUT);
	assert_rc(run(f, 0x4800, "\1\xff", 2), CXL_RC_INVALID_INPUT);
}

static enum cxl_rc list(Fixture *f, uint32_t n, uint32_t start)
{
	uint8_t in[8];

	le32_store(in, n);
	le32_store(in + 4, start);
	return run(f, 0x4801, in, 8);
}

static void make_extents(Fixture *f, size_t n)
{
	f->dc.n_extents = n;
	for (size_t i = 0; i < n; i++) {
		DcExtent *extent = &f->dc.extents[i];

		extent->dpa = 1536 * MIB + i * 2 * MIB;
		extent->len = 2 * MIB;
		extent->shared_seq = (uint16_t)i;
		memset(extent->tag.b, 0xa5, 16);
		/* not for the wire */
		extent->order = 0x77777777;
		extent->alloc = extent->map_id = extent->backend_offset = UINT64_MAX;
	}
}

static void test_extent_list(void)
{
	g_autoptr(Fixture) f = fixture_new();
	uint32_t fit = (0x10000 - 16) / 40;
	uint32_t seen = 0;

	f->dc.generation = 0x01020304;
	assert_rc(list(f, 0, 0), CXL_RC_SUCCESS);
	assert_out(f, 0, 0, 0, 0, 0, 0, 0, 0, 4, 3, 2, 1, 0, 0, 0, 0);
	g_assert_cmpuint(f->dc.n_list_reads, ==, 1);
	assert_rc(list(f, 1, 1), CXL_RC_INVALID_INPUT);

	make_extents(f, 2);
	assert_rc(list(f, 1, 1), CXL_RC_SUCCESS);
	assert_out(f, 1, 0, 0, 0, 2, 0, 0, 0, 4, 3, 2, 1, 0, 0, 0, 0,
		   /* extent */
		   0, 0, 0x20, 0x60, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0xa5, 0xa5, 0xa5, 0xa5,
		   0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 1, 0, 0,
		   0, 0, 0, 0, 0);
	g_assert_cmpuint(f->dc.n_list_reads, ==, 2);
	assert_rc(list(f, 1, 0), CXL_RC_SUCCESS);
	assert_rc(list(f, 0, 0), CXL_RC_SUCCESS);
	g_assert_cmpuint(f->out_len, ==, 16);
	g_assert_cmpuint(f->dc.n_list_reads, ==, 2);
	assert_rc(list(f, UINT32_MAX, 2), CXL_RC_SUCCESS);
	assert_rc(list(f, UINT32_MAX, 3), CXL_RC_INVALID_INPUT);
	assert_rc(list(f, UINT32_MAX, UINT32_MAX), CXL_RC_INVALID_INPUT);
	g_assert_cmpuint(f->dc.n_list_reads, ==, 3);

	/* paged, never more than fits, whatever is asked for */
	make_extents(f, 3000);
	for (unsigned page = 0; seen < 3000; page++) {
		uint32_t n;

		assert_rc(list(f, UINT32_MAX, seen), CXL_RC_SUCCESS);
		n = le32_load(f->out);
		g_assert_cmpuint(n, ==, page == 0 ? fit : 3000 - fit);
		g_assert_cmpuint(le32_load(f->out + 4), ==, 3000);
		g_assert_cmpuint(f->out_len, ==, 16 + n * 40);
		for (uint32_t i = 0; i < n; i++)
			g_assert_cmpuint(le64_load(f->out + 16 + i * 40), ==,
					 f->dc.extents[seen + i].dpa);
		seen += n;
		g_assert_cmpuint(f->dc.n_list_reads, ==, seen == 3000 ? 4 : 3);
	}
}

/* 4802h and 4803h parse the same input. */
static void test_responses(void)
{
	g_autoptr(Fixture) f = fixture_new();
	g_autofree uint8_t *in = g_malloc0(0x10000);

	for (uint16_t opcode = 0x4802; opcode <= 0x4803; opcode++) {
		static const uint32_t counts[] = { 3,          4,          0x10000,    0x0aaaaaab,
						   0x80000000, 0xaaaaaaab, 0xfffffffe, UINT32_MAX };
		unsigned *n_calls = opcode == 0x4802 ? &f->dc.n_adds : &f->dc.n_releases;

		f->dc.rc = CXL_RC_SUCCESS;
		memset(in, 0xff, 0x10000); /* reserved fields do not matter */
		le32_store(in, 2);
		in[4] = 0xfe;
		le64_store(in + 8, UINT64_MAX - 1);
		le64_store(in + 16, 2 * MIB);
		le64_store(in + 32, 6 * GIB);
		le64_store(in + 40, 0);
		assert_rc(run(f, opcode, in, 8 + 2 * 24), CXL_RC_SUCCESS);
		g_assert_cmpuint(*n_calls, ==, 1);
		g_assert_cmpuint(f->dc.n_ranges, ==, 2);
		g_assert_false(f->dc.more);
		g_assert_cmphex(f->dc.ranges[0].dpa, ==, UINT64_MAX - 1);
		g_assert_cmphex(f->dc.ranges[0].len, ==, 2 * MIB);
		g_assert_cmphex(f->dc.ranges[1].dpa, ==, 6 * GIB);
		g_assert_cmphex(f->dc.ranges[1].len, ==, 0);
		in[4] = 1;
		assert_rc(run(f, opcode, in, 8 + 3 * 24), CXL_RC_SUCCESS); /* more than needed */
		g_assert_true(f->dc.more);
		g_assert_cmpuint(*n_calls, ==, 2);

		/* the payload must hold what it counts */
		assert_rc(run(f, opcode, in, 8 + 2 * 24 - 1), CXL_RC_INVALID_PAYLOAD_LENGTH);
		for (size_t i = 0; i < G_N_ELEMENTS(counts); i++) {
			le32_store(in, counts[i]);
			assert_rc(run(f, opcode, in, 8 + 2 * 24), CXL_RC_INVALID_PAYLOAD_LENGTH);
			assert_rc(run(f, opcode, in, 8), CXL_RC_INVALID_PAYLOAD_LENGTH);
		}
		le32_store(in, (0x10000 - 8) / 24 + 1);
		assert_rc(run(f, opcode, in, 0x10000), CXL_RC_INVALID_PAYLOAD_LENGTH);
		g_assert_cmpuint(*n_calls, ==, 2);
		le32_store(in, (0x10000 - 8) / 24);
		assert_rc(run(f, opcode, in, 0x10000), CXL_RC_SUCCESS);
		g_assert_cmpuint(f->dc.n_ranges, ==, (0x10000 - 8) / 24);

		/* none at all is the core's to judge (QEMU 11.1 died of it) */
		le32_store(in, 0);
		assert_rc(run(f, opcode, in, 8), CXL_RC_SUCCESS);
		g_assert_cmpuint(f->dc.n_ranges, ==, 0);

		/* the core's answer, at once and late */
		for (int rc = 0; rc <= 0x1e; rc++) {
			f->dc.rc = (enum cxl_rc)rc;
			assert_rc(run(f, opcode, in, 8), (enum cxl_rc)rc);
			f->dc.hold = true;
			ring(f, opcode, in, 8, 8);
			g_assert_true(is_busy(f));
			answer(&f->dc, (enum cxl_rc)rc);
			assert_rc(collect(f), (enum cxl_rc)rc);
			f->dc.hold = false;
		}
	}
}

/* ---- random abuse: what matters is that nothing breaks and that the mailbox still answers ---- */

static uint64_t rand64(void)
{
	return (uint64_t)(uint32_t)g_test_rand_int() << 32 | (uint32_t)g_test_rand_int();
}

static void fuzz_payload(Fixture *f, uint8_t *map)
{
	uint32_t n = (uint32_t)g_test_rand_int() & 63;

	for (uint32_t i = 0; i < n; i++)
		map[i] = (uint8_t)(g_test_rand_int() % 3 ? g_test_rand_int() & 7
							 : g_test_rand_int());
	if (g_test_rand_int() % 4 == 0)
		map[(uint32_t)g_test_rand_int() & 0xffff] = 0xff;
}

static void fuzz_command(Fixture *f)
{
	uint32_t i = (uint32_t)g_test_rand_int() % (G_N_ELEMENTS(commands) + 1);
	uint32_t len = (uint32_t)g_test_rand_int() & 0x3f;
	uint16_t opcode = (uint16_t)g_test_rand_int();

	if (i < G_N_ELEMENTS(commands)) {
		opcode = commands[i].opcode;
		if (g_test_rand_int() & 1)
			len = commands[i].in_min;
	}
	if (g_test_rand_int() % 16 == 0)
		len = (uint32_t)g_test_rand_int();
	if (g_test_rand_int() % 64 == 0)
		len = 0x10000;
	ring(f, opcode, NULL, 0, len);
}

static void fuzz_access(Fixture *f)
{
	uint8_t buf[64];
	uint64_t offset = (uint64_t)g_test_rand_int_range(0, 0x1100);
	uint32_t len = (uint32_t)g_test_rand_int_range(0, 1 + (int)sizeof(buf));

	switch (g_test_rand_int() & 3) {
	case 0:
		offset = f->mailbox + (uint64_t)g_test_rand_int_range(0, 0x28);
		break;
	case 1:
		offset = g_test_rand_int() & 1 ? rand64()
					       : device_regs_len(f->regs) -
							 (uint64_t)g_test_rand_int_range(0, 64);
		break;
	default:
		break;
	}
	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)g_test_rand_int();
	if (g_test_rand_int() & 1)
		device_regs_write(f->regs, offset, buf, len);
	else
		device_regs_read(f->regs, offset, buf, len);
}

/* The core's and the operator's doings. */
static void fuzz_around(Fixture *f, unsigned *n_reserved)
{
	CxlEventRecord record = { .header.handle = le16_put((uint16_t)g_test_rand_int()) };
	uint32_t n = (uint32_t)g_test_rand_int_range(0, 20);
	uint64_t cookie = (uint64_t)g_test_rand_int_range(0, 8);

	f->now_us += n;
	f->dc.hold = g_test_rand_int() & 1;
	f->dc.n_extents = (size_t)g_test_rand_int_range(0, 3001);
	if (f->dc.done && g_test_rand_int() % 4)
		answer(&f->dc, (enum cxl_rc)g_test_rand_int_range(0, 0x1f));
	switch (g_test_rand_int_range(0, 6)) {
	case 0:
		if (device_regs_dc_log_reserve(f->regs, n))
			*n_reserved += n;
		break;
	case 1:
		n = MIN(n, *n_reserved);
		for (uint32_t i = 0; i < n; i++)
			device_regs_dc_log_post(f->regs, &(DcEvent){ .cookie = cookie });
		*n_reserved -= n;
		break;
	case 2:
		n = MIN(n, *n_reserved);
		device_regs_dc_log_unreserve(f->regs, n);
		*n_reserved -= n;
		break;
	case 3:
		device_regs_dc_log_withdraw(f->regs, cookie);
		break;
	case 4:
		device_regs_inject_event(f->regs, n, &record);
		break;
	default:
		if (n == 0)
			device_regs_reset(f->regs, (DeviceReset)g_test_rand_int_range(0, 4));
		break;
	}
}

/* Reads a payload that the core's late answer would otherwise keep from us. */
static void settle(Fixture *f)
{
	if (f->dc.done)
		answer(&f->dc, CXL_RC_ABORTED);
	g_assert_false(is_busy(f));
}

static void test_fuzz(void)
{
	g_autoptr(Fixture) f = fixture_new_unstarted();
	unsigned n_reserved = 0;
	uint8_t *map = NULL;
	int fd = -1;

	f->config.log_depth[CXL_LOG_DC] = 100;
	fixture_start(f);
	for (unsigned step = 0; step < 200000; step++) {
		if (device_regs_peek_payload_fd(f->regs) != fd || !map || step % 512 == 0) {
			if (map)
				munmap(map, 0x10000);
			fd = device_regs_peek_payload_fd(f->regs);
			map = mmap(NULL, 0x10000, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
				   DEVICE_REGS_BAR_OFFSET +
					   (off_t)device_regs_payload_offset(f->regs));
			g_assert_true(map != MAP_FAILED);
		}
		fuzz_payload(f, map);
		/* the scripted core takes one command at a time, as the real one after a reset */
		if (f->dc.done && !is_busy(f))
			settle(f);
		if (step & 1)
			fuzz_command(f);
		else
			fuzz_access(f);
		fuzz_around(f, &n_reserved);
		g_assert_cmphex(
			CXL_FIELD_GET(CXL_MBOX_STATUS_RC, get(f, f->mailbox + CXL_MBOX_STATUS, 8)),
			<=, 0x1e);
	}
	settle(f);
	munmap(map, 0x10000);
	assert_rc(run(f, 0x4000, NULL, 0), CXL_RC_SUCCESS);
	g_assert_cmpuint(f->out_len, ==, 0x45);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/device/commands/cel", test_cel);
	g_test_add_func("/unit/device/commands/every-opcode", test_every_opcode);
	g_test_add_func("/unit/device/commands/input-lengths", test_input_lengths);
	g_test_add_func("/unit/device/commands/absent-commands", test_absent_commands);
	g_test_add_func("/unit/device/commands/identify", test_identify);
	g_test_add_func("/unit/device/commands/timestamp", test_timestamp);
	g_test_add_func("/unit/device/commands/label-storage", test_label_storage);
	g_test_add_func("/unit/device/commands/health", test_health);
	g_test_add_func("/unit/device/commands/alerts", test_alerts);
	g_test_add_func("/unit/device/commands/dc-config", test_dc_config);
	g_test_add_func("/unit/device/commands/extent-list", test_extent_list);
	g_test_add_func("/unit/device/commands/responses", test_responses);
	g_test_add_func("/unit/device/commands/fuzz", test_fuzz);
	return g_test_run();
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* A host that abuses the mailbox, over the wire: refused with the right code, nothing changed. */
#include "pool_fixture.h"

#include "mem_link_raw.h"

#define TAG   1
#define SIZE  (4 * BLOCK)
#define HELD  (8 * BLOCK) /* DPA of what is accepted */
#define OTHER (16 * BLOCK)

typedef struct Bench {
	Pool *pool;
	TestHost *host;
	PoolState before;
} Bench;

/* Four blocks at 0 offered in two extents, four blocks at HELD accepted. */
static void bench_init(Bench *bench)
{
	static const OfferExtent extents[] = { { 0, 2 * BLOCK }, { 2 * BLOCK, 2 * BLOCK } };

	bench->pool = test_pool();
	bench->host = test_host(bench->pool, test_device(bench->pool, "dev0"), LINK_RAW);
	test_backend(bench->pool, "held", TAG + 1, SIZE);
	test_offer_one(bench->host, TAG + 1, HELD, SIZE);
	g_assert_cmphex(host_accept_one(bench->host, HELD, SIZE), ==, CXL_RC_SUCCESS);
	test_backend(bench->pool, "mem", TAG, SIZE);
	test_offer(bench->host, TAG, extents, 2);
	pool_state(bench->host, &bench->before);
}

static void bench_clear(Bench *bench)
{
	test_host_free(bench->host);
	pool_free(bench->pool);
}

static void expect_unchanged(Bench *bench)
{
	PoolState now;

	pool_state(bench->host, &now);
	assert_same_state(&now, &bench->before);
	link_expect_silence(bench->host->link);
}

/* The device still does all it should. */
static void expect_usable(Bench *bench)
{
	static const DcRange ranges[] = { { 2 * BLOCK, 2 * BLOCK }, { 0, 2 * BLOCK } };
	CxlIdentifyMemdevOut identify;

	g_assert_cmphex(mbox_call(bench->host, CXL_OP_IDENTIFY_MEMDEV, NULL, 0, &identify,
				  sizeof(identify), NULL),
			==, CXL_RC_SUCCESS);
	g_assert_cmphex(host_accept(bench->host, ranges, 2), ==, CXL_RC_SUCCESS);
	g_assert_cmphex(host_release(bench->host, ranges, 2), ==, CXL_RC_SUCCESS);
	g_assert_cmphex(host_release_one(bench->host, HELD, SIZE), ==, CXL_RC_SUCCESS);
	host_drain(bench->host);
	assert_counters(bench->host, 0, 0, 0, 0);
}

/* ---- extent lists ---- */

#define MAX_ENTRIES 3

typedef struct BadList {
	const char *name;
	uint32_t count; /* as the header says */
	size_t n;       /* entries sent */
	DcRange ranges[MAX_ENTRIES];
	int cut; /* bytes less */
	enum cxl_rc add, release;
} BadList;

#define INVALID_LIST CXL_RC_INVALID_EXTENT_LIST
#define INVALID_PA   CXL_RC_INVALID_PA
#define INVALID_LEN  CXL_RC_INVALID_PAYLOAD_LENGTH
#define TOP          (UINT64_MAX - BLOCK + 1)

static const BadList bad_lists[] = {
	{ "no header", 0, 0, { { 0, 0 } }, 1, INVALID_LEN, INVALID_LEN },
	{ "nothing at all", 0, 0, { { 0, 0 } }, 8, INVALID_LEN, INVALID_LEN },
	{ "count 1, none there", 1, 0, { { 0, 0 } }, 0, INVALID_LEN, INVALID_LEN },
	{ "count 2, one there", 2, 1, { { 0, BLOCK } }, 0, INVALID_LEN, INVALID_LEN },
	{ "half an entry", 1, 1, { { 0, BLOCK } }, 1, INVALID_LEN, INVALID_LEN },
	{ "count 2^32-1", UINT32_MAX, 1, { { 0, BLOCK } }, 0, INVALID_LEN, INVALID_LEN },
	{ "count wraps 32 bits",
	  UINT32_MAX / 24 + 2,
	  1,
	  { { 0, BLOCK } },
	  0,
	  INVALID_LEN,
	  INVALID_LEN },
	{ "length 0", 1, 1, { { 0, 0 } }, 0, INVALID_LIST, INVALID_LIST },
	{ "odd address", 1, 1, { { 4096, BLOCK } }, 0, INVALID_LIST, INVALID_LIST },
	{ "odd length", 1, 1, { { HELD, BLOCK + 1 } }, 0, INVALID_LIST, INVALID_LIST },
	{ "length 2^64-1", 1, 1, { { HELD, UINT64_MAX } }, 0, INVALID_LIST, INVALID_LIST },
	{ "end wraps to 0", 1, 1, { { TOP, BLOCK } }, 0, INVALID_LIST, INVALID_LIST },
	{ "end wraps to a block", 1, 1, { { TOP, 2 * BLOCK } }, 0, INVALID_LIST, INVALID_LIST },
	{ "wraps to itself", 1, 1, { { BLOCK, TOP } }, 0, INVALID_LIST, INVALID_LIST },
	{ "beyond the region", 1, 1, { { REGION_LEN, BLOCK } }, 0, INVALID_PA, INVALID_PA },
	{ "over the region's end",
	  1,
	  1,
	  { { REGION_LEN - BLOCK, 2 * BLOCK } },
	  0,
	  INVALID_PA,
	  INVALID_PA },
	{ "the top of everything", 1, 1, { { TOP - BLOCK, BLOCK } }, 0, INVALID_PA, INVALID_PA },
	{ "the same twice", 2, 2, { { 0, BLOCK }, { 0, BLOCK } }, 0, INVALID_LIST, INVALID_LIST },
	{ "overlapping",
	  3,
	  3,
	  { { HELD, 2 * BLOCK }, { HELD + 3 * BLOCK, BLOCK }, { HELD + BLOCK, BLOCK } },
	  0,
	  INVALID_LIST,
	  INVALID_LIST },
	{ "neither offered nor accepted", 1, 1, { { OTHER, BLOCK } }, 0, INVALID_PA, INVALID_PA },
	{ "good one, bad one",
	  2,
	  2,
	  { { 0, BLOCK }, { OTHER, BLOCK } },
	  0,
	  INVALID_PA,
	  INVALID_PA },
	{ "over two offered extents", 1, 1, { { 0, 4 * BLOCK } }, 0, INVALID_PA, INVALID_PA },
	{ "more than is offered", 1, 1, { { 2 * BLOCK, 3 * BLOCK } }, 0, INVALID_PA, INVALID_PA },
	{ "held and more", 1, 1, { { HELD + 3 * BLOCK, 2 * BLOCK } }, 0, INVALID_PA, INVALID_PA },
};

static enum cxl_rc send_list(TestHost *host, uint16_t opcode, const BadList *row)
{
	struct {
		CxlDcResponseHeader header;
		CxlDcResponseEntry entries[MAX_ENTRIES];
	} in = { .header.n_extents = le32_put(row->count) };
	size_t len = sizeof(in.header) + row->n * sizeof(in.entries[0]) - (size_t)row->cut;

	for (size_t i = 0; i < row->n; i++) {
		in.entries[i].dpa = le64_put(row->ranges[i].dpa);
		in.entries[i].len = le64_put(row->ranges[i].len);
	}
	return mbox_call(host, opcode, &in, len, NULL, 0, NULL);
}

static void test_bad_lists(void)
{
	Bench bench;

	bench_init(&bench);
	for (unsigned i = 0; i < G_N_ELEMENTS(bad_lists); i++) {
		const BadList *row = &bad_lists[i];

		g_test_message("%s", row->name);
		g_assert_cmphex(send_list(bench.host, CXL_OP_ADD_DC_RESPONSE, row), ==, row->add);
		expect_unchanged(&bench);
		g_assert_cmphex(send_list(bench.host, CXL_OP_RELEASE_DC, row), ==, row->release);
		expect_unchanged(&bench);
	}
	/* What is held may not be accepted again, what is offered not be released. */
	g_assert_cmphex(host_accept_one(bench.host, HELD, BLOCK), ==, CXL_RC_INVALID_PA);
	g_assert_cmphex(host_release_one(bench.host, 0, BLOCK), ==, CXL_RC_INVALID_PA);
	g_assert_cmphex(host_release(bench.host, NULL, 0), ==, CXL_RC_INVALID_INPUT);
	expect_unchanged(&bench);
	expect_usable(&bench);
	bench_clear(&bench);
}

/* ---- registers ---- */

static void write_command(TestHost *host, uint64_t value, unsigned offset, unsigned len)
{
	reg_write(host, host->mbox + CXL_MBOX_CMD + offset, value >> 8 * offset, len);
}

static enum cxl_rc ring(TestHost *host)
{
	reg_write(host, host->mbox + CXL_MBOX_CTRL, CXL_MBOX_CTRL_DOORBELL, 4);
	return mbox_wait(host);
}

static uint64_t command_of(uint16_t opcode, uint64_t len)
{
	return opcode | CXL_FIELD_PUT(CXL_MBOX_CMD_LEN, len);
}

static void test_length(void)
{
	static const uint16_t opcodes[] = { CXL_OP_GET_EVENT_RECORDS,
					    CXL_OP_IDENTIFY_MEMDEV,
					    CXL_OP_GET_DC_CONFIG,
					    CXL_OP_GET_DC_EXTENT_LIST,
					    CXL_OP_ADD_DC_RESPONSE,
					    CXL_OP_RELEASE_DC,
					    0xffff };
	Bench bench;

	bench_init(&bench);
	for (unsigned i = 0; i < G_N_ELEMENTS(opcodes); i++) {
		const uint64_t lens[] = { bench.host->payload_len + 1, 0xfffff, 0x1fffff };

		for (unsigned k = 0; k < G_N_ELEMENTS(lens); k++) {
			write_command(bench.host, command_of(opcodes[i], lens[k]), 0, 8);
			g_assert_cmphex(ring(bench.host), ==, CXL_RC_INVALID_PAYLOAD_LENGTH);
		}
		expect_unchanged(&bench);
	}
	/* All of it, with a count that fits: zeros are refused by what they mean. */
	{
		g_autofree uint8_t *in = g_malloc0(bench.host->payload_len);

		le32_store(in, (bench.host->payload_len - 8) / 24);
		g_assert_cmphex(mbox_call(bench.host, CXL_OP_RELEASE_DC, in,
					  bench.host->payload_len, NULL, 0, NULL),
				==, INVALID_LIST);
	}
	expect_unchanged(&bench);
	expect_usable(&bench);
	bench_clear(&bench);
}

/* Written in halves and bytes, in any order; garbage in bits that do not exist. */
static void test_half_registers(void)
{
	uint64_t good = command_of(CXL_OP_GET_TIMESTAMP, 0);
	Bench bench;

	bench_init(&bench);
	/* The low half of one command, the high half of another. */
	write_command(bench.host, command_of(CXL_OP_RELEASE_DC, 8), 0, 8);
	write_command(bench.host, command_of(CXL_OP_IDENTIFY_MEMDEV, 0), 0, 2);
	g_assert_cmphex(ring(bench.host), ==, CXL_RC_INVALID_PAYLOAD_LENGTH);
	for (unsigned width = 1; width <= 4; width *= 2) {
		write_command(bench.host, UINT64_MAX, 0, 8);
		for (unsigned at = 8; at > 0; at -= width)
			write_command(bench.host, good, at - width, width);
		g_assert_cmphex(ring(bench.host), ==, CXL_RC_SUCCESS);
	}
	write_command(bench.host, good | ~UINT64_C(0x1fffffffff), 0, 8);
	g_assert_cmphex(ring(bench.host), ==, CXL_RC_SUCCESS);
	g_assert_cmphex(reg_read(bench.host, bench.host->mbox + CXL_MBOX_CMD, 8) >> 37, ==, 0);
	/* Read-only registers and the gaps between them. */
	reg_write(bench.host, bench.host->mbox + CXL_MBOX_STATUS, UINT64_MAX, 8);
	reg_write(bench.host, bench.host->mbox + CXL_MBOX_BG_STATUS, UINT64_MAX, 8);
	reg_write(bench.host, bench.host->mbox + CXL_MBOX_CAPS, 0, 4);
	reg_write(bench.host, bench.host->status, UINT64_MAX, 8);
	g_assert_cmphex(reg_read(bench.host, bench.host->mbox + CXL_MBOX_STATUS, 8), ==, 0);
	expect_unchanged(&bench);
	expect_usable(&bench);
	bench_clear(&bench);
}

/* While 4802h waits for the link the registers take nothing. */
static void test_doorbell_while_busy(void)
{
	g_autoptr(LinkMessage) prepare = NULL;
	DcRange range = { 0, BLOCK };
	uint64_t command;
	Bench bench;

	bench_init(&bench);
	extents_start(bench.host, CXL_OP_ADD_DC_RESPONSE, &range, 1, 0);
	prepare = link_expect(bench.host->link, MEM_LINK_PREPARE);
	command = reg_read(bench.host, bench.host->mbox + CXL_MBOX_CMD, 8);
	for (unsigned i = 0; i < 100; i++) {
		write_command(bench.host, command_of(CXL_OP_RELEASE_DC, 8 + 24), 0, 8);
		reg_write(bench.host, bench.host->mbox + CXL_MBOX_CTRL, CXL_MBOX_CTRL_DOORBELL, 4);
		reg_write(bench.host, bench.host->mbox + CXL_MBOX_CTRL, 0, 4);
	}
	g_assert_true(mbox_is_busy(bench.host));
	g_assert_cmphex(reg_read(bench.host, bench.host->mbox + CXL_MBOX_CMD, 8), ==, command);
	link_expect_silence(bench.host->link);
	link_apply(bench.host->link, prepare);
	link_answer(bench.host->link, prepare, MEM_LINK_OK);
	link_oblige(bench.host->link, MEM_LINK_EXPOSE);
	g_assert_cmphex(mbox_wait(bench.host), ==, CXL_RC_SUCCESS);
	assert_counters(bench.host, 0, SIZE + BLOCK, 0, 0);
	bench_clear(&bench);
}

/* ---- a page that changes under the device ---- */

typedef struct Scribbler {
	uint8_t *payload;
	int stop;
} Scribbler;

__attribute__((no_sanitize_thread)) static void *scribble(void *data)
{
	static const uint64_t values[] = { 0, BLOCK, 2 * BLOCK, 4096, UINT64_MAX, TOP, HELD, 1 };
	Scribbler *scribbler = data;
	volatile uint64_t *words = (volatile uint64_t *)(void *)scribbler->payload;
	uint32_t random = 12345;

	while (!g_atomic_int_get(&scribbler->stop)) {
		random = random * 1664525 + 1013904223;
		words[random >> 28 & 7] = values[random >> 20 & 7];
	}
	return NULL;
}

/* Success or a refusal, by what was read once; never something in between. */
static void test_scribbled_payload(void)
{
	static const uint16_t opcodes[] = { CXL_OP_ADD_DC_RESPONSE, CXL_OP_RELEASE_DC,
					    CXL_OP_CLEAR_EVENT_RECORDS, CXL_OP_GET_DC_EXTENT_LIST,
					    CXL_OP_SET_TIMESTAMP };
	unsigned n_of[256] = { 0 };
	Scribbler scribbler = { .stop = 0 };
	GThread *thread;
	Bench bench;

	bench_init(&bench);
	scribbler.payload = vfu_client_peek_mapped(bench.host->vfu, DEVICE_BAR_REGS,
						   bench.host->payload, bench.host->payload_len);
	g_assert_nonnull(scribbler.payload);
	thread = g_thread_new("scribbler", scribble, &scribbler);
	for (unsigned i = 0; i < 3000; i++) {
		uint16_t opcode = opcodes[i % G_N_ELEMENTS(opcodes)];
		PoolState state;
		enum cxl_rc rc;

		write_command(bench.host, command_of(opcode, i % 3 == 0 ? 8 : 32), 0, 8);
		reg_write(bench.host, bench.host->mbox + CXL_MBOX_CTRL, CXL_MBOX_CTRL_DOORBELL, 4);
		while (mbox_is_busy(bench.host))
			link_serve(bench.host->link);
		rc = mbox_result(bench.host, NULL, 0, NULL);
		g_assert_cmphex(rc, <=, CXL_RC_INVALID_EXTENT_LIST);
		n_of[rc]++;
		if (i % 64 == 0) {
			host_settle(bench.host);
			pool_state(bench.host, &state); /* asserts that it adds up */
		}
	}
	g_atomic_int_set(&scribbler.stop, 1);
	g_thread_join(thread);
	g_test_message("00h %u, 02h %u, 0Eh %u, 0Fh %u, 16h %u, 1Eh %u", n_of[0], n_of[2],
		       n_of[0xe], n_of[0xf], n_of[0x16], n_of[0x1e]);
	host_drain(bench.host);
	g_assert_cmphex(mbox_call(bench.host, CXL_OP_IDENTIFY_MEMDEV, NULL, 0, NULL, 0, NULL), ==,
			CXL_RC_SUCCESS);
	bench_clear(&bench);
}

/* ---- floods ---- */

/* Writes that want no answer, of commands that do nothing: another device does not feel it. */
static void test_posted_flood(void)
{
	uint8_t doorbell[4] = { CXL_MBOX_CTRL_DOORBELL };
	uint8_t command[8];
	TestHost *other;
	gint64 worst = 0;
	Bench bench;

	bench_init(&bench);
	other = test_host(bench.pool, test_device(bench.pool, "dev1"), LINK_NONE);
	le64_store(command, command_of(0xc0de, 0));
	for (unsigned i = 0; i < 200; i++) {
		gint64 began;

		for (unsigned k = 0; k < 50; k++) {
			vfu_client_write(bench.host->vfu, DEVICE_BAR_REGS,
					 bench.host->mbox + CXL_MBOX_CMD, command, 8, true);
			vfu_client_write(bench.host->vfu, DEVICE_BAR_REGS,
					 bench.host->mbox + CXL_MBOX_CTRL, doorbell, 4, true);
		}
		began = g_get_monotonic_time();
		reg_read(other, other->status, 4);
		worst = MAX(worst, g_get_monotonic_time() - began);
	}
	g_test_message("slowest read of the other device %.2f ms", (double)worst / 1e3);
	g_assert_cmpint(worst, <, DEADLINE_US / 2);
	g_assert_cmphex(mbox_wait(bench.host), ==, CXL_RC_UNSUPPORTED);
	expect_unchanged(&bench);
	expect_usable(&bench);
	test_host_free(other);
	bench_clear(&bench);
}

#define P "/protocol/pool/mailbox/"

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func(P "bad-lists", test_bad_lists);
	g_test_add_func(P "length", test_length);
	g_test_add_func(P "half-registers", test_half_registers);
	g_test_add_func(P "doorbell-while-busy", test_doorbell_while_busy);
	g_test_add_func(P "scribbled-payload", test_scribbled_payload);
	g_test_add_func(P "posted-flood", test_posted_flood);
	return g_test_run();
}

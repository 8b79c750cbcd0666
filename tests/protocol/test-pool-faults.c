/* SPDX-License-Identifier: BSD-3-Clause */
/* A memory link that refuses, closes, keeps silent, answers late or lies, at every step. */
#include "pool_fixture.h"

#include "mem_link_raw.h"

#define TAG       1
#define N_EXTENTS 20u /* more than one prepare message holds */
#define SIZE      (N_EXTENTS * BLOCK)

typedef struct Bench {
	Pool *pool;
	TestHost *host;
	DcRange ranges[N_EXTENTS];
	PoolState before;
} Bench;

/* One offer of 20 extents, every second block, none of it accepted. */
static void bench_init(Bench *bench)
{
	OfferExtent extents[N_EXTENTS];

	bench->pool = test_pool();
	bench->host = test_host(bench->pool, test_device(bench->pool, "dev0"), LINK_RAW);
	test_backend(bench->pool, "mem", TAG, SIZE);
	for (unsigned i = 0; i < N_EXTENTS; i++) {
		extents[i] = (OfferExtent){ 2 * i * BLOCK, BLOCK };
		bench->ranges[i] = (DcRange){ 2 * i * BLOCK, BLOCK };
	}
	test_offer(bench->host, TAG, extents, N_EXTENTS);
	pool_state(bench->host, &bench->before);
}

static void bench_clear(Bench *bench)
{
	test_host_free(bench->host);
	pool_free(bench->pool);
}

static void start(Bench *bench)
{
	extents_start(bench->host, CXL_OP_ADD_DC_RESPONSE, bench->ranges, N_EXTENTS, 0);
}

static void expect_unchanged(Bench *bench)
{
	PoolState now;

	pool_state(bench->host, &now);
	assert_same_state(&now, &bench->before);
}

/* The same offer can still be accepted, and given back. */
static void expect_usable(Bench *bench)
{
	g_assert_cmphex(host_accept(bench->host, bench->ranges, N_EXTENTS), ==, CXL_RC_SUCCESS);
	assert_counters(bench->host, 0, SIZE, 0, 0);
	if (bench->host->link != NULL)
		g_assert_cmpuint(link_n_exposed(bench->host->link), ==, N_EXTENTS);
	g_assert_cmphex(host_release(bench->host, bench->ranges, N_EXTENTS), ==, CXL_RC_SUCCESS);
	host_drain(bench->host);
	assert_counters(bench->host, 0, 0, 0, 0);
}

/* ---- refusals ---- */

typedef struct Refusal {
	MemLinkType type;
	unsigned nth;
	MemLinkStatus status;
} Refusal;

static const Refusal refusals[] = {
	{ MEM_LINK_PREPARE, 0, MEM_LINK_FAILED },
	{ MEM_LINK_PREPARE, 1, MEM_LINK_FAILED },
	{ MEM_LINK_PREPARE, 0, MEM_LINK_NO_ROOM },
	{ MEM_LINK_EXPOSE, 0, MEM_LINK_FAILED },
};

/* Serves until the command ends, but for the one message that the row refuses. */
static enum cxl_rc serve_refusing(TestHost *host, const Refusal *row)
{
	unsigned n = 0;

	while (mbox_is_busy(host)) {
		g_autoptr(LinkMessage) message = link_take(host->link, 1);

		if (message == NULL)
			continue;
		if (message->type == row->type && n++ == row->nth) {
			link_answer(host->link, message, row->status);
			continue;
		}
		link_apply(host->link, message);
		link_answer(host->link, message, MEM_LINK_OK);
	}
	return mbox_result(host, NULL, 0, NULL);
}

static void test_refused(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(refusals); i++) {
		Bench bench;

		bench_init(&bench);
		start(&bench);
		g_assert_cmphex(serve_refusing(bench.host, &refusals[i]), ==,
				CXL_RC_INTERNAL_ERROR);
		host_settle(bench.host);
		expect_unchanged(&bench);
		g_assert_cmpuint(bench.host->link->maps->len, ==, 0);
		expect_usable(&bench);
		bench_clear(&bench);
	}
}

/* ---- the link closes ---- */

static const MemLinkType closing_at[] = { MEM_LINK_PREPARE, MEM_LINK_EXPOSE };

/*
 * Not a byte may be thought free while a host that vanished from the link may still hold it; when
 * it is back and says what it holds, all goes on.
 */
static void test_closed_in_accept(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(closing_at); i++) {
		g_autoptr(GArray) held = g_array_new(FALSE, TRUE, sizeof(MemLinkHeld));
		Bench bench;

		bench_init(&bench);
		start(&bench);
		if (closing_at[i] == MEM_LINK_EXPOSE) {
			link_oblige(bench.host->link, MEM_LINK_PREPARE);
			link_oblige(bench.host->link, MEM_LINK_PREPARE);
			link_message_free(link_expect(bench.host->link, MEM_LINK_EXPOSE));
		}
		for (unsigned k = 0; k < bench.host->link->maps->len; k++) {
			LinkMap *map = &g_array_index(bench.host->link->maps, LinkMap, k);
			MemLinkHeld entry = {
				.map_id = le64_put(map->id),
				.dpa = le64_put(map->dpa),
				.len = le64_put(map->len),
				.incarnation = le64_put(map->incarnation),
			};

			g_array_append_val(held, entry);
		}
		test_host_unlink(bench.host);
		g_assert_cmphex(mbox_wait(bench.host), ==, CXL_RC_INTERNAL_ERROR);
		expect_unchanged(&bench);
		start(&bench);
		g_assert_cmphex(mbox_wait(bench.host), ==, CXL_RC_RETRY_REQUIRED);
		test_host_relink(bench.host, (const MemLinkHeld *)(void *)held->data, held->len);
		/* What it says it holds is to be let go of first. */
		if (held->len > 0) {
			g_autoptr(LinkMessage)
				revoke = link_expect(bench.host->link, MEM_LINK_REVOKE);

			g_assert_cmpuint(revoke->count, ==, held->len);
			link_answer(bench.host->link, revoke, MEM_LINK_OK);
		}
		host_settle(bench.host);
		expect_unchanged(&bench);
		expect_usable(&bench);
		bench_clear(&bench);
	}
}

static void test_closed_in_revoke(void)
{
	MemLinkHeld held = { .map_id = le64_put(0) };
	gint64 began;
	Bench bench;
	LinkMap *map;

	bench_init(&bench);
	g_assert_cmphex(host_accept(bench.host, bench.ranges, N_EXTENTS), ==, CXL_RC_SUCCESS);
	map = link_map_at(bench.host->link, bench.ranges[3].dpa);
	held = (MemLinkHeld){ le64_put(map->id), le64_put(map->dpa), le64_put(map->len),
			      le64_put(map->incarnation) };
	extents_start(bench.host, CXL_OP_RELEASE_DC, bench.ranges, N_EXTENTS, 0);
	link_message_free(link_expect(bench.host->link, MEM_LINK_REVOKE));
	began = g_get_monotonic_time();
	test_host_unlink(bench.host);
	/* Released, that is certain; nobody confirmed. */
	g_assert_cmphex(mbox_wait(bench.host), ==, CXL_RC_SUCCESS);
	g_assert_cmpint(g_get_monotonic_time() - began, <, DEADLINE_US + DEADLINE_US / 2);
	assert_counters(bench.host, 0, 0, SIZE, 0);
	/* It is back and still holds one: the others are thereby confirmed. */
	test_host_relink(bench.host, &held, 1);
	{
		g_autoptr(LinkMessage) revoke = link_expect(bench.host->link, MEM_LINK_REVOKE);

		g_assert_cmpuint(revoke->count, ==, 1);
		pool_barrier(bench.pool);
		assert_counters(bench.host, 0, 0, SIZE, 0);
		link_answer(bench.host->link, revoke, MEM_LINK_OK);
	}
	host_drain(bench.host);
	assert_counters(bench.host, 0, 0, 0, 0);
	bench_clear(&bench);
}

/* ---- silence and late answers ---- */

/* The command fails at its deadline; what was asked for stays asked until it is taken back. */
static void test_silent_prepare(void)
{
	LinkMessage *prepare[2];
	gint64 began, took;
	Bench bench;

	bench_init(&bench);
	began = g_get_monotonic_time();
	start(&bench);
	for (unsigned i = 0; i < 2; i++)
		prepare[i] = link_expect(bench.host->link, MEM_LINK_PREPARE);
	g_assert_cmphex(mbox_wait(bench.host), ==, CXL_RC_INTERNAL_ERROR);
	took = g_get_monotonic_time() - began;
	g_assert_cmpint(took, >=, DEADLINE_US - 1000);
	g_assert_cmpint(took, <, DEADLINE_US + DEADLINE_US / 2);
	expect_unchanged(&bench);
	/* Never exposed, so nothing was reachable; until it is dropped no new attempt. */
	start(&bench);
	g_assert_cmphex(mbox_wait(bench.host), ==, CXL_RC_RETRY_REQUIRED);
	for (unsigned i = 0; i < 2; i++) {
		link_apply(bench.host->link, prepare[i]);
		link_answer(bench.host->link, prepare[i], MEM_LINK_OK);
		link_message_free(prepare[i]);
	}
	link_oblige(bench.host->link, MEM_LINK_DROP);
	host_settle(bench.host);
	g_assert_cmpuint(bench.host->link->n_seen[MEM_LINK_EXPOSE], ==, 0);
	g_assert_cmpuint(bench.host->link->maps->len, ==, 0);
	expect_unchanged(&bench);
	expect_usable(&bench);
	bench_clear(&bench);
}

/* What may have been exposed is revoked, and counts as used. */
static void test_silent_expose(void)
{
	g_autoptr(LinkMessage) expose = NULL;
	uint8_t *memory;
	Bench bench;

	bench_init(&bench);
	start(&bench);
	link_oblige(bench.host->link, MEM_LINK_PREPARE);
	link_oblige(bench.host->link, MEM_LINK_PREPARE);
	expose = link_expect(bench.host->link, MEM_LINK_EXPOSE);
	link_apply(bench.host->link, expose);
	memory = link_map_memory(link_map_at(bench.host->link, 0), PROT_READ | PROT_WRITE);
	memset(memory, 0x66, BLOCK);
	g_assert_cmphex(mbox_wait(bench.host), ==, CXL_RC_INTERNAL_ERROR);
	expect_unchanged(&bench);
	start(&bench);
	g_assert_cmphex(mbox_wait(bench.host), ==, CXL_RC_RETRY_REQUIRED);
	link_answer(bench.host->link, expose, MEM_LINK_OK);
	link_oblige(bench.host->link, MEM_LINK_REVOKE);
	munmap(memory, BLOCK);
	host_settle(bench.host);
	g_assert_cmpuint(bench.host->link->maps->len, ==, 0);
	expect_unchanged(&bench);
	expect_usable(&bench);
	bench_clear(&bench);
}

/* 4803h succeeds at the deadline, the bytes drain until the confirmation comes. */
static void test_silent_revoke(void)
{
	g_autoptr(LinkMessage) revoke = NULL;
	gint64 began;
	Bench bench;

	bench_init(&bench);
	g_assert_cmphex(host_accept(bench.host, bench.ranges, N_EXTENTS), ==, CXL_RC_SUCCESS);
	began = g_get_monotonic_time();
	extents_start(bench.host, CXL_OP_RELEASE_DC, bench.ranges, N_EXTENTS, 0);
	revoke = link_expect(bench.host->link, MEM_LINK_REVOKE);
	g_assert_cmphex(mbox_wait(bench.host), ==, CXL_RC_SUCCESS);
	g_assert_cmpint(g_get_monotonic_time() - began, <, DEADLINE_US + DEADLINE_US / 2);
	assert_counters(bench.host, 0, 0, SIZE, 0);
	g_assert_cmpuint(host_extents(bench.host, NULL, 32, NULL), ==, 0);
	/* Neither the memory nor the addresses are anybody's meanwhile. */
	{
		g_autoptr(GError) error = NULL;
		OfferExtent extent = { 0, BLOCK };
		OfferRequest request = {
			.policy = OFFER_PRESCRIPTIVE,
			.extents = &extent,
			.n_extents = 1,
		};

		g_assert_false(pool_offer(bench.pool, bench.host->device, &request, NULL, &error));
		g_assert_error(error, CAPACITY_ERROR, CAPACITY_ERROR_BUSY);
		g_clear_error(&error);
		request.tag = test_tag(TAG);
		extent.offset = 128 * MIB;
		g_assert_false(pool_offer(bench.pool, bench.host->device, &request, NULL, &error));
		g_assert_error(error, CAPACITY_ERROR, CAPACITY_ERROR_BUSY);
	}
	link_apply(bench.host->link, revoke);
	link_answer(bench.host->link, revoke, MEM_LINK_OK);
	host_drain(bench.host);
	assert_counters(bench.host, 0, 0, 0, 0);
	bench_clear(&bench);
}

/* ---- lies ---- */

typedef struct Lie {
	const char *name;
	bool answers; /* the first prepare, honestly, before the lie */
	RawMessage message;
} Lie;

static const Lie lies[] = {
	{ "unknown id", false, { .type = MEM_LINK_DONE, .id = 4711, RAW_WORDS(0) } },
	{ "answered twice", true, { .type = MEM_LINK_DONE, .id = 0, RAW_WORDS(0) } },
	{ "reserved bits",
	  false,
	  { .type = MEM_LINK_DONE, .id = 0, RAW_WORDS(UINT64_C(1) << 32) } },
	{ "with a descriptor",
	  false,
	  { .type = MEM_LINK_DONE, .id = 0, .n_fds = 1, RAW_WORDS(0) } },
	{ "with 16 descriptors",
	  false,
	  { .type = MEM_LINK_DONE, .id = 0, .n_fds = 16, RAW_WORDS(0) } },
	{ "hello again", false, { .type = MEM_LINK_HELLO, RAW_WORDS(1, 0, 1, 2) } },
	{ "held out of place",
	  false,
	  { .type = MEM_LINK_HELD, .count = 1, RAW_WORDS(1, 0, 4096, 1) } },
	{ "the device's word",
	  false,
	  { .type = MEM_LINK_PREPARE,
	    .count = 1,
	    .id = 1,
	    .n_fds = 1,
	    RAW_WORDS(1, 0, 4096, 0, 1, 1) } },
	{ "cut", false, { .type = MEM_LINK_DONE, .id = 0, .cut = 4, RAW_WORDS(0) } },
	{ "half a header", false, { .type = MEM_LINK_DONE, .cut = 16, RAW_WORDS(0) } },
	{ "long", false, { .type = MEM_LINK_DONE, .grown_to = 65536, RAW_WORDS(0) } },
	{ "no such type", false, { .type = 99, .id = 1, RAW_WORDS(0) } },
};

/* Whoever breaks the protocol is off the link: the command fails, nothing is left of it. */
static void test_lies(void)
{
	int file = sealed_memfd(PAGE, F_SEAL_SHRINK);

	for (unsigned i = 0; i < G_N_ELEMENTS(lies); i++) {
		g_autoptr(LinkMessage) first = NULL;
		RawMessage lie = lies[i].message;
		unsigned n_fds;
		Bench bench;

		g_test_message("%s", lies[i].name);
		bench_init(&bench);
		start(&bench);
		first = link_expect(bench.host->link, MEM_LINK_PREPARE);
		n_fds = count_fds();
		if (lies[i].answers)
			link_answer(bench.host->link, first, MEM_LINK_OK);
		if (lie.type == MEM_LINK_DONE && lie.id == 0)
			lie.id = first->id;
		raw_send_message(bench.host->link->fd, &lie, file);
		g_assert_cmphex(mbox_wait(bench.host), ==, CXL_RC_INTERNAL_ERROR);
		g_assert_true(link_is_closed(bench.host->link));
		pool_barrier(bench.pool);
		g_assert_cmpuint(count_fds(), <, n_fds); /* the connection, nothing of the lie */
		expect_unchanged(&bench);
		test_host_unlink(bench.host);
		test_host_relink(bench.host, NULL, 0);
		host_settle(bench.host);
		expect_unchanged(&bench);
		expect_usable(&bench);
		bench_clear(&bench);
	}
	close(file);
}

/* Revocation cannot be refused: such a host has simply not confirmed. */
static void test_revoke_refused(void)
{
	g_autoptr(LinkMessage) revoke = NULL;
	Bench bench;

	bench_init(&bench);
	g_assert_cmphex(host_accept(bench.host, bench.ranges, N_EXTENTS), ==, CXL_RC_SUCCESS);
	extents_start(bench.host, CXL_OP_RELEASE_DC, bench.ranges, N_EXTENTS, 0);
	revoke = link_expect(bench.host->link, MEM_LINK_REVOKE);
	link_answer(bench.host->link, revoke, MEM_LINK_FAILED);
	g_assert_cmphex(mbox_wait(bench.host), ==, CXL_RC_SUCCESS);
	g_assert_true(link_is_closed(bench.host->link));
	assert_counters(bench.host, 0, 0, SIZE, 0);
	test_host_unlink(bench.host);
	test_host_relink(bench.host, NULL, 0);
	host_drain(bench.host);
	assert_counters(bench.host, 0, 0, 0, 0);
	bench_clear(&bench);
}

#define P "/protocol/pool/faults/"

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func(P "refused", test_refused);
	g_test_add_func(P "closed-in-accept", test_closed_in_accept);
	g_test_add_func(P "closed-in-revoke", test_closed_in_revoke);
	g_test_add_func(P "silent-prepare", test_silent_prepare);
	g_test_add_func(P "silent-expose", test_silent_expose);
	g_test_add_func(P "silent-revoke", test_silent_revoke);
	g_test_add_func(P "lies", test_lies);
	g_test_add_func(P "revoke-refused", test_revoke_refused);
	return g_test_run();
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* A tagged allocation from offer to second tenant, each step seen from host and pool. */
#include "pool_fixture.h"

#include <sys/mman.h>
#include <sys/stat.h>

#define TAG  1
#define SIZE (4 * BLOCK)

/* The place of an extent in its tag is its place in the offer, not its address. */
static const OfferExtent offered[] = {
	{ 8 * MIB, BLOCK }, { 2 * MIB, BLOCK }, { 20 * MIB, BLOCK }, { 0, BLOCK }
};
/* As a host that sorts would answer. */
static const DcRange sorted[] = {
	{ 0, BLOCK }, { 2 * MIB, BLOCK }, { 8 * MIB, BLOCK }, { 20 * MIB, BLOCK }
};

static void check_records(TestHost *host)
{
	CxlEventDc events[8];
	Uuid tag = test_tag(TAG);

	g_assert_cmpuint(host_events(host, events, 8), ==, 4);
	for (unsigned i = 0; i < 4; i++) {
		g_assert_cmpuint(events[i].type, ==, CXL_DC_EVENT_ADD);
		g_assert_cmphex(le64_get(events[i].extent.dpa), ==, offered[i].offset);
		g_assert_cmphex(le64_get(events[i].extent.len), ==, offered[i].len);
		g_assert_cmpmem(events[i].extent.tag, 16, tag.b, 16);
		g_assert_cmpuint(le16_get(events[i].extent.shared_seq), ==, 0);
		g_assert_cmpuint(events[i].flags & CXL_EVENT_DC_MORE, ==, i < 3);
	}
	g_assert_cmphex(host_clear_events(host, events, 4), ==, CXL_RC_SUCCESS);
}

static void check_prepare(const LinkMessage *prepare)
{
	const MemLinkPrepareEntry *entries = (const void *)(&prepare->header + 1);

	g_assert_cmpuint(prepare->count, ==, 4);
	g_assert_cmpuint(prepare->n_fds, ==, 4);
	for (unsigned i = 0; i < 4; i++) {
		uint64_t dpa = le64_get(entries[i].dpa);
		unsigned order = 0;

		while (order < 4 && offered[order].offset != dpa)
			order++;
		g_assert_cmpuint(order, <, 4);
		g_assert_cmphex(le64_get(entries[i].offset), ==, order * BLOCK);
		g_assert_cmphex(le64_get(entries[i].len), ==, BLOCK);
		g_assert_cmphex(le32_get(entries[i].flags), ==, MEM_LINK_PREPARE_WRITABLE);
	}
}

/* 4802h by hand: what the pool says of itself between prepare and expose, and before the end. */
static void accept_by_steps(TestHost *host, const PoolState *before)
{
	g_autoptr(LinkMessage) prepare = NULL;
	g_autoptr(LinkMessage) expose = NULL;
	PoolState state;

	extents_start(host, CXL_OP_ADD_DC_RESPONSE, sorted, 4, 0);
	prepare = link_expect(host->link, MEM_LINK_PREPARE);
	check_prepare(prepare);
	pool_state(host, &state);
	link_expect_silence(host->link);
	g_assert_true(mbox_is_busy(host));
	g_assert_cmpuint(state.n_extents, ==, 0);
	g_assert_cmpuint(state.generation, ==, before->generation);
	g_assert_cmpuint(state.device.accepted, ==, 0);
	link_apply(host->link, prepare);
	link_answer(host->link, prepare, MEM_LINK_OK);
	expose = link_expect(host->link, MEM_LINK_EXPOSE);
	g_assert_cmpuint(expose->count, ==, 4);
	g_assert_true(mbox_is_busy(host));
	link_apply(host->link, expose);
	link_answer(host->link, expose, MEM_LINK_OK);
	g_assert_cmphex(mbox_wait(host), ==, CXL_RC_SUCCESS);
	link_expect_silence(host->link);
}

static void check_accepted(TestHost *host, uint32_t generation)
{
	CxlDcExtent extents[8];
	Uuid tag = test_tag(TAG);
	uint32_t now;

	g_assert_cmpuint(host_extents(host, extents, 8, &now), ==, 4);
	g_assert_cmpuint(now, !=, generation);
	for (unsigned i = 0; i < 4; i++) {
		g_assert_cmphex(le64_get(extents[i].dpa), ==, offered[i].offset);
		g_assert_cmphex(le64_get(extents[i].len), ==, BLOCK);
		g_assert_cmpmem(extents[i].tag, 16, tag.b, 16);
	}
	assert_counters(host, 0, SIZE, 0, 0);
}

/* The descriptors are the memory: what is stored through one is in the pool's file. */
static void use_memory(TestHost *host, ino_t *ret_ino)
{
	struct stat st;
	uint8_t byte;

	for (unsigned i = 0; i < 4; i++) {
		LinkMap *map = link_map_at(host->link, offered[i].offset);
		uint8_t *memory = link_map_memory(map, PROT_READ | PROT_WRITE);

		g_assert_true(memory != MAP_FAILED);
		memory[7] = (uint8_t)(0xa0 + i);
		memory[BLOCK - 1] = 0x77;
		backend_read(host->pool, "mem", i * BLOCK + 7, &byte, 1);
		g_assert_cmphex(byte, ==, 0xa0 + i);
		munmap(memory, map->len);
		g_assert_cmpint(fstat(map->fd, &st), ==, 0);
		*ret_ino = st.st_ino;
	}
}

/* 4803h by hand: no success, and nothing free, before the host has let go. */
static void release_by_steps(TestHost *host, uint32_t generation)
{
	g_autoptr(LinkMessage) revoke = NULL;
	PoolState state;

	extents_start(host, CXL_OP_RELEASE_DC, sorted, 4, 0);
	revoke = link_expect(host->link, MEM_LINK_REVOKE);
	g_assert_cmpuint(revoke->count, ==, 4);
	pool_state(host, &state);
	g_assert_true(mbox_is_busy(host));
	g_assert_cmpuint(state.n_extents, ==, 0);
	g_assert_cmpuint(state.generation, !=, generation);
	g_assert_cmpuint(state.device.accepted, ==, 0);
	g_assert_cmpuint(state.device.draining, ==, SIZE);
	link_apply(host->link, revoke);
	link_answer(host->link, revoke, MEM_LINK_OK);
	g_assert_cmphex(mbox_wait(host), ==, CXL_RC_SUCCESS);
	host_drain(host);
	assert_counters(host, 0, 0, 0, 0);
	g_assert_cmpuint(host->link->maps->len, ==, 0);
}

static void check_second_tenant(TestHost *second, ino_t first_ino)
{
	struct stat st;

	test_offer(second, TAG, offered, 4);
	g_assert_cmphex(host_accept(second, sorted, 4), ==, CXL_RC_SUCCESS);
	for (unsigned i = 0; i < 4; i++) {
		LinkMap *map = link_map_at(second->link, offered[i].offset);
		uint8_t *memory = link_map_memory(map, PROT_READ);

		g_assert_true(memory != MAP_FAILED);
		g_assert_true(is_filled(memory, 0, map->len));
		munmap(memory, map->len);
		g_assert_cmpint(fstat(map->fd, &st), ==, 0);
		g_assert_cmpuint(st.st_ino, !=, first_ino);
	}
	g_assert_cmphex(host_release(second, sorted, 4), ==, CXL_RC_SUCCESS);
	host_drain(second);
}

static void test_life(void)
{
	g_autoptr(Pool) pool = test_pool();
	g_autoptr(TestHost) first = test_host(pool, test_device(pool, "dev0"), LINK_RAW);
	g_autoptr(TestHost) second = test_host(pool, test_device(pool, "dev1"), LINK_RAW);
	PoolState before, pending;
	uint64_t file[2], incarnation[2];
	ino_t held;

	test_backend(pool, "mem", TAG, SIZE);
	pool_state(first, &before);
	test_offer(first, TAG, offered, 4);
	host_settle(first);
	g_assert_cmpuint(first->link->n_seen[MEM_LINK_PREPARE], ==, 0);
	assert_counters(first, SIZE, 0, 0, 0);
	check_records(first);
	g_assert_cmpuint(host_extents(first, NULL, 8, NULL), ==, 0);
	pool_state(first, &pending);
	g_assert_cmpuint(pending.generation, ==, before.generation);

	backend_identity(pool, "mem", &file[0], &incarnation[0]);
	accept_by_steps(first, &pending);
	check_accepted(first, before.generation);
	use_memory(first, &held);
	g_assert_cmpuint(held, ==, file[0]);
	pool_state(first, &pending);
	release_by_steps(first, pending.generation);
	backend_identity(pool, "mem", &file[1], &incarnation[1]);
	g_assert_cmpuint(file[0], !=, file[1]);
	g_assert_cmpuint(incarnation[0], !=, incarnation[1]);
	check_second_tenant(second, held);
	pool_state(first, &pending);
	g_assert_cmpuint(pending.pool.free, ==, SIZE);
}

/* No tag, no name: a file of its own that goes with the last extent. */
static void test_untagged(void)
{
	g_autoptr(Pool) pool = test_pool();
	g_autoptr(TestHost) host = test_host(pool, test_device(pool, "dev0"), LINK_RAW);
	static const OfferExtent extents[] = { { 4 * MIB, BLOCK }, { 0, 2 * BLOCK } };
	PoolState before, after;
	uint8_t *memory;

	pool_state(host, &before);
	test_offer(host, 0, extents, 2);
	g_assert_cmphex(host_accept_one(host, 4 * MIB, BLOCK), ==, CXL_RC_SUCCESS);
	assert_counters(host, 0, BLOCK, 0, 0); /* the other one is declined by this */
	memory = link_map_memory(link_map_at(host->link, 4 * MIB), PROT_READ | PROT_WRITE);
	g_assert_true(memory != MAP_FAILED);
	memset(memory, 0xee, BLOCK);
	g_assert_cmphex(host_release_one(host, 4 * MIB, BLOCK), ==, CXL_RC_SUCCESS);
	host_drain(host);
	/* A host that kept its mapping sees its own memory gone, nobody else's. */
	g_assert_true(is_filled(memory, 0, BLOCK));
	munmap(memory, BLOCK);
	pool_state(host, &after);
	g_assert_cmpuint(after.pool.total, ==, before.pool.total);
	g_assert_cmpuint(after.device.free, ==, REGION_LEN);
}

/* Parts of an extent, and a range over two extents, go back; the rest keeps tag and order. */
static void test_parts(void)
{
	g_autoptr(Pool) pool = test_pool();
	g_autoptr(TestHost) host = test_host(pool, test_device(pool, "dev0"), LINK_RAW);
	static const OfferExtent extents[] = { { 0, 4 * BLOCK }, { 4 * BLOCK, 4 * BLOCK } };
	static const DcRange both[] = { { 0, 4 * BLOCK }, { 4 * BLOCK, 4 * BLOCK } };
	PoolState state;
	uint8_t *memory;
	LinkMap *map;

	test_backend(pool, "mem", TAG, 8 * BLOCK);
	test_offer(host, TAG, extents, 2);
	g_assert_cmphex(host_accept(host, both, 2), ==, CXL_RC_SUCCESS);
	map = link_map_at(host->link, 0);
	memory = link_map_memory(map, PROT_READ | PROT_WRITE);
	memset(memory, 0x5a, map->len);
	g_assert_cmphex(host_release_one(host, 3 * BLOCK, 3 * BLOCK), ==, CXL_RC_SUCCESS);
	host_drain(host);
	pool_state(host, &state);
	g_assert_cmpuint(state.n_extents, ==, 2);
	g_assert_cmphex(state.extents[0].dpa, ==, 0);
	g_assert_cmphex(state.extents[0].len, ==, 3 * BLOCK);
	g_assert_cmphex(state.extents[1].dpa, ==, 6 * BLOCK);
	g_assert_cmphex(state.extents[1].len, ==, 2 * BLOCK);
	g_assert_cmphex(state.extents[1].backend_offset, ==, 6 * BLOCK);
	/* What came back is punched out of the file that the host still holds. */
	g_assert_true(is_filled(memory, 0x5a, 3 * BLOCK));
	g_assert_true(is_filled(memory + 3 * BLOCK, 0, BLOCK));
	munmap(memory, 4 * BLOCK);
	g_assert_cmphex(host_release_one(host, 0, 3 * BLOCK), ==, CXL_RC_SUCCESS);
	g_assert_cmphex(host_release_one(host, 6 * BLOCK, 2 * BLOCK), ==, CXL_RC_SUCCESS);
	host_drain(host);
	assert_counters(host, 0, 0, 0, 0);
	g_assert_cmpuint(host->link->maps->len, ==, 0);
}

/* Without a memory link nothing is mapped and revocation is trivially confirmed. */
static void test_control_only(void)
{
	g_autoptr(Pool) pool = test_pool();
	g_autoptr(TestHost) host = test_host(pool, test_device(pool, "dev0"), LINK_NONE);

	test_backend(pool, "mem", TAG, SIZE);
	test_offer(host, TAG, offered, 4);
	g_assert_cmphex(host_accept(host, sorted, 4), ==, CXL_RC_SUCCESS);
	assert_counters(host, 0, SIZE, 0, 0);
	g_assert_cmphex(host_release(host, sorted, 4), ==, CXL_RC_SUCCESS);
	host_drain(host);
	assert_counters(host, 0, 0, 0, 0);
}

/* A link that comes late gets what was accepted without it. */
static void test_link_comes_late(void)
{
	g_autoptr(Pool) pool = test_pool();
	g_autoptr(TestHost) host = test_host(pool, test_device(pool, "dev0"), LINK_NONE);

	test_backend(pool, "mem", TAG, SIZE);
	test_offer(host, TAG, offered, 4);
	g_assert_cmphex(host_accept(host, sorted, 4), ==, CXL_RC_SUCCESS);
	test_host_relink(host, NULL, 0);
	host_settle(host);
	g_assert_cmpuint(link_n_exposed(host->link), ==, 4);
	g_assert_cmphex(host_release(host, sorted, 4), ==, CXL_RC_SUCCESS);
	host_drain(host);
	g_assert_cmpuint(host->link->maps->len, ==, 0);
}

#define P "/protocol/pool/life/"

/* Its thread may not have begun yet. */
static void test_short_life(void)
{
	for (int i = 0; i < 500; i++) {
		PoolConfig config = { 0 };

		pool_free(pool_new(&config));
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func(P "tagged", test_life);
	g_test_add_func(P "untagged", test_untagged);
	g_test_add_func(P "parts", test_parts);
	g_test_add_func(P "control-only", test_control_only);
	g_test_add_func(P "link-comes-late", test_link_comes_late);
	g_test_add_func(P "short-life", test_short_life);
	return g_test_run();
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* W1 to W18: what went wrong in another tagged-memory implementation must not exist in this one. */
#include "pool_fixture.h"

#include "mem_link_raw.h"

#include <sys/stat.h>

#define TAG 1
#define GIB (KIB * MIB)

typedef struct Case {
	const char *name;
	void (*run)(TestHost *host);
} Case;

static void run_case(gconstpointer data)
{
	const Case *test = data;
	g_autoptr(Pool) pool = test_pool();
	g_autoptr(TestHost) host = test_host(pool, test_device(pool, "dev0"), LINK_RAW);

	test->run(host);
}

static void refuse_offer(TestHost *host, const OfferRequest *request, CapacityError code)
{
	g_autoptr(GError) error = NULL;
	PoolState before, after;

	pool_state(host, &before);
	g_assert_false(pool_offer(host->pool, host->device, request, NULL, &error));
	g_assert_error(error, CAPACITY_ERROR, (int)code);
	pool_state(host, &after);
	assert_same_state(&before, &after);
}

static void refuse_release(TestHost *host, const ReleaseRequest *request, CapacityError code)
{
	g_autoptr(GError) error = NULL;
	PoolState before, after;

	pool_state(host, &before);
	g_assert_false(pool_release(host->pool, host->device, request, NULL, &error));
	g_assert_error(error, CAPACITY_ERROR, (int)code);
	pool_state(host, &after);
	assert_same_state(&before, &after);
}

/* N extents of one block, two blocks apart. */
static void make_extents(OfferExtent *extents, DcRange *ranges, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		extents[i] = (OfferExtent){ 2 * i * BLOCK, BLOCK };
		ranges[i] = (DcRange){ 2 * i * BLOCK, BLOCK };
	}
}

/* A failure at extent k leaves extents before it committed, and the retry overlaps for ever. */
static void w1(TestHost *host)
{
	enum {
		N = 2 * MEM_LINK_MAX_PREPARE
	};
	OfferExtent extents[N];
	DcRange ranges[N];
	PoolState before, after;

	test_backend(host->pool, "mem", TAG, N * BLOCK);
	make_extents(extents, ranges, N);
	test_offer(host, TAG, extents, N);
	pool_state(host, &before);
	extents_start(host, CXL_OP_ADD_DC_RESPONSE, ranges, N, 0);
	link_oblige(host->link, MEM_LINK_PREPARE);
	{
		g_autoptr(LinkMessage) second = link_expect(host->link, MEM_LINK_PREPARE);

		link_answer(host->link, second, MEM_LINK_FAILED);
	}
	g_assert_cmphex(mbox_wait(host), ==, CXL_RC_INTERNAL_ERROR);
	host_settle(host);
	pool_state(host, &after);
	assert_same_state(&before, &after);
	g_assert_cmphex(host_accept(host, ranges, N), ==, CXL_RC_SUCCESS);
}

/* Extents without a backend are queued, and accepting them is fatal. */
static void w2(TestHost *host)
{
	OfferRequest request = { .tag = test_tag(77), .policy = OFFER_CONTIGUOUS, .len = BLOCK };

	refuse_offer(host, &request, CAPACITY_ERROR_NOT_FOUND);
	request.tag = (Uuid){ { 0 } };
	g_assert_true(pool_offer(host->pool, host->device, &request, NULL, NULL));
	g_assert_cmphex(host_accept_one(host, 0, BLOCK), ==, CXL_RC_SUCCESS);
	g_assert_nonnull(link_map_at(host->link, 0));
}

/* Only the exact extent can be accepted, although a part of it passes the checks. */
static void w3(TestHost *host)
{
	static const DcRange parts[] = { { 3 * BLOCK, BLOCK }, { BLOCK, BLOCK } };
	PoolState state;

	test_backend(host->pool, "mem", TAG, 4 * BLOCK);
	test_offer_one(host, TAG, 0, 4 * BLOCK);
	g_assert_cmphex(host_accept(host, parts, 2), ==, CXL_RC_SUCCESS);
	pool_state(host, &state);
	g_assert_cmpuint(state.n_extents, ==, 2);
	g_assert_cmphex(state.extents[0].dpa, ==, BLOCK);
	g_assert_cmphex(state.extents[0].backend_offset, ==, BLOCK);
	g_assert_cmphex(link_map_at(host->link, 3 * BLOCK)->offset, ==, 3 * BLOCK);
	g_assert_cmpuint(state.device.reserved, ==, 0); /* the rest is declined */
}

/* Tag and sequence are lost on accept, so a host cannot rebuild its groups. */
static void w4(TestHost *host)
{
	DcRegionConfig region = { .len = REGION_LEN, .block_size = BLOCK, .sharable = true };
	PoolDeviceConfig config = {
		.name = "shared",
		.regions = &region,
		.n_regions = 1,
		.hold_off = true,
	};
	BackendConfig backend = {
		.name = "mem",
		.size = 3 * BLOCK,
		.tag = test_tag(TAG),
		.shareable = true,
	};
	g_autoptr(TestHost)
		shared = test_host(host->pool, test_device_with(host->pool, &config), LINK_RAW);
	Uuid tag = test_tag(TAG);
	OfferExtent extents[3];
	DcRange ranges[3];
	CxlDcExtent list[4];

	g_assert_true(pool_add_backend(host->pool, &backend, NULL));
	make_extents(extents, ranges, 3);
	test_offer(shared, TAG, extents, 3);
	g_assert_cmphex(host_accept(shared, ranges, 3), ==, CXL_RC_SUCCESS);
	g_assert_cmpuint(host_extents(shared, list, 4, NULL), ==, 3);
	for (unsigned i = 0; i < 3; i++) {
		g_assert_cmpmem(list[i].tag, 16, tag.b, 16);
		g_assert_cmpuint(le16_get(list[i].shared_seq), ==, i);
	}
}

/* A request without a tag is fatal, for those that never had tags and for releases. */
static void w5(TestHost *host)
{
	OfferExtent extent = { 0, BLOCK };
	ReleaseRequest release = { .extents = &extent, .n_extents = 1 };
	ReleaseRequest nothing = { .region = 0 };

	test_offer_one(host, 0, 0, BLOCK);
	g_assert_cmphex(host_accept_one(host, 0, BLOCK), ==, CXL_RC_SUCCESS);
	refuse_release(host, &nothing, CAPACITY_ERROR_INVALID);
	g_assert_true(pool_release(host->pool, host->device, &release, NULL, NULL));
	g_assert_cmphex(host_release_one(host, 0, BLOCK), ==, CXL_RC_SUCCESS);
}

/* Tags are texts: two that mean the same differ, two backends may have the same one. */
static void w6(TestHost *host)
{
	g_autoptr(GError) error = NULL;
	BackendConfig config = { .name = "second", .size = BLOCK };
	Uuid upper, lower;

	g_assert_true(uuid_parse("5BE1ABCD-0000-4000-8000-000000000001", &upper, NULL));
	g_assert_true(uuid_parse("5be1abcd-0000-4000-8000-000000000001", &lower, NULL));
	g_assert_true(uuid_equal(&upper, &lower));
	test_backend(host->pool, "first", TAG, BLOCK);
	config.tag = test_tag(TAG);
	g_assert_false(pool_add_backend(host->pool, &config, &error));
	g_assert_error(error, CAPACITY_ERROR, CAPACITY_ERROR_BUSY);
}

/* The backend can be deleted between offer and answer. */
static void w7(TestHost *host)
{
	g_autoptr(GError) error = NULL;

	test_backend(host->pool, "mem", TAG, BLOCK);
	test_offer_one(host, TAG, 0, BLOCK);
	for (unsigned i = 0; i < 3; i++) {
		g_assert_false(pool_remove_backend(host->pool, "mem", &error));
		g_assert_error(error, CAPACITY_ERROR, CAPACITY_ERROR_BUSY);
		g_clear_error(&error);
		if (i == 0)
			g_assert_cmphex(host_accept_one(host, 0, BLOCK), ==, CXL_RC_SUCCESS);
		if (i == 1)
			extents_start(host, CXL_OP_RELEASE_DC, &(DcRange){ 0, BLOCK }, 1, 0);
	}
	link_oblige(host->link, MEM_LINK_REVOKE);
	g_assert_cmphex(mbox_wait(host), ==, CXL_RC_SUCCESS);
	host_drain(host);
	g_assert_true(pool_remove_backend(host->pool, "mem", NULL));
}

/* A tag works once per process. */
static void w8(TestHost *host)
{
	test_backend(host->pool, "mem", TAG, BLOCK);
	for (unsigned i = 0; i < 5; i++) {
		test_offer_one(host, TAG, i * BLOCK, BLOCK);
		g_assert_cmphex(host_accept_one(host, i * BLOCK, BLOCK), ==, CXL_RC_SUCCESS);
		g_assert_cmphex(host_release_one(host, i * BLOCK, BLOCK), ==, CXL_RC_SUCCESS);
		host_drain(host);
	}
	g_assert_true(pool_remove_backend(host->pool, "mem", NULL));
}

/* Offsets into the backend from the wrong base, in 32 bits, lengths that are the window's. */
static void w9(TestHost *host)
{
	DcRegionConfig region = { .len = 8 * GIB, .block_size = BLOCK };
	PoolDeviceConfig config = {
		.name = "large",
		.regions = &region,
		.n_regions = 1,
		.hold_off = true,
	};
	static const OfferExtent extents[] = { { 6 * GIB, GIB }, { 0, 4 * GIB }, { 7 * GIB, GIB } };
	static const DcRange ranges[] = { { 6 * GIB, GIB }, { 0, 4 * GIB }, { 7 * GIB, GIB } };
	static const uint64_t offsets[] = { 0, GIB, 5 * GIB };
	g_autoptr(TestHost)
		large = test_host(host->pool, test_device_with(host->pool, &config), LINK_RAW);

	test_backend(host->pool, "mem", TAG, 6 * GIB);
	test_offer(large, TAG, extents, 3);
	g_assert_cmphex(host_accept(large, ranges, 3), ==, CXL_RC_SUCCESS);
	for (unsigned i = 0; i < 3; i++) {
		LinkMap *map = link_map_at(large->link, ranges[i].dpa);
		uint64_t *memory = link_map_memory(map, PROT_READ | PROT_WRITE), seen;

		g_assert_true(memory != MAP_FAILED);
		g_assert_cmphex(map->offset, ==, offsets[i]);
		g_assert_cmphex(map->len, ==, ranges[i].len);
		memory[map->len / 8 - 1] = 0x1234567800 + i;
		backend_read(host->pool, "mem", offsets[i] + map->len - 8, &seen, 8);
		g_assert_cmphex(seen, ==, 0x1234567800 + i);
		munmap(memory, map->len);
	}
}

/* Right only for region 0 without anything before it. */
static void w10(TestHost *host)
{
	DcRegionConfig regions[] = {
		{ .len = REGION_LEN, .block_size = BLOCK },
		{ .len = 2 * REGION_LEN, .block_size = 4096 },
	};
	PoolDeviceConfig config = {
		.name = "two-regions",
		.ram_len = REGION_LEN,
		.regions = regions,
		.n_regions = 2,
		.hold_off = true,
	};
	OfferExtent extent = { 3 * 4096, 4096 };
	OfferRequest request = {
		.region = 1,
		.tag = test_tag(TAG),
		.policy = OFFER_PRESCRIPTIVE,
		.extents = &extent,
		.n_extents = 1,
	};
	g_autoptr(TestHost)
		two = test_host(host->pool, test_device_with(host->pool, &config), LINK_RAW);
	uint64_t dpa = 2 * REGION_LEN + 3 * 4096;
	CxlEventDc events[2];

	host_settle(two);
	test_backend(host->pool, "mem", TAG, 4096);
	g_assert_true(pool_offer(host->pool, two->device, &request, NULL, NULL));
	g_assert_cmpuint(host_events(two, events, 2), ==, 1);
	g_assert_cmpuint(events[0].region, ==, 1);
	g_assert_cmphex(le64_get(events[0].extent.dpa), ==, dpa);
	g_assert_cmphex(host_accept_one(two, dpa, 4096), ==, CXL_RC_SUCCESS);
	g_assert_cmphex(link_map_at(two->link, dpa)->offset, ==, 0);
	g_assert_cmphex(link_map_at(two->link, 0)->len, ==, REGION_LEN);
}

static void expect_decoder(TestHost *host, unsigned index, uint64_t hpa, uint64_t len, uint64_t dpa)
{
	const MemLinkDecoderEntry *entry = &host->link->decoders[index];

	g_assert_cmphex(le32_get(entry->flags), ==, MEM_LINK_DECODER_COMMITTED);
	g_assert_cmphex(le64_get(entry->hpa), ==, hpa);
	g_assert_cmphex(le64_get(entry->len), ==, len);
	g_assert_cmphex(le64_get(entry->dpa), ==, dpa);
}

/* One decoder is remembered per device, the last. */
static void w11(TestHost *host)
{
	DcRegionConfig region = { .len = 2 * REGION_LEN, .block_size = BLOCK };
	PoolDeviceConfig config = {
		.name = "three-decoders",
		.ram_len = REGION_LEN,
		.regions = &region,
		.n_regions = 1,
		.hold_off = true,
	};
	g_autoptr(TestHost)
		three = test_host(host->pool, test_device_with(host->pool, &config), LINK_RAW);

	host_settle(three);
	for (unsigned i = 0; i < 3; i++)
		host_commit_decoder(three, i, WINDOW_HPA + 4 * i * REGION_LEN, REGION_LEN);
	for (unsigned i = 0; i < 3; i++) {
		g_assert_true(host_decoder_is_committed(three, i));
		expect_decoder(three, i, WINDOW_HPA + 4 * i * REGION_LEN, REGION_LEN,
			       i * REGION_LEN);
	}
}

/* The fifth mapping takes the place of a live one. */
static void w12(TestHost *host)
{
	enum {
		N = 60
	};
	OfferExtent extents[N];
	DcRange ranges[N];

	test_backend(host->pool, "mem", TAG, N * BLOCK);
	make_extents(extents, ranges, N);
	test_offer(host, TAG, extents, N);
	g_assert_cmphex(host_accept(host, ranges, N), ==, CXL_RC_SUCCESS);
	g_assert_cmpuint(link_n_exposed(host->link), ==, N);
	for (unsigned i = 0; i < N; i++)
		g_assert_cmphex(link_map_at(host->link, ranges[i].dpa)->offset, ==, i * BLOCK);
}

/* A decoder committed after the acceptance gets nothing; one taken back leaves it mapped. */
static void w13(TestHost *host)
{
	test_backend(host->pool, "mem", TAG, BLOCK);
	test_offer_one(host, TAG, 0, BLOCK);
	g_assert_cmphex(host_accept_one(host, 0, BLOCK), ==, CXL_RC_SUCCESS);
	host_commit_decoder(host, 0, WINDOW_HPA, REGION_LEN);
	expect_decoder(host, 0, WINDOW_HPA, REGION_LEN, 0);
	/* Taken back is only what the host side has taken back. */
	reg_write(host, host->hdm + CXL_HDM_DEC_CTRL(0), 0, 4);
	g_assert_true(host_decoder_is_committed(host, 0));
	link_oblige(host->link, MEM_LINK_DECODER);
	pool_barrier(host->pool);
	g_assert_false(host_decoder_is_committed(host, 0));
	g_assert_cmphex(le32_get(host->link->decoders[0].flags), ==, 0);
	host_commit_decoder(host, 0, 2 * WINDOW_HPA, REGION_LEN);
	expect_decoder(host, 0, 2 * WINDOW_HPA, REGION_LEN, 0);
}

/* Interleaved, memory that was looked up last stands for all of it. */
static void w14(TestHost *host)
{
	static const DcRange ranges[] = { { 0, BLOCK }, { 2 * BLOCK, BLOCK } };
	struct stat st[2];

	reg_write(host, host->hdm + CXL_HDM_BASE_LO(0), WINDOW_HPA, 8);
	reg_write(host, host->hdm + CXL_HDM_SIZE_LO(0), 2 * REGION_LEN, 8);
	reg_write(host, host->hdm + CXL_HDM_DEC_CTRL(0), CXL_HDM_DEC_COMMIT | 1 << 4 | 2, 4);
	host_settle(host);
	expect_decoder(host, 0, WINDOW_HPA, 2 * REGION_LEN, 0);
	g_assert_cmpuint(le32_get(host->link->decoders[0].ways), ==, 2);
	g_assert_cmpuint(le32_get(host->link->decoders[0].granularity), ==, 1024);
	for (unsigned i = 0; i < 2; i++) {
		g_autofree char *name = g_strdup_printf("mem%u", i);

		test_backend(host->pool, name, TAG + i, BLOCK);
		test_offer_one(host, TAG + i, ranges[i].dpa, BLOCK);
		g_assert_cmphex(host_accept(host, &ranges[i], 1), ==, CXL_RC_SUCCESS);
	}
	for (unsigned i = 0; i < 2; i++)
		g_assert_cmpint(fstat(link_map_at(host->link, ranges[i].dpa)->fd, &st[i]), ==, 0);
	g_assert_cmpuint(st[0].st_ino, !=, st[1].st_ino);
}

/* The first offer is stored with the backend of the one before it; a failed one leaks. */
static void w15(TestHost *host)
{
	OfferExtent good = { 0, BLOCK }, bad = { REGION_LEN, BLOCK };
	OfferRequest request = {
		.tag = test_tag(TAG),
		.policy = OFFER_PRESCRIPTIVE,
		.extents = &bad,
		.n_extents = 1,
	};
	uint64_t ino, incarnation;
	struct stat st;

	test_backend(host->pool, "mem", TAG, BLOCK);
	for (unsigned i = 0; i < 3; i++)
		refuse_offer(host, &request, CAPACITY_ERROR_INVALID);
	request.extents = &good;
	g_assert_true(pool_offer(host->pool, host->device, &request, NULL, NULL));
	g_assert_cmphex(host_accept_one(host, 0, BLOCK), ==, CXL_RC_SUCCESS);
	backend_identity(host->pool, "mem", &ino, &incarnation);
	g_assert_cmpint(fstat(link_map_at(host->link, 0)->fd, &st), ==, 0);
	g_assert_cmpuint(st.st_ino, ==, ino);
	g_assert_cmpuint(link_map_at(host->link, 0)->incarnation, ==, incarnation);
}

/* Release by tag: no matches succeed, what is only offered counts, records carry no tag. */
static void w16(TestHost *host)
{
	ReleaseRequest release = { .tag = test_tag(TAG) };
	Uuid tag = test_tag(TAG);
	CxlEventDc events[4];

	refuse_release(host, &release, CAPACITY_ERROR_NOT_FOUND);
	test_backend(host->pool, "mem", TAG, BLOCK);
	test_offer_one(host, TAG, 0, BLOCK);
	refuse_release(host, &release, CAPACITY_ERROR_NOT_FOUND);
	g_assert_cmphex(host_accept_one(host, 0, BLOCK), ==, CXL_RC_SUCCESS);
	release.region = 1;
	refuse_release(host, &release, CAPACITY_ERROR_INVALID);
	release.region = 0;
	g_assert_true(pool_release(host->pool, host->device, &release, NULL, NULL));
	g_assert_cmpuint(host_events(host, events, 4), ==, 1);
	g_assert_cmpuint(events[0].type, ==, CXL_DC_EVENT_RELEASE);
	g_assert_cmpmem(events[0].extent.tag, 16, tag.b, 16);
}

/* The state of a release is free text. */
static void w17(TestHost *host)
{
	ReleaseRequest release = { .tag = test_tag(TAG) };
	PoolState state;
	uint64_t id;

	test_backend(host->pool, "mem", TAG, BLOCK);
	test_offer_one(host, TAG, 0, BLOCK);
	g_assert_cmphex(host_accept_one(host, 0, BLOCK), ==, CXL_RC_SUCCESS);
	g_assert_true(pool_release(host->pool, host->device, &release, &id, NULL));
	pool_state(host, &state);
	g_assert_cmpuint(state.n_releases, ==, 1);
	g_assert_cmpuint(state.releases[0].id, ==, id);
	g_assert_cmpint(state.releases[0].state, ==, RELEASE_DELIVERED);
	g_assert_true(uuid_equal(&state.releases[0].tag, &release.tag));
	g_assert_cmpuint(state.releases[0].len, ==, BLOCK);
	g_assert_cmphex(host_release_one(host, 0, BLOCK), ==, CXL_RC_SUCCESS);
	pool_state(host, &state);
	g_assert_cmpint(state.releases[0].state, ==, RELEASE_DONE);
}

/* Nothing is wiped between two tenants. */
static void w18(TestHost *host)
{
	uint8_t *memory;

	test_backend(host->pool, "mem", TAG, 4 * BLOCK);
	for (unsigned i = 0; i < 2; i++) {
		test_offer_one(host, TAG, 0, 4 * BLOCK);
		g_assert_cmphex(host_accept_one(host, 0, 4 * BLOCK), ==, CXL_RC_SUCCESS);
		memory = link_map_memory(link_map_at(host->link, 0), PROT_READ | PROT_WRITE);
		g_assert_true(is_filled(memory, 0, 4 * BLOCK));
		memset(memory, 0x3c, 4 * BLOCK);
		munmap(memory, 4 * BLOCK);
		g_assert_cmphex(host_release_one(host, 0, 4 * BLOCK), ==, CXL_RC_SUCCESS);
		host_drain(host);
	}
}

static const Case cases[] = {
	{ "w1-partial-commit", w1 },   { "w2-no-backend", w2 },      { "w3-sub-range", w3 },
	{ "w4-tag-lost", w4 },         { "w5-no-tag", w5 },          { "w6-tag-is-text", w6 },
	{ "w7-backend-deleted", w7 },  { "w8-tag-works-once", w8 },  { "w9-offset-and-length", w9 },
	{ "w10-second-region", w10 },  { "w11-many-decoders", w11 }, { "w12-many-maps", w12 },
	{ "w13-decoder-later", w13 },  { "w14-interleaved", w14 },   { "w15-first-offer", w15 },
	{ "w16-release-by-tag", w16 }, { "w17-release-state", w17 }, { "w18-not-wiped", w18 },
};

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *path = g_strconcat("/protocol/pool/defect/", cases[i].name, NULL);

		g_test_add_data_func(path, &cases[i], run_case);
	}
	return g_test_run();
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Known defects of another dynamic capacity device, those about commands there are here too. */
#include "pool_fixture.h"

#include "mem_link_raw.h"

#define TAG 1

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

static bool try_offer(TestHost *host, unsigned tag, const OfferExtent *extents, size_t n,
		      GError **error)
{
	OfferRequest request = {
		.tag = tag != 0 ? test_tag(tag) : (Uuid){ { 0 } },
		.policy = OFFER_PRESCRIPTIVE,
		.extents = extents,
		.n_extents = n,
	};

	return pool_offer(host->pool, host->device, &request, NULL, error);
}

static enum cxl_rc decline(TestHost *host)
{
	return host_accept(host, NULL, 0);
}

static PoolDevice *device_with(Pool *pool, const char *name, uint32_t log_depth, uint32_t max)
{
	DcRegionConfig region = { .len = REGION_LEN, .block_size = BLOCK };
	PoolDeviceConfig config = {
		.name = name,
		.regions = &region,
		.n_regions = 1,
		.hold_off = true,
		.dc_log_depth = log_depth,
		.max_extents = max,
	};

	return test_device_with(pool, &config);
}

static void make_extents(OfferExtent *extents, DcRange *ranges, unsigned n, uint64_t first)
{
	for (unsigned i = 0; i < n; i++) {
		extents[i] = (OfferExtent){ first + i * BLOCK, BLOCK };
		ranges[i] = (DcRange){ first + i * BLOCK, BLOCK };
	}
}

/* ---- crashes ---- */

/* 4802h with no extents and nothing pending is fatal. */
static void d1(TestHost *host)
{
	PoolState before, after;

	pool_state(host, &before);
	for (unsigned i = 0; i < 3; i++)
		g_assert_cmphex(decline(host), ==, CXL_RC_SUCCESS);
	pool_state(host, &after);
	assert_same_state(&before, &after);
	test_offer_one(host, 0, 0, BLOCK);
	g_assert_cmphex(decline(host), ==, CXL_RC_SUCCESS);
	host_drain(host);
	assert_counters(host, 0, 0, 0, 0);
	g_assert_cmphex(decline(host), ==, CXL_RC_SUCCESS);
}

/* A length beyond the payload is read as well. */
static void d_length(TestHost *host)
{
	uint64_t command = CXL_OP_RELEASE_DC | CXL_FIELD_PUT(CXL_MBOX_CMD_LEN, UINT64_C(0xfffff));

	reg_write(host, host->mbox + CXL_MBOX_CMD, command, 8);
	reg_write(host, host->mbox + CXL_MBOX_CTRL, CXL_MBOX_CTRL_DOORBELL, 4);
	g_assert_cmphex(mbox_wait(host), ==, CXL_RC_INVALID_PAYLOAD_LENGTH);
}

/* Address and length that wrap are not seen as such. */
static void d_wrap(TestHost *host)
{
	DcRange range = { UINT64_MAX - BLOCK + 1, 2 * BLOCK };

	test_offer_one(host, 0, 0, BLOCK);
	g_assert_cmphex(host_accept(host, &range, 1), ==, CXL_RC_INVALID_EXTENT_LIST);
	g_assert_cmphex(host_release(host, &range, 1), ==, CXL_RC_INVALID_EXTENT_LIST);
	g_assert_cmphex(host_accept_one(host, 0, BLOCK), ==, CXL_RC_SUCCESS);
}

/* ---- isolation ---- */

/* Contents survive release and re-offer; asking for sanitizing is accepted and ignored. */
static void i2(TestHost *host)
{
	BackendConfig config = {
		.name = "mem",
		.size = 2 * BLOCK,
		.tag = test_tag(TAG),
		.on_release = ON_RELEASE_KEEP,
	};
	ReleaseRequest release = { .tag = test_tag(TAG), .sanitize = true };
	uint8_t seen[2];

	g_assert_true(pool_add_backend(host->pool, &config, NULL));
	for (unsigned i = 0; i < 2; i++) {
		uint8_t *memory;

		test_offer_one(host, TAG, 0, 2 * BLOCK);
		g_assert_cmphex(host_accept_one(host, 0, 2 * BLOCK), ==, CXL_RC_SUCCESS);
		memory = link_map_memory(link_map_at(host->link, 0), PROT_READ | PROT_WRITE);
		memset(memory, 0x5f, 2 * BLOCK);
		munmap(memory, 2 * BLOCK);
		if (i == 1)
			g_assert_true(pool_release(host->pool, host->device, &release, NULL, NULL));
		g_assert_cmphex(host_release_one(host, 0, 2 * BLOCK), ==, CXL_RC_SUCCESS);
		host_drain(host);
		backend_read(host->pool, "mem", 0, &seen[0], 1);
		backend_read(host->pool, "mem", 2 * BLOCK - 1, &seen[1], 1);
		g_assert_cmphex(seen[0], ==, i == 0 ? 0x5f : 0);
		g_assert_cmphex(seen[1], ==, i == 0 ? 0x5f : 0);
	}
}

/* The mapping stays when only the endpoint's decoder is taken back, also when it moves. */
static void i3(TestHost *host)
{
	host_commit_decoder(host, 0, WINDOW_HPA, REGION_LEN);
	g_assert_true(host_decoder_is_committed(host, 0));
	reg_write(host, host->hdm + CXL_HDM_DEC_CTRL(0), 0, 4);
	{
		g_autoptr(LinkMessage) back = link_expect(host->link, MEM_LINK_DECODER);

		/* A host that cannot take it back: the registers do not say that it has. */
		link_answer(host->link, back, MEM_LINK_FAILED);
	}
	pool_barrier(host->pool);
	g_assert_true(host_decoder_is_committed(host, 0));
	g_assert_true(reg_read(host, host->hdm + CXL_HDM_DEC_CTRL(0), 4) & CXL_HDM_DEC_ERROR);
	reg_write(host, host->hdm + CXL_HDM_DEC_CTRL(0), 0, 4);
	host_settle(host);
	g_assert_false(host_decoder_is_committed(host, 0));
}

/* ---- protocol ---- */

/* The generation number of the extent list never changes. */
static void b1(TestHost *host)
{
	PoolState state;
	uint32_t seen[4], now;

	host_extents(host, NULL, 8, &seen[0]);
	test_offer_one(host, 0, 0, 2 * BLOCK);
	host_extents(host, NULL, 8, &seen[1]);
	g_assert_cmpuint(seen[1], ==, seen[0]); /* offering changes no list */
	g_assert_cmphex(host_accept_one(host, 0, 2 * BLOCK), ==, CXL_RC_SUCCESS);
	host_extents(host, NULL, 8, &seen[2]);
	g_assert_cmpuint(seen[2], !=, seen[1]);
	g_assert_cmphex(host_release_one(host, 0, BLOCK), ==, CXL_RC_SUCCESS);
	host_extents(host, NULL, 8, &seen[3]);
	g_assert_cmpuint(seen[3], !=, seen[2]);
	g_assert_cmphex(host_release_one(host, 0, BLOCK), ==, CXL_RC_INVALID_PA);
	host_extents(host, NULL, 8, &now);
	g_assert_cmpuint(now, ==, seen[3]);
	pool_state(host, &state);
	g_assert_cmpuint(state.generation, ==, now);
}

/* More records than the log holds are lost, the chain never closes, success is reported. */
static void b2(TestHost *host)
{
	enum {
		N = 20,
		DEPTH = 16
	};
	g_autoptr(TestHost) shallow =
		test_host(host->pool, device_with(host->pool, "shallow", DEPTH, 0), LINK_RAW);
	g_autoptr(GError) error = NULL;
	OfferExtent extents[101];
	DcRange ranges[101];
	CxlEventDc events[101];
	PoolState before, after;
	unsigned n;

	make_extents(extents, ranges, 101, 0);
	pool_state(shallow, &before);
	g_assert_false(try_offer(shallow, 0, extents, DEPTH + 1, &error));
	g_assert_error(error, CAPACITY_ERROR, CAPACITY_ERROR_LIMIT);
	g_clear_error(&error);
	pool_state(shallow, &after);
	assert_same_state(&before, &after);
	g_assert_true(try_offer(shallow, 0, extents, DEPTH, NULL));
	n = host_events(shallow, events, 101);
	g_assert_cmpuint(n, ==, DEPTH);
	for (unsigned i = 0; i < n; i++)
		g_assert_cmpuint(events[i].flags & CXL_EVENT_DC_MORE, ==, i + 1 < n);
	/* With a deeper log the limit is Linux's, and said so. */
	g_assert_false(try_offer(host, 0, extents, 101, &error));
	g_assert_error(error, CAPACITY_ERROR, CAPACITY_ERROR_LIMIT);
	g_assert_nonnull(strstr(error->message, "100"));
	g_assert_true(try_offer(host, 0, extents, 100, NULL));
	g_assert_cmphex(host_accept(host, ranges, 100), ==, CXL_RC_SUCCESS);
	g_assert_cmpuint(host_extents(host, NULL, 101, NULL), ==, 100);
}

/* Pending extents are counted twice when they are accepted. */
static void b3(TestHost *host)
{
	g_autoptr(TestHost)
		small = test_host(host->pool, device_with(host->pool, "small", 0, 8), LINK_RAW);
	g_autoptr(GError) error = NULL;
	OfferExtent extents[9];
	DcRange ranges[9];

	make_extents(extents, ranges, 9, 0);
	g_assert_false(try_offer(small, 0, extents, 9, &error));
	g_assert_error(error, CAPACITY_ERROR, CAPACITY_ERROR_LIMIT);
	g_clear_error(&error);
	g_assert_true(try_offer(small, 0, extents, 8, NULL));
	g_assert_false(try_offer(small, 0, &extents[8], 1, &error));
	g_assert_error(error, CAPACITY_ERROR, CAPACITY_ERROR_LIMIT);
	g_assert_cmphex(host_accept(small, ranges, 8), ==, CXL_RC_SUCCESS);
	g_assert_cmphex(host_release(small, &ranges[3], 1), ==, CXL_RC_SUCCESS);
	host_drain(small);
	g_assert_true(try_offer(small, 0, &extents[3], 1, NULL));
}

/* No tags are supported. */
static void b4(TestHost *host)
{
	CxlDcConfigIn in = { .n_regions = 8 };
	struct {
		CxlDcConfigOut header;
		CxlDcRegionConfig region;
		CxlDcConfigTail tail;
	} out;
	Uuid tag = test_tag(TAG);
	CxlDcExtent extent;

	test_backend(host->pool, "mem", TAG, BLOCK);
	test_offer_one(host, TAG, 0, BLOCK);
	g_assert_cmphex(host_accept_one(host, 0, BLOCK), ==, CXL_RC_SUCCESS);
	g_assert_cmphex(
		mbox_call(host, CXL_OP_GET_DC_CONFIG, &in, sizeof(in), &out, sizeof(out), NULL), ==,
		CXL_RC_SUCCESS);
	g_assert_cmpuint(le32_get(out.tail.n_tags_supported), >, 0);
	g_assert_cmpuint(le32_get(out.tail.n_tags_available), ==,
			 le32_get(out.tail.n_tags_supported) - 1);
	g_assert_cmpuint(le32_get(out.tail.n_extents_available), ==,
			 le32_get(out.tail.n_extents_supported) - 1);
	g_assert_cmpuint(host_extents(host, &extent, 1, NULL), ==, 1);
	g_assert_cmpmem(extent.tag, 16, tag.b, 16);
}

static void withdraw(Pool *pool, void *user_data)
{
	TestHost *host = user_data;
	Uuid tag = test_tag(TAG);

	g_assert_true(capacity_withdraw(pool_peek_capacity(pool), pool_device_peek_dc(host->device),
					0, &tag, NULL));
}

/* A host that never answers blocks all that comes later; nothing can be withdrawn. */
static void b5(TestHost *host)
{
	CxlEventDc events[4];

	test_backend(host->pool, "mem", TAG, BLOCK);
	test_backend(host->pool, "next", TAG + 1, BLOCK);
	test_offer_one(host, TAG, 0, BLOCK);
	test_offer_one(host, TAG + 1, BLOCK, BLOCK);
	g_assert_cmphex(host_accept_one(host, BLOCK, BLOCK), ==, CXL_RC_INVALID_PA);
	pool_call(host->pool, withdraw, host);
	assert_counters(host, BLOCK, 0, 0, 0);
	g_assert_cmphex(host_accept_one(host, 0, BLOCK), ==, CXL_RC_INVALID_PA);
	g_assert_cmpuint(host_events(host, events, 4), ==, 1); /* the other one was never read */
	g_assert_cmphex(le64_get(events[0].extent.dpa), ==, BLOCK);
	g_assert_cmphex(host_accept_one(host, BLOCK, BLOCK), ==, CXL_RC_SUCCESS);
}

/* Pending extents are listed by 4801h, as zeros. */
static void b6(TestHost *host)
{
	CxlDcExtentListIn in = { .n_extents = le32_put(8), .start = le32_put(1) };

	test_offer_one(host, 0, 0, BLOCK);
	g_assert_cmpuint(host_extents(host, NULL, 8, NULL), ==, 0);
	g_assert_cmphex(mbox_call(host, CXL_OP_GET_DC_EXTENT_LIST, &in, sizeof(in), NULL, 0, NULL),
			==, CXL_RC_INVALID_INPUT);
}

/* Clear-all is ignored; a handle that is not there gives the wrong code. */
static void b7(TestHost *host)
{
	CxlClearEventRecordsIn all = { .log = CXL_LOG_DC, .flags = CXL_CLEAR_EVENTS_ALL };
	static const OfferExtent extents[] = { { 0, BLOCK }, { BLOCK, BLOCK } };
	CxlEventDc events[2], wrong;

	test_offer(host, 0, extents, 2);
	g_assert_cmpuint(host_events(host, events, 2), ==, 2);
	wrong = events[0];
	wrong.header.handle = le16_put(0x7777);
	g_assert_cmphex(host_clear_events(host, &wrong, 1), ==, CXL_RC_INVALID_HANDLE);
	g_assert_cmphex(host_clear_events(host, &events[1], 1), ==, CXL_RC_INVALID_HANDLE);
	g_assert_cmpuint(host_events(host, events, 2), ==, 2);
	g_assert_cmphex(
		mbox_call(host, CXL_OP_CLEAR_EVENT_RECORDS, &all, sizeof(all), NULL, 0, NULL), ==,
		CXL_RC_SUCCESS);
	g_assert_cmpuint(host_events(host, events, 2), ==, 0);
	/* Clearing the record is no answer. */
	g_assert_cmphex(host_accept_one(host, 0, BLOCK), ==, CXL_RC_SUCCESS);
}

/* Every record says warning, and that nothing is available. */
static void b8(TestHost *host)
{
	CxlEventDc events[1];

	test_offer_one(host, 0, 0, BLOCK);
	g_assert_cmpuint(host_events(host, events, 1), ==, 1);
	g_assert_cmphex(le24_get(events[0].header.flags) & CXL_EVENT_SEVERITY, ==,
			CXL_EVENT_SEVERITY_INFO);
	g_assert_cmpuint(events[0].header.len, ==, CXL_EVENT_RECORD_LEN);
	g_assert_cmphex(events[0].validity, ==,
			CXL_EVENT_DC_VALID_EXTENTS | CXL_EVENT_DC_VALID_TAGS);
	g_assert_cmpuint(le32_get(events[0].n_extents_available), ==, 65535);
	g_assert_cmpuint(le32_get(events[0].n_tags_available), >, 0);
}

/* Release by force is an ordinary request; the host keeps the memory. */
static void b10(TestHost *host)
{
	ReleaseRequest release = { .tag = test_tag(TAG), .forced = true };
	CxlEventDc events[1];

	test_backend(host->pool, "mem", TAG, BLOCK);
	test_offer_one(host, TAG, 0, BLOCK);
	g_assert_cmphex(host_accept_one(host, 0, BLOCK), ==, CXL_RC_SUCCESS);
	g_assert_true(pool_release(host->pool, host->device, &release, NULL, NULL));
	link_oblige(host->link, MEM_LINK_REVOKE);
	g_assert_cmpuint(host_events(host, events, 1), ==, 1);
	g_assert_cmpuint(events[0].type, ==, CXL_DC_EVENT_FORCED_RELEASE);
	g_assert_cmpuint(host_extents(host, NULL, 8, NULL), ==, 0);
}

/* Effects of commands sit one bit off. */
static void b11(TestHost *host)
{
	static const uint8_t uuid[] = CXL_UUID_CEL;
	CxlGetLogIn in = { .len = le32_put(0) };
	CxlSupportedLogsOut *logs;
	CxlSupportedLog *log;
	uint8_t out[256];
	CxlCelEntry entry;
	bool found = false;

	g_assert_cmphex(mbox_call(host, CXL_OP_GET_SUPPORTED_LOGS, NULL, 0, out, sizeof(out), NULL),
			==, CXL_RC_SUCCESS);
	logs = (CxlSupportedLogsOut *)(void *)out;
	log = (CxlSupportedLog *)(void *)(logs + 1);
	memcpy(in.uuid, uuid, sizeof(uuid));
	in.len = log->len;
	g_assert_cmpuint(le32_get(in.len), <=, sizeof(out));
	g_assert_cmphex(mbox_call(host, CXL_OP_GET_LOG, &in, sizeof(in), out, sizeof(out), NULL),
			==, CXL_RC_SUCCESS);
	for (unsigned i = 0; i < le32_get(in.len) / sizeof(entry); i++) {
		memcpy(&entry, out + i * sizeof(entry), sizeof(entry));
		/* Nothing here runs in the background, can be aborted or waits for a reset. */
		g_assert_cmphex(le16_get(entry.effects) & 0xfff1 & ~CXL_EFFECT_LOG_NOW, ==, 0);
		found |= le16_get(entry.opcode) == CXL_OP_ADD_DC_RESPONSE &&
			 le16_get(entry.effects) == (CXL_EFFECT_CONFIG_NOW | CXL_EFFECT_DATA_NOW);
	}
	g_assert_true(found);
	/* One byte beyond the log is beyond it. */
	in.offset = le32_put(1);
	g_assert_cmphex(mbox_call(host, CXL_OP_GET_LOG, &in, sizeof(in), NULL, 0, NULL), ==,
			CXL_RC_INVALID_INPUT);
}

/* Nine regions are accepted where there is room for eight. */
static void b14(TestHost *host)
{
	g_autoptr(GError) error = NULL;
	DcRegionConfig regions[9];
	PoolDeviceConfig config = { .name = "nine", .regions = regions, .n_regions = 9 };

	for (unsigned i = 0; i < 9; i++)
		regions[i] = (DcRegionConfig){ .len = REGION_LEN, .block_size = BLOCK };
	g_assert_null(pool_add_device(host->pool, &config, &error));
	g_assert_error(error, CAPACITY_ERROR, CAPACITY_ERROR_LIMIT);
	config.n_regions = 8;
	g_assert_nonnull(pool_add_device(host->pool, &config, NULL));
}

static const Case cases[] = {
	{ "d1-decline-nothing", d1 },   { "d-payload-length", d_length },
	{ "d-address-wraps", d_wrap },  { "i2-sanitize-ignored", i2 },
	{ "i3-stale-decoder", i3 },     { "b1-generation", b1 },
	{ "b2-chain-overflow", b2 },    { "b3-counted-twice", b3 },
	{ "b4-no-tags", b4 },           { "b5-blocked-for-ever", b5 },
	{ "b6-pending-listed", b6 },    { "b7-clear-events", b7 },
	{ "b8-record-fields", b8 },     { "b10-forced-release", b10 },
	{ "b11-command-effects", b11 }, { "b14-nine-regions", b14 },
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

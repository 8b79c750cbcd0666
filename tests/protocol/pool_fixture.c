/* SPDX-License-Identifier: BSD-3-Clause */
/* A real pool in its thread, reached as a host reaches it: registers and memory link by hand. */
#include "pool_fixture.h"

#include "mem_link_raw.h"

#define BAR     DEVICE_BAR_REGS
#define CALL_MS 20000 /* for one register access: only a test that fails waits this long */
#define REGS    UINT64_C(0x10000) /* device register block in BAR0 */
#define CM      UINT64_C(0x1000)  /* component registers' cache and memory part */

/* ---- pool ---- */

Pool *test_pool(void)
{
	PoolConfig config = { .faults = 0 };

	return pool_new(&config);
}

PoolDevice *test_device_with(Pool *pool, const PoolDeviceConfig *config)
{
	g_autoptr(GError) error = NULL;
	PoolDevice *device = pool_add_device(pool, config, &error);

	g_assert_no_error(error);
	g_assert_nonnull(device);
	return device;
}

PoolDevice *test_device(Pool *pool, const char *name)
{
	DcRegionConfig region = { .len = REGION_LEN, .block_size = BLOCK };
	PoolDeviceConfig config = {
		.name = name,
		.serial = 1,
		.regions = &region,
		.n_regions = 1,
		.hold_off = true,
	};

	return test_device_with(pool, &config);
}

Uuid test_tag(unsigned n)
{
	Uuid tag = { .b = { 0x5b, 0xe1, 0, 0, 0, 0, 0x40, 0, 0x80 } };

	tag.b[14] = (uint8_t)(n >> 8);
	tag.b[15] = (uint8_t)n;
	return tag;
}

void test_backend(Pool *pool, const char *name, unsigned tag, uint64_t size)
{
	g_autoptr(GError) error = NULL;
	BackendConfig config = {
		.name = name,
		.type = BACKEND_MEMFD,
		.size = size,
		.tag = test_tag(tag),
	};

	pool_add_backend(pool, &config, &error);
	g_assert_no_error(error);
}

uint64_t test_offer(TestHost *host, unsigned tag, const OfferExtent *extents, size_t n)
{
	g_autoptr(GError) error = NULL;
	OfferRequest request = {
		.policy = OFFER_PRESCRIPTIVE,
		.extents = extents,
		.n_extents = n,
	};
	uint64_t id = 0;

	if (tag != 0)
		request.tag = test_tag(tag);
	pool_offer(host->pool, host->device, &request, &id, &error);
	g_assert_no_error(error);
	return id;
}

uint64_t test_offer_one(TestHost *host, unsigned tag, uint64_t offset, uint64_t len)
{
	OfferExtent extent = { offset, len };

	return test_offer(host, tag, &extent, 1);
}

static void do_nothing(Pool *pool, void *user_data)
{
}

void pool_barrier(Pool *pool)
{
	pool_call(pool, do_nothing, NULL);
}

/* ---- hosts ---- */

static void find_registers(TestHost *host)
{
	unsigned n_caps = (unsigned)reg_read(host, REGS + 4, 2);
	unsigned n_blocks = (unsigned)reg_read(host, CM + 3, 1);

	for (unsigned i = 0; i < n_caps; i++) {
		uint64_t at = REGS + CXL_DEV_CAP_HEADER(i);
		unsigned id = (unsigned)reg_read(host, at, 2);
		uint64_t start = REGS + reg_read(host, at + 4, 4);

		if (id == CXL_DEV_CAP_ID_MAILBOX) {
			host->mbox = start;
			host->payload = start + CXL_MBOX_PAYLOAD;
			host->payload_len = 1u << CXL_FIELD_GET(CXL_MBOX_CAPS_PAYLOAD_LOG2,
								reg_read(host, start, 4));
		} else if (id == CXL_DEV_CAP_ID_STATUS) {
			host->status = start;
		}
	}
	for (unsigned i = 1; i <= n_blocks; i++) {
		uint32_t cap = (uint32_t)reg_read(host, CM + 4 * i, 4);

		if (CXL_FIELD_GET(CXL_CM_CAP_ID, cap) == CXL_CM_ID_HDM)
			host->hdm = CM + CXL_FIELD_GET(CXL_CM_CAP_PTR, cap);
	}
	g_assert_true(host->mbox != 0 && host->status != 0 && host->hdm != 0);
}

TestHost *test_host_on(int vfu_fd, int mem_fd, uint8_t session)
{
	g_autoptr(GError) error = NULL;
	TestHost *host = g_new0(TestHost, 1);

	host->vfu = vfu_client_new(vfu_fd, CALL_MS, &error);
	g_assert_no_error(error);
	find_registers(host);
	if (mem_fd >= 0) {
		host->link = link_peer_new(mem_fd);
		host->link->session = session;
		link_peer_hello(host->link, NULL, 0);
	}
	return host;
}

static TestHost *connect_host(Pool *pool, PoolDevice *device, TestLink link, uint8_t session)
{
	g_autoptr(GError) error = NULL;
	TestHost *host;
	int vfu[2], mem[2] = { -1, -1 };

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, vfu), ==, 0);
	if (link == LINK_RAW)
		raw_pair(mem);
	pool_attach_host(pool, device, vfu[0], mem[0], &error);
	g_assert_no_error(error);
	host = test_host_on(vfu[1], mem[1], session);
	host->pool = pool;
	host->device = device;
	pool_barrier(pool);
	return host;
}

TestHost *test_host(Pool *pool, PoolDevice *device, TestLink link)
{
	return connect_host(pool, device, link, 0);
}

TestHost *test_host_session(Pool *pool, PoolDevice *device, uint8_t session)
{
	return connect_host(pool, device, LINK_RAW, session);
}

void test_host_relink(TestHost *host, const MemLinkHeld *held, uint32_t n_held)
{
	g_autoptr(GError) error = NULL;
	int mem[2];

	g_assert_null(host->link);
	raw_pair(mem);
	pool_attach_host(host->pool, host->device, -1, mem[0], &error);
	g_assert_no_error(error);
	host->link = link_peer_new(mem[1]);
	link_peer_hello(host->link, held, n_held);
	pool_barrier(host->pool);
}

static void check_link(Pool *pool, void *user_data)
{
}

void test_host_unlink(TestHost *host)
{
	g_clear_pointer(&host->link, link_peer_free);
	/* The end is in the socket already; two rounds of the loop have seen it. */
	for (unsigned i = 0; i < 4; i++)
		pool_call(host->pool, check_link, NULL);
}

void test_host_free(TestHost *host)
{
	if (host == NULL)
		return;
	vfu_client_free(host->vfu);
	link_peer_free(host->link);
	g_free(host);
}

void host_settle(TestHost *host)
{
	do {
		pool_barrier(host->pool);
	} while (host->link != NULL && host->link->thread == NULL && link_serve(host->link) > 0);
}

void host_drain(TestHost *host)
{
	gint64 give_up = g_get_monotonic_time() + WAIT_MS * (gint64)1000;
	PoolState state;

	for (;;) {
		host_settle(host);
		pool_state(host, &state);
		if (state.device.draining == 0 && state.pool.draining == 0)
			return;
		g_assert_cmpint(g_get_monotonic_time(), <, give_up);
		g_usleep(200);
	}
}

/* ---- registers ---- */

uint64_t reg_read(TestHost *host, uint64_t offset, unsigned len)
{
	uint8_t buf[8] = { 0 };

	g_assert_cmpint(vfu_client_read(host->vfu, BAR, offset, buf, len), ==, 0);
	return le64_load(buf);
}

void reg_write(TestHost *host, uint64_t offset, uint64_t value, unsigned len)
{
	uint8_t buf[8];

	le64_store(buf, value);
	g_assert_cmpint(vfu_client_write(host->vfu, BAR, offset, buf, len, false), ==, 0);
}

void host_commit_decoder(TestHost *host, unsigned index, uint64_t hpa, uint64_t len)
{
	reg_write(host, host->hdm + CXL_HDM_BASE_LO(index), hpa, 8);
	reg_write(host, host->hdm + CXL_HDM_SIZE_LO(index), len, 8);
	reg_write(host, host->hdm + CXL_HDM_DEC_CTRL(index), CXL_HDM_DEC_COMMIT, 4);
	host_settle(host);
}

bool host_decoder_is_committed(TestHost *host, unsigned index)
{
	return reg_read(host, host->hdm + CXL_HDM_DEC_CTRL(index), 4) & CXL_HDM_DEC_COMMITTED;
}

/* ---- mailbox ---- */

void mbox_start(TestHost *host, uint16_t opcode, const void *in, size_t len)
{
	g_assert_cmpuint(len, <=, host->payload_len);
	if (len > 0)
		g_assert_cmpint(
			vfu_client_write(host->vfu, BAR, host->payload, in, (uint32_t)len, false),
			==, 0);
	reg_write(host, host->mbox + CXL_MBOX_CMD,
		  opcode | CXL_FIELD_PUT(CXL_MBOX_CMD_LEN, (uint64_t)len), 8);
	reg_write(host, host->mbox + CXL_MBOX_CTRL, CXL_MBOX_CTRL_DOORBELL, 4);
}

bool mbox_is_busy(TestHost *host)
{
	return reg_read(host, host->mbox + CXL_MBOX_CTRL, 4) & CXL_MBOX_CTRL_DOORBELL;
}

enum cxl_rc mbox_result(TestHost *host, void *out, size_t max, size_t *ret_len)
{
	uint64_t status = reg_read(host, host->mbox + CXL_MBOX_STATUS, 8);
	uint64_t command = reg_read(host, host->mbox + CXL_MBOX_CMD, 8);
	size_t len = CXL_FIELD_GET(CXL_MBOX_CMD_LEN, command);

	g_assert_false(mbox_is_busy(host));
	g_assert_cmpuint(len, <=, host->payload_len);
	if (out != NULL && len > 0)
		g_assert_cmpint(vfu_client_read(host->vfu, BAR, host->payload, out,
						(uint32_t)MIN(len, max)),
				==, 0);
	if (ret_len != NULL)
		*ret_len = len;
	return (enum cxl_rc)CXL_FIELD_GET(CXL_MBOX_STATUS_RC, status);
}

enum cxl_rc mbox_wait(TestHost *host)
{
	gint64 give_up = g_get_monotonic_time() + WAIT_MS * (gint64)1000;

	while (mbox_is_busy(host)) {
		g_assert_cmpint(g_get_monotonic_time(), <, give_up);
		g_usleep(100);
	}
	return mbox_result(host, NULL, 0, NULL);
}

static void serve_until_done(TestHost *host)
{
	gint64 give_up = g_get_monotonic_time() + WAIT_MS * (gint64)1000;

	while (mbox_is_busy(host)) {
		g_assert_cmpint(g_get_monotonic_time(), <, give_up);
		if (host->link == NULL || host->link->thread != NULL || link_serve(host->link) == 0)
			g_usleep(20);
	}
}

enum cxl_rc mbox_call(TestHost *host, uint16_t opcode, const void *in, size_t len, void *out,
		      size_t max, size_t *ret_len)
{
	mbox_start(host, opcode, in, len);
	serve_until_done(host);
	return mbox_result(host, out, max, ret_len);
}

/* ---- dynamic capacity ---- */

void extents_start(TestHost *host, uint16_t opcode, const DcRange *ranges, uint32_t n,
		   uint8_t flags)
{
	size_t len = sizeof(CxlDcResponseHeader) + n * sizeof(CxlDcResponseEntry);
	g_autofree uint8_t *in = g_malloc0(len);
	CxlDcResponseHeader header = { .n_extents = le32_put(n), .flags = flags };

	memcpy(in, &header, sizeof(header));
	for (uint32_t i = 0; i < n; i++) {
		CxlDcResponseEntry entry = {
			.dpa = le64_put(ranges[i].dpa),
			.len = le64_put(ranges[i].len),
		};

		memcpy(in + sizeof(header) + i * sizeof(entry), &entry, sizeof(entry));
	}
	mbox_start(host, opcode, in, len);
}

enum cxl_rc extents_call(TestHost *host, uint16_t opcode, const DcRange *ranges, uint32_t n)
{
	extents_start(host, opcode, ranges, n, 0);
	serve_until_done(host);
	return mbox_result(host, NULL, 0, NULL);
}

enum cxl_rc host_accept(TestHost *host, const DcRange *ranges, uint32_t n)
{
	return extents_call(host, CXL_OP_ADD_DC_RESPONSE, ranges, n);
}

enum cxl_rc host_accept_one(TestHost *host, uint64_t dpa, uint64_t len)
{
	DcRange range = { dpa, len };

	return host_accept(host, &range, 1);
}

enum cxl_rc host_release(TestHost *host, const DcRange *ranges, uint32_t n)
{
	return extents_call(host, CXL_OP_RELEASE_DC, ranges, n);
}

enum cxl_rc host_release_one(TestHost *host, uint64_t dpa, uint64_t len)
{
	DcRange range = { dpa, len };

	return host_release(host, &range, 1);
}

uint32_t host_extents(TestHost *host, CxlDcExtent *ret, uint32_t max, uint32_t *ret_generation)
{
	CxlDcExtentListIn in = { .n_extents = le32_put(max) };
	size_t room = sizeof(CxlDcExtentListOut) + max * sizeof(CxlDcExtent);
	g_autofree uint8_t *out = g_malloc0(room);
	const CxlDcExtentListOut *header = (const CxlDcExtentListOut *)(void *)out;
	size_t len;

	g_assert_cmphex(
		mbox_call(host, CXL_OP_GET_DC_EXTENT_LIST, &in, sizeof(in), out, room, &len), ==,
		CXL_RC_SUCCESS);
	g_assert_cmpuint(len, ==,
			 sizeof(*header) + le32_get(header->n_returned) * sizeof(CxlDcExtent));
	g_assert_cmpuint(le32_get(header->n_returned), ==, MIN(le32_get(header->n_total), max));
	if (ret != NULL)
		memcpy(ret, header + 1, le32_get(header->n_returned) * sizeof(CxlDcExtent));
	if (ret_generation != NULL)
		*ret_generation = le32_get(header->generation);
	return le32_get(header->n_total);
}

unsigned host_events(TestHost *host, CxlEventDc *ret, unsigned max)
{
	uint8_t log = CXL_LOG_DC;
	size_t room = sizeof(CxlGetEventRecordsOut) + max * sizeof(CxlEventDc);
	g_autofree uint8_t *out = g_malloc0(room);
	const CxlGetEventRecordsOut *header = (const CxlGetEventRecordsOut *)(void *)out;
	unsigned n;

	g_assert_cmphex(mbox_call(host, CXL_OP_GET_EVENT_RECORDS, &log, 1, out, room, NULL), ==,
			CXL_RC_SUCCESS);
	n = le16_get(header->n_records);
	g_assert_cmpuint(n, <=, max);
	memcpy(ret, header + 1, n * sizeof(CxlEventDc));
	return n;
}

enum cxl_rc host_clear_events(TestHost *host, const CxlEventDc *events, unsigned n)
{
	uint8_t in[sizeof(CxlClearEventRecordsIn) + 2 * UINT8_MAX] = {
		[0] = CXL_LOG_DC,
		[2] = (uint8_t)n,
	};

	g_assert_cmpuint(n, <=, UINT8_MAX);
	for (unsigned i = 0; i < n; i++)
		le16_store(in + sizeof(CxlClearEventRecordsIn) + 2 * (size_t)i,
			   le16_get(events[i].header.handle));
	return mbox_call(host, CXL_OP_CLEAR_EVENT_RECORDS, in,
			 sizeof(CxlClearEventRecordsIn) + 2 * (size_t)n, NULL, 0, NULL);
}

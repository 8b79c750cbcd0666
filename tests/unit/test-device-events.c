/* SPDX-License-Identifier: BSD-3-Clause */
/* Event logs through the mailbox: order, handles, overflow, reservation, withdrawal, interrupts. */
#include "device-fixture.h"

#include "device/event_log.h"

static CxlEventRecord make_record(uint8_t tell)
{
	CxlEventRecord record = { .header.uuid = CXL_UUID_EVENT_MEMORY_MODULE };

	record.data[0] = tell;
	return record;
}

static bool inject(Fixture *f, unsigned log, uint8_t tell)
{
	CxlEventRecord record = make_record(tell);

	return device_regs_inject_event(f->regs, log, &record);
}

static enum cxl_rc clear_handles(Fixture *f, uint8_t log, const uint16_t *handles, uint8_t n)
{
	uint8_t in[6 + 2 * UINT8_MAX] = { log, 0, n };

	for (unsigned i = 0; i < n; i++)
		le16_store(in + 6 + 2 * i, handles[i]);
	return run(f, 0x0101, in, 6u + 2u * n);
}

static enum cxl_rc clear_all(Fixture *f, uint8_t log)
{
	const uint8_t in[6] = { log, 1 };

	return run(f, 0x0101, in, 6);
}

static enum cxl_rc clear_first(Fixture *f, uint8_t log, unsigned n)
{
	uint16_t handles[UINT8_MAX];

	g_assert_cmpuint(get_records(f, log), >=, n);
	for (unsigned i = 0; i < n; i++)
		handles[i] = handle_at(f, i);
	return clear_handles(f, log, handles, (uint8_t)n);
}

static void set_policy(Fixture *f, uint8_t mode)
{
	const uint8_t in[5] = { mode, mode, mode, mode, mode };

	assert_rc(run(f, 0x0103, in, 5), CXL_RC_SUCCESS);
}

/* ---- golden bytes ---- */

static void test_dc_record_bytes(void)
{
	g_autoptr(Fixture) f = fixture_new();
	DcEvent event = {
		.cookie = 9,
		.type = DC_EVENT_RELEASE,
		.region = 1,
		.more = true,
		.dpa = UINT64_C(0x0102030405060708),
		.len = UINT64_C(0x1112131415161718),
		.tag = { { 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab,
			   0xac, 0xad, 0xae, 0xaf } },
		.shared_seq = 0x2122,
		.available_extents = 0x31323334,
		.available_tags = 0x41424344,
	};
	uint8_t clock[8];

	le64_store(clock, 1000000);
	assert_rc(run(f, 0x0301, clock, 8), CXL_RC_SUCCESS);
	f->now_us += 5; /* and 5000 ns */
	g_assert_true(device_regs_dc_log_reserve(f->regs, 1));
	device_regs_dc_log_post(f->regs, &event);
	assert_rc(run(f, 0x0100, "\4", 1), CXL_RC_SUCCESS);
	assert_out(f,
		   /* header: no overflow, nothing more, one record */
		   0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0,
		   0, 0, 0, 0, 0,
		   /* UUID, length, flags: informational */
		   0xca, 0x95, 0xaf, 0xa7, 0xf1, 0x83, 0x40, 0x18, 0x8c, 0x2f, 0x95, 0x26, 0x8e,
		   0x10, 0x1a, 0x2a, 0x80, 0, 0, 0,
		   /* handle, related handle, timestamp */
		   1, 0, 0, 0, 0xc8, 0x55, 0x0f, 0, 0, 0, 0, 0,
		   /* maintenance, LD, head, reserved */
		   0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		   /* type, validity, host, region, flags, reserved */
		   1, 3, 0, 0, 1, 1, 0, 0,
		   /* extent */
		   8, 7, 6, 5, 4, 3, 2, 1, 0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11, 0xa0,
		   0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xad,
		   0xae, 0xaf, 0x22, 0x21, 0, 0, 0, 0, 0, 0,
		   /* reserved, available */
		   0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x34,
		   0x33, 0x32, 0x31, 0x44, 0x43, 0x42, 0x41);
}

static void test_types(void)
{
	g_autoptr(Fixture) f = fixture_new();

	for (unsigned type = DC_EVENT_ADD; type <= DC_EVENT_CONFIG_UPDATED; type++) {
		DcEvent event = { .cookie = 1 + type, .type = (DcEventType)type };

		g_assert_true(device_regs_dc_log_reserve(f->regs, 1));
		device_regs_dc_log_post(f->regs, &event);
	}
	g_assert_cmpuint(get_records(f, CXL_LOG_DC), ==, 4);
	for (unsigned type = DC_EVENT_ADD; type <= DC_EVENT_CONFIG_UPDATED; type++) {
		g_assert_cmpuint(record_at(f, type)->data[0], ==, type);
		g_assert_cmpuint(record_at(f, type)->data[5], ==, 0);
	}
}

static void test_injected_record(void)
{
	g_autoptr(Fixture) f = fixture_new();
	CxlEventRecord record = make_record(0x42);

	record.header.len = 3;
	record.header.flags = le24_put(CXL_EVENT_SEVERITY_FATAL | CXL_EVENT_PERMANENT);
	record.header.handle = le16_put(0);
	record.header.timestamp = le64_put(99);
	for (uint8_t log = CXL_LOG_INFO; log <= CXL_LOG_FATAL; log++) {
		const CxlEventRecord *got;

		g_assert_true(device_regs_inject_event(f->regs, log, &record));
		g_assert_cmphex(event_status(f), ==, (2u << log) - 1);
		g_assert_cmpuint(get_records(f, log), ==, 1);
		got = record_at(f, 0);
		g_assert_cmpmem(got->header.uuid, 16, record.header.uuid, 16);
		g_assert_cmpuint(got->header.len, ==, 0x80);
		g_assert_cmphex(le24_get(got->header.flags), ==, 7);
		g_assert_cmpuint(le16_get(got->header.handle), !=, 0);
		g_assert_cmpuint(le64_get(got->header.timestamp), ==, 0); /* clock never set */
		g_assert_cmpmem(got->data, 0x50, record.data, 0x50);
	}
	g_assert_false(device_regs_inject_event(f->regs, CXL_LOG_DC, &record));
	g_assert_false(device_regs_inject_event(f->regs, CXL_N_LOGS, &record));
	g_assert_false(device_regs_inject_event(f->regs, UINT_MAX, &record));
}

/* ---- reading and clearing ---- */

static void test_more_only_when_more(void)
{
	g_autoptr(Fixture) f = fixture_new_unstarted();
	unsigned total = 511 + 3; /* 511 fit into 64 KiB */

	f->config.log_depth[CXL_LOG_DC] = 1000;
	fixture_start(f);
	for (unsigned i = 0; i < total; i++)
		post(f, 1 + i, false);
	g_assert_cmpuint(get_records(f, CXL_LOG_DC), ==, 511);
	g_assert_cmpuint(f->out[0], ==, CXL_EVENTS_MORE);
	g_assert_cmpuint(f->dc.n_read, ==, 511);
	/* the same again: only cleared records go, and only the first reading is told */
	g_assert_cmpuint(get_records(f, CXL_LOG_DC), ==, 511);
	g_assert_cmpuint(f->dc.n_read, ==, 511);
	assert_rc(clear_first(f, CXL_LOG_DC, 255), CXL_RC_SUCCESS);
	g_assert_cmpuint(f->dc.n_cleared, ==, 255);
	g_assert_cmpuint(f->dc.cleared[0], ==, 1);
	g_assert_cmpuint(f->dc.cleared[254], ==, 255);
	g_assert_cmpuint(get_records(f, CXL_LOG_DC), ==, total - 255);
	g_assert_cmpuint(f->out[0], ==, 0);
	g_assert_cmpuint(f->dc.n_read, ==, total);
	g_assert_cmpuint(handle_at(f, 0), ==, 256);
}

static void test_clear_refusals(void)
{
	g_autoptr(Fixture) f = fixture_new();
	uint16_t h[4];
	uint8_t in[10] = { 0 };

	for (unsigned i = 0; i < 4; i++)
		inject(f, CXL_LOG_INFO, (uint8_t)i);
	g_assert_cmpuint(get_records(f, CXL_LOG_INFO), ==, 4);
	for (unsigned i = 0; i < 4; i++)
		h[i] = handle_at(f, i);

	/* an older record would stay */
	assert_rc(clear_handles(f, 0, (uint16_t[]){ h[1] }, 1), CXL_RC_INVALID_HANDLE);
	assert_rc(clear_handles(f, 0, (uint16_t[]){ h[1], h[0] }, 2), CXL_RC_INVALID_HANDLE);
	assert_rc(clear_handles(f, 0, (uint16_t[]){ h[0], h[2] }, 2), CXL_RC_INVALID_HANDLE);
	/* twice, unknown, zero, too many */
	assert_rc(clear_handles(f, 0, (uint16_t[]){ h[0], h[0] }, 2), CXL_RC_INVALID_HANDLE);
	assert_rc(clear_handles(f, 0, (uint16_t[]){ 0xffff }, 1), CXL_RC_INVALID_HANDLE);
	assert_rc(clear_handles(f, 0, (uint16_t[]){ 0 }, 1), CXL_RC_INVALID_HANDLE);
	assert_rc(clear_handles(f, 0, (uint16_t[]){ h[0], h[1], h[2], h[3], 9 }, 5),
		  CXL_RC_INVALID_HANDLE);
	/* another log's */
	assert_rc(clear_handles(f, 1, h, 1), CXL_RC_INVALID_HANDLE);
	assert_rc(clear_handles(f, 5, h, 1), CXL_RC_INVALID_INPUT);
	assert_rc(run(f, 0x0100, "\5", 1), CXL_RC_INVALID_INPUT);
	assert_rc(run(f, 0x0100, "\xff", 1), CXL_RC_INVALID_INPUT);
	/* lengths */
	in[2] = 2;
	assert_rc(run(f, 0x0101, in, 5), CXL_RC_INVALID_PAYLOAD_LENGTH);
	assert_rc(run(f, 0x0101, in, 6), CXL_RC_INVALID_PAYLOAD_LENGTH);
	assert_rc(run(f, 0x0101, in, 9), CXL_RC_INVALID_PAYLOAD_LENGTH);
	assert_rc(run(f, 0x0100, in, 0), CXL_RC_INVALID_PAYLOAD_LENGTH);
	assert_rc(run(f, 0x0100, in, 2), CXL_RC_INVALID_PAYLOAD_LENGTH);

	/* nothing of this changed anything */
	g_assert_cmpuint(get_records(f, CXL_LOG_INFO), ==, 4);
	assert_rc(clear_handles(f, 0, h, 0), CXL_RC_SUCCESS);
	g_assert_cmpuint(get_records(f, CXL_LOG_INFO), ==, 4);
	assert_rc(clear_handles(f, 0, h, 4), CXL_RC_SUCCESS);
	g_assert_cmpuint(get_records(f, CXL_LOG_INFO), ==, 0);
	g_assert_cmphex(event_status(f), ==, 0);
	g_assert_cmpuint(f->dc.n_cleared, ==, 0);
}

static void test_overflow(void)
{
	g_autoptr(Fixture) f = fixture_new_unstarted();
	uint8_t clock[8];

	f->config.log_depth[CXL_LOG_FAILURE] = 3;
	fixture_start(f);
	le64_store(clock, 1000);
	assert_rc(run(f, 0x0301, clock, 8), CXL_RC_SUCCESS);
	for (unsigned i = 0; i < 3; i++)
		g_assert_true(inject(f, CXL_LOG_FAILURE, (uint8_t)i));
	f->now_us += 1;
	g_assert_false(inject(f, CXL_LOG_FAILURE, 3));
	f->now_us += 1;
	g_assert_false(inject(f, CXL_LOG_FAILURE, 4));
	for (unsigned round = 0; round < 2; round++) { /* reading does not end it */
		g_assert_cmpuint(get_records(f, CXL_LOG_FAILURE), ==, 3);
		g_assert_cmphex(f->out[0], ==, CXL_EVENTS_OVERFLOW);
		g_assert_cmpuint(le16_load(f->out + 2), ==, 2);
		g_assert_cmpuint(le64_load(f->out + 4), ==, 2000);
		g_assert_cmpuint(le64_load(f->out + 12), ==, 3000);
		g_assert_cmpuint(record_at(f, 2)->data[0], ==, 2);
	}
	assert_rc(clear_first(f, CXL_LOG_FAILURE, 1), CXL_RC_SUCCESS);
	g_assert_cmpuint(get_records(f, CXL_LOG_FAILURE), ==, 2);
	g_assert_cmphex(f->out[0], ==, 0);
	g_assert_cmpuint(le16_load(f->out + 2), ==, 0);
	g_assert_cmpuint(le64_load(f->out + 4), ==, 0);
	g_assert_true(inject(f, CXL_LOG_FAILURE, 5));
	g_assert_false(inject(f, CXL_LOG_FAILURE, 6));

	assert_rc(clear_all(f, CXL_LOG_FAILURE), CXL_RC_SUCCESS);
	g_assert_cmpuint(get_records(f, CXL_LOG_FAILURE), ==, 0);
	g_assert_cmphex(f->out[0], ==, 0);
	g_assert_cmphex(event_status(f), ==, 0);

	/* the count stays at its highest */
	for (unsigned i = 0; i < 70000; i++)
		inject(f, CXL_LOG_FAILURE, 0);
	g_assert_cmpuint(get_records(f, CXL_LOG_FAILURE), ==, 3);
	g_assert_cmpuint(le16_load(f->out + 2), ==, 0xffff);
}

static void post_again(DcDevice *dc)
{
	dc->on_cleared = NULL;
	post(dc->user, 1000, false);
}

static void test_clear_all(void)
{
	g_autoptr(Fixture) f = fixture_new();

	for (unsigned i = 0; i < 5; i++)
		post(f, 1 + i, false);
	g_assert_cmpuint(get_records(f, CXL_LOG_DC), ==, 5);
	post(f, 6, false); /* never read, cleared all the same */
	/* what the core posts in answer to a clear is new and stays */
	f->dc.user = f;
	f->dc.on_cleared = post_again;
	assert_rc(clear_all(f, CXL_LOG_DC), CXL_RC_SUCCESS);
	g_assert_cmpuint(f->dc.n_cleared, ==, 6);
	g_assert_cmpuint(get_records(f, CXL_LOG_DC), ==, 1);
	g_assert_cmpuint(f->dc.read[5], ==, 1000);

	f->dc.on_cleared = post_again;
	assert_rc(clear_first(f, CXL_LOG_DC, 1), CXL_RC_SUCCESS);
	g_assert_cmpuint(get_records(f, CXL_LOG_DC), ==, 1);
	assert_rc(clear_all(f, 5), CXL_RC_INVALID_INPUT);
}

/* ---- room ---- */

static void test_reservation(void)
{
	g_autoptr(Fixture) f = fixture_new_unstarted();

	f->config.log_depth[CXL_LOG_DC] = 10;
	fixture_start(f);
	g_assert_false(device_regs_dc_log_reserve(f->regs, 11));
	g_assert_false(device_regs_dc_log_reserve(f->regs, UINT32_MAX));
	g_assert_true(device_regs_dc_log_reserve(f->regs, 8));
	g_assert_false(device_regs_dc_log_reserve(f->regs, 3));
	post(f, 1, false); /* one more of its own */
	g_assert_false(device_regs_dc_log_reserve(f->regs, 2));
	g_assert_true(device_regs_dc_log_reserve(f->regs, 1));
	device_regs_dc_log_unreserve(f->regs, 9);
	g_assert_false(device_regs_dc_log_reserve(f->regs, 10));
	g_assert_true(device_regs_dc_log_reserve(f->regs, 9));
	for (unsigned i = 0; i < 9; i++)
		device_regs_dc_log_post(f->regs, &(DcEvent){ .cookie = 2, .more = i < 8 });
	g_assert_false(device_regs_dc_log_reserve(f->regs, 1));
	g_assert_cmpuint(get_records(f, CXL_LOG_DC), ==, 10);
	g_assert_cmphex(f->out[0], ==, 0);
	assert_rc(clear_first(f, CXL_LOG_DC, 4), CXL_RC_SUCCESS);
	g_assert_true(device_regs_dc_log_reserve(f->regs, 4));
	g_assert_false(device_regs_dc_log_reserve(f->regs, 1));
}

static void test_withdraw(void)
{
	g_autoptr(Fixture) f = fixture_new_unstarted();

	f->config.log_depth[CXL_LOG_DC] = 8;
	fixture_start(f);
	for (unsigned i = 0; i < 3; i++)
		post(f, 77, i < 2);
	g_assert_cmpuint(get_records(f, CXL_LOG_DC), ==, 3);
	for (unsigned i = 0; i < 2; i++)
		post(f, 77, i == 0); /* a second chain, not read yet */
	post(f, 78, false);
	post(f, 79, false);
	device_regs_dc_log_withdraw(f->regs, 12345);
	device_regs_dc_log_withdraw(f->regs, 77);
	g_assert_true(device_regs_dc_log_reserve(f->regs, 3));
	device_regs_dc_log_unreserve(f->regs, 3);
	g_assert_cmpuint(get_records(f, CXL_LOG_DC), ==, 5);
	g_assert_cmpuint(f->dc.read[2], ==, 77);
	g_assert_cmpuint(f->dc.read[3], ==, 78);
	g_assert_cmpuint(f->dc.read[4], ==, 79);
	/* read by now, so it stays */
	device_regs_dc_log_withdraw(f->regs, 78);
	g_assert_cmpuint(get_records(f, CXL_LOG_DC), ==, 5);
	assert_rc(clear_first(f, CXL_LOG_DC, 5), CXL_RC_SUCCESS);
	g_assert_cmpuint(f->dc.n_cleared, ==, 5); /* a withdrawn record was not cleared */

	/* the last ones, then all */
	post(f, 80, false);
	post(f, 81, false);
	device_regs_dc_log_withdraw(f->regs, 81);
	device_regs_dc_log_withdraw(f->regs, 80);
	g_assert_cmphex(event_status(f), ==, 0);
	post(f, 82, false);
	g_assert_cmpuint(get_records(f, CXL_LOG_DC), ==, 1);
}

/* A chain that the host has read in part keeps its end: the next chain must not pass for it. */
static void test_withdraw_begun(void)
{
	g_autoptr(Fixture) f = fixture_new_unstarted();

	f->config.payload_log2 = 9; /* three records at a time */
	fixture_start(f);
	for (unsigned i = 0; i < 5; i++)
		post(f, 90, i < 4);
	for (unsigned i = 0; i < 2; i++)
		post(f, 91, i < 1);
	g_assert_cmpuint(get_records(f, CXL_LOG_DC), ==, 3);
	device_regs_dc_log_withdraw(f->regs, 90);
	device_regs_dc_log_withdraw(f->regs, 91);
	for (unsigned i = 0; i < 2; i++)
		post(f, 92, i < 1);
	assert_rc(clear_first(f, CXL_LOG_DC, 3), CXL_RC_SUCCESS);
	g_assert_cmpuint(get_records(f, CXL_LOG_DC), ==, 3);
	g_assert_cmpuint(record_at(f, 0)->data[5], ==, 1);
	g_assert_cmpuint(record_at(f, 1)->data[5], ==, 0);
	g_assert_cmpuint(f->dc.read[4], ==, 90);
	g_assert_cmpuint(f->dc.read[5], ==, 92);
	assert_rc(clear_first(f, CXL_LOG_DC, 2), CXL_RC_SUCCESS);
	g_assert_cmpuint(get_records(f, CXL_LOG_DC), ==, 2);
	assert_rc(clear_first(f, CXL_LOG_DC, 2), CXL_RC_SUCCESS);
	g_assert_true(device_regs_dc_log_reserve(f->regs, 4096));
}

/* Against a plain array: any order of posts, reads, clears and withdrawals. */
static void test_against_model(void)
{
	enum {
		DEPTH = 40
	};
	struct {
		uint64_t cookie;
		uint8_t tell;
		bool was_read;
	} model[DEPTH];
	unsigned n_model = 0, n_reserved = 0;
	g_autoptr(EventLog) log = event_log_new(DEPTH);
	uint8_t out[0x20 + 7 * 0x80];

	for (unsigned step = 0; step < 200000; step++) {
		uint64_t cookie = 1 + (uint64_t)g_test_rand_int_range(0, 6);

		switch (g_test_rand_int_range(0, 6)) {
		case 0:
			if (event_log_reserve(log, 2))
				n_reserved += 2;
			else
				g_assert_cmpuint(n_model + n_reserved + 2, >, DEPTH);
			break;
		case 1:
		case 2: {
			CxlEventRecord record = make_record((uint8_t)step);
			bool reserved = n_reserved > 0;

			if (event_log_post(log, &record, cookie, reserved, step)) {
				model[n_model].cookie = cookie;
				model[n_model].tell = (uint8_t)step;
				model[n_model++].was_read = false;
				n_reserved -= reserved;
			} else {
				g_assert_cmpuint(n_model + n_reserved, ==, DEPTH);
			}
			break;
		}
		case 3: {
			unsigned n = 0;

			for (unsigned i = 0; i < n_model; i++)
				if (model[i].was_read || model[i].cookie != cookie)
					model[n++] = model[i];
			g_assert_cmpuint(event_log_withdraw(log, cookie), ==, n_model - n);
			n_model = n;
			break;
		}
		default: {
			le16 handles[7];
			unsigned n, n_clear;

			event_log_read(log, out, sizeof(out), NULL, NULL);
			n = le16_load(out + 0x14);
			g_assert_cmpuint(n, ==, MIN(n_model, 7));
			g_assert_cmpuint(!!(out[0] & CXL_EVENTS_MORE), ==, n_model > 7);
			for (unsigned i = 0; i < n; i++) {
				const CxlEventRecord *record =
					(const CxlEventRecord *)(out + 0x20) + i;

				g_assert_cmpuint(record->data[0], ==, model[i].tell);
				model[i].was_read = true;
				handles[i] = record->header.handle;
			}
			n_clear = (unsigned)g_test_rand_int_range(0, (int)n + 1);
			g_assert_true(event_log_clear(log, handles, (uint8_t)n_clear, NULL, NULL));
			n_model -= n_clear;
			memmove(model, model + n_clear, n_model * sizeof(model[0]));
			break;
		}
		}
		g_assert_cmpuint(event_log_n_records(log), ==, n_model);
	}
}

/* 65,535 handles for 65,535 records: every one taken once, and the one freed is found again. */
static void test_handles_wrap(void)
{
	g_autoptr(EventLog) log = event_log_new(EVENT_LOG_MAX_DEPTH);
	g_autofree uint8_t *seen = g_malloc0(65536);
	g_autofree uint8_t *out = g_malloc(0x20 + 0x80);
	CxlEventRecord record = make_record(0);
	uint16_t oldest;

	for (unsigned i = 0; i < EVENT_LOG_MAX_DEPTH; i++)
		g_assert_true(event_log_post(log, &record, 0, false, 0));
	g_assert_false(event_log_post(log, &record, 0, false, 0));
	for (unsigned i = 0; i < EVENT_LOG_MAX_DEPTH; i++) {
		le16 handle;

		event_log_read(log, out, 0x20 + 0x80, NULL, NULL);
		handle = ((const CxlEventRecord *)(out + 0x20))->header.handle;
		g_assert_cmpuint(le16_get(handle), !=, 0);
		g_assert_cmpuint(seen[le16_get(handle)]++, ==, 0);
		g_assert_true(event_log_clear(log, &handle, 1, NULL, NULL));
	}

	/* a live record's handle is passed over, however often the rest goes round */
	g_assert_true(event_log_post(log, &record, 0, false, 0));
	event_log_read(log, out, 0x20 + 0x80, NULL, NULL);
	oldest = le16_get(((const CxlEventRecord *)(out + 0x20))->header.handle);
	for (unsigned i = 0; i < 3 * 65536; i++) {
		g_assert_true(event_log_post(log, &record, 1 + i, false, 0));
		g_assert_cmpuint(event_log_withdraw(log, 1 + i), ==, 1);
	}
	g_assert_true(event_log_post(log, &record, 0, false, 0));
	event_log_read(log, out, 0x20 + 0x80, NULL, NULL);
	g_assert_true(event_log_clear(log, &((const CxlEventRecord *)(out + 0x20))->header.handle,
				      1, NULL, NULL));
	event_log_read(log, out, 0x20 + 0x80, NULL, NULL);
	g_assert_cmpuint(le16_get(((const CxlEventRecord *)(out + 0x20))->header.handle), !=,
			 oldest);
}

/* ---- interrupts ---- */

static void test_interrupts(void)
{
	g_autoptr(Fixture) f = fixture_new();
	unsigned *events = &f->n_irqs[DEVICE_VECTOR_EVENTS];
	unsigned *dc = &f->n_irqs[DEVICE_VECTOR_DC];

	inject(f, CXL_LOG_FATAL, 0);
	post(f, 1, false);
	g_assert_cmpuint(*events + *dc, ==, 0);
	set_policy(f, CXL_INT_MODE_MSI);
	inject(f, CXL_LOG_FATAL, 0);
	g_assert_cmpuint(*events, ==, 1);
	inject(f, CXL_LOG_INFO, 0);
	g_assert_cmpuint(*events, ==, 2);

	/* one for a chain; one for what comes while older records wait to be cleared */
	for (unsigned i = 0; i < 5; i++)
		post(f, 2, i < 4);
	g_assert_cmpuint(*dc, ==, 1);
	g_assert_cmpuint(get_records(f, CXL_LOG_DC), ==, 6);
	post(f, 3, false);
	g_assert_cmpuint(*dc, ==, 2);
	g_assert_cmpuint(f->n_irqs[DEVICE_VECTOR_MAILBOX], ==, 0);

	set_policy(f, CXL_INT_MODE_NONE);
	post(f, 4, false);
	inject(f, CXL_LOG_FATAL, 0);
	g_assert_cmpuint(*dc, ==, 2);
	g_assert_cmpuint(*events, ==, 2);

	/* a lost record wakes nobody: there is nothing new to read */
	set_policy(f, CXL_INT_MODE_MSI);
	while (inject(f, CXL_LOG_WARNING, 0))
		;
	g_assert_cmpuint(*events, ==, 2 + 64);
}

static void test_policy(void)
{
	g_autoptr(Fixture) f = fixture_new();
	uint8_t in[6] = { 1, 0, 1, 0, 1 };

	assert_rc(run(f, 0x0102, NULL, 0), CXL_RC_SUCCESS);
	assert_out(f, 0x10, 0x10, 0x10, 0x10, 0x20);
	assert_rc(run(f, 0x0103, in, 5), CXL_RC_SUCCESS);
	assert_rc(run(f, 0x0102, NULL, 0), CXL_RC_SUCCESS);
	assert_out(f, 0x11, 0x10, 0x11, 0x10, 0x21);
	g_assert_true(f->dc.events_enabled);

	/* four bytes leave the DC log as it was */
	assert_rc(run(f, 0x0103, "\1\1\1\1", 4), CXL_RC_SUCCESS);
	assert_rc(run(f, 0x0102, NULL, 0), CXL_RC_SUCCESS);
	assert_out(f, 0x11, 0x11, 0x11, 0x11, 0x21);
	g_assert_true(f->dc.events_enabled);

	/* firmware interrupts and the reserved mode: nothing changes */
	for (unsigned log = 0; log < 5; log++)
		for (uint8_t mode = 2; mode <= 3; mode++) {
			uint8_t bad[5] = { 0 };

			bad[log] = mode;
			assert_rc(run(f, 0x0103, bad, 5), CXL_RC_INVALID_INPUT);
			assert_rc(run(f, 0x0102, NULL, 0), CXL_RC_SUCCESS);
			assert_out(f, 0x11, 0x11, 0x11, 0x11, 0x21);
		}
	assert_rc(run(f, 0x0103, in, 3), CXL_RC_INVALID_PAYLOAD_LENGTH);
	assert_rc(run(f, 0x0103, in, 6), CXL_RC_INVALID_PAYLOAD_LENGTH);
	assert_rc(run(f, 0x0102, in, 1), CXL_RC_INVALID_PAYLOAD_LENGTH);
	g_assert_true(f->dc.events_enabled);

	/* the vector is the device's to choose */
	assert_rc(run(f, 0x0103, "\xf1\xf1\xf1\xf1\xf0", 5), CXL_RC_SUCCESS);
	assert_rc(run(f, 0x0102, NULL, 0), CXL_RC_SUCCESS);
	assert_out(f, 0x11, 0x11, 0x11, 0x11, 0x20);
	g_assert_false(f->dc.events_enabled);
}

static void test_resets(void)
{
	static const struct {
		DeviceReset kind;
		bool keeps_policy, keeps_dc, keeps_info, keeps_clock;
	} cases[] = {
		{ DEVICE_RESET_FLR, true, true, true, true },
		{ DEVICE_RESET_CONVENTIONAL, false, false, true, true },
		{ DEVICE_RESET_NEW_SESSION, false, false, true, false },
		{ DEVICE_RESET_FORGET, false, false, false, false },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(Fixture) f = fixture_new();
		uint8_t clock[8];

		le64_store(clock, 5);
		assert_rc(run(f, 0x0301, clock, 8), CXL_RC_SUCCESS);
		set_policy(f, CXL_INT_MODE_MSI);
		inject(f, CXL_LOG_INFO, 0);
		post(f, 5, false);
		g_assert_cmpuint(get_records(f, CXL_LOG_DC), ==, 1);
		post(f, 6, false);
		device_regs_reset(f->regs, cases[i].kind);
		g_assert_cmpuint(f->dc.n_cleared, ==, cases[i].keeps_dc ? 0 : 2);
		g_assert_cmpint(f->dc.events_enabled, ==, cases[i].keeps_policy);
		g_assert_cmphex(event_status(f), ==,
				(cases[i].keeps_dc ? 0x10u : 0) | (cases[i].keeps_info ? 1u : 0));
		assert_rc(run(f, 0x0102, NULL, 0), CXL_RC_SUCCESS);
		g_assert_cmphex(f->out[0], ==, cases[i].keeps_policy ? 0x11 : 0x10);
		g_assert_cmphex(f->out[4], ==, cases[i].keeps_policy ? 0x21 : 0x20);
		assert_rc(run(f, 0x0300, NULL, 0), CXL_RC_SUCCESS);
		g_assert_cmpuint(le64_load(f->out), ==, cases[i].keeps_clock ? 5 : 0);
		/* all room is back */
		g_assert_true(device_regs_dc_log_reserve(f->regs, cases[i].keeps_dc ? 4094 : 4096));
	}
}

/* Whoever traces sees each record come, be read each time, and go; nobody else pays for it. */
static void test_traced(void)
{
	g_autoptr(Fixture) f = fixture_new();
	unsigned n[DEVICE_TRACE_LOST + 1] = { 0 };

	post(f, 9, false);
	n[DEVICE_TRACE_POSTED]++;
	g_assert_cmpmem(f->n_record_traces, sizeof(n), n, sizeof(n));
	g_assert_cmpuint(f->traced_log, ==, CXL_LOG_DC);
	g_assert_cmpuint(le16_get(f->traced_record.header.handle), ==, 1);
	get_records(f, CXL_LOG_DC);
	get_records(f, CXL_LOG_DC);
	n[DEVICE_TRACE_READ] += 2;
	g_assert_cmpmem(f->n_record_traces, sizeof(n), n, sizeof(n));
	/* The command is traced too, with what it was given and what it gave. */
	g_assert_cmphex(f->traced_opcode, ==, 0x0100);
	g_assert_cmpmem(f->traced_in, f->traced_in_len, "\4", 1);
	g_assert_cmpmem(f->traced_out, f->traced_out_len, f->out, f->out_len);
	assert_rc(clear_first(f, CXL_LOG_DC, 1), CXL_RC_SUCCESS);
	n[DEVICE_TRACE_READ]++; /* it looks for the handle */
	n[DEVICE_TRACE_CLEARED]++;
	g_assert_cmpmem(f->n_record_traces, sizeof(n), n, sizeof(n));
	post(f, 10, false);
	device_regs_dc_log_withdraw(f->regs, 10);
	n[DEVICE_TRACE_POSTED]++;
	n[DEVICE_TRACE_WITHDRAWN]++;
	for (unsigned i = 0; i < 65; i++)
		inject(f, CXL_LOG_INFO, 1);
	n[DEVICE_TRACE_POSTED] += 64;
	n[DEVICE_TRACE_LOST]++;
	assert_rc(clear_all(f, CXL_LOG_INFO), CXL_RC_SUCCESS);
	n[DEVICE_TRACE_CLEARED] += 64;
	g_assert_cmpmem(f->n_record_traces, sizeof(n), n, sizeof(n));
	g_assert_cmpuint(f->traced_log, ==, CXL_LOG_INFO);

	device_regs_set_tracing(f->regs, false);
	f->n_traces = 0;
	post(f, 11, false);
	get_records(f, CXL_LOG_DC);
	g_assert_cmpmem(f->n_record_traces, sizeof(n), n, sizeof(n));
	g_assert_cmpuint(f->n_traces, ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/device/events/dc-record-bytes", test_dc_record_bytes);
	g_test_add_func("/unit/device/events/types", test_types);
	g_test_add_func("/unit/device/events/injected-record", test_injected_record);
	g_test_add_func("/unit/device/events/more-only-when-more", test_more_only_when_more);
	g_test_add_func("/unit/device/events/clear-refusals", test_clear_refusals);
	g_test_add_func("/unit/device/events/overflow", test_overflow);
	g_test_add_func("/unit/device/events/clear-all", test_clear_all);
	g_test_add_func("/unit/device/events/reservation", test_reservation);
	g_test_add_func("/unit/device/events/withdraw", test_withdraw);
	g_test_add_func("/unit/device/events/withdraw-begun", test_withdraw_begun);
	g_test_add_func("/unit/device/events/against-model", test_against_model);
	g_test_add_func("/unit/device/events/handles-wrap", test_handles_wrap);
	g_test_add_func("/unit/device/events/interrupts", test_interrupts);
	g_test_add_func("/unit/device/events/policy", test_policy);
	g_test_add_func("/unit/device/events/resets", test_resets);
	g_test_add_func("/unit/device/events/traced", test_traced);
	return g_test_run();
}

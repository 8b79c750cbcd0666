/* SPDX-License-Identifier: BSD-3-Clause */
/* A pool that was stopped comes back from its rows as it was, and what is due is done. */
#include "restore-fixture.h"

static uint64_t request_release(Fixture *fix, unsigned first, unsigned n, bool forced)
{
	OfferExtent extent = { first * BLOCK, n * BLOCK };
	ReleaseRequest request = {
		.region = NORMAL,
		.extents = &extent,
		.n_extents = 1,
		.forced = forced,
		.timeout_us = forced ? 0 : 600 * G_USEC_PER_SEC,
	};
	GError *error = NULL;
	uint64_t id;

	capacity_release(fix->cap, fix->dev[0].dc, &request, &id, &error);
	g_assert_no_error(error);
	return id;
}

static char *dump(Fixture *fix)
{
	g_autoptr(RowRecord) rows = capacity_dump(fix->cap);

	return rows_show(rows);
}

static CapacityCounters bytes_of(Fixture *fix, unsigned device)
{
	CapacityCounters counters;

	dc_device_counters(fix->dev[device].dc, &counters);
	return counters;
}

static uint64_t first_serial(Fixture *fix)
{
	return fix->dev[0].dc->host.serial;
}

/* ---- all of it, at once ---- */

static void test_all(void)
{
	World world;
	Fixture *fix;
	Fake *fake;
	ReleaseInfo info;
	CapacityCounters before, after;
	g_autofree char *text = NULL, *again = NULL;
	uint64_t host, request;
	unsigned n_prepares;

	world_init(&world, NULL);
	fix = world.fix;
	fake = &fix->dev[0];
	host = first_serial(fix);
	fix_backend(fix, "b", 1, 4 * BLOCK, NULL);
	fix_backend(fix, "c", 2, 2 * BLOCK, NULL);
	fix_accept_blocks(fix, 0, NORMAL, 1, 0, 4);
	fix_accept_blocks(fix, 0, NORMAL, 0, 20, 2);
	fix_offer_blocks(fix, 1, NORMAL, 2, 0, 2);
	request = request_release(fix, 0, 1, false);
	fake->revoke = HOLD;
	request_release(fix, 22, 1, true);
	before = bytes_of(fix, 0);
	g_assert_cmpuint(before.quarantined, ==, BLOCK);
	n_prepares = fake->n_prepares;
	text = dump(fix);
	row_table_assert_is(&world.table, fix->cap);

	world_restart(&world);
	again = dump(fix);
	g_assert_cmpstr(text, ==, again);
	after = bytes_of(fix, 0);
	g_assert_cmpmem(&before, sizeof(before), &after, sizeof(after));
	g_assert_cmpuint(dc_device_n_extents(fake->dc), ==, 5);

	/* The host is back: what it holds it keeps, what it was to let go of it is asked again. */
	fake->revoke = ANSWER;
	world_resume(&world, 0, host);
	g_assert_cmpuint(fake->n_prepares, ==, n_prepares);
	g_assert_cmpuint(fake_reachable_len(fake), ==, 5 * BLOCK);
	g_assert_cmpuint(fix->n_notices[NOTICE_CONTENTS_LOST], ==, 0);
	/* What was taken by force it is told again: its log has gone with the daemon. */
	g_assert_cmpuint(fake->events->len, ==, 1);
	fake_clear_log(fake);
	/* Its other device too; the offer is made again and can be accepted. */
	world_resume(&world, 1, host + 1);
	g_assert_cmpuint(fix->dev[1].events->len, ==, 2);
	g_assert_cmpint(fix_respond(fix, 1, (DcRange[]){ block_range(NORMAL, 0, 1) }, 1), ==,
			CXL_RC_SUCCESS);
	/* The request is put again, and answered. */
	g_assert_true(dc_device_release_info(fake->dc, request, &info));
	g_assert_cmpuint(info.len, ==, BLOCK);
	fix_advance(fix, 2 * G_USEC_PER_SEC);
	g_assert_cmpuint(fake->events->len, ==, 1);
	g_assert_cmpint(fix_release(fix, 0, (DcRange[]){ block_range(NORMAL, 0, 1) }, 1), ==,
			CXL_RC_SUCCESS);
	g_assert_true(dc_device_release_info(fake->dc, request, &info));
	g_assert_cmpint(info.state, ==, RELEASE_DONE);
	row_table_assert_is(&world.table, fix->cap);
	world_restart(&world);
	world_free(&world);
}

/* Nothing of a request's time is lost by a restart. */
static void test_request_timeout(void)
{
	World world;
	ReleaseInfo info;
	uint64_t request;

	world_init(&world, NULL);
	fix_accept_blocks(world.fix, 0, NORMAL, 0, 0, 1);
	request = request_release(world.fix, 0, 1, false);
	fix_advance(world.fix, 400 * G_USEC_PER_SEC);
	world_restart(&world);
	fix_advance(world.fix, 199 * G_USEC_PER_SEC);
	g_assert_true(dc_device_release_info(world.fix->dev[0].dc, request, &info));
	g_assert_cmpint(info.state, !=, RELEASE_TIMED_OUT);
	fix_advance(world.fix, G_USEC_PER_SEC);
	g_assert_true(dc_device_release_info(world.fix->dev[0].dc, request, &info));
	g_assert_cmpint(info.state, ==, RELEASE_TIMED_OUT);
	world_free(&world);
}

/* ---- stopped at each step ---- */

typedef enum StopAt {
	STOP_DIRTY,
	STOP_PREPARE,
	STOP_ACCEPT,
	STOP_EXPOSE,
	STOP_RELEASE,
	STOP_REVOKE,
	STOP_WIPE,
	STOP_OFFER,
	N_STOPS
} StopAt;

static void go_until(Fixture *fix, StopAt step)
{
	Fake *fake = &fix->dev[0];
	Answer answer = { 0 };
	DcRange range = block_range(NORMAL, 0, 1);

	fix->journal[ROW_REASON_DIRTY] = step == STOP_DIRTY ? HOLD : ANSWER;
	fix->journal[ROW_REASON_ACCEPT] = step == STOP_ACCEPT ? HOLD : ANSWER;
	fix->journal[ROW_REASON_RELEASE] = step == STOP_RELEASE ? HOLD : ANSWER;
	fix->journal[ROW_REASON_OFFER] = step == STOP_OFFER ? HOLD : ANSWER;
	fake->prepare = step == STOP_PREPARE ? HOLD : ANSWER;
	fake->expose = step == STOP_EXPOSE ? HOLD : ANSWER;
	fake->revoke = step == STOP_REVOKE ? HOLD : ANSWER;
	fix->hold_wipes = step == STOP_WIPE;
	fix_offer_blocks(fix, 0, NORMAL, 1, 0, 1);
	dc_device_add_response(fake->dc, &range, 1, false, on_answer, &answer);
	if (step == STOP_RELEASE || step == STOP_REVOKE || step == STOP_WIPE) {
		g_assert_cmpint(answer.rc, ==, CXL_RC_SUCCESS);
		answer.n = 0;
		dc_device_release_response(fake->dc, &range, 1, false, on_answer, &answer);
	}
	g_assert_true(answer.n == 0 || step == STOP_WIPE || step == STOP_OFFER);
}

/* A drain that was confirmed is asked for once more: that it was is not on record. */
static void test_stopped_at_each_step(void)
{
	static const struct {
		uint64_t reserved, accepted, draining; /* blocks */
	} expected[N_STOPS] = {
		[STOP_DIRTY] = { 1, 0, 0 },   [STOP_PREPARE] = { 1, 0, 0 },
		[STOP_ACCEPT] = { 1, 0, 0 },  [STOP_EXPOSE] = { 0, 1, 0 },
		[STOP_RELEASE] = { 0, 1, 0 }, [STOP_REVOKE] = { 0, 0, 1 },
		[STOP_WIPE] = { 0, 0, 1 },    [STOP_OFFER] = { 0, 0, 0 },
	};

	for (StopAt step = STOP_DIRTY; step < N_STOPS; step++) {
		World world;
		CapacityCounters bytes;
		uint64_t host;
		Fake *fake;

		world_init(&world, NULL);
		fake = &world.fix->dev[0];
		host = first_serial(world.fix);
		fix_backend(world.fix, "b", 1, BLOCK, NULL);
		go_until(world.fix, step);
		fake->prepare = fake->expose = fake->revoke = ANSWER;
		world.fix->hold_wipes = false;
		world_restart(&world);
		bytes = bytes_of(world.fix, 0);
		g_test_message("step %d", step);
		g_assert_cmpuint(bytes.reserved, ==, expected[step].reserved * BLOCK);
		g_assert_cmpuint(bytes.accepted, ==, expected[step].accepted * BLOCK);
		g_assert_cmpuint(bytes.draining, ==, expected[step].draining * BLOCK);
		/* What it holds that is not accepted is taken from it; what is, is mapped. */
		world_resume(&world, 0, host);
		g_assert_cmpuint(fake_reachable_len(fake), ==, expected[step].accepted * BLOCK);
		bytes = bytes_of(world.fix, 0);
		g_assert_cmpuint(bytes.draining, ==, 0);
		row_table_assert_is(&world.table, world.fix->cap);
		world_free(&world);
	}
}

/* ---- who may reach what ---- */

/* What a host that does not come back was to let go of waits for its end. */
static void test_drain_waits_for_host(void)
{
	World world;
	uint64_t host;
	Fixture *fix;

	world_init(&world, NULL);
	fix = world.fix;
	host = first_serial(fix);
	fix->dev[0].revoke = HOLD;
	fix_accept_blocks(fix, 0, NORMAL, 0, 0, 1);
	dc_device_release_response(fix->dev[0].dc, (DcRange[]){ block_range(NORMAL, 0, 1) }, 1,
				   false, on_answer, &(Answer){ 0 });
	world_restart(&world);
	fix->dev[0].revoke = ANSWER;
	g_assert_cmpuint(bytes_of(fix, 0).draining, ==, BLOCK);
	/* Another host's word is not enough. */
	g_array_set_size(fix->dev[0].reach, 0);
	fix_attach(fix, 0, NULL);
	g_assert_cmpuint(bytes_of(fix, 0).draining, ==, BLOCK);
	capacity_host_gone(fix->cap, host);
	g_assert_cmpuint(bytes_of(fix, 0).draining, ==, 0);
	world_free(&world);
}

/* Kept memory a stranger had stays closed over a restart, until the stranger is gone. */
static void test_quarantine_of_memory(void)
{
	BackendConfig keep = { .type = BACKEND_MEMFD, .on_release = ON_RELEASE_KEEP };
	World world;
	CapacityCounters bytes;
	Backend *backend;
	uint64_t host;

	world_init(&world, NULL);
	host = first_serial(world.fix);
	fix_backend(world.fix, "k", 1, BLOCK, &keep);
	fix_accept_blocks(world.fix, 0, NORMAL, 1, 0, 1);
	g_assert_cmpint(fix_release(world.fix, 0, (DcRange[]){ block_range(NORMAL, 0, 1) }, 1), ==,
			CXL_RC_SUCCESS);
	for (int i = 0; i < 2; i++) {
		backend = capacity_peek_backend(world.fix->cap, "k");
		backend_counters(backend, &bytes);
		g_assert_cmpuint(bytes.quarantined, ==, BLOCK);
		g_assert_false(backend_is_clean(backend));
		world_restart(&world);
	}
	capacity_host_gone(world.fix->cap, host);
	backend_counters(capacity_peek_backend(world.fix->cap, "k"), &bytes);
	g_assert_cmpuint(bytes.free, ==, BLOCK);
	world_restart(&world);
	backend_counters(capacity_peek_backend(world.fix->cap, "k"), &bytes);
	g_assert_cmpuint(bytes.free, ==, BLOCK);
	world_free(&world);
}

/* What a release asked to be wiped of kept memory is, even if others kept the rest busy till now.
 */
static void test_sanitize_is_remembered(void)
{
	BackendConfig keep = { .type = BACKEND_MEMFD, .on_release = ON_RELEASE_KEEP };
	FixtureConfig same_uid = { .host = { .same_uid = true } };
	uint8_t byte = 7;
	World world;
	MemFile *file;

	world_init(&world, &same_uid);
	fix_backend(world.fix, "k", 1, 2 * BLOCK, &keep);
	fix_accept_blocks(world.fix, 0, SMALL_BLOCKS, 1, 0, 2);
	file = backend_peek_file(capacity_peek_backend(world.fix->cap, "k"));
	g_assert_cmpint(mem_file_write(file, 0, &byte, 1), ==, 0);
	g_assert_cmpint(mem_file_write(file, BLOCK, &byte, 1), ==, 0);
	fix_release(world.fix, 0, (DcRange[]){ block_range(SMALL_BLOCKS, 0, 1) }, 1);
	world_restart(&world);
	capacity_host_gone(world.fix->cap, 1);
	dc_device_reset(world.fix->dev[0].dc, DC_RESET_FORGET);
	file = backend_peek_file(capacity_peek_backend(world.fix->cap, "k"));
	g_assert_cmpint(mem_file_read(file, 0, &byte, 1), ==, 0);
	g_assert_cmpuint(byte, ==, 0);
	world_free(&world);
}

/* ---- contents lost ---- */

static void test_contents_lost(void)
{
	World world;
	Fixture *fix;
	uint64_t host, incarnation, generation;
	Backend *backend;
	uint8_t byte = 7;
	ReleaseInfo info;

	world_init(&world, NULL);
	fix = world.fix;
	host = first_serial(fix);
	backend = fix_backend(fix, "b", 1, 2 * BLOCK, NULL);
	incarnation = backend_incarnation(backend);
	fix_accept_blocks(fix, 0, NORMAL, 1, 0, 2);
	fix_accept_blocks(fix, 0, NORMAL, 0, 20, 1);
	g_assert_cmpint(mem_file_write(backend_peek_file(backend), 0, &byte, 1), ==, 0);
	generation = dc_device_generation(fix->dev[0].dc);
	g_hash_table_remove_all(world.table.files);

	world_restart(&world);
	backend = capacity_peek_backend(fix->cap, "b");
	g_assert_cmpuint(fix->n_notices[NOTICE_CONTENTS_LOST], ==, 2);
	g_assert_cmpuint(fix->n_notices[NOTICE_FORCED], ==, 3);
	g_assert_cmpuint(backend_incarnation(backend), !=, incarnation);
	g_assert_cmpuint(dc_device_n_extents(fix->dev[0].dc), ==, 0);
	g_assert_cmpuint(dc_device_generation(fix->dev[0].dc), >, generation);
	g_assert_cmpuint(bytes_of(fix, 0).quarantined, ==, 3 * BLOCK);
	/* The host still reaches the old memory until it is back and lets go; it is never given
	 * zeros in its place. */
	world_resume(&world, 0, host);
	g_assert_cmpuint(fake_reachable_len(&fix->dev[0]), ==, 0);
	g_assert_cmpuint(fix->dev[0].events->len, ==, 3);
	g_assert_cmpint(g_array_index(fix->dev[0].events, DcEvent, 0).type, ==,
			DC_EVENT_FORCED_RELEASE);
	g_assert_true(dc_device_release_info(
		fix->dev[0].dc, g_array_index(fix->dev[0].events, DcEvent, 0).cookie, &info));
	g_assert_cmpint(info.state, ==, RELEASE_FORCED);
	g_assert_true(backend_is_clean(backend));
	row_table_assert_is(&world.table, fix->cap);
	fix_accept_blocks(fix, 0, NORMAL, 1, 40, 2);
	g_assert_cmpint(mem_file_read(backend_peek_file(backend), 0, &byte, 1), ==, 0);
	g_assert_cmpuint(byte, ==, 0);
	world_free(&world);
}

/* Nobody had written to it, so nothing is lost: zeros come in the place of zeros. */
static void test_clean_lost(void)
{
	BackendConfig config = { .type = BACKEND_MEMFD, .prealloc = true };
	FixtureConfig control_only = { .host = { .control_only = true } };
	World world;
	Backend *backend;

	world_init(&world, &control_only);
	fix_backend(world.fix, "b", 1, BLOCK, &config);
	fix_accept_blocks(world.fix, 0, NORMAL, 1, 0, 1);
	g_hash_table_remove_all(world.table.files);
	world_restart(&world);
	g_assert_cmpuint(world.fix->n_notices[NOTICE_CONTENTS_LOST], ==, 0);
	g_assert_cmpuint(dc_device_n_extents(world.fix->dev[0].dc), ==, 1);
	backend = capacity_peek_backend(world.fix->cap, "b");
	g_assert_cmpuint(mem_file_allocated_len(backend_peek_file(backend)), ==, BLOCK);
	row_table_assert_is(&world.table, world.fix->cap);
	g_assert_cmpuint(g_hash_table_size(world.table.files), ==, 1);
	world_restart(&world);
	world_free(&world);
}

/* The journal refuses even that: still nothing is given out, and it is told later. */
static void test_lost_and_journal_refuses(void)
{
	World world;
	GError *error = NULL;
	RowRecord *rows;

	world_init(&world, NULL);
	fix_accept_blocks(world.fix, 0, NORMAL, 0, 0, 1);
	g_hash_table_remove_all(world.table.files);
	rows = world_stop(&world);
	world.fix->cap = capacity_new(&world.fix->ops, world.fix);
	world.fix->journal[ROW_REASON_RELEASE] = REFUSE;
	g_assert_true(capacity_restore_begin(world.fix->cap, rows, &error));
	g_assert_true(world_add_devices(world.fix, &error));
	g_assert_true(capacity_restore_end(world.fix->cap, &error));
	row_record_unref(rows);
	g_assert_cmpuint(dc_device_n_extents(world.fix->dev[0].dc), ==, 0);
	g_assert_true(capacity_is_behind(world.fix->cap));
	fix_advance(world.fix, G_USEC_PER_SEC);
	g_assert_false(capacity_is_behind(world.fix->cap));
	row_table_assert_is(&world.table, world.fix->cap);
	world_free(&world);
}

/* ---- a static partition ---- */

static void test_static(void)
{
	BackendConfig config = { .name = "dev0.ram", .size = BLOCK };
	FixtureConfig no_host = { .no_host = true };
	World world;
	Fixture *fix;
	RowRecord *rows;
	GError *error = NULL;
	Backend *ram;
	uint8_t byte = 7;
	unsigned n_prepares;
	uint64_t host;

	world_init(&world, &no_host);
	fix = world.fix;
	ram = backend_new(&config, &error);
	g_assert_true(dc_device_add_static(fix->dev[0].dc, 0, ram, true, &error));
	host = fix_attach(fix, 0, NULL);
	g_assert_cmpuint(fake_reachable_len(&fix->dev[0]), ==, BLOCK);
	g_assert_cmpint(mem_file_write(backend_peek_file(ram), 0, &byte, 1), ==, 0);
	n_prepares = fix->dev[0].n_prepares;
	for (int lost = 0; lost < 2; lost++) {
		if (lost)
			g_hash_table_remove_all(world.table.files);
		rows = world_stop(&world);
		backend_free(ram);
		fix->cap = capacity_new(&fix->ops, fix);
		g_assert_true(capacity_restore_begin(fix->cap, rows, &error));
		ram = capacity_restore_take_static(fix->cap, capacity_restore_device(fix->cap, 0),
						   0);
		if (!ram)
			ram = capacity_restore_take_static(fix->cap,
							   capacity_restore_device(fix->cap, 1), 0);
		g_assert_nonnull(ram);
		g_assert_true(world_add_devices(fix, &error));
		g_assert_true(dc_device_add_static(fix->dev[0].dc, 0, ram, true, &error));
		g_assert_true(capacity_restore_end(fix->cap, &error));
		row_record_unref(rows);
		g_assert_cmpuint(fix->n_notices[NOTICE_CONTENTS_LOST], ==, lost);
		world_resume(&world, 0, host);
		g_assert_cmpuint(fix->dev[0].n_prepares, ==, n_prepares + (unsigned)lost);
		g_assert_cmpint(mem_file_read(backend_peek_file(ram), 0, &byte, 1), ==, 0);
		g_assert_cmpuint(byte, ==, lost ? 0 : 7);
		row_table_assert_is(&world.table, fix->cap);
	}
	/* Removing the device takes its rows along. */
	capacity_host_gone(fix->cap, host);
	fix_free(fix);
	g_assert_cmpuint(g_hash_table_size(world.table.rows), ==, 1); /* counters */
	row_table_clear(&world.table);
	backend_free(ram);
}

int main(int argc, char **argv)
{
	fixture_use_all();
	world_use_all();
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/capacity/restore/all", test_all);
	g_test_add_func("/unit/capacity/restore/request-timeout", test_request_timeout);
	g_test_add_func("/unit/capacity/restore/stopped-at-each-step", test_stopped_at_each_step);
	g_test_add_func("/unit/capacity/restore/drain-waits-for-host", test_drain_waits_for_host);
	g_test_add_func("/unit/capacity/restore/quarantine-of-memory", test_quarantine_of_memory);
	g_test_add_func("/unit/capacity/restore/sanitize", test_sanitize_is_remembered);
	g_test_add_func("/unit/capacity/restore/contents-lost", test_contents_lost);
	g_test_add_func("/unit/capacity/restore/clean-lost", test_clean_lost);
	g_test_add_func("/unit/capacity/restore/lost-and-refused", test_lost_and_journal_refuses);
	g_test_add_func("/unit/capacity/restore/static", test_static);
	return g_test_run();
}

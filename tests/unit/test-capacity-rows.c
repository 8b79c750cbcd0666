/* SPDX-License-Identifier: BSD-3-Clause */
/* Rows that cannot be: each is refused by name, and none crashes or half starts a pool. */
#include "restore-fixture.h"

#include <glib/gstdio.h>
#include <unistd.h>

/* A pool with a row of every kind. */
static void fill(World *world)
{
	BackendConfig keep = { .type = BACKEND_MEMFD, .on_release = ON_RELEASE_KEEP };
	FixtureConfig config = { .host = { .same_uid = true } };
	OfferExtent extent = { 0, BLOCK };
	ReleaseRequest request = { .region = NORMAL, .extents = &extent, .n_extents = 1 };
	Fixture *fix;

	world_init(world, &config);
	fix = world->fix;
	fix_backend(fix, "b", 1, 4 * BLOCK, NULL);
	fix_backend(fix, "c", 2, 2 * BLOCK, NULL);
	fix_backend(fix, "k", 3, 2 * BLOCK, &keep);
	fix_accept_blocks(fix, 0, NORMAL, 1, 0, 4);
	fix_accept_blocks(fix, 0, NORMAL, 0, 20, 2);
	fix_accept_blocks(fix, 0, SMALL_BLOCKS, 3, 0, 2);
	fix_release(fix, 0, (DcRange[]){ block_range(SMALL_BLOCKS, 0, 1) }, 1);
	fix_offer_blocks(fix, 1, NORMAL, 2, 0, 2);
	g_assert_true(capacity_release(fix->cap, fix->dev[0].dc, &request, NULL, NULL));
	fix->dev[0].revoke = HOLD;
	request.forced = true;
	extent.offset = 22 * BLOCK;
	g_assert_true(capacity_release(fix->cap, fix->dev[0].dc, &request, NULL, NULL));
	extent.offset = 4 * BLOCK;
	dc_device_release_response(fix->dev[0].dc, (DcRange[]){ block_range(NORMAL, 4, 1) }, 1,
				   false, on_answer, &(Answer){ 0 });
	row_table_assert_is(&world->table, fix->cap);
}

static RowChange *nth(RowRecord *rows, RowKind kind, unsigned n)
{
	for (guint i = 0; i < rows->changes->len; i++) {
		RowChange *row = &g_array_index(rows->changes, RowChange, i);

		if (row->kind == kind && n-- == 0)
			return row;
	}
	return NULL;
}

static RowChange *extent_in(RowRecord *rows, RowExtentState state)
{
	RowChange *row;

	for (unsigned i = 0; (row = nth(rows, ROW_EXTENT, i)); i++)
		if (row->extent.state == state)
			return row;
	g_assert_not_reached();
}

static RowChange *named(RowRecord *rows, const char *name)
{
	RowChange *row;

	for (unsigned i = 0; (row = nth(rows, ROW_BACKEND, i)); i++)
		if (strcmp(row->backend.name, name) == 0)
			return row;
	g_assert_not_reached();
}

static RowChange *offer_of(RowRecord *rows, const char *backend)
{
	RowChange *row;

	for (unsigned i = 0; (row = nth(rows, ROW_OFFER, i)); i++)
		if (g_strcmp0(row->offer.backend, backend) == 0)
			return row;
	g_assert_not_reached();
}

static RowChange *file_of(RowRecord *rows, const char *backend)
{
	RowChange *row;

	for (unsigned i = 0; (row = nth(rows, ROW_FILE, i)); i++)
		if (g_strcmp0(row->file.backend, backend) == 0)
			return row;
	g_assert_not_reached();
}

static RowChange *live_request(RowRecord *rows)
{
	const RowChange *range = nth(rows, ROW_REQUEST_RANGE, 0);
	RowChange *row;

	for (unsigned i = 0; (row = nth(rows, ROW_REQUEST, i)); i++)
		if (row->request.id == range->request_range.request)
			return row;
	g_assert_not_reached();
}

/* ROW must own nothing. */
static void without(RowRecord *rows, const RowChange *row)
{
	g_array_remove_index(rows->changes, (guint)(row - row_record_at(rows, 0)));
}

static void twice(RowRecord *rows, const RowChange *row)
{
	RowChange copy = *row;

	row_copy(rows, &copy);
}

/* clang-format off */
#define BREAKS(name, ...) \
	static void bad_##name(RowRecord *r) { __VA_ARGS__; }

BREAKS(op, nth(r, ROW_EXTENT, 0)->op = ROW_DELETE)
BREAKS(counters_twice, twice(r, nth(r, ROW_COUNTERS, 0)))
BREAKS(counters_gone, without(r, nth(r, ROW_COUNTERS, 0)))
BREAKS(counters_used_up, nth(r, ROW_COUNTERS, 0)->counters.next_id = UINT64_MAX)
BREAKS(counters_ids, nth(r, ROW_COUNTERS, 0)->counters.next_id = 2)
BREAKS(counters_maps, nth(r, ROW_COUNTERS, 0)->counters.next_map = 2)
BREAKS(counters_hosts, nth(r, ROW_COUNTERS, 0)->counters.last_serial = 1)
BREAKS(host_zero, nth(r, ROW_HOST, 0)->host.serial = 0)
BREAKS(host_twice, twice(r, nth(r, ROW_HOST, 0)))
BREAKS(backend_twice, twice(r, named(r, "b")))
BREAKS(backend_no_name, g_clear_pointer(&named(r, "b")->backend.name, g_free))
BREAKS(backend_utf8, named(r, "b")->backend.name[0] = (char)0xff)
BREAKS(backend_type, named(r, "b")->backend.type = (BackendType)9)
BREAKS(backend_size, named(r, "b")->backend.size = 0)
BREAKS(backend_huge, named(r, "b")->backend.size = UINT64_MAX)
BREAKS(backend_path, named(r, "b")->backend.path = g_strdup("/tmp/x"))
BREAKS(backend_no_path, named(r, "b")->backend.type = BACKEND_FILE)
BREAKS(backend_wipes, named(r, "b")->backend.read_only = true)
BREAKS(backend_device, named(r, "b")->backend.device = 999)
BREAKS(backend_static, named(r, "b")->backend.device = nth(r, ROW_DEVICE, 0)->device.id)
BREAKS(backend_file, named(r, "b")->backend.incarnation++)
BREAKS(backend_others_file, named(r, "b")->backend.incarnation = named(r, "c")->backend.incarnation)
BREAKS(backend_same_tag, named(r, "b")->backend.tag = named(r, "c")->backend.tag)
BREAKS(file_twice, twice(r, nth(r, ROW_FILE, 0)))
BREAKS(file_len, file_of(r, "b")->file.len += 4096)
BREAKS(file_owners, file_of(r, "b")->file.offer = 1)
BREAKS(file_stray, file_of(r, NULL)->file.backend = g_strdup("b");
	file_of(r, "b")->file.offer = 0)
BREAKS(file_descriptor, mem_file_unref(file_of(r, "b")->file.file);
	file_of(r, "b")->file.file = mem_file_ref(file_of(r, "c")->file.file))
BREAKS(file_untagged, file_of(r, NULL)->file.len += 4096)
BREAKS(holder_file, nth(r, ROW_HOLDER, 0)->holder.incarnation = 77)
BREAKS(holder_zero, nth(r, ROW_HOLDER, 0)->holder.serial = 0)
BREAKS(holder_twice, twice(r, nth(r, ROW_HOLDER, 0)))
BREAKS(wipe_file, nth(r, ROW_WIPE, 0)->wipe.incarnation = 77)
BREAKS(wipe_len, nth(r, ROW_WIPE, 0)->wipe.len = UINT64_MAX)
BREAKS(device_twice, twice(r, nth(r, ROW_DEVICE, 0)))
BREAKS(device_id, nth(r, ROW_DEVICE, 0)->device.id = nth(r, ROW_DEVICE, 1)->device.id)
BREAKS(device_region, nth(r, ROW_DEVICE, 0)->device.regions[0].len *= 2)
BREAKS(device_regions, nth(r, ROW_DEVICE, 0)->device.n_regions = 2)
BREAKS(device_static, nth(r, ROW_DEVICE, 0)->device.static_len = 0)
BREAKS(device_host, nth(r, ROW_DEVICE, 0)->device.host = 77)
BREAKS(offer_zero, offer_of(r, "b")->offer.id = 0)
BREAKS(offer_twice, twice(r, offer_of(r, "b")))
BREAKS(offer_device, offer_of(r, "b")->offer.device = 999)
BREAKS(offer_region, offer_of(r, "b")->offer.region = SHARED)
BREAKS(offer_no_region, offer_of(r, "b")->offer.region = 7)
BREAKS(offer_gone_backend, offer_of(r, "b")->offer.backend[0] = 'x')
BREAKS(offer_tag, offer_of(r, "b")->offer.tag.b[3]++)
BREAKS(offer_untagged, memset(&offer_of(r, "b")->offer.tag, 0, sizeof(Uuid)))
BREAKS(offer_mem_len, offer_of(r, "b")->offer.mem_len += BLOCK)
BREAKS(offer_untagged_len, offer_of(r, NULL)->offer.mem_len = 0)
BREAKS(offer_pending, offer_of(r, "b")->offer.pending = true)
BREAKS(offer_not_pending, offer_of(r, "c")->offer.pending = false)
BREAKS(offer_takes_backend, offer_of(r, "c")->offer.tag = offer_of(r, "b")->offer.tag;
	offer_of(r, "c")->offer.mem_len = 4 * BLOCK;
	offer_of(r, "c")->offer.backend[0] = 'b')
BREAKS(request_is_offer, live_request(r)->request.id = offer_of(r, "b")->offer.id)
BREAKS(extent_device, extent_in(r, ROW_EXTENT_ACCEPTED)->extent.device = 999)
BREAKS(extent_offer, extent_in(r, ROW_EXTENT_ACCEPTED)->extent.offer = 999)
BREAKS(extent_region, extent_in(r, ROW_EXTENT_ACCEPTED)->extent.region = SHARED)
BREAKS(extent_below, extent_in(r, ROW_EXTENT_ACCEPTED)->extent.dpa = 0)
BREAKS(extent_beyond, extent_in(r, ROW_EXTENT_ACCEPTED)->extent.len = UINT64_MAX)
BREAKS(extent_empty, extent_in(r, ROW_EXTENT_ACCEPTED)->extent.len = 0)
BREAKS(extent_block, extent_in(r, ROW_EXTENT_RESERVED)->extent.dpa += 4096)
BREAKS(extent_state, extent_in(r, ROW_EXTENT_ACCEPTED)->extent.state = 6)
BREAKS(extent_state_zero, extent_in(r, ROW_EXTENT_ACCEPTED)->extent.state = 0)
BREAKS(extent_reserved, extent_in(r, ROW_EXTENT_ACCEPTED)->extent.state = ROW_EXTENT_RESERVED)
BREAKS(extent_overlap, twice(r, extent_in(r, ROW_EXTENT_ACCEPTED)))
BREAKS(extent_sequence, extent_in(r, ROW_EXTENT_ACCEPTED)->extent.shared_seq = 1)
BREAKS(extent_map, extent_in(r, ROW_EXTENT_ACCEPTED)->extent.map_id = UINT64_MAX)
BREAKS(extent_offset, extent_in(r, ROW_EXTENT_RESERVED)->extent.mem_offset = 64 * BLOCK)
BREAKS(extent_offset_wraps, extent_in(r, ROW_EXTENT_RESERVED)->extent.mem_offset = UINT64_MAX - 4095)
BREAKS(extent_same_bytes, for (unsigned i = 0; nth(r, ROW_EXTENT, i); i++)
	nth(r, ROW_EXTENT, i)->extent.mem_offset = 0)
BREAKS(extent_order, for (unsigned i = 0; nth(r, ROW_EXTENT, i); i++)
	nth(r, ROW_EXTENT, i)->extent.order = 9 - nth(r, ROW_EXTENT, i)->extent.order)
BREAKS(quarantine_gone, without(r, nth(r, ROW_QUARANTINE, 0)))
BREAKS(quarantine_extent, nth(r, ROW_QUARANTINE, 0)->quarantine.extent++)
BREAKS(quarantine_len, nth(r, ROW_QUARANTINE, 0)->quarantine.len += 4096)
BREAKS(quarantine_empty, nth(r, ROW_QUARANTINE, 0)->quarantine.len = 0)
BREAKS(quarantine_overlap, twice(r, nth(r, ROW_QUARANTINE, 0)))
BREAKS(quarantine_unneeded, extent_in(r, ROW_EXTENT_QUARANTINED)->extent.state = ROW_EXTENT_DRAINING)
BREAKS(request_device, live_request(r)->request.device = 999)
BREAKS(request_region, live_request(r)->request.region = 9)
BREAKS(request_state, live_request(r)->request.state = 99)
BREAKS(range_request, nth(r, ROW_REQUEST_RANGE, 0)->request_range.request = 999)
BREAKS(range_wraps, nth(r, ROW_REQUEST_RANGE, 0)->request_range.len = UINT64_MAX)
BREAKS(unknown_kind, nth(r, ROW_WIPE, 0)->kind = (RowKind)99)

typedef struct BreakRow {
	void (*break_rows)(RowRecord *rows);
	const char *says; /* part of the message: which row it is */
} BreakRow;

static const BreakRow breaks[] = {
	{ bad_op, "deleted" },
	{ bad_counters_twice, "counters" }, { bad_counters_gone, "no counters" },
	{ bad_counters_used_up, "counters" }, { bad_counters_ids, "counter" },
	{ bad_counters_maps, "counter" }, { bad_counters_hosts, "host 2" },
	{ bad_host_zero, "host 0" }, { bad_host_twice, "twice" },
	{ bad_backend_twice, "backend b" }, { bad_backend_no_name, "name" }, { bad_backend_utf8, "UTF-8" },
	{ bad_backend_type, "backend b" }, { bad_backend_size, "backend b" }, { bad_backend_huge, "backend b" },
	{ bad_backend_path, "backend b" }, { bad_backend_no_path, "backend b" },
	{ bad_backend_wipes, "backend b" }, { bad_backend_device, "backend b" },
	{ bad_backend_static, "backend b" }, { bad_backend_file, "backend b" },
	{ bad_backend_others_file, "backend b" }, { bad_backend_same_tag, "tag" },
	{ bad_file_twice, "file" }, { bad_file_len, "backend b" }, { bad_file_owners, "file" },
	{ bad_file_stray, "file" }, { bad_file_descriptor, "descriptor" }, { bad_file_untagged, "file" },
	{ bad_holder_file, "holder" }, { bad_holder_zero, "holder" }, { bad_holder_twice, "holder" },
	{ bad_wipe_file, "wipe" }, { bad_wipe_len, "wipe" },
	{ bad_device_twice, "device dev" }, { bad_device_id, "twice" }, { bad_device_region, "region 0" },
	{ bad_device_regions, "regions" }, { bad_device_static, "static" }, { bad_device_host, "host 77" },
	{ bad_offer_zero, "offer 0" }, { bad_offer_twice, "twice" }, { bad_offer_device, "offer" },
	{ bad_offer_region, "offer" }, { bad_offer_no_region, "offer" },
	{ bad_offer_gone_backend, "backend x" }, { bad_offer_tag, "offer" }, { bad_offer_untagged, "offer" },
	{ bad_offer_mem_len, "backend b" }, { bad_offer_untagged_len, "offer" },
	{ bad_offer_pending, "pending" }, { bad_offer_not_pending, "pending" },
	{ bad_offer_takes_backend, "another offer's" }, { bad_request_is_offer, "number" },
	{ bad_extent_device, "device 999" }, { bad_extent_offer, "offer 999" },
	{ bad_extent_region, "extent at DPA" }, { bad_extent_below, "not inside" },
	{ bad_extent_beyond, "not inside" }, { bad_extent_empty, "not inside" },
	{ bad_extent_block, "blocks" }, { bad_extent_state, "state 6" }, { bad_extent_state_zero, "state 0" },
	{ bad_extent_reserved, "reserved" }, { bad_extent_overlap, "overlaps" },
	{ bad_extent_sequence, "sequence" }, { bad_extent_map, "map" }, { bad_extent_offset, "outside" },
	{ bad_extent_offset_wraps, "outside" }, { bad_extent_same_bytes, "another extent" },
	{ bad_extent_order, "order" },
	{ bad_quarantine_gone, "quarantined" }, { bad_quarantine_extent, "quarantined" },
	{ bad_quarantine_len, "quarantined" }, { bad_quarantine_empty, "quarantined" },
	{ bad_quarantine_overlap, "overlaps" }, { bad_quarantine_unneeded, "quarantined" },
	{ bad_request_device, "release request" }, { bad_request_region, "release request" },
	{ bad_request_state, "state 99" }, { bad_range_request, "request 999" },
	{ bad_range_wraps, "release request" }, { bad_unknown_kind, "kind 99" },
};
/* clang-format on */

static void test_refused(void)
{
	World world;

	fill(&world);
	row_record_unref(world_stop(&world));
	for (size_t i = 0; i < G_N_ELEMENTS(breaks); i++) {
		RowRecord *rows = row_table_load(&world.table);
		g_autoptr(GError) error = NULL;

		g_test_message("row %zu: %s", i, breaks[i].says);
		breaks[i].break_rows(rows);
		g_assert_false(world_start(&world, rows, &error));
		g_assert_nonnull(strstr(error->message, breaks[i].says));
		g_assert_true(g_str_has_prefix(error->message, "ledger: "));
	}
	world.fix->dev[0].revoke = ANSWER;
	g_assert_true(world_start(&world, row_table_load(&world.table), NULL));
	world_free(&world);
}

/* Devices that were not added, or have no row. */
static void test_devices(void)
{
	World world;
	RowRecord *rows;
	GError *error = NULL;
	DcDeviceConfig config = { .name = "dev9" };

	fill(&world);
	rows = world_stop(&world);
	world.fix->cap = capacity_new(&world.fix->ops, world.fix);
	g_assert_true(capacity_restore_begin(world.fix->cap, rows, &error));
	g_assert_null(capacity_add_device(world.fix->cap, &config, &fake_ops, world.fix, &error));
	g_assert_error(error, CAPACITY_ERROR, CAPACITY_ERROR_INVALID);
	g_clear_error(&error);
	g_assert_false(capacity_restore_end(world.fix->cap, &error));
	g_assert_nonnull(strstr(error->message, "was not added"));
	g_clear_error(&error);
	capacity_free(world.fix->cap);
	row_record_unref(rows);
	world.fix->dev[0].revoke = ANSWER;
	g_assert_true(world_start(&world, row_table_load(&world.table), NULL));
	world_free(&world);
}

/* A file that is not there is not made anew. */
static void test_file_is_gone(void)
{
	g_autofree char *dir = g_dir_make_tmp("softdcd-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(dir, "memory", NULL);
	BackendConfig file = { .type = BACKEND_FILE, .path = path };
	g_autoptr(GError) error = NULL;
	World world;

	world_init(&world, NULL);
	fix_backend(world.fix, "f", 1, BLOCK, &file);
	row_record_unref(world_stop(&world));
	g_assert_cmpint(g_unlink(path), ==, 0);
	g_assert_false(world_start(&world, row_table_load(&world.table), &error));
	g_assert_nonnull(strstr(error->message, path));
	g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
	g_assert_true(g_file_set_contents(path, "", 0, NULL));
	g_clear_error(&error);
	g_assert_false(world_start(&world, row_table_load(&world.table), &error));
	g_assert_nonnull(strstr(error->message, "backend f"));
	g_assert_cmpint(truncate(path, BLOCK), ==, 0);
	g_assert_true(world_start(&world, row_table_load(&world.table), NULL));
	world_free(&world);
	g_unlink(path);
	g_rmdir(dir);
}

/* ---- at random ---- */

static void scramble(GRand *rand, RowRecord *rows)
{
	guint index = (guint)g_rand_int_range(rand, 0, (gint32)rows->changes->len);
	RowChange *row = &g_array_index(rows->changes, RowChange, index);
	static const uint64_t odd[] = {
		0, 1, 2, 3, 4096, BLOCK, 256 * MIB, UINT64_MAX, UINT64_MAX - 4095, INT64_MAX
	};
	/* Numbers only: strings and pointers are not what comes from a file. */
	static const struct {
		size_t offset, n;
	} words[ROW_N_KINDS] = {
		[ROW_COUNTERS] = { offsetof(RowChange, counters), sizeof(RowCounters) },
		[ROW_HOST] = { offsetof(RowChange, host), sizeof(RowHost) },
		[ROW_HOLDER] = { offsetof(RowChange, holder), 2 * sizeof(uint64_t) },
		[ROW_WIPE] = { offsetof(RowChange, wipe), sizeof(RowWipe) },
		[ROW_EXTENT] = { offsetof(RowChange, extent), sizeof(RowExtent) },
		[ROW_QUARANTINE] = { offsetof(RowChange, quarantine), sizeof(RowQuarantine) },
		[ROW_REQUEST_RANGE] = { offsetof(RowChange, request_range),
					sizeof(RowRequestRange) },
		[ROW_OFFER] = { offsetof(RowChange, offer), 2 * sizeof(uint64_t) },
		[ROW_REQUEST] = { offsetof(RowChange, request), 2 * sizeof(uint64_t) },
		[ROW_DEVICE] = { offsetof(RowChange, device), sizeof(uint64_t) },
		[ROW_FILE] = { offsetof(RowChange, file), sizeof(uint64_t) },
	};
	uint64_t *word;

	if (g_rand_int_range(rand, 0, 4) == 0) {
		if (g_rand_boolean(rand))
			twice(rows, row);
		else
			g_array_remove_index(rows->changes, index);
		return;
	}
	if (words[row->kind].n == 0)
		return;
	word = (uint64_t *)(void *)((char *)row + words[row->kind].offset) +
	       g_rand_int_range(rand, 0, (gint32)(words[row->kind].n / sizeof(uint64_t)));
	if (row->kind == ROW_EXTENT &&
	    word == (uint64_t *)(void *)((char *)row + words[row->kind].offset) +
			    offsetof(RowExtent, region) / 8)
		return; /* has a bool in it */
	if (g_rand_boolean(rand))
		*word = odd[g_rand_int_range(rand, 0, (gint32)G_N_ELEMENTS(odd))];
	else
		*word += (uint64_t)g_rand_int_range(rand, -2, 3) *
			 (g_rand_boolean(rand) ? 1 : 4096);
}

/* Whatever comes: an error, or a pool that is sound and can be used. */
static void test_scrambled(void)
{
	uint32_t seed = g_getenv("SOFTDCD_SEED")
				? (uint32_t)g_ascii_strtoull(g_getenv("SOFTDCD_SEED"), NULL, 0)
				: (uint32_t)g_test_rand_int();
	g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
	unsigned n_started = 0, n_refused = 0;
	World world;

	g_test_message("SOFTDCD_SEED=%u", seed);
	fill(&world);
	row_record_unref(world_stop(&world));
	for (int i = 0; i < 4000; i++) {
		RowRecord *rows = row_table_load(&world.table);
		g_autoptr(GError) error = NULL;

		for (int n = g_rand_int_range(rand, 1, 4); n > 0; n--)
			scramble(rand, rows);
		world.fix->keep = NULL;
		if (world_start(&world, rows, &error)) {
			n_started++;
			for (unsigned j = 0; j < N_DEVICES; j++)
				if (world.fix->dev[j].dc)
					world_resume(&world, j, j + 1);
			fix_advance(world.fix, 70 * G_USEC_PER_SEC);
			capacity_check(world.fix->cap);
			row_record_unref(world_stop(&world));
		} else {
			n_refused++;
			g_assert_nonnull(error);
		}
	}
	g_test_message("%u started, %u refused", n_started, n_refused);
	g_assert_cmpuint(n_started, >, 0);
	g_assert_cmpuint(n_refused, >, 0);
	world.fix->keep = world_keep;
	g_array_set_size(world.fix->dev[0].reach, 0);
	world.fix->dev[0].revoke = ANSWER;
	g_assert_true(world_start(&world, row_table_load(&world.table), NULL));
	world_free(&world);
}

int main(int argc, char **argv)
{
	fixture_use_all();
	world_use_all();
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/capacity/rows/refused", test_refused);
	g_test_add_func("/unit/capacity/rows/devices", test_devices);
	g_test_add_func("/unit/capacity/rows/file-is-gone", test_file_is_gone);
	g_test_add_func("/unit/capacity/rows/scrambled", test_scrambled);
	return g_test_run();
}

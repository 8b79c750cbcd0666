/* SPDX-License-Identifier: BSD-3-Clause */
/* What the ledger's tests share: a directory, records, answers, rows as text. */
#ifndef TESTS_UNIT_LEDGER_FIXTURE_H
#define TESTS_UNIT_LEDGER_FIXTURE_H

#include "ledger/ledger.h"

#include <glib/gstdio.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

/* A state directory of its own; removed with all that is in it. */
static inline char *state_dir_new(void)
{
	GError *error = NULL;
	char *dir = g_dir_make_tmp("softdcd-ledger-XXXXXX", &error);

	g_assert_no_error(error);
	return dir;
}

static inline void state_dir_empty(const char *dir)
{
	GDir *files = g_dir_open(dir, 0, NULL);
	const char *name;

	while (files && (name = g_dir_read_name(files))) {
		g_autofree char *path = g_build_filename(dir, name, NULL);

		g_remove(path);
	}
	g_clear_pointer(&files, g_dir_close);
}

static inline void state_dir_free(char *dir)
{
	state_dir_empty(dir);
	g_rmdir(dir);
	g_free(dir);
}

static inline char *ledger_path(const char *dir)
{
	return g_build_filename(dir, "ledger.db", NULL);
}

static inline Ledger *open_ledger_with(const char *dir, const LedgerOptions *options)
{
	g_autofree char *path = ledger_path(dir);
	g_autoptr(GError) error = NULL;
	Ledger *ledger = ledger_open(path, options, &error);

	g_assert_no_error(error);
	g_assert_nonnull(ledger);
	return ledger;
}

static inline Ledger *open_ledger(const char *dir)
{
	return open_ledger_with(dir, &(LedgerOptions){ .context = NULL });
}

static inline RowRecord *load_all(Ledger *ledger)
{
	g_autoptr(GError) error = NULL;
	RowRecord *record = ledger_load(ledger, &error);

	g_assert_no_error(error);
	return record;
}

/* ---- answers ---- */

typedef struct Answer {
	bool given, ok;
	char *why;
} Answer;

static inline void take_answer(void *opaque, bool ok, const char *why)
{
	Answer *answer = opaque;

	g_assert_false(answer->given);
	*answer = (Answer){ true, ok, g_strdup(why) };
}

static inline void wait_for(Answer *answer)
{
	while (!answer->given)
		g_main_context_iteration(NULL, TRUE);
}

/* Takes RECORD. Returns NULL if it was kept, else why not; caller frees. */
static inline char *submit(Ledger *ledger, RowRecord *record)
{
	Answer answer = { .given = false };

	ledger_submit(ledger, record, take_answer, &answer);
	row_record_unref(record);
	wait_for(&answer);
	g_assert_true(answer.ok == !answer.why);
	return answer.why;
}

static inline void submit_ok(Ledger *ledger, RowRecord *record)
{
	g_autofree char *why = submit(ledger, record);

	g_assert_cmpstr(why, ==, NULL);
}

/* ---- records ---- */

static inline void add_device(RowRecord *record, uint64_t id)
{
	RowDevice *device = &row_record_add(record, ROW_UPSERT, ROW_DEVICE)->device;

	device->id = id;
	device->name = g_strdup_printf("dev%" PRIu64, id);
	device->n_regions = 1;
	device->regions = g_new0(RowRegion, 1);
	device->regions[0] = (RowRegion){ .len = 1 << 30, .block_size = 2 << 20 };
}

static inline void add_offer(RowRecord *record, uint64_t device, uint64_t id)
{
	row_record_add(record, ROW_UPSERT, ROW_OFFER)->offer = (RowOffer){
		.id = id,
		.device = device,
		.mem_len = 1 << 30,
	};
}

static inline void add_extent(RowRecord *record, uint64_t device, uint64_t offer, uint64_t dpa)
{
	row_record_add(record, ROW_UPSERT, ROW_EXTENT)->extent = (RowExtent){
		.device = device,
		.offer = offer,
		.dpa = dpa,
		.len = 4096,
		.state = ROW_EXTENT_ACCEPTED,
		.mem_offset = dpa,
	};
}

static inline void add_host(RowRecord *record, uint64_t serial)
{
	row_record_add(record, ROW_UPSERT, ROW_HOST)->host = (RowHost){
		.serial = serial,
		.pid = (int64_t)serial + 1000,
	};
}

/* ---- rows as text ---- */

static inline void append_tag(GString *text, const Uuid *tag)
{
	char tag_text[UUID_TEXT_SIZE];

	uuid_format(tag, tag_text);
	g_string_append_printf(text, " tag %s", tag_text);
}

static inline void append_number(GString *text, const char *name, uint64_t value)
{
	g_string_append_printf(text, " %s %" PRIu64, name, value);
}

#define NUMBER(row, member) append_number(text, #member, (uint64_t)(row)->member)

static inline void append_device(GString *text, const RowDevice *row)
{
	NUMBER(row, id);
	g_string_append_printf(text, " name %s", row->name);
	NUMBER(row, static_len);
	for (uint32_t i = 0; i < row->n_regions; i++) {
		const RowRegion *region = &row->regions[i];

		NUMBER(region, len);
		NUMBER(region, block_size);
		NUMBER(region, sharable);
		NUMBER(region, read_only);
		NUMBER(region, sanitize_on_release);
		NUMBER(region, non_volatile);
	}
	NUMBER(row, max_extents);
	NUMBER(row, max_offers);
	NUMBER(row, max_chain);
	NUMBER(row, chains_in_flight);
	NUMBER(row, hold_off);
	g_string_append_printf(text, " config %s", row->pool_config ? row->pool_config : "none");
	NUMBER(row, generation);
	NUMBER(row, host);
	NUMBER(row, host_control_only);
	NUMBER(row, host_same_uid);
	NUMBER(row, host_max_maps);
}

static inline void append_backend(GString *text, const RowBackend *row)
{
	g_string_append_printf(text, " name %s path %s", row->name, row->path ? row->path : "none");
	append_tag(text, &row->tag);
	NUMBER(row, type);
	NUMBER(row, size);
	NUMBER(row, page_size);
	NUMBER(row, share);
	NUMBER(row, shareable);
	NUMBER(row, read_only);
	NUMBER(row, prealloc);
	NUMBER(row, wipes);
	NUMBER(row, incarnation);
	NUMBER(row, device);
	NUMBER(row, static_dpa);
	NUMBER(row, fresh_per_session);
	NUMBER(row, map_id);
	NUMBER(row, host);
}

static inline void append_extent(GString *text, const RowExtent *row)
{
	NUMBER(row, device);
	NUMBER(row, dpa);
	NUMBER(row, len);
	NUMBER(row, offer);
	NUMBER(row, region);
	NUMBER(row, state);
	NUMBER(row, sanitize);
	NUMBER(row, shared_seq);
	NUMBER(row, order);
	NUMBER(row, mem_offset);
	NUMBER(row, map_id);
	NUMBER(row, host);
}

static inline void append_request(GString *text, const RowRequest *row)
{
	NUMBER(row, id);
	NUMBER(row, device);
	NUMBER(row, region);
	NUMBER(row, state);
	NUMBER(row, forced);
	NUMBER(row, sanitize);
	append_tag(text, &row->tag);
	NUMBER(row, n_resent);
	NUMBER(row, created_us);
	NUMBER(row, changed_us);
	NUMBER(row, timeout_us);
}

static inline void append_row(GString *text, const RowChange *change)
{
	g_string_append(text, row_kind_name(change->kind));
	switch (change->kind) {
	case ROW_COUNTERS:
		NUMBER(&change->counters, next_id);
		NUMBER(&change->counters, next_map);
		NUMBER(&change->counters, last_serial);
		break;
	case ROW_HOST:
		NUMBER(&change->host, serial);
		NUMBER(&change->host, pid);
		NUMBER(&change->host, start_time);
		NUMBER(&change->host, uid);
		break;
	case ROW_BACKEND:
		append_backend(text, &change->backend);
		break;
	case ROW_FILE:
		g_string_append_printf(text, " backend %s",
				       change->file.backend ? change->file.backend : "none");
		NUMBER(&change->file, incarnation);
		NUMBER(&change->file, type);
		NUMBER(&change->file, len);
		NUMBER(&change->file, page_size);
		NUMBER(&change->file, read_only);
		NUMBER(&change->file, dirty);
		NUMBER(&change->file, offer);
		break;
	case ROW_HOLDER:
		NUMBER(&change->holder, incarnation);
		NUMBER(&change->holder, serial);
		NUMBER(&change->holder, same_uid);
		NUMBER(&change->holder, ghost);
		NUMBER(&change->holder, wiped);
		NUMBER(&change->holder, gone);
		break;
	case ROW_WIPE:
		NUMBER(&change->wipe, incarnation);
		NUMBER(&change->wipe, offset);
		NUMBER(&change->wipe, len);
		break;
	case ROW_DEVICE:
		append_device(text, &change->device);
		break;
	case ROW_OFFER:
		NUMBER(&change->offer, id);
		NUMBER(&change->offer, device);
		NUMBER(&change->offer, region);
		NUMBER(&change->offer, policy);
		NUMBER(&change->offer, pending);
		append_tag(text, &change->offer.tag);
		g_string_append_printf(text, " backend %s",
				       change->offer.backend ? change->offer.backend : "none");
		NUMBER(&change->offer, mem_len);
		break;
	case ROW_EXTENT:
		append_extent(text, &change->extent);
		break;
	case ROW_QUARANTINE:
		NUMBER(&change->quarantine, device);
		NUMBER(&change->quarantine, dpa);
		NUMBER(&change->quarantine, len);
		NUMBER(&change->quarantine, extent);
		break;
	case ROW_REQUEST:
		append_request(text, &change->request);
		break;
	case ROW_REQUEST_RANGE:
		NUMBER(&change->request_range, request);
		NUMBER(&change->request_range, index);
		NUMBER(&change->request_range, dpa);
		NUMBER(&change->request_range, len);
		NUMBER(&change->request_range, offer);
		break;
	case ROW_N_KINDS:
		g_assert_not_reached();
	}
	g_string_append_c(text, '\n');
}

/* One line per row. */
static inline char *rows_text(const RowRecord *record)
{
	GString *text = g_string_new(NULL);

	for (guint i = 0; i < record->changes->len; i++) {
		g_assert_cmpint(row_record_at(record, i)->op, ==, ROW_UPSERT);
		append_row(text, row_record_at(record, i));
	}
	return g_string_free(text, FALSE);
}

static inline char *loaded_text(Ledger *ledger)
{
	g_autoptr(RowRecord) record = load_all(ledger);

	return rows_text(record);
}

/* At least one row of every kind, the second device's with every bit of every number set. */
static inline RowRecord *one_of_each(void)
{
	RowRecord *record = row_record_new(ROW_REASON_CHANGE);
	Uuid tag = { { 0x5b, 0xe1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 } };
	RowDevice *device;

	row_record_add(record, ROW_UPSERT, ROW_COUNTERS)->counters = (RowCounters){ 10, 20, 30 };
	row_record_add(record, ROW_UPSERT, ROW_HOST)->host = (RowHost){ 7, INT32_MAX, UINT64_MAX,
									UINT32_MAX };
	row_record_add(record, ROW_UPSERT, ROW_BACKEND)->backend = (RowBackend){
		.name = g_strdup("kv-cache \"é'"),
		.type = BACKEND_DEVDAX,
		.size = UINT64_MAX,
		.page_size = 1 << 30,
		.path = g_strdup("/dev/dax0.0"),
		.tag = tag,
		.share = true,
		.shareable = true,
		.read_only = true,
		.prealloc = true,
		.wipes = true,
		.incarnation = 41,
		.device = 2,
		.static_dpa = UINT64_MAX,
		.fresh_per_session = true,
		.map_id = 99,
		.host = 7,
	};
	row_record_add(record, ROW_UPSERT, ROW_BACKEND)->backend =
		(RowBackend){ .name = g_strdup("plain"), .size = 4096, .incarnation = 42 };
	row_record_add(record, ROW_UPSERT, ROW_FILE)->file = (RowFile){
		.incarnation = 41,
		.type = BACKEND_HUGETLB,
		.len = UINT64_MAX - 1,
		.page_size = 2 << 20,
		.read_only = true,
		.dirty = true,
		.backend = g_strdup("kv-cache \"é'"),
	};
	row_record_add(record, ROW_UPSERT, ROW_FILE)->file =
		(RowFile){ .incarnation = 43, .type = BACKEND_FILE, .len = 1, .offer = 50 };
	row_record_add(record, ROW_UPSERT, ROW_HOLDER)->holder = (RowHolder){ 41,   7,    true,
									      true, true, true };
	row_record_add(record, ROW_UPSERT, ROW_WIPE)->wipe = (RowWipe){ 41, 0, 8192 };
	row_record_add(record, ROW_UPSERT, ROW_WIPE)->wipe = (RowWipe){ 41, 8192, 4096 };
	add_device(record, 1);
	device = &row_record_add(record, ROW_UPSERT, ROW_DEVICE)->device;
	*device = (RowDevice){
		.id = 2,
		.name = g_strdup("dev2"),
		.static_len = UINT64_MAX,
		.n_regions = 8,
		.regions = g_new0(RowRegion, 8),
		.max_extents = UINT32_MAX,
		.max_offers = UINT32_MAX,
		.max_chain = UINT32_MAX,
		.chains_in_flight = UINT32_MAX,
		.hold_off = true,
		.pool_config = g_strdup("[device dev2]\nram=1G\n"),
		.generation = UINT32_MAX,
		.host = UINT64_MAX,
		.host_control_only = true,
		.host_same_uid = true,
		.host_max_maps = UINT32_MAX,
	};
	for (unsigned i = 0; i < 8; i++)
		device->regions[i] = (RowRegion){
			UINT64_MAX - i, 4096, i & 1, i & 2, i & 4, !(i & 1),
		};
	row_record_add(record, ROW_UPSERT, ROW_OFFER)->offer = (RowOffer){
		50, 2, 7, 255, true, tag, g_strdup("kv-cache \"é'"), UINT64_MAX,
	};
	add_offer(record, 1, 51);
	add_extent(record, 1, 51, 4096);
	row_record_add(record, ROW_UPSERT, ROW_EXTENT)->extent = (RowExtent){
		.device = 2,
		.dpa = UINT64_MAX - 4095,
		.len = UINT64_MAX,
		.offer = 50,
		.region = 7,
		.state = ROW_EXTENT_SETTLED,
		.sanitize = true,
		.shared_seq = UINT16_MAX,
		.order = UINT32_MAX,
		.mem_offset = UINT64_MAX,
		.map_id = UINT64_MAX,
		.host = UINT64_MAX,
	};
	row_record_add(record, ROW_UPSERT, ROW_QUARANTINE)->quarantine =
		(RowQuarantine){ 2, 1, UINT64_MAX, 3 };
	row_record_add(record, ROW_UPSERT, ROW_REQUEST)->request = (RowRequest){
		60, 2, 7, 255, true, true, tag, UINT32_MAX, 1, UINT64_MAX, 3,
	};
	row_record_add(record, ROW_UPSERT, ROW_REQUEST_RANGE)->request_range =
		(RowRequestRange){ 60, 0, 1, 2, 3 };
	row_record_add(record, ROW_UPSERT, ROW_REQUEST_RANGE)->request_range =
		(RowRequestRange){ 60, UINT32_MAX, 4, 5, 6 };
	return record;
}

#endif

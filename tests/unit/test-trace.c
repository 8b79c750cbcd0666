/* SPDX-License-Identifier: BSD-3-Clause */
/* Traces: the ring between threads, payloads decoded, the QMP event and back, pcapng files. */
#include "device/command.h"
#include "trace/pcapng.h"
#include "trace/trace_decode.h"
#include "trace/trace_event.h"
#include "trace/trace_layouts.h"
#include "trace/trace_ring.h"

#include <poll.h>
#include <string.h>

static TraceEntry command(uint16_t opcode, uint16_t rc, const void *in, uint32_t in_len,
			  const void *out, uint32_t out_len)
{
	return (TraceEntry){
		.kind = TRACE_COMMAND,
		.time_us = 1700000000123456,
		.opcode = opcode,
		.rc = rc,
		.took_us = 42,
		.in = in,
		.in_len = in_len,
		.in_kept = MIN(in_len, TRACE_MAX_PAYLOAD_LEN),
		.out = out,
		.out_len = out_len,
		.out_kept = MIN(out_len, TRACE_MAX_PAYLOAD_LEN),
	};
}

/* ---- the ring ---- */

static bool is_readable(const TraceRing *ring)
{
	struct pollfd state = { .fd = trace_ring_peek_fd(ring), .events = POLLIN };

	return poll(&state, 1, 0) == 1;
}

static void assert_same_entry(const TraceEntry *a, const TraceEntry *b)
{
	g_assert_cmpint(a->kind, ==, b->kind);
	g_assert_cmpuint(a->time_us, ==, b->time_us);
	if (a->kind == TRACE_COMMAND) {
		g_assert_cmphex(a->opcode, ==, b->opcode);
		g_assert_cmphex(a->rc, ==, b->rc);
		g_assert_cmpuint(a->took_us, ==, b->took_us);
		g_assert_cmpuint(a->in_len, ==, b->in_len);
		g_assert_cmpuint(a->out_len, ==, b->out_len);
		g_assert_cmpmem(a->in, a->in_kept, b->in, b->in_kept);
		g_assert_cmpmem(a->out, a->out_kept, b->out, b->out_kept);
	} else {
		g_assert_cmpuint(a->log, ==, b->log);
		g_assert_cmpmem(&a->record, sizeof(a->record), &b->record, sizeof(b->record));
	}
}

static void test_ring(void)
{
	g_autoptr(TraceRing) ring = trace_ring_new(0);
	uint8_t big[TRACE_MAX_PAYLOAD_LEN + 77];
	TraceEntry put = command(0x4802, CXL_RC_INVALID_PA, big, sizeof(big), "abc", 3);
	TraceEntry record = { .kind = TRACE_CLEARED, .time_us = 7, .log = CXL_LOG_DC };
	const TraceEntry *got;

	memset(big, 0x5a, sizeof(big));
	memset(&record.record, 0xc3, sizeof(record.record));
	g_assert_null(trace_ring_take(ring));
	g_assert_false(is_readable(ring));
	for (unsigned round = 0; round < 2000; round++) {
		put.took_us = round;
		trace_ring_put(ring, &put);
		trace_ring_put(ring, &record);
		g_assert_true(is_readable(ring));
		got = trace_ring_take(ring);
		assert_same_entry(got, &put);
		g_assert_cmpuint(got->in_kept, ==, TRACE_MAX_PAYLOAD_LEN);
		g_assert_cmpuint(got->n_lost, ==, 0);
		assert_same_entry(trace_ring_take(ring), &record);
		g_assert_null(trace_ring_take(ring));
		g_assert_false(is_readable(ring));
	}
}

static void test_ring_full(void)
{
	g_autoptr(TraceRing) ring = trace_ring_new(1);
	TraceEntry put = command(1, 0, NULL, 0, NULL, 0);
	unsigned n_put = 1000000, n_got = 0;
	const TraceEntry *got;

	for (unsigned i = 0; i < n_put; i++) {
		put.took_us = i;
		trace_ring_put(ring, &put);
	}
	/* The oldest are kept, and who comes first then says how many are missing. */
	while ((got = trace_ring_take(ring))) {
		g_assert_cmpuint(got->took_us, ==, n_got);
		g_assert_cmpuint(got->n_lost, ==, 0);
		n_got++;
	}
	g_assert_cmpuint(n_got, >, 10);
	g_assert_cmpuint(n_got, <, 1000);
	trace_ring_put(ring, &put);
	trace_ring_put(ring, &put);
	g_assert_cmpuint(trace_ring_take(ring)->n_lost, ==, n_put - n_got);
	g_assert_cmpuint(trace_ring_take(ring)->n_lost, ==, 0);
	g_assert_null(trace_ring_take(ring));
}

typedef struct Writer {
	TraceRing *ring;
	unsigned n;
} Writer;

static void *write_all(void *data)
{
	Writer *writer = data;
	uint8_t payload[300];

	for (unsigned i = 0; i < writer->n; i++) {
		TraceEntry put = command((uint16_t)i, 0, payload, i % sizeof(payload), NULL, 0);

		memset(payload, (int)(i & 0xff), sizeof(payload));
		put.took_us = i;
		trace_ring_put(writer->ring, &put);
		if (i % 1000 == 0)
			g_usleep(50);
	}
	return NULL;
}

/* Nothing is torn, nothing is missing that is not counted, and the reader is always woken. */
static void test_ring_threads(void)
{
	g_autoptr(TraceRing) ring = trace_ring_new(1 << 14);
	Writer writer = { ring, 200000 };
	GThread *thread = g_thread_new("writer", write_all, &writer);
	uint64_t next = 0;

	while (next < writer.n) {
		struct pollfd state = { .fd = trace_ring_peek_fd(ring), .events = POLLIN };
		const TraceEntry *got;

		if (poll(&state, 1, 300) == 0)
			break; /* the last ones may have been lost */
		while ((got = trace_ring_take(ring))) {
			next += got->n_lost;
			g_assert_cmpuint(got->took_us, ==, next);
			g_assert_cmpuint(got->in_kept, ==, next % 300);
			for (uint32_t k = 0; k < got->in_kept; k++)
				g_assert_cmpuint(got->in[k], ==, next & 0xff);
			next++;
		}
	}
	g_thread_join(thread);
	while (trace_ring_take(ring))
		next++;
	g_assert_cmpuint(next, >, 0);
	g_assert_cmpuint(next, <=, writer.n);
}

/* ---- decoding ---- */

/* One table says what a device can do, another what it means: no command may be in one only. */
static void test_tables_agree(void)
{
	static const CommandSet *const sets[] = { &command_set_generic, &command_set_events,
						  &command_set_memdev,
						  &command_set_dynamic_capacity };

	for (size_t s = 0; s < G_N_ELEMENTS(sets); s++) {
		for (size_t i = 0; i < sets[s]->n; i++) {
			const Command *row = &sets[s]->commands[i];
			const TraceCommand *known = trace_find_command(row->opcode);

			g_assert_nonnull(known);
			g_assert_cmpstr(known->name, ==, row->name);
			g_assert_true((row->in_max > 0) == (known->in != NULL));
			if (row->in_max > 0 && row->in_max != COMMAND_VAR &&
			    known->in->list_name == NULL)
				g_assert_cmpuint(known->in->len, ==, row->in_max);
		}
	}
}

static void test_commands(void)
{
	static const uint8_t accept[] = { 2, 0, 0,    0, 1, 0, 0, 0, /* two, More */
					  0, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0,
					  0, 0, 0,    0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0,
					  0, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0,    0, 0, 0, 0, 0 };
	static const uint8_t policy[] = { 1, 1, 0, 0 };
	const struct {
		TraceEntry entry;
		const char *text;
	} rows[] = {
		{ command(0x4802, 0, accept, sizeof(accept), NULL, 0),
		  "4802h add-dc-response: Success (00h), 42 us; in: n-extents=2 flags=0x1"
		  " { dpa=0x200000 len=0x100000 } { dpa=0x400000 len=0x200000 }" },
		{ command(0x4802, 0x0f, accept, 10, NULL, 0),
		  "4802h add-dc-response: Invalid Physical Address (0Fh), 42 us;"
		  " in: n-extents=2 flags=0x1" },
		{ command(0x0103, 0, policy, sizeof(policy), NULL, 0),
		  "0103h set-event-int-policy: Success (00h), 42 us;"
		  " in: informational=0x1 warning=0x1 failure=0x0 fatal=0x0" },
		{ command(0x4203, 0, NULL, 0, "\1", 1),
		  "4203h get-shutdown-state: Success (00h), 42 us; out: state=0x1" },
		{ command(0xbeef, 0x03, "\xde\xad", 2, NULL, 0),
		  "BEEFh ?: Unsupported (03h), 42 us; in: data=dead" },
		{ command(0x4102, 0x2a, "\1\0\0\0\2\0\0\0", 8, NULL, 0),
		  "4102h get-lsa: ? (2Ah), 42 us; in: offset=1 len=2" },
		{ command(0x0001, 0, NULL, 0, NULL, 0), "0001h identify: Success (00h), 42 us" },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *text = trace_decode_text(&rows[i].entry);

		g_assert_cmpstr(text, ==, rows[i].text);
	}
}

static CxlEventRecord dc_record(void)
{
	static const uint8_t uuid[] = CXL_UUID_EVENT_DYNAMIC_CAPACITY;
	CxlEventDc dc = {
		.header.len = CXL_EVENT_RECORD_LEN,
		.header.handle = le16_put(5),
		.type = CXL_DC_EVENT_RELEASE,
		.region = 1,
		.flags = CXL_EVENT_DC_MORE,
		.extent.dpa = le64_put(UINT64_MAX),
		.extent.len = le64_put(4096),
		.extent.tag = { 0x5b, 0xe1, 0xf0, 0x0d },
	};
	CxlEventRecord record;

	memcpy(dc.header.uuid, uuid, sizeof(uuid));
	memcpy(&record, &dc, sizeof(record));
	return record;
}

static void test_records(void)
{
	TraceEntry entry = { .kind = TRACE_POSTED, .log = CXL_LOG_DC, .record = dc_record() };
	g_autoptr(JsonObject) json = trace_decode_json(&entry);
	g_autofree char *text = trace_decode_text(&entry);
	g_autoptr(JsonObject) other = NULL;

	g_assert_cmpstr(json_object_get_string_member(json, "kind"), ==, "posted");
	g_assert_cmpstr(json_object_get_string_member(json, "log"), ==, "dc");
	g_assert_cmpstr(json_object_get_string_member(json, "record"), ==, "dynamic-capacity");
	g_assert_cmpstr(json_object_get_string_member(json, "type"), ==, "release");
	g_assert_cmpint(json_object_get_int_member(json, "handle"), ==, 5);
	g_assert_cmpint(json_object_get_int_member(json, "len"), ==, 4096);
	g_assert_cmpstr(json_object_get_string_member(json, "dpa"), ==, "0xffffffffffffffff");
	g_assert_cmpstr(json_object_get_string_member(json, "tag"), ==,
			"5be1f00d-0000-0000-0000-000000000000");
	g_assert_true(g_str_has_prefix(text, "dc log: posted: record=dynamic-capacity"));
	memset(entry.record.header.uuid, 0xee, 16);
	entry.log = 99;
	other = trace_decode_json(&entry);
	g_assert_cmpstr(json_object_get_string_member(other, "record"), ==,
			"eeeeeeee-eeee-eeee-eeee-eeeeeeeeeeee");
	g_assert_true(json_object_has_member(other, "data"));
}

/* A list of records as 0100h returns it, and of regions with what follows them. */
static void test_lists(void)
{
	CxlEventRecord record = dc_record();
	uint8_t out[sizeof(CxlGetEventRecordsOut) + 2 * sizeof(record)] = { [0x14] = 2 };
	uint8_t config[8 + 40 + 16] = { 1, 1 };
	TraceEntry events = command(0x0100, 0, "\4", 1, out, sizeof(out));
	TraceEntry regions = command(0x4800, 0, "\10\0", 2, config, sizeof(config));
	g_autoptr(JsonObject) json = NULL, dc = NULL;
	JsonArray *list;

	memcpy(out + sizeof(CxlGetEventRecordsOut), &record, sizeof(record));
	memcpy(out + sizeof(CxlGetEventRecordsOut) + sizeof(record), &record, sizeof(record));
	json = trace_decode_json(&events);
	g_assert_cmpstr(
		json_object_get_string_member(json_object_get_object_member(json, "in"), "log"), ==,
		"dc");
	list = json_object_get_array_member(json_object_get_object_member(json, "out"), "records");
	g_assert_cmpuint(json_array_get_length(list), ==, 2);
	le64_store(config + 8 + 8, 4); /* 1 GiB */
	le32_store(config + 8 + 40, 77);
	dc = trace_decode_json(&regions);
	list = json_object_get_array_member(json_object_get_object_member(dc, "out"), "regions");
	g_assert_cmpuint(json_array_get_length(list), ==, 1);
	g_assert_cmpint(
		json_object_get_int_member(json_array_get_object_element(list, 0), "decode-len"),
		==, 1 << 30);
	g_assert_cmpint(json_object_get_int_member(json_object_get_object_member(dc, "out"),
						   "extents-supported"),
			==, 77);
}

/* Any bytes, of any length, under any opcode. */
static void test_any_bytes(void)
{
	uint8_t bytes[TRACE_MAX_PAYLOAD_LEN];

	for (unsigned i = 0; i < 20000; i++) {
		const CommandSet *set = &command_set_dynamic_capacity;
		uint32_t len = (uint32_t)g_random_int_range(0, sizeof(bytes) + 1);
		uint16_t opcode = i % 3 == 0 ? (uint16_t)(i & 0xff) | 0x0100
					     : set->commands[i % set->n].opcode;
		TraceEntry entry = command(opcode, (uint16_t)i, bytes, len, bytes, len);
		g_autoptr(JsonObject) json = NULL;
		g_autofree char *text = NULL;
		/* Behind its end nothing may be read. */
		g_autofree uint8_t *exact = NULL;

		for (uint32_t k = 0; k < len; k++)
			bytes[k] = (uint8_t)g_random_int();
		exact = g_memdup2(bytes, MAX(len, 1));
		entry.in = entry.out = exact;
		json = trace_decode_json(&entry);
		text = trace_decode_text(&entry);
		g_assert_true(g_utf8_validate(text, -1, NULL));
	}
}

/* ---- the QMP event ---- */

static void test_event(void)
{
	uint8_t in[2000];
	TraceEntry entries[] = {
		command(0x4803, 5, in, sizeof(in), "xyz", 3),
		command(0x0001, 0, NULL, 0, NULL, 0),
		{ .kind = TRACE_WITHDRAWN,
		  .time_us = 9,
		  .log = CXL_LOG_FATAL,
		  .record = dc_record() },
	};

	memset(in, 0x42, sizeof(in));
	entries[0].n_lost = 12;
	for (size_t i = 0; i < G_N_ELEMENTS(entries); i++) {
		g_autoptr(JsonObject) data = trace_event_new("dev0", &entries[i], true);
		g_autofree TraceEventEntry *back = g_new(TraceEventEntry, 1);
		g_autoptr(GError) error = NULL;

		g_assert_cmpstr(json_object_get_string_member(data, "device"), ==, "dev0");
		trace_event_parse(data, back, &error);
		g_assert_no_error(error);
		assert_same_entry(&back->entry, &entries[i]);
		g_assert_cmpuint(back->entry.n_lost, ==, entries[i].n_lost);
	}
}

static void test_event_hostile(void)
{
	static const struct {
		const char *member, *json; /* NULL: taken out */
	} rows[] = {
		{ "kind", "\"other\"" },
		{ "kind", NULL },
		{ "kind", "7" },
		{ "opcode", "65536" },
		{ "opcode", "-1" },
		{ "opcode", "\"1\"" },
		{ "opcode", NULL },
		{ "rc", "1e3" },
		{ "took-us", "null" },
		{ "in", "\"abc\"" },
		{ "in", "\"zz\"" },
		{ "in", "[]" },
		{ "in-len", "0" },
		{ "out-len", "-5" },
		{ "time", "{}" },
		{ "lost", "-1" },
		{ "in-len", "4294967296" },
	};
	TraceEntry entry = command(0x4803, 5, "\1\2\3", 3, NULL, 0);
	g_autofree TraceEventEntry *back = g_new(TraceEventEntry, 1);

	for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autoptr(JsonObject) data = trace_event_new("dev0", &entry, true);
		g_autoptr(GError) error = NULL;

		if (rows[i].json)
			json_object_set_member(data, rows[i].member,
					       json_from_string(rows[i].json, NULL));
		else
			json_object_remove_member(data, rows[i].member);
		g_assert_false(trace_event_parse(data, back, &error));
		g_assert_nonnull(strstr(error->message, rows[i].member));
	}
	{
		g_autofree char *longest = g_strnfill(2 * TRACE_MAX_PAYLOAD_LEN + 2, 'a');
		g_autoptr(JsonObject) data = trace_event_new("dev0", &entry, true);

		json_object_set_string_member(data, "in", longest);
		g_assert_false(trace_event_parse(data, back, NULL));
	}
}

/* ---- pcapng, read by a parser of the test's own ---- */

typedef struct Block {
	uint32_t type, len;
	const uint8_t *body;
	uint32_t body_len;
} Block;

static Block next_block(const uint8_t **at, const uint8_t *end)
{
	Block block;

	g_assert_cmpint(end - *at, >=, 12);
	block.type = le32_load(*at);
	block.len = le32_load(*at + 4);
	g_assert_cmpuint(block.len % 4, ==, 0);
	g_assert_cmpuint(block.len, >=, 12);
	g_assert_cmpint(block.len, <=, end - *at);
	g_assert_cmpuint(le32_load(*at + block.len - 4), ==, block.len);
	block.body = *at + 8;
	block.body_len = block.len - 12;
	*at += block.len;
	return block;
}

/* NULL: there is none of this code. */
static const uint8_t *find_option(const uint8_t *at, const uint8_t *end, unsigned code,
				  uint32_t *ret_len)
{
	for (;;) {
		unsigned has, len;

		g_assert_cmpint(end - at, >=, 4);
		has = le16_load(at);
		len = le16_load(at + 2);
		at += 4;
		if (has == 0) {
			g_assert_cmpuint(len, ==, 0);
			g_assert_true(at == end);
			return NULL;
		}
		g_assert_cmpint(end - at, >=, len);
		if (has == code) {
			*ret_len = len;
			return at;
		}
		at += (len + 3) / 4 * 4;
	}
}

static void check_packet(const Block *block, const TraceEntry *entry, uint32_t interface)
{
	g_autofree char *text = trace_decode_text(entry);
	const uint8_t *body = block->body, *end = body + block->body_len, *packet = body + 20;
	const PcapngFrame *frame = (const PcapngFrame *)packet;
	uint32_t kept = le32_load(body + 12), comment_len, flags_len;
	const uint8_t *comment, *flags;

	g_assert_cmphex(block->type, ==, 6);
	g_assert_cmpuint(le32_load(body), ==, interface);
	g_assert_cmpuint((uint64_t)le32_load(body + 4) << 32 | le32_load(body + 8), ==,
			 entry->time_us);
	g_assert_cmpuint(frame->version, ==, 1);
	g_assert_cmpuint(frame->kind, ==, entry->kind);
	if (entry->kind == TRACE_COMMAND) {
		g_assert_cmpuint(kept, ==, 32 + entry->in_kept + entry->out_kept);
		g_assert_cmpuint(le32_load(body + 16), ==, 32 + entry->in_len + entry->out_len);
		g_assert_cmphex(le16_get(frame->opcode), ==, entry->opcode);
		g_assert_cmpmem(packet + 32, entry->in_kept, entry->in, entry->in_kept);
		g_assert_cmpmem(packet + 32 + entry->in_kept, entry->out_kept, entry->out,
				entry->out_kept);
	} else {
		g_assert_cmpuint(kept, ==, 32 + 128);
		g_assert_cmpmem(packet + 32, 128, &entry->record, 128);
	}
	comment = find_option(packet + (kept + 3) / 4 * 4, end, 1, &comment_len);
	g_assert_nonnull(comment);
	if (strlen(text) <= UINT16_MAX)
		g_assert_cmpmem(comment, comment_len, text, strlen(text));
	flags = find_option(packet + (kept + 3) / 4 * 4, end, 2, &flags_len);
	g_assert_cmpuint(flags_len, ==, 4);
	g_assert_cmpuint(le32_load(flags), ==, entry->kind == TRACE_COMMAND ? 1 : 2);
}

static void check_interface(const Block *block, const char *name)
{
	const uint8_t *options = block->body + 8, *found;
	uint32_t len;

	g_assert_cmphex(block->type, ==, 1);
	g_assert_cmpuint(le16_load(block->body), ==, 147);
	found = find_option(options, block->body + block->body_len, 2, &len);
	g_assert_cmpmem(found, len, name, strlen(name));
	found = find_option(options, block->body + block->body_len, 9, &len);
	g_assert_cmpuint(found[0], ==, 6);
}

/* What other tools say of the file, where they are installed. */
static void check_with_tools(const char *path)
{
	g_autofree char *capinfos = g_find_program_in_path("capinfos");
	g_autofree char *tshark = g_find_program_in_path("tshark");
	const char *const programs[][8] = {
		{ capinfos, "-c", path, NULL },
		{ tshark, "-r", path, "-T", "fields", "-e", "frame.comment", NULL },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(programs); i++) {
		g_autofree char *out = NULL;
		int status = -1;

		if (!programs[i][0]) {
			g_test_message("%s is not installed", i == 0 ? "capinfos" : "tshark");
			continue;
		}
		g_assert_true(g_spawn_sync(NULL, (char **)(void *)programs[i], NULL,
					   G_SPAWN_DEFAULT, NULL, NULL, &out, NULL, &status, NULL));
		g_assert_cmpint(status, ==, 0);
		g_assert_nonnull(strstr(out, i == 0 ? "4" : "add-dc-response"));
	}
}

static void test_pcapng(void)
{
	uint8_t in[3001];
	TraceEntry entries[] = {
		command(0x4802, 0, in, 8 + 24 * 40, NULL, 0),
		{ .kind = TRACE_READ,
		  .time_us = 1700000000999999,
		  .log = CXL_LOG_DC,
		  .record = dc_record() },
		command(0x0001, 0, NULL, 0, "12345", 5),
		command(0x4103, 0, in, sizeof(in), NULL, 0),
	};
	static const char *const devices[] = { "dev0", "dev1", "dev0", "dev0" };
	g_autofree char *path = g_build_filename(g_get_tmp_dir(), "softdcd-trace.XXXXXX", NULL);
	g_autofree char *bytes = NULL;
	FILE *file = fdopen(g_mkstemp(path), "w");
	Pcapng *pcapng = pcapng_new(file);
	const uint8_t *at, *end;
	Block block;
	gsize len;

	memset(in, 0, sizeof(in));
	in[0] = 40;
	entries[1].n_lost = 3;
	g_assert_nonnull(pcapng);
	for (size_t i = 0; i < G_N_ELEMENTS(entries); i++)
		g_assert_true(pcapng_write(pcapng, devices[i], &entries[i]));
	pcapng_free(pcapng);
	g_assert_cmpint(fclose(file), ==, 0);
	g_assert_true(g_file_get_contents(path, &bytes, &len, NULL));
	at = (const uint8_t *)bytes;
	end = at + len;
	block = next_block(&at, end);
	g_assert_cmphex(block.type, ==, 0x0a0d0d0a);
	g_assert_cmphex(le32_load(block.body), ==, 0x1a2b3c4d);
	g_assert_cmphex(le32_load(block.body + 4), ==, 1);
	block = next_block(&at, end);
	check_interface(&block, "dev0");
	block = next_block(&at, end);
	check_packet(&block, &entries[0], 0);
	block = next_block(&at, end);
	check_interface(&block, "dev1");
	block = next_block(&at, end);
	check_packet(&block, &entries[1], 1);
	block = next_block(&at, end);
	check_packet(&block, &entries[2], 0);
	block = next_block(&at, end);
	check_packet(&block, &entries[3], 0);
	g_assert_true(at == end);
	check_with_tools(path);
	g_assert_cmpint(remove(path), ==, 0);
}

static void test_pcapng_full_disk(void)
{
	TraceEntry entry = command(0x0001, 0, NULL, 0, NULL, 0);
	FILE *full = fopen("/dev/full", "w");
	g_autoptr(Pcapng) pcapng = pcapng_new(full);

	g_assert_null(pcapng);
	g_assert_cmpint(errno, ==, ENOSPC);
	fclose(full);
	full = fopen("/dev/null", "w");
	pcapng = pcapng_new(full);
	g_assert_true(pcapng_write(pcapng, "dev0", &entry));
	fclose(full);
}

#define P "/unit/trace/"

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func(P "ring", test_ring);
	g_test_add_func(P "ring-full", test_ring_full);
	g_test_add_func(P "ring-threads", test_ring_threads);
	g_test_add_func(P "tables-agree", test_tables_agree);
	g_test_add_func(P "commands", test_commands);
	g_test_add_func(P "records", test_records);
	g_test_add_func(P "lists", test_lists);
	g_test_add_func(P "any-bytes", test_any_bytes);
	g_test_add_func(P "event", test_event);
	g_test_add_func(P "event-hostile", test_event_hostile);
	g_test_add_func(P "pcapng", test_pcapng);
	g_test_add_func(P "pcapng-full-disk", test_pcapng_full_disk);
	return g_test_run();
}

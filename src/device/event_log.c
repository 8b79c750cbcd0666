/* SPDX-License-Identifier: BSD-3-Clause */
/* One event log: records in the order they came, kept until the host clears them. */
#include "device/event_log.h"

#include <string.h>

#define NONE UINT32_MAX

typedef struct Slot {
	CxlEventRecord record;
	uint64_t cookie; /* 0 = none, and not in the hash */
	uint64_t number; /* counts all records ever posted */
	uint32_t prev, next;
	uint32_t hash_prev, hash_next;
	bool was_read;
	bool more;  /* the next record belongs to the same chain */
	bool begun; /* one before it in its chain was read: the host waits for this one */
} Slot;

struct EventLog {
	uint32_t depth;
	uint32_t n_records;
	uint32_t n_reserved;
	uint32_t oldest, newest; /* slots */
	uint32_t n_touched;      /* slots below were used at least once */
	uint32_t free;           /* list of those not used now, through next */
	uint64_t n_posted;
	Slot *slots;
	uint32_t *buckets;
	uint32_t n_buckets; /* power of two */

	uint16_t last_handle;
	uint8_t handle_in_use[(EVENT_LOG_MAX_DEPTH + 1) / 8];

	uint16_t overflow_count; /* stays at its highest value */
	uint64_t first_overflow, last_overflow;

	EventLogWatch watch;
	void *watch_opaque;
};

EventLog *event_log_new(uint32_t depth)
{
	EventLog *log = g_new0(EventLog, 1);

	g_assert(depth > 0 && depth <= EVENT_LOG_MAX_DEPTH);
	log->depth = depth;
	log->oldest = log->newest = log->free = NONE;
	log->n_buckets = 1;
	while (log->n_buckets < depth / 4)
		log->n_buckets *= 2;
	log->slots = g_new(Slot, depth);
	log->buckets = g_new(uint32_t, log->n_buckets);
	for (uint32_t i = 0; i < log->n_buckets; i++)
		log->buckets[i] = NONE;
	return log;
}

void event_log_free(EventLog *log)
{
	if (!log)
		return;
	g_free(log->slots);
	g_free(log->buckets);
	g_free(log);
}

uint32_t event_log_depth(const EventLog *log)
{
	return log->depth;
}

uint32_t event_log_n_records(const EventLog *log)
{
	return log->n_records;
}

uint32_t event_log_n_overflows(const EventLog *log)
{
	return log->overflow_count;
}

void event_log_set_watch(EventLog *log, EventLogWatch watch, void *opaque)
{
	log->watch = watch;
	log->watch_opaque = opaque;
}

static void tell_watch(const EventLog *log, EventLogAction action, const CxlEventRecord *record)
{
	if (log->watch)
		log->watch(log->watch_opaque, action, record);
}

/* ---- room ---- */

static uint32_t room(const EventLog *log)
{
	return log->depth - log->n_records - log->n_reserved;
}

bool event_log_reserve(EventLog *log, uint32_t n)
{
	if (n > room(log))
		return false;
	log->n_reserved += n;
	return true;
}

void event_log_unreserve(EventLog *log, uint32_t n)
{
	g_assert(n <= log->n_reserved);
	log->n_reserved -= n;
}

static void count_overflow(EventLog *log, uint64_t timestamp)
{
	if (log->overflow_count == 0)
		log->first_overflow = timestamp;
	log->last_overflow = timestamp;
	if (log->overflow_count < UINT16_MAX)
		log->overflow_count++;
}

static void end_overflow(EventLog *log)
{
	log->overflow_count = 0;
	log->first_overflow = log->last_overflow = 0;
}

/* ---- handles: never 0, never one that is in use ---- */

static bool handle_is_free(const EventLog *log, uint16_t handle)
{
	return handle != 0 && !(log->handle_in_use[handle / 8] & 1u << handle % 8);
}

static void mark_handle(EventLog *log, uint16_t handle)
{
	log->handle_in_use[handle / 8] |= (uint8_t)(1u << handle % 8);
}

/* Ends, because fewer records are live than there are handles. */
static uint16_t take_handle(EventLog *log)
{
	do
		log->last_handle++;
	while (!handle_is_free(log, log->last_handle));
	mark_handle(log, log->last_handle);
	return log->last_handle;
}

static void drop_handle(EventLog *log, uint16_t handle)
{
	log->handle_in_use[handle / 8] &= (uint8_t) ~(1u << handle % 8);
}

/* ---- slots ---- */

static uint32_t *bucket_of(EventLog *log, uint64_t cookie)
{
	uint64_t mixed = cookie * UINT64_C(0x9e3779b97f4a7c15);

	return &log->buckets[(mixed >> 32) & (log->n_buckets - 1)];
}

static uint32_t take_slot(EventLog *log)
{
	uint32_t index = log->free;

	if (index == NONE)
		return log->n_touched++;
	log->free = log->slots[index].next;
	return index;
}

static void link_slot(EventLog *log, uint32_t index)
{
	Slot *slot = &log->slots[index];

	slot->next = NONE;
	slot->prev = log->newest;
	if (log->newest == NONE)
		log->oldest = index;
	else
		log->slots[log->newest].next = index;
	log->newest = index;
	log->n_records++;

	slot->hash_prev = slot->hash_next = NONE;
	if (slot->cookie) {
		uint32_t *bucket = bucket_of(log, slot->cookie);

		slot->hash_next = *bucket;
		if (*bucket != NONE)
			log->slots[*bucket].hash_prev = index;
		*bucket = index;
	}
}

static void remove_slot(EventLog *log, uint32_t index)
{
	Slot *slot = &log->slots[index];

	if (slot->prev == NONE)
		log->oldest = slot->next;
	else
		log->slots[slot->prev].next = slot->next;
	if (slot->next == NONE)
		log->newest = slot->prev;
	else
		log->slots[slot->next].prev = slot->prev;
	log->n_records--;

	if (slot->hash_next != NONE)
		log->slots[slot->hash_next].hash_prev = slot->hash_prev;
	if (slot->hash_prev != NONE)
		log->slots[slot->hash_prev].hash_next = slot->hash_next;
	else if (slot->cookie)
		*bucket_of(log, slot->cookie) = slot->hash_next;

	drop_handle(log, le16_get(slot->record.header.handle));
	slot->next = log->free;
	log->free = index;
}

static Slot *append_record(EventLog *log, const CxlEventRecord *record, uint64_t cookie,
			   uint16_t handle, uint64_t timestamp)
{
	uint32_t index = take_slot(log);
	Slot *slot = &log->slots[index];

	slot->record = *record;
	slot->record.header.len = CXL_EVENT_RECORD_LEN;
	slot->record.header.handle = le16_put(handle);
	slot->record.header.timestamp = le64_put(timestamp);
	slot->cookie = cookie;
	slot->number = log->n_posted++;
	slot->was_read = slot->more = slot->begun = false;
	link_slot(log, index);
	return slot;
}

bool event_log_post(EventLog *log, const CxlEventRecord *record, uint64_t cookie, bool reserved,
		    uint64_t timestamp)
{
	const Slot *slot;

	if (reserved) {
		event_log_unreserve(log, 1);
	} else if (room(log) == 0) {
		count_overflow(log, timestamp);
		tell_watch(log, EVENT_LOG_LOST, record);
		return false;
	}
	slot = append_record(log, record, cookie, take_handle(log), timestamp);
	tell_watch(log, EVENT_LOG_POSTED, &slot->record);
	return true;
}

void event_log_expect_more(EventLog *log)
{
	g_assert(log->newest != NONE);
	log->slots[log->newest].more = true;
}

uint32_t event_log_withdraw(EventLog *log, uint64_t cookie)
{
	uint32_t n = 0;
	uint32_t next;

	if (cookie == 0)
		return 0;
	for (uint32_t i = *bucket_of(log, cookie); i != NONE; i = next) {
		Slot *slot = &log->slots[i];

		next = slot->hash_next;
		if (slot->cookie == cookie && !slot->was_read && !slot->begun) {
			tell_watch(log, EVENT_LOG_WITHDRAWN, &slot->record);
			remove_slot(log, i);
			n++;
		}
	}
	return n;
}

/* ---- the host's side ---- */

/* The rest of a chain that was read up to INDEX. */
static void begin_rest(EventLog *log, uint32_t index)
{
	while (index != NONE && log->slots[index].more) {
		index = log->slots[index].next;
		if (index == NONE || log->slots[index].begun)
			return;
		log->slots[index].begun = true;
	}
}

uint32_t event_log_read(EventLog *log, uint8_t *out, uint32_t out_max, EventLogVisit first_read,
			void *opaque)
{
	CxlGetEventRecordsOut header = { .flags = 0 };
	uint32_t n = (out_max - (uint32_t)sizeof(header)) / CXL_EVENT_RECORD_LEN;
	uint8_t *end = out + sizeof(header);
	uint32_t first_new = NONE, last = NONE;

	n = MIN(n, log->n_records);
	for (uint32_t i = log->oldest, left = n; left > 0; i = log->slots[i].next, left--) {
		Slot *slot = &log->slots[i];

		memcpy(end, &slot->record, CXL_EVENT_RECORD_LEN);
		end += CXL_EVENT_RECORD_LEN;
		if (!slot->was_read && first_new == NONE)
			first_new = i;
		slot->was_read = true;
		last = i;
		tell_watch(log, EVENT_LOG_READ, &slot->record);
	}
	begin_rest(log, last);
	if (n < log->n_records)
		header.flags |= CXL_EVENTS_MORE;
	if (log->overflow_count > 0) {
		header.flags |= CXL_EVENTS_OVERFLOW;
		header.overflow_count = le16_put(log->overflow_count);
		header.first_overflow_timestamp = le64_put(log->first_overflow);
		header.last_overflow_timestamp = le64_put(log->last_overflow);
	}
	header.n_records = le16_put((uint16_t)n);
	memcpy(out, &header, sizeof(header));

	/* Records of this range are read by now: no withdrawal takes them out from under us. */
	for (uint32_t i = first_new; first_read && i != NONE;) {
		uint32_t next = i == last ? NONE : log->slots[i].next;

		first_read(opaque, log->slots[i].cookie);
		i = next;
	}
	return (uint32_t)(end - out);
}

bool event_log_clear(EventLog *log, const le16 *handles, uint8_t n, EventLogVisit cleared,
		     void *opaque)
{
	uint64_t cookies[UINT8_MAX];
	uint32_t i = log->oldest;

	for (uint8_t k = 0; k < n; k++) {
		if (i == NONE ||
		    le16_get(log->slots[i].record.header.handle) != le16_get(handles[k]))
			return false;
		i = log->slots[i].next;
	}
	for (uint8_t k = 0; k < n; k++) {
		cookies[k] = log->slots[log->oldest].cookie;
		tell_watch(log, EVENT_LOG_CLEARED, &log->slots[log->oldest].record);
		remove_slot(log, log->oldest);
	}
	if (n > 0)
		end_overflow(log);
	for (uint8_t k = 0; cleared && k < n; k++)
		cleared(opaque, cookies[k]);
	return true;
}

/* What CLEARED posts meanwhile stays. */
void event_log_clear_all(EventLog *log, EventLogVisit cleared, void *opaque)
{
	uint64_t n_posted = log->n_posted;

	end_overflow(log);
	while (log->oldest != NONE && log->slots[log->oldest].number < n_posted) {
		uint64_t cookie = log->slots[log->oldest].cookie;

		tell_watch(log, EVENT_LOG_CLEARED, &log->slots[log->oldest].record);
		remove_slot(log, log->oldest);
		if (cleared)
			cleared(opaque, cookie);
	}
}

/* ---- saved state ---- */

typedef struct EventLogState {
	le16 overflow_count;
	le16 last_handle;
	le32 n_records; /* of CxlEventRecord, which follow */
	le64 first_overflow, last_overflow;
} EventLogState;
CXL_STATIC_ASSERT(sizeof(EventLogState) == 24);

void event_log_save(const EventLog *log, GByteArray *out)
{
	EventLogState state = {
		.overflow_count = le16_put(log->overflow_count),
		.last_handle = le16_put(log->last_handle),
		.n_records = le32_put(log->n_records),
		.first_overflow = le64_put(log->first_overflow),
		.last_overflow = le64_put(log->last_overflow),
	};

	state_put(out, &state, sizeof(state));
	for (uint32_t i = log->oldest; i != NONE; i = log->slots[i].next)
		state_put(out, &log->slots[i].record, CXL_EVENT_RECORD_LEN);
}

/* Handles are there, and none twice. */
static bool judge_records(const EventLog *log, const CxlEventRecord *records, uint32_t n)
{
	g_autofree uint8_t *seen = g_malloc0(sizeof(log->handle_in_use));

	for (uint32_t i = 0; i < n; i++) {
		uint16_t handle = le16_get(records[i].header.handle);
		uint8_t bit = (uint8_t)(1u << handle % 8);

		if (handle == 0 || seen[handle / 8] & bit ||
		    records[i].header.len != CXL_EVENT_RECORD_LEN)
			return false;
		seen[handle / 8] |= bit;
	}
	return true;
}

bool event_log_load(EventLog *log, StateReader *in, bool apply)
{
	const EventLogState *state = state_take(in, sizeof(*state));
	const CxlEventRecord *records;
	uint32_t n;

	if (!state)
		return false;
	n = le32_get(state->n_records);
	if (n > room(log))
		return false;
	records = state_take(in, (size_t)n * sizeof(*records));
	if (!records || !judge_records(log, records, n))
		return false;
	if (!apply)
		return true;
	for (uint32_t i = 0; i < n; i++) {
		uint16_t handle = le16_get(records[i].header.handle);

		mark_handle(log, handle);
		append_record(log, &records[i], 0, handle, le64_get(records[i].header.timestamp));
	}
	log->last_handle = le16_get(state->last_handle);
	log->overflow_count = le16_get(state->overflow_count);
	log->first_overflow = le64_get(state->first_overflow);
	log->last_overflow = le64_get(state->last_overflow);
	return true;
}

void event_log_set_last_handle(EventLog *log, uint16_t handle)
{
	log->last_handle = handle;
}

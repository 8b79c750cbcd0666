/* SPDX-License-Identifier: BSD-3-Clause */
/* One event log: records in the order they came, kept until the host clears them. */
#ifndef DEVICE_EVENT_LOG_H
#define DEVICE_EVENT_LOG_H

#include "cxl/event.h"
#include "device/state_io.h"

#include <glib.h>
#include <stdbool.h>

/*
 * Design. Records live in slots that are linked in order of arrival. Reading takes from the front
 * and takes nothing away, so the unread records are always the tail of the list. Each record may
 * carry its poster's cookie; a hash over cookies finds a group without a walk, so taking it back
 * costs the size of the group, however full the log is. Handles are unique among live records.
 */

#define EVENT_LOG_MAX_DEPTH 65535u /* there are that many handles */

typedef struct EventLog EventLog;

/* DEPTH 1..EVENT_LOG_MAX_DEPTH. Memory is touched only as records come. */
EventLog *event_log_new(uint32_t depth);
void event_log_free(EventLog *log);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(EventLog, event_log_free)

uint32_t event_log_depth(const EventLog *log);
uint32_t event_log_n_records(const EventLog *log);

/* Room for N more records, held until posted into or given back. */
bool event_log_reserve(EventLog *log, uint32_t n);
void event_log_unreserve(EventLog *log, uint32_t n);

/*
 * Appends a copy; length, handle and timestamp (ns) are filled in. RESERVED: uses up one
 * reservation and cannot fail. Otherwise false when the room left is full or reserved: the record
 * is lost and counted as overflow.
 */
bool event_log_post(EventLog *log, const CxlEventRecord *record, uint64_t cookie, bool reserved,
		    uint64_t timestamp);
/* The record posted last and the one posted next are of one chain. */
void event_log_expect_more(EventLog *log);
/* Takes out the records with this cookie (not 0) that were never read; returns how many. Of a chain
 * that was read in part the rest stays: a host that has its beginning waits for its end, and would
 * take the next chain for it. */
uint32_t event_log_withdraw(EventLog *log, uint64_t cookie);

/* Told about each record, when LOG is consistent and may be posted to and withdrawn from. */
typedef void (*EventLogVisit)(void *opaque, uint64_t cookie);

/* 0100h: header and as many of the oldest records as fit into OUT_MAX bytes, which must hold the
 * header; returns the bytes written. FIRST_READ gets those read for the first time; may be NULL. */
uint32_t event_log_read(EventLog *log, uint8_t *out, uint32_t out_max, EventLogVisit first_read,
			void *opaque);
/* 0101h: HANDLES must be the oldest N records, in order; else false and nothing changes. */
bool event_log_clear(EventLog *log, const le16 *handles, uint8_t n, EventLogVisit cleared,
		     void *opaque);
void event_log_clear_all(EventLog *log, EventLogVisit cleared, void *opaque);
/* Records lost since the host last cleared any; counts no further than 65535. */
uint32_t event_log_n_overflows(const EventLog *log);

/* What happens to records, for a trace: NULL = nobody looks, and costs nothing. */
typedef enum EventLogAction {
	EVENT_LOG_POSTED,
	EVENT_LOG_READ, /* each time */
	EVENT_LOG_CLEARED,
	EVENT_LOG_WITHDRAWN,
	EVENT_LOG_LOST, /* full; its handle and timestamp are not filled in */
} EventLogAction;
typedef void (*EventLogWatch)(void *opaque, EventLogAction action, const CxlEventRecord *record);
/* WATCH must not call back into the log. */
void event_log_set_watch(EventLog *log, EventLogWatch watch, void *opaque);

/* Records with their handles, and overflow; cookies are not kept. Loaded into an empty log. */
void event_log_save(const EventLog *log, GByteArray *out);
bool event_log_load(EventLog *log, StateReader *in, bool apply);
/* The next record gets the handle after this. */
void event_log_set_last_handle(EventLog *log, uint16_t handle);

#endif

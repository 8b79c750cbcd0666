/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to release requests: what one is. */
#ifndef CAPACITY_REQUEST_H
#define CAPACITY_REQUEST_H

#include "capacity/capacity_priv.h"

typedef struct RequestedRange {
	uint64_t dpa;
	uint64_t len;
	Uuid tag;
	uint8_t region;
	uint32_t round; /* last posted */
	uint64_t alloc; /* the offer it came from */
	Request *request;
	GList link;
} RequestedRange;

struct Request {
	uint64_t id;
	DcDevice *dev;
	ReleaseState state;
	bool live;
	bool forced_out;
	bool sanitize;
	bool journaling; /* on its way to the journal for the first time */
	bool recorded;
	uint8_t region;
	Uuid tag;
	uint64_t len; /* still accepted */
	GQueue ranges;
	uint32_t round; /* of posting, from 1 */
	uint32_t n_resent;
	uint32_t n_in_log; /* records posted and not cleared */
	uint64_t created_us, changed_us;
	uint64_t timeout_us; /* absolute; NEVER */
	uint64_t resend_us;  /* absolute; NEVER */
	uint64_t backoff_us;
	GSequenceIter *due; /* in dev->due_requests */
	GList link;         /* in dev->finished_requests */
	GArray *forced;     /* DcEvent: have their room in the log, wait for the journal */
};

/* Known to its device from now on; not live. */
Request *request_alloc(DcDevice *dev, uint64_t id);
/* LEN bytes at DPA of the extent, not asked for yet. */
void request_ask_for(Request *request, const Extent *extent, uint64_t dpa, uint64_t len);
void request_set_due(Request *request, uint64_t resend_us);
/* Not live any more; the oldest finished one may be freed, but not this one. */
void request_finish(Request *request, ReleaseState state);
void request_shelve(Request *request); /* the last part of that */

/* request_rows.c; RECORD may be NULL */
void request_add_rows(const Request *request, RowRecord *record);
void request_delete_row(const Request *request);

#endif

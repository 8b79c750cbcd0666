/* SPDX-License-Identifier: BSD-3-Clause */
/* The journal: records go out in order; what to do about one that could not be kept. */
#include "capacity/capacity_priv.h"

/*
 * Two kinds of record. One for what is to happen (offer, accept, release) is waited for; when it
 * cannot be kept the thing does not happen. One for what has happened (freed, wiped, attached)
 * cannot be refused any more: should it fail, the journal is behind. Then everything of the first
 * kind is refused and the second kind is dropped, until nothing is under way any more and the whole
 * state is written anew.
 *
 * Order is what makes the second kind safe: whoever is told of something later waits for a record
 * that comes after, and that cannot be kept if an earlier one of its epoch was not.
 */

typedef struct JournalWait {
	uint64_t req;
	RowRecord *record;
	bool must;
	void (*done)(void *context, bool ok);
	void *context;
} JournalWait;

static void wait_free(JournalWait *wait)
{
	row_record_unref(wait->record);
	g_free(wait);
}

static void free_wait(gpointer data)
{
	wait_free(data);
}

static void fall_behind(Capacity *cap)
{
	cap->behind = true;
	cap->replacing = false;
	cap->replace_us = capacity_now_us(cap) + RETRY_MIN_US;
	g_clear_pointer(&cap->changes, row_record_unref);
}

void journal_lost(Capacity *cap)
{
	if (!cap->behind)
		fall_behind(cap);
}

/* ---- out ---- */

static void send(Capacity *cap, const Work *work)
{
	JournalWait *wait = g_hash_table_lookup(cap->journal, &work->number);
	RowRecord *record = row_record_ref(wait->record);

	cap->ops.journal(cap->opaque, work->number, record);
	row_record_unref(record);
}

static void write_record(Capacity *cap, RowRecord *record, bool must,
			 void (*done)(void *context, bool ok), void *context)
{
	JournalWait *wait = g_new0(JournalWait, 1);

	record->epoch = cap->epoch;
	wait->req = cap->next_req++;
	wait->record = record;
	wait->must = must;
	wait->done = done;
	wait->context = context;
	if (!cap->journal)
		cap->journal = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, free_wait);
	g_hash_table_insert(cap->journal, &wait->req, wait);
	capacity_queue(cap, send, NULL, wait->req);
}

static void flush(Capacity *cap)
{
	if (cap->changes)
		write_record(cap, g_steal_pointer(&cap->changes), true, NULL, NULL);
}

static void flush_later(Capacity *cap, const Work *work)
{
	flush(cap);
}

RowRecord *journal_changes(Capacity *cap)
{
	if (!cap->ops.journal || cap->behind || cap->restore)
		return NULL;
	if (!cap->changes) {
		cap->changes = row_record_new(ROW_REASON_CHANGE);
		capacity_queue(cap, flush_later, NULL, 0);
	}
	return cap->changes;
}

RowRecord *journal_new(Capacity *cap, RowReason reason)
{
	return cap->ops.journal && !cap->behind ? row_record_new(reason) : NULL;
}

static void call_done(Capacity *cap, const Work *work)
{
	work->effect_done(work->object, work->number);
}

void journal_submit(Capacity *cap, RowRecord *record, bool must,
		    void (*done)(void *context, bool ok), void *context)
{
	Work work = {
		.run = call_done,
		.object = context,
		.number = !cap->ops.journal,
		.effect_done = done,
	};

	flush(cap);
	if (record)
		write_record(cap, record, must, done, context);
	else if (done)
		capacity_queue_work(cap, &work);
}

/* ---- back ---- */

/* All that went out after it in its epoch fails too: what has happened is lost as of now. */
static void note_failure(Capacity *cap, const JournalWait *wait)
{
	bool lost = wait->must;
	GHashTableIter iter;
	JournalWait *other;

	if (wait->record->epoch == cap->epoch) {
		cap->epoch++;
		/* Numbers it used are not used again. */
		rows_add_counters(cap, journal_changes(cap));
	}
	g_hash_table_iter_init(&iter, cap->journal);
	while (!lost && g_hash_table_iter_next(&iter, NULL, (gpointer *)&other))
		lost = other->must && other->record->epoch < cap->epoch;
	if (lost)
		journal_lost(cap);
}

void capacity_journal_done(Capacity *cap, uint64_t req, bool ok)
{
	JournalWait *wait = cap->journal ? g_hash_table_lookup(cap->journal, &req) : NULL;

	if (!wait)
		return;
	capacity_enter(cap);
	g_hash_table_steal(cap->journal, &req);
	if (ok && wait->record->replaces_all && wait->record->epoch == cap->epoch)
		cap->replacing = false;
	if (!ok)
		note_failure(cap, wait);
	if (wait->done)
		wait->done(wait->context, ok);
	wait_free(wait);
	capacity_leave(cap);
}

/* ---- all anew ---- */

/* The rows can say where everything is: nothing is recorded one way and to end in another. */
static bool is_quiet(Capacity *cap)
{
	GHashTableIter iter;
	DcDevice *dev;

	if (g_hash_table_size(cap->journal) > 0)
		return false;
	g_hash_table_iter_init(&iter, cap->devices);
	while (g_hash_table_iter_next(&iter, NULL, (gpointer *)&dev)) {
		if (dev->releases->len > 0)
			return false;
		for (guint i = 0; i < dev->accepts->len; i++)
			if (accept_is_recorded(dev->accepts->pdata[i]))
				return false;
	}
	return true;
}

static void replace(Capacity *cap)
{
	cap->behind = false;
	cap->replacing = true;
	cap->replace_us = NEVER;
	cap->saved_map = cap->next_map;
	write_record(cap, capacity_dump(cap), true, NULL, NULL);
}

void journal_tick(Capacity *cap, uint64_t now_us)
{
	if (!cap->behind || cap->replace_us > now_us)
		return;
	cap->replace_us = now_us + RETRY_MIN_US;
	if (is_quiet(cap))
		replace(cap);
}

uint64_t journal_deadline_us(const Capacity *cap)
{
	return cap->behind ? cap->replace_us : NEVER;
}

bool capacity_is_behind(const Capacity *cap)
{
	return cap->behind || cap->replacing;
}

bool journal_refuses(const Capacity *cap, GError **error)
{
	if (!capacity_is_behind(cap))
		return false;
	g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_FAILED,
		    "the ledger could not be written; nothing is granted until it can be (tried "
		    "again every second)");
	return true;
}

/* ---- barriers ---- */

typedef struct Barrier {
	CapacityDurableFunc func;
	void *opaque;
} Barrier;

static void barrier_reached(void *context, bool ok)
{
	g_autofree Barrier *barrier = context;

	barrier->func(barrier->opaque, ok);
}

void capacity_when_durable(Capacity *cap, CapacityDurableFunc func, void *opaque)
{
	Barrier *barrier = g_new(Barrier, 1);

	*barrier = (Barrier){ func, opaque };
	capacity_enter(cap);
	journal_submit(cap, journal_new(cap, ROW_REASON_BARRIER), false, barrier_reached, barrier);
	capacity_leave(cap);
}

void journal_free(Capacity *cap)
{
	GHashTableIter iter;
	JournalWait *wait;

	if (cap->journal)
		g_hash_table_iter_init(&iter, cap->journal);
	while (cap->journal && g_hash_table_iter_next(&iter, NULL, (gpointer *)&wait))
		if (wait->done == barrier_reached)
			g_free(wait->context);
	g_clear_pointer(&cap->changes, row_record_unref);
	g_clear_pointer(&cap->journal, g_hash_table_unref);
}

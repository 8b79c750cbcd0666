/* SPDX-License-Identifier: BSD-3-Clause */
/* A pool from the rows of its ledger, and when what the core has done is durable. */
#ifndef CAPACITY_RESTORE_H
#define CAPACITY_RESTORE_H

/*
 * The journal. CapacityOps.journal(opaque, req, record) is given each record in order (take a
 * reference to keep it) and answers once, by capacity_journal_done(cap, req, ok) on the core's
 * thread. What a host is told waits for that answer. What an operator is told is the caller's
 * affair: capacity_when_durable() says when. After a record that could not be kept the pool is
 * "behind": it grants nothing until a record that replaces everything has been kept, which it tries
 * by itself every second.
 *
 * Restart, in this order, all on the core's thread, before any host or operator is served:
 *   capacity_new(), capacity_restore_begin() with all rows: backends and checks;
 *   for each DEVICE row: capacity_restore_take_static() for its static partitions, then
 *   capacity_add_device() with the configuration of the row, dc_device_add_static();
 *   capacity_restore_end(): extents, offers, drains, requests. What is due (wipes, forced releases
 *   of lost contents) starts then, its records go to the journal;
 *   capacity_host_gone() for each HOST row whose process has ended.
 * A row is not trusted: one that cannot be is an error that names it, and then the only thing to do
 * with the Capacity is capacity_free().
 */

#include "capacity/capacity.h"
#include "capacity/rows.h"

/*
 * ROWS: upserts, each key once; FILE rows with their adopted MemFile. A reference is kept until
 * capacity_restore_end(). CAP is fresh from capacity_new(). May block: opens files of backends.
 */
bool capacity_restore_begin(Capacity *cap, RowRecord *rows, GError **error);
/* Each DEVICE row must have been added by now. */
bool capacity_restore_end(Capacity *cap, GError **error);

/* The n-th DEVICE row, NULL beyond the last: what to pass to capacity_add_device(). Valid until
 * capacity_restore_end(). */
const RowDevice *capacity_restore_device(const Capacity *cap, guint index);
/* The restored memory of a static partition, to be given to dc_device_add_static(); zeroed if its
 * contents are lost. NULL: the ledger knows none. Caller owns it. */
Backend *capacity_restore_take_static(Capacity *cap, const RowDevice *device, uint64_t static_dpa);

/* Everything as rows, as a record that replaces all. Caller owns it. For a pool without commands
 * under way it is equal to what the journal has been given so far. */
RowRecord *capacity_dump(Capacity *cap);

/*
 * Calls FUNC, once, when all that has been done so far is durable, or (OK false) when that has
 * failed. May do so before it returns. Without a journal: at once, true.
 */
typedef void (*CapacityDurableFunc)(void *opaque, bool ok);
void capacity_when_durable(Capacity *cap, CapacityDurableFunc func, void *opaque);
/* True while the journal lacks something the pool has done: nothing new is granted. */
bool capacity_is_behind(const Capacity *cap);

/* The key of DEVICE rows. */
uint64_t dc_device_id(const DcDevice *dev);

#endif

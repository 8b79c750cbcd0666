/* SPDX-License-Identifier: BSD-3-Clause */
/* Trace entries from the thread where they happen to the one that reads them. */
#ifndef TRACE_TRACE_RING_H
#define TRACE_TRACE_RING_H

#include "trace/trace_entry.h"

/*
 * Design. One writer, one reader, each on any thread; bytes in a ring, two indexes that only grow.
 * The writer never waits and takes no lock: what does not fit is lost and counted, and the next
 * entry that fits says how many. An eventfd tells the reader; it is written only when the reader
 * had emptied the ring, so a busy ring costs no system call.
 */
typedef struct TraceRing TraceRing;

#define TRACE_RING_DEFAULT_LEN (1u << 20) /* bytes */

/* LEN: bytes, rounded up to a power of two; 0 = default. NULL if the system has no more memory or
 * descriptors. One reference. */
TraceRing *trace_ring_new(size_t len);
TraceRing *trace_ring_ref(TraceRing *ring);
void trace_ring_unref(TraceRing *ring); /* any thread */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TraceRing, trace_ring_unref)

/* The writer. Copies; n_lost of ENTRY is not looked at. */
void trace_ring_put(TraceRing *ring, const TraceEntry *entry);

/* The reader. The oldest entry, valid until the next call; NULL = none now. */
const TraceEntry *trace_ring_take(TraceRing *ring);
/* Readable when there may be something to take; borrowed. Taking until NULL makes it quiet. */
int trace_ring_peek_fd(const TraceRing *ring);

#endif

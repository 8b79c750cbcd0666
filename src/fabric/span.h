/* SPDX-License-Identifier: BSD-3-Clause */
/* Spans: interleaved ranges, mapped granule by granule into one range of our own addresses. */
#ifndef FABRIC_SPAN_H
#define FABRIC_SPAN_H

/*
 * Design. A turn of an interleaved range is one granule of each position. A *stripe* is what one
 * part gives to such a range: its position's granules from one turn to another. Where each position
 * has a stripe, a thread maps the granules side by side and hands the whole to the mapper as one
 * alias, a *span*. A mapping per granule takes far longer than a commit may, so putting a stripe
 * only says what there is: until the span stands fabric_access() serves it, and for good where
 * there are more granules than mappings to spend.
 *
 * Taking a stripe back ends the spans that it is in before it returns: nobody reaches them. Our own
 * mappings of a span that has ended go later, in the thread, unless spans_flush() wants it now.
 * A span is never mended: what is left of its stripes becomes new ones.
 *
 * Locks: spans_put(), spans_take() and spans_flush() come with their endpoint's lock held; the lock
 * here is taken after that and held over the mapper's unmap(), but not over its map().
 */

#include "fabric/decode.h"
#include "fabric/fabric.h"

typedef struct Spans Spans;

typedef struct Stripe {
	uint64_t hpa; /* where turn 0 begins */
	DecodeInterleave interleave;
	unsigned position;
	uint64_t first, end; /* turns */
	const void *map;     /* whose memory it is */
	int fd;              /* borrowed until spans_flush(map) */
	uint64_t offset;     /* in fd, of turn FIRST */
	bool writable;
} Stripe;

/* MAPPER and OPAQUE outlive it, *N_ALIASES too: it counts each span there. */
Spans *spans_new(uint64_t max_pieces, const FabricMapper *mapper, void *opaque, uint64_t *n_aliases,
		 GError **error);
/* All stripes are taken back. */
void spans_free(Spans *spans);

void spans_put(Spans *spans, const Stripe *stripe);
/* Forgets a stripe that was put; of spans it is in, those end that have turns of [FROM, END). */
void spans_take(Spans *spans, const Stripe *stripe, uint64_t from, uint64_t end);
/* Returns when no span that has ended maps MAP any more. */
void spans_flush(Spans *spans, const void *map);
/* There is something left to map or to unmap. */
bool spans_are_busy(Spans *spans);

bool stripe_is_same(const Stripe *a, const Stripe *b);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* All stripes and spans, and the thread that makes spans of stripes. */

#include "fabric/span_priv.h"
#include <errno.h>

typedef struct Known {
	Stripe stripe;
	uint64_t next; /* turns before it have been looked at */
} Known;

struct Spans {
	const FabricMapper *mapper;
	void *opaque;
	uint64_t *n_aliases;
	uint64_t max_pieces;
	GThread *thread;
	GMutex lock; /* of all below */
	GCond wake;  /* the thread */
	GCond moved; /* the state of a span */
	GArray *known;
	GPtrArray *spans;
	uint64_t n_pieces;
	bool was_refused; /* a span, for want of pieces */
	bool is_busy, stops;
};

bool stripe_is_same(const Stripe *a, const Stripe *b)
{
	return a->hpa == b->hpa && a->interleave.ways == b->interleave.ways &&
	       a->interleave.granularity == b->interleave.granularity &&
	       a->position == b->position && a->first == b->first && a->end == b->end &&
	       a->map == b->map && a->offset == b->offset;
}

/* Of the same interleaved range */
static bool is_beside(const Stripe *a, const Stripe *b)
{
	return a->hpa == b->hpa && a->interleave.ways == b->interleave.ways &&
	       a->interleave.granularity == b->interleave.granularity;
}

static void wake(Spans *spans)
{
	spans->is_busy = true;
	g_cond_signal(&spans->wake);
}

/* ---- What spans there can be ---- */

static Stripe sub_stripe(const Stripe *stripe, uint64_t first, uint64_t end)
{
	Stripe sub = *stripe;

	sub.offset += (first - stripe->first) * stripe->interleave.granularity;
	sub.first = first;
	sub.end = end;
	return sub;
}

/*
 * From turn FIRST on, until END at most, the same stripes hold up to RET->end; whether each
 * position has one, and they are alike.
 */
static bool find_stripes(const Spans *spans, const Stripe *of, uint64_t first, Span *ret)
{
	const Stripe *found[SPAN_MAX_WAYS] = { NULL };
	unsigned ways = of->interleave.ways;
	bool is_good = true;

	*ret = (Span){ .first = first, .end = of->end, .state = SPAN_MAPPED };
	for (guint i = 0; i < spans->known->len; i++) {
		const Stripe *stripe = &g_array_index(spans->known, Known, i).stripe;

		if (!is_beside(stripe, of) || stripe->end <= first)
			continue;
		if (stripe->first > first) {
			ret->end = MIN(ret->end, stripe->first);
			continue;
		}
		ret->end = MIN(ret->end, stripe->end);
		is_good &= !found[stripe->position] && stripe->writable == of->writable;
		found[stripe->position] = stripe;
	}
	for (unsigned i = 0; i < ways; i++) {
		is_good &= found[i] != NULL;
		if (is_good)
			ret->stripes[i] = sub_stripe(found[i], first, ret->end);
	}
	return is_good;
}

static bool is_there(const Spans *spans, const Span *wanted)
{
	for (guint i = 0; i < spans->spans->len; i++) {
		const Span *span = spans->spans->pdata[i];

		if (span->state <= SPAN_STANDS &&
		    is_beside(&span->stripes[0], &wanted->stripes[0]) &&
		    span->first < wanted->end && wanted->first < span->end)
			return true;
	}
	return false;
}

/* Nor need the other stripes that it is made of be looked at again there. */
static void pass(Spans *spans, const Span *span)
{
	for (guint i = 0; i < spans->known->len; i++) {
		Known *known = &g_array_index(spans->known, Known, i);

		if (is_beside(&known->stripe, &span->stripes[0]) && known->next >= span->first &&
		    known->next < span->end)
			known->next = span->end;
	}
}

/* The next one to be mapped; caller frees. NULL: all has been looked at. */
static Span *next_wanted(Spans *spans)
{
	Span *span = g_new(Span, 1);

	for (guint i = 0; i < spans->known->len; i++) {
		Known *known = &g_array_index(spans->known, Known, i);

		while (known->next < known->stripe.end) {
			bool is_good = find_stripes(spans, &known->stripe, known->next, span);

			known->next = span->end;
			if (!is_good || is_there(spans, span))
				continue;
			pass(spans, span);
			return span;
		}
	}
	g_free(span);
	return NULL;
}

/* ---- The thread ---- */

static void set_state(Spans *spans, Span *span, SpanState state)
{
	span->state = state;
	g_cond_broadcast(&spans->moved);
}

static int map_span(Spans *spans, Span *span)
{
	int ret = span_map(span);

	if (ret == 0)
		ret = spans->mapper->map(spans->opaque, &span->alias);
	if (ret == 0)
		__atomic_add_fetch(spans->n_aliases, 1, __ATOMIC_RELAXED);
	return ret;
}

static void report(Spans *spans, const Span *span, uint64_t n_needed, int ret)
{
	const Stripe *stripe = &span->stripes[0];
	FabricSpan told = {
		.hpa = stripe->hpa + span->first * stripe_turn_len(stripe),
		.len = (span->end - span->first) * stripe_turn_len(stripe),
		.ways = stripe->interleave.ways,
		.granularity = stripe->interleave.granularity,
		.n_needed = n_needed,
		.n_allowed = spans->max_pieces,
	};

	if (spans->mapper->span && ret != -ECANCELED)
		spans->mapper->span(spans->opaque, &told, ret);
}

/* Releases the lock for what takes long. */
static bool map_next(Spans *spans)
{
	Span *span = next_wanted(spans);
	uint64_t n_needed;
	int ret = -E2BIG;

	if (!span)
		return false;
	n_needed = spans->n_pieces + span_n_pieces(span);
	if (n_needed > spans->max_pieces) {
		spans->was_refused = true;
		g_mutex_unlock(&spans->lock);
		report(spans, span, n_needed, ret);
		g_free(span);
		g_mutex_lock(&spans->lock);
		return true;
	}
	spans->n_pieces = n_needed;
	g_ptr_array_add(spans->spans, span);
	g_mutex_unlock(&spans->lock);
	ret = map_span(spans, span);
	report(spans, span, n_needed, ret);
	g_mutex_lock(&spans->lock);
	set_state(spans, span, ret == 0 ? SPAN_STANDS : SPAN_ENDED);
	return true;
}

/* What did not fit before may now. */
static void look_again(Spans *spans)
{
	if (!spans->was_refused)
		return;
	for (guint i = 0; i < spans->known->len; i++) {
		Known *known = &g_array_index(spans->known, Known, i);

		known->next = known->stripe.first;
	}
	spans->was_refused = false;
	wake(spans);
}

/* Releases the lock for what takes long. */
static void unmap_span(Spans *spans, Span *span)
{
	span->state = SPAN_UNMAPPED;
	g_mutex_unlock(&spans->lock);
	span_unmap(span);
	g_mutex_lock(&spans->lock);
	spans->n_pieces -= span_n_pieces(span);
	g_ptr_array_remove_fast(spans->spans, span);
	g_free(span);
	look_again(spans);
	g_cond_broadcast(&spans->moved);
}

static bool unmap_next(Spans *spans)
{
	for (guint i = 0; i < spans->spans->len; i++) {
		Span *span = spans->spans->pdata[i];

		if (span->state == SPAN_ENDED) {
			unmap_span(spans, span);
			return true;
		}
	}
	return false;
}

static void *run(void *data)
{
	Spans *spans = data;

	g_mutex_lock(&spans->lock);
	while (!spans->stops) {
		if (unmap_next(spans) || map_next(spans))
			continue;
		spans->is_busy = false;
		while (!spans->is_busy && !spans->stops)
			g_cond_wait(&spans->wake, &spans->lock);
	}
	while (unmap_next(spans))
		;
	g_mutex_unlock(&spans->lock);
	return NULL;
}

/* ---- What endpoints say ---- */

void spans_put(Spans *spans, const Stripe *stripe)
{
	Known known = { *stripe, stripe->first };

	g_mutex_lock(&spans->lock);
	g_array_append_val(spans->known, known);
	wake(spans);
	g_mutex_unlock(&spans->lock);
}

static void forget(Spans *spans, const Stripe *stripe)
{
	for (guint i = 0; i < spans->known->len; i++) {
		if (stripe_is_same(&g_array_index(spans->known, Known, i).stripe, stripe)) {
			g_array_remove_index_fast(spans->known, i);
			return;
		}
	}
}

static bool is_in(const Stripe *stripe, uint64_t from, uint64_t end, const Span *span)
{
	return span->state <= SPAN_STANDS && is_beside(&span->stripes[0], stripe) &&
	       span->stripes[stripe->position].map == stripe->map && span->first < end &&
	       from < span->end;
}

static Span *find_in(Spans *spans, const Stripe *stripe, uint64_t from, uint64_t end)
{
	for (guint i = 0; i < spans->spans->len; i++) {
		if (is_in(stripe, from, end, spans->spans->pdata[i]))
			return spans->spans->pdata[i];
	}
	return NULL;
}

void spans_take(Spans *spans, const Stripe *stripe, uint64_t from, uint64_t end)
{
	Span *span;

	g_mutex_lock(&spans->lock);
	forget(spans, stripe);
	while ((span = find_in(spans, stripe, from, end))) {
		if (span->state == SPAN_MAPPED) {
			__atomic_store_n(&span->cancelled, true, __ATOMIC_RELAXED);
			g_cond_wait(&spans->moved, &spans->lock);
			continue;
		}
		spans->mapper->unmap(spans->opaque, &span->alias);
		__atomic_sub_fetch(spans->n_aliases, 1, __ATOMIC_RELAXED);
		set_state(spans, span, SPAN_ENDED);
		wake(spans);
	}
	g_mutex_unlock(&spans->lock);
}

static Span *find_ended(Spans *spans, const void *map)
{
	for (guint i = 0; i < spans->spans->len; i++) {
		Span *span = spans->spans->pdata[i];

		for (unsigned j = 0; j < span->stripes[0].interleave.ways; j++) {
			if (span->stripes[j].map == map && span->state >= SPAN_ENDED)
				return span;
		}
	}
	return NULL;
}

void spans_flush(Spans *spans, const void *map)
{
	Span *span;

	g_mutex_lock(&spans->lock);
	while ((span = find_ended(spans, map))) {
		if (span->state == SPAN_ENDED)
			unmap_span(spans, span);
		else
			g_cond_wait(&spans->moved, &spans->lock);
	}
	g_mutex_unlock(&spans->lock);
}

bool spans_are_busy(Spans *spans)
{
	bool is_busy;

	g_mutex_lock(&spans->lock);
	is_busy = spans->is_busy;
	g_mutex_unlock(&spans->lock);
	return is_busy;
}

/* ---- Life ---- */

Spans *spans_new(uint64_t max_pieces, const FabricMapper *mapper, void *opaque, uint64_t *n_aliases,
		 GError **error)
{
	Spans *spans = g_new0(Spans, 1);

	spans->mapper = mapper;
	spans->opaque = opaque;
	spans->n_aliases = n_aliases;
	spans->max_pieces = max_pieces;
	g_mutex_init(&spans->lock);
	g_cond_init(&spans->wake);
	g_cond_init(&spans->moved);
	spans->known = g_array_new(FALSE, FALSE, sizeof(Known));
	spans->spans = g_ptr_array_new();
	spans->thread = g_thread_try_new("fabric-spans", run, spans, error);
	if (!spans->thread)
		g_clear_pointer(&spans, spans_free);
	return spans;
}

void spans_free(Spans *spans)
{
	if (!spans)
		return;
	if (spans->thread) {
		g_mutex_lock(&spans->lock);
		spans->stops = true;
		g_cond_signal(&spans->wake);
		g_mutex_unlock(&spans->lock);
		g_thread_join(spans->thread);
	}
	g_ptr_array_unref(spans->spans);
	g_array_unref(spans->known);
	g_cond_clear(&spans->moved);
	g_cond_clear(&spans->wake);
	g_mutex_clear(&spans->lock);
	g_free(spans);
}

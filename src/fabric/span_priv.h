/* SPDX-License-Identifier: BSD-3-Clause */
/* One span: its mappings. What is known of all of them is in span.c. */
#ifndef FABRIC_SPAN_PRIV_H
#define FABRIC_SPAN_PRIV_H

#include "fabric/span.h"

#define SPAN_MAX_WAYS 16u

typedef enum SpanState {
	SPAN_MAPPED,   /* being so, by the thread */
	SPAN_STANDS,   /* an alias */
	SPAN_ENDED,    /* no alias any more, or never was one */
	SPAN_UNMAPPED, /* being so, by the thread or a flush */
} SpanState;

typedef struct Span {
	uint64_t first, end;           /* turns */
	Stripe stripes[SPAN_MAX_WAYS]; /* by position, each from FIRST to END */
	SpanState state;
	bool cancelled; /* atomic: not to be mapped any further */
	FabricAlias alias;
} Span;

/* Bytes from one turn to the next. */
uint64_t stripe_turn_len(const Stripe *stripe);
/* Mappings that it takes of those a process may have. */
uint64_t span_n_pieces(const Span *span);
/* Makes all its mappings and fills in the alias: 0, -ECANCELED or -errno. */
int span_map(Span *span);
/* Whatever there is of them; a few at a time, so that others can map and fault in between. */
void span_unmap(Span *span);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the dynamic capacity host share: held extents, their groups, and the chain. */
#ifndef DRIVER_DCD_PRIVATE_H
#define DRIVER_DCD_PRIVATE_H

#include "driver/driver_private.h"
#include "driver/treap.h"

#include <stdlib.h>

struct Group;

/* An accepted extent, or one about to be; disjoint from all others of the device */
typedef struct Held {
	TreapNode by_dpa;
	struct Group *group;
	struct Held *prev, *next; /* in assembly order */
	uint64_t dpa, len;
	uint16_t shared_seq;
} Held;

typedef struct Group {
	TreapNode by_tag; /* member only if tagged */
	struct Group *prev, *next;
	uint64_t id;
	CxlTag tag;
	bool tagged, recovered;
	bool asked; /* scratch of a release */
	unsigned region;
	Held *first, *last;
	uint32_t n_held;
	uint64_t len;
} Group;

/* An extent as the device sent it, checked only for form */
typedef struct Offered {
	uint64_t dpa, len;
	CxlTag tag;
	uint16_t shared_seq;
	uint32_t order; /* of arrival */
	int region;     /* -1: outside all */
} Offered;

typedef struct OfferedList {
	Offered *items;
	uint32_t n, room;
	bool too_long; /* more came than may */
} OfferedList;

typedef struct ReleaseAsk {
	CxlDpaRange range;
	CxlTag tag;
	bool forced;
} ReleaseAsk;

struct CxlDcd {
	CxlMemdev *memdev;
	CxlDriver *driver;
	CxlDcdOps ops;
	void *opaque;
	CxlDcdOptions options;
	uint32_t fw_logs; /* bit per log that firmware keeps to itself */
	uint32_t n_batch; /* records that fit one 0100h answer */
	uint8_t *in;      /* what the device answered; of payload length, as is the next */
	uint8_t *out;     /* what we send */

	Treap by_dpa, by_tag;
	Group *first, *last;
	uint64_t next_id;
	CxlDcdStats stats;

	OfferedList chain;
	uint64_t chain_begun; /* when its first record came */
	bool must_resync;     /* a command ended in the dark */
	uint16_t *uncleared;  /* handles whose records are handled but not cleared */
	uint32_t n_uncleared;
	unsigned uncleared_log;
};

/* ---- dcd.c ---- */
int dcd_set_policy(CxlDcd *dcd); /* interrupts for all logs */

/* ---- held.c ---- */
void held_init(CxlDcd *dcd);
Held *held_overlap(const CxlDcd *dcd, uint64_t dpa, uint64_t len); /* the lowest, or NULL */
Group *dc_group_by_tag(const CxlDcd *dcd, const CxlTag *tag);
bool cxl_tag_is_null(const CxlTag *tag);
/* A group in no list, its tag taken; NULL: out of memory. The tag must be free. */
Group *dc_group_new(CxlDcd *dcd, const CxlTag *tag, unsigned region);
/* 0, -EEXIST if something overlaps, -ENOMEM */
int dc_group_add(CxlDcd *dcd, Group *group, uint64_t dpa, uint64_t len, uint16_t shared_seq);
void dc_group_drop(CxlDcd *dcd, Group *group, Held *held); /* forgets one extent */
void dc_group_link(CxlDcd *dcd, Group *group);             /* becomes one of the accepted */
void dc_group_free(CxlDcd *dcd, Group *group);             /* linked or not, with all extents */
/*
 * Forgets a part of HELD, which may leave a piece on either side. SPARE becomes the right piece and
 * is set to NULL if it was needed; without one, the right piece is forgotten too.
 */
void held_carve(CxlDcd *dcd, Held *held, uint64_t dpa, uint64_t len, Held **spare);
/* Public view; to be cleared. */
int dc_group_view(const CxlDcd *dcd, const Group *group, CxlDcGroup *ret_view);
static inline void dc_group_view_clear(CxlDcGroup *view)
{
	free((void *)view->extents);
}

/* ---- chain.c: what is offered ---- */
int dc_chain_add(CxlDcd *dcd, const CxlEventDc *record);
int dc_chain_abandon(CxlDcd *dcd, const char *why); /* declines what has come of it so far */
int offered_push(CxlDcd *dcd, OfferedList *list, uint32_t max, const CxlDcExtent *extent);
void offered_clear(OfferedList *list);
/*
 * Makes groups of what passes the rules and the policy. Not linked yet: *ret_groups is chained by
 * next. Recovered ones: what the policy does not want is added to GIVE_BACK.
 */
int offered_judge(CxlDcd *dcd, OfferedList *list, bool recovered, Group **ret_groups,
		  OfferedList *give_back);
void dc_groups_tell_mapped(CxlDcd *dcd, Group *group);

/* ---- extent_list.c: 4801h ---- */
int dcd_sync(CxlDcd *dcd); /* cxl_dcd_resync(), not counted */

/* ---- give_back.c: releases and responses ---- */
int dc_send_ranges(CxlDcd *dcd, uint16_t opcode, const CxlDpaRange *ranges, uint32_t n,
		   uint32_t *ret_n_done);
int dc_release_asked(CxlDcd *dcd, const ReleaseAsk *asks, uint32_t n);
/* Tells, and forgets, RANGES of GROUP, each within one extent; frees the group when empty. */
void dc_revoke_ranges(CxlDcd *dcd, Group *group, const CxlDpaRange *ranges, uint32_t n);

#endif

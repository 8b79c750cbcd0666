/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to restore*.c: rows of a ledger on their way to becoming a pool. */
#ifndef CAPACITY_RESTORE_PRIV_H
#define CAPACITY_RESTORE_PRIV_H

#include "capacity/capacity_priv.h"

typedef struct RestoreDevice {
	const RowDevice *row;
	DcDevice *dev;           /* NULL until it is added */
	GHashTable *quarantined; /* DPA -> Extent; NULL = none */
} RestoreDevice;

typedef struct RestoreOffer {
	const RowOffer *row;
	Offer *offer;       /* NULL: no memory or DPA of it is in use any more */
	GPtrArray *extents; /* RowExtent, in assembly order */
} RestoreOffer;

/* Keys point into the rows. */
struct Restore {
	Capacity *cap;
	RowRecord *rows;
	bool has_counters;
	RowCounters counters;
	GHashTable *names;   /* of backends and devices: name -> its RowBackend or RowDevice */
	GHashTable *devices; /* id -> RestoreDevice */
	GPtrArray *in_order; /* RestoreDevice */
	GHashTable *files;   /* incarnation -> RowFile */
	GHashTable *files_of_offers; /* offer -> RowFile */
	GHashTable *memories;        /* incarnation in the rows -> Backend, named and static */
	GPtrArray *statics;          /* Backend: owned until taken */
	GHashTable *offers;          /* id -> RestoreOffer */
	GHashTable *requests;        /* id -> RowRequest */
	GHashTable *made;            /* id -> Request */
	GPtrArray *extents;          /* RowExtent */
	GPtrArray *returned;         /* Extents that only wait for their wipe */
	GHashTable *lost;            /* Backends whose contents are lost -> their old incarnation */
};

/* "ledger: " and what is wrong; always false. */
bool restore_refuse(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
bool restore_is_ram(BackendType type);

/* restore_memory.c */
bool restore_memories(Restore *restore, GError **error);
/* Once all memories are there. */
bool restore_holders(Restore *restore, GError **error);
/* The memory of an untagged offer. */
Backend *restore_untagged(Restore *restore, const RowOffer *row, GError **error);
/* Wipes that are due, files nobody owns, contents that are lost. */
void restore_settle(Restore *restore);

/* restore_offer.c: offers, extents, quarantine */
bool restore_offers(Restore *restore, GError **error);
/* restore_request.c */
bool restore_requests(Restore *restore, GError **error);
/* They are asked again, or over. */
void restore_resume_requests(Restore *restore);

#endif

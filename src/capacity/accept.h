/* SPDX-License-Identifier: BSD-3-Clause */
/* Private to 4802h: an answer to an offer while it is carried out. */
#ifndef CAPACITY_ACCEPT_H
#define CAPACITY_ACCEPT_H

#include "capacity/capacity_priv.h"

typedef struct AcceptPiece {
	Extent *extent; /* of the offer; the piece lies inside */
	uint64_t dpa;
	uint64_t len;
	uint64_t map_id;
} AcceptPiece;

typedef enum AcceptStage {
	ACCEPT_DIRTYING,
	ACCEPT_PREPARING,
	ACCEPT_JOURNALING,
	ACCEPT_EXPOSING,
} AcceptStage;

struct Accept {
	DcDevice *dev;
	DcHost host; /* whose answer it is */
	Offer *offer;
	GArray *pieces; /* AcceptPiece, in assembly order; none: all declined */
	AcceptStage stage;
	uint64_t effect; /* open prepare or expose */
	bool journal_open;
	bool journaled; /* as accepted */
	bool unwinding;
	unsigned n_open; /* what unwinding waits for */
	enum cxl_rc rc;  /* of a failure */
};

/* accept_rows.c: as it will be, and as it was before. NULL: no record is wanted. */
RowRecord *accept_record(const Accept *accept);
RowRecord *accept_undo_record(const Accept *accept);

#endif

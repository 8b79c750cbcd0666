/* SPDX-License-Identifier: BSD-3-Clause */
/* What the ledger is told of an answer to an offer, before it is carried out and if it fails. */
#include "capacity/accept.h"

static bool begins_extent(const AcceptPiece *piece)
{
	return piece->dpa == piece->extent->dpa;
}

/* The offer's extents go, except where a piece takes the place of one. */
static void delete_extents(const Accept *accept, RowRecord *record)
{
	const Offer *offer = accept->offer;
	guint index = 0;

	/* Both are in assembly order. */
	for (guint i = 0; i < offer->extents->len; i++) {
		const Extent *extent = offer->extents->pdata[i];
		bool replaced = false;

		for (; index < accept->pieces->len; index++) {
			const AcceptPiece *piece = &g_array_index(accept->pieces, AcceptPiece,
								  index);

			if (piece->extent != extent)
				break;
			replaced |= begins_extent(piece);
		}
		if (!replaced)
			rows_delete_extent(accept->dev, extent->dpa, record);
	}
}

RowRecord *accept_record(const Accept *accept)
{
	DcDevice *dev = accept->dev;
	RowRecord *record = journal_new(dev->cap, ROW_REASON_ACCEPT);

	if (!record)
		return NULL;
	rows_add_maps(dev->cap, record);
	if (accept->pieces->len > 0) {
		dev->recorded_generation++;
		rows_add_device(dev, record);
	}
	rows_add_offer(accept->offer, false, record);
	delete_extents(accept, record);
	for (guint i = 0; i < accept->pieces->len; i++) {
		const AcceptPiece *piece = &g_array_index(accept->pieces, AcceptPiece, i);
		RowExtent *row = rows_add_extent(piece->extent, record);

		row->dpa = piece->dpa;
		row->len = piece->len;
		row->mem_offset += piece->dpa - piece->extent->dpa;
		row->state = ROW_EXTENT_ACCEPTED;
		row->map_id = piece->map_id;
		row->host = piece->map_id ? accept->host.serial : 0;
	}
	return record;
}

RowRecord *accept_undo_record(const Accept *accept)
{
	const Offer *offer = accept->offer;
	RowRecord *record = journal_new(accept->dev->cap, ROW_REASON_UNDO);

	if (!record)
		return NULL;
	for (guint i = 0; i < accept->pieces->len; i++) {
		const AcceptPiece *piece = &g_array_index(accept->pieces, AcceptPiece, i);

		if (!begins_extent(piece))
			rows_delete_extent(accept->dev, piece->dpa, record);
	}
	rows_add_offer(offer, true, record);
	for (guint i = 0; i < offer->extents->len; i++)
		rows_add_extent(offer->extents->pdata[i], record);
	return record;
}

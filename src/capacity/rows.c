/* SPDX-License-Identifier: BSD-3-Clause */
/* Records of row changes: containers that own what their rows point at. */
#include "capacity/rows.h"

static void change_clear(gpointer data)
{
	RowChange *change = data;

	switch (change->kind) {
	case ROW_BACKEND:
		g_free(change->backend.name);
		g_free(change->backend.path);
		break;
	case ROW_FILE:
		g_free(change->file.backend);
		g_clear_pointer(&change->file.file, mem_file_unref);
		break;
	case ROW_DEVICE:
		g_free(change->device.name);
		g_free(change->device.regions);
		g_free(change->device.pool_config);
		break;
	case ROW_OFFER:
		g_free(change->offer.backend);
		break;
	default:
		break;
	}
}

RowRecord *row_record_new(RowReason reason)
{
	RowRecord *record = g_new0(RowRecord, 1);

	g_atomic_ref_count_init(&record->refs);
	record->reason = reason;
	record->changes = g_array_new(FALSE, TRUE, sizeof(RowChange));
	g_array_set_clear_func(record->changes, change_clear);
	return record;
}

RowRecord *row_record_ref(RowRecord *record)
{
	g_atomic_ref_count_inc(&record->refs);
	return record;
}

void row_record_unref(RowRecord *record)
{
	if (!g_atomic_ref_count_dec(&record->refs))
		return;
	g_array_unref(record->changes);
	g_free(record);
}

RowChange *row_record_add(RowRecord *record, RowOp op, RowKind kind)
{
	RowChange *change;

	g_array_set_size(record->changes, record->changes->len + 1);
	change = &g_array_index(record->changes, RowChange, record->changes->len - 1);
	change->op = op;
	change->kind = kind;
	return change;
}

const char *row_reason_name(RowReason reason)
{
	static const char *const names[ROW_N_REASONS] = {
		[ROW_REASON_OFFER] = "offer",     [ROW_REASON_DIRTY] = "dirty",
		[ROW_REASON_ACCEPT] = "accept",   [ROW_REASON_RELEASE] = "release",
		[ROW_REASON_UNDO] = "undo",       [ROW_REASON_REQUEST] = "request",
		[ROW_REASON_CHANGE] = "change",   [ROW_REASON_BARRIER] = "barrier",
		[ROW_REASON_REPLACE] = "replace",
	};

	return reason < ROW_N_REASONS ? names[reason] : "unknown";
}

const char *row_kind_name(RowKind kind)
{
	static const char *const names[ROW_N_KINDS] = {
		[ROW_COUNTERS] = "counters", [ROW_HOST] = "host",
		[ROW_BACKEND] = "backend",   [ROW_FILE] = "file",
		[ROW_HOLDER] = "holder",     [ROW_WIPE] = "wipe",
		[ROW_DEVICE] = "device",     [ROW_OFFER] = "offer",
		[ROW_EXTENT] = "extent",     [ROW_QUARANTINE] = "quarantine",
		[ROW_REQUEST] = "request",   [ROW_REQUEST_RANGE] = "request range",
	};

	return kind < ROW_N_KINDS ? names[kind] : "unknown";
}

MemFile *row_file_adopt(const RowFile *row, int fd, GError **error)
{
	MemFileConfig config = {
		.name = row->backend ? row->backend : UNTAGGED_FILE_NAME,
		.type = row->type,
		.len = row->len,
		.page_size = row->page_size,
		.read_only = row->read_only,
	};

	return mem_file_adopt(&config, fd, error);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* One member of a row's struct as one column. */
#ifndef LEDGER_LEDGER_COLUMN_H
#define LEDGER_LEDGER_COLUMN_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEDGER_MAX_REGIONS 8 /* of a device */

typedef enum ColumnType {
	COLUMN_ONE, /* no member: the key of a table with one row */
	COLUMN_U64,
	COLUMN_I64,
	COLUMN_U32,
	COLUMN_U16,
	COLUMN_U8,
	COLUMN_BOOL,
	COLUMN_TEXT,
	COLUMN_TEXT_OR_NULL,
	COLUMN_UUID,    /* all zero is NULL */
	COLUMN_GBYTES,  /* or NULL */
	COLUMN_REGIONS, /* RowDevice's n_regions and regions */
} ColumnType;

typedef struct Column {
	const char *name;
	ColumnType type;
	size_t offset; /* of the member */
	uint64_t max;  /* of a number's value; 0 = that of its type */
} Column;

/* Binds the member in ROW to parameter INDEX; what it points to must live until the statement is
 * reset. Adds to the check sum. SQLITE_OK or the error. */
int column_bind(const Column *column, const void *row, sqlite3_stmt *stmt, int index,
		uint32_t *sum);
/* The other way round; ROW owns copies. False: not a value of this type. */
bool column_load(const Column *column, void *row, sqlite3_stmt *stmt, int index, uint32_t *sum);
/* Frees what column_load() has put into ROW. */
void column_clear(const Column *column, void *row);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* Binds and loads columns by type. */
#include "ledger/ledger_column.h"
#include "capacity/rows.h"

#include <string.h>

/* A region in the column of a device: two little-endian numbers of 64 bits and its flags. */
#define REGION_LEN 17

enum {
	REGION_SHARABLE = 1 << 0,
	REGION_READ_ONLY = 1 << 1,
	REGION_SANITIZE = 1 << 2,
	REGION_NON_VOLATILE = 1 << 3,
	REGION_FLAGS = (1 << 4) - 1,
};

/* ---- the check sum ---- */

/* 64 bits to 64 bits, every one of which depends on every one (MurmurHash3's finalizer). */
static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= UINT64_C(0xff51afd7ed558ccd);
	x ^= x >> 33;
	x *= UINT64_C(0xc4ceb9fe1a85ec53);
	return x ^ x >> 33;
}

static uint64_t hash_bytes(const void *data, size_t len)
{
	uint64_t hash = mix(len);

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ ((const uint8_t *)data)[i]) * UINT64_C(0x100000001b3);
	return mix(hash);
}

/* Columns are told apart by name, and the order does not matter: so one can be added. */
static uint32_t sum_of(const Column *column, uint64_t value)
{
	return (uint32_t)mix(value + hash_bytes(column->name, strlen(column->name)));
}

static void sum_number(const Column *column, uint64_t value, uint32_t *sum)
{
	if (value)
		*sum += sum_of(column, value);
}

static void sum_bytes(const Column *column, const void *data, size_t len, uint32_t *sum)
{
	*sum += sum_of(column, hash_bytes(data, len));
}

/* ---- numbers ---- */

static uint64_t type_max(ColumnType type)
{
	switch (type) {
	case COLUMN_U32:
		return UINT32_MAX;
	case COLUMN_U16:
		return UINT16_MAX;
	case COLUMN_U8:
		return UINT8_MAX;
	case COLUMN_BOOL:
		return 1;
	case COLUMN_ONE:
		return 0;
	default:
		return UINT64_MAX;
	}
}

static uint64_t get_number(const Column *column, const void *member)
{
	switch (column->type) {
	case COLUMN_U64:
	case COLUMN_I64:
		return *(const uint64_t *)member;
	case COLUMN_U32:
		return *(const uint32_t *)member;
	case COLUMN_U16:
		return *(const uint16_t *)member;
	case COLUMN_U8:
		return *(const uint8_t *)member;
	case COLUMN_BOOL:
		return *(const bool *)member;
	default:
		return 0;
	}
}

static void set_number(const Column *column, void *member, uint64_t value)
{
	switch (column->type) {
	case COLUMN_U64:
	case COLUMN_I64:
		*(uint64_t *)member = value;
		break;
	case COLUMN_U32:
		*(uint32_t *)member = (uint32_t)value;
		break;
	case COLUMN_U16:
		*(uint16_t *)member = (uint16_t)value;
		break;
	case COLUMN_U8:
		*(uint8_t *)member = (uint8_t)value;
		break;
	case COLUMN_BOOL:
		*(bool *)member = value != 0;
		break;
	default:
		break;
	}
}

static bool load_number(const Column *column, void *member, sqlite3_stmt *stmt, int index,
			uint32_t *sum)
{
	uint64_t value = (uint64_t)sqlite3_column_int64(stmt, index);

	if (sqlite3_column_type(stmt, index) != SQLITE_INTEGER ||
	    value > (column->max ? column->max : type_max(column->type)))
		return false;
	sum_number(column, value, sum);
	set_number(column, member, value);
	return true;
}

/* ---- bytes ---- */

static void put_le64(uint8_t *to, uint64_t value)
{
	for (unsigned i = 0; i < 8; i++)
		to[i] = (uint8_t)(value >> 8 * i);
}

static uint64_t get_le64(const uint8_t *from)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < 8; i++)
		value |= (uint64_t)from[i] << 8 * i;
	return value;
}

static size_t encode_regions(const RowDevice *device, uint8_t *to)
{
	g_assert(device->n_regions <= LEDGER_MAX_REGIONS);
	for (uint32_t i = 0; i < device->n_regions; i++, to += REGION_LEN) {
		const RowRegion *region = &device->regions[i];

		put_le64(to, region->len);
		put_le64(to + 8, region->block_size);
		to[16] = (uint8_t)((region->sharable ? REGION_SHARABLE : 0) |
				   (region->read_only ? REGION_READ_ONLY : 0) |
				   (region->sanitize_on_release ? REGION_SANITIZE : 0) |
				   (region->non_volatile ? REGION_NON_VOLATILE : 0));
	}
	return (size_t)device->n_regions * REGION_LEN;
}

static bool decode_regions(RowDevice *device, const uint8_t *from, size_t len)
{
	if (len % REGION_LEN || len / REGION_LEN > LEDGER_MAX_REGIONS)
		return false;
	device->n_regions = (uint32_t)(len / REGION_LEN);
	device->regions = g_new0(RowRegion, device->n_regions);
	for (uint32_t i = 0; i < device->n_regions; i++, from += REGION_LEN) {
		if (from[16] & ~REGION_FLAGS)
			return false;
		device->regions[i] = (RowRegion){
			.len = get_le64(from),
			.block_size = get_le64(from + 8),
			.sharable = from[16] & REGION_SHARABLE,
			.read_only = from[16] & REGION_READ_ONLY,
			.sanitize_on_release = from[16] & REGION_SANITIZE,
			.non_volatile = from[16] & REGION_NON_VOLATILE,
		};
	}
	return true;
}

static int bind_text(const Column *column, const char *text, sqlite3_stmt *stmt, int index,
		     uint32_t *sum)
{
	if (!text)
		return sqlite3_bind_null(stmt, index);
	sum_bytes(column, text, strlen(text), sum);
	return sqlite3_bind_text(stmt, index, text, -1, SQLITE_STATIC);
}

static int bind_blob(const Column *column, const void *data, size_t len,
		     sqlite3_destructor_type lifetime, sqlite3_stmt *stmt, int index, uint32_t *sum)
{
	sum_bytes(column, data, len, sum);
	/* A null pointer would bind NULL, which is not an empty blob. */
	return sqlite3_bind_blob64(stmt, index, len ? data : "", len, lifetime);
}

static bool load_text(const Column *column, char **member, sqlite3_stmt *stmt, int index,
		      uint32_t *sum)
{
	const char *text = (const char *)sqlite3_column_text(stmt, index);
	int len = sqlite3_column_bytes(stmt, index);

	if (sqlite3_column_type(stmt, index) == SQLITE_NULL)
		return column->type == COLUMN_TEXT_OR_NULL;
	if (!text || !g_utf8_validate(text, len, NULL))
		return false;
	sum_bytes(column, text, (size_t)len, sum);
	*member = g_strdup(text);
	return true;
}

static bool load_blob(const Column *column, void *row, sqlite3_stmt *stmt, int index, uint32_t *sum)
{
	const void *data = sqlite3_column_blob(stmt, index);
	size_t len = (size_t)sqlite3_column_bytes(stmt, index);
	void *member = (char *)row + column->offset;

	if (sqlite3_column_type(stmt, index) == SQLITE_NULL)
		return column->type == COLUMN_UUID || column->type == COLUMN_GBYTES;
	if (sqlite3_column_type(stmt, index) != SQLITE_BLOB)
		return false;
	sum_bytes(column, data, len, sum);
	switch (column->type) {
	case COLUMN_GBYTES:
		*(GBytes **)member = g_bytes_new(data, len);
		return true;
	case COLUMN_REGIONS:
		return decode_regions(row, data, len);
	default:
		if (len != 16)
			return false;
		memcpy(member, data, len);
		return true;
	}
}

/* ---- by type ---- */

int column_bind(const Column *column, const void *row, sqlite3_stmt *stmt, int index, uint32_t *sum)
{
	const void *member = (const char *)row + column->offset;
	uint8_t regions[LEDGER_MAX_REGIONS * REGION_LEN] = { 0 };
	const GBytes *bytes;
	uint64_t number;

	switch (column->type) {
	case COLUMN_TEXT:
	case COLUMN_TEXT_OR_NULL:
		return bind_text(column, *(char *const *)member, stmt, index, sum);
	case COLUMN_UUID:
		if (uuid_is_null(member))
			return sqlite3_bind_null(stmt, index);
		return bind_blob(column, member, 16, SQLITE_STATIC, stmt, index, sum);
	case COLUMN_GBYTES:
		bytes = *(GBytes *const *)member;
		if (!bytes)
			return sqlite3_bind_null(stmt, index);
		return bind_blob(column, g_bytes_get_data((GBytes *)bytes, NULL),
				 g_bytes_get_size((GBytes *)bytes), SQLITE_STATIC, stmt, index,
				 sum);
	case COLUMN_REGIONS:
		return bind_blob(column, regions, encode_regions(row, regions), SQLITE_TRANSIENT,
				 stmt, index, sum);
	default:
		number = get_number(column, member);
		sum_number(column, number, sum);
		return sqlite3_bind_int64(stmt, index, (sqlite3_int64)number);
	}
}

bool column_load(const Column *column, void *row, sqlite3_stmt *stmt, int index, uint32_t *sum)
{
	void *member = (char *)row + column->offset;

	switch (column->type) {
	case COLUMN_TEXT:
	case COLUMN_TEXT_OR_NULL:
		return load_text(column, member, stmt, index, sum);
	case COLUMN_UUID:
	case COLUMN_GBYTES:
	case COLUMN_REGIONS:
		return load_blob(column, row, stmt, index, sum);
	default:
		return load_number(column, member, stmt, index, sum);
	}
}

void column_clear(const Column *column, void *row)
{
	void *member = (char *)row + column->offset;

	if (column->type == COLUMN_TEXT || column->type == COLUMN_TEXT_OR_NULL)
		g_clear_pointer((char **)member, g_free);
	else if (column->type == COLUMN_GBYTES)
		g_clear_pointer((GBytes **)member, g_bytes_unref);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Little-endian wire integers that cannot be taken for host integers, and bit-field helpers. */

/*
 * Each leN is a struct of N/8 bytes: alignment 1, no implicit conversion, no arithmetic. Read one
 * with leN_get(), make one with leN_put(); leN_load() and leN_store() do the same on raw buffers.
 * Because every wire struct in this folder is built from these and from uint8_t only, all of them
 * have alignment 1 and no padding, and may be laid over any byte buffer of sufficient length.
 */
#ifndef CXL_ENDIAN_H
#define CXL_ENDIAN_H

#include <stddef.h>
#include <stdint.h>

#define CXL_STATIC_ASSERT(expr) _Static_assert(expr, #expr)

/* CXL_BIT(n), CXL_BITS(hi, lo): 32-bit masks; the 64 forms are for 64-bit registers. */
#define CXL_BIT(n)         (UINT32_C(1) << (n))
#define CXL_BITS(hi, lo)   ((UINT32_MAX >> (31 - (hi))) & (UINT32_MAX << (lo)))
#define CXL_BIT64(n)       (UINT64_C(1) << (n))
#define CXL_BITS64(hi, lo) ((UINT64_MAX >> (63 - (hi))) & (UINT64_MAX << (lo)))

/* Field access by mask alone: the mask is contiguous and unsigned; PUT cuts off excess bits. */
#define CXL_FIELD_LSB(mask)      ((mask) & ~((mask) << 1))
#define CXL_FIELD_GET(mask, reg) (((reg) & (mask)) / CXL_FIELD_LSB(mask))
#define CXL_FIELD_PUT(mask, val) (((val)*CXL_FIELD_LSB(mask)) & (mask))

typedef struct {
	uint8_t b[2];
} le16;
typedef struct {
	uint8_t b[3];
} le24;
typedef struct {
	uint8_t b[4];
} le32;
typedef struct {
	uint8_t b[8];
} le64;

CXL_STATIC_ASSERT(sizeof(le16) == 2 && _Alignof(le16) == 1);
CXL_STATIC_ASSERT(sizeof(le24) == 3 && _Alignof(le24) == 1);
CXL_STATIC_ASSERT(sizeof(le32) == 4 && _Alignof(le32) == 1);
CXL_STATIC_ASSERT(sizeof(le64) == 8 && _Alignof(le64) == 1);

static inline uint16_t le16_load(const void *src)
{
	const uint8_t *b = (const uint8_t *)src;

	return (uint16_t)(b[0] | b[1] << 8);
}

static inline uint32_t le24_load(const void *src)
{
	const uint8_t *b = (const uint8_t *)src;

	return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16;
}

static inline uint32_t le32_load(const void *src)
{
	const uint8_t *b = (const uint8_t *)src;

	return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static inline uint64_t le64_load(const void *src)
{
	const uint8_t *b = (const uint8_t *)src;

	return le32_load(b) | (uint64_t)le32_load(b + 4) << 32;
}

static inline void le16_store(void *dst, uint16_t val)
{
	uint8_t *b = (uint8_t *)dst;

	b[0] = (uint8_t)val;
	b[1] = (uint8_t)(val >> 8);
}

/* Stores the low 24 bits of @val. */
static inline void le24_store(void *dst, uint32_t val)
{
	uint8_t *b = (uint8_t *)dst;

	b[0] = (uint8_t)val;
	b[1] = (uint8_t)(val >> 8);
	b[2] = (uint8_t)(val >> 16);
}

static inline void le32_store(void *dst, uint32_t val)
{
	uint8_t *b = (uint8_t *)dst;

	b[0] = (uint8_t)val;
	b[1] = (uint8_t)(val >> 8);
	b[2] = (uint8_t)(val >> 16);
	b[3] = (uint8_t)(val >> 24);
}

static inline void le64_store(void *dst, uint64_t val)
{
	uint8_t *b = (uint8_t *)dst;

	le32_store(b, (uint32_t)val);
	le32_store(b + 4, (uint32_t)(val >> 32));
}

static inline uint16_t le16_get(le16 wire)
{
	return le16_load(wire.b);
}

static inline uint32_t le24_get(le24 wire)
{
	return le24_load(wire.b);
}

static inline uint32_t le32_get(le32 wire)
{
	return le32_load(wire.b);
}

static inline uint64_t le64_get(le64 wire)
{
	return le64_load(wire.b);
}

static inline le16 le16_put(uint16_t val)
{
	le16 wire;

	le16_store(wire.b, val);
	return wire;
}

/* Keeps the low 24 bits of @val. */
static inline le24 le24_put(uint32_t val)
{
	le24 wire;

	le24_store(wire.b, val);
	return wire;
}

static inline le32 le32_put(uint32_t val)
{
	le32 wire;

	le32_store(wire.b, val);
	return wire;
}

static inline le64 le64_put(uint64_t val)
{
	le64 wire;

	le64_store(wire.b, val);
	return wire;
}

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* AML: writes the byte code of ACPI namespace objects. */
#include "machine/aml.h"

#include <string.h>

#define MAX_DEPTH 16
#define NAME_LEN  4
#define UUID_LEN  16
#define UUID_TEXT 36

/* ACPI 6.5, 20.2 */
#define AML_ZERO         0x00
#define AML_ONE          0x01
#define AML_NAME         0x08
#define AML_BYTE         0x0a
#define AML_WORD         0x0b
#define AML_DWORD        0x0c
#define AML_TEXT         0x0d
#define AML_QWORD        0x0e
#define AML_SCOPE        0x10
#define AML_BUFFER       0x11
#define AML_PACKAGE      0x12
#define AML_METHOD       0x14
#define AML_DUAL_NAME    0x2e
#define AML_MULTI_NAME   0x2f
#define AML_EXT          0x5b
#define AML_ROOT         0x5c
#define AML_ARG0         0x68
#define AML_EXT_DEVICE   0x82
#define AML_IF           0xa0
#define AML_ELSE         0xa1
#define METHOD_SERIALIZE 0x08
#define PKG_LEN_MAX      (1u << 28)

/* Resource descriptors, ACPI 6.5, 6.4.2 and 6.4.3 */
#define RES_IO               0x47
#define RES_END              0x79
#define RES_DWORD_SPACE      0x87
#define RES_WORD_SPACE       0x88
#define RES_INTERRUPT        0x89
#define RES_QWORD_SPACE      0x8a
#define RES_DECODE16         0x01
#define RES_CONSUMER         0x01
#define RES_FIXED            0x0c /* minimum and maximum */
#define RES_SPACE_MEMORY     0
#define RES_SPACE_BUS        2
#define RES_MEMORY_WRITABLE  0x01
#define RES_MEMORY_CACHEABLE 0x02
#define RES_IRQ_EDGE         0x02

typedef struct AmlOpen {
	guint at; /* where the length goes */
	bool is_resources;
} AmlOpen;

struct Aml {
	GByteArray *bytes;
	AmlOpen open[MAX_DEPTH];
	unsigned depth;
};

Aml *aml_new(void)
{
	Aml *aml = g_new0(Aml, 1);

	aml->bytes = g_byte_array_new();
	return aml;
}

GByteArray *aml_finish(Aml *aml)
{
	GByteArray *bytes = aml->bytes;

	g_assert(aml->depth == 0);
	g_free(aml);
	return bytes;
}

/* Little-endian, LEN bytes of it. */
static void put(Aml *aml, uint64_t value, unsigned len)
{
	uint64_t le = GUINT64_TO_LE(value);

	g_byte_array_append(aml->bytes, (const uint8_t *)&le, len);
}

static void put_byte(Aml *aml, uint8_t byte)
{
	put(aml, byte, 1);
}

/* ---- what has a length ---- */

static void begin(Aml *aml, bool is_resources)
{
	g_assert(aml->depth < MAX_DEPTH);
	aml->open[aml->depth++] = (AmlOpen){ aml->bytes->len, is_resources };
}

static void insert(GByteArray *bytes, guint at, const uint8_t *data, guint len)
{
	guint tail = bytes->len - at;

	g_byte_array_set_size(bytes, bytes->len + len);
	memmove(bytes->data + at + len, bytes->data + at, tail);
	memcpy(bytes->data + at, data, len);
}

/* PkgLength counts itself. Returns its own length. */
static unsigned encode_pkg_len(uint32_t len, uint8_t ret[4])
{
	unsigned n;

	if (len + 1 < 64) {
		ret[0] = (uint8_t)(len + 1);
		return 1;
	}
	for (n = 2; n < 4 && len + n >= 1u << (4 + 8 * (n - 1)); n++)
		;
	len += n;
	g_assert(len < PKG_LEN_MAX);
	ret[0] = (uint8_t)((n - 1) << 6 | (len & 0xf));
	for (unsigned i = 1; i < n; i++)
		ret[i] = (uint8_t)(len >> (4 + 8 * (i - 1)));
	return n;
}

/* A resource template is a buffer: its size is a term before its bytes. */
static void end_resources(Aml *aml, guint at)
{
	uint8_t size[3] = { AML_WORD };
	guint len;

	put_byte(aml, RES_END);
	put_byte(aml, 0); /* no checksum */
	len = aml->bytes->len - at;
	g_assert(len <= UINT16_MAX);
	size[1] = (uint8_t)len;
	size[2] = (uint8_t)(len >> 8);
	if (len <= UINT8_MAX) {
		size[0] = AML_BYTE;
		insert(aml->bytes, at, size, 2);
	} else {
		insert(aml->bytes, at, size, 3);
	}
}

void aml_end(Aml *aml)
{
	const AmlOpen *open;
	uint8_t pkg_len[4];
	unsigned n;

	g_assert(aml->depth > 0);
	open = &aml->open[--aml->depth];
	if (open->is_resources)
		end_resources(aml, open->at);
	n = encode_pkg_len(aml->bytes->len - open->at, pkg_len);
	insert(aml->bytes, open->at, pkg_len, n);
}

void aml_scope(Aml *aml, const char *path)
{
	put_byte(aml, AML_SCOPE);
	begin(aml, false);
	aml_path(aml, path);
}

void aml_device(Aml *aml, const char *path)
{
	put_byte(aml, AML_EXT);
	put_byte(aml, AML_EXT_DEVICE);
	begin(aml, false);
	aml_path(aml, path);
}

void aml_method(Aml *aml, const char *path, unsigned n_args, bool serialized)
{
	g_assert(n_args <= 7);
	put_byte(aml, AML_METHOD);
	begin(aml, false);
	aml_path(aml, path);
	put_byte(aml, (uint8_t)(n_args | (serialized ? METHOD_SERIALIZE : 0)));
}

void aml_package(Aml *aml, uint8_t n_elements)
{
	put_byte(aml, AML_PACKAGE);
	begin(aml, false);
	put_byte(aml, n_elements);
}

void aml_if(Aml *aml)
{
	put_byte(aml, AML_IF);
	begin(aml, false);
}

void aml_else(Aml *aml)
{
	put_byte(aml, AML_ELSE);
	begin(aml, false);
}

void aml_resources(Aml *aml)
{
	put_byte(aml, AML_BUFFER);
	begin(aml, true);
}

/* ---- terms ---- */

static bool is_segment(const char *text)
{
	for (unsigned i = 0; i < NAME_LEN; i++) {
		bool is_letter = (text[i] >= 'A' && text[i] <= 'Z') || text[i] == '_';

		if (!is_letter && (i == 0 || !g_ascii_isdigit(text[i])))
			return false;
	}
	return text[NAME_LEN] == '\0' || text[NAME_LEN] == '.';
}

void aml_path(Aml *aml, const char *path)
{
	size_t n;

	if (*path == '\\') {
		put_byte(aml, AML_ROOT);
		path++;
	}
	n = (strlen(path) + 1) / (NAME_LEN + 1);
	g_assert(n >= 1 && n <= UINT8_MAX && strlen(path) == n * (NAME_LEN + 1) - 1);
	if (n == 2) {
		put_byte(aml, AML_DUAL_NAME);
	} else if (n > 2) {
		put_byte(aml, AML_MULTI_NAME);
		put_byte(aml, (uint8_t)n);
	}
	for (size_t i = 0; i < n; i++, path += NAME_LEN + 1) {
		g_assert(is_segment(path));
		g_byte_array_append(aml->bytes, (const uint8_t *)path, NAME_LEN);
	}
}

void aml_name(Aml *aml, const char *path)
{
	put_byte(aml, AML_NAME);
	aml_path(aml, path);
}

void aml_op(Aml *aml, AmlOp op)
{
	put_byte(aml, (uint8_t)op);
}

void aml_int(Aml *aml, uint64_t value)
{
	if (value <= 1) {
		put_byte(aml, value ? AML_ONE : AML_ZERO);
	} else if (value <= UINT8_MAX) {
		put_byte(aml, AML_BYTE);
		put(aml, value, 1);
	} else if (value <= UINT16_MAX) {
		put_byte(aml, AML_WORD);
		put(aml, value, 2);
	} else if (value <= UINT32_MAX) {
		put_byte(aml, AML_DWORD);
		put(aml, value, 4);
	} else {
		put_byte(aml, AML_QWORD);
		put(aml, value, 8);
	}
}

void aml_string(Aml *aml, const char *text)
{
	put_byte(aml, AML_TEXT);
	g_byte_array_append(aml->bytes, (const uint8_t *)text, (guint)strlen(text) + 1);
}

void aml_buffer(Aml *aml, const void *data, uint8_t len)
{
	put_byte(aml, AML_BUFFER);
	begin(aml, false);
	put_byte(aml, AML_BYTE);
	put_byte(aml, len);
	g_byte_array_append(aml->bytes, data, len);
	aml_end(aml);
}

/* ACPI 6.5, 19.3.4: three letters of five bits, four digits, big-endian. */
void aml_eisa_id(Aml *aml, const char *id)
{
	uint32_t packed = 0;

	g_assert(strlen(id) == 7);
	for (unsigned i = 0; i < 3; i++) {
		g_assert(id[i] >= 'A' && id[i] <= 'Z');
		packed = packed << 5 | (uint32_t)(id[i] - 'A' + 1);
	}
	for (unsigned i = 3; i < 7; i++) {
		g_assert(g_ascii_isxdigit(id[i]));
		packed = packed << 4 | (uint32_t)g_ascii_xdigit_value(id[i]);
	}
	put_byte(aml, AML_DWORD);
	put(aml, GUINT32_SWAP_LE_BE(packed), 4);
}

void aml_uuid(Aml *aml, const char *uuid)
{
	/* Which pair of digits, by place in the text, becomes which byte. */
	static const uint8_t places[UUID_LEN] = { 6,  4,  2,  0,  11, 9,  16, 14,
						  19, 21, 24, 26, 28, 30, 32, 34 };
	uint8_t bytes[UUID_LEN];

	g_assert(strlen(uuid) == UUID_TEXT);
	for (unsigned i = 0; i < UUID_LEN; i++) {
		const char *pair = uuid + places[i];

		g_assert(g_ascii_isxdigit(pair[0]) && g_ascii_isxdigit(pair[1]));
		bytes[i] = (uint8_t)(g_ascii_xdigit_value(pair[0]) << 4 |
				     g_ascii_xdigit_value(pair[1]));
	}
	aml_buffer(aml, bytes, sizeof(bytes));
}

void aml_arg(Aml *aml, unsigned n)
{
	g_assert(n < 7);
	put_byte(aml, (uint8_t)(AML_ARG0 + n));
}

void aml_name_int(Aml *aml, const char *path, uint64_t value)
{
	aml_name(aml, path);
	aml_int(aml, value);
}

void aml_name_string(Aml *aml, const char *path, const char *text)
{
	aml_name(aml, path);
	aml_string(aml, text);
}

void aml_name_eisa_id(Aml *aml, const char *path, const char *id)
{
	aml_name(aml, path);
	aml_eisa_id(aml, id);
}

/* ---- resources ---- */

void aml_res_io(Aml *aml, uint16_t base, uint8_t len)
{
	put_byte(aml, RES_IO);
	put_byte(aml, RES_DECODE16);
	put(aml, base, 2); /* lowest and highest base */
	put(aml, base, 2);
	put_byte(aml, 1); /* alignment */
	put_byte(aml, len);
}

void aml_res_irq(Aml *aml, uint32_t gsi)
{
	put_byte(aml, RES_INTERRUPT);
	put(aml, 6, 2);
	put_byte(aml, RES_CONSUMER | RES_IRQ_EDGE);
	put_byte(aml, 1); /* of them */
	put(aml, gsi, 4);
}

/* An address space descriptor whose five addresses have ADDRESS_LEN bytes each. */
static void put_space(Aml *aml, uint8_t tag, unsigned address_len, uint8_t space, uint8_t general,
		      uint8_t specific, uint64_t base, uint64_t len)
{
	g_assert(len > 0 && base + (len - 1) >= base);
	put_byte(aml, tag);
	put(aml, 3 + 5 * address_len, 2);
	put_byte(aml, space);
	put_byte(aml, general);
	put_byte(aml, specific);
	put(aml, 0, address_len); /* granularity */
	put(aml, base, address_len);
	put(aml, base + (len - 1), address_len);
	put(aml, 0, address_len); /* translation */
	put(aml, len, address_len);
}

void aml_res_memory(Aml *aml, uint64_t base, uint64_t len)
{
	put_space(aml, RES_QWORD_SPACE, 8, RES_SPACE_MEMORY, RES_CONSUMER | RES_FIXED,
		  RES_MEMORY_WRITABLE, base, len);
}

void aml_res_buses(Aml *aml, uint8_t first, uint8_t last)
{
	g_assert(first <= last);
	put_space(aml, RES_WORD_SPACE, 2, RES_SPACE_BUS, RES_FIXED, 0, first,
		  (uint64_t)(last - first) + 1);
}

void aml_res_window32(Aml *aml, uint32_t base, uint32_t len)
{
	g_assert((uint64_t)base + len <= UINT64_C(1) << 32);
	put_space(aml, RES_DWORD_SPACE, 4, RES_SPACE_MEMORY, RES_FIXED, RES_MEMORY_WRITABLE, base,
		  len);
}

void aml_res_window64(Aml *aml, uint64_t base, uint64_t len)
{
	put_space(aml, RES_QWORD_SPACE, 8, RES_SPACE_MEMORY, RES_FIXED,
		  RES_MEMORY_WRITABLE | RES_MEMORY_CACHEABLE, base, len);
}

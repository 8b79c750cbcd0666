/* SPDX-License-Identifier: BSD-3-Clause */
/* ACPI's CEDT: a parser that trusts no length, count or address in the table. */
#include "agent/cedt.h"
#include "cxl/component.h"
#include "cxl/endian.h"

#include <string.h>

/* ACPI 6.5 5.2.6: what every table begins with; all bytes add up to 0 modulo 256. */
typedef struct AcpiHeader {
	uint8_t signature[4];
	le32 len;
	uint8_t revision;
	uint8_t checksum;
	uint8_t oem_id[6];
	uint8_t oem_table_id[8];
	le32 oem_revision;
	uint8_t creator_id[4];
	le32 creator_revision;
} AcpiHeader;
CXL_STATIC_ASSERT(sizeof(AcpiHeader) == 36);

/* CXL 3.1 9.18.1: what every entry begins with */
typedef struct CedtEntry {
	uint8_t type;
	uint8_t reserved;
	le16 len; /* with this header */
} CedtEntry;
CXL_STATIC_ASSERT(sizeof(CedtEntry) == 4);

#define CEDT_CHBS  0
#define CEDT_CFMWS 1

/* CXL 3.1 9.18.1.2: host bridge structure */
typedef struct CedtChbs {
	CedtEntry entry;
	le32 uid;
	le32 version;
	le32 reserved;
	le64 base;
	le64 len;
} CedtChbs;
CXL_STATIC_ASSERT(sizeof(CedtChbs) == 32);

#define CHBS_VERSION_CXL2 1

/* CXL 3.1 9.18.1.3: fixed memory window structure; a 32-bit target for each way follows. */
typedef struct CedtCfmws {
	CedtEntry entry;
	le32 reserved;
	le64 base;
	le64 len;
	uint8_t ways_code;
	uint8_t arithmetic;
	uint8_t reserved2[2];
	le32 granularity_code;
	le16 restrictions;
	le16 qtg_id;
} CedtCfmws;
CXL_STATIC_ASSERT(sizeof(CedtCfmws) == 36);

#define CFMWS_MODULO 0

static const char *take_bridge(Cedt *cedt, const CedtChbs *chbs, unsigned len)
{
	CedtBridge bridge;

	if (len < sizeof(*chbs))
		return "a host bridge structure is too short";
	bridge = (CedtBridge){ .uid = le32_get(chbs->uid), .chbcr = le64_get(chbs->base) };
	if (le32_get(chbs->version) != CHBS_VERSION_CXL2) {
		cedt->n_skipped++;
		return NULL;
	}
	if (le64_get(chbs->len) < CXL_COMPONENT_LEN || bridge.chbcr % CXL_COMPONENT_LEN ||
	    bridge.chbcr + CXL_COMPONENT_LEN < bridge.chbcr)
		return "a host bridge's registers are not 64 KiB at a multiple of it";
	for (unsigned i = 0; i < cedt->n_bridges; i++) {
		if (cedt->bridges[i].uid == bridge.uid)
			return "two host bridges have the same UID";
	}
	if (cedt->n_bridges == CEDT_MAX_BRIDGES)
		return "more than 64 host bridges";
	cedt->bridges[cedt->n_bridges++] = bridge;
	return NULL;
}

static bool overlaps(const CxlWindow *a, const CxlWindow *b)
{
	return a->hpa < b->hpa + b->len && b->hpa < a->hpa + a->len;
}

static const char *take_window(Cedt *cedt, const CedtCfmws *cfmws, unsigned len)
{
	const uint8_t *targets = (const uint8_t *)cfmws + sizeof(*cfmws);
	CxlWindow window;

	if (len < sizeof(*cfmws))
		return "a window structure is too short";
	memset(&window, 0, sizeof(window));
	window.hpa = le64_get(cfmws->base);
	window.len = le64_get(cfmws->len);
	window.ways = cxl_iw_decode(cfmws->ways_code);
	window.restrictions = le16_get(cfmws->restrictions);
	if (!window.ways || window.ways > sizeof(window.targets) / sizeof(window.targets[0]))
		return "a window has an impossible number of ways";
	if (len < sizeof(*cfmws) + 4 * window.ways)
		return "a window structure has fewer targets than ways";
	if (!window.len || (window.hpa | window.len) % CXL_HDM_ALIGN ||
	    window.hpa + window.len < window.hpa)
		return "a window's base and length are not multiples of 256 MiB";
	if (window.ways > 1) {
		uint32_t code = le32_get(cfmws->granularity_code);

		window.granularity = code > UINT8_MAX ? 0 : cxl_ig_decode(code);
		if (cxl_ig_encode(window.granularity) < 0)
			return "a window has an impossible granularity";
	}
	for (unsigned i = 0; i < cedt->n_windows; i++) {
		if (overlaps(&cedt->windows[i], &window))
			return "two windows overlap";
	}
	/* One target takes all addresses, whichever way they would be spread. */
	if (cfmws->arithmetic != CFMWS_MODULO && window.ways > 1) {
		cedt->n_skipped++;
		return NULL;
	}
	for (unsigned i = 0; i < window.ways; i++)
		window.targets[i] = le32_load(targets + 4 * (size_t)i);
	if (cedt->n_windows == CEDT_MAX_WINDOWS)
		return "more than 64 windows";
	cedt->windows[cedt->n_windows++] = window;
	return NULL;
}

static const char *take_entry(Cedt *cedt, const CedtEntry *entry, unsigned len)
{
	switch (entry->type) {
	case CEDT_CHBS:
		return take_bridge(cedt, (const CedtChbs *)(const void *)entry, len);
	case CEDT_CFMWS:
		return take_window(cedt, (const CedtCfmws *)(const void *)entry, len);
	default:
		cedt->n_skipped++;
		return NULL;
	}
}

const char *cedt_parse(const void *table, size_t len, Cedt *ret_cedt)
{
	const AcpiHeader *header = table;
	const uint8_t *bytes = table;
	Cedt cedt = { .n_bridges = 0 };
	uint8_t sum = 0;

	if (len < sizeof(*header) || memcmp(header->signature, "CEDT", 4) != 0)
		return "it does not begin with CEDT";
	if (le32_get(header->len) != len || len > CEDT_MAX_LEN)
		return "its length is not what its header says";
	for (size_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + bytes[i]);
	if (sum)
		return "its checksum is wrong";
	for (size_t pos = sizeof(*header); pos < len;) {
		const CedtEntry *entry = (const CedtEntry *)(bytes + pos);
		const char *fault;
		unsigned entry_len;

		if (len - pos < sizeof(*entry))
			return "it ends in the middle of an entry";
		entry_len = le16_get(entry->len);
		if (entry_len < sizeof(*entry) || entry_len > len - pos)
			return "an entry is longer than the table, or has no length";
		fault = take_entry(&cedt, entry, entry_len);
		if (fault)
			return fault;
		pos += entry_len;
	}
	*ret_cedt = cedt;
	return NULL;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* ACPI's CEDT: which host bridges there are and which windows of memory lead to them. */
#ifndef AGENT_CEDT_H
#define AGENT_CEDT_H

#include "driver/cxl_bus.h"

#define CEDT_MAX_BRIDGES 64
#define CEDT_MAX_WINDOWS 64
#define CEDT_MAX_LEN     (1u << 20)

typedef struct CedtBridge {
	uint32_t uid;   /* _UID of its ACPI0016 */
	uint64_t chbcr; /* host physical address of its component registers */
} CedtBridge;

typedef struct Cedt {
	CedtBridge bridges[CEDT_MAX_BRIDGES];
	unsigned n_bridges;
	CxlWindow windows[CEDT_MAX_WINDOWS];
	unsigned n_windows;
	unsigned n_skipped; /* entries that are of no use to us, or of a kind we do not know */
} Cedt;

/*
 * Reads a table of LEN bytes. NULL, or a sentence about what is wrong with it: then *ret_cedt is
 * unchanged. Entries that are well formed but describe something we cannot use (a CXL 1.1 host
 * bridge, a window that interleaves by XOR) are skipped and counted.
 */
const char *cedt_parse(const void *table, size_t len, Cedt *ret_cedt);

#endif

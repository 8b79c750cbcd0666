/* SPDX-License-Identifier: BSD-3-Clause */
/* Trace entries as a pcapng capture, for Wireshark and its like; docs/trace.md says what is in it.
 */
#ifndef TRACE_PCAPNG_H
#define TRACE_PCAPNG_H

#include "cxl/endian.h"
#include "trace/trace_entry.h"

#include <stdio.h>

/*
 * pcapng 1.0 (draft-ietf-opsawg-pcapng): a section header, then an interface description for each
 * device when it first appears, and an enhanced packet for each entry, with the decoded text as its
 * comment. No registered link type has room for a command and its answer, so it is USER0: the frame
 * below, then the input and output kept, or the event record.
 */
#define PCAPNG_LINKTYPE 147 /* LINKTYPE_USER0 */

typedef struct PcapngFrame {
	uint8_t version; /* 1 */
	uint8_t kind;    /* TraceKind */
	uint8_t log;     /* CXL_LOG_*, of a record */
	uint8_t reserved;
	le16 opcode, rc;        /* of a command, and the next five too */
	le32 took_us;           /* microseconds; 0xffffffff = or longer */
	le32 in_len, out_len;   /* as they were */
	le32 in_kept, out_kept; /* as they follow */
	le32 n_lost;            /* entries lost just before this one */
} PcapngFrame;
CXL_STATIC_ASSERT(sizeof(PcapngFrame) == 32);
CXL_STATIC_ASSERT(offsetof(PcapngFrame, took_us) == 8);
CXL_STATIC_ASSERT(offsetof(PcapngFrame, n_lost) == 28);

typedef struct Pcapng Pcapng;

/* Writes the section header; FILE stays the caller's. NULL with errno if that fails. */
Pcapng *pcapng_new(FILE *file);
void pcapng_free(Pcapng *pcapng);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Pcapng, pcapng_free)
/* Writes one entry of DEVICE and flushes the file, so that a reader sees it. False with errno. */
bool pcapng_write(Pcapng *pcapng, const char *device, const TraceEntry *entry);

#endif

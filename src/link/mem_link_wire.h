/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory link messages as they are on the wire; docs/memory-link.md explains them. */
#ifndef LINK_MEM_LINK_WIRE_H
#define LINK_MEM_LINK_WIRE_H

#include "cxl/endian.h"

#include <stdbool.h>

#define MEM_LINK_VERSION 1u
#define MEM_LINK_PAGE    4096u /* dpa, len and offset of every map are multiples of it */

/* Bounds. A message that breaks one is a violation, whoever sent it. */
#define MEM_LINK_MAX_MESSAGE     65536u         /* bytes */
#define MEM_LINK_MAX_OUTSTANDING 64u            /* messages sent by the device, not yet answered */
#define MEM_LINK_MAX_HELD        (65536u + 64u) /* all extents a device can have, and statics */
#define MEM_LINK_MAX_PREPARE     16u            /* maps, and so descriptors, in one message */
#define MEM_LINK_MAX_IDS         4096u          /* in one expose or drop */
#define MEM_LINK_MAX_PARTS       2048u          /* in one revoke */
#define MEM_LINK_MAX_HELD_HERE   1024u          /* in one held message */
#define MEM_LINK_MAX_DECODERS    32u

typedef enum MemLinkType {
	MEM_LINK_HELLO = 1, /* host -> device */
	MEM_LINK_HELD = 2,
	MEM_LINK_DONE = 3,
	MEM_LINK_MISSES = 4,
	MEM_LINK_WELCOME = 16, /* device -> host */
	MEM_LINK_DECODER = 17,
	MEM_LINK_PREPARE = 18,
	MEM_LINK_EXPOSE = 19,
	MEM_LINK_REVOKE = 20,
	MEM_LINK_DROP = 21,
} MemLinkType;

/* Every message: this, a fixed part, COUNT entries of one size, and nothing after. */
typedef struct MemLinkHeader {
	le32 len; /* of the whole message, bytes */
	le16 type;
	le16 count;
	le64 id; /* of a request; in done, of the request it answers; else 0 */
} MemLinkHeader;
CXL_STATIC_ASSERT(sizeof(MemLinkHeader) == 16);
CXL_STATIC_ASSERT(offsetof(MemLinkHeader, type) == 4);
CXL_STATIC_ASSERT(offsetof(MemLinkHeader, id) == 8);

/* Header and version keep their place in every future version. */
typedef struct MemLinkHelloMessage {
	MemLinkHeader header;
	le32 version;
	le32 max_maps; /* pieces of maps the host can hold at once; 0xffffffff = no limit */
	le32 n_held;   /* entries of the held messages that follow, all together */
	le32 reserved;
	uint8_t session[16];
} MemLinkHelloMessage;
CXL_STATIC_ASSERT(sizeof(MemLinkHelloMessage) == 48);
CXL_STATIC_ASSERT(offsetof(MemLinkHelloMessage, version) == 16);
CXL_STATIC_ASSERT(offsetof(MemLinkHelloMessage, session) == 32);

/* A map, or what is left of one, that the host still holds; entry of held. */
typedef struct MemLinkHeld {
	le64 map_id;
	le64 dpa;
	le64 len;
	le64 incarnation;
} MemLinkHeld;
CXL_STATIC_ASSERT(sizeof(MemLinkHeld) == 32);

typedef enum MemLinkWelcomeStatus {
	MEM_LINK_WELCOME_OK = 0,
	MEM_LINK_WELCOME_VERSION = 1, /* the device speaks only the version it names */
	MEM_LINK_WELCOME_REFUSED = 2, /* not this host */
	MEM_LINK_WELCOME_BUSY = 3,    /* another host is connected */
} MemLinkWelcomeStatus;

typedef struct MemLinkWelcomeMessage {
	MemLinkHeader header;
	le32 version;
	le32 status;
} MemLinkWelcomeMessage;
CXL_STATIC_ASSERT(sizeof(MemLinkWelcomeMessage) == 24);

typedef enum MemLinkStatus {
	MEM_LINK_OK = 0,
	MEM_LINK_FAILED = 1,
	MEM_LINK_NO_ROOM = 2, /* more pieces than max_maps */
} MemLinkStatus;

typedef struct MemLinkDoneMessage {
	MemLinkHeader header;
	le32 status;
	le32 reserved;
} MemLinkDoneMessage;
CXL_STATIC_ASSERT(sizeof(MemLinkDoneMessage) == 24);

typedef struct MemLinkMissesMessage {
	MemLinkHeader header;
	le64 reads;
	le64 writes;
} MemLinkMissesMessage;
CXL_STATIC_ASSERT(sizeof(MemLinkMissesMessage) == 32);

#define MEM_LINK_DECODER_COMMITTED CXL_BIT(0)

typedef struct MemLinkDecoderEntry {
	le32 index;
	le32 flags;
	le32 ways;
	le32 granularity; /* bytes */
	le64 hpa;
	le64 len; /* bytes of HPA */
	le64 dpa;
} MemLinkDecoderEntry;
CXL_STATIC_ASSERT(sizeof(MemLinkDecoderEntry) == 40);
CXL_STATIC_ASSERT(offsetof(MemLinkDecoderEntry, hpa) == 16);

#define MEM_LINK_PREPARE_WRITABLE CXL_BIT(0)

/* Its file is the descriptor at the same place in the message's SCM_RIGHTS. */
typedef struct MemLinkPrepareEntry {
	le64 map_id;
	le64 dpa;
	le64 len;
	le64 offset; /* into the file */
	le64 incarnation;
	le32 flags;
	le32 reserved;
} MemLinkPrepareEntry;
CXL_STATIC_ASSERT(sizeof(MemLinkPrepareEntry) == 48);
CXL_STATIC_ASSERT(offsetof(MemLinkPrepareEntry, flags) == 40);

/* Entry of expose and drop. */
typedef struct MemLinkIdEntry {
	le64 map_id;
} MemLinkIdEntry;
CXL_STATIC_ASSERT(sizeof(MemLinkIdEntry) == 8);

typedef struct MemLinkRevokeEntry {
	le64 map_id;
	le64 dpa;
	le64 len;
} MemLinkRevokeEntry;
CXL_STATIC_ASSERT(sizeof(MemLinkRevokeEntry) == 24);

/* One row per message type: all that decides whether a message is well formed. */
typedef struct MemLinkFormat {
	MemLinkType type;
	const char *name;
	bool from_host;
	bool has_id;        /* else it must be 0 */
	uint16_t fixed_len; /* header and fixed part */
	uint16_t entry_len;
	uint16_t min_count, max_count;
	uint8_t fds_per_entry;
} MemLinkFormat;

/* NULL for an unknown type. */
const MemLinkFormat *mem_link_format(unsigned type);
/*
 * The format of a received message if its direction, lengths, count, id and number of descriptors
 * are right, else NULL. What the fields mean is the receiver's to check.
 */
const MemLinkFormat *mem_link_check_message(const void *buf, size_t len, unsigned n_fds,
					    bool from_host);
/* Fills in the header of a message with COUNT entries and returns its length. */
size_t mem_link_put_header(MemLinkHeader *header, MemLinkType type, unsigned count, uint64_t id);
/* Page multiples, not empty, end below 2^64. */
bool mem_link_range_is_valid(uint64_t start, uint64_t len);

#endif

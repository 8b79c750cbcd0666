/* SPDX-License-Identifier: BSD-3-Clause */
/* What the parts of the fabric know of each other. */
#ifndef FABRIC_FABRIC_PRIV_H
#define FABRIC_FABRIC_PRIV_H

/*
 * Locks, in order of taking: bridge->lock (its registers; held over a commit), ep->lock (maps and
 * aliases; held over mapper calls), fabric->access (what fabric_access() decodes with: members
 * marked "published" change only under its write lock, held for a few assignments at a time) or
 * what span.c has.
 * port->lock guards that port's registers alone.
 */

#include "cxl/component.h"
#include "fabric/access_lock.h"
#include "fabric/decode.h"
#include "fabric/fabric.h"
#include "fabric/reg_block.h"
#include "fabric/span.h"

typedef struct Port {
	GMutex lock;
	RegBlock config;
	RegBlock component;
	FabricFunction function;
	void *function_opaque;
	bool is_plugged;
	FabricEndpoint *endpoint; /* published */
} Port;

typedef struct BridgeDecoder {
	bool committed;
	uint64_t hpa, len;
	DecodeInterleave interleave;
	uint8_t targets[CXL_HDM_MAX_TARGETS]; /* port numbers */
} BridgeDecoder;

typedef struct Bridge {
	Fabric *fabric;
	FabricHostBridge config;
	GMutex lock;
	RegBlock regs;
	BridgeDecoder decoders[CXL_HDM_MAX_DECODERS]; /* published; written under LOCK too */
	Port ports[FABRIC_MAX_PORTS];
} Bridge;

typedef struct Window {
	FabricWindow config;
	DecodeInterleave interleave;
	Bridge *targets[FABRIC_MAX_TARGETS];
	uint64_t n_unmapped_reads; /* atomic, like the next */
	uint64_t n_unmapped_writes;
} Window;

struct Fabric {
	Window *windows; /* ordered by address */
	unsigned n_windows;
	Bridge *bridges;
	unsigned n_bridges;
	uint32_t max_stripes;
	Spans *spans; /* NULL = none */
	FabricMapper mapper;
	void *opaque;
	AccessLock access;
	uint64_t n_unmapped_reads; /* outside windows; atomic, like the next two */
	uint64_t n_unmapped_writes;
	uint64_t n_aliases;
};

/* One open file for all maps of it: a backend's extents come with a descriptor each. */
typedef struct MapFile {
	uint64_t dev, ino;
	bool writable;
	int fd;
	unsigned refs;
} MapFile;

typedef struct Map {
	FabricMap config; /* fd: see file */
	MapFile *file;
	uint64_t page_size; /* what its mappings are cut at */
	void *mapping;      /* MAPPING_LEN bytes; NULL when nothing of it is left */
	size_t mapping_len;
	uint8_t *hva; /* of config.dpa */
	bool is_exposed;
	unsigned n_parts;
	GPtrArray *pending; /* Part, until exposed */
} Map;

/* What is left of a map after revoking pieces of it; never merged with others. */
typedef struct Part {
	uint64_t dpa, len; /* published once exposed */
	Map *map;
	GArray *aliases; /* FabricAlias by address; NULL = none */
	GArray *stripes; /* Stripe, by address of their decoders; NULL = none */
} Part;

/* A range of addresses that window, host bridge and endpoint agree on. */
typedef struct Path {
	uint64_t hpa, end;
	FabricDecoder decoder;
	DecodeInterleave interleave; /* the decoder's */
	unsigned position;
} Path;

struct FabricEndpoint {
	Fabric *fabric;
	Bridge *bridge;
	unsigned port;
	GMutex lock;
	FabricDecoder decoders[CXL_HDM_MAX_DECODERS]; /* published */
	GArray *paths;                                /* Path by address */
	GHashTable *maps;                             /* id -> Map */
	GHashTable *files;                            /* MapFile, a set */
	GTree *parts;                                 /* exposed, by DPA; published */
	uintptr_t lowest; /* address of the mapping made last, 0 = none: where to try next */
};

Bridge *fabric_find_bridge(Fabric *fabric, uint32_t uid);

bool host_bridge_init(Bridge *bridge, Fabric *fabric, const FabricHostBridge *config,
		      GError **error);
void host_bridge_clear(Bridge *bridge);

void root_port_init(Port *port, unsigned number);
void root_port_clear(Port *port);
/* First and last bus behind the port; false if it has none. */
bool root_port_buses(Port *port, uint8_t *ret_secondary, uint8_t *ret_subordinate);
/* Returns with no lock held, having passed on a bus reset. */
void root_port_config_write(Port *port, uint32_t offset, const void *buf, uint32_t len);

/* Capability array with RAS and, if N_DECODERS > 0, room for decoders at COMPONENT_HDM. */
#define COMPONENT_RAS (CXL_COMPONENT_CACHEMEM + 0x80)
#define COMPONENT_HDM (CXL_COMPONENT_CACHEMEM + 0x200)
void component_block_init(RegBlock *regs, unsigned n_decoders);

/* The part that covers DPA, else NULL; RET_RUN: for how many bytes that answer holds. */
Part *endpoint_find_part(const FabricEndpoint *ep, uint64_t dpa, uint64_t *ret_run);

/* GHashFunc and GEqualFunc of MapFile */
guint map_file_hash(gconstpointer key);
gboolean map_file_equal(gconstpointer a, gconstpointer b);

/* All below under ep->lock. */
/* 0 or -errno; then config->fd is still the caller's and MAP is to be freed. */
int map_open(FabricEndpoint *ep, const FabricMap *config, Map *map);
void map_forget(Map *map, uint64_t dpa, uint64_t len); /* out of our own address space */
void map_close(FabricEndpoint *ep, Map *map);

/* What a part gives to spans: takes back what it does no more; puts what it does now. */
void compose_stripes_take(FabricEndpoint *ep, Part *part);
void compose_stripes_put(FabricEndpoint *ep, Part *part);
/* Takes all back; of the spans those end that have some of [DPA, DPA + LEN), and are unmapped. */
void compose_stripes_drop(FabricEndpoint *ep, Part *part, uint64_t dpa, uint64_t len);

/* Aliases of a part that has none: all of them or none and -errno. */
int compose_part_map(FabricEndpoint *ep, Part *part);
void compose_part_unmap(FabricEndpoint *ep, Part *part);
/* Takes [DPA, DPA + LEN) out of PART's aliases; those behind it go to RIGHT (may be NULL). */
void compose_part_cut(FabricEndpoint *ep, Part *part, uint64_t dpa, uint64_t len, Part *right);
/*
 * After a decoder changed: what must go, then what must come. With BEST_EFFORT failures are left to
 * fabric_access(); without, the first is returned and the caller undoes its change and comes again.
 */
int compose_update(FabricEndpoint *ep, bool best_effort);

#endif

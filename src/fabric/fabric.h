/* SPDX-License-Identifier: BSD-3-Clause */
/* Fabric: a host's side of CXL: fixed windows, host bridges, root ports, and what they lead to. */
#ifndef FABRIC_FABRIC_H
#define FABRIC_FABRIC_H

/*
 * Design. An address is reachable if it lies in a window, in a committed decoder of the host bridge
 * the window points to, in a committed decoder of the endpoint at the port that one points to, and
 * in an exposed map of that endpoint; and if the interleaving of the three fits together. Whole
 * pages of such addresses are handed to the mapper as *aliases*; everything else goes through
 * fabric_access(), which decodes each access and also works where there is an alias. Interleaved
 * ranges can be composed to *spans*, one alias over several devices: by a thread of the fabric's,
 * after whatever made them possible has returned. They are taken back as any alias.
 *
 * Threads. Endpoint calls come from that endpoint's memory link thread, register and configuration
 * accesses from any thread, fabric_access() from any. Composition is serialised per endpoint by a
 * lock held across mapper calls; fabric_access(), configuration accesses and FabricFunction calls
 * never take it. So a mapper may wait for DMA users of the memory, but neither for a device's
 * vfio-user socket nor for a memory link. Mapper calls may come from several threads at once, then
 * for disjoint addresses.
 */

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Fabric Fabric;
typedef struct FabricEndpoint FabricEndpoint;

#define FABRIC_MAX_TARGETS 16
#define FABRIC_MAX_PORTS   32

/* CFMWS: a fixed range of host physical addresses */
typedef struct FabricWindow {
	uint64_t hpa;         /* multiple of 256 MiB */
	uint64_t len;         /* multiple of 256 MiB * ways */
	unsigned ways;        /* across host bridges: 1, 2, 4, 8, 16, 3, 6, 12 */
	uint32_t granularity; /* 256 bytes to 16 KiB; with one way it has no effect */
	uint16_t restrictions;
	uint16_t qtg_id;
	uint32_t targets[FABRIC_MAX_TARGETS]; /* host bridge UIDs in interleave order, all different
					       */
} FabricWindow;

/* A host bridge; root port n is device n, function 0 on its first bus and has port number n. */
typedef struct FabricHostBridge {
	uint32_t uid;
	uint8_t bus_first, bus_last; /* ECAM range */
	unsigned n_ports;            /* 1..FABRIC_MAX_PORTS */
	unsigned n_decoders;         /* a number HDM capabilities can express; 0 = 10 */
} FabricHostBridge;

typedef struct FabricConfig {
	const FabricWindow *windows;
	unsigned n_windows;
	const FabricHostBridge *bridges;
	unsigned n_bridges;
	/* Pieces an interleaved map may be cut into for aliases, above that it goes through
	 * fabric_access(); 0 = 4096 */
	uint32_t max_stripes;
	/*
	 * Not 0: interleaved ranges become spans instead, if their granules are whole pages. That
	 * many mappings of this process (vm.max_map_count) may be spent on their granules; a span
	 * that would take more than are left goes through fabric_access().
	 */
	uint64_t max_span_pieces;
} FabricConfig;

/*
 * One direct mapping of backend memory; page aligned. Comes from exactly one map and one decoder,
 * or is a span: the granules of several devices side by side; then it is never cut.
 */
typedef struct FabricAlias {
	uint64_t hpa;
	uint64_t len;
	uint64_t dpa;    /* of a span: 0, like offset and map_id */
	int fd;          /* borrowed; of a span: -1 */
	uint64_t offset; /* in fd */
	void *hva; /* the same bytes in this process; HVA = DPA modulo 2 MiB where the file allows
		    */
	uint64_t map_id;
	bool writable;
} FabricAlias;

/* An interleaved range on which all that it takes for a span is committed and exposed. */
typedef struct FabricSpan {
	uint64_t hpa, len;
	unsigned ways;
	uint32_t granularity;
	uint64_t n_needed;  /* pieces of all spans with this one */
	uint64_t n_allowed; /* max_span_pieces */
} FabricSpan;

typedef struct FabricMapper {
	/* 0 or -errno. Later unmap and cut calls name the same hpa and len. */
	int (*map)(void *opaque, const FabricAlias *alias);
	/* Returns when the range is reachable by nobody any more. */
	void (*unmap)(void *opaque, const FabricAlias *alias);
	/*
	 * Takes [HPA, HPA + LEN) out of ALIAS and returns when nobody reaches it; the rest stays
	 * reachable all the time and is from now on one or two aliases of its own. May be NULL:
	 * then the whole alias is unmapped and the rest mapped again, and is away for that moment.
	 */
	void (*cut)(void *opaque, const FabricAlias *alias, uint64_t hpa, uint64_t len);
	/*
	 * What has become of a span: 0, it is an alias; -E2BIG, it takes too many pieces, or what
	 * failed: then fabric_access() serves it. From the fabric's own thread; may be NULL.
	 */
	void (*span)(void *opaque, const FabricSpan *span, int rc);
} FabricMapper;

/* Errors name the window or bridge, the value and the rule. */
Fabric *fabric_new(const FabricConfig *config, const FabricMapper *mapper, void *opaque,
		   GError **error);
/* All endpoints are freed before. */
void fabric_free(Fabric *fabric);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Fabric, fabric_free)

/* ---- Host bridge component registers (CHBCR), 64 KiB; outside them: zeros, writes dropped ---- */

void fabric_chbcr_read(Fabric *fabric, uint32_t uid, uint32_t offset, void *buf, uint32_t len);
/* Returns when what the write commits or takes back is mapped or unmapped. */
void fabric_chbcr_write(Fabric *fabric, uint32_t uid, uint32_t offset, const void *buf,
			uint32_t len);

/* ---- Configuration space and BARs ---- */

/*
 * What is plugged below a root port; called with no lock held, from the accessing thread. 0 or
 * -errno, a failed read counts as all-ones. RESET (may be NULL) is a secondary bus reset.
 */
typedef struct FabricFunction {
	int (*config_read)(void *opaque, uint32_t offset, void *buf, uint32_t len);
	int (*config_write)(void *opaque, uint32_t offset, const void *buf, uint32_t len);
	int (*bar_read)(void *opaque, unsigned bar, uint64_t offset, void *buf, uint32_t len);
	int (*bar_write)(void *opaque, unsigned bar, uint64_t offset, const void *buf,
			 uint32_t len);
	void (*reset)(void *opaque);
} FabricFunction;

/* Only while no access can come. FUNCTION NULL = unplug. */
bool fabric_plug(Fabric *fabric, uint32_t uid, unsigned port, const FabricFunction *function,
		 void *opaque);

/*
 * By bus << 8 | device << 3 | function, over all bridges, by the ports' current bus numbers. Absent
 * functions read all-ones and drop writes (0); reads of a function that fails are all-ones too, and
 * its -errno is returned.
 */
int fabric_config_read(Fabric *fabric, uint32_t bdf, uint32_t offset, void *buf, uint32_t len);
int fabric_config_write(Fabric *fabric, uint32_t bdf, uint32_t offset, const void *buf,
			uint32_t len);
int fabric_bar_read(Fabric *fabric, uint32_t bdf, unsigned bar, uint64_t offset, void *buf,
		    uint32_t len);
int fabric_bar_write(Fabric *fabric, uint32_t bdf, unsigned bar, uint64_t offset, const void *buf,
		     uint32_t len);
/* The port whose plugged function BDF is, by current bus numbers; false if there is none. */
bool fabric_find_function(Fabric *fabric, uint32_t bdf, uint32_t *ret_uid, unsigned *ret_port);

/* The root port's own registers. */
void fabric_port_config_read(Fabric *fabric, uint32_t uid, unsigned port, uint32_t offset,
			     void *buf, uint32_t len);
void fabric_port_config_write(Fabric *fabric, uint32_t uid, unsigned port, uint32_t offset,
			      const void *buf, uint32_t len);
void fabric_port_bar_read(Fabric *fabric, uint32_t uid, unsigned port, uint64_t offset, void *buf,
			  uint32_t len);
void fabric_port_bar_write(Fabric *fabric, uint32_t uid, unsigned port, uint64_t offset,
			   const void *buf, uint32_t len);

/* ---- The endpoint at a port, as its memory link describes it; all return 0 or -errno ---- */

typedef struct FabricDecoder {
	unsigned index; /* 0..31 */
	bool committed;
	uint64_t hpa, len, dpa;
	uint32_t granularity;
	unsigned ways;
} FabricDecoder;

typedef struct FabricMap {
	uint64_t id, dpa, len, offset, incarnation;
	bool writable;
	int fd;
} FabricMap;

/* A piece of an exposed map. */
typedef struct FabricHeld {
	uint64_t map_id, dpa, len, incarnation;
} FabricHeld;

/* One per port; NULL if there is no such port or it has one. */
FabricEndpoint *fabric_endpoint_new(Fabric *fabric, uint32_t uid, unsigned port);
/* Unmaps everything; nobody may be in a call on it. */
void fabric_endpoint_free(FabricEndpoint *ep);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(FabricEndpoint, fabric_endpoint_free)

/*
 * On failure it is as it was. A committed decoder changes only by being taken back first (-EBUSY);
 * saying the same again, or taking back what is not committed, is 0.
 */
int fabric_endpoint_decoder(FabricEndpoint *ep, const FabricDecoder *decoder);
/* Owns map->fd when it returns 0. All that can fail for want of memory fails here, except what the
 * mapper does. Nothing is reachable yet. */
int fabric_endpoint_prepare(FabricEndpoint *ep, const FabricMap *map);
/* All or nothing: -ENOENT unknown, -EALREADY exposed or named twice, -EEXIST DPA already exposed,
 * or what the mapper said. */
int fabric_endpoint_expose(FabricEndpoint *ep, const uint64_t *ids, size_t n);
/* Any part of a map, exposed or not; -ENOENT if the map is unknown, -ERANGE beyond it. */
int fabric_endpoint_revoke(FabricEndpoint *ep, uint64_t map_id, uint64_t dpa, uint64_t len);
/* The map's end, revoking what is left of it. */
int fabric_endpoint_drop(FabricEndpoint *ep, uint64_t map_id);
/* What is exposed, in order of DPA, for the hello of a new link. Caller frees. */
FabricHeld *fabric_endpoint_held(FabricEndpoint *ep, size_t *ret_n);
/* Drops what was prepared and never exposed: of no use when the link that did it is gone. */
void fabric_endpoint_drop_unexposed(FabricEndpoint *ep);

/* The file behind a DPA. */
typedef struct FabricPlace {
	uint64_t map_id, incarnation;
	uint64_t offset; /* in fd */
	uint64_t run;    /* bytes from there on in the same map */
	int fd;          /* open as long as something of the map is exposed */
	bool writable;
} FabricPlace;

/* -ENOENT where nothing is exposed. */
int fabric_endpoint_find(FabricEndpoint *ep, uint64_t dpa, FabricPlace *ret);

/* ---- Accesses ---- */

/*
 * Any address, alignment and length. Where nothing is mapped reads are all-ones and writes vanish;
 * writes to read-only maps vanish. Aligned accesses of 1, 2, 4 and 8 bytes are single ones.
 * A revoke waits for the accesses begun before it, by at most 64 KiB of copying each.
 */
void fabric_access(Fabric *fabric, uint64_t hpa, void *buf, uint64_t len, bool is_write);

typedef struct FabricStats {
	uint64_t n_unmapped_reads;  /* accesses that met an unmapped byte */
	uint64_t n_unmapped_writes; /* the same, or read-only memory */
	uint64_t n_aliases;         /* mapped now */
	bool is_composing;          /* spans are being mapped or unmapped */
} FabricStats;

void fabric_stats(Fabric *fabric, FabricStats *ret);
/* The same, of accesses to the windows that lead to this host bridge; no aliases. */
void fabric_bridge_stats(Fabric *fabric, uint32_t uid, FabricStats *ret);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* All memory a guest has: its RAM, and what CXL devices lend it; and who else may reach it. */
#ifndef MACHINE_GUEST_MEMORY_H
#define MACHINE_GUEST_MEMORY_H

/*
 * Design. A region is one KVM memory slot and one entry in the table of each listener, that is of
 * each back end that does DMA. It is never merged with a neighbour, so that taking it back is one
 * delete. Order: listeners know a region before the guest can use it, and have let go of it before
 * its slot is deleted; when guest_memory_remove() returns nobody reaches it, and the caller may
 * unmap and give it away. What lies in several files is in no table.
 *
 * Threads. Regions come and go from memory link threads and from vCPUs that write host bridge
 * decoders. Listener calls are one at a time over all regions, with a lock held that
 * guest_memory_find() does not take: a listener may call that, nothing else here. While add() runs
 * the region is one of those there are, while remove() runs it is not.
 */

#include "machine/vm.h"
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct GuestMemory GuestMemory;
typedef struct GuestListener GuestListener;

typedef struct GuestRegion {
	uint64_t gpa, len; /* page aligned */
	uint8_t *hva;
	int fd;          /* borrowed: duplicate it to keep it beyond add(); -1: there are several */
	uint64_t offset; /* in fd */
	bool writable;
} GuestRegion;

/* What DMA back ends must be told. */
typedef struct GuestListenerOps {
	/*
	 * Before the guest may use it. 0 or -errno, also when the back end does not confirm: then
	 * the device's memory is not accepted, and nothing of the region may be left behind.
	 */
	int (*add)(void *opaque, const GuestRegion *region);
	/*
	 * Same gpa and len as in add(); returns only when the back end cannot reach the region any
	 * more, because it said so or because it has ended: one silent for GUEST_MEMORY_QUIET_MS
	 * is disconnected and killed, and gone when its pidfd says so.
	 */
	void (*remove)(void *opaque, const GuestRegion *region);
} GuestListenerOps;

#define GUEST_MEMORY_QUIET_MS 500

/* WITH_DMA false: listeners hear of RAM only. */
GuestMemory *guest_memory_new(KvmVm *vm, bool with_dma);
/* Takes away what is left; listeners are gone. */
void guest_memory_free(GuestMemory *memory);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(GuestMemory, guest_memory_free)

/*
 * How to keep vCPUs from running guest code for a moment: when pause() returns none does, until
 * resume(). From any thread, also a vCPU's own; a vCPU in the middle of an access counts as not
 * running, and stays so. Set while there are vCPUs that run, NULL before these end: when it returns
 * nobody is in a call. Without, a cut is seen as a short hole.
 */
typedef struct GuestPauser {
	void (*pause)(void *opaque);
	void (*resume)(void *opaque);
} GuestPauser;

void guest_memory_set_pauser(GuestMemory *memory, const GuestPauser *pauser, void *opaque);

/* RAM, for the machine's life: before vCPUs run. 0 or -errno. */
int guest_memory_add_ram(GuestMemory *memory, const GuestRegion *region);
/* What may be taken back. 0 or -errno: -EEXIST overlap, -ENOSPC no slot, or a listener's. */
int guest_memory_add(GuestMemory *memory, const GuestRegion *region);
/* Exactly as it was added or left by guest_memory_cut(). */
void guest_memory_remove(GuestMemory *memory, uint64_t gpa, uint64_t len);
/*
 * Takes [GPA, GPA + LEN) out of the region that is exactly [REGION_GPA, REGION_GPA + REGION_LEN).
 * What is left becomes regions of their own; no vCPU sees it missing. Should one of these not fit
 * any more, accesses there become bus accesses.
 */
void guest_memory_cut(GuestMemory *memory, uint64_t region_gpa, uint64_t region_len, uint64_t gpa,
		      uint64_t len);

/*
 * OPS and OPAQUE outlive it. Hears of all regions there are; NULL and *RET_ERROR (-errno) if it
 * refuses one. MAX_REGIONS: entries in the back end's table, RAM included; 0 = no limit.
 */
GuestListener *guest_memory_listen(GuestMemory *memory, const GuestListenerOps *ops, void *opaque,
				   uint32_t max_regions, int *ret_error);
/* Returns when none of its calls runs or will; it hears no removal of what is still there. */
void guest_memory_unlisten(GuestMemory *memory, GuestListener *listener);

/* The region that holds all of [GPA, GPA + LEN). Its hva and fd live until its removal. */
bool guest_memory_find(GuestMemory *memory, uint64_t gpa, uint64_t len, GuestRegion *ret);

/*
 * Sets mappings of this process aside for regions that are made of many, and says how many; before
 * anybody asks for the limits of regions, which become smaller.
 */
uint64_t guest_memory_set_aside(GuestMemory *memory);
/* The vm.max_map_count with which that is at least N. */
uint64_t guest_memory_map_count_for(uint64_t n);
/* How many regions can be added besides RAM: slots, mappings and listeners' tables. */
uint32_t guest_memory_max_regions(GuestMemory *memory);
uint32_t guest_memory_n_regions(GuestMemory *memory);

#endif

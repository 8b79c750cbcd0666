/* SPDX-License-Identifier: BSD-3-Clause */
/* A real pool in its thread and real process hosts, joined by socketpairs. */
#ifndef TESTS_HOST_FIXTURE_H
#define TESTS_HOST_FIXTURE_H

/*
 * Everything of a test happens on one thread, which is also the host's: it asks the pool for
 * something and then polls the driver until the port has been told what it waits for. The pool and
 * every memory link run on threads of their own.
 */

#include "../unit/processes.h"
#include "host/process_host.h"
#include "pool/pool.h"

#include <inttypes.h>
#include <string.h>

#define KIB   UINT64_C(1024)
#define MIB   (KIB * 1024)
#define GIB   (MIB * 1024)
#define PAGE  (4 * KIB)
#define BLOCK (2 * MIB)

#define WAIT_US          (20 * (gint64)G_USEC_PER_SEC) /* only a test that fails waits this long */
#define WINDOW_LEN       (4 * GIB)
#define REGION_LEN       (256 * MIB)
#define HOST_MAX_DEVICES 8

typedef struct HostEnd HostEnd;
typedef struct HostPort HostPort;

/* How a port answers, and what it was told. All calls come from host_poll(). */
struct HostPort {
	HostEnd *host;
	PoolDevice *device;
	CxlMemdev *memdev;
	CxlDcd *dcd;

	CxlAccept (*accept)(HostPort *port, const CxlDcGroup *offer, bool *take); /* NULL: all */
	CxlRelease verdict;
	/* May be NULL; after the counters are updated. */
	void (*mapped)(HostPort *port, const CxlDcGroup *group);
	void (*gone)(HostPort *port, const CxlDcGroup *group, const CxlDpaRange *ranges,
		     uint32_t n_ranges); /* given back as asked, or revoked */
	void *data;

	unsigned n_offered; /* groups */
	unsigned n_mapped, n_recovered, n_refused, n_asked, n_revoked;
	/* The group that was mapped last. */
	GArray *extents; /* CxlHostExtent, in its order */
	CxlTag tag;
	uint64_t group, len;
	uint64_t refused_us; /* how long the command took that was refused last */
};

struct HostEnd {
	Pool *pool;
	ProcessHost *process;
	HostPort ports[HOST_MAX_DEVICES];
	unsigned n_ports;
	GPtrArray *log; /* lines of the driver */
};

/* ---- pool ---- */

Pool *host_pool(void);
/* N_REGIONS regions of 256 MiB in blocks of 2 MiB. */
PoolDevice *host_device(Pool *pool, const char *name, unsigned n_regions);
/* Offers are delivered at once, whatever CONFIG says. */
PoolDevice *host_device_with(Pool *pool, const PoolDeviceConfig *config);
Uuid host_tag(unsigned n); /* never null */
CxlTag host_cxl_tag(unsigned n);
/* memfd with tag N, named "memN". */
void host_backend(Pool *pool, unsigned tag, uint64_t size);
void host_backend_with(Pool *pool, const BackendConfig *config);
/* Bytes of the present file of backend "memN". */
void host_backend_read(Pool *pool, unsigned tag, uint64_t offset, void *buf, size_t len);
void host_backend_write(Pool *pool, unsigned tag, uint64_t offset, const void *buf, size_t len);
CapacityCounters host_backend_counters(Pool *pool, unsigned tag);
/* Returns when nothing of the device, or of the pool, drains any more. */
void host_wait_drained(HostPort *port);
/* Also checks that the core's books are right. */
CapacityCounters host_pool_counters(Pool *pool);

/* ---- hosts ---- */

/* A process host with these devices at its ports, started, handling events. */
HostEnd *host_end_new(Pool *pool, PoolDevice *const *devices, unsigned n);
HostEnd *host_end_new_with(Pool *pool, PoolDevice *const *devices, unsigned n,
			   const CxlDcdOptions *options);
void host_end_free(HostEnd *host);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HostEnd, host_end_free)
CxlDriver *host_driver(HostEnd *host);
/* Commits the decoders; a busy machine may miss the time a device gives for it: tries again. */
CxlRegion *host_program(HostEnd *host, const CxlRegionSpec *spec);
void host_unprogram(HostEnd *host, CxlRegion *region);
/* Fails the test with the driver's error if RC < 0. */
void host_assert_ok(HostEnd *host, int rc);
bool host_log_has(const HostEnd *host, const char *text);

/* Where DPA is; the test fails if no decoder covers it. */
uint64_t host_hpa(HostPort *port, uint64_t dpa);
uint8_t *host_hva(HostPort *port, uint64_t dpa);
uint64_t host_region_dpa(HostPort *port, unsigned region);

/* ---- moving things along ---- */

/* Handles events of PORT until *COUNTER has reached VALUE. */
void host_poll(HostPort *port, const unsigned *counter, unsigned value);
/* Handles what is there already. */
void host_poll_now(HostPort *port);

/* Offers must succeed. TAG 0 = untagged. Prescriptive, in region 0. */
void host_offer(HostPort *port, unsigned tag, const OfferExtent *extents, size_t n);
void host_offer_with(HostPort *port, const OfferRequest *request);
/*
 * The same and waits until the group is mapped. A response that ran out of its second on a busy
 * machine is no failure: it is offered again.
 */
void host_give(HostPort *port, unsigned tag, const OfferExtent *extents, size_t n);
void host_give_one(HostPort *port, unsigned tag, uint64_t offset, uint64_t len);
void host_give_with(HostPort *port, const OfferRequest *request);
/* The driver gives back what it holds of [dpa, dpa + len); returns when it is free again. */
void host_take_back(HostPort *port, uint64_t dpa, uint64_t len);
void host_take_back_tag(HostPort *port, unsigned tag);
/* The pool asks for a tag; the port answers by its verdict. */
void host_ask_back(HostPort *port, const ReleaseRequest *request);

/* ---- looking ---- */

/* One plain load through the window. */
uint64_t host_load(HostPort *port, uint64_t dpa);
/* One word through process_host_access(). */
uint64_t host_access(HostPort *port, uint64_t dpa);
/* Every page of a range by plain loads, its first word also by process_host_access(). */
void host_assert_filled(HostPort *port, uint64_t dpa, uint64_t len, uint64_t word);
/* Words that say where they are: of SEED, at each page's start and end. OFFSET counts. */
uint64_t host_word(uint64_t seed, uint64_t offset);
void host_fill(uint8_t *hva, uint64_t len, uint64_t seed, uint64_t offset);
void host_assert_fill(const uint8_t *hva, uint64_t len, uint64_t seed, uint64_t offset);

/* Protection of the mapping at HVA, like "r--s"; LEN must lie in it. */
void host_protection(const void *hva, uint64_t len, char ret[5]);
/* No more than BEFORE, but for what threads and the allocator took meanwhile. */
void host_assert_n_mappings(unsigned before);

/* Sanitizers map and keep memory of their own. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HOST_IS_INSTRUMENTED true
#else
#define HOST_IS_INSTRUMENTED false
#endif

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/* A real pool in its thread, reached as a host reaches it: registers and memory link by hand. */
#ifndef TESTS_POOL_FIXTURE_H
#define TESTS_POOL_FIXTURE_H

#include "cxl/cci.h"
#include "cxl/component.h"
#include "cxl/dcd.h"
#include "cxl/device.h"
#include "cxl/event.h"
#include "link/vfu_client.h"
#include "pool/pool.h"
#include "pool_link.h"

#include <string.h>
#include <unistd.h>

#define KIB UINT64_C(1024)
#define MIB (KIB * 1024)

#define BLOCK       (2 * MIB)
#define REGION_LEN  (256 * MIB)
#define WINDOW_HPA  (UINT64_C(1) << 36)
#define DEADLINE_US (1 * G_USEC_PER_SEC) /* of every mailbox command */

/* One device and the host ends of its two sockets. */
typedef struct TestHost {
	Pool *pool; /* NULL in a process of its own */
	PoolDevice *device;
	VfuClient *vfu;
	LinkPeer *link; /* NULL = control only */
	uint64_t mbox;  /* in BAR0: the mailbox's registers, its payload, event status, HDM */
	uint64_t payload;
	uint64_t status;
	uint64_t hdm;
	uint32_t payload_len;
} TestHost;

/* ---- pool ---- */

Pool *test_pool(void);
/* One DC region of 256 MiB in blocks of 2 MiB, offers delivered at once. */
PoolDevice *test_device(Pool *pool, const char *name);
PoolDevice *test_device_with(Pool *pool, const PoolDeviceConfig *config);
Uuid test_tag(unsigned n);
/* A memfd with tag N; named by NAME. */
void test_backend(Pool *pool, const char *name, unsigned tag, uint64_t size);
/* Prescriptive, tag N (0 = untagged), in region 0. Returns the offer's number. */
uint64_t test_offer(TestHost *host, unsigned tag, const OfferExtent *extents, size_t n);
/* One extent. */
uint64_t test_offer_one(TestHost *host, unsigned tag, uint64_t offset, uint64_t len);

/* ---- hosts ---- */

typedef enum TestLink {
	LINK_NONE,
	LINK_RAW
} TestLink;

/* Connects; with a link also says hello. */
TestHost *test_host(Pool *pool, PoolDevice *device, TestLink link);
/* The same with a memory link, and a session's name for its hello. */
TestHost *test_host_session(Pool *pool, PoolDevice *device, uint8_t session);
/* The host side of sockets that somebody attaches; mem_fd -1 = none. */
TestHost *test_host_on(int vfu_fd, int mem_fd, uint8_t session);
/* A second memory link for the same session, which must have none now; HELD as in hello. */
void test_host_relink(TestHost *host, const MemLinkHeld *held, uint32_t n_held);
/* Closes the link; the vfio-user session goes on. Returns when the pool has noticed. */
void test_host_unlink(TestHost *host);
void test_host_free(TestHost *host);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(TestHost, test_host_free)

/* Returns when the pool's thread has done all that was asked of it before. */
void pool_barrier(Pool *pool);
/* Answers all that comes over the link until the pool has nothing more to say. */
void host_settle(TestHost *host);
/* Also waits until nothing drains any more. */
void host_drain(TestHost *host);

/* ---- registers ---- */

uint64_t reg_read(TestHost *host, uint64_t offset, unsigned len);
void reg_write(TestHost *host, uint64_t offset, uint64_t value, unsigned len);
/* Programs decoder INDEX over [dpa, dpa + len) and commits it, answering over the link. */
void host_commit_decoder(TestHost *host, unsigned index, uint64_t hpa, uint64_t len);
bool host_decoder_is_committed(TestHost *host, unsigned index);

/* ---- mailbox ---- */

/* Writes payload, command and doorbell; does not wait. */
void mbox_start(TestHost *host, uint16_t opcode, const void *in, size_t len);
bool mbox_is_busy(TestHost *host);
/* Of a command that has ended; OUT (NULL = not wanted) gets up to MAX bytes of its output. */
enum cxl_rc mbox_result(TestHost *host, void *out, size_t max, size_t *ret_len);
/* Waits without serving the link. */
enum cxl_rc mbox_wait(TestHost *host);
/* Starts, serves the link obligingly until the end. */
enum cxl_rc mbox_call(TestHost *host, uint16_t opcode, const void *in, size_t len, void *out,
		      size_t max, size_t *ret_len);

/* 4802h and 4803h. */
void extents_start(TestHost *host, uint16_t opcode, const DcRange *ranges, uint32_t n,
		   uint8_t flags);
enum cxl_rc extents_call(TestHost *host, uint16_t opcode, const DcRange *ranges, uint32_t n);
enum cxl_rc host_accept(TestHost *host, const DcRange *ranges, uint32_t n);
enum cxl_rc host_accept_one(TestHost *host, uint64_t dpa, uint64_t len);
enum cxl_rc host_release(TestHost *host, const DcRange *ranges, uint32_t n);
enum cxl_rc host_release_one(TestHost *host, uint64_t dpa, uint64_t len);
/* 4801h, all of it. Returns how many there are. */
uint32_t host_extents(TestHost *host, CxlDcExtent *ret, uint32_t max, uint32_t *ret_generation);
/* 0100h of the DC log; what is read can no longer be withdrawn. */
unsigned host_events(TestHost *host, CxlEventDc *ret, unsigned max);
enum cxl_rc host_clear_events(TestHost *host, const CxlEventDc *events, unsigned n);

/* ---- what the pool says of itself ---- */

#define STATE_MAX 64

typedef struct PoolState {
	CapacityCounters device, pool;
	uint32_t generation;
	uint32_t event_status;
	size_t n_extents;
	DcExtent extents[STATE_MAX];
	unsigned n_offers;
	OfferInfo offers[STATE_MAX];
	unsigned n_releases;
	ReleaseInfo releases[STATE_MAX];
} PoolState;

void pool_state(TestHost *host, PoolState *ret);
/* Every field, and that bytes add up. */
void assert_same_state(const PoolState *a, const PoolState *b);
/* Device counters; each field in bytes. */
void assert_counters(TestHost *host, uint64_t reserved, uint64_t accepted, uint64_t draining,
		     uint64_t quarantined);
/* Reads what the backend's present file holds. */
void backend_read(Pool *pool, const char *name, uint64_t offset, void *buf, size_t len);
/* Inode of its present file, incarnation. */
void backend_identity(Pool *pool, const char *name, uint64_t *ret_ino, uint64_t *ret_incarnation);
bool is_filled(const void *buf, uint8_t byte, size_t len);

#endif

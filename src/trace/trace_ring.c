/* SPDX-License-Identifier: BSD-3-Clause */
/* Trace entries from the thread where they happen to the one that reads them. */
#include "trace/trace_ring.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

/* In the ring, followed by the payloads kept, or by the record. */
typedef struct RingHeader {
	uint32_t len; /* with what follows */
	uint8_t kind, log;
	uint16_t opcode, rc;
	uint32_t in_len, out_len, in_kept, out_kept;
	uint64_t time_us, took_us, n_lost;
} RingHeader;

#define MAX_ENTRY_LEN (sizeof(RingHeader) + 2 * TRACE_MAX_PAYLOAD_LEN)
G_STATIC_ASSERT(sizeof(CxlEventRecord) <= TRACE_MAX_PAYLOAD_LEN);

struct TraceRing {
	gatomicrefcount refs;
	uint8_t *bytes;
	size_t len;    /* power of two */
	int fd;        /* eventfd */
	uint64_t lost; /* the writer's */
	_Atomic uint64_t written, taken;
	atomic_bool sleeps; /* the reader has found it empty and waits for the eventfd */
	/* The reader's */
	TraceEntry entry;
	uint8_t buf[MAX_ENTRY_LEN];
};

TraceRing *trace_ring_new(size_t len)
{
	TraceRing *ring = g_new0(TraceRing, 1);
	void *bytes;

	g_atomic_ref_count_init(&ring->refs);
	ring->len = 4 * MAX_ENTRY_LEN;
	len = MAX(len ? len : TRACE_RING_DEFAULT_LEN, ring->len);
	for (ring->len = 1; ring->len < len;)
		ring->len *= 2;
	ring->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	bytes = mmap(NULL, ring->len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ring->bytes = bytes == MAP_FAILED ? NULL : bytes;
	ring->sleeps = true;
	if (ring->fd >= 0 && ring->bytes)
		return ring;
	trace_ring_unref(ring);
	return NULL;
}

TraceRing *trace_ring_ref(TraceRing *ring)
{
	g_atomic_ref_count_inc(&ring->refs);
	return ring;
}

void trace_ring_unref(TraceRing *ring)
{
	if (!ring || !g_atomic_ref_count_dec(&ring->refs))
		return;
	if (ring->bytes)
		munmap(ring->bytes, ring->len);
	if (ring->fd >= 0)
		close(ring->fd);
	g_free(ring);
}

int trace_ring_peek_fd(const TraceRing *ring)
{
	return ring->fd;
}

/* ---- the writer ---- */

static uint64_t put_bytes(TraceRing *ring, uint64_t at, const void *data, size_t len)
{
	size_t start = at & (ring->len - 1);
	size_t first = MIN(len, ring->len - start);

	if (len > 0) {
		memcpy(ring->bytes + start, data, first);
		memcpy(ring->bytes, (const uint8_t *)data + first, len - first);
	}
	return at + len;
}

void trace_ring_put(TraceRing *ring, const TraceEntry *entry)
{
	bool is_command = entry->kind == TRACE_COMMAND;
	RingHeader header = {
		.kind = (uint8_t)entry->kind,
		.log = entry->log,
		.opcode = entry->opcode,
		.rc = entry->rc,
		.in_len = entry->in_len,
		.out_len = entry->out_len,
		.in_kept = is_command ? MIN(entry->in_len, TRACE_MAX_PAYLOAD_LEN) : 0,
		.out_kept = is_command ? MIN(entry->out_len, TRACE_MAX_PAYLOAD_LEN) : 0,
		.time_us = entry->time_us,
		.took_us = entry->took_us,
		.n_lost = ring->lost,
	};
	uint64_t at = atomic_load_explicit(&ring->written, memory_order_relaxed);
	uint64_t taken = atomic_load_explicit(&ring->taken, memory_order_acquire);
	size_t len = sizeof(header) + header.in_kept + header.out_kept +
		     (is_command ? 0 : sizeof(entry->record));

	if (len > ring->len - (at - taken)) {
		ring->lost++;
		return;
	}
	ring->lost = 0;
	header.len = (uint32_t)len;
	at = put_bytes(ring, at, &header, sizeof(header));
	at = put_bytes(ring, at, entry->in, header.in_kept);
	at = put_bytes(ring, at, entry->out, header.out_kept);
	if (!is_command)
		at = put_bytes(ring, at, &entry->record, sizeof(entry->record));
	atomic_store(&ring->written, at);
	if (atomic_exchange(&ring->sleeps, false)) {
		uint64_t one = 1;
		ssize_t put = write(ring->fd, &one, sizeof(one));

		(void)put; /* full: it is readable then */
	}
}

/* ---- the reader ---- */

static void get_bytes(const TraceRing *ring, uint64_t at, void *ret, size_t len)
{
	size_t start = at & (ring->len - 1);
	size_t first = MIN(len, ring->len - start);

	memcpy(ret, ring->bytes + start, first);
	memcpy((uint8_t *)ret + first, ring->bytes, len - first);
}

/* True: nothing, and the writer will say when that changes. */
static bool goes_to_sleep(TraceRing *ring, uint64_t at)
{
	uint64_t count;
	ssize_t got;

	if (atomic_load(&ring->written) != at)
		return false;
	got = read(ring->fd, &count, sizeof(count));
	(void)got;
	atomic_store(&ring->sleeps, true);
	/* What came in between has perhaps not been told. */
	if (atomic_load(&ring->written) == at)
		return true;
	atomic_store(&ring->sleeps, false);
	return false;
}

const TraceEntry *trace_ring_take(TraceRing *ring)
{
	uint64_t at = atomic_load_explicit(&ring->taken, memory_order_relaxed);
	TraceEntry *entry = &ring->entry;
	RingHeader header;

	if (goes_to_sleep(ring, at))
		return NULL;
	get_bytes(ring, at, &header, sizeof(header));
	get_bytes(ring, at + sizeof(header), ring->buf, header.len - sizeof(header));
	*entry = (TraceEntry){
		.kind = (TraceKind)header.kind,
		.time_us = header.time_us,
		.n_lost = header.n_lost,
		.opcode = header.opcode,
		.rc = header.rc,
		.took_us = header.took_us,
		.in = ring->buf,
		.out = ring->buf + header.in_kept,
		.in_len = header.in_len,
		.out_len = header.out_len,
		.in_kept = header.in_kept,
		.out_kept = header.out_kept,
		.log = header.log,
	};
	if (entry->kind != TRACE_COMMAND)
		memcpy(&entry->record, ring->buf, sizeof(entry->record));
	atomic_store_explicit(&ring->taken, at + header.len, memory_order_release);
	return entry;
}

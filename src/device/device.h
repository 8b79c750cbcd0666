/* SPDX-License-Identifier: BSD-3-Clause */
/* Device: a complete CXL Type-3 endpoint function as a host sees it. */
#ifndef DEVICE_DEVICE_H
#define DEVICE_DEVICE_H

/*
 * Design. The vfio-user server turns messages into the calls below; everything else the endpoint
 * needs goes out through DeviceOps. All calls come from the pool's thread and none of them waits: a
 * command that has to wait leaves the doorbell set and completes later, a decoder commit leaves
 * COMMITTED clear until device_decoder_done(). Dynamic capacity itself lives in capacity/.
 *
 * BAR0 (64-bit): component registers at 0 (64 KiB), device registers at 10000h, with the mailbox's
 * payload starting on a page of its own. BAR2 (64-bit): MSI-X table and PBA.
 */

#include "capacity/capacity.h"
#include "cxl/event.h"

typedef struct Device Device;

#define DEVICE_CONFIG_LEN 4096u
#define DEVICE_BAR_REGS   0
#define DEVICE_BAR_MSIX   2
#define DEVICE_N_VECTORS  8
#define DEVICE_N_DECODERS 10

typedef struct DeviceConfig {
	const char *name;
	uint64_t serial;
	uint64_t ram_len; /* bytes, multiple of 256 MiB; ram_len + pmem_len = dc's static_len */
	uint64_t pmem_len;
	MemFile *lsa; /* label storage, its length is the LSA size; NULL = none */
	/* Records each log holds; 0 = default (DC 4096, others 64). Index: CXL_LOG_... */
	uint32_t log_depth[CXL_N_LOGS];
	unsigned payload_log2; /* mailbox payload size, 9..20; 0 = 16 */
	/* For CDAT; 0 = defaults 150 ns, 150 ns, 16000 MB/s */
	uint16_t read_latency_ns, write_latency_ns;
	uint32_t bandwidth_mbps;
} DeviceConfig;

/* State of one HDM decoder as its registers say, decoded. */
typedef struct HdmDecoder {
	unsigned index;
	bool committed; /* wanted: commit requested (true) or taken back (false) */
	uint64_t hpa;
	uint64_t len;         /* bytes of HPA */
	uint64_t dpa;         /* first DPA, after skips and lower decoders */
	unsigned ways;        /* 1,2,4,8,16,3,6,12 */
	uint32_t granularity; /* bytes */
} HdmDecoder;

/* One thing that happened, for a trace. What it points to is borrowed for the length of the call.
 */
typedef enum DeviceTraceKind {
	DEVICE_TRACE_COMMAND,   /* a mailbox command has ended */
	DEVICE_TRACE_POSTED,    /* an event record: is in its log now, */
	DEVICE_TRACE_READ,      /* was given to the host (each time), */
	DEVICE_TRACE_CLEARED,   /* is gone by the host's word or a reset, */
	DEVICE_TRACE_WITHDRAWN, /* is gone unread, */
	DEVICE_TRACE_LOST,      /* found its log full */
} DeviceTraceKind;

typedef struct DeviceTrace {
	DeviceTraceKind kind;
	/* Of a command; out_len is 0 unless it succeeded. */
	uint16_t opcode;
	enum cxl_rc rc;
	uint64_t took_us;
	const uint8_t *in, *out;
	uint32_t in_len, out_len;
	/* Of a record */
	uint8_t log; /* CXL_LOG_... */
	const CxlEventRecord *record;
} DeviceTrace;

typedef struct DeviceOps {
	/* Fire MSI-X vector; a vector nobody bound is a no-op. */
	void (*irq)(void *opaque, unsigned vector);
	/* A decoder is to be committed or taken back on the host side; answered once by
	 * device_decoder_done(dev, req, ok), maybe at once. */
	void (*decoder)(void *opaque, uint64_t req, const HdmDecoder *decoder);
	uint64_t (*now_us)(void *opaque); /* monotonic */
	/* device_next_deadline_us() became earlier; may be NULL */
	void (*deadline_changed)(void *opaque);
	/* Only while device_set_tracing() is on; may be NULL. Must not call back in. */
	void (*trace)(void *opaque, const DeviceTrace *trace);
	/* What device_save_state() saves may be another now; called before the host can see that
	 * change. May be NULL. */
	void (*state_changed)(void *opaque);
} DeviceOps;

/*
 * Creates the endpoint around DC, which must outlive it. Whoever joins the two forwards DC's log_*
 * effects to device_dc_log_*() below.
 */
Device *device_new(const DeviceConfig *config, DcDevice *dc, const DeviceOps *ops, void *opaque,
		   GError **error);
void device_free(Device *dev);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Device, device_free)

void device_tick(Device *dev);
uint64_t device_next_deadline_us(const Device *dev);
/* An HDM decoder is being committed or taken back: the host side has not answered yet. */
bool device_is_deciding(const Device *dev);
void device_decoder_done(Device *dev, uint64_t req, bool ok);

/*
 * ---- register access ----
 * Any offset and length inside the space is legal: 0; else -EINVAL. What is not a register reads as
 * 0, writes to it and to read-only bits are ignored. Reading never changes anything. Writes of
 * other widths than a register's are cut at its borders, low address first, and touch only their
 * bytes.
 */
int device_config_read(Device *dev, uint32_t offset, void *buf, uint32_t len);
int device_config_write(Device *dev, uint32_t offset, const void *buf, uint32_t len);
int device_bar_read(Device *dev, unsigned bar, uint64_t offset, void *buf, uint32_t len);
int device_bar_write(Device *dev, unsigned bar, uint64_t offset, const void *buf, uint32_t len);
uint64_t device_bar_len(const Device *dev, unsigned bar); /* 0 = absent */

/* The mailbox payload: a part of BAR0 that a client may map. Its file lives for one session and has
 * the payload at the same offset as BAR0 has, as vfio-user wants it. */
uint64_t device_payload_offset(const Device *dev); /* in BAR0, page aligned */
uint64_t device_payload_len(const Device *dev);
int device_peek_payload_fd(const Device *dev);

/* ---- sessions and resets: the table in the design, section 6 ---- */
typedef enum DeviceReset {
	DEVICE_RESET_FLR, /* also reached through config space */
	DEVICE_RESET_CONVENTIONAL,
	DEVICE_RESET_NEW_SESSION, /* conventional, and a fresh payload file; before a client is
				     served */
	DEVICE_RESET_FORGET,
} DeviceReset;
void device_reset(Device *dev, DeviceReset kind);
/* The decoders with COMMITTED set, in order: what a host side that comes back has to be told. */
void device_foreach_decoder(const Device *dev, void (*func)(const HdmDecoder *, void *),
			    void *opaque);

/*
 * ---- what a session resumes with after a restart of the daemon ----
 * Saved: all that a host has written to configuration space, MSI-X table, RAS registers and HDM
 * decoders; interrupt policies, clock, alerts, shutdown state; the records of every log but the DC
 * log, whose offers the core keeps. Not saved: the command in flight, an exchange over DOE, the
 * mailbox's payload.
 */
GBytes *device_save_state(const Device *dev);
/*
 * Before a host is served. False and nothing changed if the state is malformed, of another version
 * or of a device with another layout. Committed decoders are committed again at once; the mailbox's
 * status says Aborted. STATE may hold anything.
 */
bool device_restore_state(Device *dev, GBytes *state, GError **error);
/* Fires every vector that has something to tell: for a host that may have missed it. */
void device_renew_irqs(Device *dev);

/* ---- queries and trace ---- */
typedef struct DeviceLogInfo {
	uint32_t n_records, depth;
	uint32_t n_lost; /* since the host last cleared any, at most 65535 */
	bool raises_irq;
} DeviceLogInfo;

typedef struct DeviceInfo {
	uint64_t n_commands, n_failed; /* mailbox commands ended, and of these not Success */
	DeviceLogInfo logs[CXL_N_LOGS];
	bool list_was_read;  /* 4801h to its end, since the last reset */
	unsigned n_decoders; /* committed */
	HdmDecoder decoders[DEVICE_N_DECODERS];
} DeviceInfo;
void device_get_info(const Device *dev, DeviceInfo *ret);
/* Off at first, and free while it is off. */
void device_set_tracing(Device *dev, bool on);

/* ---- event logs ---- */
/* Operator injection of a non-DC record; RECORD's handle, timestamp are filled in. False: log full
 * (counted as overflow, as the spec says). */
bool device_inject_event(Device *dev, unsigned log, const CxlEventRecord *record);
/* The DcDeviceOps log_* half: reserve, unreserve, post, withdraw for the DC log. */
bool device_dc_log_reserve(Device *dev, uint32_t n);
void device_dc_log_unreserve(Device *dev, uint32_t n);
void device_dc_log_post(Device *dev, const DcEvent *event);
void device_dc_log_withdraw(Device *dev, uint64_t cookie);

#endif

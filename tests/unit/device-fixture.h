/* SPDX-License-Identifier: BSD-3-Clause */
/* A device register block between a scripted capacity core and a host that pokes its registers. */
#ifndef TESTS_DEVICE_FIXTURE_H
#define TESTS_DEVICE_FIXTURE_H

#include "cxl/device.h"
#include "device/device_regs.h"

#include <string.h>
#include <sys/mman.h>

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

/* ---- the core, played by the test: these symbols take the place of capacity/'s ---- */

struct DcDevice {
	DcRegion regions[DC_MAX_REGIONS];
	unsigned n_regions;
	uint64_t static_len;
	DcExtent extents[3000];
	size_t n_extents;
	uint32_t generation;
	uint32_t limits[4];

	bool events_enabled;
	unsigned n_list_reads;
	uint64_t read[256], cleared[5000];
	unsigned n_read, n_cleared;
	void (*on_cleared)(struct DcDevice *dc); /* what the core does when a record is cleared */

	bool hold;      /* answer later, by answer() */
	enum cxl_rc rc; /* otherwise at once with this */
	DcRange ranges[50000];
	size_t n_ranges;
	unsigned n_adds, n_releases;
	bool more;
	DcResponseDone done;
	void *done_opaque;
	void *user;
};

unsigned dc_device_n_regions(const DcDevice *dev)
{
	return dev->n_regions;
}

const DcRegion *dc_device_region(const DcDevice *dev, unsigned index)
{
	g_assert_cmpuint(index, <, dev->n_regions);
	return &dev->regions[index];
}

uint64_t dc_device_static_len(const DcDevice *dev)
{
	return dev->static_len;
}

void dc_device_set_events_enabled(DcDevice *dev, bool enabled)
{
	dev->events_enabled = enabled;
}

void dc_device_list_was_read(DcDevice *dev)
{
	dev->n_list_reads++;
}

void dc_device_record_read(DcDevice *dev, uint64_t cookie)
{
	dev->read[dev->n_read++ % G_N_ELEMENTS(dev->read)] = cookie;
}

void dc_device_record_cleared(DcDevice *dev, uint64_t cookie)
{
	dev->cleared[dev->n_cleared++ % G_N_ELEMENTS(dev->cleared)] = cookie;
	if (dev->on_cleared)
		dev->on_cleared(dev);
}

static void respond(DcDevice *dev, const DcRange *ranges, size_t n, bool more, DcResponseDone done,
		    void *opaque)
{
	g_assert_cmpuint(n, <=, G_N_ELEMENTS(dev->ranges));
	memcpy(dev->ranges, ranges, n * sizeof(*ranges));
	dev->n_ranges = n;
	dev->more = more;
	g_assert_null(dev->done);
	if (dev->hold) {
		dev->done = done;
		dev->done_opaque = opaque;
	} else {
		done(opaque, dev->rc);
	}
}

void dc_device_add_response(DcDevice *dev, const DcRange *ranges, size_t n, bool more,
			    DcResponseDone done, void *opaque)
{
	dev->n_adds++;
	respond(dev, ranges, n, more, done, opaque);
}

void dc_device_release_response(DcDevice *dev, const DcRange *ranges, size_t n, bool more,
				DcResponseDone done, void *opaque)
{
	dev->n_releases++;
	respond(dev, ranges, n, more, done, opaque);
}

static inline void answer(DcDevice *dev, enum cxl_rc rc)
{
	DcResponseDone done = dev->done;

	g_assert_nonnull(done);
	dev->done = NULL;
	done(dev->done_opaque, rc);
}

uint32_t dc_device_generation(const DcDevice *dev)
{
	return dev->generation;
}

size_t dc_device_n_extents(const DcDevice *dev)
{
	return dev->n_extents;
}

size_t dc_device_extents(const DcDevice *dev, size_t start, DcExtent *ret, size_t n)
{
	g_assert_cmpuint(start, <=, dev->n_extents);
	n = MIN(n, dev->n_extents - start);
	memcpy(ret, dev->extents + start, n * sizeof(*ret));
	return n;
}

void dc_device_limits(const DcDevice *dev, uint32_t *ret_extents, uint32_t *ret_extents_available,
		      uint32_t *ret_tags, uint32_t *ret_tags_available)
{
	*ret_extents = dev->limits[0];
	*ret_extents_available = dev->limits[1];
	*ret_tags = dev->limits[2];
	*ret_tags_available = dev->limits[3];
}

/* ---- label storage, so that a write can be made to fail half way ---- */

struct MemFile {
	uint8_t bytes[131072];
	uint64_t len;
	unsigned fail_writes; /* so many more fail, after the first half of their bytes */
	bool fail_reads;
};

uint64_t mem_file_len(const MemFile *file)
{
	return file->len;
}

int mem_file_read(MemFile *file, uint64_t offset, void *buf, size_t len)
{
	g_assert_cmpuint(offset, <=, file->len);
	g_assert_cmpuint(len, <=, file->len - offset);
	if (file->fail_reads)
		return -EIO;
	memcpy(buf, file->bytes + offset, len);
	return 0;
}

int mem_file_write(MemFile *file, uint64_t offset, const void *buf, size_t len)
{
	bool fails = file->fail_writes > 0;

	g_assert_cmpuint(offset, <=, file->len);
	g_assert_cmpuint(len, <=, file->len - offset);
	memcpy(file->bytes + offset, buf, fails ? len / 2 : len);
	if (!fails)
		return 0;
	file->fail_writes--;
	return -ENOSPC;
}

/* ---- the block and the host ---- */

typedef struct Fixture {
	DcDevice dc;
	MemFile lsa;
	DeviceConfig config;
	DeviceRegs *regs;
	uint64_t now_us;
	unsigned n_irqs[DEVICE_N_VECTORS];
	unsigned n_traces;
	uint16_t traced_opcode;
	enum cxl_rc traced_rc;
	uint64_t traced_us;
	uint32_t traced_in_len, traced_out_len;
	uint8_t traced_in[4096], traced_out[4096];
	unsigned n_record_traces[DEVICE_TRACE_LOST + 1]; /* by kind */
	uint8_t traced_log;
	CxlEventRecord traced_record;
	unsigned n_state_changes;
	uint8_t out[1 << 20]; /* of the last command */
	uint32_t out_len;
	uint64_t mailbox; /* offset of the capability */
} Fixture;

static inline void fixture_irq(void *opaque, unsigned vector)
{
	Fixture *f = opaque;

	g_assert_cmpuint(vector, <, DEVICE_N_VECTORS);
	f->n_irqs[vector]++;
}

static inline uint64_t fixture_now(void *opaque)
{
	return ((Fixture *)opaque)->now_us;
}

static inline void fixture_trace(void *opaque, const DeviceTrace *trace)
{
	Fixture *f = opaque;

	if (trace->kind != DEVICE_TRACE_COMMAND) {
		g_assert_cmpuint(trace->kind, <, G_N_ELEMENTS(f->n_record_traces));
		f->n_record_traces[trace->kind]++;
		f->traced_log = trace->log;
		f->traced_record = *trace->record;
		return;
	}
	f->n_traces++;
	f->traced_opcode = trace->opcode;
	f->traced_rc = trace->rc;
	f->traced_us = trace->took_us;
	f->traced_in_len = trace->in_len;
	f->traced_out_len = trace->out_len;
	memcpy(f->traced_in, trace->in, MIN(trace->in_len, sizeof(f->traced_in)));
	memcpy(f->traced_out, trace->out, MIN(trace->out_len, sizeof(f->traced_out)));
}

static inline void fixture_state_changed(void *opaque)
{
	((Fixture *)opaque)->n_state_changes++;
}

static inline uint64_t get(Fixture *f, uint64_t offset, uint32_t len)
{
	uint8_t bytes[8] = { 0 };

	g_assert_cmpuint(len, <=, 8);
	g_assert_cmpint(device_regs_read(f->regs, offset, bytes, len), ==, 0);
	return le64_load(bytes);
}

static inline void put(Fixture *f, uint64_t offset, uint64_t val, uint32_t len)
{
	uint8_t bytes[8];

	le64_store(bytes, val);
	g_assert_cmpint(device_regs_write(f->regs, offset, bytes, len), ==, 0);
}

static inline uint64_t payload_at(Fixture *f)
{
	return device_regs_payload_offset(f->regs);
}

/* Finds a capability the way a driver does. */
static inline uint64_t find_capability(Fixture *f, uint16_t id, uint32_t *ret_len)
{
	uint16_t n = (uint16_t)(get(f, 4, 2));

	for (uint16_t i = 0; i < n; i++) {
		uint64_t header = CXL_DEV_CAP_HEADER(i);

		if (get(f, header, 2) != id)
			continue;
		if (ret_len)
			*ret_len = (uint32_t)get(f, header + 8, 4);
		return get(f, header + 4, 4);
	}
	g_assert_not_reached();
}

static inline const DeviceOps *fixture_ops(void)
{
	static const DeviceOps ops = {
		.irq = fixture_irq,
		.now_us = fixture_now,
		.trace = fixture_trace,
		.state_changed = fixture_state_changed,
	};

	return &ops;
}

/* 1 GiB ram, 512 MiB pmem, DC regions of 4 GiB (2 MiB blocks) and 1 GiB (1 GiB blocks, wiped). */
static inline Fixture *fixture_new_unstarted(void)
{
	Fixture *f = g_new0(Fixture, 1);

	f->lsa.len = 65536 + 4096;
	f->now_us = 1000;
	f->dc.static_len = 1536 * MIB;
	f->dc.n_regions = 2;
	f->dc.regions[0].base = 1536 * MIB;
	f->dc.regions[0].config.len = 4 * GIB;
	f->dc.regions[0].config.block_size = 2 * MIB;
	f->dc.regions[1].base = 1536 * MIB + 4 * GIB;
	f->dc.regions[1].config.len = 1 * GIB;
	f->dc.regions[1].config.block_size = 1 * GIB;
	f->dc.regions[1].config.sanitize_on_release = true;
	f->dc.limits[0] = 0x10000;
	f->dc.limits[1] = 0xfffe;
	f->dc.limits[2] = 0x400;
	f->dc.limits[3] = 0x3ff;
	f->config.name = "dev0";
	f->config.serial = UINT64_C(0x1122334455667788);
	f->config.ram_len = 1 * GIB;
	f->config.pmem_len = 512 * MIB;
	f->config.lsa = &f->lsa;
	return f;
}

static inline void fixture_start(Fixture *f)
{
	g_autoptr(GError) error = NULL;

	f->regs = device_regs_new(&f->config, &f->dc, fixture_ops(), f, &error);
	g_assert_no_error(error);
	device_regs_set_tracing(f->regs, true);
	f->mailbox = find_capability(f, CXL_DEV_CAP_ID_MAILBOX, NULL);
}

static inline Fixture *fixture_new(void)
{
	Fixture *f = fixture_new_unstarted();

	fixture_start(f);
	return f;
}

static inline void fixture_free(Fixture *f)
{
	device_regs_free(f->regs);
	g_free(f);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Fixture, fixture_free)

static inline bool is_busy(Fixture *f)
{
	return get(f, f->mailbox + CXL_MBOX_CTRL, 4) & CXL_MBOX_CTRL_DOORBELL;
}

/* Payload, command register, doorbell. LEN is what the register says; at most IN_LEN is written. */
static inline void ring(Fixture *f, uint16_t opcode, const void *in, uint32_t in_len, uint32_t len)
{
	if (in_len > 0)
		g_assert_cmpint(device_regs_write(f->regs, payload_at(f), in, in_len), ==, 0);
	put(f, f->mailbox + CXL_MBOX_CMD, opcode | CXL_FIELD_PUT(CXL_MBOX_CMD_LEN, (uint64_t)len),
	    8);
	put(f, f->mailbox + CXL_MBOX_CTRL,
	    get(f, f->mailbox + CXL_MBOX_CTRL, 4) | CXL_MBOX_CTRL_DOORBELL, 4);
}

/* Reads what the mailbox says after a command. */
static inline enum cxl_rc collect(Fixture *f)
{
	uint64_t cmd, status;

	g_assert_false(is_busy(f));
	cmd = get(f, f->mailbox + CXL_MBOX_CMD, 8);
	status = get(f, f->mailbox + CXL_MBOX_STATUS, 8);
	f->out_len = (uint32_t)CXL_FIELD_GET(CXL_MBOX_CMD_LEN, cmd);
	g_assert_cmpuint(f->out_len, <=, device_regs_payload_len(f->regs));
	g_assert_cmpint(device_regs_read(f->regs, payload_at(f), f->out, f->out_len), ==, 0);
	if (CXL_FIELD_GET(CXL_MBOX_STATUS_RC, status) != CXL_RC_SUCCESS)
		g_assert_cmpuint(f->out_len, ==, 0);
	return (enum cxl_rc)CXL_FIELD_GET(CXL_MBOX_STATUS_RC, status);
}

static inline enum cxl_rc run(Fixture *f, uint16_t opcode, const void *in, uint32_t in_len)
{
	ring(f, opcode, in, in_len, in_len);
	return collect(f);
}

#define assert_out(f, ...)                                                             \
	do {                                                                           \
		static const uint8_t expected_[] = { __VA_ARGS__ };                    \
		g_assert_cmpmem((f)->out, (f)->out_len, expected_, sizeof(expected_)); \
	} while (0)
#define assert_rc(got, want) g_assert_cmphex((got), ==, (want))

/* ---- the DC log, as the core fills it ---- */

static inline void post(Fixture *f, uint64_t cookie, bool more)
{
	const DcEvent event = {
		.cookie = cookie,
		.type = DC_EVENT_ADD,
		.more = more,
		.dpa = cookie * 2 * MIB,
		.len = 2 * MIB,
	};

	g_assert_true(device_regs_dc_log_reserve(f->regs, 1));
	device_regs_dc_log_post(f->regs, &event);
}

static inline unsigned get_records(Fixture *f, uint8_t log)
{
	assert_rc(run(f, 0x0100, &log, 1), CXL_RC_SUCCESS);
	g_assert_cmpuint(f->out_len, ==, 0x20 + 0x80u * le16_load(f->out + 0x14));
	return le16_load(f->out + 0x14);
}

static inline const CxlEventRecord *record_at(Fixture *f, unsigned index)
{
	return (const CxlEventRecord *)(f->out + 0x20) + index;
}

static inline uint16_t handle_at(Fixture *f, unsigned index)
{
	return le16_get(record_at(f, index)->header.handle);
}

static inline uint32_t event_status(Fixture *f)
{
	return (uint32_t)get(f, find_capability(f, CXL_DEV_CAP_ID_STATUS, NULL), 4);
}

#endif

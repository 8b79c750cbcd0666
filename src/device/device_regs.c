/* SPDX-License-Identifier: BSD-3-Clause */
/* The device register block: capability array, status registers, and access to the mailbox. */
#include "device/device_regs.h"

#include "cxl/device.h"
#include "device/command.h"
#include "device/mailbox.h"

#include <gio/gio.h>
#include <string.h>

/*
 * Layout: the mailbox's registers end where its payload's page begins, so that a guest can map the
 * payload while accesses to registers trap. Everything else stands in the pages before.
 */
#define STATUS_OFFSET        0x80u
#define MEMDEV_STATUS_OFFSET 0x90u
#define MIN_PAGE             0x1000u

#define DEFAULT_PAYLOAD_LOG2 16
#define DEFAULT_LOG_DEPTH    64
#define DEFAULT_DC_LOG_DEPTH 4096

typedef struct LogWatch {
	DeviceRegs *regs;
	uint8_t log;
} LogWatch;

struct DeviceRegs {
	DeviceOps ops;
	void *opaque;
	Mailbox *mailbox;
	uint32_t payload_offset; /* and length of all that traps */
	Cci cci;
	LogWatch watches[CXL_N_LOGS]; /* what a log's trace gets */
};

/* ---- what mailbox and commands call back ---- */

static int execute(void *opaque, MailboxCall *call)
{
	DeviceRegs *regs = opaque;

	return cci_execute(&regs->cci, call);
}

static void mailbox_irq(void *opaque)
{
	DeviceRegs *regs = opaque;

	regs->ops.irq(regs->opaque, DEVICE_VECTOR_MAILBOX);
}

static uint64_t now_us(void *opaque)
{
	DeviceRegs *regs = opaque;

	return regs->ops.now_us(regs->opaque);
}

static void state_changed(void *opaque)
{
	DeviceRegs *regs = opaque;

	if (regs->ops.state_changed)
		regs->ops.state_changed(regs->opaque);
}

static void trace_command(void *opaque, const MailboxCall *call, enum cxl_rc rc, uint64_t took_us)
{
	DeviceRegs *regs = opaque;
	const DeviceTrace trace = {
		.kind = DEVICE_TRACE_COMMAND,
		.opcode = call->opcode,
		.rc = rc,
		.took_us = took_us,
		.in = call->in,
		.in_len = call->in_len,
		.out = call->out,
		.out_len = call->out_len,
	};

	regs->ops.trace(regs->opaque, &trace);
}

static void trace_record(void *opaque, EventLogAction action, const CxlEventRecord *record)
{
	static const DeviceTraceKind kinds[] = {
		[EVENT_LOG_POSTED] = DEVICE_TRACE_POSTED,
		[EVENT_LOG_READ] = DEVICE_TRACE_READ,
		[EVENT_LOG_CLEARED] = DEVICE_TRACE_CLEARED,
		[EVENT_LOG_WITHDRAWN] = DEVICE_TRACE_WITHDRAWN,
		[EVENT_LOG_LOST] = DEVICE_TRACE_LOST,
	};
	const LogWatch *watch = opaque;
	DeviceTrace trace = { .kind = kinds[action], .log = watch->log, .record = record };

	watch->regs->ops.trace(watch->regs->opaque, &trace);
}

static const MailboxOps mailbox_ops = {
	.execute = execute,
	.irq = mailbox_irq,
	.now_us = now_us,
	.trace = trace_command,
};

/* ---- life ---- */

static bool check_static_len(const DeviceConfig *config, DcDevice *dc, GError **error)
{
	uint64_t sum;

	if (config->ram_len % CXL_CAPACITY_UNIT || config->pmem_len % CXL_CAPACITY_UNIT ||
	    __builtin_add_overflow(config->ram_len, config->pmem_len, &sum) ||
	    sum != dc_device_static_len(dc)) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
			    "device %s: ram and pmem must be multiples of 256 MiB and add up to the"
			    " static capacity before DC region 0",
			    config->name);
		return false;
	}
	if (config->lsa && mem_file_len(config->lsa) > UINT32_MAX) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
			    "device %s: label storage must be smaller than 4 GiB", config->name);
		return false;
	}
	return true;
}

static bool make_logs(DeviceRegs *regs, const DeviceConfig *config, GError **error)
{
	for (unsigned log = 0; log < CXL_N_LOGS; log++) {
		uint32_t depth = config->log_depth[log];

		if (depth == 0)
			depth = log == CXL_LOG_DC ? DEFAULT_DC_LOG_DEPTH : DEFAULT_LOG_DEPTH;
		if (depth > EVENT_LOG_MAX_DEPTH) {
			g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
				    "device %s: event log %u of %u records: at most %u, there are"
				    " no more handles",
				    config->name, log, depth, EVENT_LOG_MAX_DEPTH);
			return false;
		}
		regs->cci.logs[log] = event_log_new(depth);
		regs->cci.int_vector[log] = log == CXL_LOG_DC ? DEVICE_VECTOR_DC
							      : DEVICE_VECTOR_EVENTS;
	}
	return true;
}

DeviceRegs *device_regs_new(const DeviceConfig *config, DcDevice *dc, const DeviceOps *ops,
			    void *opaque, GError **error)
{
	g_autoptr(DeviceRegs) regs = g_new0(DeviceRegs, 1);
	unsigned payload_log2 = config->payload_log2 ? config->payload_log2 : DEFAULT_PAYLOAD_LOG2;

	G_STATIC_ASSERT(DEVICE_VECTOR_DC < DEVICE_N_VECTORS && DEVICE_N_VECTORS <= 16);
	regs->ops = *ops;
	regs->opaque = opaque;
	regs->payload_offset = (uint32_t)MAX(sysconf(_SC_PAGESIZE), (long)MIN_PAGE);
	if (!check_static_len(config, dc, error))
		return NULL;
	regs->mailbox = mailbox_new(payload_log2, DEVICE_REGS_BAR_OFFSET + regs->payload_offset,
				    DEVICE_VECTOR_MAILBOX, &mailbox_ops, regs, error);
	if (!regs->mailbox || !make_logs(regs, config, error))
		return NULL;
	regs->cci.mailbox = regs->mailbox;
	regs->cci.now_us = now_us;
	regs->cci.state_changed = state_changed;
	regs->cci.opaque = regs;
	cci_init(&regs->cci, config, dc, mailbox_payload_size(regs->mailbox));
	return g_steal_pointer(&regs);
}

void device_regs_free(DeviceRegs *regs)
{
	if (!regs)
		return;
	mailbox_free(regs->mailbox);
	cci_destroy(&regs->cci);
	g_free(regs);
}

void device_regs_reset(DeviceRegs *regs, DeviceReset kind)
{
	if (kind == DEVICE_RESET_NEW_SESSION)
		mailbox_new_session(regs->mailbox);
	else
		mailbox_reset(regs->mailbox);
	cci_reset(&regs->cci, kind);
}

/* Nothing in here waits for time: the core keeps the deadline of a command in flight. */
void device_regs_tick(DeviceRegs *regs)
{
}

uint64_t device_regs_next_deadline_us(const DeviceRegs *regs)
{
	return UINT64_MAX;
}

/* ---- registers ---- */

uint64_t device_regs_payload_offset(const DeviceRegs *regs)
{
	return regs->payload_offset;
}

uint64_t device_regs_payload_len(const DeviceRegs *regs)
{
	return mailbox_map_len(regs->mailbox);
}

int device_regs_peek_payload_fd(const DeviceRegs *regs)
{
	return mailbox_peek_fd(regs->mailbox);
}

uint64_t device_regs_len(const DeviceRegs *regs)
{
	return (uint64_t)regs->payload_offset + mailbox_map_len(regs->mailbox);
}

static uint32_t mailbox_offset(const DeviceRegs *regs)
{
	return regs->payload_offset - CXL_MBOX_PAYLOAD;
}

/* One of the four headers' dwords; the array's own comes first. */
static uint32_t read_cap_array(const DeviceRegs *regs, uint32_t offset)
{
	const struct {
		CxlDevCapArray array;
		CxlDevCapHeader caps[3];
	} table = {
		.array = {
			.version = CXL_DEV_CAP_ARRAY_VERSION_1,
			.type = CXL_DEV_CAP_ARRAY_TYPE_MEMDEV,
			.n_caps = le16_put(3),
		},
		.caps = {
			{
				.id = le16_put(CXL_DEV_CAP_ID_STATUS),
				.version = CXL_DEV_CAP_STATUS_VERSION,
				.offset = le32_put(STATUS_OFFSET),
				.len = le32_put(CXL_DEV_STATUS_LEN),
			},
			{
				.id = le16_put(CXL_DEV_CAP_ID_MAILBOX),
				.version = CXL_DEV_CAP_MAILBOX_VERSION,
				.offset = le32_put(mailbox_offset(regs)),
				.len = le32_put(
					CXL_MBOX_LEN(mailbox_payload_size(regs->mailbox))),
			},
			{
				.id = le16_put(CXL_DEV_CAP_ID_MEMDEV_STATUS),
				.version = CXL_DEV_CAP_MEMDEV_STATUS_VERSION,
				.offset = le32_put(MEMDEV_STATUS_OFFSET),
				.len = le32_put(CXL_MEMDEV_STATUS_LEN),
			},
		},
	};

	G_STATIC_ASSERT(sizeof(table) <= STATUS_OFFSET);
	if (offset >= sizeof(table))
		return 0;
	return le32_load((const uint8_t *)&table + offset);
}

static uint32_t event_status(const DeviceRegs *regs)
{
	uint32_t status = 0;

	for (unsigned log = 0; log < CXL_N_LOGS; log++)
		if (event_log_n_records(regs->cci.logs[log]) > 0)
			status |= CXL_BIT(log);
	return status;
}

/* OFFSET is a multiple of 4 below the payload. */
static uint32_t read_reg(const DeviceRegs *regs, uint32_t offset)
{
	if (offset >= mailbox_offset(regs))
		return mailbox_read_reg(regs->mailbox, offset - mailbox_offset(regs));
	switch (offset) {
	case STATUS_OFFSET + CXL_DEV_EVENT_STATUS:
		return event_status(regs);
	case MEMDEV_STATUS_OFFSET + CXL_MEMDEV_STATUS:
		return CXL_MEMDEV_STATUS_IDLE;
	default:
		return read_cap_array(regs, offset);
	}
}

static bool is_inside(const DeviceRegs *regs, uint64_t offset, uint32_t len)
{
	return offset <= device_regs_len(regs) && len <= device_regs_len(regs) - offset;
}

int device_regs_read(DeviceRegs *regs, uint64_t offset, void *buf, uint32_t len)
{
	uint8_t *out = buf;

	if (!is_inside(regs, offset, len))
		return -EINVAL;
	while (len > 0 && offset < regs->payload_offset) {
		uint32_t skip = offset % 4;
		uint32_t n = MIN(4 - skip, len);
		uint8_t reg[4];

		le32_store(reg, read_reg(regs, (uint32_t)offset - skip));
		memcpy(out, reg + skip, n);
		out += n;
		offset += n;
		len -= n;
	}
	if (len > 0)
		mailbox_read_payload(regs->mailbox, (uint32_t)(offset - regs->payload_offset), out,
				     len);
	return 0;
}

/* The payload's part comes first, so that a doorbell in the same access finds it in place. */
int device_regs_write(DeviceRegs *regs, uint64_t offset, const void *buf, uint32_t len)
{
	const uint8_t *in = buf;
	uint64_t end = offset + len;

	if (!is_inside(regs, offset, len))
		return -EINVAL;
	if (end > regs->payload_offset) {
		uint64_t from = MAX(offset, regs->payload_offset);

		mailbox_write_payload(regs->mailbox, (uint32_t)(from - regs->payload_offset),
				      in + (from - offset), (uint32_t)(end - from));
		end = from;
	}
	if (end > mailbox_offset(regs) && end > offset) {
		uint64_t from = MAX(offset, mailbox_offset(regs));
		bool wanted_irq = mailbox_wants_irq(regs->mailbox);

		mailbox_write_regs(regs->mailbox, (uint32_t)(from - mailbox_offset(regs)),
				   in + (from - offset), (uint32_t)(end - from));
		if (mailbox_wants_irq(regs->mailbox) != wanted_irq)
			state_changed(regs);
	}
	return 0;
}

/* ---- saved state, queries, trace ---- */

void device_regs_save(const DeviceRegs *regs, GByteArray *out)
{
	uint8_t wants_irq = mailbox_wants_irq(regs->mailbox);

	state_put(out, &wants_irq, sizeof(wants_irq));
	cci_save(&regs->cci, out);
}

bool device_regs_load(DeviceRegs *regs, StateReader *in, bool apply)
{
	const uint8_t *wants_irq = state_take(in, sizeof(*wants_irq));

	if (!wants_irq || *wants_irq > 1)
		return false;
	if (apply)
		mailbox_resume(regs->mailbox, *wants_irq);
	return cci_load(&regs->cci, in, apply);
}

void device_regs_get_info(const DeviceRegs *regs, DeviceInfo *ret)
{
	mailbox_counters(regs->mailbox, &ret->n_commands, &ret->n_failed);
	for (unsigned log = 0; log < CXL_N_LOGS; log++) {
		ret->logs[log] = (DeviceLogInfo){
			.n_records = event_log_n_records(regs->cci.logs[log]),
			.depth = event_log_depth(regs->cci.logs[log]),
			.n_lost = event_log_n_overflows(regs->cci.logs[log]),
			.raises_irq = regs->cci.int_mode[log] == CXL_INT_MODE_MSI,
		};
	}
	ret->list_was_read = regs->cci.list_was_read;
}

void device_regs_set_tracing(DeviceRegs *regs, bool on)
{
	on = on && regs->ops.trace;
	mailbox_set_tracing(regs->mailbox, on);
	for (unsigned log = 0; log < CXL_N_LOGS; log++) {
		regs->watches[log] = (LogWatch){ regs, (uint8_t)log };
		event_log_set_watch(regs->cci.logs[log], on ? trace_record : NULL,
				    &regs->watches[log]);
	}
}

/* ---- event logs ---- */

/*
 * An interrupt for each record, not only for the first in an empty log: a host that has read all
 * there was may be about to sleep when the next one comes.
 */
static void notify_host(DeviceRegs *regs, unsigned log)
{
	if (regs->cci.int_mode[log] == CXL_INT_MODE_MSI)
		regs->ops.irq(regs->opaque, regs->cci.int_vector[log]);
}

void device_regs_renew_irqs(DeviceRegs *regs)
{
	if (mailbox_wants_irq(regs->mailbox))
		mailbox_irq(regs);
	for (unsigned log = 0; log < CXL_N_LOGS; log++) {
		if (event_log_n_records(regs->cci.logs[log]) > 0)
			notify_host(regs, log);
	}
}

bool device_regs_inject_event(DeviceRegs *regs, unsigned log, const CxlEventRecord *record)
{
	bool is_posted;

	if (log >= CXL_LOG_DC) /* what is in the DC log has a reservation behind it */
		return false;
	is_posted = event_log_post(regs->cci.logs[log], record, 0, false,
				   cci_timestamp(&regs->cci));
	/* Also the count of those lost is a change. */
	state_changed(regs);
	if (is_posted)
		notify_host(regs, log);
	return is_posted;
}

bool device_regs_dc_log_reserve(DeviceRegs *regs, uint32_t n)
{
	return event_log_reserve(regs->cci.logs[CXL_LOG_DC], n);
}

void device_regs_dc_log_unreserve(DeviceRegs *regs, uint32_t n)
{
	event_log_unreserve(regs->cci.logs[CXL_LOG_DC], n);
}

void device_regs_dc_log_post(DeviceRegs *regs, const DcEvent *event)
{
	static const uint8_t uuid[CXL_UUID_LEN] = CXL_UUID_EVENT_DYNAMIC_CAPACITY;
	CxlEventDc wire = {
		.header.flags =
			le24_put(CXL_FIELD_PUT(CXL_EVENT_SEVERITY, CXL_EVENT_SEVERITY_INFO)),
		.type = (uint8_t)event->type,
		.validity = CXL_EVENT_DC_VALID_EXTENTS | CXL_EVENT_DC_VALID_TAGS,
		.region = event->region,
		.flags = event->more ? CXL_EVENT_DC_MORE : 0,
		.extent.dpa = le64_put(event->dpa),
		.extent.len = le64_put(event->len),
		.extent.shared_seq = le16_put(event->shared_seq),
		.n_extents_available = le32_put(event->available_extents),
		.n_tags_available = le32_put(event->available_tags),
	};
	CxlEventRecord record;

	memcpy(wire.header.uuid, uuid, sizeof(uuid));
	memcpy(wire.extent.tag, event->tag.b, sizeof(wire.extent.tag));
	memcpy(&record, &wire, sizeof(record));
	event_log_post(regs->cci.logs[CXL_LOG_DC], &record, event->cookie, true,
		       cci_timestamp(&regs->cci));
	/* One interrupt for a chain, at its end: the host can do nothing with half of it. */
	if (event->more)
		event_log_expect_more(regs->cci.logs[CXL_LOG_DC]);
	else
		notify_host(regs, CXL_LOG_DC);
}

void device_regs_dc_log_withdraw(DeviceRegs *regs, uint64_t cookie)
{
	event_log_withdraw(regs->cci.logs[CXL_LOG_DC], cookie);
}

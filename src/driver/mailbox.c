/* SPDX-License-Identifier: BSD-3-Clause */
/* The primary mailbox: one command at a time, with a time-out, against a device that may lie. */
#include "cxl/rc_names.h"
#include "driver/driver_private.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

/* Most commands complete within the doorbell write: look a few times before going to sleep. */
#define SPIN_US      200
#define SLEEP_MIN_US 20
#define SLEEP_MAX_US 1000
/* An interrupt that is lost must not cost a command its time. */
#define INTERRUPT_MAX_US 100000

int memdev_probe_mailbox(CxlMemdev *memdev)
{
	CxlDriver *driver = memdev->driver;
	unsigned log2_len;
	uint32_t ctrl;
	uint32_t len;

	if (regs_read32(&memdev->mailbox, CXL_MBOX_CAPS, &memdev->mbox_caps) < 0)
		return driver_fail(driver, -EIO, "%s: mailbox cannot be read", memdev->name);
	log2_len = CXL_FIELD_GET(CXL_MBOX_CAPS_PAYLOAD_LOG2, memdev->mbox_caps);
	if (log2_len < CXL_MBOX_PAYLOAD_LOG2_MIN || log2_len > CXL_MBOX_PAYLOAD_LOG2_MAX)
		return driver_fail(driver, -ENXIO, "%s: mailbox payload of 2^%u bytes",
				   memdev->name, log2_len);
	len = UINT32_C(1) << log2_len;
	if (memdev->mailbox.len < CXL_MBOX_LEN(len))
		return driver_fail(driver, -ERANGE, "%s: mailbox block too short for its payload",
				   memdev->name);
	memdev->info.payload_len = len;
	if (driver->bus.bar_map) {
		void *map = driver->bus.bar_map(driver->opaque, memdev->mailbox.id,
						memdev->mailbox.bar,
						memdev->mailbox.offset + CXL_MBOX_PAYLOAD, len);

		/* Whole words only: whoever maps it at an odd place gets the slow way. */
		if ((uintptr_t)map % sizeof(uint64_t) == 0)
			memdev->payload = map;
		memdev->info.payload_mapped = memdev->payload;
	}
	/* Somebody before us may have left a command running. */
	for (uint64_t end = driver_now_us(driver) + driver->options.command_ms * 1000ull;;) {
		if (regs_read32(&memdev->mailbox, CXL_MBOX_CTRL, &ctrl) < 0 || ctrl == UINT32_MAX)
			return driver_fail(driver, -ENODEV, "%s: mailbox reads all-ones",
					   memdev->name);
		if (!(ctrl & CXL_MBOX_CTRL_DOORBELL))
			return 0;
		if (driver_now_us(driver) >= end)
			return driver_fail(driver, -EBUSY,
					   "%s: mailbox busy with a command not "
					   "ours",
					   memdev->name);
		driver_sleep_us(driver, SLEEP_MAX_US);
	}
}

static int payload_write(CxlMemdev *memdev, const void *in, uint32_t len)
{
	const uint8_t *src = in;
	uint32_t step = memdev->driver->bus.max_access & ~7u;
	uint32_t pos = 0;

	if (memdev->payload) {
		for (; pos < len; pos += 8) {
			uint64_t word = 0;

			memcpy(&word, src + pos, len - pos < 8 ? len - pos : 8);
			memdev->payload[pos / 8] = word;
		}
		atomic_thread_fence(memory_order_seq_cst);
		return 0;
	}
	if (step < 8)
		step = 8;
	while (pos < len) {
		uint32_t n = len - pos < step ? len - pos : step;
		int err;

		/* A tail is padded to whole words: the payload area has room for them. */
		if (n % 8) {
			uint8_t word[8] = { 0 };

			if (n > 8) {
				n &= ~7u;
			} else {
				memcpy(word, src + pos, n);
				err = regs_write(&memdev->mailbox, CXL_MBOX_PAYLOAD + pos, word, 8);
				return err < 0 ? err : 0;
			}
		}
		err = regs_write(&memdev->mailbox, CXL_MBOX_PAYLOAD + pos, src + pos, n);
		if (err < 0)
			return err;
		pos += n;
	}
	return 0;
}

static int payload_read(CxlMemdev *memdev, void *out, uint32_t len)
{
	uint8_t *dst = out;
	uint32_t step = memdev->driver->bus.max_access & ~7u;
	uint32_t pos = 0;

	if (memdev->payload) {
		atomic_thread_fence(memory_order_seq_cst);
		for (; pos < len; pos += 8) {
			uint64_t word = memdev->payload[pos / 8];

			memcpy(dst + pos, &word, len - pos < 8 ? len - pos : 8);
		}
		return 0;
	}
	if (step < 8)
		step = 8;
	while (pos < len) {
		uint32_t n = len - pos < step ? len - pos : step;
		uint8_t word[8];
		int err;

		if (n >= 8) {
			n &= ~7u;
			err = regs_read(&memdev->mailbox, CXL_MBOX_PAYLOAD + pos, dst + pos, n);
		} else {
			err = regs_read(&memdev->mailbox, CXL_MBOX_PAYLOAD + pos, word, 8);
			memcpy(dst + pos, word, n);
		}
		if (err < 0)
			return err;
		pos += n;
	}
	return 0;
}

/* Acceptance and release change what is mapped, so the device may wait for our own memory side. */
static bool has_interrupt(const CxlMemdev *memdev, uint16_t opcode)
{
	return (opcode == CXL_OP_ADD_DC_RESPONSE || opcode == CXL_OP_RELEASE_DC) &&
	       memdev->driver->bus.command_wait && (memdev->mbox_caps & CXL_MBOX_CAPS_DOORBELL_INT);
}

/* What comes may be another vector's, for whoever waits for events. */
static int wait_interrupt(CxlMemdev *memdev, uint64_t timeout_us)
{
	CxlDriver *driver = memdev->driver;
	int rc = driver->bus.command_wait(driver->opaque, memdev->info.bdf, timeout_us);

	memdev->irq_pending = memdev->irq_pending || rc > 0;
	return rc;
}

/* What tells that a command has completed, and how; read in this order. */
typedef struct MailboxRegs {
	uint32_t ctrl;
	uint64_t cmd;
	uint64_t status;
} MailboxRegs;

static int read_regs(CxlMemdev *memdev, MailboxRegs *ret)
{
	struct {
		le32 caps;
		le32 ctrl;
		le64 cmd;
		le64 status;
	} wire;
	int err;

	_Static_assert(sizeof(wire) == CXL_MBOX_STATUS + 8, "registers lie side by side");
	if (memdev->driver->bus.reads_bursts) {
		err = regs_read(&memdev->mailbox, CXL_MBOX_CAPS, &wire, sizeof(wire));
		*ret = (MailboxRegs){ le32_get(wire.ctrl), le64_get(wire.cmd),
				      le64_get(wire.status) };
		return err;
	}
	err = regs_read32(&memdev->mailbox, CXL_MBOX_CTRL, &ret->ctrl);
	if (err < 0 || (ret->ctrl & CXL_MBOX_CTRL_DOORBELL))
		return err;
	err = regs_read64(&memdev->mailbox, CXL_MBOX_CMD, &ret->cmd);
	return err < 0 ? err : regs_read64(&memdev->mailbox, CXL_MBOX_STATUS, &ret->status);
}

/* Until the doorbell is clear */
static int wait_done(CxlMemdev *memdev, uint64_t begun, bool interrupt, MailboxRegs *ret)
{
	CxlDriver *driver = memdev->driver;
	uint64_t limit = driver->options.command_ms * 1000ull;
	uint64_t pause = SLEEP_MIN_US;

	for (;;) {
		uint64_t took;

		/* It cannot be done yet, and looking would keep the device from getting on. */
		if (interrupt)
			interrupt = wait_interrupt(memdev, INTERRUPT_MAX_US) >= 0;

		if (read_regs(memdev, ret) < 0 || ret->ctrl == UINT32_MAX)
			return -ENODEV;
		took = driver_now_us(driver) - begun;
		if (!(ret->ctrl & CXL_MBOX_CTRL_DOORBELL))
			return 0;
		if (took >= limit)
			return -ETIMEDOUT;
		if (interrupt || took < SPIN_US)
			continue;
		driver_sleep_us(driver, pause);
		pause = pause * 2 < SLEEP_MAX_US ? pause * 2 : SLEEP_MAX_US;
	}
}

/* Return code and output of a command that has completed */
static int collect(CxlMemdev *memdev, const MailboxRegs *regs, void *out, uint32_t out_max,
		   uint32_t *ret_out_len)
{
	uint64_t len = CXL_FIELD_GET(CXL_MBOX_CMD_LEN, regs->cmd);
	int err;

	if (regs->status == UINT64_MAX)
		return -ENODEV;
	if (len > memdev->info.payload_len)
		return -EPROTO;
	if (len > out_max)
		len = out_max;
	err = payload_read(memdev, out, (uint32_t)len);
	if (err < 0)
		return err;
	if (ret_out_len)
		*ret_out_len = (uint32_t)len;
	return (int)CXL_FIELD_GET(CXL_MBOX_STATUS_RC, regs->status);
}

static int run(CxlMemdev *memdev, uint16_t opcode, const void *in, uint32_t in_len, void *out,
	       uint32_t out_max, uint32_t *ret_out_len)
{
	CxlDriver *driver = memdev->driver;
	bool interrupt = has_interrupt(memdev, opcode);
	MailboxRegs regs;
	uint64_t begun;
	uint32_t ctrl;
	int err;

	if (!memdev->info.payload_len)
		return -ENODEV;
	if (in_len > memdev->info.payload_len)
		return -EMSGSIZE;
	if (!memdev->mbox_clean) {
		if (regs_read32(&memdev->mailbox, CXL_MBOX_CTRL, &ctrl) < 0 || ctrl == UINT32_MAX)
			return -ENODEV;
		if (ctrl & CXL_MBOX_CTRL_DOORBELL)
			return -EBUSY;
	}
	memdev->mbox_clean = false;
	err = payload_write(memdev, in, in_len);
	if (err < 0)
		return err;
	err = regs_write64(&memdev->mailbox, CXL_MBOX_CMD,
			   CXL_FIELD_PUT(CXL_MBOX_CMD_OPCODE, (uint64_t)opcode) |
				   CXL_FIELD_PUT(CXL_MBOX_CMD_LEN, (uint64_t)in_len));
	if (err < 0)
		return err;
	if (interrupt)
		wait_interrupt(memdev, 0);
	begun = driver_now_us(driver);
	memdev->last_command_begun_us = begun;
	ctrl = CXL_MBOX_CTRL_DOORBELL | (interrupt ? CXL_MBOX_CTRL_DOORBELL_INT_EN : 0);
	err = regs_write32(&memdev->mailbox, CXL_MBOX_CTRL, ctrl);
	if (err < 0)
		return err;
	err = wait_done(memdev, begun, interrupt, &regs);
	memdev->last_command_us = driver_now_us(driver) - begun;
	if (err < 0)
		return err;
	err = collect(memdev, &regs, out, out_max, ret_out_len);
	memdev->mbox_clean = err >= 0;
	return err;
}

static const char *why(int err)
{
	switch (err) {
	case -ETIMEDOUT:
		return "did not complete in time";
	case -EBUSY:
		return "the mailbox still runs an earlier command";
	case -EMSGSIZE:
		return "input longer than the payload";
	case -EPROTO:
		return "output longer than the payload";
	case -ENODEV:
		return "registers read all-ones";
	default:
		return strerror(-err);
	}
}

int cxl_memdev_command(CxlMemdev *memdev, uint16_t opcode, const void *in, uint32_t in_len,
		       void *out, uint32_t out_max, uint32_t *ret_out_len)
{
	int rc;

	memdev->last_command_us = 0;
	rc = run(memdev, opcode, in, in_len, out, out_max, ret_out_len);
	if (rc < 0)
		driver_fail(memdev->driver, rc, "%s: command %04xh: %s", memdev->name, opcode,
			    why(rc));
	if (memdev->trace)
		memdev->trace(memdev->trace_opaque, memdev, opcode, rc, memdev->last_command_us);
	return rc;
}

int memdev_call(CxlMemdev *memdev, uint16_t opcode, const void *in, uint32_t in_len, void *out,
		uint32_t out_max, uint32_t min_out, uint32_t *ret_out_len)
{
	uint32_t len = 0;
	int rc = cxl_memdev_command(memdev, opcode, in, in_len, out, out_max, &len);

	if (rc < 0)
		return rc;
	if (rc != CXL_RC_SUCCESS)
		return driver_fail(memdev->driver, -EIO, "%s: command %04xh: %s", memdev->name,
				   opcode, cxl_rc_name(rc));
	if (len < min_out)
		return driver_fail(memdev->driver, -EPROTO,
				   "%s: command %04xh gave %u bytes of at least %u", memdev->name,
				   opcode, len, min_out);
	if (ret_out_len)
		*ret_out_len = len;
	return 0;
}

uint64_t cxl_memdev_last_command_begun_us(const CxlMemdev *memdev)
{
	return memdev->last_command_begun_us;
}

uint64_t cxl_memdev_last_command_us(const CxlMemdev *memdev)
{
	return memdev->last_command_us;
}

void cxl_memdev_set_trace(CxlMemdev *memdev, CxlCommandTrace trace, void *opaque)
{
	memdev->trace = trace;
	memdev->trace_opaque = opaque;
}

const char *cxl_rc_name(int rc)
{
	static const char *const names[] = CXL_RC_NAMES;

	if (rc >= 0 && (unsigned)rc < ARRAY_LEN(names) && names[rc])
		return names[rc];
	return rc < 0 ? strerror(-rc) : "unknown return code";
}

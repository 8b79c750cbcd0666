/* SPDX-License-Identifier: BSD-3-Clause */
/* Mailbox: its registers, the payload a guest may map, and one command at a time. */
#include "device/mailbox.h"

#include "cxl/device.h"
#include "util/autofd.h"

#include <fcntl.h>
#include <gio/gio.h>
#include <string.h>
#include <sys/mman.h>

#define PAD_LEN 4096u /* outputs are padded with zeros to a multiple of this */

struct MailboxTicket {
	Mailbox *mb; /* NULL once a reset has torn it off */
};

struct Mailbox {
	const MailboxOps *ops;
	void *opaque;
	unsigned payload_log2;
	unsigned vector;
	uint32_t file_offset; /* of the payload in its file */
	uint32_t map_len;

	uint32_t ctrl; /* CXL_MBOX_CTRL_*, the doorbell too */
	uint64_t cmd;
	uint64_t status;

	int fd;
	uint8_t *payload;  /* shared with the guest, or FALLBACK */
	uint8_t *fallback; /* when there is no file; never touched otherwise */
	uint8_t *in;
	uint8_t *out;

	MailboxTicket *ticket; /* of the command in flight, if it took one */
	uint64_t n_commands, n_failed;
	bool tracing;
	bool traced;         /* the command in flight began while tracing */
	uint64_t started_us; /* of that one */
	uint32_t in_len;
};

uint32_t mailbox_payload_size(const Mailbox *mb)
{
	return UINT32_C(1) << mb->payload_log2;
}

uint32_t mailbox_map_len(const Mailbox *mb)
{
	return mb->map_len;
}

int mailbox_peek_fd(const Mailbox *mb)
{
	return mb->fd;
}

/*
 * The holder of the descriptor can scribble and punch holes, but neither truncate (a trapped access
 * would then be a SIGBUS of ours) nor grow the file. Its pages are allocated here for the same
 * reason: what does not fit shows now and not at the first access.
 */
static bool open_payload(uint32_t file_offset, uint32_t len, int *ret_fd, uint8_t **ret_map,
			 GError **error)
{
	AUTOFD int fd = memfd_create("softdcd-mailbox", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	void *map = MAP_FAILED;

	if (fd >= 0 && fallocate(fd, 0, file_offset, len) == 0 &&
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, file_offset);
	if (map == MAP_FAILED) {
		g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno),
			    "mailbox payload file of %u bytes: %s", len, g_strerror(errno));
		return false;
	}
	*ret_fd = fd_steal(&fd);
	*ret_map = map;
	return true;
}

static void close_payload(Mailbox *mb)
{
	if (mb->payload && mb->payload != mb->fallback)
		munmap(mb->payload, mb->map_len);
	mb->payload = NULL;
	if (mb->fd >= 0)
		close(mb->fd);
	mb->fd = -1;
}

Mailbox *mailbox_new(unsigned payload_log2, uint32_t file_offset, unsigned vector,
		     const MailboxOps *ops, void *opaque, GError **error)
{
	g_autoptr(Mailbox) mb = NULL;
	uint32_t page = (uint32_t)MAX(sysconf(_SC_PAGESIZE), (long)PAD_LEN);
	void *fallback;

	if (payload_log2 < MAILBOX_PAYLOAD_LOG2_MIN || payload_log2 > CXL_MBOX_PAYLOAD_LOG2_MAX) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
			    "mailbox payload of 2^%u bytes: must be 2^%u to 2^%u", payload_log2,
			    MAILBOX_PAYLOAD_LOG2_MIN, CXL_MBOX_PAYLOAD_LOG2_MAX);
		return NULL;
	}
	mb = g_new0(Mailbox, 1);
	mb->ops = ops;
	mb->opaque = opaque;
	mb->payload_log2 = payload_log2;
	mb->file_offset = file_offset;
	mb->vector = vector;
	mb->map_len = MAX(mailbox_payload_size(mb), page);
	mb->fd = -1;
	fallback = mmap(NULL, mb->map_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			0);
	if (fallback == MAP_FAILED) {
		g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno),
			    "mailbox buffer of %u bytes: %s", mb->map_len, g_strerror(errno));
		return NULL;
	}
	mb->fallback = fallback;
	if (!open_payload(mb->file_offset, mb->map_len, &mb->fd, &mb->payload, error))
		return NULL;
	mb->in = g_malloc(mailbox_payload_size(mb));
	mb->out = g_malloc(mailbox_payload_size(mb));
	return g_steal_pointer(&mb);
}

static void tear_off_ticket(Mailbox *mb)
{
	if (mb->ticket)
		mb->ticket->mb = NULL;
	mb->ticket = NULL;
}

void mailbox_free(Mailbox *mb)
{
	if (!mb)
		return;
	tear_off_ticket(mb);
	close_payload(mb);
	if (mb->fallback)
		munmap(mb->fallback, mb->map_len);
	g_free(mb->in);
	g_free(mb->out);
	g_free(mb);
}

void mailbox_reset(Mailbox *mb)
{
	tear_off_ticket(mb);
	mb->ctrl = 0;
	mb->cmd = 0;
	mb->status = 0;
}

void mailbox_resume(Mailbox *mb, bool wants_irq)
{
	mailbox_reset(mb);
	mb->ctrl = wants_irq ? CXL_MBOX_CTRL_DOORBELL_INT_EN : 0;
	mb->status = CXL_FIELD_PUT(CXL_MBOX_STATUS_RC, (uint64_t)CXL_RC_ABORTED);
}

bool mailbox_wants_irq(const Mailbox *mb)
{
	return mb->ctrl & CXL_MBOX_CTRL_DOORBELL_INT_EN;
}

void mailbox_set_tracing(Mailbox *mb, bool on)
{
	mb->tracing = on && mb->ops->trace;
}

void mailbox_counters(const Mailbox *mb, uint64_t *ret_n_commands, uint64_t *ret_n_failed)
{
	*ret_n_commands = mb->n_commands;
	*ret_n_failed = mb->n_failed;
}

void mailbox_new_session(Mailbox *mb)
{
	g_autoptr(GError) error = NULL;

	mailbox_reset(mb);
	close_payload(mb);
	if (!open_payload(mb->file_offset, mb->map_len, &mb->fd, &mb->payload, &error)) {
		g_warning("%s; payload access is trapped", error->message);
		memset(mb->fallback, 0, mb->map_len);
		mb->payload = mb->fallback;
	}
}

/* ---- commands ---- */

static void tell_trace(Mailbox *mb, uint16_t opcode, enum cxl_rc rc, uint32_t out_len)
{
	const MailboxCall call = {
		.opcode = opcode,
		.in = mb->in,
		.in_len = mb->in_len,
		.out = mb->out,
		.out_max = mailbox_payload_size(mb),
		.out_len = out_len,
	};

	mb->traced = false;
	mb->ops->trace(mb->opaque, &call, rc, mb->ops->now_us(mb->opaque) - mb->started_us);
}

/* The status is in place before the doorbell clears; the interrupt is last. */
static void finish(Mailbox *mb, enum cxl_rc rc, uint32_t out_len)
{
	uint16_t opcode = (uint16_t)CXL_FIELD_GET(CXL_MBOX_CMD_OPCODE, mb->cmd);

	/* Linux (7.3): indexes a table with the code. A larger one would be a bug of ours. */
	g_assert(rc <= CXL_RC_INVALID_EXTENT_LIST);
	if (rc != CXL_RC_SUCCESS)
		out_len = 0;
	if (out_len > 0) {
		uint32_t pad_end = MIN((out_len + PAD_LEN - 1) / PAD_LEN * PAD_LEN, mb->map_len);

		memcpy(mb->payload, mb->out, out_len);
		memset(mb->payload + out_len, 0, pad_end - out_len);
	}
	mb->cmd = opcode | CXL_FIELD_PUT(CXL_MBOX_CMD_LEN, (uint64_t)out_len);
	mb->status = CXL_FIELD_PUT(CXL_MBOX_STATUS_RC, (uint64_t)rc);
	mb->ctrl &= ~CXL_MBOX_CTRL_DOORBELL;
	mb->n_commands++;
	mb->n_failed += rc != CXL_RC_SUCCESS;
	if (mb->traced)
		tell_trace(mb, opcode, rc, out_len);
	if (mb->ctrl & CXL_MBOX_CTRL_DOORBELL_INT_EN)
		mb->ops->irq(mb->opaque);
}

static void ring_doorbell(Mailbox *mb)
{
	uint64_t len = CXL_FIELD_GET(CXL_MBOX_CMD_LEN, mb->cmd);
	MailboxCall call = {
		.opcode = (uint16_t)CXL_FIELD_GET(CXL_MBOX_CMD_OPCODE, mb->cmd),
		.in = mb->in,
		.out = mb->out,
		.out_max = mailbox_payload_size(mb),
	};
	int rc;

	mb->ctrl |= CXL_MBOX_CTRL_DOORBELL;
	mb->traced = mb->tracing;
	mb->in_len = 0;
	if (mb->traced)
		mb->started_us = mb->ops->now_us(mb->opaque);
	if (len > mailbox_payload_size(mb)) {
		finish(mb, CXL_RC_INVALID_PAYLOAD_LENGTH, 0);
		return;
	}
	call.in_len = mb->in_len = (uint32_t)len;
	memcpy(mb->in, mb->payload, call.in_len);
	rc = mb->ops->execute(mb->opaque, &call);
	if (rc == MAILBOX_PENDING)
		return; /* perhaps completed already, and perhaps another one running */
	g_assert(call.out_len <= call.out_max);
	finish(mb, (enum cxl_rc)rc, call.out_len);
}

MailboxTicket *mailbox_defer(Mailbox *mb)
{
	g_assert(!mb->ticket);
	mb->ticket = g_new(MailboxTicket, 1);
	mb->ticket->mb = mb;
	return mb->ticket;
}

void mailbox_ticket_complete(MailboxTicket *ticket, enum cxl_rc rc)
{
	Mailbox *mb = ticket->mb;

	g_free(ticket);
	if (!mb)
		return;
	mb->ticket = NULL;
	finish(mb, rc, 0);
}

/* ---- registers ---- */

static uint32_t caps(const Mailbox *mb)
{
	return CXL_FIELD_PUT(CXL_MBOX_CAPS_PAYLOAD_LOG2, mb->payload_log2) |
	       CXL_MBOX_CAPS_DOORBELL_INT | CXL_FIELD_PUT(CXL_MBOX_CAPS_INT_MSG, mb->vector) |
	       CXL_FIELD_PUT(CXL_MBOX_CAPS_TYPE, CXL_MBOX_CAPS_TYPE_MEMDEV);
}

uint32_t mailbox_read_reg(const Mailbox *mb, uint32_t offset)
{
	switch (offset) {
	case CXL_MBOX_CAPS:
		return caps(mb);
	case CXL_MBOX_CTRL:
		return mb->ctrl;
	case CXL_MBOX_CMD:
		return (uint32_t)mb->cmd;
	case CXL_MBOX_CMD + 4:
		return (uint32_t)(mb->cmd >> 32);
	case CXL_MBOX_STATUS:
		return (uint32_t)mb->status;
	case CXL_MBOX_STATUS + 4:
		return (uint32_t)(mb->status >> 32);
	default: /* no command here runs in the background */
		return 0;
	}
}

/*
 * Bytes are stored wherever the host puts them and only the doorbell acts, after all else in the
 * same access: half writes of the command register do nothing. While a command runs the registers
 * are read-only; the spec leaves it open, and the command cannot be confused this way.
 */
void mailbox_write_regs(Mailbox *mb, uint32_t offset, const uint8_t *buf, uint32_t len)
{
	int new_ctrl = -1;

	if (mb->ctrl & CXL_MBOX_CTRL_DOORBELL)
		return;
	for (uint32_t i = 0; i < len; i++) {
		uint32_t at = offset + i;

		if (at == CXL_MBOX_CTRL) {
			new_ctrl = buf[i];
		} else if (at >= CXL_MBOX_CMD && at < CXL_MBOX_CMD + 8) {
			unsigned shift = 8 * (at - CXL_MBOX_CMD);

			mb->cmd &= ~(UINT64_C(0xff) << shift);
			mb->cmd |= (uint64_t)buf[i] << shift;
		}
	}
	mb->cmd &= CXL_MBOX_CMD_OPCODE | CXL_MBOX_CMD_LEN;
	if (new_ctrl < 0)
		return;
	mb->ctrl = (uint32_t)new_ctrl & CXL_MBOX_CTRL_DOORBELL_INT_EN;
	if ((uint32_t)new_ctrl & CXL_MBOX_CTRL_DOORBELL)
		ring_doorbell(mb);
}

void mailbox_read_payload(const Mailbox *mb, uint32_t offset, void *buf, uint32_t len)
{
	memcpy(buf, mb->payload + offset, len);
}

void mailbox_write_payload(Mailbox *mb, uint32_t offset, const void *buf, uint32_t len)
{
	memcpy(mb->payload + offset, buf, len);
}

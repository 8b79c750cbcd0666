/* SPDX-License-Identifier: BSD-3-Clause */
/* Mailbox: its registers, the payload a guest may map, and one command at a time. */
#ifndef DEVICE_MAILBOX_H
#define DEVICE_MAILBOX_H

/*
 * Design. The payload is a memfd that the guest may map and scribble on at any time. Nothing but
 * mailbox.c touches it: at the doorbell the input is copied once, only its length's worth, into
 * memory of our own; whoever executes the command sees that copy and writes to another private
 * buffer, which is copied out when the command ends. A command that waits takes a ticket; a reset
 * tears the ticket off, so a completion that comes too late has nothing left to complete.
 */

#include "cxl/cci.h"

#include <glib.h>
#include <stdbool.h>

typedef struct Mailbox Mailbox;

#define MAILBOX_PAYLOAD_LOG2_MIN 9 /* Linux (v11 DCD): 512 bytes must hold 4800h's answer */

/* What an executor returns instead of an enum cxl_rc: it took a ticket. */
#define MAILBOX_PENDING (-1)

typedef struct MailboxCall {
	uint16_t opcode;
	const uint8_t *in; /* private copy */
	uint32_t in_len;   /* at most the payload size */
	uint8_t *out;      /* private; its contents are undefined before */
	uint32_t out_max;  /* the payload size */
	uint32_t out_len;  /* result, 0 at first; ignored unless the command succeeds */
} MailboxCall;

typedef struct MailboxOps {
	/* Returns an enum cxl_rc or MAILBOX_PENDING. */
	int (*execute)(void *opaque, MailboxCall *call);
	void (*irq)(void *opaque); /* the doorbell cleared and the host wants to know */
	uint64_t (*now_us)(void *opaque);
	/* While mailbox_set_tracing() is on, when a command has ended: CALL is as its executor saw
	 * it, with the output that the host gets. OUT_LEN is 0 unless RC is Success. */
	void (*trace)(void *opaque, const MailboxCall *call, enum cxl_rc rc, uint64_t took_us);
} MailboxOps;

/* OPS is borrowed. FILE_OFFSET, page aligned, is where the payload stands in its own file. */
Mailbox *mailbox_new(unsigned payload_log2, uint32_t file_offset, unsigned vector,
		     const MailboxOps *ops, void *opaque, GError **error);
void mailbox_free(Mailbox *mb);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Mailbox, mailbox_free)

uint32_t mailbox_payload_size(const Mailbox *mb); /* as the capability register says, bytes */
uint32_t mailbox_map_len(const Mailbox *mb);      /* the same in whole pages: what a guest maps */
int mailbox_peek_fd(const Mailbox *mb);           /* -1 = trapped access only */

/* Offsets from the mailbox capability, below CXL_MBOX_PAYLOAD for the registers; the payload's are
 * from its own start, below mailbox_map_len(). The caller has checked them. */
uint32_t mailbox_read_reg(const Mailbox *mb, uint32_t offset); /* the aligned 32 bits there */
void mailbox_write_regs(Mailbox *mb, uint32_t offset, const uint8_t *buf, uint32_t len);
void mailbox_read_payload(const Mailbox *mb, uint32_t offset, void *buf, uint32_t len);
void mailbox_write_payload(Mailbox *mb, uint32_t offset, const void *buf, uint32_t len);

void mailbox_set_tracing(Mailbox *mb, bool on); /* off at first; off costs nothing */
/* Ended commands, since the mailbox was made; and those of them that did not succeed. */
void mailbox_counters(const Mailbox *mb, uint64_t *ret_n_commands, uint64_t *ret_n_failed);
bool mailbox_wants_irq(const Mailbox *mb); /* the host has asked for doorbell interrupts */

/*
 * For a host that goes on where a former run of this program ended. What became of a command then
 * in flight nobody knows any more, so the status says Aborted: a host that waits for one must not
 * take an older Success for its own.
 */
void mailbox_resume(Mailbox *mb, bool wants_irq);

/* The command in flight is forgotten and the registers go back to their defaults. */
void mailbox_reset(Mailbox *mb);
/* Also gives up the payload file for a fresh one, zeroed, so that who holds the old one sees
 * nothing more. If the system has none to give, there is none to map from then on. */
void mailbox_new_session(Mailbox *mb);

/* Called by an executor that returns MAILBOX_PENDING; every ticket is completed exactly once,
 * maybe before the executor returns. Such a command has no output. */
typedef struct MailboxTicket MailboxTicket;
MailboxTicket *mailbox_defer(Mailbox *mb);
void mailbox_ticket_complete(MailboxTicket *ticket, enum cxl_rc rc);

#endif

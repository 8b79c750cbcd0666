/* SPDX-License-Identifier: BSD-3-Clause */
/* Mailbox commands that no driver would send. */
#include "hammer.h"

#include "cxl/cci.h"
#include "cxl/device.h"
#include "cxl/event.h"

#include <stdlib.h>
#include <string.h>

#define DPA_UNIT    (UINT64_C(2) << 20) /* block size of the regions, unless asked otherwise */
#define MAX_ENTRIES 64u
#define MAX_OFFERED 64u
#define LAST_RC     0x1eu /* Linux: what is above is read past the end of a table */

typedef struct Command {
	uint16_t opcode;
	uint8_t *in;       /* as long as the payload */
	uint32_t in_len;   /* bytes of it to write */
	uint32_t told_len; /* what the command register says */
} Command;

static const uint16_t known[] = {
	CXL_OP_IDENTIFY,
	CXL_OP_GET_EVENT_RECORDS,
	CXL_OP_CLEAR_EVENT_RECORDS,
	CXL_OP_GET_EVENT_INT_POLICY,
	CXL_OP_SET_EVENT_INT_POLICY,
	CXL_OP_GET_FW_INFO,
	CXL_OP_GET_TIMESTAMP,
	CXL_OP_SET_TIMESTAMP,
	CXL_OP_GET_SUPPORTED_LOGS,
	CXL_OP_GET_LOG,
	CXL_OP_IDENTIFY_MEMDEV,
	CXL_OP_GET_PARTITION_INFO,
	CXL_OP_SET_PARTITION_INFO,
	CXL_OP_GET_LSA,
	CXL_OP_SET_LSA,
	CXL_OP_GET_HEALTH_INFO,
	CXL_OP_GET_ALERT_CONFIG,
	CXL_OP_SET_ALERT_CONFIG,
	CXL_OP_GET_SHUTDOWN_STATE,
	CXL_OP_SET_SHUTDOWN_STATE,
	CXL_OP_GET_POISON_LIST,
	CXL_OP_INJECT_POISON,
	CXL_OP_CLEAR_POISON,
	CXL_OP_SANITIZE,
	CXL_OP_GET_DC_CONFIG,
	CXL_OP_GET_DC_EXTENT_LIST,
	CXL_OP_FM_INITIATE_DC_ADD,
	CXL_OP_FM_INITIATE_DC_RELEASE,
};

static void make_known(const GuestDevice *dev, Random *random, Command *ret)
{
	ret->opcode = known[random_below(random, sizeof(known) / sizeof(known[0]))];
	ret->in_len = random_below(random, 4) == 0 ? random_below(random, dev->payload_len + 1)
						   : random_below(random, 40);
	random_fill(random, ret->in, ret->in_len < 512 ? ret->in_len : 512);
	ret->told_len = ret->in_len;
}

static void make_unknown(const GuestDevice *dev, Random *random, Command *ret)
{
	make_known(dev, random, ret);
	/* Those of dynamic capacity could by chance be right. */
	do {
		ret->opcode = (uint16_t)random_next(random);
	} while (ret->opcode == CXL_OP_ADD_DC_RESPONSE || ret->opcode == CXL_OP_RELEASE_DC);
}

static void make_too_long(const GuestDevice *dev, Random *random, Command *ret)
{
	make_known(dev, random, ret);
	if (random_below(random, 3) == 0)
		ret->opcode = random_below(random, 2) ? CXL_OP_ADD_DC_RESPONSE : CXL_OP_RELEASE_DC;
	ret->told_len = dev->payload_len + 1 + random_below(random, 0x1fffff - dev->payload_len);
}

/* An entry that is wrong wherever it is told: see the table in docs/device.md. */
static CxlDcResponseEntry bad_entry(Random *random)
{
	static const struct {
		uint64_t dpa, len;
	} bad[] = {
		{ 0, 0 },
		{ 0, 1 },
		{ 1, DPA_UNIT },
		{ 0, UINT64_MAX },
		{ 0, UINT64_MAX - DPA_UNIT + 1 },
		{ UINT64_MAX - DPA_UNIT + 1, DPA_UNIT },
		{ UINT64_MAX - DPA_UNIT + 1, 2 * DPA_UNIT },
		{ UINT64_MAX, UINT64_MAX },
		{ UINT64_C(1) << 63, UINT64_C(1) << 63 },
		{ UINT64_C(1) << 52, DPA_UNIT },
		{ DPA_UNIT / 2, DPA_UNIT },
	};
	uint32_t i = random_below(random, sizeof(bad) / sizeof(bad[0]) + 1);
	CxlDcResponseEntry entry;

	random_fill(random, &entry, sizeof(entry));
	if (i < sizeof(bad) / sizeof(bad[0])) {
		entry.dpa = le64_put(bad[i].dpa);
		entry.len = le64_put(bad[i].len);
	} else {
		entry.len.b[0] |= 1; /* random, but surely no multiple of a block */
	}
	return entry;
}

/* 4802h or 4803h: a count that is not what is there, or entries of which at least one is wrong. */
static void make_bad_list(const GuestDevice *dev, Random *random, Command *ret)
{
	static const uint32_t counts[] = { 1,          255,        65536,      0x7fffffff,
					   0x80000000, 0xaaaaaaab, 0xffffffff, 0x0aaaaaab };
	CxlDcResponseHeader *header = (CxlDcResponseHeader *)ret->in;
	CxlDcResponseEntry *entries = (CxlDcResponseEntry *)(header + 1);
	uint32_t n = 1 + random_below(random, MAX_ENTRIES);
	uint32_t bad = random_below(random, n);

	random_fill(random, header, sizeof(*header));
	header->n_extents = le32_put(n);
	for (uint32_t i = 0; i < n; i++) {
		entries[i] = (CxlDcResponseEntry){ .dpa = le64_put(i * DPA_UNIT),
						   .len = le64_put(DPA_UNIT) };
		if (i == bad || random_below(random, 4) == 0)
			entries[i] = bad_entry(random);
	}
	ret->opcode = random_below(random, 2) ? CXL_OP_ADD_DC_RESPONSE : CXL_OP_RELEASE_DC;
	ret->in_len = (uint32_t)(sizeof(*header) + n * sizeof(*entries));
	switch (random_below(random, 4)) {
	case 0: /* shorter than its count says */
		ret->in_len = random_below(random, ret->in_len);
		break;
	case 1:
		header->n_extents = le32_put(counts[random_below(random, 8)]);
		break;
	default:
		break;
	}
	ret->told_len = ret->in_len;
	if (random_below(random, 16) == 0)
		ret->told_len = random_below(random, dev->payload_len);
}

/* Reads the whole log, or clears what is not there. */
static void make_events(const GuestDevice *dev, Random *random, Command *ret)
{
	CxlClearEventRecordsIn *in = (CxlClearEventRecordsIn *)ret->in;

	random_fill(random, ret->in, 512);
	in->log = (uint8_t)random_below(random, CXL_N_LOGS + 1);
	ret->opcode = random_below(random, 2) ? CXL_OP_GET_EVENT_RECORDS
					      : CXL_OP_CLEAR_EVENT_RECORDS;
	ret->in_len = ret->opcode == CXL_OP_GET_EVENT_RECORDS
			      ? 1
			      : (uint32_t)sizeof(*in) + 2 * random_below(random, 256);
	ret->told_len = ret->in_len;
}

/* ---- judging ---- */

typedef struct Expected {
	uint32_t n, generation;
} Expected;

static Expected expected_now(const GuestDevice *dev)
{
	Expected expected;

	dc_read_state(dev, &expected.n, &expected.generation);
	return expected;
}

static void judge(const GuestDevice *dev, const Command *command, bool once, unsigned rc,
		  const Expected *before)
{
	Expected after = expected_now(dev);

	if (rc > LAST_RC)
		fail("command %04x, %u bytes: return code %#x", command->opcode, command->told_len,
		     rc);
	if (once && command->told_len > dev->payload_len && rc != CXL_RC_INVALID_PAYLOAD_LENGTH)
		fail("command %04x, %u bytes in a payload of %u: return code %#x", command->opcode,
		     command->told_len, dev->payload_len, rc);
	if (after.n != before->n || after.generation != before->generation)
		fail("command %04x, %u bytes, return code %#x: there were %u extents, generation "
		     "%u, and are %u, generation %u",
		     command->opcode, command->told_len, rc, before->n, before->generation, after.n,
		     after.generation);
}

/* ---- while a command runs ---- */

/* The doorbell again, another command, another payload, until the answer is there. */
static unsigned scribble_until_done(const GuestDevice *dev, Random *random)
{
	static const uint16_t opcodes[] = { CXL_OP_ADD_DC_RESPONSE, CXL_OP_RELEASE_DC,
					    CXL_OP_GET_DC_EXTENT_LIST, 0xc000 };

	do {
		uint8_t junk[256];

		random_fill(random, junk, sizeof(junk));
		mailbox_put(dev, opcodes[random_below(random, 4)], junk,
			    random_below(random, sizeof(junk)), (uint32_t)random_next(random));
		mailbox_ring(dev);
	} while (mailbox_is_busy(dev) && random_below(random, 64) != 0);
	return mailbox_wait(dev);
}

/*
 * A doorbell that is rung again just after the command has ended starts one of its own, with junk
 * for a payload. So what the first has answered is known only from what it did.
 *
 * The payload is memory, and the doorbell a message: only an answer from the device, to any read,
 * tells that it has the payload. Junk that is written before that may be what it gets, which it
 * refuses. True: this may have happened.
 */
static bool run_disturbed(const GuestDevice *dev, Random *random, uint16_t opcode, const void *in,
			  uint32_t in_len)
{
	bool too_early = random_below(random, 2) == 0;
	unsigned rc;

	mailbox_put(dev, opcode, in, in_len, in_len);
	mailbox_ring(dev);
	if (!too_early)
		(void)mailbox_is_busy(dev);
	rc = scribble_until_done(dev, random);
	if (rc > LAST_RC)
		fail("command %04x, disturbed: return code %#x", opcode, rc);
	return too_early;
}

/* Runs it until it has changed the list; it does so at once if the device had its payload. */
static void change_list(const GuestDevice *dev, Random *random, uint16_t opcode, const void *in,
			uint32_t in_len, ExtentList *ret)
{
	uint32_t generation = ret->generation;
	bool may_be_refused;

	do {
		may_be_refused = run_disturbed(dev, random, opcode, in, in_len);
		dc_read_list(dev, ret);
	} while (may_be_refused && ret->generation == generation);
}

static uint32_t count_common(const ExtentList *list, const CxlDcExtent *extents, uint32_t n)
{
	uint32_t common = 0;

	for (uint32_t i = 0; i < list->n; i++) {
		for (uint32_t k = 0; k < n; k++)
			common += memcmp(&list->extents[i], &extents[k], sizeof(extents[k])) == 0;
	}
	return common;
}

void hammer_disturb(const GuestDevice *dev, Random *random)
{
	static CxlDcExtent offered[MAX_OFFERED];
	static uint8_t in[sizeof(CxlDcResponseHeader) + MAX_OFFERED * sizeof(CxlDcResponseEntry)];
	static ExtentList before, after;
	uint32_t n, len;

	dc_read_list(dev, &before);
	n = dc_wait_for_offer(dev, offered, MAX_OFFERED);
	len = dc_response(in, offered, n);
	after.generation = before.generation;
	change_list(dev, random, CXL_OP_ADD_DC_RESPONSE, in, len, &after);
	if (after.n != before.n + n || count_common(&after, offered, n) != n)
		fail("an offer of %u extents, accepted while disturbed: %u extents before, %u "
		     "after, "
		     "%u of them offered",
		     n, before.n, after.n, count_common(&after, offered, n));
	change_list(dev, random, CXL_OP_RELEASE_DC, in, len, &after);
	if (after.n != before.n || count_common(&after, before.extents, before.n) != before.n)
		fail("%u extents given back while disturbed: %u before the offer, %u now", n,
		     before.n, after.n);
}

/*
 * Mostly more than once, which is ignored or, when the first command has ended meanwhile, runs one
 * with the length that its answer had. True: it was once.
 */
static bool ring_some(const GuestDevice *dev, Random *random, const Command *command)
{
	uint32_t n = 1 + random_below(random, 4);

	mailbox_put(dev, command->opcode, command->in, command->in_len, command->told_len);
	for (uint32_t i = 0; i < n; i++)
		mailbox_ring(dev);
	return n == 1;
}

/* Bad lists with More are collected: let the device judge them, so that none is in front of a good
 * one. */
static void end_lists(const GuestDevice *dev)
{
	static const uint16_t opcodes[] = { CXL_OP_ADD_DC_RESPONSE, CXL_OP_RELEASE_DC };
	static const CxlDcExtent empty;
	uint8_t in[sizeof(CxlDcResponseHeader) + sizeof(CxlDcResponseEntry)];
	uint32_t len = dc_response(in, &empty, 1);

	for (unsigned i = 0; i < 2; i++) {
		unsigned rc = mailbox_run(dev, opcodes[i], in, len, NULL, 0, NULL);

		if (rc != CXL_RC_INVALID_EXTENT_LIST && rc != CXL_RC_INVALID_PA &&
		    rc != CXL_RC_RESOURCES_EXHAUSTED)
			fail("command %04x with an empty entry: return code %#x", opcodes[i], rc);
	}
}

void hammer_mailbox(const GuestDevice *dev, Random *random, unsigned rounds)
{
	static void (*const makers[])(const GuestDevice *, Random *, Command *) = {
		make_known,    make_known,    make_unknown, make_too_long,
		make_bad_list, make_bad_list, make_events,
	};
	Command command = { .in = calloc(1, dev->payload_len + 4096) };
	Expected before = expected_now(dev);

	if (!command.in)
		fail("no memory");
	for (unsigned round = 0; round < rounds; round++) {
		bool once;

		makers[random_below(random, sizeof(makers) / sizeof(makers[0]))](dev, random,
										 &command);
		once = ring_some(dev, random, &command);
		judge(dev, &command, once, mailbox_wait(dev), &before);
	}
	end_lists(dev);
	free(command.in);
}

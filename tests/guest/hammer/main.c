/* SPDX-License-Identifier: BSD-3-Clause */
/* hammer: what a hostile or careless guest does to its device.  Runs as root in a guest. */
#include "hammer.h"

#include "cxl/cci.h"
#include "cxl/memdev.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_OFFERED 2048

static const char usage[] =
	"usage: hammer DEVICE [SEED] registers SECONDS | mailbox ROUNDS | disturb ROUNDS |\n"
	"              accept | release | list | reset\n"
	"DEVICE is its PCI address, 0000:0d:00.0; no driver may be bound to it.\n";

static void print_list(const GuestDevice *dev)
{
	static ExtentList list;

	dc_read_list(dev, &list);
	printf("generation %u\n", list.generation);
	for (uint32_t i = 0; i < list.n; i++) {
		const CxlDcExtent *extent = &list.extents[i];

		printf("extent %#llx %#llx ", (unsigned long long)le64_get(extent->dpa),
		       (unsigned long long)le64_get(extent->len));
		for (unsigned k = 0; k < CXL_DC_TAG_LEN; k++)
			printf("%02x", extent->tag[k]);
		printf(" %u\n", le16_get(extent->shared_seq));
	}
}

static void run_response(const GuestDevice *dev, uint16_t opcode, const CxlDcExtent *extents,
			 uint32_t n)
{
	static uint8_t in[sizeof(CxlDcResponseHeader) + MAX_EXTENTS * sizeof(CxlDcResponseEntry)];
	uint32_t len = dc_response(in, extents, n);
	unsigned rc = mailbox_run(dev, opcode, in, len, NULL, 0, NULL);

	if (rc != CXL_RC_SUCCESS)
		fail("%04x with %u extents: %#x", opcode, n, rc);
}

/* The identity of a device that answers as it should. */
static void check_sanity(const GuestDevice *dev)
{
	CxlIdentifyMemdevOut out;
	uint32_t len;
	unsigned rc = mailbox_run(dev, CXL_OP_IDENTIFY_MEMDEV, NULL, 0, &out, sizeof(out), &len);

	if (rc != CXL_RC_SUCCESS || len != sizeof(out) ||
	    memcmp(out.fw_revision, "softdcd", 7) != 0)
		fail("Identify Memory Device: %#x, %u bytes", rc, len);
	printf("total %llu\n",
	       (unsigned long long)(le64_get(out.total_capacity) * CXL_CAPACITY_UNIT));
}

static void accept_offer(const GuestDevice *dev)
{
	static CxlDcExtent offered[MAX_OFFERED];
	static ExtentList list;
	uint32_t n;

	dc_enable_events(dev);
	dc_read_list(dev, &list); /* offers wait for that */
	n = dc_wait_for_offer(dev, offered, MAX_OFFERED);
	run_response(dev, CXL_OP_ADD_DC_RESPONSE, offered, n);
}

static void release_all(const GuestDevice *dev)
{
	static ExtentList list;

	dc_read_list(dev, &list);
	if (list.n > 0)
		run_response(dev, CXL_OP_RELEASE_DC, list.extents, list.n);
}

static void disturb(const GuestDevice *dev, Random *random, unsigned rounds)
{
	static ExtentList list;

	dc_enable_events(dev);
	dc_read_list(dev, &list);
	while (rounds-- > 0)
		hammer_disturb(dev, random);
}

static bool run(const GuestDevice *dev, Random *random, const char *verb, const char *argument)
{
	unsigned n = argument ? (unsigned)strtoul(argument, NULL, 0) : 0;

	if (!strcmp(verb, "registers") && n > 0)
		printf("accesses %llu\n", (unsigned long long)hammer_registers(dev, random, n));
	else if (!strcmp(verb, "mailbox") && n > 0)
		hammer_mailbox(dev, random, n);
	else if (!strcmp(verb, "disturb") && n > 0)
		disturb(dev, random, n);
	else if (argument)
		return false;
	else if (!strcmp(verb, "accept"))
		accept_offer(dev);
	else if (!strcmp(verb, "release"))
		release_all(dev);
	else if (!strcmp(verb, "list"))
		print_list(dev);
	else if (!strcmp(verb, "reset"))
		guest_device_reset(dev);
	else
		return false;
	return true;
}

int main(int argc, char **argv)
{
	GuestDevice dev;
	Random random = { 0 };
	int verb = 2;

	if (argc > 3 && argv[2][0] >= '0' && argv[2][0] <= '9') {
		random.state = strtoull(argv[2], NULL, 0);
		verb = 3;
	}
	if (argc <= verb || argc > verb + 2) {
		fputs(usage, stderr);
		return 2;
	}
	guest_device_open(&dev, argv[1]);
	if (!run(&dev, &random, argv[verb], argv[verb + 1])) {
		fputs(usage, stderr);
		return 2;
	}
	/* Registers are a mess then, until there is a reset. */
	if (strcmp(argv[verb], "registers") != 0)
		check_sanity(&dev);
	return 0;
}

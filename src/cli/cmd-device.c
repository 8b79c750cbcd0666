/* SPDX-License-Identifier: BSD-3-Clause */
/* softdcd device add, remove, reset. */
#include "cli/client.h"
#include "cli/cmd.h"
#include "cli/columns.h"
#include "cli/request.h"

#define REGIONS_MAX    8
#define LATENCY_NS_MAX 65534

static ExitCode run_add(const CliArgs *args)
{
	static const CliMember members[] = {
		{ "NAME", "id" },          { "dc", "dc-regions" },
		{ "ram", NULL },           { "pmem", NULL },
		{ "lsa", NULL },           { "serial", NULL },
		{ "max-extents", NULL },   { "max-chain", NULL },
		{ "dc-log-depth", NULL },  { "read-latency", NULL },
		{ "write-latency", NULL }, { "bandwidth", NULL },
		{ "hold", NULL },          { NULL, NULL },
	};
	CliClient client;
	g_autoptr(JsonNode) added = NULL;
	g_autoptr(JsonArray) devices = NULL;
	const char *name = cli_text(args, "NAME");

	if (!cli_given(args, "dc") && !cli_given(args, "ram") && !cli_given(args, "pmem")) {
		cli_complain(args, "--dc, --ram or --pmem must be given: a device needs capacity");
		return EXIT_USAGE;
	}
	if (cli_n_values(args, "dc") > REGIONS_MAX) {
		cli_complain(args, "--dc was given %u times, a device has at most %d regions",
			     cli_n_values(args, "dc"), REGIONS_MAX);
		return EXIT_USAGE;
	}
	if (!cli_client_open(&client, args))
		return client.exit;
	added = cli_client_call(&client, "device-add", cli_request_new(args, members),
				CLI_CALL_TIMEOUT_MS);
	if (added)
		devices = cli_client_list(&client, "query-devices", cli_request_id(name));
	if (devices && json_array_get_length(devices) > 0) {
		g_printerr("device %s added\n", name);
		cli_print_object(args, json_array_get_object_element(devices, 0),
				 cli_device_columns);
	}
	cli_client_close(&client);
	return client.exit;
}

static ExitCode run_on_name(const CliArgs *args, const char *command, const CliMember *members,
			    const char *done)
{
	CliClient client;
	g_autoptr(JsonNode) result = NULL;

	if (!cli_client_open(&client, args))
		return client.exit;
	result = cli_client_call(&client, command, cli_request_new(args, members),
				 CLI_CALL_TIMEOUT_MS);
	if (result)
		cli_print_done(args, "device", cli_text(args, "NAME"), done);
	cli_client_close(&client);
	return client.exit;
}

static ExitCode run_remove(const CliArgs *args)
{
	static const CliMember members[] = {
		{ "NAME", "id" },
		{ "force", NULL },
		{ NULL, NULL },
	};

	return run_on_name(args, "device-del", members, "removed");
}

static ExitCode run_reset(const CliArgs *args)
{
	static const CliMember members[] = {
		{ "NAME", "id" },
		{ "forget", NULL },
		{ NULL, NULL },
	};

	return run_on_name(args, "x-device-reset", members,
			   cli_flag(args, "forget") ? "forgotten" : "reset");
}

/* ---- the table ---- */

#define EXITS (1 << EXIT_TIMED_OUT | 1 << EXIT_NO_OBJECT | 1 << EXIT_NO_DAEMON)

static const char *const hold_words[] = { "auto", "off", NULL };

static const CliParam add_positionals[] = {
	{ .name = "NAME",
	  .type = CLI_NAME,
	  .required = true,
	  .help = "what to call it: letters, digits, dot, dash and underscore" },
	{ .name = NULL },
};

static const CliParam add_options[] = {
	{ .name = "dc",
	  .type = CLI_DC_REGION,
	  .repeatable = true,
	  .help = "a region of dynamic capacity, a multiple of 256M; words are block=SIZE (2M by "
		  "default), sharable, read-only, sanitize and non-volatile" },
	{ .name = "ram", .type = CLI_SIZE, .help = "static volatile capacity, a multiple of 256M" },
	{ .name = "pmem",
	  .type = CLI_SIZE,
	  .help = "static persistent capacity, a multiple of 256M, kept in the state directory" },
	{ .name = "lsa", .type = CLI_SIZE, .help = "label storage area" },
	{ .name = "serial",
	  .type = CLI_UINT,
	  .help = "serial number; made from the name by default" },
	{ .name = "max-extents",
	  .type = CLI_UINT,
	  .min = 1,
	  .max = UINT32_MAX,
	  .help = "how many extents its host may hold at once; 65536 by default" },
	{ .name = "max-chain",
	  .type = CLI_UINT,
	  .min = 1,
	  .max = UINT32_MAX,
	  .help = "how many extents one offer may have; 100 by default, because Linux drops longer "
		  "ones" },
	{ .name = "dc-log-depth",
	  .type = CLI_UINT,
	  .min = 1,
	  .max = UINT32_MAX,
	  .help = "records its dynamic capacity event log holds; 4096 by default" },
	{ .name = "read-latency",
	  .type = CLI_UINT,
	  .meta = "NS",
	  .min = 1,
	  .max = LATENCY_NS_MAX,
	  .help = "nanoseconds that its table of performance (CDAT) says; 150 by default" },
	{ .name = "write-latency",
	  .type = CLI_UINT,
	  .meta = "NS",
	  .min = 1,
	  .max = LATENCY_NS_MAX,
	  .help = "the same for writing" },
	{ .name = "bandwidth",
	  .type = CLI_UINT,
	  .meta = "MBPS",
	  .min = 1,
	  .max = UINT32_MAX,
	  .help = "MB/s that the same table says; 16000 by default" },
	{ .name = "hold",
	  .type = CLI_ENUM,
	  .values = hold_words,
	  .meta = "WHEN",
	  .help = "whether offers wait until the host's kernel is ready for them; auto by "
		  "default" },
	{ .name = NULL },
};

static const CliExample add_examples[] = {
	{ "device add dev0 --dc 16G", "one region of 16 GiB" },
	{ "device add dev1 --ram 512M --dc 8G,block=1G --dc 8G,sharable",
	  "static memory that any kernel can use, a region of whole gibibytes, and one to share" },
	{ .command = NULL },
};

static const char *const add_see_also[] = { "device remove", "offer", "host", NULL };

const CliVerb verb_device_add = {
	.name = "device add",
	.run = run_add,
	.summary = "add a CXL device to the pool",
	.text = "Adds a CXL Type-3 device and opens its two sockets in the pool's runtime "
		"directory: NAME.vfio for registers and interrupts, which also a stock QEMU can "
		"use, and NAME.mem for the memory itself. A device has one host at a time; its "
		"address space is no memory yet, so it may be as large as you like.",
	.positionals = add_positionals,
	.options = add_options,
	.examples = add_examples,
	.see_also = add_see_also,
	.flags = CLI_VERB_CLIENT | CLI_VERB_OUTPUT,
	.exits = 1 << EXIT_TIMED_OUT | 1 << EXIT_NO_DAEMON,
};

static const CliParam name_positionals[] = {
	{ .name = "NAME",
	  .type = CLI_NAME,
	  .required = true,
	  .source = CLI_FROM_DEVICES,
	  .help = "the device" },
	{ .name = NULL },
};

static const CliParam remove_options[] = {
	{ .name = "force", .type = CLI_FLAG, .help = "also while a host is connected" },
	{ .name = NULL },
};

static const CliExample remove_examples[] = {
	{ "device remove dev0", "after its host has left" },
	{ .command = NULL },
};

static const char *const remove_see_also[] = { "device add", "release", NULL };

const CliVerb verb_device_remove = {
	.name = "device remove",
	.run = run_remove,
	.summary = "remove a device from the pool",
	.text = "Withdraws the device's offers and closes its sockets. Nothing of it may be "
		"accepted, draining or quarantined, and without --force no host may be connected.",
	.positionals = name_positionals,
	.options = remove_options,
	.examples = remove_examples,
	.see_also = remove_see_also,
	.flags = CLI_VERB_CLIENT | CLI_VERB_OUTPUT,
	.exits = EXITS,
};

static const CliParam reset_options[] = {
	{ .name = "forget",
	  .type = CLI_FLAG,
	  .help = "also take away everything accepted and withdraw all offers, whatever the host "
		  "does with it" },
	{ .name = NULL },
};

static const CliExample reset_examples[] = {
	{ "device reset dev0", "as a machine does when it reboots" },
	{ "device reset dev0 --forget", "the next host finds an empty device" },
	{ .command = NULL },
};

static const char *const reset_see_also[] = { "release", "withdraw", NULL };

const CliVerb verb_device_reset = {
	.name = "device reset",
	.run = run_reset,
	.summary = "reset a device",
	.text = "A conventional reset: registers and decoders begin anew, the command in flight is "
		"rolled back, accepted extents stay, unanswered offers are made again. With "
		"--forget nothing of the device's dynamic capacity stays.",
	.positionals = name_positionals,
	.options = reset_options,
	.examples = reset_examples,
	.see_also = reset_see_also,
	.flags = CLI_VERB_CLIENT | CLI_VERB_OUTPUT,
	.exits = EXITS,
};

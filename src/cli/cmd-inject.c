/* SPDX-License-Identifier: BSD-3-Clause */
/* softdcd inject: event records of media, DRAM and module, with QEMU's arguments. */
#include "cli/client.h"
#include "cli/cmd.h"
#include "cli/columns.h"
#include "cli/request.h"

#include <string.h>

/* Every option of its own is an argument of the same name. */
static JsonObject *inject_request(const CliArgs *args)
{
	const CliVerb *verb = cli_args_verb(args);
	g_autoptr(GArray) members = g_array_new(TRUE, TRUE, sizeof(CliMember));
	CliMember device = { "DEVICE", "path" };

	g_array_append_val(members, device);
	for (const CliParam *option = verb->options; option->name; option++) {
		CliMember member = { option->name, NULL };

		g_array_append_val(members, member);
	}
	return cli_request_new(args, (const CliMember *)members->data);
}

/* "inject dram" is cxl-inject-dram-event. */
static ExitCode run(const CliArgs *args)
{
	const char *kind = strchr(cli_args_verb(args)->name, ' ') + 1;
	g_autofree char *command = g_strdup_printf("cxl-inject-%s-event", kind);
	CliClient client;
	g_autoptr(JsonNode) result = NULL;

	if (!cli_client_open(&client, args))
		return client.exit;
	result = cli_client_call(&client, command, inject_request(args), CLI_CALL_TIMEOUT_MS);
	if (result)
		g_printerr("device %s: %s event put into the %s log\n", cli_text(args, "DEVICE"),
			   kind, cli_text(args, "log"));
	cli_client_close(&client);
	return client.exit;
}

/* ---- the table ---- */

static const char *const logs[] = { "informational", "warning", "failure", "fatal", NULL };

static const CliParam positionals[] = {
	{ .name = "DEVICE",
	  .type = CLI_NAME,
	  .required = true,
	  .source = CLI_FROM_DEVICES,
	  .help = "the device" },
	{ .name = NULL },
};

/* clang-format off */
#define BITS(n) (UINT64_C(0xffffffffffffffff) >> (64 - (n)))
#define OPTION(text, bits, words) \
	{ .name = text, .type = CLI_UINT, .max = BITS(bits), .help = words }
/* What QEMU insists on, so nobody else has to. */
#define DEFAULT_0(text, bits, words) \
	{ .name = text, .type = CLI_UINT, .max = BITS(bits), .fallback = "0", .help = words }

#define COMMON \
	{ .name = "log", .type = CLI_ENUM, .values = logs, .meta = "LOG", .required = true, \
	  .help = "which event log" }, \
	DEFAULT_0("flags", 32, "flags of the event record"), \
	OPTION("maint-op-class", 8, "maintenance operation class"), \
	OPTION("maint-op-subclass", 8, "maintenance operation subclass"), \
	OPTION("ld-id", 16, "logical device"), \
	OPTION("head-id", 8, "head")

#define MEDIA \
	{ .name = "dpa", .type = CLI_SIZE, .max = INT64_MAX, .fallback = "0", \
	  .help = "device physical address; its lowest bits are flags" }, \
	DEFAULT_0("descriptor", 8, "memory event descriptor"), \
	DEFAULT_0("type", 8, "memory event type"), \
	DEFAULT_0("transaction-type", 8, "transaction that caused it"), \
	DEFAULT_0("sub-type", 8, "memory event sub-type"), \
	OPTION("channel", 8, "channel"), \
	OPTION("rank", 8, "rank")

#define COMPONENT \
	{ .name = "component-id", .type = CLI_TEXT, .meta = "TEXT", \
	  .help = "component identifier, 16 bytes" }, \
	{ .name = "is-comp-id-pldm", .type = CLI_FLAG, .help = "it is in PLDM format" }

static const CliParam media_options[] = {
	COMMON,
	MEDIA,
	OPTION("device", 24, "device within the rank, as bits"),
	COMPONENT,
	OPTION("cme-ev-flags", 8, "advanced programmable corrected memory error flags"),
	OPTION("cme-count", 24, "corrected memory errors"),
	{ .name = NULL },
};

static const CliParam dram_options[] = {
	COMMON,
	MEDIA,
	OPTION("nibble-mask", 24, "nibbles in error"),
	OPTION("bank-group", 8, "bank group"),
	OPTION("bank", 8, "bank"),
	OPTION("row", 24, "row"),
	OPTION("column", 16, "column"),
	{ .name = "correction-mask", .type = CLI_UINT, .max = INT64_MAX, .repeatable = true,
	  .help = "correction mask, at most four of 64 bits" },
	COMPONENT,
	OPTION("sub-channel", 8, "sub-channel"),
	OPTION("cme-ev-flags", 8, "advanced programmable corrected memory error flags"),
	OPTION("cvme-count", 24, "corrected volatile memory errors"),
	{ .name = NULL },
};

static const CliParam module_options[] = {
	COMMON,
	DEFAULT_0("type", 8, "device event type"),
	DEFAULT_0("health-status", 8, "health status"),
	DEFAULT_0("media-status", 8, "media status"),
	DEFAULT_0("additional-status", 8, "additional status"),
	DEFAULT_0("life-used", 8, "life used, percent"),
	{ .name = "temperature", .type = CLI_INT, .max = INT16_MAX, .fallback = "0",
	  .help = "temperature, degrees Celsius" },
	DEFAULT_0("dirty-shutdown-count", 32, "dirty shutdowns"),
	DEFAULT_0("corrected-volatile-error-count", 32, "corrected errors of volatile memory"),
	DEFAULT_0("corrected-persistent-error-count", 32, "corrected errors of persistent memory"),
	DEFAULT_0("sub-type", 8, "device event sub-type"),
	COMPONENT,
	{ .name = NULL },
};

static const CliExample media_examples[] = {
	{ "inject general-media dev0 --log failure --dpa 512M --type 1", "an invalid address" },
	{ .command = NULL },
};
static const CliExample dram_examples[] = {
	{ "inject dram dev0 --log warning --dpa 0x1000 --bank 3 --row 17", "an error in a row" },
	{ .command = NULL },
};
static const CliExample module_examples[] = {
	{ "inject memory-module dev0 --log informational --temperature 85", "it is warm" },
	{ .command = NULL },
};
/* clang-format on */

#define TEXT                                                                                      \
	"Appends a record to one of the device's event logs and raises the host's interrupt, as " \
	"QEMU's command of that name does; the options are its arguments. What QEMU insists on "  \
	"and you leave out is 0."

static const char *const see_also[] = { "trace", "events", "qmp", NULL };

#define VERB(words, list, shown, what)                                                    \
	{                                                                                 \
		.name = "inject " words, .run = run,                                      \
		.summary = "put a " what " into an event log", .text = TEXT,              \
		.positionals = positionals, .options = list, .examples = shown,           \
		.see_also = see_also, .flags = CLI_VERB_CLIENT,                           \
		.exits = 1 << EXIT_TIMED_OUT | 1 << EXIT_NO_OBJECT | 1 << EXIT_NO_DAEMON, \
	}

const CliVerb verb_inject_general_media = VERB("general-media", media_options, media_examples,
					       "general media event");
const CliVerb verb_inject_dram = VERB("dram", dram_options, dram_examples, "DRAM event");
const CliVerb verb_inject_memory_module = VERB("memory-module", module_options, module_examples,
					       "memory module event");

/* SPDX-License-Identifier: BSD-3-Clause */
/* softdcd trace: mailbox commands and event records of a device, decoded, while they happen. */
#include "cli/client.h"
#include "cli/cmd.h"
#include "cli/output.h"
#include "trace/pcapng.h"
#include "trace/trace_decode.h"
#include "trace/trace_event.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct Tracer {
	const CliArgs *args;
	CliClient client;
	const char *device;
	FILE *file; /* of the capture; NULL = none */
	Pcapng *pcapng;
	bool prints;    /* on stdout, too */
	uint64_t limit; /* entries; 0 = no end */
	uint64_t n;
	TraceEventEntry last;
} Tracer;

/* ---- where it goes ---- */

static void print_text(const TraceEntry *entry)
{
	g_autoptr(GDateTime)
		time = g_date_time_new_from_unix_local((gint64)(entry->time_us / G_USEC_PER_SEC));
	g_autofree char *clock = time ? g_date_time_format(time, "%H:%M:%S") : NULL;
	g_autofree char *text = trace_decode_text(entry);

	printf("%s.%06u %s\n", clock ? clock : "?", (unsigned)(entry->time_us % G_USEC_PER_SEC),
	       text);
}

static void print_json(const Tracer *tracer, const TraceEntry *entry)
{
	g_autoptr(JsonNode) node = json_node_alloc();
	JsonObject *object = trace_decode_json(entry);
	g_autoptr(GString) line = g_string_new(NULL);

	json_object_set_string_member(object, "device", tracer->device);
	json_object_set_int_member(object, "time", (gint64)entry->time_us);
	json_object_set_int_member(object, "lost", (gint64)entry->n_lost);
	json_node_take_object(node, object);
	qmp_json_append(line, node);
	puts(line->str);
}

/* False: the file cannot be written. */
static bool show(Tracer *tracer)
{
	const TraceEntry *entry = &tracer->last.entry;

	if (entry->n_lost > 0)
		cli_complain(tracer->args, "%" PRIu64 " entries lost: this end was too slow",
			     entry->n_lost);
	if (tracer->pcapng && !pcapng_write(tracer->pcapng, tracer->device, entry)) {
		cli_complain(tracer->args, "%s: %s", cli_text(tracer->args, "pcapng"),
			     g_strerror(errno));
		return false;
	}
	if (!tracer->prints)
		return true;
	if (cli_wants_table(tracer->args))
		print_text(entry);
	else
		print_json(tracer, entry);
	fflush(stdout);
	return !ferror(stdout);
}

/* ---- where it comes from ---- */

/* False: enough. */
static bool take_event(Tracer *tracer, JsonObject *event)
{
	const char *name = cli_member_text(event, "event");
	JsonNode *data = json_object_get_member(event, "data");
	g_autoptr(GError) error = NULL;
	JsonObject *object;

	if (!name || !data || !JSON_NODE_HOLDS_OBJECT(data))
		return true;
	object = json_node_get_object(data);
	if (g_strcmp0(cli_member_text(object, "device"), tracer->device) != 0)
		return true;
	if (strcmp(name, "DEVICE_REMOVED") == 0) {
		cli_complain(tracer->args, "device %s was removed", tracer->device);
		return false;
	}
	if (strcmp(name, "X_TRACE") != 0)
		return true;
	if (!trace_event_parse(object, &tracer->last, &error)) {
		cli_complain(tracer->args, "%s", error->message);
		tracer->client.exit = EXIT_REFUSED;
		return false;
	}
	tracer->n++;
	if (!show(tracer)) {
		tracer->client.exit = EXIT_REFUSED;
		return false;
	}
	return tracer->limit == 0 || tracer->n < tracer->limit;
}

static void follow(Tracer *tracer)
{
	bool goes_on = true;

	while (goes_on) {
		JsonObject *event;

		switch (cli_client_event(&tracer->client, 0, &event)) {
		case CLI_EVENT_ARRIVED:
			goes_on = take_event(tracer, event);
			json_object_unref(event);
			break;
		case CLI_EVENT_NONE:
			break;
		case CLI_EVENT_FAILED:
			return;
		}
	}
}

static bool begin(Tracer *tracer)
{
	JsonObject *arguments = json_object_new();
	g_autoptr(JsonNode) answer = NULL;

	json_object_set_string_member(arguments, "device", tracer->device);
	json_object_set_boolean_member(arguments, "enable", TRUE);
	json_object_set_boolean_member(arguments, "payloads", TRUE);
	answer = cli_client_call(&tracer->client, "x-trace", arguments, CLI_CALL_TIMEOUT_MS);
	return answer;
}

static bool open_capture(Tracer *tracer, const char *path)
{
	bool is_stdout = strcmp(path, "-") == 0;

	tracer->prints = !is_stdout && cli_given(tracer->args, "json");
	tracer->file = is_stdout ? stdout : fopen(path, "wbe");
	tracer->pcapng = tracer->file ? pcapng_new(tracer->file) : NULL;
	if (!tracer->pcapng)
		cli_complain(tracer->args, "%s: %s", path, g_strerror(errno));
	return tracer->pcapng;
}

static bool close_capture(Tracer *tracer)
{
	bool ok = true;

	g_clear_pointer(&tracer->pcapng, pcapng_free);
	if (tracer->file && tracer->file != stdout)
		ok = fclose(tracer->file) == 0;
	return ok;
}

static ExitCode run(const CliArgs *args)
{
	const char *path = cli_text(args, "pcapng");
	const CliValue *limit = cli_value(args, "count", 0);
	Tracer tracer = {
		.args = args,
		.device = cli_text(args, "DEVICE"),
		.prints = true,
		.limit = limit ? limit->number : 0,
	};

	if (!cli_client_open(&tracer.client, args))
		return tracer.client.exit;
	if (path && !open_capture(&tracer, path)) {
		tracer.client.exit = EXIT_REFUSED;
	} else if (begin(&tracer)) {
		cli_client_set_deadline(&tracer.client);
		follow(&tracer);
		/* The end of the time is what was asked for. */
		if (tracer.client.exit == EXIT_TIMED_OUT)
			tracer.client.exit = EXIT_DONE;
	}
	if (!close_capture(&tracer) && tracer.client.exit == EXIT_DONE) {
		cli_complain(args, "%s: %s", path, g_strerror(errno));
		tracer.client.exit = EXIT_REFUSED;
	}
	cli_client_close(&tracer.client);
	return tracer.client.exit;
}

/* ---- the table ---- */

static const CliParam positionals[] = {
	{ .name = "DEVICE",
	  .type = CLI_NAME,
	  .required = true,
	  .source = CLI_FROM_DEVICES,
	  .help = "the device to look at" },
	{ .name = NULL },
};

static const CliParam options[] = {
	{ .name = "pcapng",
	  .type = CLI_TEXT,
	  .meta = "FILE",
	  .source = CLI_FROM_FILES,
	  .help = "write a capture for Wireshark instead of printing; \"-\" is stdout; with --json "
		  "do both" },
	{ .name = "count",
	  .short_name = 'n',
	  .type = CLI_UINT,
	  .min = 1,
	  .max = INT64_MAX,
	  .help = "end after so many entries" },
	{ .name = "timeout", .type = CLI_DURATION, .help = "end after this time" },
	{ .name = NULL },
};

static const CliExample examples[] = {
	{ "trace dev0", "what the host of dev0 does, until Ctrl-C" },
	{ "trace dev0 --json | jq 'select(.opcode == 18434)'", "answers to offers (4802h) only" },
	{ "trace dev0 --pcapng - | wireshark -k -i -", "live in Wireshark" },
	{ .command = NULL },
};

static const char *const see_also[] = { "events", "inject general-media", "list", NULL };

const CliVerb verb_trace = {
	.name = "trace",
	.run = run,
	.summary = "show mailbox commands and event records of a device while they happen",
	.text = "Prints each mailbox command of the device's host when it ends, with opcode, "
		"return "
		"code, time taken and payloads, and what becomes of each event record: posted, "
		"read, cleared, withdrawn unread, or lost because its log was full. Payloads are "
		"decoded, the first 1024 bytes of each.\n\n"
		"With --json, each is an object on a line of its own, with \"time\" in "
		"microseconds "
		"since 1970. With --pcapng they go into a capture file whose packets carry the "
		"decoded text as their comments; docs/trace.md describes the packets.\n\n"
		"A device does not wait for those who look at it: what this end is too slow for is "
		"lost, and counted on stderr and in \"lost\". The verb ends with Ctrl-C, with what "
		"--count or --timeout says, or with the daemon, which is 5.",
	.positionals = positionals,
	.options = options,
	.examples = examples,
	.see_also = see_also,
	.flags = CLI_VERB_CLIENT | CLI_VERB_OUTPUT,
	.exits = 1 << EXIT_NO_OBJECT | 1 << EXIT_NO_DAEMON,
};

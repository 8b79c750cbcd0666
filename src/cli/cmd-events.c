/* SPDX-License-Identifier: BSD-3-Clause */
/* softdcd events: the audit log, and what happens from now on. */
#include "cli/audit.h"
#include "cli/client.h"
#include "cli/cmd.h"
#include "cli/output.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/*
 * Design. Both kinds come out as one object a line with "time" (microseconds of the epoch): an
 * audit record as the daemon has it, with "what" and "who"; an event with "event" and the members
 * of its data. Events are kept from before the audit log is read, so nothing falls between; those
 * that the log has told already are left out.
 */

static char *time_text(int64_t time_us)
{
	g_autoptr(GDateTime) seconds = g_date_time_new_from_unix_local(time_us / G_USEC_PER_SEC);
	g_autofree char *text = seconds ? g_date_time_format(seconds, "%Y-%m-%d %H:%M:%S") : NULL;

	return g_strdup_printf("%s.%06d", text ? text : "?", (int)(time_us % G_USEC_PER_SEC));
}

/* "device=dev0 len=4096": all members but those that begin the line; objects are flattened. */
static void append_members(GString *line, JsonObject *object)
{
	g_autoptr(GList) names = json_object_get_members(object);

	for (GList *name = names; name; name = name->next) {
		static const char *const told[] = { "time", "event", "what", NULL };
		JsonNode *node = json_object_get_member(object, name->data);

		if (g_strv_contains(told, name->data) || JSON_NODE_HOLDS_NULL(node))
			continue;
		if (JSON_NODE_HOLDS_OBJECT(node)) {
			append_members(line, json_node_get_object(node));
			continue;
		}
		g_string_append_printf(line, " %s=", (char *)name->data);
		if (JSON_NODE_HOLDS_VALUE(node) &&
		    json_node_get_value_type(node) == G_TYPE_STRING &&
		    !strchr(json_node_get_string(node), ' '))
			g_string_append(line, json_node_get_string(node));
		else
			qmp_json_append(line, node);
	}
}

/* Somebody may be reading through a pipe: each line goes out at once. */
static void print_line(const CliArgs *args, JsonObject *object)
{
	g_autoptr(GString) line = g_string_new(NULL);

	if (cli_wants_table(args)) {
		g_autofree char *time = time_text(cli_member_int(object, "time"));
		const char *what = cli_member_text(object, "what");
		const char *name = what ? what : cli_member_text(object, "event");

		g_string_append_printf(line, "%s  %-26s", time, name ? name : "?");
		append_members(line, object);
	} else {
		g_autoptr(JsonNode) node = json_node_alloc();

		json_node_init_object(node, object);
		qmp_json_append(line, node);
	}
	puts(line->str);
	fflush(stdout);
}

/* ---- the audit log ---- */

typedef struct Audit {
	const CliArgs *args;
	int64_t last_us; /* when the last record was written */
} Audit;

static void print_record(JsonObject *record, int64_t time_us, void *opaque)
{
	Audit *audit = opaque;

	json_object_set_int_member(record, "time", time_us);
	print_line(audit->args, record);
	audit->last_us = MAX(audit->last_us, time_us);
}

/* Prints all of it; RET_LAST_US: when the last of it was written. */
static bool print_audit(CliClient *client, int64_t since_us, int64_t *ret_last_us)
{
	Audit audit = { .args = client->args };
	GError *error = NULL;

	if (!cli_read_audit(client->qmp, since_us, CLI_CALL_TIMEOUT_MS, print_record, &audit,
			    &error)) {
		cli_client_fail(client, error);
		return false;
	}
	*ret_last_us = audit.last_us;
	return true;
}

/* ---- events ---- */

static int64_t event_time_us(JsonObject *event)
{
	JsonNode *stamp = json_object_get_member(event, "timestamp");

	if (!stamp || !JSON_NODE_HOLDS_OBJECT(stamp))
		return 0;
	return cli_member_int(json_node_get_object(stamp), "seconds") * G_USEC_PER_SEC +
	       cli_member_int(json_node_get_object(stamp), "microseconds");
}

static void print_event(const CliArgs *args, JsonObject *event, int64_t audited_us)
{
	g_autoptr(JsonObject) line = json_object_new();
	const char *name = cli_member_text(event, "event");
	JsonNode *data = json_object_get_member(event, "data");
	int64_t time_us = event_time_us(event);
	g_autoptr(GList) members = data && JSON_NODE_HOLDS_OBJECT(data)
					   ? json_object_get_members(json_node_get_object(data))
					   : NULL;

	if (!name || (time_us <= audited_us && g_str_has_prefix(name, "CAPACITY_")))
		return;
	json_object_set_int_member(line, "time", time_us);
	json_object_set_string_member(line, "event", name);
	for (GList *member = members; member; member = member->next)
		json_object_set_member(line, member->data,
				       json_node_copy(json_object_get_member(
					       json_node_get_object(data), member->data)));
	print_line(args, line);
}

static void follow(CliClient *client, int64_t audited_us)
{
	JsonObject *event;

	for (;;) {
		switch (cli_client_event(client, 0, &event)) {
		case CLI_EVENT_ARRIVED:
			print_event(client->args, event, audited_us);
			json_object_unref(event);
			break;
		case CLI_EVENT_NONE:
			break;
		case CLI_EVENT_FAILED:
			return;
		}
		if (ferror(stdout))
			return;
	}
}

static ExitCode run(const CliArgs *args)
{
	bool follows = cli_flag(args, "follow");
	const CliValue *since = cli_value(args, "since", 0);
	int64_t since_us = since ? (int64_t)since->number * 1000 : 0;
	int64_t audited_us = 0;
	CliClient client;
	bool ok = true;

	if (!cli_client_open(&client, args))
		return client.exit;
	if (since || !follows)
		ok = print_audit(&client, since_us, &audited_us);
	cli_client_set_deadline(&client);
	if (ok && follows)
		follow(&client, audited_us);
	/* With --follow the end of the time is what was asked for. */
	if (client.exit == EXIT_TIMED_OUT && follows)
		client.exit = EXIT_DONE;
	cli_client_close(&client);
	return client.exit;
}

/* ---- the table ---- */

static const CliParam options[] = {
	{ .name = "follow",
	  .short_name = 'f',
	  .type = CLI_FLAG,
	  .help = "print events as they happen, until the daemon ends" },
	{ .name = "since",
	  .type = CLI_TIME,
	  .help = "print what the audit log has since then: \"10m\" ago, \"@1700000000\", or "
		  "\"2026-11-23T04:00:00\"" },
	{ .name = "timeout", .type = CLI_DURATION, .help = "follow no longer than this" },
	{ .name = NULL },
};

static const CliExample examples[] = {
	{ "events --since 1h", "what was offered, accepted, released and wiped in the last hour" },
	{ "events --follow --json | jq -r .event", "the names of events as they happen" },
	{ .command = NULL },
};

static const char *const see_also[] = { "list", "wait", NULL };

const CliVerb verb_events = {
	.name = "events",
	.run = run,
	.summary = "print the audit log, or events as they happen",
	.text = "Without --follow, prints the audit log: every offer, acceptance, release and "
		"wipe, "
		"and whatever else was asked for, with who asked and what came of it; all of it, "
		"or what --since says. With --follow, prints events as they happen; with both, "
		"first the one and then the other, and nothing falls between.\n\n"
		"Each is an object on a line of its own, with \"time\" in microseconds since 1970. "
		"A record of the audit log has \"what\" was done, \"who\" did it, to which object, "
		"and the \"result\", ok or failed. An event has \"event\", its name, and the "
		"members docs/qmp.md says.\n\n"
		"A client that reads too slowly is disconnected by the daemon, which ends the verb "
		"with 5.",
	.options = options,
	.examples = examples,
	.see_also = see_also,
	.flags = CLI_VERB_CLIENT | CLI_VERB_OUTPUT,
	.exits = 1 << EXIT_TIMED_OUT | 1 << EXIT_NO_DAEMON,
};

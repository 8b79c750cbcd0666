/* SPDX-License-Identifier: BSD-3-Clause */
/* softdcd demo: the life of one tagged allocation on real memory, with measured numbers. */
#include "cli/cmd.h"
#include "cli/demo.h"

#include <inttypes.h>
#include <stdio.h>

static void add_hex(JsonBuilder *json, const char *name, uint64_t value)
{
	char text[17];

	snprintf(text, sizeof(text), "%016" PRIx64, value);
	json_builder_set_member_name(json, name);
	json_builder_add_string_value(json, text);
}

static void add_double(JsonBuilder *json, const char *name, double value)
{
	json_builder_set_member_name(json, name);
	json_builder_add_double_value(json, value);
}

static void add_int(JsonBuilder *json, const char *name, gint64 value)
{
	json_builder_set_member_name(json, name);
	json_builder_add_int_value(json, value);
}

static void add_speed(JsonBuilder *json, const char *name, const MemSpeed *speed)
{
	json_builder_set_member_name(json, name);
	json_builder_begin_object(json);
	add_double(json, "read_gbps", speed->read_gbps);
	add_double(json, "write_gbps", speed->write_gbps);
	add_double(json, "latency_ns", speed->latency_ns);
	json_builder_end_object(json);
}

static void add_tour(JsonBuilder *json, const DemoResult *result)
{
	json_builder_set_member_name(json, "tag");
	json_builder_add_string_value(json, DEMO_TAG);
	add_int(json, "len", (gint64)DEMO_LEN);
	add_int(json, "extents", result->n_extents);
	add_double(json, "accept_us", result->accept_us);
	add_double(json, "accept_first_byte_us", result->first_byte_us);
	add_int(json, "accepts", result->n_accepts);
	json_builder_set_member_name(json, "ratio");
	json_builder_begin_object(json);
	add_double(json, "read", result->speed.read_ratio);
	add_double(json, "write", result->speed.write_ratio);
	add_double(json, "latency", result->speed.latency_ratio);
	json_builder_end_object(json);
	add_speed(json, "extent", &result->speed.extent);
	add_speed(json, "ordinary", &result->speed.ordinary);
	add_int(json, "rounds", result->speed.rounds);
	add_hex(json, "before_accept", result->before_accept);
	add_hex(json, "after_release", result->after_release);
	add_hex(json, "second_tenant", result->second_tenant);
	add_int(json, "offered_backed_bytes", (gint64)result->offered_backed_len);
	add_double(json, "idle_rss_mib", (double)result->idle_rss_len / (1 << 20));
}

/* RESULT: of the tour, NULL without one. Owns GUEST. */
static void print_json(const DemoResult *result, JsonObject *guest)
{
	g_autoptr(JsonBuilder) json = json_builder_new();
	g_autoptr(JsonNode) root = NULL;
	g_autofree char *text = NULL;
	JsonNode *node = json_node_new(JSON_NODE_OBJECT);

	json_node_take_object(node, guest);
	json_builder_begin_object(json);
	if (result)
		add_tour(json, result);
	json_builder_set_member_name(json, "guest");
	json_builder_add_value(json, node);
	json_builder_end_object(json);
	root = json_builder_get_root(json);
	text = json_to_string(root, TRUE);
	printf("%s\n", text);
}

static bool run_tour(Demo *demo, GError **error)
{
	bool ok;

	demo->started_us = (uint64_t)g_get_monotonic_time();
	ok = demo_set_up(demo, error) && demo_tour(demo, error);
	demo_clear(demo);
	return ok;
}

static ExitCode run_demo(bool as_json, DemoResult *ret)
{
	g_autoptr(GError) error = NULL;
	Demo demo = { .talk = !as_json };
	uint64_t idle_rss_len;

	if (!demo_measure_idle(&idle_rss_len, &error)) {
		g_printerr("softdcd demo: %s\n", error->message);
		return EXIT_REFUSED;
	}
	demo.result.idle_rss_len = idle_rss_len;
	if (demo.talk)
		printf("A pool of 16 devices and 16 TiB, nothing backed: %.1f MiB resident.\n"
		       "Now two devices and one host, joined by vfio-user and the memory link:\n\n"
		       "   time s  what happens\n",
		       (double)idle_rss_len / (1 << 20));
	if (!run_tour(&demo, &error)) {
		g_printerr("softdcd demo: %s\n", error->message);
		return EXIT_REFUSED;
	}
	*ret = demo.result;
	return EXIT_DONE;
}

/* One object, also if the guest has failed. */
static ExitCode run_json(const CliArgs *args, bool has_tour)
{
	ExitCode code = EXIT_DONE;
	DemoResult result;
	JsonObject *guest;

	if (has_tour)
		code = run_demo(true, &result);
	if (code != EXIT_DONE)
		return code;
	guest = demo_ask_guest(args, &code);
	if (!has_tour && !json_object_get_boolean_member(guest, "shown"))
		code = EXIT_REFUSED;
	print_json(has_tour ? &result : NULL, guest);
	return code;
}

/* Does the tour notice when this is broken on purpose? */
static bool notices(const char *what, unsigned fault)
{
	g_autoptr(GError) error = NULL;
	Demo demo = { .faults = fault };
	bool noticed = !run_tour(&demo, &error);

	if (noticed)
		printf("%s broken on purpose: the demo fails, as it must: %s\n", what,
		       error->message);
	else
		printf("%s broken on purpose: NOT NOTICED\n", what);
	return noticed;
}

/* Exit 1 is the good end: what was broken made the demo fail. */
static ExitCode run_self_test(void)
{
	bool wipe = notices("wipe", CAPACITY_FAULT_WIPE_SKIPPED);
	bool revocation = notices("revocation", CAPACITY_FAULT_REVOKE_SKIPPED);

	return wipe && revocation ? EXIT_REFUSED : EXIT_DONE;
}

static ExitCode run(const CliArgs *args)
{
	bool only_guest = cli_flag(args, "guest");
	DemoResult result;
	ExitCode code;

	if (cli_flag(args, "self-test"))
		return run_self_test();
	if (cli_flag(args, "json"))
		return run_json(args, !only_guest);
	if (only_guest)
		return demo_show_guest(args, true);
	code = run_demo(false, &result);
	return code == EXIT_DONE ? demo_show_guest(args, false) : code;
}

static const CliParam demo_options[] = {
	{ .name = "json",
	  .type = CLI_FLAG,
	  .help = "print the figures as one JSON object instead; in it guest has those of the "
		  "Linux "
		  "guest, or why there is none" },
	{ .name = "guest",
	  .type = CLI_FLAG,
	  .help = "only the Linux guest; exit 1 if there can be none" },
	{ .name = "kernel",
	  .type = CLI_TEXT,
	  .meta = "FILE",
	  .source = CLI_FROM_FILES,
	  .help = "the guest's kernel, as for softdcd run" },
	{ .name = "self-test",
	  .type = CLI_FLAG,
	  .help = "break the wipe, then the revocation; exit 1 if both were noticed, else 0" },
	{ .name = NULL },
};

static const CliExample demo_examples[] = {
	{ "demo", "the tour" },
	{ "demo --json", "its figures, for scripts" },
	{ .command = NULL },
};

const CliVerb verb_demo = {
	.name = "demo",
	.run = run,
	.summary = "show the life of a tagged allocation on real memory, with numbers",
	.text = "Runs a pool with two devices and one host in this process, joined by the real "
		"protocols, offers a tagged backend in several extents, measures it beside "
		"ordinary "
		"memory, gives it back, and shows that the next host reads zeros. No daemon, no "
		"CXL hardware and no special kernel are needed.\n\n"
		"Then, where KVM can, a Linux guest is booted. Its kernel makes a region of the "
		"static "
		"memory of one device and uses it, softdcd-agent accepts a tagged backend from "
		"another, both are compared with the guest's own memory, and given back. Where KVM "
		"cannot, it says why.\n\n"
		"Whatever does not come out as promised ends the tour with exit code 1. So that "
		"this "
		"can be believed, --self-test breaks first the wipe, then the revocation on "
		"purpose: each must make the demo fail.",
	.options = demo_options,
	.examples = demo_examples,
};

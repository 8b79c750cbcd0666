/* SPDX-License-Identifier: BSD-3-Clause */
/* softdcd backend add, remove, reclaim: the pool's memory. */
#include "cli/client.h"
#include "cli/cmd.h"
#include "cli/columns.h"
#include "cli/request.h"

#include <string.h>

enum {
	TYPE_MEMFD,
	TYPE_HUGETLB,
	TYPE_FILE,
	TYPE_DEVDAX,
};

static const char *const types[] = { "memfd", "hugetlb", "file", "devdax", NULL };
static const char *const qom_types[] = {
	[TYPE_MEMFD] = "memory-backend-memfd",
	[TYPE_HUGETLB] = "memory-backend-memfd",
	[TYPE_FILE] = "memory-backend-file",
	[TYPE_DEVDAX] = "memory-backend-devdax",
};

/* What QMP's schema cannot say: which options go with which type. */
static bool check_type(const CliArgs *args)
{
	const CliValue *type = cli_value(args, "type", 0);
	bool has_path = type->number == TYPE_FILE || type->number == TYPE_DEVDAX;

	if (has_path && !cli_given(args, "path"))
		cli_complain(args, "--type %s needs --path", type->text);
	else if (!has_path && cli_given(args, "path"))
		cli_complain(args, "--path needs --type file or --type devdax, not %s", type->text);
	else if (!has_path && !cli_given(args, "size"))
		cli_complain(args, "--type %s needs --size", type->text);
	else if (type->number != TYPE_HUGETLB && cli_given(args, "page-size"))
		cli_complain(args, "--page-size needs --type hugetlb, not %s", type->text);
	else
		return true;
	return false;
}

/* The daemon has its own working directory. */
static void make_path_absolute(JsonObject *request)
{
	const char *path = cli_member_text(request, "mem-path");
	g_autofree char *absolute = path ? g_canonicalize_filename(path, NULL) : NULL;

	if (absolute)
		json_object_set_string_member(request, "mem-path", absolute);
}

static JsonObject *add_request(const CliArgs *args)
{
	static const CliMember members[] = {
		{ "NAME", "id" },
		{ "size", NULL },
		{ "tag", NULL },
		{ "path", "mem-path" },
		{ "page-size", "hugetlbsize" },
		{ "shareable", NULL },
		{ "readonly", NULL },
		{ "prealloc", NULL },
		{ "on-release", NULL },
		{ NULL, NULL },
	};
	JsonObject *request = cli_request_new(args, members);
	uint64_t type = cli_value(args, "type", 0)->number;

	json_object_set_string_member(request, "qom-type", qom_types[type]);
	if (type == TYPE_HUGETLB)
		json_object_set_boolean_member(request, "hugetlb", TRUE);
	make_path_absolute(request);
	return request;
}

static ExitCode run_add(const CliArgs *args)
{
	CliClient client;
	g_autoptr(JsonNode) added = NULL;
	g_autoptr(JsonArray) backends = NULL;
	const char *name = cli_text(args, "NAME");

	if (!check_type(args))
		return EXIT_USAGE;
	if (!cli_client_open(&client, args))
		return client.exit;
	/* Allocating all of it may take as long as it takes. */
	added = cli_client_call(&client, "object-add", add_request(args), 0);
	if (added)
		backends = cli_client_list(&client, "query-backends", cli_request_id(name));
	if (backends && json_array_get_length(backends) > 0) {
		g_printerr("backend %s added\n", name);
		cli_print_object(args, json_array_get_object_element(backends, 0),
				 cli_backend_columns);
	}
	cli_client_close(&client);
	return client.exit;
}

/* Commands that take a name and say nothing. */
static ExitCode run_on_name(const CliArgs *args, const char *command, const char *done)
{
	CliClient client;
	g_autoptr(JsonNode) result = NULL;
	const char *name = cli_text(args, "NAME");

	if (!cli_client_open(&client, args))
		return client.exit;
	result = cli_client_call(&client, command, cli_request_id(name), CLI_CALL_TIMEOUT_MS);
	if (result)
		cli_print_done(args, "backend", name, done);
	cli_client_close(&client);
	return client.exit;
}

static ExitCode run_remove(const CliArgs *args)
{
	return run_on_name(args, "object-del", "removed");
}

static ExitCode run_reclaim(const CliArgs *args)
{
	return run_on_name(args, "x-reclaim-backend", "reclaimed");
}

/* ---- the table ---- */

static const char *const on_release_words[] = { "wipe", "keep", NULL };

static const CliParam add_positionals[] = {
	{ .name = "NAME", .type = CLI_NAME, .required = true, .help = "what to call it" },
	{ .name = NULL },
};

static const CliParam add_options[] = {
	{ .name = "size",
	  .type = CLI_SIZE,
	  .min = 1,
	  .help = "how much memory; of a file or device that exists, all of it by default" },
	{ .name = "tag", .type = CLI_TAG, .help = "the UUID that names the allocation to hosts" },
	{ .name = "type",
	  .type = CLI_ENUM,
	  .values = types,
	  .meta = "TYPE",
	  .fallback = "memfd",
	  .help = "what the memory is" },
	{ .name = "path",
	  .type = CLI_TEXT,
	  .meta = "PATH",
	  .source = CLI_FROM_FILES,
	  .help = "the file, which is made if need be, or the /dev/daxX.Y" },
	{ .name = "page-size",
	  .type = CLI_SIZE,
	  .help = "size of huge pages; the system's own by default" },
	{ .name = "shareable",
	  .type = CLI_FLAG,
	  .help = "several hosts may hold it at once, in sharable regions" },
	{ .name = "readonly", .type = CLI_FLAG, .help = "hosts can only read it" },
	{ .name = "prealloc", .type = CLI_FLAG, .help = "allocate it now, not when it is used" },
	{ .name = "on-release",
	  .type = CLI_ENUM,
	  .values = on_release_words,
	  .meta = "WHAT",
	  .help = "what becomes of the contents when a host gives it back; wipe by default for "
		  "memfd and hugetlb, keep for the others and with --readonly" },
	{ .name = NULL },
};

static const CliExample add_examples[] = {
	{ "backend add kv-cache --size 1G --tag 5be1f00d-2a6b-4f43-9c1e-0d5f3ac0ffee",
	  "a gibibyte of memory that hosts know by its tag" },
	{ "backend add table --type file --path table.bin --readonly --shareable",
	  "a file that several hosts may read" },
	{ .command = NULL },
};

static const char *const add_see_also[] = { "backend remove", "backend reclaim", "offer", NULL };

const CliVerb verb_backend_add = {
	.name = "backend add",
	.run = run_add,
	.summary = "add memory to the pool",
	.text = "Adds a backend: memory of this machine that can be offered to the hosts of the "
		"pool's devices. It is mapped nowhere, and costs nothing until somebody uses it "
		"unless --prealloc is given.\n\n"
		"When a host has given it back, memory is wiped before anybody else gets it, so "
		"that every tenant begins with zeros. With --on-release keep the contents stay, "
		"to hand data from one host to the next.",
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
	  .source = CLI_FROM_BACKENDS,
	  .help = "the backend" },
	{ .name = NULL },
};

static const CliExample remove_examples[] = {
	{ "backend remove kv-cache", "the memory goes back to the machine" },
	{ .command = NULL },
};

static const char *const remove_see_also[] = { "backend add", "release", NULL };

const CliVerb verb_backend_remove = {
	.name = "backend remove",
	.run = run_remove,
	.summary = "remove memory from the pool",
	.text = "Removes a backend. All of it must be free: not offered, accepted, draining or "
		"quarantined.",
	.positionals = name_positionals,
	.examples = remove_examples,
	.see_also = remove_see_also,
	.flags = CLI_VERB_CLIENT | CLI_VERB_OUTPUT,
	.exits = 1 << EXIT_TIMED_OUT | 1 << EXIT_NO_OBJECT | 1 << EXIT_NO_DAEMON,
};

static const CliExample reclaim_examples[] = {
	{ "backend reclaim kv-cache", "after its former user's machine was switched off" },
	{ .command = NULL },
};

static const char *const reclaim_see_also[] = { "list", "events", NULL };

const CliVerb verb_backend_reclaim = {
	.name = "backend reclaim",
	.run = run_reclaim,
	.summary = "say that nobody can reach quarantined memory any more",
	.text = "Memory is quarantined when a former user may still reach it: it did not confirm "
		"that it let go and its process has not ended. softdcd frees it by itself once "
		"that is certain. This verb is your word that it is; it is wiped as usual and the "
		"audit log keeps who said so.",
	.positionals = name_positionals,
	.examples = reclaim_examples,
	.see_also = reclaim_see_also,
	.flags = CLI_VERB_CLIENT | CLI_VERB_OUTPUT,
	.exits = 1 << EXIT_TIMED_OUT | 1 << EXIT_NO_OBJECT | 1 << EXIT_NO_DAEMON,
};

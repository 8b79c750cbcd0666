/* SPDX-License-Identifier: BSD-3-Clause */
/* The softdcd command: finds the verb in a table and runs it. */
#include "cli/cli.h"

#include <glib.h>
#include <locale.h>
#include <string.h>

typedef struct CliVerb {
	const char *name;
	CliRun *run;
	const char *summary;
} CliVerb;

static CliRun cmd_help;

static const CliVerb verbs[] = {
	{ "demo", cmd_demo, "show the life of a tagged allocation on real memory, with numbers" },
	{ "help", cmd_help, "show this text, or the help of a verb" },
};

static const CliVerb *find_verb(const char *name)
{
	for (guint i = 0; i < G_N_ELEMENTS(verbs); i++) {
		if (strcmp(verbs[i].name, name) == 0)
			return &verbs[i];
	}
	g_printerr("softdcd: no verb \"%s\"; \"softdcd help\" lists them\n", name);
	return NULL;
}

static char *usage_text(void)
{
	GString *text = g_string_new(
		"usage: softdcd VERB [OPTION...]\n"
		"       softdcd --help | --version\n"
		"\n"
		"A CXL Dynamic Capacity Device in software, with tagged memory.\n"
		"\n");

	for (guint i = 0; i < G_N_ELEMENTS(verbs); i++)
		g_string_append_printf(text, "  %-10s %s\n", verbs[i].name, verbs[i].summary);
	return g_string_free(text, FALSE);
}

static ExitCode cmd_help(int argc, char **argv)
{
	const CliVerb *verb = argc > 1 ? find_verb(argv[1]) : NULL;

	if (argc > 1 && verb == NULL)
		return EXIT_USAGE;
	if (verb == NULL || verb->run == cmd_help) {
		g_autofree char *text = usage_text();

		g_print("%s", text);
		return EXIT_DONE;
	}
	return verb->run(2, (char *[]){ argv[1], (char *)"--help", NULL });
}

int main(int argc, char **argv)
{
	const CliVerb *verb;

	setlocale(LC_ALL, "");
	if (argc < 2) {
		g_autofree char *text = usage_text();

		g_printerr("%s", text);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "--version") == 0) {
		g_print("softdcd %s\n", SOFTDCD_VERSION);
		return EXIT_DONE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return cmd_help(1, argv);
	verb = find_verb(argv[1]);
	return verb != NULL ? verb->run(argc - 1, argv + 1) : EXIT_USAGE;
}

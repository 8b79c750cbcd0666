/* SPDX-License-Identifier: BSD-3-Clause */
/* The softdcd command: finds the verb in the table, reads its arguments and runs it. */
#include "cli/verb.h"

#include <locale.h>
#include <stdio.h>
#include <string.h>

static ExitCode print_overview(const char *group, FILE *stream)
{
	g_autofree char *text = cli_overview_help(group);

	fputs(text, stream);
	return stream == stdout ? EXIT_DONE : EXIT_USAGE;
}

static bool is_help(const char *word)
{
	return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

static ExitCode no_such_verb(int argc, char *const *argv)
{
	if (!cli_is_group(argv[0]))
		g_printerr("softdcd: no verb \"%s\"; \"softdcd help\" lists them\n", argv[0]);
	else if (argc == 1)
		return print_overview(argv[0], stderr);
	else if (is_help(argv[1]))
		return print_overview(argv[0], stdout);
	else
		g_printerr("softdcd: no verb \"%s %s\"; \"softdcd %s --help\" lists them\n",
			   argv[0], argv[1], argv[0]);
	return EXIT_USAGE;
}

static ExitCode run_verb(const CliVerb *verb, int argc, char *const *argv)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(CliArgs) args = cli_args_parse(verb, argc, argv, &error);
	g_autofree char *name = g_strconcat("softdcd ", verb->name, NULL);

	g_set_prgname(name);
	if (!args) {
		g_printerr("softdcd %s: %s\n", verb->name, error->message);
		return EXIT_USAGE;
	}
	if (cli_flag(args, "help")) {
		g_autofree char *text = cli_verb_help(verb);

		fputs(text, stdout);
		return EXIT_DONE;
	}
	return verb->run(args);
}

static ExitCode run(int argc, char *const *argv)
{
	const CliVerb *verb;
	int n_words;

	if (argc == 0)
		return print_overview(NULL, stderr);
	if (is_help(argv[0]))
		return print_overview(NULL, stdout);
	if (strcmp(argv[0], "--version") == 0) {
		printf("softdcd %s\n", SOFTDCD_VERSION);
		return EXIT_DONE;
	}
	verb = cli_find_verb(argc, argv, &n_words);
	return verb ? run_verb(verb, argc - n_words, argv + n_words) : no_such_verb(argc, argv);
}

int main(int argc, char **argv)
{
	ExitCode code;

	setlocale(LC_ALL, "");
	code = run(argc - 1, argv + 1);
	/* A result that could not be written was not given. */
	if ((fflush(stdout) || ferror(stdout)) && code == EXIT_DONE) {
		g_printerr("softdcd: cannot write the result: %s\n", g_strerror(errno));
		code = EXIT_REFUSED;
	}
	return code;
}

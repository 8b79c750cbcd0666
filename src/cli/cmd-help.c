/* SPDX-License-Identifier: BSD-3-Clause */
/* softdcd help, and the hidden verbs that make man pages and answer the shell's completion. */
#include "cli/cmd.h"
#include "cli/completion.h"
#include "cli/names.h"

#include <stdio.h>
#include <string.h>

static ExitCode run_help(const CliArgs *args)
{
	const char *words[2] = { cli_text(args, "VERB"), NULL };
	unsigned n = cli_n_values(args, "VERB");
	g_autofree char *text = NULL;
	const CliVerb *verb;
	int n_words;

	if (n == 2)
		words[1] = cli_value(args, "VERB", 1)->text;
	if (n > 2) {
		cli_complain(args, "unexpected argument \"%s\"", cli_value(args, "VERB", 2)->text);
		return EXIT_USAGE;
	}
	verb = cli_find_verb((int)n, (char *const *)words, &n_words);
	if (n > 0 && (verb ? n_words != (int)n : n != 1 || !cli_is_group(words[0]))) {
		cli_complain(args, "no verb \"%s%s%s\"; \"softdcd help\" lists them", words[0],
			     n == 2 ? " " : "", n == 2 ? words[1] : "");
		return EXIT_USAGE;
	}
	text = verb ? cli_verb_help(verb) : cli_overview_help(words[0]);
	fputs(text, stdout);
	return EXIT_DONE;
}

static const CliParam help_positionals[] = {
	{ .name = "VERB",
	  .type = CLI_TEXT,
	  .repeatable = true,
	  .source = CLI_FROM_VERBS,
	  .help = "the verb to explain; without it, all are listed" },
	{ .name = NULL },
};

const CliVerb verb_help = {
	.name = "help",
	.run = run_help,
	.summary = "list the verbs, or explain one",
	.text = "Prints what softdcd VERB --help prints: what the verb does, its arguments and "
		"options, examples, and the exit codes it may end with.",
	.positionals = help_positionals,
};

/* ---- documents ---- */

static const CliVerb *find_page(const char *file)
{
	for (unsigned i = 0; cli_verbs[i]; i++) {
		g_autofree char *name = cli_man_name(cli_verbs[i]);
		g_autofree char *page = g_strconcat(name, ".1", NULL);

		if (!(cli_verbs[i]->flags & CLI_VERB_HIDDEN) && strcmp(page, file) == 0)
			return cli_verbs[i];
	}
	return NULL;
}

static bool write_page(const CliArgs *args, const CliVerb *verb)
{
	g_autofree char *name = cli_man_name(verb);
	g_autofree char *path = g_strconcat(cli_text(args, "DIRECTORY"), "/", name, ".1", NULL);
	g_autofree char *text = cli_man_page(verb);
	g_autoptr(GError) error = NULL;

	if (g_file_set_contents(path, text, -1, &error))
		return true;
	cli_complain(args, "%s", error->message);
	return false;
}

static bool is_listed(const CliArgs *args, const CliVerb *verb)
{
	for (unsigned i = 0; i < cli_n_values(args, "PAGE"); i++) {
		if (find_page(cli_value(args, "PAGE", i)->text) == verb)
			return true;
	}
	cli_complain(args, "verb \"%s\" is not in the list of man pages", verb->name);
	return false;
}

/* Meson has to know the pages' names; that its list is the table's is checked here. */
static ExitCode run_documents(const CliArgs *args)
{
	if (!cli_given(args, "DIRECTORY")) {
		g_autofree char *script = cli_bash_completion();

		fputs(script, stdout);
		return EXIT_DONE;
	}
	for (unsigned i = 0; i < cli_n_values(args, "PAGE"); i++) {
		const char *page = cli_value(args, "PAGE", i)->text;

		if (strcmp(page, "softdcd.1") != 0 && !find_page(page)) {
			cli_complain(args, "man page \"%s\" is of no verb", page);
			return EXIT_REFUSED;
		}
	}
	if (!write_page(args, NULL))
		return EXIT_REFUSED;
	for (unsigned i = 0; cli_verbs[i]; i++) {
		if (cli_verbs[i]->flags & CLI_VERB_HIDDEN)
			continue;
		if (!is_listed(args, cli_verbs[i]) || !write_page(args, cli_verbs[i]))
			return EXIT_REFUSED;
	}
	return EXIT_DONE;
}

static const CliParam documents_positionals[] = {
	{ .name = "DIRECTORY", .type = CLI_TEXT, .help = "where the pages go" },
	{ .name = "PAGE", .type = CLI_TEXT, .repeatable = true, .help = "each page to be made" },
	{ .name = NULL },
};

const CliVerb verb_documents = {
	.name = "__documents",
	.run = run_documents,
	.summary = "write the man pages, or print the completion script",
	.text = "For the build.",
	.positionals = documents_positionals,
	.flags = CLI_VERB_HIDDEN,
};

/* ---- completion ---- */

static ExitCode run_complete(const CliArgs *args)
{
	unsigned n = cli_n_values(args, "WORD");
	g_autofree const char **words = g_new0(const char *, n + 1);
	g_autoptr(GPtrArray) found = NULL;

	for (unsigned i = 0; i < n; i++)
		words[i] = cli_value(args, "WORD", i)->text;
	found = cli_complete(words, n, cli_ask_names);
	for (guint i = 0; i < found->len; i++)
		printf("%s\n", (const char *)g_ptr_array_index(found, i));
	return EXIT_DONE;
}

static const CliParam complete_positionals[] = {
	{ .name = "WORD",
	  .type = CLI_TEXT,
	  .required = true,
	  .repeatable = true,
	  .help = "the command line so far" },
	{ .name = NULL },
};

const CliVerb verb_complete = {
	.name = "__complete",
	.run = run_complete,
	.summary = "print what may stand for the last word",
	.text = "For the shell.",
	.positionals = complete_positionals,
	.flags = CLI_VERB_HIDDEN,
};

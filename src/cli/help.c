/* SPDX-License-Identifier: BSD-3-Clause */
/* What --help prints, made from the table. */
#include "cli/verb.h"

#include <string.h>

#define HELP_COLUMNS 80
#define HELP_INDENT  26 /* where the second column begins */

/* ---- words in lines ---- */

typedef struct Lines {
	GString *text;
	unsigned indent; /* of every line but the first */
	unsigned column;
} Lines;

static void put_word(Lines *lines, const char *word)
{
	unsigned len = (unsigned)g_utf8_strlen(word, -1);

	if (lines->column > lines->indent && lines->column + 1 + len > HELP_COLUMNS) {
		g_string_append_printf(lines->text, "\n%*s", (int)lines->indent, "");
		lines->column = lines->indent;
	} else if (lines->column > lines->indent) {
		g_string_append_c(lines->text, ' ');
		lines->column++;
	}
	g_string_append(lines->text, word);
	lines->column += len;
}

static void put_words(Lines *lines, const char *sentence)
{
	g_auto(GStrv) words = g_strsplit(sentence, " ", -1);

	for (unsigned i = 0; words[i]; i++)
		put_word(lines, words[i]);
}

/* LEFT, and from the second column on RIGHT, over as many lines as it takes. */
static void put_row(GString *text, const char *left, const char *right)
{
	Lines lines = { .text = text, .indent = HELP_INDENT, .column = HELP_INDENT };
	unsigned len = (unsigned)g_utf8_strlen(left, -1);

	g_string_append(text, left);
	if (len + 2 > HELP_INDENT)
		g_string_append_printf(text, "\n%*s", HELP_INDENT, "");
	else
		g_string_append_printf(text, "%*s", (int)(HELP_INDENT - len), "");
	put_words(&lines, right);
	g_string_append_c(text, '\n');
}

/* ---- parameters ---- */

char *cli_param_describe(const CliParam *param)
{
	GString *text = g_string_new(param->help);

	if (param->type == CLI_ENUM) {
		g_autofree char *words = g_strjoinv(", ", (char **)param->values);

		g_string_append_printf(text, "; one of %s", words);
	}
	if (param->fallback)
		g_string_append_printf(text, " (default: %s)", param->fallback);
	if (param->repeatable)
		g_string_append(text, "; may be given more than once");
	return g_string_free(text, FALSE);
}

/* "--size SIZE" */
static char *option_usage(const CliParam *option)
{
	const char *meta = cli_param_meta(option);

	return g_strconcat("--", option->name, *meta ? " " : "", meta, NULL);
}

static char *choice_usage(const CliVerb *verb, unsigned group)
{
	GString *text = g_string_new("(");

	for (const CliParam *option = verb->options; option->name; option++) {
		g_autofree char *usage = NULL;

		if (option->one_of != group)
			continue;
		usage = option_usage(option);
		g_string_append_printf(text, "%s%s%s", text->len > 1 ? " | " : "", usage,
				       option->repeatable ? "..." : "");
	}
	g_string_append_c(text, ')');
	return g_string_free(text, FALSE);
}

/* The words of the synopsis, each of which stays on one line. */
static GPtrArray *usage_words(const CliVerb *verb)
{
	GPtrArray *words = g_ptr_array_new_with_free_func(g_free);
	unsigned groups_seen = 0;

	for (const CliParam *param = verb->positionals; param && param->name; param++) {
		const char *dots = param->repeatable ? "..." : "";

		g_ptr_array_add(words, param->required
					       ? g_strconcat(param->name, dots, NULL)
					       : g_strconcat("[", param->name, "]", dots, NULL));
	}
	for (const CliParam *option = verb->options; option && option->name; option++) {
		g_autofree char *usage = option_usage(option);
		const char *dots = option->repeatable ? "..." : "";

		if (option->hidden)
			continue;
		if (!option->one_of) {
			g_ptr_array_add(words, option->required
						       ? g_strconcat(usage, dots, NULL)
						       : g_strconcat("[", usage, "]", dots, NULL));
		} else if (!(groups_seen & 1U << option->one_of)) {
			groups_seen |= 1U << option->one_of;
			g_ptr_array_add(words, choice_usage(verb, option->one_of));
		}
	}
	return words;
}

char *cli_synopsis(const CliVerb *verb)
{
	g_autoptr(GPtrArray) words = usage_words(verb);
	GString *text = g_string_new(NULL);

	g_string_append_printf(text, "softdcd %s", verb->name);
	for (guint i = 0; i < words->len; i++)
		g_string_append_printf(text, " %s", (char *)g_ptr_array_index(words, i));
	return g_string_free(text, FALSE);
}

/* ---- the help of a verb ---- */

static void put_usage(GString *text, const CliVerb *verb)
{
	g_autoptr(GPtrArray) words = usage_words(verb);
	g_autofree char *start = g_strdup_printf("usage: softdcd %s", verb->name);
	Lines lines = {
		.text = text,
		.indent = (unsigned)strlen(start) + 1,
		.column = (unsigned)strlen(start) + 1,
	};

	g_string_append_printf(text, "%s%s", start, words->len ? " " : "");
	for (guint i = 0; i < words->len; i++)
		put_word(&lines, g_ptr_array_index(words, i));
	g_string_append(text, "\n\n");
}

static void put_option(const CliParam *option, void *opaque)
{
	g_autofree char *usage = option_usage(option);
	g_autofree char *description = cli_param_describe(option);
	g_autofree char *left = option->short_name
					? g_strdup_printf("  -%c, %s", option->short_name, usage)
					: g_strdup_printf("      %s", usage);

	if (option->hidden)
		return;
	put_row(opaque, left, description);
}

static void put_example(GString *text, const CliExample *example)
{
	Lines lines = { .text = text, .indent = 6, .column = 6 };

	g_string_append_printf(text, "  softdcd %s\n      ", example->command);
	put_words(&lines, example->what);
	g_string_append_c(text, '\n');
}

static void put_exits(GString *text, const CliVerb *verb)
{
	Lines lines = { .text = text, .indent = 2, .column = 2 };
	unsigned exits = verb->exits | 1 << EXIT_DONE | 1 << EXIT_REFUSED | 1 << EXIT_USAGE;
	const char *comma = "";

	g_string_append(text, "\nExit codes:\n  ");
	for (int code = 0; cli_exit_meaning(code); code++) {
		g_autofree char *item = NULL;

		if (!(exits & 1U << code))
			continue;
		/* The comma belongs to the word before it, so it is put with this one's break. */
		if (*comma) {
			g_string_append(text, comma);
			lines.column++;
		}
		item = g_strdup_printf("%d %s", code, cli_exit_meaning(code));
		put_words(&lines, item);
		comma = ",";
	}
	g_string_append_c(text, '\n');
}

/* Only their titles: they are long. */
static void put_more(GString *text, const CliVerb *verb)
{
	Lines lines = { .text = text, .column = 0 };

	if (!verb->sections || !verb->sections->title)
		return;
	g_string_append_c(text, '\n');
	put_words(&lines, "The manual page has more:");
	for (const CliSection *section = verb->sections; section->title; section++) {
		g_autofree char *item = g_strdup_printf("%s%c", section->title,
							section[1].title ? ',' : '.');

		put_words(&lines, item);
	}
	g_string_append_c(text, '\n');
}

char *cli_verb_help(const CliVerb *verb)
{
	GString *text = g_string_new(NULL);

	put_usage(text, verb);
	g_string_append_c(text, g_ascii_toupper(verb->summary[0]));
	g_string_append_printf(text, "%s.\n", verb->summary + 1);
	if (verb->positionals && verb->positionals->name)
		g_string_append(text, "\nArguments:\n");
	for (const CliParam *param = verb->positionals; param && param->name; param++) {
		g_autofree char *left = g_strdup_printf("  %s", param->name);
		g_autofree char *description = cli_param_describe(param);

		put_row(text, left, description);
	}
	g_string_append(text, "\nOptions:\n");
	cli_foreach_option(verb, put_option, text);
	if (verb->examples && verb->examples->command)
		g_string_append(text, "\nExamples:\n");
	for (const CliExample *example = verb->examples; example && example->command; example++)
		put_example(text, example);
	put_exits(text, verb);
	put_more(text, verb);
	return g_string_free(text, FALSE);
}

char *cli_overview_help(const char *group)
{
	GString *text = g_string_new(NULL);

	if (group)
		g_string_append_printf(text, "usage: softdcd %s VERB [ARGUMENT...] [OPTION...]\n\n",
				       group);
	else
		g_string_append(text,
				"usage: softdcd VERB [ARGUMENT...] [OPTION...]\n"
				"       softdcd --help | --version\n"
				"\n"
				"A CXL Dynamic Capacity Device in software, with tagged memory.\n"
				"\n");
	for (unsigned i = 0; cli_verbs[i]; i++) {
		g_autofree char *left = g_strdup_printf("  %s", cli_verbs[i]->name);

		if (cli_verbs[i]->flags & CLI_VERB_HIDDEN)
			continue;
		if (group && !(g_str_has_prefix(cli_verbs[i]->name, group) &&
			       cli_verbs[i]->name[strlen(group)] == ' '))
			continue;
		put_row(text, left, cli_verbs[i]->summary);
	}
	g_string_append(text, "\n\"softdcd VERB --help\" says what a verb takes.\n");
	return g_string_free(text, FALSE);
}

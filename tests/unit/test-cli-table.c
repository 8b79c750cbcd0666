/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of verbs: every row is whole, and help, man page and examples agree with it. */
#include "cli/verb.h"

#include <string.h>

static bool is_hidden(const CliVerb *verb)
{
	return verb->flags & CLI_VERB_HIDDEN;
}

static bool is_verb(const char *name)
{
	for (unsigned i = 0; cli_verbs[i]; i++) {
		if (strcmp(cli_verbs[i]->name, name) == 0)
			return !is_hidden(cli_verbs[i]);
	}
	return false;
}

static void check_sentence(const char *text)
{
	g_assert_nonnull(text);
	g_assert_cmpuint(strlen(text), >, 0);
	g_assert_cmpint(text[strlen(text) - 1], !=, '.');
	g_assert_true(g_str_is_ascii(text));
}

static void check_param(const CliParam *param)
{
	if (!param->hidden)
		check_sentence(param->help);
	g_assert_true((param->type == CLI_ENUM) == (param->values != NULL));
	g_assert_true(!param->short_name || g_ascii_isalpha(param->short_name));
	g_assert_false(param->required && (param->one_of || param->fallback));
	if (param->fallback) {
		CliValue value;
		g_autoptr(GError) error = NULL;

		cli_value_parse(param, param->fallback, &value, &error);
		g_assert_no_error(error);
	}
}

typedef struct Names {
	GHashTable *names;
	bool shorts[128];
} Names;

static void check_option(const CliParam *option, void *opaque)
{
	Names *names = opaque;

	check_param(option);
	g_assert_cmpint(g_ascii_islower(option->name[0]), !=, 0);
	g_assert_true(g_hash_table_add(names->names, (void *)option->name));
	if (option->short_name) {
		g_assert_false(names->shorts[(unsigned char)option->short_name]);
		names->shorts[(unsigned char)option->short_name] = true;
	}
}

/* Only the last positional may repeat, and none that must be there follows one that may not. */
static void check_positionals(const CliVerb *verb)
{
	bool optional = false;

	for (const CliParam *param = verb->positionals; param && param->name; param++) {
		check_param(param);
		g_assert_true(g_ascii_isupper(param->name[0]));
		g_assert_false(param->required && optional);
		g_assert_true(!param->repeatable || !param[1].name);
		optional |= !param->required;
	}
}

static void test_rows(void)
{
	for (unsigned i = 0; cli_verbs[i]; i++) {
		const CliVerb *verb = cli_verbs[i];
		Names names = { .names = g_hash_table_new(g_str_hash, g_str_equal) };

		g_test_message("%s", verb->name);
		check_sentence(verb->summary);
		g_assert_nonnull(verb->text);
		g_assert_true(g_str_is_ascii(verb->text));
		g_assert_true(g_str_has_suffix(verb->text, "."));
		g_assert_nonnull(verb->run);
		check_positionals(verb);
		cli_foreach_option(verb, check_option, &names);
		for (unsigned k = 0; verb->see_also && verb->see_also[k]; k++)
			g_assert_true(is_verb(verb->see_also[k]));
		if (i > 0)
			g_assert_cmpstr(cli_verbs[i - 1]->name, <, verb->name);
		g_hash_table_unref(names.names);
	}
}

/* ---- examples ---- */

static void check_example(const CliVerb *verb, const char *command)
{
	g_autofree char *own = g_strdup(command);
	g_auto(GStrv) argv = NULL;
	g_autoptr(GError) error = NULL;
	g_autoptr(CliArgs) args = NULL;
	int argc, n_words;
	char *pipe = strstr(own, " | ");

	if (pipe)
		*pipe = '\0';
	g_strchomp(own);
	if (g_str_has_suffix(own, "&"))
		own[strlen(own) - 1] = '\0';
	g_shell_parse_argv(own, &argc, &argv, &error);
	g_assert_no_error(error);
	g_assert_true(cli_find_verb(argc, argv, &n_words) == verb);
	args = cli_args_parse(verb, argc - n_words, argv + n_words, &error);
	g_assert_no_error(error);
	g_assert_nonnull(args);
}

static void test_examples(void)
{
	for (unsigned i = 0; cli_verbs[i]; i++) {
		const CliExample *example = cli_verbs[i]->examples;

		for (; example && example->command; example++) {
			g_test_message("%s", example->command);
			check_sentence(example->what);
			check_example(cli_verbs[i], example->command);
		}
	}
}

/* ---- what is made from it ---- */

typedef struct Text {
	const char *help, *page;
} Text;

static void check_is_told(const CliParam *option, void *opaque)
{
	const Text *text = opaque;
	g_autofree char *plain = g_strdup_printf("--%s", option->name);
	g_auto(GStrv) parts = g_strsplit(plain, "-", -1);
	g_autofree char *escaped = g_strjoinv("\\-", parts);

	g_assert_true(option->hidden == !strstr(text->help, plain));
	g_assert_true(option->hidden == !strstr(text->page, escaped));
}

static void check_lines(const char *help)
{
	g_auto(GStrv) lines = g_strsplit(help, "\n", -1);

	for (unsigned i = 0; lines[i]; i++) {
		if (!g_str_has_prefix(lines[i], "  softdcd "))
			g_assert_cmpuint(g_utf8_strlen(lines[i], -1), <=, 80);
		g_assert_false(g_str_has_suffix(lines[i], " "));
	}
}

/* Whatever begins with a dot must be a macro that is meant. */
static void check_roff(const char *page)
{
	static const char *const macros[] = { ".TH ", ".SH ", ".PP", ".TP", ".BR ", ".nf", ".fi",
					      ".RS ", ".RE",  ".nh", ".hy", ".ad ", NULL };
	g_auto(GStrv) lines = g_strsplit(page, "\n", -1);

	for (unsigned i = 0; lines[i]; i++) {
		bool known = lines[i][0] != '.';

		g_assert_cmpint(lines[i][0], !=, '\'');
		for (unsigned k = 0; macros[k]; k++)
			known |= g_str_has_prefix(lines[i], macros[k]);
		if (!known)
			g_error("\"%s\" is no macro", lines[i]);
	}
}

static void test_documents(void)
{
	g_autofree char *overview = cli_overview_help(NULL);
	g_autofree char *page = cli_man_page(NULL);

	check_lines(overview);
	check_roff(page);
	for (unsigned i = 0; cli_verbs[i]; i++) {
		const CliVerb *verb = cli_verbs[i];
		g_autofree char *help = cli_verb_help(verb);
		g_autofree char *verb_page = cli_man_page(verb);
		g_autofree char *man_name = cli_man_name(verb);
		Text text = { help, verb_page };

		check_lines(help);
		check_roff(verb_page);
		g_assert_null(strchr(man_name, ' '));
		cli_foreach_option(verb, check_is_told, &text);
		g_assert_true(!verb->sections == !strstr(help, "The manual page has more:"));
		g_assert_true(is_hidden(verb) == !strstr(overview, verb->summary) ||
			      strlen(verb->summary) > 50);
	}
}

static void test_groups(void)
{
	g_autofree char *help = cli_overview_help("backend");
	char *both[] = { (char *)"backend", (char *)"add" };
	int n_words;

	g_assert_true(cli_is_group("backend"));
	g_assert_false(cli_is_group("back"));
	g_assert_false(cli_is_group("offer"));
	g_assert_nonnull(strstr(help, "backend reclaim"));
	g_assert_null(strstr(help, "device"));
	g_assert_nonnull(cli_find_verb(2, both, &n_words));
	g_assert_cmpint(n_words, ==, 2);
	g_assert_null(cli_find_verb(1, both, &n_words));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/cli/table/rows", test_rows);
	g_test_add_func("/unit/cli/table/examples", test_examples);
	g_test_add_func("/unit/cli/table/documents", test_documents);
	g_test_add_func("/unit/cli/table/groups", test_groups);
	return g_test_run();
}

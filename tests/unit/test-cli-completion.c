/* SPDX-License-Identifier: BSD-3-Clause */
/* Completion: what may stand for the last word of a command line. */
#include "cli/completion.h"

#include <string.h>

static void fake_names(CliSource source, const CliTarget *target, GPtrArray *ret_names)
{
	switch (source) {
	case CLI_FROM_DEVICES:
		g_ptr_array_add(ret_names, g_strdup("dev0"));
		g_ptr_array_add(ret_names, g_strdup(target->pool ? target->pool : "dev1"));
		break;
	case CLI_FROM_BACKENDS:
		g_ptr_array_add(ret_names, g_strdup("kv-cache"));
		break;
	case CLI_FROM_TAGS:
		g_ptr_array_add(ret_names, g_strdup("5be1f00d-2a6b-4f43-9c1e-0d5f3ac0ffee"));
		break;
	case CLI_FROM_OFFERS:
		g_ptr_array_add(ret_names, g_strdup("12"));
		break;
	case CLI_FROM_POOLS:
		g_ptr_array_add(ret_names, g_strdup("default"));
		break;
	default:
		g_assert_not_reached();
	}
}

/* The words of LINE; a space at its end begins a new one. */
static char *complete(const char *line)
{
	g_auto(GStrv) words = g_strsplit(line, " ", -1);
	g_autoptr(GPtrArray)
		found = cli_complete((const char *const *)words, g_strv_length(words), fake_names);

	g_ptr_array_add(found, NULL);
	return g_strjoinv(" ", (char **)found->pdata);
}

static void test_cases(void)
{
	static const struct {
		const char *line, *found;
	} cases[] = {
		{ "of", "offer" },
		{ "back", "backend" },
		{ "--v", "--version" },
		{ "__", "" },
		{ "backend ", "add reclaim remove" },
		{ "backend re", "reclaim remove" },
		{ "bogus ", "" },
		{ "offer ", "dev0 dev1" },
		{ "offer d", "dev0 dev1" },
		{ "offer dev0 ", "" },
		{ "offer --pool there ", "dev0 there" },
		{ "offer --pool=there ", "dev0 there" },
		{ "offer --pool ", "default" },
		{ "offer dev0 --ta", "--tag" },
		{ "offer dev0 --tag ", "5be1f00d-2a6b-4f43-9c1e-0d5f3ac0ffee" },
		{ "offer dev0 --tag 5be1f00d-2a6b-4f43-9c1e-0d5f3ac0ffee --s", "--socket" },
		{ "offer dev0 --size 4K --ta", "" },
		{ "offer dev0 --extent 0:1 --ext", "--extent" },
		{ "offer dev0 --wait --wai", "" },
		{ "offer dev0 --policy c", "contiguous" },
		{ "offer dev0 --policy=c", "--policy=contiguous" },
		{ "offer dev0 --bogus=", "" },
		{ "offer dev0 -- --", "" },
		{ "withdraw dev0 --offer ", "12" },
		{ "backend remove ", "kv-cache" },
		{ "backend add ", "" },
		{ "backend add x --path ", CLI_COMPLETE_FILES },
		{ "list -D", "" },
		{ "list --sock", "--socket" },
		{ "list --socket=", CLI_COMPLETE_FILES },
		{ "wait dev0 5be1f00d-2a6b-4f43-9c1e-0d5f3ac0ffee ",
		  "accepted declined offered released" },
		{ "help wi", "withdraw" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *found = complete(cases[i].line);

		g_test_message("%s", cases[i].line);
		g_assert_cmpstr(found, ==, cases[i].found);
	}
}

/* Every option of every verb can be completed, and so can the words of every enumeration. */
static void check_option(const CliParam *option, void *opaque)
{
	const CliVerb *verb = opaque;
	g_autofree char *line = g_strdup_printf("%s --%s", verb->name, option->name);
	g_autofree char *found = complete(line);
	g_autofree char *word = g_strdup_printf("--%s", option->name);

	if (option->hidden) {
		g_assert_false(g_str_has_prefix(found, word));
		return;
	}
	g_assert_true(g_str_has_prefix(found, word));
	if (option->type == CLI_ENUM) {
		g_autofree char *value_line = g_strdup_printf("%s ", line);
		g_autofree char *values = complete(value_line);
		g_auto(GStrv) words = g_strsplit(values, " ", -1);

		for (unsigned i = 0; option->values[i]; i++)
			g_assert_true(
				g_strv_contains((const char *const *)words, option->values[i]));
	}
}

static void test_every_option(void)
{
	for (unsigned i = 0; cli_verbs[i]; i++)
		cli_foreach_option(cli_verbs[i], check_option, (void *)cli_verbs[i]);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/cli/completion/cases", test_cases);
	g_test_add_func("/unit/cli/completion/every-option", test_every_option);
	return g_test_run();
}

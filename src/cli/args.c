/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads a verb's command line by its row in the table. */
#include "cli/verb.h"

#include <string.h>

/* What was given for one parameter. */
typedef struct Given {
	const CliParam *param;
	GArray *values; /* CliValue; flags have one without fields */
	bool by_default;
} Given;

struct CliArgs {
	const CliVerb *verb;
	GPtrArray *given; /* Given */
};

static void free_given(void *opaque)
{
	Given *given = opaque;

	g_array_unref(given->values);
	g_free(given);
}

static const Given *find_given(const CliArgs *args, const CliParam *param)
{
	for (guint i = 0; i < args->given->len; i++) {
		const Given *given = g_ptr_array_index(args->given, i);

		if (given->param == param)
			return given;
	}
	return NULL;
}

static void add_value(CliArgs *args, const CliParam *param, const CliValue *value, bool by_default)
{
	Given *given = (Given *)find_given(args, param);

	if (!given) {
		given = g_new0(Given, 1);
		given->param = param;
		given->by_default = by_default;
		given->values = g_array_new(FALSE, FALSE, sizeof(CliValue));
		g_ptr_array_add(args->given, given);
	}
	g_array_append_val(given->values, *value);
}

/* ---- reading ---- */

static bool fail(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);

static bool fail(GError **error, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	if (error)
		*error = g_error_new_valist(CLI_ERROR, EXIT_USAGE, format, list);
	va_end(list);
	return false;
}

static bool take_option(CliArgs *args, const CliParam *option, const char *text, GError **error)
{
	CliValue value = { .text = text };

	if (find_given(args, option) && !option->repeatable && option->type != CLI_FLAG)
		return fail(error, "option --%s was given twice", option->name);
	if (option->type != CLI_FLAG && !cli_value_parse(option, text, &value, error)) {
		g_prefix_error(error, "option --%s: ", option->name);
		return false;
	}
	if (option->type != CLI_FLAG || !find_given(args, option))
		add_value(args, option, &value, false);
	return true;
}

typedef struct Reader {
	CliArgs *args;
	int argc;
	char *const *argv;
	int next;                      /* argument to be read */
	const CliParam *next_position; /* NULL: none is left */
} Reader;

/* The value that belongs to OPTION: INLINE_TEXT, or the next argument. */
static bool take_option_value(Reader *reader, const CliParam *option, const char *inline_text,
			      GError **error)
{
	const char *text = inline_text;

	if (option->type == CLI_FLAG) {
		if (inline_text)
			return fail(error, "option --%s takes no value, but \"%s\" was given",
				    option->name, inline_text);
	} else if (!text) {
		if (reader->next == reader->argc)
			return fail(error, "option --%s needs a value: %s", option->name,
				    cli_param_meta(option));
		text = reader->argv[reader->next++];
	}
	return take_option(reader->args, option, text, error);
}

static bool read_long(Reader *reader, const char *arg, GError **error)
{
	const char *equals = strchr(arg, '=');
	g_autofree char *name = equals ? g_strndup(arg, (gsize)(equals - arg)) : g_strdup(arg);
	const CliParam *option = cli_find_option(reader->args->verb, name);

	if (!option)
		return fail(error, "no option \"--%s\"; \"softdcd %s --help\" lists them", name,
			    reader->args->verb->name);
	return take_option_value(reader, option, equals ? equals + 1 : NULL, error);
}

/* "-HD" is "-H -D"; of an option with a value the rest of the word is the value. */
static bool read_short(Reader *reader, const char *letters, GError **error)
{
	for (; *letters; letters++) {
		const CliParam *option = cli_find_short_option(reader->args->verb, *letters);

		if (!option)
			return fail(error, "no option \"-%.*s\"; \"softdcd %s --help\" lists them",
				    (int)(g_utf8_next_char(letters) - letters), letters,
				    reader->args->verb->name);
		if (option->type != CLI_FLAG)
			return take_option_value(reader, option, letters[1] ? letters + 1 : NULL,
						 error);
		if (!take_option(reader->args, option, NULL, error))
			return false;
	}
	return true;
}

static bool read_positional(Reader *reader, const char *text, GError **error)
{
	const CliParam *param = reader->next_position;
	CliValue value = { .text = text };

	if (!param || !param->name)
		return fail(error, "unexpected argument \"%s\"", text);
	if (!cli_value_parse(param, text, &value, error)) {
		g_prefix_error(error, "argument %s: ", param->name);
		return false;
	}
	add_value(reader->args, param, &value, false);
	if (!param->repeatable)
		reader->next_position++;
	return true;
}

static bool read_all(Reader *reader, GError **error)
{
	bool options_ended = false;

	while (reader->next < reader->argc) {
		const char *arg = reader->argv[reader->next++];
		bool ok;

		if (!options_ended && strcmp(arg, "--") == 0) {
			options_ended = true;
			continue;
		}
		if (options_ended || arg[0] != '-' || !arg[1])
			ok = read_positional(reader, arg, error);
		else if (arg[1] == '-')
			ok = read_long(reader, arg + 2, error);
		else
			ok = read_short(reader, arg + 1, error);
		if (!ok)
			return false;
	}
	return true;
}

/* ---- what is missing, what excludes what ---- */

typedef struct Check {
	CliArgs *args;
	unsigned groups_seen; /* bits of one_of */
	GError *error;        /* the first */
} Check;

typedef struct Choice {
	CliArgs *args;
	unsigned group;
	GString *names;
	const CliParam *given, *second;
} Choice;

static void look_at_choice(const CliParam *option, void *opaque)
{
	Choice *choice = opaque;

	if (option->one_of != choice->group)
		return;
	g_string_append_printf(choice->names, "%s--%s", choice->names->len ? " or " : "",
			       option->name);
	if (!find_given(choice->args, option))
		return;
	if (choice->given)
		choice->second = option;
	else
		choice->given = option;
}

static bool check_choice(CliArgs *args, unsigned group, GError **error)
{
	g_autoptr(GString) names = g_string_new(NULL);
	Choice choice = { .args = args, .group = group, .names = names };

	cli_foreach_option(args->verb, look_at_choice, &choice);
	if (choice.second)
		return fail(error, "--%s and --%s exclude each other", choice.given->name,
			    choice.second->name);
	if (!choice.given)
		return fail(error, "%s must be given", names->str);
	return true;
}

static void check_option(const CliParam *option, void *opaque)
{
	Check *check = opaque;
	unsigned bit = option->one_of ? 1U << option->one_of : 0;

	if (check->error)
		return;
	if (option->required && !find_given(check->args, option)) {
		fail(&check->error, "option --%s %s is missing", option->name,
		     cli_param_meta(option));
	} else if (bit & ~check->groups_seen) {
		check->groups_seen |= bit;
		check_choice(check->args, option->one_of, &check->error);
	}
}

static bool check_all(Reader *reader, GError **error)
{
	Check check = { .args = reader->args };
	const CliParam *param = reader->next_position;

	if (param && param->name && param->required && !find_given(reader->args, param))
		return fail(error, "argument %s is missing", param->name);
	cli_foreach_option(reader->args->verb, check_option, &check);
	if (check.error) {
		g_propagate_error(error, check.error);
		return false;
	}
	return true;
}

static void add_default(const CliParam *param, void *opaque)
{
	CliArgs *args = opaque;
	CliValue value = { .text = param->fallback };

	if (!param->fallback || find_given(args, param))
		return;
	/* The table's own defaults are right: a test parses them all. */
	if (cli_value_parse(param, param->fallback, &value, NULL))
		add_value(args, param, &value, true);
}

CliArgs *cli_args_parse(const CliVerb *verb, int argc, char *const *argv, GError **error)
{
	g_autoptr(CliArgs) args = g_new0(CliArgs, 1);
	Reader reader = {
		.args = args,
		.argc = argc,
		.argv = argv,
		.next_position = verb->positionals,
	};
	g_autoptr(GError) trouble = NULL;
	bool ok;

	args->verb = verb;
	args->given = g_ptr_array_new_with_free_func(free_given);
	ok = read_all(&reader, &trouble) && check_all(&reader, &trouble);
	if (!ok && !cli_flag(args, "help")) {
		g_propagate_error(error, g_steal_pointer(&trouble));
		return NULL;
	}
	cli_foreach_option(verb, add_default, args);
	for (const CliParam *param = verb->positionals; param && param->name; param++)
		add_default(param, args);
	return g_steal_pointer(&args);
}

void cli_args_free(CliArgs *args)
{
	if (!args)
		return;
	g_ptr_array_unref(args->given);
	g_free(args);
}

/* ---- asking ---- */

const CliParam *cli_args_param(const CliArgs *args, const char *name)
{
	const CliParam *param = args->verb->positionals;

	while (param && param->name && strcmp(param->name, name) != 0)
		param++;
	if (!param || !param->name)
		param = cli_find_option(args->verb, name);
	g_assert(param != NULL);
	return param;
}

static const Given *look_up(const CliArgs *args, const char *name)
{
	return find_given(args, cli_args_param(args, name));
}

bool cli_flag(const CliArgs *args, const char *name)
{
	return look_up(args, name) != NULL;
}

bool cli_given(const CliArgs *args, const char *name)
{
	const Given *given = look_up(args, name);

	return given && !given->by_default;
}

unsigned cli_n_values(const CliArgs *args, const char *name)
{
	const Given *given = look_up(args, name);

	return given ? given->values->len : 0;
}

const CliValue *cli_value(const CliArgs *args, const char *name, unsigned i)
{
	const Given *given = look_up(args, name);

	return given && i < given->values->len ? &g_array_index(given->values, CliValue, i) : NULL;
}

const char *cli_text(const CliArgs *args, const char *name)
{
	const CliValue *value = cli_value(args, name, 0);

	return value ? value->text : NULL;
}

const CliVerb *cli_args_verb(const CliArgs *args)
{
	return args->verb;
}

void cli_complain(const CliArgs *args, const char *format, ...)
{
	g_autofree char *sentence = NULL;
	va_list list;

	va_start(list, format);
	sentence = g_strdup_vprintf(format, list);
	va_end(list);
	g_printerr("softdcd %s: %s\n", args->verb->name, sentence);
}

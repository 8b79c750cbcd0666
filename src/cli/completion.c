/* SPDX-License-Identifier: BSD-3-Clause */
/* Completion of command lines by the table of verbs. */
#include "cli/completion.h"

#include <string.h>

/*
 * Design. The shell's part is a few lines that hand the words over and take back what may stand for
 * the last one, so every rule is here, once, and can be tested without a shell.
 */

typedef struct Line {
	const CliVerb *verb;
	GPtrArray *options_seen;  /* CliParam, borrowed */
	const CliParam *pending;  /* option that waits for its value */
	const CliParam *position; /* next positional */
	CliTarget target;
	bool options_ended;
	const char *last; /* the word to complete */
	CliNamesFunc *names;
	GPtrArray *found;
} Line;

static void add_if_fits(Line *line, const char *prefix, const char *word)
{
	if (g_str_has_prefix(word, line->last + strlen(prefix)))
		g_ptr_array_add(line->found, g_strconcat(prefix, word, NULL));
}

/* ---- what came before ---- */

static void note_value(Line *line, const CliParam *option, const char *text)
{
	if (strcmp(option->name, "pool") == 0)
		line->target.pool = text;
	else if (strcmp(option->name, "socket") == 0)
		line->target.socket = text;
}

static void note_option(Line *line, const CliParam *option)
{
	if (!option)
		return;
	g_ptr_array_add(line->options_seen, (void *)option);
	if (option->type != CLI_FLAG)
		line->pending = option;
}

static void read_word(Line *line, const char *word)
{
	const char *equals = strchr(word, '=');

	if (line->pending) {
		note_value(line, line->pending, word);
		line->pending = NULL;
	} else if (line->options_ended || word[0] != '-' || !word[1]) {
		if (line->position && line->position->name && !line->position->repeatable)
			line->position++;
	} else if (strcmp(word, "--") == 0) {
		line->options_ended = true;
	} else if (word[1] != '-') {
		note_option(line, cli_find_short_option(line->verb, word[strlen(word) - 1]));
	} else if (equals) {
		g_autofree char *name = g_strndup(word + 2, (gsize)(equals - word - 2));

		note_option(line, cli_find_option(line->verb, name));
		if (line->pending)
			note_value(line, line->pending, equals + 1);
		line->pending = NULL;
	} else {
		note_option(line, cli_find_option(line->verb, word + 2));
	}
}

/* ---- what may come ---- */

static void add_verbs(Line *line, const char *group)
{
	g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);

	for (unsigned i = 0; cli_verbs[i]; i++) {
		const char *name = cli_verbs[i]->name;
		const char *space = strchr(name, ' ');
		g_autofree char *first = space ? g_strndup(name, (gsize)(space - name))
					       : g_strdup(name);
		const char *word = group ? (space ? space + 1 : NULL) : first;

		if (cli_verbs[i]->flags & CLI_VERB_HIDDEN || !word)
			continue;
		if (group ? strcmp(first, group) != 0 : g_hash_table_contains(seen, word))
			continue;
		add_if_fits(line, "", word);
		if (!group)
			g_hash_table_add(seen, (void *)g_intern_string(word));
	}
}

static void add_values(Line *line, const CliParam *param, const char *prefix)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);

	if (param->type == CLI_ENUM) {
		for (unsigned i = 0; param->values[i]; i++)
			add_if_fits(line, prefix, param->values[i]);
		return;
	}
	switch (param->source) {
	case CLI_FROM_NOWHERE:
		return;
	case CLI_FROM_FILES:
		g_ptr_array_add(line->found, g_strdup(CLI_COMPLETE_FILES));
		return;
	case CLI_FROM_DIRECTORIES:
		g_ptr_array_add(line->found, g_strdup(CLI_COMPLETE_DIRECTORIES));
		return;
	case CLI_FROM_VERBS:
		add_verbs(line, NULL);
		return;
	case CLI_FROM_DEVICES:
	case CLI_FROM_BACKENDS:
	case CLI_FROM_TAGS:
	case CLI_FROM_OFFERS:
	case CLI_FROM_POOLS:
		break;
	}
	line->names(param->source, &line->target, names);
	for (guint i = 0; i < names->len; i++)
		add_if_fits(line, prefix, g_ptr_array_index(names, i));
}

/* Given already, or excluded by one that was given? */
static bool is_used_up(const Line *line, const CliParam *option)
{
	for (guint i = 0; i < line->options_seen->len; i++) {
		const CliParam *seen = g_ptr_array_index(line->options_seen, i);

		if (seen == option && !option->repeatable)
			return true;
		if (seen != option && option->one_of && seen->one_of == option->one_of)
			return true;
	}
	return false;
}

static void add_option(const CliParam *option, void *opaque)
{
	Line *line = opaque;
	g_autofree char *word = g_strconcat("--", option->name, NULL);

	if (!option->hidden && !is_used_up(line, option))
		add_if_fits(line, "", word);
}

static void complete_verb_line(Line *line)
{
	const char *equals = strchr(line->last, '=');

	if (line->pending) {
		add_values(line, line->pending, "");
	} else if (!line->options_ended && g_str_has_prefix(line->last, "--") && equals) {
		g_autofree char *prefix = g_strndup(line->last, (gsize)(equals + 1 - line->last));
		g_autofree char *name = g_strndup(line->last + 2, (gsize)(equals - line->last - 2));
		const CliParam *option = cli_find_option(line->verb, name);

		if (option)
			add_values(line, option, prefix);
	} else if (!line->options_ended && line->last[0] == '-') {
		cli_foreach_option(line->verb, add_option, line);
	} else if (line->position && line->position->name) {
		add_values(line, line->position, "");
	}
}

static int compare_words(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

GPtrArray *cli_complete(const char *const *words, unsigned n, CliNamesFunc *names)
{
	g_autoptr(GPtrArray) options_seen = g_ptr_array_new();
	Line line = {
		.options_seen = options_seen,
		.last = words[n - 1],
		.names = names,
		.found = g_ptr_array_new_with_free_func(g_free),
	};
	int n_name = 0;

	line.verb = n > 1 ? cli_find_verb((int)n - 1, (char *const *)words, &n_name) : NULL;
	if (line.verb) {
		line.position = line.verb->positionals;
		for (unsigned i = (unsigned)n_name; i < n - 1; i++)
			read_word(&line, words[i]);
		complete_verb_line(&line);
	} else if (n == 2 && cli_is_group(words[0])) {
		add_verbs(&line, words[0]);
	} else if (n == 1) {
		add_verbs(&line, NULL);
		add_if_fits(&line, "", "--help");
		add_if_fits(&line, "", "--version");
	}
	g_ptr_array_sort(line.found, compare_words);
	return line.found;
}

/*
 * "=" and ":" part words for bash, so "--socket=/a:b" comes in pieces: they are joined before they
 * are handed over, and what bash holds to be done is cut off the answers.
 */
static const char bash_completion[] =
	"# bash completion for softdcd; the program itself knows what may come.\n"
	"_softdcd()\n"
	"{\n"
	"	local words=() word glue= prefix i\n"
	"	for ((i = 1; i <= COMP_CWORD; i++)); do\n"
	"		word=${COMP_WORDS[i]}\n"
	"		if [[ $word == [=:] && ${#words[@]} -gt 0 ]]; then\n"
	"			words[-1]+=$word\n"
	"			glue=1\n"
	"		elif [[ $glue ]]; then\n"
	"			words[-1]+=$word\n"
	"			glue=\n"
	"		else\n"
	"			words+=(\"$word\")\n"
	"		fi\n"
	"	done\n"
	"	word=${words[-1]}\n"
	"	prefix=${word%\"${word##*[=:]}\"}\n"
	"	mapfile -t COMPREPLY < <(\"${COMP_WORDS[0]}\" __complete -- \"${words[@]}\" "
	"2>/dev/null)\n"
	"	case ${COMPREPLY[0]-} in\n"
	"	:files | :directories)\n"
	"		i=-f\n"
	"		[[ ${COMPREPLY[0]} == :files ]] || i=-d\n"
	"		compopt -o filenames 2>/dev/null\n"
	"		[[ $word != --*=* ]] || word=${word#*=} prefix=${prefix#*=}\n"
	"		mapfile -t COMPREPLY < <(compgen \"$i\" -- \"$word\")\n"
	"		;;\n"
	"	esac\n"
	"	COMPREPLY=(\"${COMPREPLY[@]#\"$prefix\"}\")\n"
	"}\n"
	"complete -F _softdcd softdcd\n";

char *cli_bash_completion(void)
{
	return g_strdup(bash_completion);
}

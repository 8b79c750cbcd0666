/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of verbs, and the options they share. */
#include "cli/cmd.h"
#include "cli/verb.h"

#include <string.h>

const CliVerb *const cli_verbs[] = {
	&verb_complete,
	&verb_documents,
	&verb_backend_add,
	&verb_backend_reclaim,
	&verb_backend_remove,
	&verb_demo,
	&verb_device_add,
	&verb_device_remove,
	&verb_device_reset,
	&verb_doctor,
	&verb_events,
	&verb_help,
	&verb_host,
	&verb_inject_dram,
	&verb_inject_general_media,
	&verb_inject_memory_module,
	&verb_list,
	&verb_offer,
	&verb_qmp,
	&verb_release,
	&verb_run,
	&verb_serve,
	&verb_trace,
	&verb_wait,
	&verb_withdraw,
	NULL,
};

static const CliParam client_options[] = {
	{ .name = "pool",
	  .type = CLI_NAME,
	  .meta = "POOL",
	  .fallback = "default",
	  .source = CLI_FROM_POOLS,
	  .help = "the pool to speak to" },
	{ .name = "socket",
	  .type = CLI_TEXT,
	  .meta = "PATH",
	  .source = CLI_FROM_FILES,
	  .help = "its QMP socket, instead of the pool's own in the runtime directory" },
	{ .name = NULL },
};

static const CliParam output_options[] = {
	{ .name = "human",
	  .short_name = 'H',
	  .type = CLI_FLAG,
	  .help = "print an aligned table with sizes for people; the default on a terminal" },
	{ .name = "json",
	  .type = CLI_FLAG,
	  .help = "print JSON with sizes in bytes; the default elsewhere" },
	{ .name = NULL },
};

static const CliParam every_option[] = {
	{ .name = "help",
	  .short_name = 'h',
	  .type = CLI_FLAG,
	  .help = "print what the verb does and takes" },
	{ .name = NULL },
};

static bool is_first_word(const char *name, const char *word)
{
	size_t len = strlen(word);

	return strncmp(name, word, len) == 0 && name[len] == ' ';
}

bool cli_is_group(const char *word)
{
	for (unsigned i = 0; cli_verbs[i]; i++) {
		if (is_first_word(cli_verbs[i]->name, word))
			return true;
	}
	return false;
}

const CliVerb *cli_find_verb(int argc, char *const *argv, int *ret_words)
{
	for (unsigned i = 0; argc > 0 && cli_verbs[i]; i++) {
		const char *name = cli_verbs[i]->name;

		if (strcmp(name, argv[0]) == 0) {
			*ret_words = 1;
			return cli_verbs[i];
		}
		if (argc > 1 && is_first_word(name, argv[0]) &&
		    strcmp(strchr(name, ' ') + 1, argv[1]) == 0) {
			*ret_words = 2;
			return cli_verbs[i];
		}
	}
	return NULL;
}

void cli_foreach_option(const CliVerb *verb, CliOptionFunc *func, void *opaque)
{
	const CliParam *const lists[] = {
		verb->options,
		verb->flags & CLI_VERB_CLIENT ? client_options : NULL,
		verb->flags & CLI_VERB_OUTPUT ? output_options : NULL,
		every_option,
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(lists); i++) {
		for (const CliParam *option = lists[i]; option && option->name; option++)
			func(option, opaque);
	}
}

typedef struct Search {
	const char *name;
	char short_name;
	const CliParam *found;
} Search;

static void compare_option(const CliParam *option, void *opaque)
{
	Search *search = opaque;

	if (search->name ? strcmp(option->name, search->name) == 0
			 : option->short_name == search->short_name)
		search->found = option;
}

const CliParam *cli_find_option(const CliVerb *verb, const char *name)
{
	Search search = { .name = name };

	cli_foreach_option(verb, compare_option, &search);
	return search.found;
}

const CliParam *cli_find_short_option(const CliVerb *verb, char short_name)
{
	Search search = { .short_name = short_name };

	if (short_name)
		cli_foreach_option(verb, compare_option, &search);
	return search.found;
}

const char *cli_exit_meaning(int code)
{
	static const char *const meanings[] = {
		[EXIT_DONE] = "done",
		[EXIT_REFUSED] = "refused or failed",
		[EXIT_USAGE] = "the command line is wrong",
		[EXIT_TIMED_OUT] = "timed out",
		[EXIT_NO_OBJECT] = "there is no such object",
		[EXIT_NO_DAEMON] = "the daemon cannot be reached, or went away",
	};

	return code >= 0 && code < (int)G_N_ELEMENTS(meanings) ? meanings[code] : NULL;
}

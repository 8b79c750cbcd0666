/* SPDX-License-Identifier: BSD-3-Clause */
/* How a verb is described: from this come its parsing, help, man page and completion. */
#ifndef CLI_VERB_H
#define CLI_VERB_H

#include "cli/cli.h"

/* What a value is. The type says how it is read, checked, shown in help and completed. */
typedef enum CliType {
	CLI_FLAG,      /* takes no value */
	CLI_TEXT,      /* anything */
	CLI_NAME,      /* of a device, backend, pool: 1 to 200 characters, no '/' */
	CLI_SIZE,      /* bytes; "4096", "0x1000", "4K", "4KiB" */
	CLI_UINT,      /* decimal or 0x hex, MIN..MAX */
	CLI_INT,       /* decimal, within -MAX-1..MAX */
	CLI_TAG,       /* UUID */
	CLI_ENUM,      /* one of VALUES */
	CLI_DURATION,  /* "5s", "200ms", "2m", "1h"; a bare number is seconds */
	CLI_TIME,      /* a duration before now, "@seconds" of the epoch, or ISO 8601 */
	CLI_EXTENT,    /* OFFSET:LEN, both sizes */
	CLI_DC_REGION, /* SIZE, then words: see cli_param_meta() */
} CliType;

/* Where completion finds values that no table knows. */
typedef enum CliSource {
	CLI_FROM_NOWHERE,
	CLI_FROM_DEVICES, /* asked from the daemon, as are the next three */
	CLI_FROM_BACKENDS,
	CLI_FROM_TAGS,
	CLI_FROM_OFFERS,
	CLI_FROM_FILES,
	CLI_FROM_DIRECTORIES,
	CLI_FROM_POOLS, /* of the runtime directory */
	CLI_FROM_VERBS,
} CliSource;

/* An option, or a positional argument. Arrays of them end with a NULL name. */
typedef struct CliParam {
	const char *name; /* option: without "--"; positional: upper case, shown as it is */
	char short_name;  /* options; 0 = none */
	CliType type;
	const char *meta;          /* stands for the value in help; NULL = the type's own word */
	const char *const *values; /* CLI_ENUM; ends with NULL */
	uint64_t min, max;         /* CLI_UINT, CLI_INT, CLI_SIZE; MAX 0 = no limit */
	const char *fallback;      /* the default, as one would type it; NULL = none */
	unsigned one_of;           /* options with the same number: exactly one must be given */
	bool required;
	bool repeatable;
	bool hidden; /* option: not in help, man pages or completion */
	CliSource source;
	const char *help; /* no capital, no full stop */
} CliParam;

typedef struct CliExample {
	const char *command; /* without "softdcd" */
	const char *what;
} CliExample;

typedef struct CliSection {
	const char *title; /* "Configuration file" */
	const char *text;
} CliSection;

enum {
	/* Speaks to a daemon: also takes --pool and --socket. */
	CLI_VERB_CLIENT = 1 << 0,
	/* Prints JSON, or a table for people: also takes -H and --json. */
	CLI_VERB_OUTPUT = 1 << 1,
	/* Not in help, man pages or completion. */
	CLI_VERB_HIDDEN = 1 << 2,
};

/*
 * A row of the table. Texts are paragraphs parted by empty lines; one whose lines begin with a tab
 * is shown as it is. The row of a verb lives in its cmd-*.c, next to what reads it.
 */
struct CliVerb {
	const char *name; /* one word, or two as in "backend add" */
	CliRun *run;
	const char *summary;         /* imperative, no capital, no full stop */
	const char *text;            /* man page: what it does, in whole sentences */
	const CliParam *positionals; /* NULL = none */
	const CliParam *options;     /* NULL = none but the common ones */
	const CliExample *examples;  /* ends with a NULL command; NULL = none */
	const CliSection *sections;  /* more of the man page; ends with a NULL title */
	const char *const *see_also; /* verbs; ends with NULL */
	unsigned flags;              /* CLI_VERB_* */
	unsigned exits;              /* 1 << EXIT_*, besides done, refused and usage */
};

/* Every verb; ends with NULL. Sorted by name, so that lists of them are. */
extern const CliVerb *const cli_verbs[];

/* The verb that ARGV begins with: RET_WORDS of it are its name. NULL: there is none. */
const CliVerb *cli_find_verb(int argc, char *const *argv, int *ret_words);
/* Are there verbs of two words of which this is the first? */
bool cli_is_group(const char *word);

/* All options of VERB, its own first, then the common ones its flags ask for, then --help. */
typedef void CliOptionFunc(const CliParam *option, void *opaque);
void cli_foreach_option(const CliVerb *verb, CliOptionFunc *func, void *opaque);
const CliParam *cli_find_option(const CliVerb *verb, const char *name);
const CliParam *cli_find_short_option(const CliVerb *verb, char short_name);

/* The row of the option or positional NAME; asserts that there is one. */
const CliParam *cli_args_param(const CliArgs *args, const char *name);

/* The word that stands for a value in help: "SIZE". Never NULL; empty for flags. */
const char *cli_param_meta(const CliParam *param);
/* Reads one value. The error names the text and the rule it breaks, not the option. */
bool cli_value_parse(const CliParam *param, const char *text, CliValue *ret_value, GError **error);

/* The help of PARAM with its words, default and whether it repeats. The caller frees. */
char *cli_param_describe(const CliParam *param);

/* "softdcd offer DEVICE (--tag TAG | --size SIZE) [--wait]". The caller frees. */
char *cli_synopsis(const CliVerb *verb);
char *cli_verb_help(const CliVerb *verb);
/* The verbs, or those of a group; GROUP may be NULL. */
char *cli_overview_help(const char *group);

/* The whole page in man(7) markup; VERB NULL: softdcd(1). The caller frees. */
char *cli_man_page(const CliVerb *verb);
/* "softdcd-backend-add", also for VERB NULL. The caller frees. */
char *cli_man_name(const CliVerb *verb);
char *cli_bash_completion(void);

/* What an exit code means, in a few words; NULL = there is no such code. */
const char *cli_exit_meaning(int code);

#endif

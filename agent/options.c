/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line: parsed by, and explained from, one table. */
#include "agent/options.h"

#include <stdio.h>
#include <string.h>

#define DEFAULT_STATE_DIR "/run/softdcd-agent"
#define DEFAULT_TIMEOUT_S 60

typedef struct Option {
	const char *name;
	const char *meta; /* NULL: a flag */
	const char *text; /* NULL: not in the help */
	bool (*set)(CommandLine *line, const char *value, AgentError *error);
} Option;

/* ---- setters ---- */

static bool set_device(CommandLine *line, const char *value, AgentError *error)
{
	AgentOptions *options = &line->options;

	if (options->n_devices == AGENT_MAX_DEVICES)
		return agent_fail(error, "more than %u devices", AGENT_MAX_DEVICES);
	options->devices[options->n_devices++] = value;
	return true;
}

static bool set_accept(CommandLine *line, const char *value, AgentError *error)
{
	cxl_accept_list_clear(&line->options.accept);
	return cxl_accept_list_parse(value, &line->options.accept) == 0 ||
	       agent_fail(error,
			  "--accept %.64s: not all, none, or a list of tags (UUIDs) with commas",
			  value);
}

static bool set_keep(CommandLine *line, const char *value, AgentError *error)
{
	line->options.keep = true;
	return true;
}

static bool set_commands(CommandLine *line, const char *value, AgentError *error)
{
	line->options.takes_commands = true;
	return true;
}

static bool set_reset(CommandLine *line, const char *value, AgentError *error)
{
	line->options.reset_decoders = true;
	return true;
}

static bool set_state(CommandLine *line, const char *value, AgentError *error)
{
	line->options.state_dir = value;
	return true;
}

static bool set_root(CommandLine *line, const char *value, AgentError *error)
{
	line->options.root = value;
	return true;
}

static bool set_timeout(CommandLine *line, const char *value, AgentError *error)
{
	return parse_number(value, &line->timeout_s) ||
	       agent_fail(error, "--timeout %.32s: not a number of seconds", value);
}

static bool set_help(CommandLine *line, const char *value, AgentError *error)
{
	line->verb = VERB_HELP;
	return true;
}

static bool set_version(CommandLine *line, const char *value, AgentError *error)
{
	line->verb = VERB_VERSION;
	return true;
}

static bool set_man(CommandLine *line, const char *value, AgentError *error)
{
	line->verb = VERB_MAN;
	return true;
}

static const Option table[] = {
	{ "device", "BDF",
	  "take this device, as in 0000:0d:00.0; may be given again; default: the only one that "
	  "has "
	  "no driver",
	  set_device },
	{ "accept", "all|none|TAG,...",
	  "accept what is offered, decline it, or accept these tags only; default: all",
	  set_accept },
	{ "keep", NULL, "on SIGTERM leave what is accepted accepted, and the decoders committed",
	  set_keep },
	{ "commands", NULL, "take commands from standard input, one a line", set_commands },
	{ "reset-decoders", NULL,
	  "take back decoders that somebody else has left committed on the way to the device",
	  set_reset },
	{ "state", "DIR", "where to remember what is taken; default: " DEFAULT_STATE_DIR,
	  set_state },
	{ "timeout", "SECONDS", "of measure: wait for the tag so long; default: 60", set_timeout },
	{ "help", NULL, "print this", set_help },
	{ "version", NULL, "print the version", set_version },
	{ "root", "DIR", NULL, set_root },
	{ "man", NULL, NULL, set_man },
};

#define N_OPTIONS (sizeof(table) / sizeof(table[0]))

/* ---- parsing ---- */

static const Option *find_option(const char *name, size_t len)
{
	for (size_t i = 0; i < N_OPTIONS; i++) {
		if (strlen(table[i].name) == len && strncmp(table[i].name, name, len) == 0)
			return &table[i];
	}
	return NULL;
}

/* "--name", "--name VALUE", "--name=VALUE"; moves *INDEX past what it used. */
static bool parse_option(int argc, char **argv, int *index, CommandLine *line, AgentError *error)
{
	const char *name = argv[*index] + 2;
	size_t len = strcspn(name, "=");
	const Option *option = find_option(name, len);
	const char *value = name[len] ? name + len + 1 : NULL;

	if (!option)
		return agent_fail(error, "there is no option --%.*s; see --help", (int)len, name);
	if (!option->meta && value)
		return agent_fail(error, "--%s takes no value", option->name);
	if (option->meta && !value) {
		if (*index + 1 >= argc)
			return agent_fail(error, "--%s wants %s", option->name, option->meta);
		value = argv[++*index];
	}
	return option->set(line, value, error);
}

static bool parse_word(const char *word, CommandLine *line, unsigned *n_words, AgentError *error)
{
	unsigned n = (*n_words)++;

	if (n == 0 && strcmp(word, "probe") == 0) {
		line->verb = VERB_PROBE;
		return true;
	}
	if (n == 0 && strcmp(word, "measure") == 0) {
		line->verb = VERB_MEASURE;
		return true;
	}
	if (n == 1 && line->verb == VERB_MEASURE)
		return cxl_tag_parse(word, &line->tag) == 0 ||
		       agent_fail(error, "'%.64s' is not a tag (a UUID)", word);
	return agent_fail(error, "unexpected '%.64s'; see --help", word);
}

bool options_parse(int argc, char **argv, CommandLine *ret_line, AgentError *error)
{
	CommandLine *line = ret_line;
	unsigned n_words = 0;

	*line = (CommandLine){
		.options = { .root = "",
			     .state_dir = DEFAULT_STATE_DIR,
			     .accept = { .all = true } },
		.timeout_s = DEFAULT_TIMEOUT_S,
	};
	for (int i = 1; i < argc; i++) {
		bool is_option = strncmp(argv[i], "--", 2) == 0;
		bool ok = is_option ? parse_option(argc, argv, &i, line, error)
				    : parse_word(argv[i], line, &n_words, error);

		if (!ok)
			return false;
	}
	if (line->verb == VERB_MEASURE && n_words < 2)
		return agent_fail(error, "measure wants a TAG");
	return true;
}

void options_clear(CommandLine *line)
{
	cxl_accept_list_clear(&line->options.accept);
}

/* ---- explaining ---- */

typedef struct Form {
	const char *usage, *text;
} Form;

static const Form forms[] = {
	{ "softdcd-agent [OPTION...]",
	  "take devices over and be their host until SIGTERM, which gives everything back" },
	{ "softdcd-agent measure TAG [OPTION...]",
	  "accept this tag only, compare the speed of its memory with that of ordinary memory, and "
	  "give it back; what it held is overwritten" },
	{ "softdcd-agent probe", "tell what there is, and what may be taken; changes nothing" },
};

#define N_FORMS (sizeof(forms) / sizeof(forms[0]))

static const char summary[] = "be the host of CXL dynamic capacity devices in user space";

static const char about[] =
	"For a Linux without support for dynamic capacity: drives a CXL memory device that has no "
	"kernel driver, below a host bridge and a memory window of its own, through sysfs and "
	"/dev/mem. Programs decoders, accepts and gives back capacity by a policy, and tells where "
	"it is, as `softdcd host` does for a process. Another program uses the memory by mapping "
	"the path and offset of a map.";

static const char output[] =
	"Each line of output is a JSON object with event, time (microseconds since 1970) and "
	"device: attached, accepted, declined, refused, released (why is asked, command or "
	"leaving), "
	"kept, lost (why is forced or gone), reconnecting, resumed, record, list, data, checksum, "
	"measured, "
	"done, failed, left.";

static const char exits[] = "Exit codes: 0 done, 1 refused or failed, 2 usage, 3 timed out.";

void options_print_help(void)
{
	CommandHelp help;

	printf("softdcd-agent: %s\n\n", summary);
	for (size_t i = 0; i < N_FORMS; i++)
		printf("%s\n    %s\n", forms[i].usage, forms[i].text);
	printf("\n%s\n\nOptions:\n", about);
	for (size_t i = 0; i < N_OPTIONS; i++) {
		if (table[i].text)
			printf("  --%s%s%s\n    %s\n", table[i].name, table[i].meta ? " " : "",
			       table[i].meta ? table[i].meta : "", table[i].text);
	}
	printf("\nCommands (GROUP is a tag or a number):\n");
	for (unsigned i = 0; command_help(i, &help); i++)
		printf("  %s\n    %s\n", help.usage, help.text);
	printf("\n%s\n\n%s\n", output, exits);
}

/* Minus signs must stay what they are. */
static void put_roff(const char *text)
{
	for (; *text; text++) {
		if (*text == '-')
			fputs("\\-", stdout);
		else if (*text == '\\')
			fputs("\\e", stdout);
		else if (*text == '`')
			fputs("\\(ga", stdout);
		else
			putchar(*text);
	}
}

static void put_item(const char *usage, const char *text)
{
	fputs(".TP\n.B ", stdout);
	put_roff(usage);
	putchar('\n');
	put_roff(text);
	putchar('\n');
}

static void put_section(const char *name, const char *text)
{
	printf(".SH %s\n", name);
	put_roff(text);
	putchar('\n');
}

void options_print_man(void)
{
	CommandHelp help;

	printf(".TH SOFTDCD\\-AGENT 8 \"\" \"softdcd %s\"\n.SH NAME\nsoftdcd\\-agent \\- %s\n",
	       SOFTDCD_VERSION, summary);
	printf(".SH SYNOPSIS\n");
	for (size_t i = 0; i < N_FORMS; i++)
		put_item(forms[i].usage, forms[i].text);
	put_section("DESCRIPTION", about);
	printf(".SH OPTIONS\n");
	for (size_t i = 0; i < N_OPTIONS; i++) {
		char usage[64];

		if (!table[i].text)
			continue;
		snprintf(usage, sizeof(usage), "--%s%s%s", table[i].name, table[i].meta ? " " : "",
			 table[i].meta ? table[i].meta : "");
		put_item(usage, table[i].text);
	}
	printf(".SH COMMANDS\nGROUP is a tag or a number.\n");
	for (unsigned i = 0; command_help(i, &help); i++)
		put_item(help.usage, help.text);
	put_section("OUTPUT", output);
	put_section("EXIT STATUS", exits);
	printf(".SH SEE ALSO\n.BR softdcd\\-host (1)\n");
}

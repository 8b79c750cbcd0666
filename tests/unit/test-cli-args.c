/* SPDX-License-Identifier: BSD-3-Clause */
/* Command lines: what is read from them, and every way they can be wrong. */
#include "cli/verb.h"

#include <string.h>

static const char *const colours[] = { "red", "dark-red", NULL };

static const CliParam positionals[] = {
	{ .name = "DEVICE", .type = CLI_NAME, .required = true, .help = "x" },
	{ .name = "MORE", .type = CLI_SIZE, .repeatable = true, .help = "x" },
	{ .name = NULL },
};

static const CliParam options[] = {
	{ .name = "tag", .type = CLI_TAG, .one_of = 1, .help = "x" },
	{ .name = "size", .type = CLI_SIZE, .min = 4096, .max = 8192, .one_of = 1, .help = "x" },
	{ .name = "least", .type = CLI_SIZE, .min = 16, .help = "x" },
	{ .name = "extent",
	  .short_name = 'x',
	  .type = CLI_EXTENT,
	  .repeatable = true,
	  .help = "x" },
	{ .name = "colour", .type = CLI_ENUM, .values = colours, .fallback = "red", .help = "x" },
	{ .name = "count", .type = CLI_UINT, .min = 1, .max = 255, .help = "x" },
	{ .name = "any", .type = CLI_UINT, .help = "x" },
	{ .name = "degrees", .type = CLI_INT, .max = INT16_MAX, .help = "x" },
	{ .name = "timeout", .type = CLI_DURATION, .help = "x" },
	{ .name = "since", .type = CLI_TIME, .help = "x" },
	{ .name = "dc", .type = CLI_DC_REGION, .repeatable = true, .help = "x" },
	{ .name = "text", .type = CLI_TEXT, .help = "x" },
	{ .name = "force", .short_name = 'f', .type = CLI_FLAG, .help = "x" },
	{ .name = "verbose", .short_name = 'v', .type = CLI_FLAG, .help = "x" },
	{ .name = NULL },
};

static const CliVerb verb = {
	.name = "try",
	.positionals = positionals,
	.options = options,
	.flags = CLI_VERB_CLIENT | CLI_VERB_OUTPUT,
};

#define TAG "5be1f00d-2a6b-4f43-9c1e-0d5f3ac0ffee"

/* The words live as long as the arguments. */
typedef struct Line {
	char **argv;
	CliArgs *args;
	GError *error;
} Line;

static Line read_line(const char *text)
{
	Line line = { 0 };
	int argc;

	g_assert_true(g_shell_parse_argv(text, &argc, &line.argv, NULL));
	line.args = cli_args_parse(&verb, argc, line.argv, &line.error);
	g_assert_true((line.args == NULL) == (line.error != NULL));
	return line;
}

static Line read_right(const char *text)
{
	Line line = read_line(text);

	g_assert_no_error(line.error);
	return line;
}

static void clear_line(Line *line)
{
	g_strfreev(line->argv);
	cli_args_free(line->args);
	g_clear_error(&line->error);
}

static void test_all(void)
{
	Line line = read_right("dev0 --tag {5BE1F00D-2A6B-4F43-9C1E-0D5F3AC0FFEE} -x 0:512M "
			       "--extent=1G:0x1000 -fv --colour dark-red --count 0xff "
			       "--degrees -40 --timeout 5s --text '' -H 4K 1M -- 2M");
	const CliArgs *args = line.args;

	g_assert_cmpstr(cli_text(args, "DEVICE"), ==, "dev0");
	g_assert_cmpstr(cli_value(args, "tag", 0)->tag_text, ==, TAG);
	g_assert_cmpuint(cli_n_values(args, "extent"), ==, 2);
	g_assert_cmpuint(cli_value(args, "extent", 0)->len, ==, 512 << 20);
	g_assert_cmpuint(cli_value(args, "extent", 1)->offset, ==, 1 << 30);
	g_assert_null(cli_value(args, "extent", 2));
	g_assert_true(cli_flag(args, "force") && cli_flag(args, "verbose"));
	g_assert_cmpstr(cli_text(args, "colour"), ==, "dark-red");
	g_assert_cmpuint(cli_value(args, "colour", 0)->number, ==, 1);
	g_assert_cmpuint(cli_value(args, "count", 0)->number, ==, 255);
	g_assert_cmpint(cli_value(args, "degrees", 0)->integer, ==, -40);
	g_assert_cmpuint(cli_value(args, "timeout", 0)->number, ==, 5000);
	g_assert_cmpstr(cli_text(args, "text"), ==, "");
	g_assert_true(cli_flag(args, "human"));
	g_assert_cmpuint(cli_n_values(args, "MORE"), ==, 3);
	g_assert_cmpuint(cli_value(args, "MORE", 2)->number, ==, 2 << 20);
	g_assert_cmpstr(cli_text(args, "pool"), ==, "default");
	g_assert_false(cli_given(args, "pool"));
	clear_line(&line);
}

static void test_defaults(void)
{
	Line line = read_right("dev0 --size 4K --pool other");

	g_assert_cmpstr(cli_text(line.args, "colour"), ==, "red");
	g_assert_false(cli_given(line.args, "colour"));
	g_assert_true(cli_given(line.args, "pool"));
	g_assert_false(cli_flag(line.args, "force"));
	g_assert_null(cli_text(line.args, "timeout"));
	g_assert_cmpuint(cli_n_values(line.args, "MORE"), ==, 0);
	clear_line(&line);
}

static void test_help_needs_nothing(void)
{
	Line line = read_right("--help");

	g_assert_true(cli_flag(line.args, "help"));
	clear_line(&line);
}

static void test_repeated_flag(void)
{
	Line line = read_right("dev0 --size 4K -ff --force");

	g_assert_cmpuint(cli_n_values(line.args, "force"), ==, 1);
	clear_line(&line);
}

static void test_wrong(void)
{
	static const struct {
		const char *line, *says;
	} cases[] = {
		{ "''", "argument DEVICE: name \"\": must be 1 to 200" },
		{ "--size 4K", "argument DEVICE is missing" },
		{ "dev0", "--tag or --size must be given" },
		{ "dev0 --size 4K --tag " TAG, "--tag and --size exclude each other" },
		{ "dev0 --size 4K 4K x", "argument MORE: size \"x\"" },
		{ "dev0 --bogus", "no option \"--bogus\"; \"softdcd try --help\"" },
		{ "dev0 --siz 4K", "no option \"--siz\"" },
		{ "dev0 -fz", "no option \"-z\"" },
		{ "dev0 -\303\244", "no option \"-\303\244\"" },
		{ "dev0 --size", "option --size needs a value: SIZE" },
		{ "dev0 -x", "option --extent needs a value: OFFSET:LEN" },
		{ "dev0 --size 4K --size 4K", "option --size was given twice" },
		{ "dev0 --force=1", "option --force takes no value, but \"1\"" },
		{ "dev0 --size 1", "size \"1\": must be 4 KiB to 8 KiB" },
		{ "dev0 --size 16K", "must be 4 KiB to 8 KiB" },
		{ "dev0 --least 15", "must be at least 16 B" },
		{ "dev0 --tag 5be1", "option --tag: UUID \"5be1\"" },
		{ "dev0 --colour blue", "option --colour: \"blue\": must be one of red, dark-red" },
		{ "dev0 --count 256", "\"256\": must be a number from 1 to 255" },
		{ "dev0 --count 0", "from 1 to 255" },
		{ "dev0 --count -1", "\"-1\": must be a number" },
		{ "dev0 --count ' 1'", "must be a number" },
		{ "dev0 --count 1x", "must be a number" },
		{ "dev0 --count 0x", "must be a number" },
		{ "dev0 --any 18446744073709551616",
		  "must be a number from 0 to 1844674407370955" },
		{ "dev0 --degrees 32768", "must be a number from -32768 to 32767" },
		{ "dev0 --degrees 1.5", "must be a number" },
		{ "dev0 --timeout 5y", "time \"5y\": must be a whole number of seconds" },
		{ "dev0 --timeout ''", "must be a whole number" },
		{ "dev0 --timeout -5s", "must be a whole number" },
		{ "dev0 --timeout 36526d", "below 100 years" },
		{ "dev0 --since yesterday", "time \"yesterday\": must be a time before now" },
		{ "dev0 --since @99999999999999999999", "must be a time before now" },
		{ "dev0 -x 512M", "extent \"512M\": must be OFFSET:LEN" },
		{ "dev0 -x 0:0", "the length must not be 0" },
		{ "dev0 -x 0:1:2", "extent \"0:1:2\": size \"1:2\"" },
		{ "dev0 -x 0xffffffffffffffff:1", "its end must be below 16 EiB" },
		{ "dev0 --dc ''", "option --dc: " },
		{ "dev0 --dc 1G,blok=4K",
		  "region \"1G,blok=4K\": \"blok=4K\" is none of block=SIZE" },
		{ "dev0 --dc 1G,block=x", "size \"x\"" },
		{ "dev0 --pool a/b", "option --pool: name \"a/b\"" },
		{ "..", "name \"..\"" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		Line line = read_line(cases[i].line);

		g_test_message("%s", cases[i].line);
		g_assert_nonnull(line.error);
		g_test_message("%s", line.error->message);
		g_assert_nonnull(strstr(line.error->message, cases[i].says));
		clear_line(&line);
	}
}

static void test_bytes_that_are_no_text(void)
{
	static const char *const bad[] = { "\xff", "a\x01", "\xc3" };
	char *argv[] = { (char *)"dev0", (char *)"--size", (char *)"4K", NULL };

	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		g_autoptr(GError) error = NULL;

		argv[0] = (char *)bad[i];
		g_assert_null(cli_args_parse(&verb, 3, argv, &error));
		g_assert_nonnull(strstr(error->message, "argument DEVICE: name"));
		g_assert_true(g_utf8_validate(error->message, -1, NULL));
	}
}

static void test_durations(void)
{
	static const struct {
		const char *text;
		uint64_t ms;
	} cases[] = { { "0", 0 },
		      { "7", 7000 },
		      { "200ms", 200 },
		      { "2m", 120000 },
		      { "1h", 3600000 },
		      { "1d", 86400000 },
		      { "36525d", UINT64_C(3155760000000) } };
	CliParam param = { .name = "timeout", .type = CLI_DURATION };

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		CliValue value;

		g_assert_true(cli_value_parse(&param, cases[i].text, &value, NULL));
		g_assert_cmpuint(value.number, ==, cases[i].ms);
	}
}

static void test_times(void)
{
	CliParam param = { .name = "since", .type = CLI_TIME };
	uint64_t now_ms = (uint64_t)g_get_real_time() / 1000;
	CliValue value;

	g_assert_true(cli_value_parse(&param, "@1700000000", &value, NULL));
	g_assert_cmpuint(value.number, ==, UINT64_C(1700000000000));
	g_assert_true(cli_value_parse(&param, "2026-11-23T04:00:00.5Z", &value, NULL));
	g_assert_cmpuint(value.number, ==, UINT64_C(1795406400500));
	g_assert_true(cli_value_parse(&param, "10m", &value, NULL));
	g_assert_cmpuint(value.number, >=, now_ms - 600000);
	g_assert_cmpuint(value.number, <=, now_ms - 600000 + 60000);
	g_assert_true(cli_value_parse(&param, "36500d", &value, NULL));
	g_assert_cmpuint(value.number, ==, 0);
}

static void test_regions(void)
{
	CliParam param = { .name = "dc", .type = CLI_DC_REGION };
	CliValue value;

	g_assert_true(cli_value_parse(&param, "16G", &value, NULL));
	g_assert_cmpuint(value.len, ==, UINT64_C(16) << 30);
	g_assert_cmpuint(value.block_len, ==, 0);
	g_assert_false(value.sharable || value.read_only || value.sanitize || value.non_volatile);
	g_assert_true(cli_value_parse(
		&param, "1G,non-volatile,block=4K,sharable,read-only,sanitize", &value, NULL));
	g_assert_cmpuint(value.block_len, ==, 4096);
	g_assert_true(value.sharable && value.read_only && value.sanitize && value.non_volatile);
}

/* No words crash it: pieces of what is right, put together at random, for every verb. */
static void test_noise(void)
{
	static const char *const pieces[] = {
		"--",        "-",       "-H",    "--json",
		"--tag",     "--size=", "4K",    "0x",
		"=",         "--tag=",  TAG,     "dev0",
		"--extent",  "0:2M",    ":",     "1G,block=4K",
		"--dc",      "--pool=", "",      "\xff\xfe",
		"--timeout", "5s",      "@1",    "--policy",
		"free",      "-x",      "--log", "fatal",
		"-HDX",      "--help",  "\n\t",  "18446744073709551616",
		"--wait",    "-5",      "--x=y", "accepted",
	};

	for (unsigned i = 0; i < 20000; i++) {
		const CliVerb *row;
		char *argv[8];
		int argc = g_test_rand_int_range(0, G_N_ELEMENTS(argv));
		unsigned n = 0;
		g_autoptr(GError) error = NULL;
		g_autoptr(CliArgs) args = NULL;

		while (cli_verbs[n])
			n++;
		row = cli_verbs[g_test_rand_int_range(0, (int)n)];
		for (int k = 0; k < argc; k++)
			argv[k] = (char *)pieces[g_test_rand_int_range(0, G_N_ELEMENTS(pieces))];
		args = cli_args_parse(row, argc, argv, &error);
		g_assert_true((args == NULL) == (error != NULL));
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/cli/args/all", test_all);
	g_test_add_func("/unit/cli/args/defaults", test_defaults);
	g_test_add_func("/unit/cli/args/help-needs-nothing", test_help_needs_nothing);
	g_test_add_func("/unit/cli/args/repeated-flag", test_repeated_flag);
	g_test_add_func("/unit/cli/args/wrong", test_wrong);
	g_test_add_func("/unit/cli/args/bytes-that-are-no-text", test_bytes_that_are_no_text);
	g_test_add_func("/unit/cli/args/durations", test_durations);
	g_test_add_func("/unit/cli/args/times", test_times);
	g_test_add_func("/unit/cli/args/regions", test_regions);
	g_test_add_func("/unit/cli/args/noise", test_noise);
	return g_test_run();
}

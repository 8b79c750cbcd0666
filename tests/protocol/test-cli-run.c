/* SPDX-License-Identifier: BSD-3-Clause */
/* softdcd run: what it asks the daemon, and what it refuses before there is any machine. */
#include "cli_fake.h"

#include "cli/cli.h"

#include <glib/gstdio.h>
#include <string.h>

static const char devices[] =
	"[{\"id\": \"dev0\", \"ram\": 268435456, \"pmem\": 0, "
	"\"sockets\": {\"vfio\": \"/nonexistent/dev0.vfio\", \"mem\": \"/nonexistent/dev0.mem\"}},"
	" {\"id\": \"dev1\", \"ram\": 0, \"pmem\": 268435456, "
	"\"sockets\": {\"vfio\": \"/nonexistent/dev1.vfio\", \"mem\": \"/nonexistent/dev1.mem\"}}]";

/* The command line, the verb's exit code and a part of what it says. */
typedef struct Case {
	const char *line;
	int code;
	const char *says;
} Case;

static void run_case(const Case *c, const char *answer)
{
	g_autoptr(Fake) fake = fake_new();
	int code;

	fake_run(fake, c->line);
	fake_accept(fake);
	fake_answer(fake, "query-devices", answer);
	code = fake_end(fake);
	if (code != c->code || !strstr(fake->err, c->says))
		g_error("%s: exit code %d, says %s", c->line, code, fake->err);
	g_assert_cmpstr(fake->out, ==, "");
}

static void test_refused(void)
{
	static const Case cases[] = {
		{ "run --device dev9", EXIT_NO_OBJECT, "no device dev9" },
		{ "run --device dev0 --device dev0", EXIT_USAGE, "named twice" },
		{ "run --device dev0 --window dev1", EXIT_USAGE, "device \"dev1\"" },
		{ "run --device dev0 --window dev0/", EXIT_USAGE, "window dev0/" },
		{ "run --device dev0 --window dev0=1Q", EXIT_USAGE, "1Q" },
		{ "run --device dev0 --window 0", EXIT_USAGE, "--window 0" },
		{ "run --device dev0 --window 255M", EXIT_USAGE, "of 267386880 bytes" },
		{ "run --device dev0 --window dev0=0", EXIT_USAGE, "size 0" },
		{ "run --device dev0 --window dev0@0", EXIT_USAGE, "granularity 0" },
		{ "run --device dev0 --window dev0@7", EXIT_USAGE, "from 256 to 16384" },
		{ "run --device dev0 --window dev0,dev0", EXIT_USAGE, "two windows" },
		{ "run --device dev0 --memory 3M", EXIT_USAGE, "at least 64 MiB" },
		{ "run --device dev0 --memory 65M", EXIT_USAGE, "multiple of 2 MiB" },
		{ "run --device dev0 --memory 1T", EXIT_USAGE, "at most 255 GiB" },
		{ "run --device dev0 --root /nonexistent/dir", EXIT_USAGE, "--root /nonexistent" },
		{ "run --device dev0 --share /nonexistent/dir", EXIT_USAGE, "/nonexistent/dir" },
		{ "run --device dev0 --share /:t --share /:t", EXIT_USAGE, "the tag t" },
		{ "run --device dev0 --share /:", EXIT_USAGE, "the tag \"\"" },
		{ "run --device dev0 --share "
		  "/:0123456789012345678901234567890123456",
		  EXIT_USAGE, "1 to 36 bytes" },
		{ "run --device dev0 --initrd /dev/null true", EXIT_USAGE, "--initrd" },
		{ "run --device dev0 --kernel /nonexistent/vmlinuz", EXIT_REFUSED,
		  "/nonexistent/vmlinuz" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++)
		run_case(&cases[i], devices);
}

/* A daemon that leaves out what is asked for. */
static void test_odd_daemon(void)
{
	static const Case c = { "run --device dev0", EXIT_NO_OBJECT, "no device dev0" };
	static const char *const answers[] = {
		"[]",
		"[{\"id\": \"dev0\"}]",
		"[{\"id\": \"dev0\", \"sockets\": {\"vfio\": \"/x\"}}]",
		"[{\"id\": 7, \"sockets\": {\"vfio\": \"/x\", \"mem\": \"/y\"}}]",
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(answers); i++)
		run_case(&c, answers[i]);
}

/* Nothing is asked and nothing started: the command line alone is wrong. */
static void test_usage(void)
{
	static const Case cases[] = {
		{ "run --cpus 0", EXIT_USAGE, "--cpus" },
		{ "run --cpus 256", EXIT_USAGE, "--cpus" },
		{ "run --memory lots", EXIT_USAGE, "--memory" },
		{ "run --dma maybe", EXIT_USAGE, "--dma" },
		{ "run --device dev0 --dc 1G", EXIT_USAGE, "--dc" },
		{ "run --dc 100M", EXIT_USAGE, "--dc 100M: must be a multiple of 256 MiB" },
		{ "run --ram 1", EXIT_USAGE, "--ram 1: must be" },
		{ "run --ram 1G --pmem 3", EXIT_USAGE, "--pmem 3: must be" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(Fake) fake = fake_new();
		int code;

		fake_run(fake, cases[i].line);
		code = fake_end(fake);
		if (code != cases[i].code || !strstr(fake->err, cases[i].says))
			g_error("%s: exit code %d, says %s", cases[i].line, code, fake->err);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/cli-run/refused", test_refused);
	g_test_add_func("/protocol/cli-run/odd-daemon", test_odd_daemon);
	g_test_add_func("/protocol/cli-run/usage", test_usage);
	return g_test_run();
}

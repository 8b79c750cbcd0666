/* SPDX-License-Identifier: BSD-3-Clause */
/* softdcd-guest-run with pseudo-terminals in place of a machine's serial ports. */

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAIT_MS 60000
#define N_PORTS 3

enum {
	PORT_DATA,
	PORT_ERRORS,
	PORT_CONTROL,
};

typedef struct Run {
	int ports[N_PORTS];  /* our ends */
	int slaves[N_PORTS]; /* open, so that what was written last is not lost at the end */
	GSubprocess *process;
	GByteArray *heard[N_PORTS];
} Run;

/* COMMAND and OPTIONS end with NULL; OPTIONS may be NULL. */
static void start(Run *run, const char *const *options, const char *const *command)
{
	g_autoptr(GPtrArray) argv = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GError) error = NULL;

	g_ptr_array_add(argv, g_strdup(g_getenv("SOFTDCD_GUEST_RUN")));
	for (; options && *options; options++)
		g_ptr_array_add(argv, g_strdup(*options));
	for (unsigned i = 0; i < N_PORTS; i++) {
		char name[64];
		struct termios mode;

		g_assert_cmpint(openpty(&run->ports[i], &run->slaves[i], name, NULL, NULL), ==, 0);
		/* As a serial port that nobody has opened yet echoes nothing. */
		tcgetattr(run->slaves[i], &mode);
		cfmakeraw(&mode);
		tcsetattr(run->slaves[i], TCSANOW, &mode);
		fcntl(run->ports[i], F_SETFD, FD_CLOEXEC);
		fcntl(run->slaves[i], F_SETFD, FD_CLOEXEC);
		g_ptr_array_add(argv, g_strdup(name));
		run->heard[i] = g_byte_array_new();
	}
	for (; *command; command++)
		g_ptr_array_add(argv, g_strdup(*command));
	g_ptr_array_add(argv, NULL);
	run->process = g_subprocess_newv((const char *const *)argv->pdata, G_SUBPROCESS_FLAGS_NONE,
					 &error);
	g_assert_no_error(error);
}

#define WORDS(...)                \
	(const char *const[])     \
	{                         \
		__VA_ARGS__, NULL \
	}

/* Reads what comes until PORT has said TEXT; writes INPUT to the data port meanwhile. */
static void hear(Run *run, unsigned port, const char *text, const char *input, gsize input_len)
{
	gint64 deadline = g_get_monotonic_time() + WAIT_MS * G_TIME_SPAN_MILLISECOND;

	for (;;) {
		struct pollfd fds[N_PORTS];
		const GByteArray *heard = run->heard[port];

		if (heard->len && memmem(heard->data, heard->len, text, strlen(text)))
			return;
		if (g_get_monotonic_time() > deadline)
			g_error("\"%s\" was never said", text);
		for (unsigned i = 0; i < N_PORTS; i++)
			fds[i] = (struct pollfd){ .fd = run->ports[i], .events = POLLIN };
		if (input_len)
			fds[PORT_DATA].events |= POLLOUT;
		g_assert_cmpint(poll(fds, N_PORTS, WAIT_MS), >, 0);
		for (unsigned i = 0; i < N_PORTS; i++) {
			guint8 bytes[4096];
			ssize_t n = fds[i].revents & POLLIN ? read(fds[i].fd, bytes, sizeof(bytes))
							    : 0;

			g_assert_cmpint(n, >=, 0);
			g_byte_array_append(run->heard[i], bytes, (guint)n);
		}
		if (input_len && fds[PORT_DATA].revents & POLLOUT) {
			ssize_t n = write(run->ports[PORT_DATA], input, MIN(input_len, 512));

			g_assert_cmpint(n, >, 0);
			input += n;
			input_len -= (gsize)n;
		}
	}
}

static void tell(Run *run, const char *line)
{
	g_assert_cmpint(write(run->ports[PORT_CONTROL], line, strlen(line)), ==,
			(ssize_t)strlen(line));
}

static void finish(Run *run, int code)
{
	g_autofree char *line = g_strdup_printf("\nexit %d\n", code);
	g_autoptr(GError) error = NULL;

	hear(run, PORT_CONTROL, line, NULL, 0);
	g_assert_true(g_subprocess_wait_check(run->process, NULL, &error));
	g_assert_no_error(error);
}

static void assert_heard(const Run *run, unsigned port, const char *want, gsize len)
{
	g_assert_cmpmem(run->heard[port]->data, run->heard[port]->len, want, len);
}

static void hang_up(Run *run)
{
	for (unsigned i = 0; i < N_PORTS; i++) {
		close(run->ports[i]);
		close(run->slaves[i]);
	}
}

static void clear(Run *run)
{
	hang_up(run);
	for (unsigned i = 0; i < N_PORTS; i++)
		g_byte_array_unref(run->heard[i]);
	g_object_unref(run->process);
}

static void test_output(void)
{
	Run run;

	start(&run, NULL, WORDS("sh", "-c", "printf 'a\\nb'; printf e >&2; exit 7"));
	hear(&run, PORT_CONTROL, "ready\n", NULL, 0);
	finish(&run, 7);
	assert_heard(&run, PORT_DATA, "a\nb", 3);
	assert_heard(&run, PORT_ERRORS, "e", 1);
	clear(&run);
}

/* Every byte value, more than any buffer holds; the end is known only at the end. */
static void test_input(void)
{
	static const char end[] = "the very end";
	gsize len = 300000;
	g_autofree char *bytes = g_malloc(len);
	Run run;

	for (gsize i = 0; i < len; i++)
		bytes[i] = (char)(i * 7 + i / 256);
	memcpy(bytes + len - strlen(end), end, strlen(end));
	start(&run, NULL, WORDS("cat"));
	hear(&run, PORT_CONTROL, "ready\n", NULL, 0);
	hear(&run, PORT_DATA, end, bytes, len);
	tell(&run, "eof 300000\n");
	finish(&run, 0);
	assert_heard(&run, PORT_DATA, bytes, len);
	clear(&run);
}

static void test_early_end(void)
{
	Run run;

	/* The line overtakes the bytes it counts. */
	start(&run, NULL, WORDS("sh", "-c", "cat; echo end"));
	hear(&run, PORT_CONTROL, "ready\n", NULL, 0);
	tell(&run, "rubbish\neof x\neof 5\n");
	hear(&run, PORT_DATA, "12345end\n", "12345", 5);
	finish(&run, 0);
	clear(&run);

	/* Nobody reads. */
	start(&run, NULL, WORDS("true"));
	tell(&run, "eof 0\n");
	finish(&run, 0);
	clear(&run);
}

/* Longer than a line may be: it is none, and the next one is. */
static void test_long_line(void)
{
	g_autofree char *line = g_strnfill(5000, '9');
	Run run;

	memcpy(line, "eof 1", 5);
	line[4999] = '\n';
	start(&run, NULL, WORDS("cat"));
	hear(&run, PORT_CONTROL, "ready\n", NULL, 0);
	tell(&run, line);
	tell(&run, "eof 2\n");
	hear(&run, PORT_DATA, "xy", "xy", 2);
	finish(&run, 0);
	clear(&run);
}

static void test_exit_codes(void)
{
	static const struct {
		const char *script;
		int code;
	} cases[] = {
		{ "exit 0", 0 },
		{ "exit 255", 255 },
		{ "kill -9 $$", 128 + SIGKILL },
		{ "kill -15 $$", 128 + SIGTERM },
	};
	Run run;

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		start(&run, NULL, WORDS("sh", "-c", cases[i].script));
		finish(&run, cases[i].code);
		clear(&run);
	}
	start(&run, NULL, WORDS("/no/such/program"));
	finish(&run, 127);
	g_assert_nonnull(memmem(run.heard[PORT_ERRORS]->data, run.heard[PORT_ERRORS]->len,
				"/no/such/program", 16));
	clear(&run);
	start(&run, NULL, WORDS("/"));
	finish(&run, 126);
	clear(&run);
}

/* A child that keeps its output open does not keep the command's end. */
static void test_leftover_child(void)
{
	Run run;

	start(&run, NULL, WORDS("sh", "-c", "sleep 1000 & echo $!; exit 3"));
	finish(&run, 3);
	g_byte_array_append(run.heard[PORT_DATA], (const guint8 *)"", 1);
	kill((pid_t)atoi((const char *)run.heard[PORT_DATA]->data), SIGKILL);
	clear(&run);
}

/* When nobody is there to hear of its end, it ends, and so does the command. */
static void test_hang_up(void)
{
	Run run;
	pid_t command;

	start(&run, NULL, WORDS("sh", "-c", "echo $$; exec cat"));
	hear(&run, PORT_CONTROL, "ready\n", NULL, 0);
	hear(&run, PORT_DATA, "\n", NULL, 0);
	g_byte_array_append(run.heard[PORT_DATA], (const guint8 *)"", 1);
	command = (pid_t)atoi((const char *)run.heard[PORT_DATA]->data);
	hang_up(&run);
	g_subprocess_wait(run.process, NULL, NULL);
	g_assert_cmpint(g_subprocess_get_exit_status(run.process), ==, 126);
	while (kill(command, 0) == 0)
		g_usleep(1000);
	for (unsigned i = 0; i < N_PORTS; i++)
		g_byte_array_unref(run.heard[i]);
	g_object_unref(run.process);
}

static void test_terminal(void)
{
	Run run;

	start(&run, WORDS("--terminal"),
	      WORDS("sh", "-c",
		    "test -t 0 && test -t 1 && test -t 2 && echo yes; read -r line; "
		    "echo \"<$line>\"; until test \"$(stty size)\" = '33 101'; do sleep 0.02; "
		    "done; "
		    "echo sized; read -r more || echo end"));
	hear(&run, PORT_CONTROL, "ready\n", NULL, 0);
	hear(&run, PORT_DATA, "yes\r\n", NULL, 0);
	hear(&run, PORT_DATA, "<hello>\r\n", "hello\r", 6);
	tell(&run, "winsize 24 99999\nwinsize 33 101\n");
	hear(&run, PORT_DATA, "sized\r\n", NULL, 0);
	tell(&run, "eof 6\n");
	hear(&run, PORT_DATA, "end\r\n", NULL, 0);
	finish(&run, 0);
	clear(&run);
}

static void test_directory(void)
{
	Run run;

	start(&run, WORDS("--directory", "/usr/bin"), WORDS("pwd"));
	finish(&run, 0);
	assert_heard(&run, PORT_DATA, "/usr/bin\n", 9);
	clear(&run);
	start(&run, WORDS("--directory", "/no/such"), WORDS("pwd"));
	finish(&run, 126);
	g_assert_cmpuint(run.heard[PORT_DATA]->len, ==, 0);
	clear(&run);
}

static void test_usage(void)
{
	static const char *const cases[] = { "--terminal", "/dev/null", "--directory" };

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GSubprocess)
			process = g_subprocess_new(G_SUBPROCESS_FLAGS_STDERR_SILENCE, NULL,
						   g_getenv("SOFTDCD_GUEST_RUN"), cases[i], NULL);

		g_assert_true(g_subprocess_wait(process, NULL, NULL));
		g_assert_cmpint(g_subprocess_get_exit_status(process), ==, 126);
	}
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_assert_nonnull(g_getenv("SOFTDCD_GUEST_RUN"));
	g_test_add_func("/protocol/guest-run/output", test_output);
	g_test_add_func("/protocol/guest-run/input", test_input);
	g_test_add_func("/protocol/guest-run/early-end", test_early_end);
	g_test_add_func("/protocol/guest-run/long-line", test_long_line);
	g_test_add_func("/protocol/guest-run/exit-codes", test_exit_codes);
	g_test_add_func("/protocol/guest-run/leftover-child", test_leftover_child);
	g_test_add_func("/protocol/guest-run/hang-up", test_hang_up);
	g_test_add_func("/protocol/guest-run/terminal", test_terminal);
	g_test_add_func("/protocol/guest-run/directory", test_directory);
	g_test_add_func("/protocol/guest-run/usage", test_usage);
	return g_test_run();
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* A guest's stdio: console and keys, a command's protocol, panics, and hostile control lines. */
#include "machine/guest_command.h"
#include "machine/guest_stdio.h"
#include "machine/layout.h"
#include "util/autofd.h"
#include "vm_fake.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define RTS 0x02

enum {
	CONSOLE,
	COMMAND,
	ERRORS,
	CONTROL
};

/* The machine's side are pipes' ends, the guest's the registers of the ports. */
typedef struct Bench {
	KvmVm *vm;
	MachineBus *bus;
	Serial *serials[MACHINE_N_SERIAL];
	GuestStdio *stdio;
	int to_stdin, from_stdout, from_stderr;
	int fds[3];

	GMutex lock;
	GCond changed;
	int code; /* -1: not heard */
	bool panicked, quit;
} Bench;

static void on_end(void *opaque, int code)
{
	Bench *bench = opaque;

	g_mutex_lock(&bench->lock);
	bench->code = code;
	g_cond_signal(&bench->changed);
	g_mutex_unlock(&bench->lock);
}

static void on_panic(void *opaque)
{
	Bench *bench = opaque;

	g_mutex_lock(&bench->lock);
	bench->panicked = true;
	g_cond_signal(&bench->changed);
	g_mutex_unlock(&bench->lock);
}

static void on_quit(void *opaque)
{
	Bench *bench = opaque;

	g_mutex_lock(&bench->lock);
	bench->quit = true;
	g_cond_signal(&bench->changed);
	g_mutex_unlock(&bench->lock);
}

static void make_pipe(int *ret_read, int *ret_write)
{
	int fds[2];

	g_assert_cmpint(pipe(fds), ==, 0);
	*ret_read = fds[0];
	*ret_write = fds[1];
}

static uint8_t in(Bench *bench, unsigned port, unsigned reg)
{
	uint8_t value;

	machine_bus_access(bench->bus, MACHINE_BUS_PIO, machine_serial_ports[port] + reg, &value, 1,
			   false);
	return value;
}

static void out(Bench *bench, unsigned port, unsigned reg, uint8_t value)
{
	machine_bus_access(bench->bus, MACHINE_BUS_PIO, machine_serial_ports[port] + reg, &value, 1,
			   true);
}

static void set_up(Bench *bench, bool has_command, bool shows_console)
{
	GuestStdioConfig config = {
		.serials = bench->serials,
		.has_command = has_command,
		.shows_console = shows_console,
		.command_ended = on_end,
		.panicked = on_panic,
		.quit = on_quit,
		.opaque = bench,
	};
	g_autoptr(GError) error = NULL;

	*bench = (Bench){ .code = -1 };
	g_mutex_init(&bench->lock);
	g_cond_init(&bench->changed);
	bench->vm = vm_fake_new();
	bench->bus = machine_bus_new();
	for (unsigned i = 0; i < MACHINE_N_SERIAL; i++) {
		bench->serials[i] = serial_new(bench->vm, bench->bus, i);
		out(bench, i, 4, RTS);
	}
	make_pipe(&config.in_fd, &bench->to_stdin);
	make_pipe(&bench->from_stdout, &config.out_fd);
	make_pipe(&bench->from_stderr, &config.err_fd);
	bench->fds[0] = config.in_fd;
	bench->fds[1] = config.out_fd;
	bench->fds[2] = config.err_fd;
	bench->stdio = guest_stdio_new(&config, &error);
	g_assert_no_error(error);
}

static void tear_down(Bench *bench)
{
	guest_stdio_free(bench->stdio);
	for (unsigned i = 0; i < MACHINE_N_SERIAL; i++)
		serial_free(bench->serials[i]);
	machine_bus_free(bench->bus);
	kvm_vm_free(bench->vm);
	for (unsigned i = 0; i < 3; i++)
		fd_close_auto(&bench->fds[i]);
	fd_close_auto(&bench->to_stdin);
	fd_close_auto(&bench->from_stdout);
	fd_close_auto(&bench->from_stderr);
	g_mutex_clear(&bench->lock);
	g_cond_clear(&bench->changed);
}

/* The guest writes. */
static void tell(Bench *bench, unsigned port, const char *text)
{
	for (; *text; text++) {
		while (!(in(bench, port, 5) & 0x20))
			g_thread_yield();
		out(bench, port, 0, (uint8_t)*text);
	}
}

/* The guest reads exactly this, waiting for it. */
static void expect(Bench *bench, unsigned port, const char *text)
{
	gint64 deadline = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;

	for (; *text; text++) {
		while (!(in(bench, port, 5) & 1)) {
			g_assert_cmpint(g_get_monotonic_time(), <, deadline);
			g_thread_yield();
		}
		g_assert_cmpint(in(bench, port, 0), ==, *text);
	}
}

/* FD's next bytes are exactly these. */
static void expect_fd(int fd, const char *text)
{
	g_autofree char *got = g_malloc0(strlen(text) + 1);
	size_t len = 0;

	while (len < strlen(text)) {
		ssize_t n = read(fd, got + len, strlen(text) - len);

		g_assert_cmpint(n, >, 0);
		len += (size_t)n;
	}
	g_assert_cmpstr(got, ==, text);
}

static void type(Bench *bench, const char *text)
{
	g_assert_cmpint(write(bench->to_stdin, text, strlen(text)), ==, (ssize_t)strlen(text));
}

static bool wait_for(Bench *bench, const bool *what)
{
	gint64 deadline = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
	bool ok;

	g_mutex_lock(&bench->lock);
	while (!*what && g_cond_wait_until(&bench->changed, &bench->lock, deadline))
		;
	ok = *what;
	g_mutex_unlock(&bench->lock);
	return ok;
}

static int wait_code(Bench *bench)
{
	gint64 deadline = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
	int code;

	g_mutex_lock(&bench->lock);
	while (bench->code < 0 && g_cond_wait_until(&bench->changed, &bench->lock, deadline))
		;
	code = bench->code;
	g_mutex_unlock(&bench->lock);
	return code;
}

/* ---- a command ---- */

static void test_command(void)
{
	int code = -1;
	Bench bench;

	set_up(&bench, true, false);
	type(&bench, "input");
	tell(&bench, CONTROL, "ready\n");
	expect(&bench, COMMAND, "input");
	type(&bench, "more");
	fd_close_auto(&bench.to_stdin);
	expect(&bench, COMMAND, "more");
	expect(&bench, CONTROL, "eof 9\n");
	tell(&bench, COMMAND, "output");
	tell(&bench, ERRORS, "errors");
	tell(&bench, CONSOLE, "kernel");
	expect_fd(bench.from_stdout, "output");
	expect_fd(bench.from_stderr, "errors");
	tell(&bench, CONTROL, "exit 7\n");
	g_assert_cmpint(wait_code(&bench), ==, 7);
	guest_stdio_finish(bench.stdio);
	g_assert_true(guest_stdio_command_code(bench.stdio, &code));
	g_assert_cmpint(code, ==, 7);
	g_assert_cmpstr(guest_stdio_console(bench.stdio), ==, "kernel");
	g_assert_false(guest_stdio_has_panicked(bench.stdio));
	tear_down(&bench);
}

/* Nothing reaches the guest before it listens. */
static void test_not_ready(void)
{
	Bench bench;

	set_up(&bench, true, false);
	type(&bench, "input");
	fd_close_auto(&bench.to_stdin);
	tell(&bench, CONTROL, "read\nready \nREADY\n");
	tell(&bench, CONTROL, "exit 3\n");
	g_assert_cmpint(wait_code(&bench), ==, 3);
	g_assert_cmphex(in(&bench, COMMAND, 5) & 1, ==, 0);
	g_assert_cmphex(in(&bench, CONTROL, 5) & 1, ==, 0);
	tear_down(&bench);
}

static void test_bad_lines(void)
{
	static const char *const lines[] = {
		"exit 256\n", "exit -1\n", "exit\n",       "exit \n",    "exit 7 8\n",
		"exit 0x7\n", "\n",        "ex\001it 7\n", "  exit 7\n", "exit 7exit 7\n"
	};
	g_autofree char *much = g_strnfill(100000, 'x');
	int code = -1;
	Bench bench;

	set_up(&bench, true, false);
	for (unsigned i = 0; i < G_N_ELEMENTS(lines); i++)
		tell(&bench, CONTROL, lines[i]);
	tell(&bench, CONTROL, much);
	/* Still the same line. */
	tell(&bench, CONTROL, "exit 9\n");
	tell(&bench, CONTROL, "exit 4\r\nexit 5\n");
	g_assert_cmpint(wait_code(&bench), ==, 4);
	guest_stdio_finish(bench.stdio);
	g_assert_true(guest_stdio_command_code(bench.stdio, &code));
	g_assert_cmpint(code, ==, 4);
	tear_down(&bench);
}

#define LAST_WORDS 60000

static void *read_last_words(void *opaque)
{
	Bench *bench = opaque;
	g_autofree char *words = g_strnfill(LAST_WORDS, 'w');

	expect_fd(bench->from_stdout, words);
	return NULL;
}

/* What it has written when it ends is not lost: its end waits for a slow reader. */
static void test_last_words(void)
{
	g_autofree char *words = g_strnfill(LAST_WORDS, 'w');
	pthread_t reader;
	int code;
	Bench bench;

	set_up(&bench, true, true);
	tell(&bench, COMMAND, words);
	tell(&bench, CONSOLE, "kernel");
	tell(&bench, CONTROL, "exit 0\n");
	pthread_create(&reader, NULL, read_last_words, &bench);
	guest_stdio_finish(bench.stdio);
	pthread_join(reader, NULL);
	g_assert_true(guest_stdio_command_code(bench.stdio, &code));
	expect_fd(bench.from_stderr, "kernel");
	tear_down(&bench);
}

/* ---- a console ---- */

static void test_console(void)
{
	Bench bench;

	set_up(&bench, false, false);
	type(&bench, "ls\n");
	expect(&bench, CONSOLE, "ls\n");
	tell(&bench, CONSOLE, "file\r\n");
	expect_fd(bench.from_stdout, "file\r\n");
	/* The ports of commands are nobody's, but do not stop a guest that writes there. */
	for (unsigned i = 0; i < 100000; i++)
		out(&bench, COMMAND, 0, 'x');
	g_assert_cmphex(in(&bench, COMMAND, 5) & 0x60, ==, 0x60);
	tear_down(&bench);
}

/* "Rebooting" follows on its own in one case only. */
static void test_panic(void)
{
	Bench bench;

	set_up(&bench, true, false);
	tell(&bench, CONSOLE, "[    1.0] Kernel pan");
	tell(&bench, CONSOLE, "ic - not syncing: it hurts\n");
	tell(&bench, CONSOLE, "[    1.1] ---[ end Kernel panic - not syncing: it hurts ]---\n");
	g_assert_true(wait_for(&bench, &bench.panicked));
	guest_stdio_finish(bench.stdio);
	g_assert_true(guest_stdio_has_panicked(bench.stdio));
	tear_down(&bench);

	set_up(&bench, true, false);
	tell(&bench, CONSOLE, "Kernel panic - not syncing: it hurts\n");
	guest_stdio_finish(bench.stdio);
	g_assert_true(guest_stdio_has_panicked(bench.stdio));
	g_assert_false(bench.panicked);
	tear_down(&bench);
}

/* A console without end is kept in part. */
static void test_long_console(void)
{
	char line[64];
	Bench bench;

	set_up(&bench, true, false);
	for (unsigned i = 0; i < 10000; i++) {
		snprintf(line, sizeof(line), "line %06u of something long enough\n", i);
		tell(&bench, CONSOLE, line);
	}
	guest_stdio_finish(bench.stdio);
	g_assert_true(g_str_has_suffix(guest_stdio_console(bench.stdio), line));
	g_assert_cmpuint(strlen(guest_stdio_console(bench.stdio)), <=, 65536);
	tear_down(&bench);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/machine/stdio/command", test_command);
	g_test_add_func("/machine/stdio/not-ready", test_not_ready);
	g_test_add_func("/machine/stdio/bad-lines", test_bad_lines);
	g_test_add_func("/machine/stdio/last-words", test_last_words);
	g_test_add_func("/machine/stdio/console", test_console);
	g_test_add_func("/machine/stdio/panic", test_panic);
	g_test_add_func("/machine/stdio/long-console", test_long_console);
	return g_test_run();
}

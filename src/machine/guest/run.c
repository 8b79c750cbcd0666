/* SPDX-License-Identifier: BSD-3-Clause */
/* softdcd-guest-run: runs one command in a guest for whoever sits outside. */

/*
 * Design. A static program of libc alone, because what a guest's root has is not known. What goes
 * over the ports is in guest_command.h: DATA, ERRORS and CONTROL are COM2 to COM4. One loop moves
 * bytes: each direction is a pump with a buffer of its own, so that one that is stuck holds up no
 * other. A terminal outside becomes a pseudo-terminal here, else the command has three pipes.
 */
#include "machine/guest_command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define USAGE "usage: softdcd-guest-run [--terminal] DATA ERRORS CONTROL COMMAND [ARGUMENT...]\n"

#define BUFFER_LEN  32768
#define END_OF_FILE '\4' /* what a terminal takes for it */

/* Exit codes of a shell */
#define EXIT_CANNOT_RUN 126
#define EXIT_NOT_FOUND  127
#define EXIT_SIGNAL     128

/* Bytes on their way. FROM and TO are -1 when nothing more comes or is wanted. */
typedef struct Pump {
	int from, to;
	size_t start, len;
	uint64_t total; /* taken from FROM */
	char buffer[BUFFER_LEN];
} Pump;

typedef struct Runner {
	bool is_terminal;
	const char *directory;     /* the command's; NULL = ours */
	int data, errors, control; /* ports */
	int child_in, child_out, child_err;
	int signals;
	pid_t pid;
	int exit_code; /* -1: it runs */
	Pump in, out, err;
	bool has_end; /* of the input: after END bytes */
	uint64_t end;
	char line[GUEST_COMMAND_MAX_LINE + 1];
	size_t line_len;
} Runner;

static void fail(const char *what)
{
	fprintf(stderr, "softdcd-guest-run: %s: %s\n", what, strerror(errno));
	exit(EXIT_CANNOT_RUN);
}

static void set_nonblocking(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);

	(void)fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
}

/* Eight bits, nothing interpreted; RTS falls when there is no room, so that nothing gets lost. */
static int open_port(const char *path)
{
	int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	struct termios mode;

	if (fd < 0 || tcgetattr(fd, &mode) != 0)
		fail(path);
	cfmakeraw(&mode);
	mode.c_cflag |= CLOCAL | CREAD | CRTSCTS;
	cfsetspeed(&mode, B115200);
	if (tcsetattr(fd, TCSANOW, &mode) != 0)
		fail(path);
	return fd;
}

/* ---- the command ---- */

static _Noreturn void become_command(const Runner *runner, const int fds[3], char **argv)
{
	sigset_t none;
	int why;

	setsid();
	if (runner->is_terminal)
		(void)ioctl(fds[0], TIOCSCTTY, 0);
	for (int i = 0; i < 3; i++)
		(void)dup2(fds[i], i);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (runner->directory && chdir(runner->directory) != 0)
		fail(runner->directory);
	execvp(argv[0], argv);
	why = errno;
	fprintf(stderr, "%s: %s\n", argv[0], strerror(why));
	_exit(why == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN);
}

static void open_terminal(Runner *runner, int child[3])
{
	int master;

	if (openpty(&master, &child[0], NULL, NULL, NULL) != 0)
		fail("openpty");
	child[1] = child[2] = child[0];
	runner->child_in = runner->child_out = master;
	runner->child_err = -1;
	(void)fcntl(master, F_SETFD, FD_CLOEXEC);
}

static void open_pipes(Runner *runner, int child[3])
{
	int in[2], out[2], err[2];

	if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0)
		fail("pipe2");
	child[0] = in[0];
	child[1] = out[1];
	child[2] = err[1];
	runner->child_in = in[1];
	runner->child_out = out[0];
	runner->child_err = err[0];
}

static void start_command(Runner *runner, char **argv)
{
	int child[3];

	if (runner->is_terminal)
		open_terminal(runner, child);
	else
		open_pipes(runner, child);
	runner->pid = fork();
	if (runner->pid < 0)
		fail("fork");
	if (runner->pid == 0)
		become_command(runner, child, argv);
	for (int i = 0; i < 3; i++) {
		if (i == 0 || child[i] != child[0])
			close(child[i]);
	}
	set_nonblocking(runner->child_in, true);
	set_nonblocking(runner->child_out, true);
	if (runner->child_err >= 0)
		set_nonblocking(runner->child_err, true);
}

static void reap(Runner *runner)
{
	struct signalfd_siginfo info;
	int status;

	while (read(runner->signals, &info, sizeof(info)) > 0)
		;
	if (runner->exit_code >= 0 || waitpid(runner->pid, &status, WNOHANG) != runner->pid)
		return;
	runner->exit_code = WIFEXITED(status) ? WEXITSTATUS(status)
					      : EXIT_SIGNAL + WTERMSIG(status);
}

/* ---- pumps ---- */

static bool is_for_later(ssize_t n)
{
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

static void pump_in(Pump *pump)
{
	ssize_t n;

	if (pump->len == 0)
		pump->start = 0;
	if (pump->from < 0 || pump->start + pump->len == BUFFER_LEN)
		return;
	n = read(pump->from, pump->buffer + pump->start + pump->len,
		 BUFFER_LEN - pump->start - pump->len);
	if (is_for_later(n))
		return;
	/* Linux: a pseudo-terminal that nobody has open any more fails with EIO. */
	if (n <= 0) {
		pump->from = -1;
		return;
	}
	pump->len += (size_t)n;
	pump->total += (uint64_t)n;
}

static void pump_out(Pump *pump)
{
	ssize_t n;

	if (pump->to < 0) {
		pump->len = 0; /* nobody wants it */
		return;
	}
	if (pump->len == 0)
		return;
	n = write(pump->to, pump->buffer + pump->start, pump->len);
	if (is_for_later(n))
		return;
	if (n < 0) {
		pump->to = -1;
		return;
	}
	pump->start += (size_t)n;
	pump->len -= (size_t)n;
}

static bool has_room(const Pump *pump)
{
	return pump->len == 0 || pump->start + pump->len < BUFFER_LEN;
}

/* The command's input is at its end: all of it has been passed on. */
static void end_input(Runner *runner)
{
	Pump *in = &runner->in;

	if (!runner->has_end || in->total < runner->end || in->len || runner->child_in < 0)
		return;
	if (runner->is_terminal) {
		(void)!write(runner->child_in, &(char){ END_OF_FILE }, 1);
		runner->has_end = false; /* said once */
		return;
	}
	close(runner->child_in);
	runner->child_in = -1;
	in->to = -1;
}

/* ---- the control port ---- */

static void say(Runner *runner, const char *line)
{
	set_nonblocking(runner->control, false);
	(void)!write(runner->control, line, strlen(line));
	(void)tcdrain(runner->control);
	set_nonblocking(runner->control, true);
}

static void take_line(Runner *runner, const char *line)
{
	struct winsize size = { 0 };
	unsigned rows, columns;
	unsigned long long end;

	if (sscanf(line, "eof %llu", &end) == 1) {
		runner->has_end = true;
		runner->end = end;
	} else if (sscanf(line, "winsize %u %u", &rows, &columns) == 2 && runner->is_terminal) {
		size.ws_row = (unsigned short)rows;
		size.ws_col = (unsigned short)columns;
		(void)ioctl(runner->child_in, TIOCSWINSZ, &size);
	}
}

/* What is too long for a line is none, up to its end. */
static void hear(Runner *runner)
{
	char bytes[64];
	ssize_t n = read(runner->control, bytes, sizeof(bytes));

	/* Whoever sat outside is gone: nobody would hear of an end either. */
	if (n == 0 || (n < 0 && !is_for_later(n))) {
		kill(-runner->pid, SIGHUP);
		fail("control port");
	}
	for (ssize_t i = 0; i < n; i++) {
		if (bytes[i] != '\n') {
			if (runner->line_len < sizeof(runner->line))
				runner->line[runner->line_len++] = bytes[i];
			continue;
		}
		if (runner->line_len < sizeof(runner->line)) {
			runner->line[runner->line_len] = '\0';
			take_line(runner, runner->line);
		}
		runner->line_len = 0;
	}
}

/* ---- the loop ---- */

static struct pollfd wish(int fd, short events)
{
	return (struct pollfd){ .fd = events ? fd : -1, .events = events };
}

static void wait_for_something(const Runner *runner)
{
	const Pump *pumps[] = { &runner->in, &runner->out, &runner->err };
	struct pollfd fds[8] = { wish(runner->signals, POLLIN), wish(runner->control, POLLIN) };
	nfds_t n = 2;

	for (size_t i = 0; i < 3; i++) {
		fds[n++] = wish(pumps[i]->from, has_room(pumps[i]) ? POLLIN : 0);
		fds[n++] = wish(pumps[i]->to, pumps[i]->len ? POLLOUT : 0);
	}
	(void)poll(fds, n, -1);
}

/* Whether what the command has written so far has all gone out. Its children may still have its
 * output open: they are not waited for. */
static bool is_drained(Runner *runner)
{
	Pump *pumps[] = { &runner->out, &runner->err };

	for (size_t i = 0; i < 2; i++) {
		pump_in(pumps[i]);
		if (pumps[i]->len)
			return false;
	}
	return true;
}

static void run(Runner *runner)
{
	while (runner->exit_code < 0 || !is_drained(runner)) {
		wait_for_something(runner);
		reap(runner);
		hear(runner);
		pump_in(&runner->in);
		pump_out(&runner->in);
		end_input(runner);
		pump_in(&runner->out);
		pump_out(&runner->out);
		pump_in(&runner->err);
		pump_out(&runner->err);
	}
}

static void open_signals(Runner *runner)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	runner->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (runner->signals < 0)
		fail("signalfd");
}

static void drain_port(int fd)
{
	set_nonblocking(fd, false);
	(void)tcdrain(fd);
}

int main(int argc, char **argv)
{
	static Runner runner = { .exit_code = -1 };
	char line[32];

	argv++;
	if (*argv && strcmp(*argv, "--terminal") == 0) {
		runner.is_terminal = true;
		argv++;
	}
	if (*argv && strcmp(*argv, "--directory") == 0 && argv[1]) {
		runner.directory = argv[1];
		argv += 2;
	}
	if (!argv[0] || !argv[1] || !argv[2] || !argv[3]) {
		fputs(USAGE, stderr);
		return EXIT_CANNOT_RUN;
	}
	runner.data = open_port(argv[0]);
	runner.errors = open_port(argv[1]);
	runner.control = open_port(argv[2]);
	open_signals(&runner);
	start_command(&runner, argv + 3);
	runner.in.from = runner.data;
	runner.in.to = runner.child_in;
	runner.out.from = runner.child_out;
	runner.out.to = runner.data;
	runner.err.from = runner.child_err;
	runner.err.to = runner.errors;
	say(&runner, "ready\n");
	run(&runner);
	drain_port(runner.data);
	drain_port(runner.errors);
	snprintf(line, sizeof(line), "exit %d\n", runner.exit_code);
	say(&runner, line);
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Starts a keeper so that nothing that ends the daemon ends it too. */
#include "keeper/keeper_client.h"

#include "util/autofd.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define READY_FD     3
#define READY_FD_ARG "3"
#define HIGH_FD      10 /* out of the way of what is moved below */

static void spawn_error(GError **error, const char *program, const char *text)
{
	g_set_error(error, KEEPER_CLIENT_ERROR, KEEPER_CLIENT_ERROR_FAILED, "keeper %s: %s",
		    program, text);
}

char *keeper_find_program(GError **error)
{
	const char *named = g_getenv("SOFTDCD_KEEPER");
	g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
	g_autofree char *dir = self != NULL ? g_path_get_dirname(self) : g_strdup("/");
	const char *const places[] = { ".", "../libexec/softdcd" };

	if (named != NULL && *named != '\0') {
		if (g_file_test(named, G_FILE_TEST_IS_EXECUTABLE))
			return g_strdup(named);
		spawn_error(error, named, "SOFTDCD_KEEPER names no program");
		return NULL;
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(places); i++) {
		g_autofree char *path = g_build_filename(dir, places[i], "softdcd-keeper", NULL);

		if (g_file_test(path, G_FILE_TEST_IS_EXECUTABLE))
			return g_canonicalize_filename(path, NULL);
	}
	if (g_file_test(SOFTDCD_LIBEXECDIR "/softdcd-keeper", G_FILE_TEST_IS_EXECUTABLE))
		return g_strdup(SOFTDCD_LIBEXECDIR "/softdcd-keeper");
	g_set_error(error, KEEPER_CLIENT_ERROR, KEEPER_CLIENT_ERROR_FAILED,
		    "softdcd-keeper: found neither in %s nor in %s; install it, or name it in "
		    "SOFTDCD_KEEPER",
		    dir, SOFTDCD_LIBEXECDIR);
	return NULL;
}

/* Only async-signal-safe calls from here to exec: another thread may have held any lock. */
static _Noreturn void child_fail(int fd, const char *what, int errno_value)
{
	const char *why = strerrordesc_np(errno_value);

	if (write(fd, what, strlen(what)) > 0 && why != NULL)
		(void)!write(fd, why, strlen(why));
	_exit(1);
}

static _Noreturn void become_keeper(int ready_fd, char *const argv[])
{
	static char *const no_environment[] = { NULL };
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct sigaction action = { .sa_handler = SIG_DFL };
	sigset_t none;

	sigemptyset(&action.sa_mask);
	for (int number = 1; number < NSIG; number++)
		(void)sigaction(number, &action, NULL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);

	ready_fd = fcntl(ready_fd, F_DUPFD_CLOEXEC, HIGH_FD);
	null_fd = fcntl(null_fd, F_DUPFD_CLOEXEC, HIGH_FD);
	if (ready_fd < 0 || null_fd < 0)
		_exit(1);
	for (int fd = 0; fd < READY_FD; fd++) {
		if (dup2(null_fd, fd) < 0)
			child_fail(ready_fd, "no /dev/null: ", errno);
	}
	if (dup2(ready_fd, READY_FD) < 0)
		child_fail(ready_fd, "no descriptor: ", errno);
	/* Not one of the daemon's may stay open: sockets, locks and guests' memory least of all. */
	if (close_range(READY_FD + 1, ~0u, 0) != 0)
		child_fail(READY_FD, "cannot close what it must not have: ", errno);
	execve(argv[0], argv, no_environment);
	child_fail(READY_FD, "cannot be executed: ", errno);
}

/* Reads what the keeper has to say until it is ready, or has ended. */
static bool wait_until_ready(int fd, unsigned timeout_ms, const char *program, GError **error)
{
	gint64 deadline = g_get_monotonic_time() + (gint64)timeout_ms * 1000;
	char text[512] = { 0 };
	size_t len = 0;

	while (len < sizeof(text) - 1) {
		gint64 left_ms = MAX(0, deadline - g_get_monotonic_time()) / 1000;
		struct pollfd polled = { .fd = fd, .events = POLLIN };
		int n = poll(&polled, 1, (int)left_ms);
		ssize_t got;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			g_set_error(error, KEEPER_CLIENT_ERROR, KEEPER_CLIENT_ERROR_TIMED_OUT,
				    "keeper %s: did not start within %u ms", program, timeout_ms);
			return false;
		}
		got = read(fd, text + len, sizeof(text) - 1 - len);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		len += (size_t)got;
		if (strcmp(text, "ready\n") == 0)
			return true;
	}
	spawn_error(error, program, len > 0 ? text : "ended before it was ready");
	return false;
}

bool keeper_spawn(const char *program, const char *socket_path, unsigned timeout_ms, GError **error)
{
	char *const argv[] = {
		(char *)program,
		(char *)"--ready-fd",
		(char *)READY_FD_ARG,
		(char *)socket_path,
		NULL,
	};
	AUTOFD int read_fd = -EBADF;
	AUTOFD int write_fd = -EBADF;
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) != 0) {
		spawn_error(error, program, g_strerror(errno));
		return false;
	}
	read_fd = ends[0];
	write_fd = ends[1];
	pid = fork();
	if (pid < 0) {
		spawn_error(error, program, g_strerror(errno));
		return false;
	}
	if (pid == 0) {
		/* Neither our terminal and process group, nor our child: nobody waits for it. */
		if (setsid() < 0)
			_exit(1);
		pid = fork();
		if (pid != 0)
			_exit(pid < 0);
		become_keeper(write_fd, argv);
	}
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	close(fd_steal(&write_fd));
	return wait_until_ready(read_fd, timeout_ms, program, error);
}

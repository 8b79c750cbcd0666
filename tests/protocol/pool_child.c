/* SPDX-License-Identifier: BSD-3-Clause */
/* Host processes other than the test's own: the same program again, playing a role. */
#include "pool_child.h"

#include "mem_link_raw.h"

#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define CONTROL_FD 3
#define ROLE       "--role="

extern char **environ;

void child_main(int argc, char **argv, const TestRole *roles, size_t n_roles)
{
	if (argc != 2 || !g_str_has_prefix(argv[1], ROLE))
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (size_t i = 0; i < n_roles; i++) {
		if (strcmp(argv[1] + strlen(ROLE), roles[i].name) == 0) {
			roles[i].run(CONTROL_FD);
			exit(0);
		}
	}
	exit(1);
}

/* ---- in the parent ---- */

/* Not fork(): the pool's threads, and the sanitizers', would be copied half. */
TestChild child_spawn(const char *role)
{
	g_autofree char *arg = g_strconcat(ROLE, role, NULL);
	char *argv[] = { (char *)"/proc/self/exe", arg, NULL };
	g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
	posix_spawn_file_actions_t actions;
	TestChild child;
	int pair[2];

	raw_pair(pair);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, pair[1], CONTROL_FD);
	/* What it prints is not TAP. */
	posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
	g_assert_cmpint(posix_spawn(&child.pid, self, &actions, NULL, argv, environ), ==, 0);
	posix_spawn_file_actions_destroy(&actions);
	close(pair[1]);
	child.control = pair[0];
	return child;
}

unsigned child_take_fds(TestChild *child, int *fds, unsigned max)
{
	struct pollfd pfd = { .fd = child->control, .events = POLLIN };
	int n = 0;
	char word;

	g_assert_cmpint(poll(&pfd, 1, WAIT_MS), ==, 1);
	g_assert_cmpint(fdpass_recv(child->control, &word, 1, fds, (int)max, &n, 0), ==, 1);
	g_assert_cmpint(word, ==, 'F');
	return (unsigned)n;
}

void child_attach(TestChild *child, Pool *pool, PoolDevice *device)
{
	g_autoptr(GError) error = NULL;
	int fds[2] = { -1, -1 };

	child_take_fds(child, fds, 2);
	pool_attach_host(pool, device, fds[0], fds[1], &error);
	g_assert_no_error(error);
}

void child_end(TestChild *child, bool kill_it)
{
	int status;

	if (kill_it)
		kill(child->pid, SIGKILL);
	g_assert_cmpint(waitpid(child->pid, &status, 0), ==, child->pid);
	if (kill_it)
		g_assert_true(WIFSIGNALED(status));
	else
		g_assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	close(child->control);
}

/* ---- in both ---- */

void child_tell(int control, char word)
{
	g_assert_cmpint(send(control, &word, 1, MSG_NOSIGNAL), ==, 1);
}

char child_hear(int control)
{
	struct pollfd pfd = { .fd = control, .events = POLLIN };
	char word;

	g_assert_cmpint(poll(&pfd, 1, WAIT_MS), ==, 1);
	g_assert_cmpint(recv(control, &word, 1, 0), ==, 1);
	return word;
}

/* ---- in the child ---- */

TestHost *child_connect(int control, bool with_link)
{
	struct iovec iov = { .iov_base = (void *)"F", .iov_len = 1 };
	int vfu[2], mem[2] = { -1, -1 };
	int send_fds[2];

	/* Whoever makes a socket pair is its peer's name, wherever its ends go. */
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, vfu), ==, 0);
	if (with_link)
		raw_pair(mem);
	send_fds[0] = vfu[0];
	send_fds[1] = mem[0];
	g_assert_cmpint(fdpass_send(control, &iov, 1, send_fds, with_link ? 2 : 1, 0), ==, 1);
	close(vfu[0]);
	if (with_link)
		close(mem[0]);
	return test_host_on(vfu[1], mem[1], 0);
}

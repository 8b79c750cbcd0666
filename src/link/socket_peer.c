/* SPDX-License-Identifier: BSD-3-Clause */
/* Which process is at the other end of a UNIX socket: told apart even when its pid is used again.
 */
#include "link/socket_peer.h"

#include <glib.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SO_PEERPIDFD /* Debian 12's headers are older than the kernels it may run on */
#define SO_PEERPIDFD 77
#endif

#define START_BITS 40
#define BOOT_BITS  23

static uint64_t boot_number(void)
{
	g_autofree char *text = NULL;

	if (!g_file_get_contents("/proc/sys/kernel/random/boot_id", &text, NULL, NULL))
		return 0;
	return g_str_hash(text) & ((UINT64_C(1) << BOOT_BITS) - 1);
}

/* Field 22 of /proc/PID/stat. */
static uint64_t start_ticks(pid_t pid)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)pid);
	g_autofree char *text = NULL;
	g_auto(GStrv) fields = NULL;
	const char *rest;

	if (!g_file_get_contents(path, &text, NULL, NULL))
		return 0;
	/* The second field is the program's name in parentheses and may hold anything. */
	rest = strrchr(text, ')');
	if (!rest)
		return 0;
	fields = g_strsplit(rest + 1, " ", 0);
	/* rest begins with a space, so fields[1] is field 3 of the file. */
	return g_strv_length(fields) > 20 ? g_ascii_strtoull(fields[20], NULL, 10) : 0;
}

uint64_t socket_peer_start_time(pid_t pid)
{
	uint64_t ticks = pid > 0 ? start_ticks(pid) : 0;

	return ticks ? boot_number() << START_BITS | (ticks & ((UINT64_C(1) << START_BITS) - 1))
		     : 0;
}

static bool has_ended(int pidfd)
{
	struct pollfd state = { .fd = pidfd, .events = POLLIN };

	return poll(&state, 1, 0) != 0;
}

int socket_peer_open(pid_t pid, uint64_t start_time)
{
	int pidfd;

	if (pid <= 0 || start_time == 0)
		return -1;
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	/* Before pidfd_open the pid may have passed to another process. */
	if (pidfd >= 0 && (has_ended(pidfd) || socket_peer_start_time(pid) != start_time)) {
		close(pidfd);
		return -1;
	}
	return pidfd;
}

static int peer_pidfd(int fd, pid_t pid)
{
	int pidfd = -1;
	socklen_t len = sizeof(pidfd);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &len) == 0)
		return pidfd;
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

bool socket_peer_get(int fd, SocketPeer *ret)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	*ret = (SocketPeer){ .uid = (uid_t)-1, .gid = (gid_t)-1, .pidfd = -1 };
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return false;
	ret->pid = cred.pid;
	ret->uid = cred.uid;
	ret->gid = cred.gid;
	/* Of another pid namespace: there is nothing to tell it by. */
	if (cred.pid <= 0)
		return true;
	ret->pidfd = peer_pidfd(fd, cred.pid);
	if (ret->pidfd < 0)
		return true;
	ret->start_time = socket_peer_start_time(cred.pid);
	/* What was read is of this process only if it is still there. */
	if (ret->start_time == 0 || has_ended(ret->pidfd)) {
		socket_peer_clear(ret);
		ret->start_time = 0;
	}
	return true;
}

void socket_peer_clear(SocketPeer *peer)
{
	if (peer->pidfd >= 0)
		close(peer->pidfd);
	peer->pidfd = -1;
}

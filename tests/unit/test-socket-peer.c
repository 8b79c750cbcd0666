/* SPDX-License-Identifier: BSD-3-Clause */
/* Who is at the other end of a socket, also when that process is gone or its pid is another's. */
#include "link/socket_peer.h"
#include "processes.h"

#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_self(void)
{
	unsigned n_fds = count_fds();
	SocketPeer peer;
	int pair[2];

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
	g_assert_true(socket_peer_get(pair[0], &peer));
	g_assert_cmpint(peer.pid, ==, getpid());
	g_assert_cmpint(peer.uid, ==, geteuid());
	g_assert_cmpint(peer.pidfd, >=, 0);
	g_assert_cmphex(fcntl(peer.pidfd, F_GETFD) & FD_CLOEXEC, ==, FD_CLOEXEC);
	g_assert_cmpuint(peer.start_time, !=, 0);
	g_assert_cmpuint(peer.start_time, <, (uint64_t)INT64_MAX);
	g_assert_cmpuint(peer.start_time, ==, socket_peer_start_time(getpid()));
	socket_peer_clear(&peer);
	g_assert_cmpint(peer.pidfd, ==, -1);
	socket_peer_clear(&peer);
	close(pair[0]);
	close(pair[1]);
	g_assert_cmpuint(count_fds(), ==, n_fds);
}

static void test_no_socket(void)
{
	SocketPeer peer;

	g_assert_false(socket_peer_get(STDIN_FILENO, &peer) && peer.pid != 0);
	g_assert_cmpint(peer.pidfd, ==, -1);
}

/* A child connects to a listening socket, then lives until it is told. */
typedef struct Client {
	int listener, socket;
	int stop[2];
	pid_t pid;
} Client;

static void client_start(Client *client)
{
	g_autofree char *dir = g_dir_make_tmp("softdcd-peer.XXXXXX", NULL);
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char byte;

	g_snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", dir);
	client->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	g_assert_cmpint(bind(client->listener, (struct sockaddr *)&address, sizeof(address)), ==,
			0);
	g_assert_cmpint(listen(client->listener, 1), ==, 0);
	g_assert_cmpint(pipe(client->stop), ==, 0);
	client->pid = fork();
	if (client->pid == 0) {
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);

		close(client->stop[1]);
		if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
			_exit(1);
		(void)!read(client->stop[0], &byte, 1);
		_exit(0);
	}
	close(client->stop[0]);
	client->socket = accept4(client->listener, NULL, NULL, SOCK_CLOEXEC);
	g_assert_cmpint(client->socket, >=, 0);
	unlink(address.sun_path);
	rmdir(dir);
}

static void client_end(Client *client)
{
	close(client->stop[1]);
	g_assert_cmpint(waitpid(client->pid, NULL, 0), ==, client->pid);
}

static void client_clear(Client *client)
{
	close(client->socket);
	close(client->listener);
}

static void test_client(void)
{
	Client client;
	SocketPeer peer;
	struct pollfd state;
	int again;

	client_start(&client);
	g_assert_true(socket_peer_get(client.socket, &peer));
	g_assert_cmpint(peer.pid, ==, client.pid);
	g_assert_cmpuint(peer.start_time, ==, socket_peer_start_time(client.pid));
	again = socket_peer_open(peer.pid, peer.start_time);
	g_assert_cmpint(again, >=, 0);
	close(again);
	/* Another process of that pid, before or after it. */
	g_assert_cmpint(socket_peer_open(peer.pid, peer.start_time - 1), ==, -1);
	g_assert_cmpint(socket_peer_open(peer.pid, peer.start_time + 1), ==, -1);
	g_assert_cmpint(socket_peer_open(peer.pid, 0), ==, -1);
	/* The same pid and time of another boot. */
	g_assert_cmpint(socket_peer_open(peer.pid, peer.start_time ^ UINT64_C(1) << 41), ==, -1);
	state = (struct pollfd){ .fd = peer.pidfd, .events = POLLIN };
	g_assert_cmpint(poll(&state, 1, 0), ==, 0);
	client_end(&client);
	g_assert_cmpint(poll(&state, 1, 10000), ==, 1);
	g_assert_cmpint(socket_peer_open(peer.pid, peer.start_time), ==, -1);
	socket_peer_clear(&peer);
	client_clear(&client);
}

/* It ended between connecting and our looking: nobody is taken for it. */
static void test_gone(void)
{
	unsigned n_fds;
	Client client;
	SocketPeer peer;

	client_start(&client);
	client_end(&client);
	n_fds = count_fds();
	g_assert_true(socket_peer_get(client.socket, &peer));
	g_assert_cmpint(peer.pid, ==, client.pid);
	g_assert_cmpint(peer.pidfd, ==, -1);
	g_assert_cmpuint(peer.start_time, ==, 0);
	g_assert_cmpuint(count_fds(), ==, n_fds);
	client_clear(&client);
}

/* Dead, but its parent has not looked yet: /proc still has it. */
static void test_zombie(void)
{
	Client client;
	SocketPeer peer;
	siginfo_t info;

	client_start(&client);
	close(client.stop[1]);
	g_assert_cmpint(waitid(P_PID, (id_t)client.pid, &info, WEXITED | WNOWAIT), ==, 0);
	g_assert_true(socket_peer_get(client.socket, &peer));
	g_assert_cmpint(peer.pidfd, ==, -1);
	g_assert_cmpint(socket_peer_open(client.pid, socket_peer_start_time(client.pid)), ==, -1);
	g_assert_cmpint(waitpid(client.pid, NULL, 0), ==, client.pid);
	client_clear(&client);
}

#define P "/unit/socket-peer/"

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func(P "self", test_self);
	g_test_add_func(P "no-socket", test_no_socket);
	g_test_add_func(P "client", test_client);
	g_test_add_func(P "gone", test_gone);
	g_test_add_func(P "zombie", test_zombie);
	return g_test_run();
}

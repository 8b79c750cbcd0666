/* SPDX-License-Identifier: BSD-3-Clause */
/* A keeper in a directory of its own, and raw messages to it. */
#ifndef TESTS_KEEPER_FIXTURE_H
#define TESTS_KEEPER_FIXTURE_H

#include "keeper/keeper_client.h"
#include "keeper/keeper_wire.h"
#include "util/fdpass.h"
#include "util/nofile.h"
#include "util/peer_cred.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_MS 60000 /* for what must come; only a test that fails waits this long */

typedef struct Keeper {
	char *dir, *path, *program;
} Keeper;

/* The keeper is nobody's child: made ours when its parent ends, it can be waited for. */
static inline void keeper_setup(Keeper *keeper, gconstpointer data)
{
	g_autoptr(GError) error = NULL;

	g_assert_cmpint(prctl(PR_SET_CHILD_SUBREAPER, 1), ==, 0);
	keeper->dir = g_dir_make_tmp("softdcd-keeper-XXXXXX", &error);
	g_assert_no_error(error);
	keeper->path = g_build_filename(keeper->dir, "keeper.sock", NULL);
	keeper->program = keeper_find_program(&error);
	g_assert_no_error(error);
}

static inline int raw_connect(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	g_assert_cmpint(sock, >=, 0);
	g_assert_cmpuint(strlen(path), <, sizeof(address.sun_path));
	strcpy(address.sun_path, path);
	if (connect(sock, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return sock;
	close(sock);
	return -1;
}

/* For a test that is another user, who may have no way to where the program is. */
static inline void keeper_give_to_nobody(Keeper *keeper)
{
	g_autofree char *copy = g_build_filename(keeper->dir, "softdcd-keeper", NULL);
	g_autofree char *bytes = NULL;
	gsize len;

	g_assert_true(g_file_get_contents(keeper->program, &bytes, &len, NULL));
	g_assert_true(g_file_set_contents(copy, bytes, (gssize)len, NULL));
	g_assert_cmpint(chmod(copy, 0755), ==, 0);
	g_assert_cmpint(chown(keeper->dir, 65534, 65534), ==, 0);
	g_free(keeper->program);
	keeper->program = g_steal_pointer(&copy);
}

/* 0 if nobody serves the socket. */
static inline pid_t keeper_pid(const Keeper *keeper)
{
	int sock = raw_connect(keeper->path);
	PeerCred cred = { 0 };

	if (sock < 0)
		return 0;
	g_assert_cmpint(peer_cred_get(sock, &cred), ==, 0);
	close(sock);
	return cred.pid;
}

static inline int wait_for_exit(pid_t pid)
{
	gint64 deadline = g_get_monotonic_time() + (gint64)WAIT_MS * 1000;
	int status;

	while (waitpid(pid, &status, WNOHANG) != pid) {
		g_assert_cmpint(g_get_monotonic_time(), <, deadline);
		g_usleep(1000);
	}
	return status;
}

static inline void keeper_kill(const Keeper *keeper)
{
	pid_t pid = keeper_pid(keeper);

	g_assert_cmpint(pid, >, 0);
	g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
	wait_for_exit(pid);
}

static inline void keeper_teardown(Keeper *keeper, gconstpointer data)
{
	g_autoptr(GDir) dir = NULL;
	const char *name;

	if (keeper_pid(keeper) > 0)
		keeper_kill(keeper);
	while (waitpid(-1, NULL, WNOHANG) > 0) /* those that found another one there */
		;
	dir = g_dir_open(keeper->dir, 0, NULL);
	while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
		g_autofree char *path = g_build_filename(keeper->dir, name, NULL);

		g_assert_cmpint(unlink(path), ==, 0);
	}
	g_rmdir(keeper->dir);
	g_free(keeper->dir);
	g_free(keeper->path);
	g_free(keeper->program);
}

static inline void keeper_start(const Keeper *keeper)
{
	g_autoptr(GError) error = NULL;

	keeper_spawn(keeper->program, keeper->path, WAIT_MS, &error);
	g_assert_no_error(error);
}

/* A memfd of LEN bytes that begins with KEY. */
static inline int make_file(uint64_t key, uint64_t len)
{
	int fd = memfd_create("keeper-test", MFD_CLOEXEC);

	g_assert_cmpint(fd, >=, 0);
	g_assert_cmpint(ftruncate(fd, (off_t)len), ==, 0);
	g_assert_cmpint(pwrite(fd, &key, sizeof(key), 0), ==, sizeof(key));
	return fd;
}

static inline KeeperItem make_item(uint64_t key, int fd)
{
	KeeperItem item = { .incarnation = key, .len = 4096, .fd = fd };

	g_snprintf(item.label, sizeof(item.label), "label-%" PRIu64, key);
	return item;
}

static inline void check_file(const KeeperItem *item)
{
	g_autofree char *label = g_strdup_printf("label-%" PRIu64, item->incarnation);
	uint64_t key = 0;

	g_assert_cmpuint(item->len, ==, 4096);
	g_assert_cmpstr(item->label, ==, label);
	g_assert_cmpint(pread(item->fd, &key, sizeof(key), 0), ==, sizeof(key));
	g_assert_cmpuint(key, ==, item->incarnation);
	g_assert_cmpint(fcntl(item->fd, F_GETFD) & FD_CLOEXEC, !=, 0);
}

static inline void raw_send(int sock, const void *bytes, size_t len, const int *fds, int n_fds)
{
	struct iovec iov = { .iov_base = (void *)bytes, .iov_len = len };

	g_assert_cmpint(fdpass_send(sock, &iov, 1, fds, n_fds, 0), ==, (int)len);
}

/* The length of the packet, 0 at the end of the connection; no descriptors are expected. */
static inline size_t raw_recv(int sock, void *bytes, size_t len)
{
	struct pollfd polled = { .fd = sock, .events = POLLIN };
	int n_fds = 0;
	ssize_t got;

	g_assert_cmpint(poll(&polled, 1, WAIT_MS), ==, 1);
	got = fdpass_recv(sock, bytes, len, NULL, 0, &n_fds, MSG_DONTWAIT);
	if (got == -ECONNRESET) /* closed with something of ours unread */
		return 0;
	g_assert_cmpint(got, >=, 0);
	return (size_t)got;
}

static inline KeeperHeader make_header(unsigned type, unsigned n, uint32_t id)
{
	return (KeeperHeader){
		.type = le16_put((uint16_t)type),
		.n = le16_put((uint16_t)n),
		.id = le32_put(id),
	};
}

static inline KeeperHello make_hello(KeeperRole role)
{
	return (KeeperHello){
		.header = make_header(KEEPER_HELLO, 0, 7),
		.magic = le32_put(KEEPER_MAGIC),
		.version = le16_put(KEEPER_VERSION),
		.role = le16_put((uint16_t)role),
	};
}

/* Connected and welcome. */
static inline int raw_hello(const Keeper *keeper, KeeperRole role, KeeperWelcome *ret_welcome)
{
	KeeperHello hello = make_hello(role);
	KeeperWelcome welcome;
	int sock = raw_connect(keeper->path);

	g_assert_cmpint(sock, >=, 0);
	raw_send(sock, &hello, sizeof(hello), NULL, 0);
	g_assert_cmpuint(raw_recv(sock, &welcome, sizeof(welcome)), ==, sizeof(welcome));
	g_assert_cmpuint(le16_get(welcome.header.type), ==, KEEPER_WELCOME);
	if (ret_welcome != NULL)
		*ret_welcome = welcome;
	return sock;
}

static inline KeeperRc raw_status(int sock, uint32_t id, uint32_t *ret_count)
{
	KeeperStatus status;

	g_assert_cmpuint(raw_recv(sock, &status, sizeof(status)), ==, sizeof(status));
	g_assert_cmpuint(le16_get(status.header.type), ==, KEEPER_STATUS);
	g_assert_cmpuint(le32_get(status.header.id), ==, id);
	if (ret_count != NULL)
		*ret_count = le32_get(status.count);
	return (KeeperRc)le32_get(status.rc);
}

static inline void raw_expect_end(int sock)
{
	char byte;

	g_assert_cmpuint(raw_recv(sock, &byte, 1), ==, 0);
	close(sock);
}

static inline KeeperClient *make_client(const Keeper *keeper)
{
	return keeper_client_new(keeper->path, keeper->program, WAIT_MS);
}

static inline GArray *make_items(uint64_t first_key, unsigned n)
{
	GArray *items = g_array_sized_new(FALSE, FALSE, sizeof(KeeperItem), n);

	for (unsigned i = 0; i < n; i++) {
		KeeperItem item = make_item(first_key + i, make_file(first_key + i, 4096));

		g_array_append_val(items, item);
	}
	return items;
}

static inline KeeperItem *item_at(GArray *items, unsigned i)
{
	return &g_array_index(items, KeeperItem, i);
}

static inline void free_items(GArray *items)
{
	for (unsigned i = 0; i < items->len; i++)
		close(item_at(items, i)->fd);
	g_array_unref(items);
}

static inline void store_items(KeeperClient *client, GArray *items)
{
	g_autoptr(GError) error = NULL;

	keeper_store(client, item_at(items, 0), items->len, &error);
	g_assert_no_error(error);
}

/* Returned: exactly these keys, each with its file. */
static inline void check_held(KeeperClient *client, uint64_t first_key, unsigned n)
{
	g_autoptr(GError) error = NULL;
	g_autoptr(GArray) fetched = keeper_fetch_all(client, &error);
	g_autoptr(GArray) listed = NULL;
	g_autofree bool *seen = g_new0(bool, n + 1);

	g_assert_no_error(error);
	g_assert_cmpuint(fetched->len, ==, n);
	for (unsigned i = 0; i < n; i++) {
		uint64_t index = item_at(fetched, i)->incarnation - first_key;

		g_assert_cmpuint(index, <, n);
		g_assert_false(seen[index]);
		seen[index] = true;
		check_file(item_at(fetched, i));
	}
	listed = keeper_list(client, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(listed->len, ==, n);
	for (unsigned i = 0; i < n; i++) {
		g_assert_cmpint(item_at(listed, i)->fd, ==, -1);
		g_assert_cmpuint(item_at(listed, i)->incarnation, ==,
				 item_at(fetched, i)->incarnation);
	}
}

#endif

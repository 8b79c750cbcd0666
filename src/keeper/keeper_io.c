/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets to and from the keeper, each within its time. */
#include "keeper/keeper_io.h"

#include "util/autofd.h"
#include "util/fdpass.h"
#include "util/peer_cred.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define RETRY_MS 2 /* between looks at what cannot be waited for */

GQuark keeper_client_error_quark(void)
{
	return g_quark_from_static_string("keeper-client-error");
}

static void fail(const KeeperIo *io, KeeperClientError code, GError **error, const char *format,
		 ...) G_GNUC_PRINTF(4, 5);

static void fail(const KeeperIo *io, KeeperClientError code, GError **error, const char *format,
		 ...)
{
	g_autofree char *text = NULL;
	va_list args;

	va_start(args, format);
	text = g_strdup_vprintf(format, args);
	va_end(args);
	g_set_error(error, KEEPER_CLIENT_ERROR, (gint)code, "keeper %s: %s", io->path, text);
}

void keeper_io_close(KeeperIo *io)
{
	if (io->sock >= 0)
		close(io->sock);
	io->sock = -1;
}

static gint64 deadline_of(const KeeperIo *io)
{
	return g_get_monotonic_time() + (gint64)io->timeout_ms * 1000;
}

static int ms_until(gint64 deadline)
{
	gint64 left = deadline - g_get_monotonic_time();

	return left <= 0 ? 0 : (int)((left + 999) / 1000);
}

static bool fail_lost(KeeperIo *io, int errno_value, GError **error)
{
	keeper_io_close(io);
	io->lost = true;
	fail(io, KEEPER_CLIENT_ERROR_FAILED, error, "the keeper has gone: %s",
	     errno_value != 0 ? g_strerror(errno_value) : "it closed the connection");
	return false;
}

static bool fail_timed_out(KeeperIo *io, GError **error)
{
	keeper_io_close(io);
	fail(io, KEEPER_CLIENT_ERROR_TIMED_OUT, error, "the keeper does not answer within %u ms",
	     io->timeout_ms);
	return false;
}

void keeper_io_protocol_error(KeeperIo *io, const char *what, GError **error)
{
	keeper_io_close(io);
	fail(io, KEEPER_CLIENT_ERROR_FAILED, error, "the keeper breaks the protocol: %s", what);
}

/* False and the error when the time is up. */
static bool wait_for(KeeperIo *io, short events, gint64 deadline, GError **error)
{
	struct pollfd polled = { .fd = io->sock, .events = events };
	int n;

	do {
		n = poll(&polled, 1, ms_until(deadline));
	} while (n < 0 && errno == EINTR);
	return n > 0 || fail_timed_out(io, error);
}

static bool send_packet(KeeperIo *io, const struct iovec *iov, int n_iov, const int *fds, int n_fds,
			GError **error)
{
	gint64 deadline = deadline_of(io);

	for (;;) {
		ssize_t sent = fdpass_send(io->sock, iov, n_iov, fds, n_fds, MSG_DONTWAIT);

		if (sent >= 0)
			return true;
		if (sent == -EAGAIN) {
			if (!wait_for(io, POLLOUT, deadline, error))
				return false;
		} else if (sent == -ETOOMANYREFS || sent == -ENOBUFS) {
			/* As many descriptors are under way as we may have open: the keeper takes
			 * them as it gets on, and no event tells when. */
			if (ms_until(deadline) == 0)
				return fail_timed_out(io, error);
			g_usleep(RETRY_MS * 1000);
		} else {
			return fail_lost(io, (int)-sent, error);
		}
	}
}

uint32_t keeper_io_send(KeeperIo *io, KeeperType type, uint32_t n, const void *body, size_t len,
			const int *fds, GError **error)
{
	KeeperHeader header;
	struct iovec iov[] = {
		{ .iov_base = &header, .iov_len = sizeof(header) },
		{ .iov_base = (void *)body, .iov_len = len },
	};
	uint32_t id = ++io->next_id;

	if (id == 0) /* which is what nobody asked for */
		id = ++io->next_id;
	header = (KeeperHeader){
		.type = le16_put((uint16_t)type),
		.n = le16_put((uint16_t)n),
		.id = le32_put(id),
	};
	if (!send_packet(io, iov, len > 0 ? 2 : 1, fds, fds != NULL ? (int)n : 0, error))
		return 0;
	return id;
}

void keeper_packet_close_fds(KeeperPacket *packet)
{
	for (int i = 0; i < packet->n_fds; i++)
		close(packet->fds[i]);
	packet->n_fds = 0;
}

static bool is_well_formed(KeeperPacket *packet, size_t len)
{
	if (len < sizeof(KeeperHeader))
		return false;
	packet->type = (KeeperType)le16_load(packet->bytes + offsetof(KeeperHeader, type));
	packet->n = le16_load(packet->bytes + offsetof(KeeperHeader, n));
	packet->id = le32_load(packet->bytes + offsetof(KeeperHeader, id));
	switch (packet->type) {
	case KEEPER_WELCOME:
		return len == sizeof(KeeperWelcome) && packet->n_fds == 0;
	case KEEPER_STATUS:
		if (len != sizeof(KeeperStatus) || packet->n_fds != 0)
			return false;
		memcpy(&packet->status, packet->bytes, sizeof(packet->status));
		return true;
	case KEEPER_ITEMS:
		return packet->n <= KEEPER_MAX_FDS &&
		       len == sizeof(KeeperHeader) + packet->n * sizeof(KeeperWireItem) &&
		       (packet->n_fds == 0 || packet->n_fds == packet->n);
	default:
		return false;
	}
}

bool keeper_io_recv(KeeperIo *io, KeeperPacket *packet, GError **error)
{
	ssize_t len;

	packet->n_fds = 0;
	if (!wait_for(io, POLLIN, deadline_of(io), error))
		return false;
	len = fdpass_recv(io->sock, packet->bytes, sizeof(packet->bytes), packet->fds,
			  KEEPER_MAX_FDS, &packet->n_fds, MSG_DONTWAIT);
	if (len == -EPROTO) {
		keeper_io_close(io);
		fail(io, KEEPER_CLIENT_ERROR_FAILED, error,
		     "its descriptors do not fit: raise the limit of open files (RLIMIT_NOFILE, "
		     "LimitNOFILE=)");
		return false;
	}
	if (len <= 0)
		return fail_lost(io, (int)-len, error);
	if (!is_well_formed(packet, (size_t)len)) {
		keeper_packet_close_fds(packet);
		keeper_io_protocol_error(io, "a message is malformed", error);
		return false;
	}
	if (packet->type == KEEPER_STATUS && packet->id == 0) {
		io->superseded = le32_get(packet->status.rc) == KEEPER_SUPERSEDED;
		keeper_io_close(io);
		if (io->superseded)
			fail(io, KEEPER_CLIENT_ERROR_SUPERSEDED, error,
			     "another daemon of this pool has taken over");
		else
			fail(io, KEEPER_CLIENT_ERROR_FAILED, error, "the keeper sent us away (%u)",
			     (unsigned)le32_get(packet->status.rc));
		return false;
	}
	return true;
}

void keeper_io_check(KeeperIo *io)
{
	struct pollfd polled = { .fd = io->sock, .events = POLLIN };
	g_autofree KeeperPacket *packet = NULL;

	if (io->sock < 0 || poll(&polled, 1, 0) <= 0)
		return;
	/* Nothing is due: whatever it is, the connection has come to its end. */
	packet = g_new(KeeperPacket, 1);
	if (keeper_io_recv(io, packet, NULL)) {
		keeper_packet_close_fds(packet);
		keeper_io_close(io);
	}
}

static bool connect_socket(KeeperIo *io, GError **error)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	gint64 deadline = deadline_of(io);
	PeerCred cred;

	if (strlen(io->path) >= sizeof(address.sun_path)) {
		fail(io, KEEPER_CLIENT_ERROR_FAILED, error, "a socket's path has at most %zu bytes",
		     sizeof(address.sun_path) - 1);
		return false;
	}
	strcpy(address.sun_path, io->path);
	io->sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (io->sock < 0) {
		fail(io, KEEPER_CLIENT_ERROR_FAILED, error, "no socket: %s", g_strerror(errno));
		return false;
	}
	while (connect(io->sock, (const struct sockaddr *)&address, sizeof(address)) != 0) {
		int saved_errno = errno;

		if (saved_errno == EINTR)
			continue;
		if (saved_errno == EAGAIN && ms_until(deadline) > 0) { /* its backlog is full */
			g_usleep(RETRY_MS * 1000);
			continue;
		}
		if (saved_errno == EAGAIN)
			return fail_timed_out(io, error);
		keeper_io_close(io);
		io->lost = saved_errno == ENOENT || saved_errno == ECONNREFUSED;
		fail(io, KEEPER_CLIENT_ERROR_FAILED, error, "%s",
		     io->lost ? "no keeper is there" : g_strerror(saved_errno));
		return false;
	}
	if (peer_cred_get(io->sock, &cred) != 0 || !peer_cred_is_trusted(&cred)) {
		keeper_io_close(io);
		fail(io, KEEPER_CLIENT_ERROR_FAILED, error,
		     "it is served by another user: memory is not given to it");
		return false;
	}
	return true;
}

static bool say_hello(KeeperIo *io, KeeperRole role, KeeperPacket *packet, GError **error)
{
	KeeperHello hello = {
		.magic = le32_put(KEEPER_MAGIC),
		.version = le16_put(KEEPER_VERSION),
		.role = le16_put((uint16_t)role),
	};
	KeeperWelcome welcome;
	uint32_t id = keeper_io_send(io, KEEPER_HELLO, 0, &hello.magic,
				     sizeof(hello) - sizeof(hello.header), NULL, error);

	if (id == 0 || !keeper_io_recv(io, packet, error))
		return false;
	memcpy(&welcome, packet->bytes, sizeof(welcome));
	if (packet->type != KEEPER_WELCOME || packet->id != id ||
	    le32_get(welcome.magic) != KEEPER_MAGIC ||
	    le16_get(welcome.version) != KEEPER_VERSION || le64_get(welcome.instance) == 0) {
		keeper_packet_close_fds(packet);
		keeper_io_protocol_error(io, "it does not welcome us", error);
		return false;
	}
	io->instance = le64_get(welcome.instance);
	return true;
}

bool keeper_io_connect(KeeperIo *io, KeeperRole role, GError **error)
{
	g_autofree KeeperPacket *packet = g_new(KeeperPacket, 1);

	keeper_io_close(io);
	io->lost = false;
	return connect_socket(io, error) && say_hello(io, role, packet, error);
}

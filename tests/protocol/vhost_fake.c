/* SPDX-License-Identifier: BSD-3-Clause */
/* A vhost-user daemon as a process of its own: the test program started once more. */
#include "vhost_fake.h"

#include "machine/vhost_user_wire.h"
#include "util/fdpass.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define N_QUEUES  2
#define MAX_BYTES 512

typedef struct FakeRegion {
	uint64_t gpa, len;
	void *at;
} FakeRegion;

typedef struct Fake {
	int sock;
	unsigned traits;
	enum fake_lie lie;
	uint32_t lie_at;
	unsigned lie_in; /* so many requests of that kind from now */
	FakeRegion regions[16];
	unsigned n_regions;
	int kick_fds[N_QUEUES], call_fds[N_QUEUES];
	bool enabled[N_QUEUES];
	bool runs[N_QUEUES];        /* has been given a KICK, and not stopped */
	bool may_be_late[N_QUEUES]; /* a request begun before a region went may use it still */
} Fake;

static void check(bool is_right, const char *what)
{
	if (is_right)
		return;
	printf("fake: %s\n", what);
	fflush(stdout);
	_exit(99);
}

static void unmap(Fake *fake, unsigned index)
{
	munmap(fake->regions[index].at, fake->regions[index].len);
	fake->regions[index] = fake->regions[--fake->n_regions];
}

static void map(Fake *fake, const VhostUserWireRegion *region, int fd)
{
	FakeRegion *mine = &fake->regions[fake->n_regions++];

	mine->gpa = le64_get(region->gpa);
	mine->len = le64_get(region->len);
	mine->at = mmap(NULL, mine->len, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			(off_t)le64_get(region->offset));
	check(mine->at != MAP_FAILED, "mmap");
	close(fd);
}

/* ---- requests ---- */

static uint64_t set_table(Fake *fake, const VhostUserTable *table, const int *fds, int n_fds)
{
	check((int)le32_get(table->n) == n_fds, "a descriptor for each region");
	while (fake->n_regions > 0)
		unmap(fake, 0);
	for (int i = 0; i < n_fds; i++)
		map(fake, &table->regions[i], fds[i]);
	return 0;
}

static uint64_t remove_one(Fake *fake, const VhostUserOneRegion *one)
{
	memcpy(fake->may_be_late, fake->runs, sizeof(fake->runs));
	for (unsigned i = 0; i < fake->n_regions; i++) {
		if (fake->regions[i].gpa == le64_get(one->region.gpa) &&
		    fake->regions[i].len == le64_get(one->region.len)) {
			unmap(fake, i);
			return 0;
		}
	}
	return 1;
}

static void take_fd(int *slots, const uint8_t *payload, const int *fds, int n_fds)
{
	uint64_t value = le64_load(payload);
	int *slot = &slots[value & 0xff];

	check((value & 0xff) < N_QUEUES, "a ring there is");
	check(n_fds == ((value & VHOST_USER_RING_NO_FD) == 0), "a descriptor, or the flag");
	if (*slot >= 0)
		close(*slot);
	*slot = n_fds == 1 ? fds[0] : -1;
}

static void stop_ring(Fake *fake, unsigned ring)
{
	fake->enabled[ring] = false;
	fake->runs[ring] = false;
	fake->may_be_late[ring] = false;
}

/* The value of its reply or acknowledgement. */
static uint64_t serve(Fake *fake, uint32_t request, const uint8_t *payload, const int *fds,
		      int n_fds)
{
	const VhostUserOneRegion *one = (const void *)payload;
	unsigned ring = le32_load(payload) % N_QUEUES; /* where the request is about one */

	switch (request) {
	case VHOST_USER_GET_FEATURES:
		return FAKE_FEATURES | ((fake->traits & FAKE_LEGACY) != 0 ? 0 : CXL_BIT64(32)) |
		       ((fake->traits & FAKE_OLD) != 0 ? 0 : VHOST_USER_F_PROTOCOL_FEATURES);
	case VHOST_USER_GET_PROTOCOL_FEATURES:
		return VHOST_USER_PROTOCOL_F_MQ | CXL_BIT64(1) |
		       ((fake->traits & FAKE_NO_ACK) != 0 ? 0 : VHOST_USER_PROTOCOL_F_REPLY_ACK) |
		       ((fake->traits & FAKE_SLOTS) != 0 ? VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS
							 : 0);
	case VHOST_USER_GET_QUEUE_NUM:
		return (fake->traits & FAKE_ONE_QUEUE) != 0 ? 1 : N_QUEUES;
	case VHOST_USER_GET_MAX_MEM_SLOTS:
		return FAKE_N_SLOTS;
	case VHOST_USER_SET_MEM_TABLE:
		return set_table(fake, (const void *)payload, fds, n_fds);
	case VHOST_USER_ADD_MEM_REG:
		check(n_fds == 1, "one descriptor with a region");
		check(!fake->may_be_late[0] && !fake->may_be_late[1], "a ring was waited for");
		map(fake, &one->region, fds[0]);
		return 0;
	case VHOST_USER_REM_MEM_REG:
		check(n_fds == 0, "no descriptor with a region that goes");
		return remove_one(fake, one);
	case VHOST_USER_SET_VRING_KICK:
		take_fd(fake->kick_fds, payload, fds, n_fds);
		fake->runs[ring] = true;
		return 0;
	case VHOST_USER_SET_VRING_CALL:
		take_fd(fake->call_fds, payload, fds, n_fds);
		return 0;
	case VHOST_USER_SET_VRING_ENABLE:
		fake->enabled[ring] = le32_load(payload + 4) != 0;
		fake->may_be_late[ring] = false;
		return 0;
	case VHOST_USER_GET_VRING_BASE:
		stop_ring(fake, ring);
		/* A ring state: index and base, in one number. */
		return le32_load(payload) | UINT64_C(7) << 32;
	default:
		return 0;
	}
}

static bool has_own_reply(uint32_t request)
{
	switch (request) {
	case VHOST_USER_GET_FEATURES:
	case VHOST_USER_GET_PROTOCOL_FEATURES:
	case VHOST_USER_GET_QUEUE_NUM:
	case VHOST_USER_GET_MAX_MEM_SLOTS:
	case VHOST_USER_GET_VRING_BASE:
		return true;
	default:
		return false;
	}
}

/* ---- replies, and lies ---- */

static void send_bytes(const Fake *fake, const void *bytes, size_t len, size_t step, int n_fds)
{
	int fds[] = { 0, 1 };

	for (size_t done = 0; done < len; done += step) {
		struct iovec iov = { (uint8_t *)bytes + done,
				     len - done < step ? len - done : step };

		(void)fdpass_send(fake->sock, &iov, 1, fds, done == 0 ? n_fds : 0, 0);
	}
}

static _Noreturn void wait_forever(void)
{
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	for (;;)
		pause();
}

static void reply(Fake *fake, uint32_t request, uint64_t value, enum fake_lie lie)
{
	static uint8_t bytes[70000];
	VhostUserHeader *header = (void *)bytes;
	size_t len = sizeof(*header) + 8;

	*header = (VhostUserHeader){
		.request = le32_put(request),
		.flags = le32_put(VHOST_USER_VERSION | VHOST_USER_IS_REPLY),
		.len = le32_put(8),
	};
	le64_store(bytes + sizeof(*header), value);
	switch (lie) {
	case LIE_REQUEST:
		header->request = le32_put(request + 1);
		break;
	case LIE_VERSION:
		header->flags = le32_put(2 | VHOST_USER_IS_REPLY);
		break;
	case LIE_NO_REPLY:
		header->flags = le32_put(VHOST_USER_VERSION);
		break;
	case LIE_SHORT:
		header->len = le32_put(4);
		len -= 4;
		break;
	case LIE_LONG:
		header->len = le32_put(sizeof(bytes) - sizeof(*header));
		len = sizeof(bytes);
		break;
	case LIE_EOF:
		close(fake->sock);
		wait_forever();
	case LIE_EXIT:
		printf("no more of this\n");
		fflush(stdout);
		_exit(3);
	case LIE_SILENT:
		wait_forever();
	case LIE_HALF:
		send_bytes(fake, bytes, 6, 6, 0);
		wait_forever();
	case LIE_TWICE:
		memcpy(bytes + len, bytes, len);
		len *= 2;
		break;
	case LIE_REFUSE:
		le64_store(bytes + sizeof(*header), 1);
		break;
	default:
		break;
	}
	send_bytes(fake, bytes, len, lie == LIE_DRIP ? 1 : len, lie == LIE_FDS ? 2 : 0);
}

/* Descriptors come with the first byte of a message. */
static bool receive(const Fake *fake, void *buf, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t got = fdpass_recv(fake->sock, (uint8_t *)buf + done, len - done, NULL, 0,
					  &(int){ 0 }, 0);

		if (got <= 0)
			return false;
		done += (size_t)got;
	}
	return true;
}

static bool handle_one(Fake *fake)
{
	uint8_t payload[MAX_BYTES];
	VhostUserHeader header;
	uint32_t request, flags, len;
	enum fake_lie lie = LIE_NONE;
	int fds[8];
	int n_fds = 0;
	uint64_t value;
	ssize_t got = fdpass_recv(fake->sock, &header, sizeof(header), fds, 8, &n_fds, 0);

	if (got <= 0)
		return false;
	check(got == sizeof(header), "headers come whole");
	request = le32_get(header.request);
	flags = le32_get(header.flags);
	len = le32_get(header.len);
	check((flags & VHOST_USER_VERSION_MASK) == VHOST_USER_VERSION, "version 1");
	check(len <= sizeof(payload), "a short payload");
	if (!receive(fake, payload, len))
		return false;
	printf("%u:", request);
	for (uint32_t i = 0; i < len && i < 40; i++)
		printf("%s%02x", i % 8 == 0 ? " " : "", payload[i]);
	printf("\n");
	fflush(stdout);
	if (request == fake->lie_at && fake->lie_in-- == 0)
		lie = fake->lie;
	value = serve(fake, request, payload, fds, n_fds);
	if (has_own_reply(request) || (flags & VHOST_USER_NEED_REPLY) != 0)
		reply(fake, request, value, lie);
	return true;
}

static void handle_kick(const Fake *fake, unsigned ring)
{
	uint64_t count;

	if (read(fake->kick_fds[ring], &count, sizeof(count)) == sizeof(count) &&
	    fake->enabled[ring] && fake->call_fds[ring] >= 0)
		(void)!write(fake->call_fds[ring], &count, sizeof(count));
}

static int serve_all(Fake *fake)
{
	for (;;) {
		struct pollfd polled[] = {
			{ .fd = fake->sock, .events = POLLIN },
			{ .fd = fake->kick_fds[0], .events = POLLIN },
			{ .fd = fake->kick_fds[1], .events = POLLIN },
		};

		if (poll(polled, 3, -1) < 0)
			continue;
		for (unsigned i = 0; i < N_QUEUES; i++) {
			if (polled[1 + i].revents != 0)
				handle_kick(fake, i);
		}
		if (polled[0].revents != 0 && !handle_one(fake))
			return 0;
	}
}

int fake_main(int argc, char **argv)
{
	Fake fake = { .sock = 3, .kick_fds = { -1, -1 }, .call_fds = { -1, -1 } };

	check(argc == 6, "arguments");
	fake.traits = (unsigned)strtoul(argv[2], NULL, 10);
	fake.lie = (enum fake_lie)strtoul(argv[3], NULL, 10);
	fake.lie_at = (uint32_t)strtoul(argv[4], NULL, 10);
	fake.lie_in = (unsigned)strtoul(argv[5], NULL, 10);
	if ((fake.traits & FAKE_LISTENS) != 0) {
		int listening = fake.sock;

		fake.sock = accept(listening, NULL, NULL);
		check(fake.sock >= 0, "accept");
		close(listening);
	}
	if ((fake.traits & FAKE_FORKS) != 0) {
		pid_t pid = fork();

		if (pid > 0) {
			close(fake.sock);
			while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
				;
			return 0;
		}
	}
	return serve_all(&fake);
}

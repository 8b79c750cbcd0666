/* SPDX-License-Identifier: BSD-3-Clause */
/* The vfio-user server and descriptors: eventfds to keep, all others to refuse and to close. */
#include "vfu-fixture.h"

#include <linux/aio_abi.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

static GByteArray *bind_request(unsigned id, unsigned vector, unsigned n)
{
	const VfuIrqSet set = {
		.argsz = le32_put(sizeof(set)),
		.flags = le32_put(VFU_IRQ_DATA_EVENTFD | VFU_IRQ_ACTION_TRIGGER),
		.index = le32_put(VFU_IRQ_MSIX),
		.start = le32_put(vector),
		.count = le32_put(n),
	};

	return message(id, VFU_DEVICE_SET_IRQS, 0, &set, sizeof(set));
}

static GByteArray *bind_reply(unsigned id)
{
	return message(id, VFU_DEVICE_SET_IRQS, 1, NULL, 0);
}

static uint64_t fired(int eventfd)
{
	uint64_t n = 0;

	return read(eventfd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

/* ---- interrupts ---- */

static void bind_vectors(Fake *fake, int sock, unsigned vector, const int *fds, unsigned n,
			 unsigned n_fds)
{
	g_autoptr(GByteArray) request = bind_request(5, vector, n);
	g_autoptr(GByteArray) reply = bind_reply(5);

	g_assert_true(raw_send(sock, request->data, request->len, fds, n_fds));
	fake_pump(fake);
	expect_bytes(sock, reply);
}

static void send_ok(Fake *fake, int sock, const char *payload)
{
	g_autoptr(GByteArray) request = message_hex(6, VFU_DEVICE_SET_IRQS, 0, payload);
	g_autoptr(GByteArray) reply = bind_reply(6);

	g_assert_true(send_bytes(sock, request));
	fake_pump(fake);
	expect_bytes(sock, reply);
}

static void test_irqs(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autoptr(GByteArray) reset = message(3, VFU_DEVICE_RESET, 0, NULL, 0);
	g_autoptr(GByteArray) reset_reply = message(3, VFU_DEVICE_RESET, 1, NULL, 0);
	int sock = fake_client(fake);
	unsigned before = count_fds();
	int fds[N_VECTORS];

	for (unsigned i = 0; i < N_VECTORS; i++)
		fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	vfu_server_irq(fake->server, VFU_IRQ_MSIX, 0);
	bind_vectors(fake, sock, 0, fds, N_VECTORS, N_VECTORS);
	for (unsigned i = 0; i < N_VECTORS; i++) {
		vfu_server_irq(fake->server, VFU_IRQ_MSIX, i);
		for (unsigned j = 0; j < N_VECTORS; j++)
			g_assert_cmpuint(fired(fds[j]), ==, i == j);
	}
	vfu_server_irq(fake->server, VFU_IRQ_MSIX, N_VECTORS);
	vfu_server_irq(fake->server, VFU_N_IRQ_INDEXES, 0);
	vfu_server_irq(fake->server, UINT_MAX, UINT_MAX);

	/* Replaced: vector 3 by the eventfd of 7. Taken back: vector 4. */
	bind_vectors(fake, sock, 3, &fds[7], 1, 1);
	bind_vectors(fake, sock, 4, NULL, 1, 0);
	for (unsigned i = 0; i < N_VECTORS; i++)
		vfu_server_irq(fake->server, VFU_IRQ_MSIX, i);
	g_assert_cmpuint(fired(fds[3]), ==, 0);
	g_assert_cmpuint(fired(fds[4]), ==, 0);
	g_assert_cmpuint(fired(fds[7]), ==, 2);
	g_assert_cmpuint(fired(fds[0]), ==, 1);

	/* Fired by the client: vectors 1..2 (1 was pending), then by a list 0 and 2 of 0..2. */
	g_assert_cmpuint(fired(fds[1]) + fired(fds[2]), ==, 2);
	send_ok(fake, sock, "14000000 21000000 02000000 01000000 02000000");
	g_assert_cmpuint(fired(fds[1]) + fired(fds[2]), ==, 2);
	send_ok(fake, sock, "17000000 22000000 02000000 00000000 03000000 | 010001");
	g_assert_cmpuint(fired(fds[0]) * 100 + fired(fds[1]) * 10 + fired(fds[2]), ==, 101);

	g_assert_true(send_bytes(sock, reset));
	fake_pump(fake);
	expect_bytes(sock, reset_reply);
	vfu_server_irq(fake->server, VFU_IRQ_MSIX, 0);
	g_assert_cmpuint(fired(fds[0]), ==, 1);

	send_ok(fake, sock, "14000000 21000000 02000000 00000000 00000000");
	vfu_server_irq(fake->server, VFU_IRQ_MSIX, 0);
	g_assert_cmpuint(fired(fds[0]), ==, 0);
	for (unsigned i = 0; i < N_VECTORS; i++)
		close(fds[i]);
	/* What the server needs to signal without blocking stays. */
	g_assert_cmpuint(count_fds(), <=, before + 1);
	close(sock);
}

/* The client may make write() block at any time; signalling must not care. */
static void test_irq_saturated(void)
{
	g_autoptr(Fake) fake = fake_new();
	int sock = fake_client(fake);
	uint64_t most = UINT64_MAX - 1;
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	bind_vectors(fake, sock, 0, &fd, 1, 1);
	g_assert_cmpint(fcntl(fd, F_SETFL, O_RDWR), ==, 0);
	g_assert_cmpint(write(fd, &most, sizeof(most)), ==, sizeof(most));
	for (unsigned i = 0; i < 100; i++)
		vfu_server_irq(fake->server, VFU_IRQ_MSIX, 0);
	expect_alive(fake, sock);
	g_assert_cmpuint(fired(fd), >=, most);
	vfu_server_irq(fake->server, VFU_IRQ_MSIX, 0);
	g_assert_cmpuint(fired(fd), ==, 1);
	close(fd);
	close(sock);
}

typedef struct Trap {
	int fd;
	int stop; /* atomic */
} Trap;

/* Undoes whatever the server does to keep a write from blocking. */
static gpointer set_trap(gpointer opaque)
{
	Trap *trap = opaque;

	while (g_atomic_int_get(&trap->stop) == 0)
		fcntl(trap->fd, F_SETFL, O_RDWR);
	return NULL;
}

static void test_irq_trap(void)
{
	g_autoptr(Fake) fake = fake_new();
	static const uint64_t most = UINT64_MAX - 1;
	aio_context_t aio = 0;
	Trap trap = { 0 };
	GThread *thread;
	int sock;

	if (syscall(SYS_io_setup, 1, &aio) < 0) {
		g_test_skip("no Linux AIO here");
		return;
	}
	syscall(SYS_io_destroy, aio);
	sock = fake_client(fake);
	trap.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	g_assert_cmpint(write(trap.fd, &most, sizeof(most)), ==, sizeof(most));
	bind_vectors(fake, sock, 0, &trap.fd, 1, 1);
	thread = g_thread_new("trap", set_trap, &trap);
	for (unsigned i = 0; i < 50000; i++)
		vfu_server_irq(fake->server, VFU_IRQ_MSIX, 0);
	g_atomic_int_set(&trap.stop, 1);
	g_thread_join(thread);
	expect_alive(fake, sock);
	close(trap.fd);
	close(sock);
}

static void test_irqs_end_with_client(void)
{
	g_autoptr(Fake) fake = fake_new();
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	int sock = fake_client(fake);

	bind_vectors(fake, sock, 0, &fd, 1, 1);
	close(sock);
	fake_pump(fake);
	vfu_server_irq(fake->server, VFU_IRQ_MSIX, 0);
	sock = fake_client(fake);
	vfu_server_irq(fake->server, VFU_IRQ_MSIX, 0);
	g_assert_cmpuint(fired(fd), ==, 0);
	close(sock);
	close(fd);
}

/* ---- descriptors ---- */

static int make_fd(unsigned kind)
{
	int pair[2];

	switch (kind) {
	case 0:
		g_assert_cmpint(pipe2(pair, O_CLOEXEC), ==, 0);
		close(pair[0]);
		return pair[1];
	case 1:
		g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
		close(pair[0]);
		return pair[1];
	case 2:
		return memfd_create("anon_inode:[eventfd]", MFD_CLOEXEC);
	case 3:
		return epoll_create1(EPOLL_CLOEXEC);
	default:
		return open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	}
}

static void test_wrong_fds(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autoptr(GByteArray) request = bind_request(9, 0, 2);
	int sock = fake_client(fake);
	int good = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	int other = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	unsigned before;

	bind_vectors(fake, sock, 0, &good, 1, 1);
	vfu_server_irq(fake->server, VFU_IRQ_MSIX, 0);
	before = count_fds();
	for (unsigned kind = 0; kind < 5; kind++) {
		int fds[2] = { other, make_fd(kind) };

		g_assert_cmpint(fds[1], >=, 0);
		g_assert_true(raw_send(sock, request->data, request->len, fds, 2));
		close(fds[1]);
		fake_pump(fake);
		expect_error(sock, 9, VFU_DEVICE_SET_IRQS, EINVAL);
		g_assert_cmpuint(count_fds(), ==, before);
	}
	/* Nothing was replaced, not even by the good one of each pair. */
	vfu_server_irq(fake->server, VFU_IRQ_MSIX, 0);
	g_assert_cmpuint(fired(good), ==, 2);
	g_assert_cmpuint(fired(other), ==, 0);
	close(good);
	close(other);
	close(sock);
}

static void test_wrong_fd_counts(void)
{
	static const struct {
		unsigned command;
		const char *payload;
		unsigned n_fds;
	} cases[] = {
		{ VFU_DEVICE_SET_IRQS, "14000000 24000000 02000000 00000000 01000000", 2 },
		{ VFU_DEVICE_SET_IRQS, "14000000 24000000 02000000 00000000 03000000", 2 },
		{ VFU_DEVICE_SET_IRQS, "14000000 24000000 02000000 00000000 02000000", 8 },
		{ VFU_DEVICE_SET_IRQS, "14000000 21000000 02000000 00000000 00000000", 1 },
		{ VFU_DEVICE_SET_IRQS, "15000000 22000000 02000000 00000000 01000000 01", 1 },
		{ VFU_DMA_MAP,
		  "20000000 03000000 0000000000000000 0000000000000000 0000008000000000", 2 },
		{ VFU_DMA_MAP,
		  "20000000 03000000 0000000000000000 0000000000000000 0000000000000000", 1 },
		{ VFU_DMA_UNMAP, "18000000 00000000 0000000000000000 0000008000000000", 1 },
		{ VFU_DEVICE_GET_INFO, "10000000 00000000 00000000 00000000", 1 },
		{ VFU_REGION_READ, "0400000000000000 07000000 04000000", 1 },
		{ VFU_REGION_WRITE, "0400000000000000 07000000 01000000 11", 8 },
		{ VFU_DEVICE_RESET, "", 1 },
		{ 99, "", 1 },
	};
	g_autoptr(Fake) fake = fake_new();
	int sock = fake_client(fake);
	int fds[8];
	unsigned before;

	for (unsigned i = 0; i < 8; i++)
		fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	before = count_fds();
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autoptr(GByteArray)
			request = message_hex(i, cases[i].command, 0, cases[i].payload);

		g_assert_true(raw_send(sock, request->data, request->len, fds, cases[i].n_fds));
		fake_pump(fake);
		expect_error(sock, i, cases[i].command, EINVAL);
		g_assert_cmpuint(count_fds(), ==, before);
	}
	g_assert_cmpuint(fake->n_writes + fake->n_resets, ==, 0);
	for (unsigned i = 0; i < 8; i++)
		close(fds[i]);
	close(sock);
}

static void test_dma_map_fd(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autoptr(GByteArray) request =
		message_hex(1, VFU_DMA_MAP, 0,
			    "20000000 03000000 0000000000000000 0000000000000000 0000008000000000");
	g_autoptr(GByteArray) reply = message(1, VFU_DMA_MAP, 1, NULL, 0);
	int sock = fake_client(fake);
	int memory = memfd_create("guest", MFD_CLOEXEC);
	unsigned before = count_fds();

	for (unsigned i = 0; i < 2000; i++) {
		g_assert_true(raw_send(sock, request->data, request->len, &memory, 1));
		fake_pump(fake);
		expect_bytes(sock, reply);
	}
	g_assert_cmpuint(count_fds(), ==, before);
	close(memory);
	close(sock);
}

static void test_fd_floods(void)
{
	static const unsigned counts[] = { 9, 16, 100, 253 };
	g_autoptr(Fake) fake = fake_new();
	g_autoptr(GByteArray) request = bind_request(1, 0, 8);
	unsigned before = count_fds();
	int fds[253];

	for (unsigned cut = 0; cut < 3; cut++) {
		for (unsigned i = 0; i < G_N_ELEMENTS(counts); i++) {
			/* With the whole message, with half a header, before VERSION. */
			size_t len = cut == 1 ? 7 : request->len;
			int sock = cut == 2 ? fake_attach(fake) : fake_client(fake);
			int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

			for (unsigned j = 0; j < counts[i]; j++)
				fds[j] = fd;
			g_assert_true(raw_send(sock, request->data, len, fds, counts[i]));
			close(fd);
			fake_pump(fake);
			expect_end(sock);
			g_assert_cmpuint(count_fds(), ==, before);
		}
	}
}

/* Eight with each byte of one message: allowed once. */
static void test_fds_pile_up(void)
{
	g_autoptr(Fake) fake = fake_new();
	g_autoptr(GByteArray) request = bind_request(1, 0, 8);
	unsigned before = count_fds();
	int sock = fake_client(fake);
	int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	int fds[8];

	for (unsigned i = 0; i < 8; i++)
		fds[i] = fd;
	for (unsigned i = 0; i < 3; i++)
		raw_send(sock, request->data + i, 1, fds, 8);
	fake_pump(fake);
	expect_end(sock);
	close(fd);
	g_assert_cmpuint(count_fds(), ==, before);
}

/* Everything is in the socket before the server looks. */
static void test_fds_go_to_their_message(void)
{
	g_autoptr(Fake) fake = fake_new();
	int sock = fake_client(fake);
	int fds[4];
	unsigned id = 0;

	for (unsigned i = 0; i < 4; i++)
		fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	for (unsigned round = 0; round < 4; round++) {
		for (unsigned i = 0; i < 4; i++) {
			g_autoptr(GByteArray) read = read_request(id++);
			g_autoptr(GByteArray) bind = bind_request(id++, i, 1);
			/* Round 0: whole; 1: header, body; 2: 5 bytes, rest; 3: all but 1 byte */
			size_t cut = round == 0   ? bind->len
				     : round == 1 ? 16
				     : round == 2 ? 5
						  : bind->len - 1;

			g_assert_true(send_bytes(sock, read));
			g_assert_true(raw_send(sock, bind->data, cut, &fds[(i + round) % 4], 1));
			if (cut < bind->len)
				g_assert_true(
					raw_send(sock, bind->data + cut, bind->len - cut, NULL, 0));
		}
		fake_pump(fake);
		id -= 8;
		for (unsigned i = 0; i < 4; i++) {
			g_autoptr(GByteArray) read = read_reply(id++);
			g_autoptr(GByteArray) bind = bind_reply(id++);

			expect_bytes(sock, read);
			expect_bytes(sock, bind);
			vfu_server_irq(fake->server, VFU_IRQ_MSIX, i);
			g_assert_cmpuint(fired(fds[(i + round) % 4]), ==, 1);
		}
	}
	for (unsigned i = 0; i < 4; i++)
		close(fds[i]);
	close(sock);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
#define ADD(name, func) g_test_add_func("/protocol/vfu/server/" name, func)
	ADD("irqs", test_irqs);
	ADD("irq-saturated", test_irq_saturated);
	ADD("irq-trap", test_irq_trap);
	ADD("irqs-end-with-client", test_irqs_end_with_client);
	ADD("wrong-fds", test_wrong_fds);
	ADD("wrong-fd-counts", test_wrong_fd_counts);
	ADD("dma-map-fd", test_dma_map_fd);
	ADD("fd-floods", test_fd_floods);
	ADD("fds-pile-up", test_fds_pile_up);
	ADD("fds-go-to-their-message", test_fds_go_to_their_message);
#undef ADD
	return g_test_run();
}

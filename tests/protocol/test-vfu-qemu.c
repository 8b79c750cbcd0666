/* SPDX-License-Identifier: BSD-3-Clause */
/* What stock QEMU says to a device of a real pool, in its order and with its widths. */

/*
 * QEMU 11.1.3, q35: realize, firmware, a kernel that binds its drivers, resets, the end. Where a
 * step looks odd it is QEMU that does so: it reads the whole configuration space at once, asks for
 * regions twice, posts writes to BARs and to nothing else, and leaves without a word.
 */
#include "pool_fixture.h"
#include "vfu-fixture.h"

#include "cxl/memdev.h"
#include "cxl/pci.h"

#define GIB         (1024 * MIB)
#define DEVICE_REGS UINT64_C(0x10000)
#define N_MAPS      11 /* DMA_MAPs, sent without waiting for the answers */

typedef struct Qemu {
	int sock;
	unsigned id;
	GByteArray *said; /* everything, NULL = not wanted */
	uint8_t reply[8192];
	uint32_t reply_len; /* without the header */
	int fd;             /* that came with it, or -1 */
} Qemu;

static const uint8_t *payload(const Qemu *qemu)
{
	return qemu->reply + sizeof(VfuHeader);
}

static void say(Qemu *qemu, unsigned command, uint32_t flags, const void *body, size_t len,
		const int *fds, unsigned n_fds)
{
	g_autoptr(GByteArray) request = message(qemu->id++, command, flags, body, len);

	g_assert_true(raw_send(qemu->sock, request->data, request->len, fds, n_fds));
	if (qemu->said)
		g_byte_array_append(qemu->said, request->data, request->len);
}

/* The next reply; to message ID, and a good one. */
static void hear(Qemu *qemu, unsigned id, unsigned command)
{
	const VfuHeader *header = (const VfuHeader *)qemu->reply;
	struct pollfd state = { .fd = qemu->sock, .events = POLLIN };
	ssize_t got;

	g_assert_cmpint(poll(&state, 1, 20000), ==, 1);
	/* A header in pieces would be fatal to it. */
	got = raw_receive(qemu->sock, qemu->reply, sizeof(*header), &qemu->fd);
	g_assert_cmpint(got, ==, sizeof(*header));
	g_assert_cmpuint(le16_get(header->id), ==, (uint16_t)id);
	g_assert_cmpuint(le16_get(header->command), ==, command);
	g_assert_cmphex(le32_get(header->flags), ==, VFU_TYPE_REPLY);
	qemu->reply_len = le32_get(header->size) - (uint32_t)sizeof(*header);
	g_assert_cmpuint(qemu->reply_len, <=, sizeof(qemu->reply) - sizeof(*header));
	if (qemu->reply_len > 0)
		g_assert_cmpint(recv(qemu->sock, qemu->reply + sizeof(*header), qemu->reply_len,
				     MSG_WAITALL),
				==, qemu->reply_len);
}

static void ask_with(Qemu *qemu, unsigned command, const void *body, size_t len, const int *fds,
		     unsigned n_fds)
{
	say(qemu, command, 0, body, len, fds, n_fds);
	hear(qemu, qemu->id - 1, command);
}

static void ask(Qemu *qemu, unsigned command, const void *body, size_t len)
{
	ask_with(qemu, command, body, len, NULL, 0);
	g_assert_cmpint(qemu->fd, ==, -1);
}

static const uint8_t *read_bytes(Qemu *qemu, unsigned region, uint64_t offset, uint32_t count)
{
	VfuRegionAccess access = { le64_put(offset), le32_put(region), le32_put(count) };

	ask(qemu, VFU_REGION_READ, &access, sizeof(access));
	g_assert_cmpuint(qemu->reply_len, ==, sizeof(access) + count);
	g_assert_cmpmem(payload(qemu), sizeof(access), &access, sizeof(access));
	return payload(qemu) + sizeof(access);
}

static uint64_t read_reg(Qemu *qemu, unsigned region, uint64_t offset, uint32_t count)
{
	uint8_t bytes[8] = { 0 };

	memcpy(bytes, read_bytes(qemu, region, offset, count), count);
	return le64_load(bytes);
}

/* Writes to configuration space are acknowledged, those to BARs posted. */
static void write_reg(Qemu *qemu, unsigned region, uint64_t offset, uint64_t value, uint32_t count)
{
	uint8_t body[sizeof(VfuRegionAccess) + 8];
	VfuRegionAccess access = { le64_put(offset), le32_put(region), le32_put(count) };

	memcpy(body, &access, sizeof(access));
	le64_store(body + sizeof(access), value);
	if (region != VFU_REGION_CONFIG) {
		say(qemu, VFU_REGION_WRITE, VFU_FLAGS_NO_REPLY, body, sizeof(access) + count, NULL,
		    0);
		return;
	}
	ask(qemu, VFU_REGION_WRITE, body, sizeof(access) + count);
	g_assert_cmpmem(payload(qemu), qemu->reply_len, &access, sizeof(access));
}

static uint64_t config(Qemu *qemu, unsigned offset, uint32_t count)
{
	return read_reg(qemu, VFU_REGION_CONFIG, offset, count);
}

static void config_write(Qemu *qemu, unsigned offset, uint64_t value, uint32_t count)
{
	write_reg(qemu, VFU_REGION_CONFIG, offset, value, count);
}

static unsigned find_cap(Qemu *qemu, unsigned id)
{
	unsigned at = (unsigned)config(qemu, PCI_CFG_CAP_PTR, 1);

	while (config(qemu, at, 1) != id) {
		at = (unsigned)config(qemu, at + 1, 1);
		g_assert_cmpuint(at, !=, 0);
	}
	return at;
}

/* ---- realize ---- */

static VfuDmaMap dma_map(unsigned n)
{
	return (VfuDmaMap){
		.argsz = le32_put(sizeof(VfuDmaMap)),
		.flags = le32_put(3),
		.address = le64_put(n * GIB),
		.len = le64_put(GIB / 2),
	};
}

static void map_memory(Qemu *qemu)
{
	unsigned first = qemu->id;

	for (unsigned i = 0; i < N_MAPS; i++) {
		VfuDmaMap map = dma_map(i);

		say(qemu, VFU_DMA_MAP, 0, &map, sizeof(map), NULL, 0);
	}
	for (unsigned i = 0; i < N_MAPS; i++)
		hear(qemu, first + i, VFU_DMA_MAP);
}

static void unmap_memory(Qemu *qemu)
{
	VfuDmaMap map = dma_map(0);
	VfuDmaUnmap unmap = { le32_put(sizeof(unmap)), le32_put(0), map.address, map.len };

	ask(qemu, VFU_DMA_UNMAP, &unmap, sizeof(unmap));
	g_assert_cmpmem(payload(qemu), qemu->reply_len, &unmap, sizeof(unmap));
	ask(qemu, VFU_DMA_MAP, &map, sizeof(map));
}

static VfuRegionInfo ask_region(Qemu *qemu, unsigned index, uint32_t argsz)
{
	VfuRegionInfo info = { .argsz = le32_put(argsz), .index = le32_put(index) };

	ask_with(qemu, VFU_DEVICE_GET_REGION_INFO, &info, sizeof(info), NULL, 0);
	g_assert_cmpuint(qemu->reply_len, >=, sizeof(info));
	memcpy(&info, payload(qemu), sizeof(info));
	g_assert_cmpuint(le32_get(info.index), ==, index);
	return info;
}

/* BAR0: first without room for capabilities, then with: the payload may be mapped, nothing else. */
static void map_payload(Qemu *qemu)
{
	VfuRegionInfo info = ask_region(qemu, 0, sizeof(info));
	const VfuCapSparse *cap = (const VfuCapSparse *)(payload(qemu) + sizeof(info));
	const VfuSparseArea *area = (const VfuSparseArea *)(cap + 1);
	uint32_t argsz = le32_get(info.argsz);
	int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

	g_assert_cmpuint(qemu->reply_len, ==, sizeof(info));
	g_assert_cmpint(qemu->fd, ==, -1);
	g_assert_cmphex(le32_get(info.flags) & VFU_REGION_HAS_CAPS, ==, 0);
	g_assert_cmpuint(argsz, ==, sizeof(info) + sizeof(*cap) + sizeof(*area));
	info = ask_region(qemu, 0, argsz);
	g_assert_cmpuint(qemu->reply_len, ==, argsz);
	g_assert_cmpint(qemu->fd, >=, 0);
	g_assert_cmphex(le32_get(info.flags), ==, 0xf);
	g_assert_cmpuint(le32_get(cap->n_areas), ==, 1);
	g_assert_cmphex((le64_get(area->offset) | le64_get(area->len)) % 4096, ==, 0);
	g_assert_cmpuint(le64_get(area->offset), >, DEVICE_REGS);
	g_assert_cmpuint(le64_get(area->offset) + le64_get(area->len), <=, le64_get(info.len));
	/* A file that shrinks would end QEMU with SIGBUS. */
	g_assert_cmphex(fcntl(qemu->fd, F_GET_SEALS) & seals, ==, seals);
	close(qemu->fd);
}

static void ask_regions(Qemu *qemu)
{
	map_payload(qemu);
	for (unsigned index = 1; index < 8; index++) {
		bool is_there = index == 2 || index == VFU_REGION_CONFIG;
		VfuRegionInfo info;

		if (index == 6) /* the ROM it does not ask for */
			continue;
		info = ask_region(qemu, index, sizeof(info));
		g_assert_cmpint(qemu->fd, ==, -1);
		g_assert_cmpuint(le32_get(info.argsz), ==, sizeof(info));
		g_assert_cmphex(le32_get(info.flags), ==, is_there ? 3 : 0);
		g_assert_cmpuint(le64_get(info.len), ==, is_there ? 4096 : 0);
	}
}

static uint32_t ask_irqs(Qemu *qemu, unsigned index)
{
	VfuIrqInfo info = { .argsz = le32_put(sizeof(info)), .index = le32_put(index) };

	ask(qemu, VFU_DEVICE_GET_IRQ_INFO, &info, sizeof(info));
	memcpy(&info, payload(qemu), sizeof(info));
	/* Without NORESIZE, or it would bind all vectors anew for each. */
	g_assert_cmphex(le32_get(info.flags), ==, VFU_IRQ_IS_EVENTFD);
	return le32_get(info.count);
}

/* No error recovery: said so, QEMU does not warn its user of that. */
static void refuse_irqs(Qemu *qemu, unsigned index)
{
	VfuIrqInfo info = { .argsz = le32_put(sizeof(info)), .index = le32_put(index) };
	struct pollfd state = { .fd = qemu->sock, .events = POLLIN };

	say(qemu, VFU_DEVICE_GET_IRQ_INFO, 0, &info, sizeof(info), NULL, 0);
	g_assert_cmpint(poll(&state, 1, 20000), ==, 1);
	expect_error(qemu->sock, (uint16_t)(qemu->id - 1), VFU_DEVICE_GET_IRQ_INFO, EINVAL);
}

static void reset_round(Qemu *qemu)
{
	config(qemu, PCI_CFG_COMMAND, 2);
	config_write(qemu, PCI_CFG_COMMAND, 0, 2);
	ask(qemu, VFU_DEVICE_RESET, NULL, 0);
	g_assert_cmpuint(qemu->reply_len, ==, 0);
	g_assert_cmphex(config(qemu, PCI_CFG_INT_PIN, 1), ==, 0);
	for (unsigned i = 0; i < PCI_CFG0_N_BARS; i++)
		config_write(qemu, PCI_CFG_BAR(i), 0, 4);
}

static void realize(Qemu *qemu)
{
	g_autoptr(GByteArray) version = bytes_of("0000 0000 '" QEMU_CAPS);
	VfuDeviceInfo info = { .argsz = le32_put(sizeof(info)) };
	unsigned msix;

	ask(qemu, VFU_VERSION, version->data, version->len);
	map_memory(qemu);
	ask(qemu, VFU_DEVICE_GET_INFO, &info, sizeof(info));
	memcpy(&info, payload(qemu), sizeof(info));
	g_assert_cmphex(le32_get(info.flags), ==, VFU_DEVICE_RESETS | VFU_DEVICE_PCI);
	g_assert_cmpuint(le32_get(info.n_regions), ==, 9);
	g_assert_cmpuint(le32_get(info.n_irqs), ==, 5);
	ask_regions(qemu);
	refuse_irqs(qemu, VFU_IRQ_ERR);
	g_assert_cmphex(le32_load(read_bytes(qemu, VFU_REGION_CONFIG, 0, PCI_CONFIG_LEN) +
				  PCI_CFG_REVISION) >>
				8,
			==, PCI_CLASS_CXL_MEMDEV);
	config_write(qemu, PCI_CFG0_ROM, 0xfffff800, 4);
	g_assert_cmphex(config(qemu, PCI_CFG0_ROM, 4), ==, 0);
	config_write(qemu, PCI_CFG0_ROM, 0, 4);
	g_assert_cmphex(config(qemu, PCI_CFG_BAR(0), 4), ==, PCI_BAR_MEM_64);
	g_assert_cmphex(config(qemu, PCI_CFG_BAR(2), 4), ==, PCI_BAR_MEM_64);
	msix = find_cap(qemu, PCI_CAP_MSIX);
	g_assert_cmpuint(config(qemu, msix + PCI_MSIX_CTRL, 2) + 1, ==,
			 ask_irqs(qemu, VFU_IRQ_MSIX));
	g_assert_cmpuint(config(qemu, msix + PCI_MSIX_TABLE_REG, 4) & PCI_MSIX_BIR, ==, 2);
	g_assert_cmpuint(config(qemu, msix + PCI_MSIX_PBA_REG, 4) & PCI_MSIX_BIR, ==, 2);
	reset_round(qemu);
}

/* ---- firmware and kernel ---- */

/* Once by the firmware, once more by the kernel, elsewhere. */
static void place_bars(Qemu *qemu, uint64_t address)
{
	static const unsigned bars[] = { 0, 2 };

	config_write(qemu, PCI_CFG_COMMAND, 0, 2);
	for (unsigned i = 0; i < 2; i++) {
		unsigned low = PCI_CFG_BAR(bars[i]), high = PCI_CFG_BAR(bars[i] + 1);
		uint64_t mask;

		config_write(qemu, low, UINT32_MAX, 4);
		config_write(qemu, high, UINT32_MAX, 4);
		mask = (config(qemu, low, 4) & ~(uint64_t)PCI_BAR_FLAGS) | config(qemu, high, 4)
										   << 32;
		g_assert_cmpuint(-mask & (-mask - 1), ==, 0); /* its size, a power of two */
		config_write(qemu, low, (uint32_t)(address + i * GIB), 4);
		config_write(qemu, high, (address + i * GIB) >> 32, 4);
		g_assert_cmphex(config(qemu, low, 4), ==, (uint32_t)(address + i * GIB) | 4);
		g_assert_cmphex(config(qemu, high, 4), ==, (address + i * GIB) >> 32);
	}
	config_write(qemu, PCI_CFG_COMMAND, PCI_CMD_MEM | PCI_CMD_SERR, 2);
	unmap_memory(qemu);
}

static void set_irqs(Qemu *qemu, uint32_t flags, uint32_t start, uint32_t count, int fd)
{
	VfuIrqSet set = {
		.argsz = le32_put(sizeof(set)),
		.flags = le32_put(flags),
		.index = le32_put(VFU_IRQ_MSIX),
		.start = le32_put(start),
		.count = le32_put(count),
	};

	ask_with(qemu, VFU_DEVICE_SET_IRQS, &set, sizeof(set), &fd, fd >= 0 ? 1 : 0);
	g_assert_cmpuint(qemu->reply_len, ==, 0);
}

static uint64_t find_mailbox(Qemu *qemu)
{
	for (unsigned i = 0;; i++) {
		uint64_t at = DEVICE_REGS + CXL_DEV_CAP_HEADER(i);

		g_assert_cmpuint(i, <, read_reg(qemu, 0, DEVICE_REGS + 4, 2));
		if (read_reg(qemu, 0, at, 2) == CXL_DEV_CAP_ID_MAILBOX)
			return DEVICE_REGS + read_reg(qemu, 0, at + 4, 4);
	}
}

/* As the kernel does it: posted writes of four bytes, one of eight, the doorbell, then reads. */
static unsigned run_command(Qemu *qemu, uint16_t opcode, const void *in, uint32_t len)
{
	uint64_t mailbox = find_mailbox(qemu);
	const uint8_t *bytes = in;

	g_assert_cmphex(read_reg(qemu, 0, mailbox + CXL_MBOX_CTRL, 4) & CXL_MBOX_CTRL_DOORBELL, ==,
			0);
	for (uint32_t i = 0; i < len; i += 4)
		write_reg(qemu, 0, mailbox + CXL_MBOX_PAYLOAD + i, le32_load(bytes + i), 4);
	write_reg(qemu, 0, mailbox + CXL_MBOX_CMD, opcode | (uint64_t)len << 16, 8);
	write_reg(qemu, 0, mailbox + CXL_MBOX_CTRL,
		  CXL_MBOX_CTRL_DOORBELL | CXL_MBOX_CTRL_DOORBELL_INT_EN, 4);
	while (read_reg(qemu, 0, mailbox + CXL_MBOX_CTRL, 4) & CXL_MBOX_CTRL_DOORBELL)
		;
	return (unsigned)CXL_FIELD_GET(CXL_MBOX_STATUS_RC,
				       read_reg(qemu, 0, mailbox + CXL_MBOX_STATUS, 8));
}

static uint64_t take_irqs(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

/* Enabled with nothing unmasked, one vector bound, bound again after it was masked, disabled. */
static void use_interrupts(Qemu *qemu)
{
	unsigned ctrl = find_cap(qemu, PCI_CAP_MSIX) + PCI_MSIX_CTRL;
	uint32_t bind = VFU_IRQ_DATA_EVENTFD | VFU_IRQ_ACTION_TRIGGER;
	int fds[2];

	config_write(qemu, ctrl, PCI_MSIX_CTRL_ENABLE, 2);
	set_irqs(qemu, bind, 0, 1, -1);
	for (unsigned i = 0; i < 2; i++) {
		fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		set_irqs(qemu, bind, 0, 1, fds[i]);
		g_assert_cmphex(run_command(qemu, CXL_OP_IDENTIFY_MEMDEV, NULL, 0), ==,
				CXL_RC_SUCCESS);
		g_assert_cmpuint(take_irqs(fds[i]), ==, 1);
	}
	g_assert_cmpuint(take_irqs(fds[0]), ==, 0);
	config_write(qemu, ctrl, 0, 2);
	set_irqs(qemu, VFU_IRQ_DATA_NONE | VFU_IRQ_ACTION_TRIGGER, 0, 0, -1);
	g_assert_cmphex(run_command(qemu, CXL_OP_IDENTIFY_MEMDEV, NULL, 0), ==, CXL_RC_SUCCESS);
	g_assert_cmpuint(take_irqs(fds[1]), ==, 0);
	close(fds[0]);
	close(fds[1]);
}

static uint64_t find_hdm(Qemu *qemu)
{
	for (unsigned i = 1;; i++) {
		uint32_t cap = (uint32_t)read_reg(qemu, 0, CXL_COMPONENT_CACHEMEM + 4 * i, 4);

		g_assert_cmpuint(i, <, 64);
		if (CXL_FIELD_GET(CXL_CM_CAP_ID, cap) == CXL_CM_ID_HDM)
			return CXL_COMPONENT_CACHEMEM + CXL_FIELD_GET(CXL_CM_CAP_PTR, cap);
	}
}

static bool is_committed(Qemu *qemu)
{
	uint32_t ctrl = (uint32_t)read_reg(qemu, 0, find_hdm(qemu) + CXL_HDM_DEC_CTRL(0), 4);

	g_assert_cmphex(ctrl & CXL_HDM_DEC_ERROR, ==, 0);
	return (ctrl & CXL_HDM_DEC_COMMITTED) != 0;
}

/* The one status read that Linux allows itself must find it done. */
static void commit_decoder(Qemu *qemu)
{
	uint64_t hdm = find_hdm(qemu);

	write_reg(qemu, 0, hdm + CXL_HDM_BASE_HI(0), WINDOW_HPA >> 32, 4);
	write_reg(qemu, 0, hdm + CXL_HDM_BASE_LO(0), 0, 4);
	write_reg(qemu, 0, hdm + CXL_HDM_SIZE_HI(0), 0, 4);
	write_reg(qemu, 0, hdm + CXL_HDM_SIZE_LO(0), REGION_LEN, 4);
	write_reg(qemu, 0, hdm + CXL_HDM_DEC_CTRL(0), 0x1200, 4);
	g_assert_true(is_committed(qemu));
}

static void resets(Qemu *qemu)
{
	unsigned devctl = find_cap(qemu, PCI_CAP_PCIE) + PCI_PCIE_DEVCTL;

	commit_decoder(qemu);
	/* A function level reset is a write like others. Linux looks for its decoders afterwards.
	 */
	config_write(qemu, devctl, PCI_PCIE_DEVCTL_FLR, 2);
	g_assert_cmphex(config(qemu, PCI_CFG_COMMAND, 2), ==, 0);
	g_assert_true(is_committed(qemu));
	/* system_reset: two rounds */
	set_irqs(qemu, VFU_IRQ_DATA_NONE | VFU_IRQ_ACTION_TRIGGER, 0, 0, -1);
	reset_round(qemu);
	reset_round(qemu);
	g_assert_false(is_committed(qemu));
}

/* ---- tests ---- */

static Qemu start(Pool *pool, PoolDevice *device)
{
	g_autoptr(GError) error = NULL;
	int pair[2];

	g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), ==, 0);
	pool_attach_host(pool, device, pair[0], -1, &error);
	g_assert_no_error(error);
	return (Qemu){ .sock = pair[1], .id = 0xfff0 }; /* it wraps, as QEMU's does */
}

static void live(Qemu *qemu)
{
	realize(qemu);
	place_bars(qemu, UINT64_C(0xfe000000));
	place_bars(qemu, UINT64_C(0x380000000000));
	use_interrupts(qemu);
	resets(qemu);
	place_bars(qemu, UINT64_C(0xfd000000));
	use_interrupts(qemu);
}

/* Something is accepted, so that there is something to lose. */
static void accept_some(Pool *pool, PoolDevice *device, PoolState *ret)
{
	g_autoptr(TestHost) host = test_host(pool, device, LINK_NONE);

	test_backend(pool, "mem", 1, 4 * BLOCK);
	test_offer_one(host, 1, 8 * BLOCK, 4 * BLOCK);
	g_assert_cmphex(host_accept_one(host, 8 * BLOCK, 4 * BLOCK), ==, CXL_RC_SUCCESS);
	pool_state(host, ret);
}

static void expect_accepted(Pool *pool, PoolDevice *device, const PoolState *before)
{
	g_autoptr(TestHost) host = test_host(pool, device, LINK_NONE);
	PoolState after;

	pool_state(host, &after);
	assert_same_state(before, &after);
	g_assert_false(host_decoder_is_committed(host, 0));
}

static void test_lives(void)
{
	g_autoptr(Pool) pool = test_pool();
	PoolDevice *device = test_device(pool, "dev0");
	PoolState before;

	accept_some(pool, device, &before);
	for (unsigned i = 0; i < 3; i++) {
		Qemu qemu = start(pool, device);

		live(&qemu);
		commit_decoder(&qemu);
		close(qemu.sock); /* no reset, no farewell */
		expect_accepted(pool, device, &before);
	}
}

/* Killed anywhere, also in the middle of a message; what it has said until then counts. */
static void test_killed_anywhere(void)
{
	g_autoptr(Pool) pool = test_pool();
	PoolDevice *device = test_device(pool, "dev0");
	g_autoptr(GByteArray) said = g_byte_array_new();
	Qemu qemu = start(pool, device);
	unsigned n_fds;
	PoolState before;

	qemu.said = said;
	live(&qemu);
	close(qemu.sock);
	accept_some(pool, device, &before);
	pool_barrier(pool);
	n_fds = count_fds();
	for (guint len = 0; len < said->len; len += 1 + len % 23) {
		qemu = start(pool, device);
		g_assert_true(len == 0 || raw_send(qemu.sock, said->data, len, NULL, 0));
		close(qemu.sock);
	}
	expect_accepted(pool, device, &before);
	for (unsigned i = 0; i < 4; i++)
		pool_barrier(pool);
	g_assert_cmpuint(count_fds(), ==, n_fds);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/vfu-qemu/lives", test_lives);
	g_test_add_func("/protocol/vfu-qemu/killed-anywhere", test_killed_anywhere);
	return g_test_run();
}

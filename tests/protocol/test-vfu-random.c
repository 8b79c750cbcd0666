/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A host that writes into the registers of its device at random, over the wire: its own extents and
 * another device's stay as they are, and after a reset the device is as any other. --seed repeats a
 * run, RANDOM_ACCESSES makes it longer.
 */
#include "pool_fixture.h"

#include "cxl/memdev.h"
#include "cxl/pci.h"

#define N_ACCESSES   5000
#define SETTLE_EACH  64 /* accesses between looks at the memory link */
#define CONFIG_SPACE 7u
#define HELD         (8 * BLOCK)
#define MAX_WIDTH    64u

static uint32_t pick(uint32_t n)
{
	return (uint32_t)g_test_rand_int() % n;
}

static uint64_t value(void)
{
	uint64_t any = (uint64_t)(uint32_t)g_test_rand_int() << 32 | (uint32_t)g_test_rand_int();

	switch (pick(5)) {
	case 0:
		return UINT64_MAX;
	case 1:
		return UINT64_C(1) << pick(64);
	case 2:
		return pick(256);
	default:
		return any;
	}
}

/* ---- what is done ---- */

/* Where it hurts; the last ones are found at the start. */
typedef struct Target {
	unsigned space;
	uint64_t offset, len;
} Target;

typedef struct Random {
	TestHost *host;
	Target targets[9];
} Random;

static Random random_new(TestHost *host)
{
	return (Random){
		.host = host,
		.targets = {
			{ CONFIG_SPACE, 0, PCI_CONFIG_LEN },
			{ CONFIG_SPACE, 0, 0x90 },
			{ CONFIG_SPACE, 0x100, 0x110 },
			{ DEVICE_BAR_REGS, 0, vfu_client_region_len(host->vfu, DEVICE_BAR_REGS) },
			{ DEVICE_BAR_MSIX, 0, vfu_client_region_len(host->vfu, DEVICE_BAR_MSIX) },
			{ DEVICE_BAR_REGS, host->hdm - 0x80, 0x200 },
			{ DEVICE_BAR_REGS, host->hdm, CXL_HDM_DECODER(3) },
			{ DEVICE_BAR_REGS, host->mbox, CXL_MBOX_PAYLOAD + 0x40 },
			{ DEVICE_BAR_REGS, 0x10000, 0x80 },
		},
	};
}

/* Any width, any alignment, up to the end of the space and not beyond. */
static void access_once(const Random *random)
{
	const Target *target = &random->targets[pick(G_N_ELEMENTS(random->targets))];
	VfuClient *vfu = random->host->vfu;
	uint64_t offset = target->offset + pick((uint32_t)target->len);
	uint64_t rest = vfu_client_region_len(vfu, target->space) - offset;
	uint32_t width = pick(4) == 0 ? 1 + pick(MAX_WIDTH) : 1u << pick(4);
	uint8_t buf[MAX_WIDTH];
	int rc;

	width = (uint32_t)MIN(width, rest);
	for (uint32_t i = 0; i < width; i += 8) {
		uint64_t word = value();

		memcpy(buf + i, &word, MIN(8, width - i));
	}
	if (pick(3) == 0)
		rc = vfu_client_read(vfu, target->space, offset, buf, width);
	else
		rc = vfu_client_write(vfu, target->space, offset, buf, width,
				      target->space != CONFIG_SPACE && pick(2) == 0);
	g_assert_cmpint(rc, ==, 0);
}

/* A decoder as it might be, committed or taken back, at once or bit by bit. */
static void program_decoder(TestHost *host)
{
	unsigned n = pick(DEVICE_N_DECODERS);

	reg_write(host, host->hdm + CXL_HDM_BASE_LO(n), value() & ~(256 * MIB - 1), 8);
	reg_write(host, host->hdm + CXL_HDM_SIZE_LO(n), (uint64_t)pick(4) * 256 * MIB, 8);
	reg_write(host, host->hdm + CXL_HDM_SKIP_LO(n), (uint64_t)pick(2) * 256 * MIB, 8);
	reg_write(host, host->hdm + CXL_HDM_DEC_CTRL(n),
		  (value() & ~(uint64_t)CXL_HDM_DEC_LOCK) | (pick(4) ? CXL_HDM_DEC_COMMIT : 0), 4);
}

/* Nonsense for all commands; for 4802h and 4803h too, with a count that is never right. */
static void send_command(TestHost *host)
{
	static const uint8_t sets[] = {
		0x00, 0x01, 0x02, 0x03, 0x04, 0x40, 0x41, 0x42, 0x48, 0x56
	};
	uint16_t opcode = (uint16_t)(sets[pick(G_N_ELEMENTS(sets))] << 8 | pick(6));
	uint8_t in[64];

	for (unsigned i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)pick(256);
	in[0] |= 4; /* more entries than 64 bytes hold */
	vfu_client_write(host->vfu, DEVICE_BAR_REGS, host->payload, in, sizeof(in), false);
	reg_write(host, host->mbox + CXL_MBOX_CMD,
		  opcode | CXL_FIELD_PUT(CXL_MBOX_CMD_LEN, (uint64_t)pick(sizeof(in) + 1)), 8);
	reg_write(host, host->mbox + CXL_MBOX_CTRL, CXL_MBOX_CTRL_DOORBELL, 4);
}

static void go_mad(TestHost *host, unsigned n_accesses)
{
	Random random = random_new(host);

	for (unsigned i = 0; i < n_accesses; i++) {
		switch (pick(100)) {
		case 0:
			program_decoder(host);
			break;
		case 1:
			send_command(host);
			break;
		default:
			access_once(&random);
			break;
		}
		if (pick(1000) == 0)
			g_assert_cmpint(vfu_client_reset(host->vfu), ==, 0);
		if (i % SETTLE_EACH == 0)
			host_settle(host);
	}
}

/* ---- what must not have changed ---- */

static TestHost *start_host(Pool *pool, const char *name, unsigned tag, TestLink link)
{
	TestHost *host = test_host(pool, test_device(pool, name), link);
	g_autofree char *backend = g_strdup_printf("of-%s", name);

	test_backend(pool, backend, tag, 4 * BLOCK);
	test_offer_one(host, tag, HELD, 4 * BLOCK);
	g_assert_cmphex(host_accept_one(host, HELD, 4 * BLOCK), ==, CXL_RC_SUCCESS);
	return host;
}

/* As a new one: a decoder, a command, an extent. */
static void expect_usable(TestHost *host)
{
	CxlIdentifyMemdevOut identify;

	host_commit_decoder(host, 0, WINDOW_HPA, REGION_LEN);
	g_assert_true(host_decoder_is_committed(host, 0));
	g_assert_cmphex(
		mbox_call(host, CXL_OP_IDENTIFY_MEMDEV, NULL, 0, &identify, sizeof(identify), NULL),
		==, CXL_RC_SUCCESS);
	test_offer_one(host, 0, 0, BLOCK);
	g_assert_cmphex(host_accept_one(host, 0, BLOCK), ==, CXL_RC_SUCCESS);
	g_assert_cmphex(host_release_one(host, 0, BLOCK), ==, CXL_RC_SUCCESS);
	g_assert_cmphex(host_release_one(host, HELD, 4 * BLOCK), ==, CXL_RC_SUCCESS);
	host_drain(host);
	assert_counters(host, 0, 0, 0, 0);
}

static void check_random(TestLink link)
{
	g_autoptr(Pool) pool = test_pool();
	g_autoptr(TestHost) host = start_host(pool, "dev0", 1, link);
	g_autoptr(TestHost) other = start_host(pool, "dev1", 2, LINK_RAW);
	const char *wanted = g_getenv("RANDOM_ACCESSES");
	PoolState before, after, other_before, other_after;

	host_commit_decoder(other, 0, WINDOW_HPA, REGION_LEN);
	pool_state(host, &before);
	pool_state(other, &other_before);
	go_mad(host, wanted ? (unsigned)g_ascii_strtoull(wanted, NULL, 10) : N_ACCESSES);
	g_assert_cmpint(vfu_client_reset(host->vfu), ==, 0);
	host_settle(host);
	/* The window's memory is as far away as the decoder. */
	g_assert_false(host_decoder_is_committed(host, 0));
	pool_state(host, &after);
	assert_same_state(&before, &after);
	pool_state(other, &other_after);
	assert_same_state(&other_before, &other_after);
	link_expect_silence(other->link);
	g_assert_true(host_decoder_is_committed(other, 0));
	expect_usable(host);
}

static void test_control_only(void)
{
	check_random(LINK_NONE);
}

static void test_with_link(void)
{
	check_random(LINK_RAW);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/vfu-random/control-only", test_control_only);
	g_test_add_func("/protocol/vfu-random/with-link", test_with_link);
	return g_test_run();
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Component registers: capability array, RAS, access widths, random access. */
#include "hdm-fake.h"
#include <string.h>

static void test_capabilities(void)
{
	Fake *fake = fake_new(16 * MIB_256);
	uint8_t zeros[CAP_BASE] = { 0 }, block[CXL_COMPONENT_LEN];
	uint32_t cap;

	g_assert_cmpuint(fake->ras, !=, 0);
	g_assert_cmpuint(fake->hdm, !=, 0);
	cap = rd(fake, fake->hdm);
	g_assert_cmpuint(cxl_hdm_count_decode(CXL_FIELD_GET(CXL_HDM_CAP_COUNT, cap)), ==, N);
	g_assert_cmpuint(CXL_FIELD_GET(CXL_HDM_CAP_TARGETS, cap), ==, 0);
	g_assert_true(cap & CXL_HDM_CAP_INTERLEAVE_11_8);
	g_assert_true(cap & CXL_HDM_CAP_INTERLEAVE_14_12);
	/* The two are claimed apart: they must not overlap */
	g_assert_true(fake->ras + CXL_RAS_LEN <= fake->hdm ||
		      fake->hdm + CXL_HDM_LEN(N) <= fake->ras);
	g_assert_cmpuint(fake->hdm + CXL_HDM_LEN(N), <=, CAP_BASE + CXL_COMPONENT_CACHEMEM_LEN);

	component_read(fake->component, 0, block, sizeof(block));
	g_assert_cmpmem(block, CAP_BASE, zeros, CAP_BASE);
	for (unsigned i = CXL_COMPONENT_IMPL_SPECIFIC; i < CXL_COMPONENT_LEN; i++)
		g_assert_cmpuint(block[i], ==, 0);
	g_assert_cmphex(rd(fake, fake->hdm + CXL_HDM_CTRL), ==, 0);
	/* An uncommitted decoder reads as Linux wants it: type set, the rest 0 */
	for (unsigned i = 0; i < N; i++)
		g_assert_cmphex(ctrl(fake, i), ==, CXL_HDM_DEC_HOST_ONLY);
	fake_free(fake);
}

static void test_ras(void)
{
	Fake *fake = fake_new(MIB_256);
	uint32_t r = fake->ras;
	uint8_t byte = 0xff;

	g_assert_cmphex(rd(fake, r + CXL_RAS_UE_MASK), ==, CXL_RAS_UE_ALL);
	g_assert_cmphex(rd(fake, r + CXL_RAS_CE_MASK), ==, CXL_RAS_CE_ALL);
	wr(fake, r + CXL_RAS_UE_MASK, 0);
	wr(fake, r + CXL_RAS_CE_MASK, 0);
	g_assert_cmphex(rd(fake, r + CXL_RAS_UE_MASK), ==, 0);
	wr(fake, r + CXL_RAS_UE_MASK, UINT32_MAX);
	g_assert_cmphex(rd(fake, r + CXL_RAS_UE_MASK), ==, CXL_RAS_UE_ALL);

	wr(fake, r + CXL_RAS_UE_STATUS, UINT32_MAX);
	g_assert_cmphex(rd(fake, r + CXL_RAS_UE_STATUS), ==, 0);
	component_raise_ras(fake->component, CXL_RAS_UE_INTERNAL | CXL_RAS_UE_RECEIVER_OVERFLOW,
			    CXL_RAS_CE_MEM_POISON | CXL_BIT(31));
	g_assert_cmphex(rd(fake, r + CXL_RAS_CE_STATUS), ==, CXL_RAS_CE_MEM_POISON);
	g_assert_cmpuint(rd(fake, r + CXL_RAS_CAPS_CTRL) & CXL_RAS_FIRST_ERROR, ==, 11);
	/* Only the byte written is cleared: bit 14 and bit 11 share byte 1 */
	component_write(fake->component, r + CXL_RAS_UE_STATUS, &byte, 1);
	g_assert_cmphex(rd(fake, r + CXL_RAS_UE_STATUS), ==,
			CXL_RAS_UE_INTERNAL | CXL_RAS_UE_RECEIVER_OVERFLOW);
	wr(fake, r + CXL_RAS_UE_STATUS, CXL_RAS_UE_RECEIVER_OVERFLOW);
	g_assert_cmphex(rd(fake, r + CXL_RAS_UE_STATUS), ==, CXL_RAS_UE_INTERNAL);
	component_write(fake->component, r + CXL_RAS_UE_STATUS + 1, &byte, 1);
	g_assert_cmphex(rd(fake, r + CXL_RAS_UE_STATUS), ==, 0);
	g_assert_cmphex(rd(fake, r + CXL_RAS_CE_STATUS), ==, CXL_RAS_CE_MEM_POISON);
	fake_free(fake);
}

static void test_widths(void)
{
	Fake *fake = fake_new(16 * MIB_256);
	uint32_t h = fake->hdm;
	uint8_t b[8];

	/* 8 bytes are two dwords, low first */
	le64_store(b, 0x1234567890abcdef);
	component_write(fake->component, h + CXL_HDM_BASE_LO(0), b, 8);
	component_read(fake->component, h + CXL_HDM_BASE_LO(0), b, 8);
	g_assert_cmphex(le64_load(b), ==, 0x1234567890000000);
	/* A byte changes a byte */
	component_write(fake->component, h + CXL_HDM_BASE_HI(0) + 1, "\xff", 1);
	g_assert_cmphex(rd(fake, h + CXL_HDM_BASE_HI(0)), ==, 0x1234ff78);
	/* across two registers */
	component_write(fake->component, h + CXL_HDM_BASE_LO(0) + 3, "\x50\xaa", 2);
	g_assert_cmphex(rd(fake, h + CXL_HDM_BASE_LO(0)), ==, 0x50000000);
	g_assert_cmphex(rd(fake, h + CXL_HDM_BASE_HI(0)), ==, 0x1234ffaa);

	wr(fake, h + CXL_HDM_SIZE_LO(0), MIB_256);
	/* Bytes of the control register other than COMMIT's do not commit; COMMIT's alone does */
	component_write(fake->component, h + CXL_HDM_DEC_CTRL(0), "\x13", 1);
	component_write(fake->component, h + CXL_HDM_DEC_CTRL(0) + 2, "\xff\xff", 2);
	g_assert_cmpuint(fake->n_calls, ==, 0);
	g_assert_cmphex(ctrl(fake, 0), ==, CXL_HDM_DEC_HOST_ONLY | 0x13);
	component_write(fake->component, h + CXL_HDM_DEC_CTRL(0) + 1, "\x02", 1);
	g_assert_cmpuint(fake->n_calls, ==, 0);
	assert_state(fake, 0, BAD); /* 2 ways of half 256 MiB */
	/* and does not uncommit when its byte is not written */
	component_write(fake->component, h + CXL_HDM_DEC_CTRL(0), "\0", 1);
	assert_state(fake, 0, BAD);
	component_write(fake->component, h + CXL_HDM_DEC_CTRL(0) + 1, "\0", 1);
	assert_state(fake, 0, 0);
	fake_free(fake);
}

static void fuzz_step(Fake *fake, GRand *rand)
{
	uint32_t len = (uint32_t[]){ 1, 2, 4, 4, 4, 4, 8, 64 }[g_rand_int(rand) % 8];
	uint32_t offset = g_rand_int(rand) % (CXL_COMPONENT_LEN - len + 1);
	unsigned i = g_rand_int(rand) % 3;
	bool new_host = g_rand_boolean(rand);
	uint8_t buf[64];

	if (g_rand_int(rand) % 4 != 0)
		offset = fake->hdm + g_rand_int(rand) % CXL_HDM_DECODER(3);
	fake->mode = (FakeMode)(g_rand_int(rand) % 3);
	switch (g_rand_int(rand) % 8) {
	case 0:
		component_read(fake->component, offset, buf, len);
		break;
	case 1:
		for (uint32_t b = 0; b < len; b++)
			buf[b] = (uint8_t)g_rand_int(rand);
		component_write(fake->component, offset, buf, len);
		break;
	case 2:
		uncommit(fake, i);
		break;
	case 3:
		/* One of the last few: under way, or answered before */
		if (fake->n_calls > 0)
			answer(fake,
			       (fake->n_calls - 1 - g_rand_int(rand) % MIN(4, fake->n_calls)) %
				       MAX_CALLS,
			       g_rand_boolean(rand));
		break;
	case 4:
		fake->now_us += g_rand_int(rand) % (2 * HDM_ANSWER_US);
		hdm_tick(component_peek_hdm(fake->component));
		break;
	case 5:
		if (g_rand_int(rand) % 64 != 0)
			break;
		component_reset(fake->component, new_host);
		if (new_host) {
			memset(fake->mapped, 0, sizeof(fake->mapped));
			for (unsigned c = 0; c < MAX_CALLS; c++)
				fake->calls[c].answered = true;
		}
		break;
	default:
		commit(fake, i,
		       &(Setting){ .base = (i + 1) * 0x100000000 + (g_rand_int(rand) % 4) * MIB_256,
				   .size = (g_rand_int(rand) % 8) * MIB_256,
				   .skip = (g_rand_int(rand) % 2) * MIB_256 });
		break;
	}
}

/* Nothing crashes, RO bits stay, and what is committed is what the host side has mapped. */
static void test_fuzz(void)
{
	Fake *fake = fake_new(16 * MIB_256);
	uint32_t seed = 0x5eed0001, h = fake->hdm, n_committed = 0;
	g_autoptr(GRand) rand = g_rand_new_with_seed(seed);

	g_test_message("seed %#x", seed);
	for (unsigned op = 0; op < 100000; op++) {
		fuzz_step(fake, rand);
		g_assert_cmphex(rd(fake, CAP_BASE), ==, CXL_CM_ARRAY_HEADER(2));
		for (unsigned i = 0; i < N; i++) {
			uint32_t c = ctrl(fake, i);

			g_assert_true(c & CXL_HDM_DEC_HOST_ONLY);
			g_assert_false((c & STATE_BITS) == STATE_BITS);
			g_assert_cmphex(c & ~(STATE_BITS | 0x1ff | CXL_HDM_DEC_HOST_ONLY), ==, 0);
			if ((c & STATE_BITS) != GOOD)
				continue;
			n_committed++;
			g_assert_true(fake->mapped[i].committed);
			g_assert_cmphex(fake->mapped[i].hpa >> 32, ==,
					rd(fake, h + CXL_HDM_BASE_HI(i)));
			g_assert_cmphex((uint32_t)fake->mapped[i].len, ==,
					rd(fake, h + CXL_HDM_SIZE_LO(i)));
		}
	}
	g_assert_cmpuint(n_committed, >, 1000);
	fake_free(fake);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/device/component/capabilities", test_capabilities);
	g_test_add_func("/unit/device/component/ras", test_ras);
	g_test_add_func("/unit/device/component/widths", test_widths);
	g_test_add_func("/unit/device/component/fuzz", test_fuzz);
	return g_test_run();
}

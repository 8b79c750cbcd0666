/* SPDX-License-Identifier: BSD-3-Clause */
/* DOE mailbox: abort, discovery, the CDAT loop as Linux runs it, malformed objects, odd accesses.
 */
#include "device/doe.h"
#include <string.h>

#define GIB  (UINT64_C(1) << 30)
#define FULL UINT32_MAX

typedef struct Fixture {
	Cdat *cdat;
	Doe *doe;
	uint32_t rsp[DOE_MAX_DWORDS];
	unsigned n_rsp;
} Fixture;

static void setup(Fixture *f, gconstpointer data)
{
	static const DcRegion region = { .config = { .len = GIB }, .base = GIB };
	const CdatConfig config = {
		.ram_len = GIB,
		.regions = &region,
		.n_regions = 1,
		.read_latency_ns = 150,
		.write_latency_ns = 150,
		.bandwidth_mbps = 16000,
	};

	f->cdat = cdat_new(&config);
	f->doe = doe_new(f->cdat);
}

static void teardown(Fixture *f, gconstpointer data)
{
	doe_free(f->doe);
	cdat_free(f->cdat);
}

static uint32_t status(Fixture *f)
{
	return doe_read(f->doe, PCI_DOE_REG_STATUS);
}

static void go(Fixture *f)
{
	doe_write(f->doe, PCI_DOE_REG_CTRL, PCI_DOE_CONTROL_GO, FULL);
}

static void abort_doe(Fixture *f)
{
	doe_write(f->doe, PCI_DOE_REG_CTRL, PCI_DOE_CONTROL_ABORT, FULL);
	g_assert_cmphex(status(f), ==, 0);
}

static void send(Fixture *f, const uint32_t *dwords, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		doe_write(f->doe, PCI_DOE_REG_WRITE, dwords[i], FULL);
	go(f);
}

/* Ready stays set until the last dword is acknowledged, then drops. */
static void receive(Fixture *f)
{
	f->n_rsp = 0;
	while (status(f) == PCI_DOE_STA_READY) {
		g_assert_cmpuint(f->n_rsp, <, DOE_MAX_DWORDS);
		f->rsp[f->n_rsp] = doe_read(f->doe, PCI_DOE_REG_READ);
		g_assert_cmphex(doe_read(f->doe, PCI_DOE_REG_READ), ==, f->rsp[f->n_rsp]);
		f->n_rsp++;
		doe_write(f->doe, PCI_DOE_REG_READ, 0, FULL);
	}
	g_assert_cmphex(status(f), ==, 0);
	g_assert_cmphex(doe_read(f->doe, PCI_DOE_REG_READ), ==, 0);
	if (f->n_rsp > 0)
		g_assert_cmpuint(f->rsp[1], ==, f->n_rsp);
}

static void exchange(Fixture *f, uint32_t header, uint32_t payload)
{
	const uint32_t request[] = { header, 3, payload };

	send(f, request, 3);
	g_assert_cmphex(status(f), ==, PCI_DOE_STA_READY);
	receive(f);
	g_assert_cmphex(f->rsp[0], ==, header);
}

#define DISCOVERY 0x00000001
#define CDAT      0x00021e98

static void test_discovery(Fixture *f, gconstpointer data)
{
	abort_doe(f);
	exchange(f, DISCOVERY, 0);
	g_assert_cmpuint(f->n_rsp, ==, 3);
	g_assert_cmphex(f->rsp[2], ==, 0x01000001);
	exchange(f, DISCOVERY, 1);
	g_assert_cmphex(f->rsp[2], ==, 0x00021e98);
	exchange(f, DISCOVERY, 0x0201); /* a version, as capability version 2 would have it */
	g_assert_cmphex(f->rsp[2], ==, 0x00021e98);
	exchange(f, DISCOVERY, 0xff);
	g_assert_cmphex(f->rsp[2], ==, 0x0000ffff);
}

static void test_cdat_loop(Fixture *f, gconstpointer data)
{
	uint8_t sum = 0;
	uint32_t handle = 0, total = 0, table_len = 0;

	exchange(f, CDAT, 0); /* Linux: reads the header twice */
	do {
		uint32_t len;

		exchange(f, CDAT, handle << 16);
		g_assert_cmphex(f->rsp[2] & 0xffff, ==, 0);
		len = 4 * (f->n_rsp - 3);
		if (handle == 0) {
			g_assert_cmpuint(len, ==, 16);
			table_len = f->rsp[3];
		} else {
			g_assert_cmpuint(f->rsp[3] >> 16, ==, len);
		}
		for (unsigned i = 3; i < f->n_rsp; i++) {
			for (unsigned shift = 0; shift < 32; shift += 8)
				sum = (uint8_t)(sum + (f->rsp[i] >> shift));
		}
		total += len;
		handle = f->rsp[2] >> 16;
	} while (handle != CXL_CDAT_DOE_LAST);
	g_assert_cmpuint(total, ==, table_len);
	g_assert_cmpuint(sum, ==, 0);
	g_assert_cmpuint(total, ==, 16 + 2 * 6 * 24);
}

static void test_malformed(Fixture *f, gconstpointer data)
{
	static const struct {
		const char *what;
		uint32_t dwords[DOE_MAX_DWORDS + 8];
		unsigned n;
	} rows[] = {
		{ "nothing", { 0 }, 0 },
		{ "half a header", { CDAT }, 1 },
		{ "header only", { CDAT, 2 }, 2 },
		{ "length 0 = 2^18", { CDAT, 0, 0 }, 3 },
		{ "length short", { CDAT, 2, 0 }, 3 },
		{ "length long", { CDAT, 4, 0 }, 3 },
		{ "length huge", { CDAT, 0x3ffff, 0 }, 3 },
		{ "one dword more", { CDAT, 4, 0, 0 }, 4 },
		{ "unknown vendor", { 0x00021234, 3, 0 }, 3 },
		{ "unknown type", { 0x00031e98, 3, 0 }, 3 },
		{ "not a read", { CDAT, 3, 1 }, 3 },
		{ "another table", { CDAT, 3, 0x100 }, 3 },
		{ "no such entry", { CDAT, 3, 13 << 16 }, 3 },
		{ "last entry's next", { CDAT, 3, 0xffff0000 }, 3 },
		{ "too long", { CDAT, DOE_MAX_DWORDS + 1 }, DOE_MAX_DWORDS + 1 },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_test_message("%s", rows[i].what);
		send(f, rows[i].dwords, rows[i].n);
		g_assert_cmphex(status(f), ==, PCI_DOE_STA_ERROR);
		g_assert_cmphex(doe_read(f->doe, PCI_DOE_REG_READ), ==, 0);
		/* Only abort helps */
		send(f, (const uint32_t[]){ CDAT, 3, 0 }, 3);
		g_assert_cmphex(status(f), ==, PCI_DOE_STA_ERROR);
		abort_doe(f);
		exchange(f, CDAT, 0);
	}
}

static void test_abort(Fixture *f, gconstpointer data)
{
	/* in the middle of a request */
	doe_write(f->doe, PCI_DOE_REG_WRITE, 0xdeadbeef, FULL);
	abort_doe(f);
	exchange(f, DISCOVERY, 0);
	/* in the middle of a response */
	send(f, (const uint32_t[]){ CDAT, 3, 0 }, 3);
	doe_write(f->doe, PCI_DOE_REG_READ, 0, FULL);
	abort_doe(f);
	g_assert_cmphex(doe_read(f->doe, PCI_DOE_REG_READ), ==, 0);
	exchange(f, DISCOVERY, 0);
	/* together with go */
	doe_write(f->doe, PCI_DOE_REG_WRITE, CDAT, FULL);
	doe_write(f->doe, PCI_DOE_REG_CTRL, PCI_DOE_CONTROL_ABORT | PCI_DOE_CONTROL_GO, FULL);
	g_assert_cmphex(status(f), ==, 0);
	/* go before the response was read */
	send(f, (const uint32_t[]){ CDAT, 3, 0 }, 3);
	send(f, (const uint32_t[]){ CDAT, 3, 0 }, 3);
	g_assert_cmphex(status(f), ==, PCI_DOE_STA_ERROR);
	abort_doe(f);
}

static void test_widths(Fixture *f, gconstpointer data)
{
	static const uint32_t masks[] = { 0xff, 0xff00, 0xff0000, 0xff000000, 0xffff, 0xffff0000 };

	for (unsigned i = 0; i < G_N_ELEMENTS(masks); i++) {
		doe_write(f->doe, PCI_DOE_REG_WRITE, CDAT, masks[i]);
		doe_write(f->doe, PCI_DOE_REG_CTRL, PCI_DOE_CONTROL_GO, masks[i]);
		g_assert_cmphex(status(f), ==, 0);
	}
	send(f, (const uint32_t[]){ CDAT, 3, 0 }, 3);
	for (unsigned i = 0; i < G_N_ELEMENTS(masks); i++) {
		doe_write(f->doe, PCI_DOE_REG_READ, 0, masks[i]);
		doe_write(f->doe, PCI_DOE_REG_CTRL, PCI_DOE_CONTROL_ABORT, masks[i]);
		g_assert_cmphex(doe_read(f->doe, PCI_DOE_REG_READ), ==, CDAT);
	}
	receive(f);
	g_assert_cmpuint(f->n_rsp, ==, 7);
	/* No interrupts, and they cannot be switched on */
	doe_write(f->doe, PCI_DOE_REG_CTRL, PCI_DOE_CONTROL_INT_EN, FULL);
	g_assert_cmphex(doe_read(f->doe, PCI_DOE_REG_CTRL), ==, 0);
	g_assert_cmphex(doe_read(f->doe, PCI_DOE_REG_CAP), ==, 0);
}

static void test_fuzz(Fixture *f, gconstpointer data)
{
	static const uint32_t values[] = { CDAT, DISCOVERY, 2, 3, 0, 1 << 16, 1, 0x80000000 };
	uint32_t seed = 0x5eed0003, n_ready = 0;
	g_autoptr(GRand) rand = g_rand_new_with_seed(seed);

	g_test_message("seed %#x", seed);
	for (unsigned op = 0; op < 100000; op++) {
		unsigned reg = 4 * (1 + g_rand_int(rand) % 5);
		uint32_t value = g_rand_int(rand) % 8 != 0 ? values[g_rand_int(rand) % 8]
							   : g_rand_int(rand);

		if (g_rand_int(rand) % 16 == 0)
			send(f, (const uint32_t[]){ CDAT, 3, g_rand_int(rand) % 16 << 16 }, 3);
		doe_write(f->doe, reg, value, g_rand_int(rand) % 4 != 0 ? FULL : 0xffff);
		g_assert_cmphex(status(f) & ~(PCI_DOE_STA_READY | PCI_DOE_STA_ERROR), ==, 0);
		g_assert_cmphex(status(f), !=, PCI_DOE_STA_READY | PCI_DOE_STA_ERROR);
		n_ready += status(f) == PCI_DOE_STA_READY;
		(void)doe_read(f->doe, reg);
	}
	g_assert_cmpuint(n_ready, >, 1000);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add("/unit/device/doe/discovery", Fixture, NULL, setup, test_discovery, teardown);
	g_test_add("/unit/device/doe/cdat-loop", Fixture, NULL, setup, test_cdat_loop, teardown);
	g_test_add("/unit/device/doe/malformed", Fixture, NULL, setup, test_malformed, teardown);
	g_test_add("/unit/device/doe/abort", Fixture, NULL, setup, test_abort, teardown);
	g_test_add("/unit/device/doe/widths", Fixture, NULL, setup, test_widths, teardown);
	g_test_add("/unit/device/doe/fuzz", Fixture, NULL, setup, test_fuzz, teardown);
	return g_test_run();
}

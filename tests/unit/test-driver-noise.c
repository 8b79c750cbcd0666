/* SPDX-License-Identifier: BSD-3-Clause */
/* Driver: devices whose registers, payloads and configuration space are full of noise. */
#include "dcd-fixture.h"

/* One run: how often a read is bent (1 in RATE), and what is left alone until the driver is up */
typedef struct Noise {
	GRand *rand;
	unsigned rate;
	bool config, registers, payload;
} Noise;

static Noise noise;

static void bend(uint8_t *buf, uint32_t len)
{
	uint32_t at = g_rand_int_range(noise.rand, 0, (gint32)len);

	switch (g_rand_int_range(noise.rand, 0, 4)) {
	case 0:
		buf[at] ^= (uint8_t)(1 << g_rand_int_range(noise.rand, 0, 8));
		break;
	case 1:
		buf[at] = (uint8_t)g_rand_int(noise.rand);
		break;
	case 2:
		memset(buf + at, 0xff, MIN(len - at, 8));
		break;
	default:
		memset(buf + at, 0, MIN(len - at, 8));
	}
}

static bool now(bool enabled)
{
	return enabled && g_rand_int_range(noise.rand, 0, (gint32)noise.rate) == 0;
}

static int noisy_config_read(void *opaque, uint32_t bdf, uint32_t offset, void *buf, uint32_t len)
{
	int err = fake_config_read(opaque, bdf, offset, buf, len);

	if (bdf >= 0x100 && now(noise.config))
		bend(buf, len);
	return err;
}

static int noisy_bar_read(void *opaque, uint32_t bdf, unsigned bar, uint64_t offset, void *buf,
			  uint32_t len)
{
	int err = 0;

	/* A bent locator may lead anywhere in the BAR it names, but not beyond. */
	if (bar != 0)
		memset(buf, 0xff, len);
	else
		err = fake_bar_read(opaque, bdf, bar, offset, buf, len);
	if (now(noise.registers))
		bend(buf, len);
	return err;
}

static int noisy_bar_write(void *opaque, uint32_t bdf, unsigned bar, uint64_t offset,
			   const void *buf, uint32_t len)
{
	return bar ? 0 : fake_bar_write(opaque, bdf, bar, offset, buf, len);
}

static uint64_t noisy_bar_len(void *opaque, uint32_t bdf, unsigned bar)
{
	return bar == 0 ? FAKE_BAR_LEN : bar == 2 ? 0x1000 : 0;
}

static int noisy_command(FakeEp *ep, uint16_t opcode, const uint8_t *in, uint32_t in_len,
			 uint8_t *out, uint32_t *out_len)
{
	int rc;

	if (now(noise.payload))
		return g_rand_int_range(noise.rand, 0, 0x30);
	/* Not the fake's memory but its word is at stake: it must not be asked what it cannot do.
	 */
	if (opcode == CXL_OP_GET_LOG &&
	    le32_load(in + 16) + le32_load(in + 20) > sizeof(fake_cel) * 2)
		return CXL_RC_INVALID_INPUT;
	rc = fake_default(ep, opcode, in, in_len, out, out_len);
	for (unsigned i = 0; i < 3 && *out_len && now(noise.payload); i++)
		bend(out, MIN(*out_len, 512));
	if (now(noise.payload))
		*out_len = (uint32_t)g_rand_int(noise.rand) >> g_rand_int_range(noise.rand, 0, 32);
	return rc;
}

static void live(Host *host)
{
	for (unsigned i = 0; i < 8; i++) {
		offer(host, (uint8_t)(0xa0 + i), 10 * i, 1 + i, false);
		cxl_dcd_poll(host->dcd, 1);
		if (i % 3 == 1)
			post(host, i % 2 ? CXL_DC_EVENT_RELEASE : CXL_DC_EVENT_FORCED_RELEASE,
			     extent((uint8_t)(0xa0 + i - 1), 10 * (i - 1), 0), false);
		cxl_dcd_poll(host->dcd, 1);
	}
	cxl_dcd_resync(host->dcd);
	cxl_dcd_release_range(host->dcd, DC_BASE, GIB);
}

static void one_run(uint32_t seed, gconstpointer kind)
{
	CxlBus bus = fake_bus;
	Host host = { .verdict = CXL_ACCEPT_ALL, .release = CXL_RELEASE_GROUP };
	CxlRegionSpec spec = { .n_memdevs = 1, .dpa = DC_BASE, .len = 16 * GIB };
	CxlDriverOptions options = { .media_ms = 100, .adopt = seed % 2 };
	CxlPlatform platform = { .n_windows = 1, .n_bridges = 1, .assign_buses = true };
	int err;

	bus.config_read = noisy_config_read;
	bus.bar_read = noisy_bar_read;
	bus.bar_write = noisy_bar_write;
	bus.bar_len = noisy_bar_len;
	bus.log = NULL;
	bus.bar_map = seed % 3 ? bus.bar_map : NULL;
	noise = (Noise){ .rand = g_rand_new_with_seed(seed), .rate = 3u << seed % 8 };
	noise.config = GPOINTER_TO_INT(kind) & 1;
	noise.registers = GPOINTER_TO_INT(kind) & 2;
	noise.payload = GPOINTER_TO_INT(kind) & 4;
	host.story = g_string_new(NULL);
	host.mapped = g_array_new(FALSE, FALSE, sizeof(CxlHostExtent));
	host.fake = fake_new(1, 2);
	host.ep = fake_plug(host.fake, 0, 0);
	host.ep->command = noisy_command;
	platform.windows = host.fake->window;
	platform.bridges = host.fake->host;
	host.fake->driver = cxl_driver_new(&bus, host.fake, &platform, &options);
	err = cxl_driver_enumerate(host.fake->driver);
	g_assert_cmpint(err, <=, 2);
	host.memdev = cxl_driver_memdev(host.fake->driver, 0);
	spec.memdevs = &host.memdev;
	if (host.memdev && cxl_driver_program(host.fake->driver, &spec, &host.region) >= 0)
		g_assert_nonnull(host.region);
	for (unsigned i = 0; i < 5 && host.memdev && !host.dcd; i++)
		cxl_dcd_start(host.memdev, &ops, &host, &(CxlDcdOptions){ .allow_unmapped = true },
			      &host.dcd);
	if (host.dcd)
		live(&host);
	if (host.region)
		cxl_driver_unprogram(host.fake->driver, host.region);
	fake_free(host.fake);
	g_string_free(host.story, TRUE);
	g_array_unref(host.mapped);
	g_rand_free(noise.rand);
}

/* DATA: 1 configuration space, 2 registers, 4 payloads */
static void test_noise(gconstpointer data)
{
	for (uint32_t i = 0; i < 300; i++)
		one_run(i, data);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_data_func("/unit/driver/noise/config", GINT_TO_POINTER(1), test_noise);
	g_test_add_data_func("/unit/driver/noise/registers", GINT_TO_POINTER(2), test_noise);
	g_test_add_data_func("/unit/driver/noise/payload", GINT_TO_POINTER(4), test_noise);
	g_test_add_data_func("/unit/driver/noise/all", GINT_TO_POINTER(7), test_noise);
	return g_test_run();
}

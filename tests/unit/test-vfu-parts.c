/* SPDX-License-Identifier: BSD-3-Clause */
/* The parts of the vfio-user link that need no socket: capability text, spinning. */
#include "link/vfu_caps.h"
#include "link/vfu_spin.h"
#include "link/vfu_wire.h"

#include <string.h>

static void test_caps_parse(void)
{
	static const struct {
		const char *json; /* NULL: none sent */
		uint32_t max_msg_fds, max_data;
	} cases[] = {
		{ NULL, 1, 1048576 },
		{ "{}", 1, 1048576 },
		{ "{\"capabilities\":{}}", 1, 1048576 },
		{ "{\"other\":[1,{}],\"capabilities\":{\"max_msg_fds\":16}}", 16, 1048576 },
		{ "{\"capabilities\":{\"max_data_xfer_size\":1,\"max_msg_fds\":0}}", 0, 1 },
		{ "{\"capabilities\":{\"max_msg_fds\":9223372036854775807}}", UINT32_MAX, 1048576 },
		{ "{\"capabilities\":{\"twin_socket\":{\"supported\":true},\"migration\":{}}}", 1,
		  1048576 },
	};

	for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
		const char *json = cases[i].json;
		VfuCaps caps;

		g_assert_null(vfu_caps_parse(json, json != NULL ? strlen(json) + 1 : 0, &caps));
		g_assert_cmpuint(caps.max_msg_fds, ==, cases[i].max_msg_fds);
		g_assert_cmpuint(caps.max_data, ==, cases[i].max_data);
	}
}

static void test_caps_refused(void)
{
	static const char *const cases[] = {
		"",
		"[]",
		"1",
		"{\"capabilities\":1}",
		"{\"capabilities\":{\"max_msg_fds\":-1}}",
		"{\"capabilities\":{\"max_msg_fds\":true}}",
		"{\"capabilities\":{\"max_data_xfer_size\":1.0}}",
		"{\"capabilities\":{\"max_data_xfer_size\":0}}",
		"{\"capabilities\":{\"pgsizes\":\"4096\"}}",
		"{\"capabilities\":{\"max_dma_maps\":[]}}",
		"{\"capabilities\":{\"write_multiple\":\"true\"}}",
		"{\"capabilities\":{\"migration\":[]}}",
		"{\"capabilities\":{\"twin_socket\":null}}",
	};
	g_autofree char *huge = g_strnfill(VFU_MAX_JSON, ' ');
	VfuCaps caps = { .max_msg_fds = 77, .max_data = 78 };

	for (guint i = 0; i < G_N_ELEMENTS(cases); i++)
		g_assert_nonnull(vfu_caps_parse(cases[i], strlen(cases[i]) + 1, &caps));
	g_assert_nonnull(vfu_caps_parse(huge, strlen(huge) + 1, &caps));
	g_assert_nonnull(vfu_caps_parse("{}", 2, &caps));
	g_assert_nonnull(vfu_caps_parse("{}\0", 4, &caps));
	g_assert_nonnull(vfu_caps_parse("{\xff}", 4, &caps));
	/* Untouched on failure. */
	g_assert_cmpuint(caps.max_msg_fds, ==, 77);
	g_assert_cmpuint(caps.max_data, ==, 78);
}

static const char *parse_nested(unsigned depth)
{
	g_autofree char *open = g_strnfill(depth - 1, '[');
	g_autofree char *close = g_strnfill(depth - 1, ']');
	g_autofree char *json = g_strdup_printf("{\"x\":%s%s}", open, close);
	VfuCaps caps;

	return vfu_caps_parse(json, strlen(json) + 1, &caps);
}

static void test_caps_depth(void)
{
	g_assert_null(parse_nested(64));
	g_assert_nonnull(parse_nested(65));
	g_assert_nonnull(parse_nested(1500));
}

static void test_caps_format(void)
{
	const VfuCaps caps = { .max_msg_fds = UINT32_MAX, .max_data = UINT32_MAX };
	char buf[128];
	VfuCaps again;
	size_t len = vfu_caps_format(&caps, buf, sizeof(buf));

	g_assert_cmpuint(len, ==, strlen(buf) + 1);
	g_assert_null(vfu_caps_parse(buf, len, &again));
	g_assert_cmpuint(again.max_msg_fds, ==, UINT32_MAX);
	g_assert_cmpuint(again.max_data, ==, UINT32_MAX);
}

/* How often a wait without success looked. */
static unsigned looks(VfuSpin *spin)
{
	unsigned n = 0;

	while (vfu_spin_again(spin))
		n++;
	return n;
}

static void test_spin(void)
{
	VfuSpin off = { .us = 0 };
	VfuSpin spin = { .us = 1 };

	g_assert_cmpuint(looks(&off), ==, 0);
	/* Patience first, then only some waits look. */
	for (unsigned i = 0; i < VFU_SPIN_PATIENCE; i++)
		g_assert_cmpuint(looks(&spin), >, 0);
	for (unsigned i = 0; i < 3 * VFU_SPIN_SKIP; i++)
		g_assert_cmpuint(looks(&spin) > 0, ==, i % VFU_SPIN_SKIP == VFU_SPIN_SKIP - 1);
	while (looks(&spin) == 0)
		;
	for (unsigned i = 1; i < VFU_SPIN_SKIP; i++)
		g_assert_cmpuint(looks(&spin), ==, 0);
	/* Finding something while looking makes it look each time again. */
	g_assert_true(vfu_spin_again(&spin));
	vfu_spin_found(&spin);
	g_assert_cmpuint(looks(&spin), >, 0);
	g_assert_cmpuint(looks(&spin), >, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/vfu/caps-parse", test_caps_parse);
	g_test_add_func("/unit/vfu/caps-refused", test_caps_refused);
	g_test_add_func("/unit/vfu/caps-depth", test_caps_depth);
	g_test_add_func("/unit/vfu/caps-format", test_caps_format);
	g_test_add_func("/unit/vfu/spin", test_spin);
	return g_test_run();
}

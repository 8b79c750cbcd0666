/* SPDX-License-Identifier: BSD-3-Clause */
/* Layout: reads --window options. */
#include "machine/layout.h"
#include "util/size.h"

#include <gio/gio.h>
#include <string.h>

static bool find_device(const MachineDeviceTraits *devices, unsigned n_devices, const char *name,
			unsigned *ret, GError **error)
{
	for (unsigned i = 0; i < n_devices; i++) {
		if (g_str_equal(devices[i].name, name)) {
			*ret = i;
			return true;
		}
	}
	g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
		    "the machine has no device \"%s\"; name it with --device", name);
	return false;
}

static bool parse_bridge(const char *text, const MachineDeviceTraits *devices, unsigned n_devices,
			 MachineWindowSpec *spec, GError **error)
{
	g_auto(GStrv) names = g_strsplit(text, ",", -1);
	unsigned bridge = spec->n_bridges;

	if (bridge == MACHINE_MAX_BRIDGES - 1) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
			    "more than %d host bridges", MACHINE_MAX_BRIDGES - 1);
		return false;
	}
	/* Of an empty text there is nothing to split. */
	if (!*names)
		return find_device(devices, n_devices, "", &bridge, error);
	for (char **name = names; *name; name++) {
		unsigned port = spec->n_ports[bridge];

		if (port == MACHINE_MAX_PORTS) {
			g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
				    "%s: more than %d devices under one host bridge", text,
				    MACHINE_MAX_PORTS);
			return false;
		}
		if (!find_device(devices, n_devices, *name, &spec->devices[bridge][port], error))
			return false;
		spec->n_ports[bridge]++;
	}
	spec->n_bridges++;
	return true;
}

/*
 * Cuts what follows the last C off TEXT and reads it as the size of WHAT. True if there is no C. 0
 * would stand for the default.
 */
static bool take_size(char *text, char c, const char *what, uint64_t *size, GError **error)
{
	char *at = strrchr(text, c);

	if (!at)
		return true;
	*at = '\0';
	if (!size_parse(at + 1, size, error))
		return false;
	if (*size > 0)
		return true;
	g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, "%s 0: must be greater", what);
	return false;
}

bool machine_window_spec_parse(const char *text, const MachineDeviceTraits *devices,
			       unsigned n_devices, MachineWindowSpec *ret, GError **error)
{
	g_autofree char *copy = g_strdup(text);
	g_auto(GStrv) bridges = NULL;
	MachineWindowSpec spec = { 0 };
	uint64_t granularity = 0;

	if (!take_size(copy, '=', "size", &spec.len, error) ||
	    !take_size(copy, '@', "granularity", &granularity, error)) {
		g_prefix_error(error, "window %s: ", text);
		return false;
	}
	if (granularity > UINT32_MAX) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
			    "window %s: granularity %" G_GUINT64_FORMAT ": at most 16384 bytes",
			    text, granularity);
		return false;
	}
	spec.granularity = (uint32_t)granularity;
	bridges = g_strsplit(copy, "/", -1);
	for (unsigned i = 0; i == 0 || bridges[i]; i++) {
		if (!parse_bridge(bridges[i] ? bridges[i] : "", devices, n_devices, &spec, error)) {
			g_prefix_error(error, "window %s: ", text);
			return false;
		}
	}
	*ret = spec;
	return true;
}

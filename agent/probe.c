/* SPDX-License-Identifier: BSD-3-Clause */
/* What there is, and what may be taken. */
#include "agent/probe.h"

#include "agent/json.h"
#include "agent/platform.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_bridges(Json *json, const Platform *platform)
{
	json_begin_array(json, "bridges");
	for (unsigned i = 0; i < platform->n_bridges; i++) {
		const PlatformBridge *bridge = &platform->bridges[i];

		json_begin_object(json, NULL);
		json_number(json, "uid", bridge->uid);
		json_text(json, "path", bridge->name);
		json_number(json, "bus-first", bridge->bus_first);
		json_number(json, "bus-last", bridge->bus_last);
		json_number(json, "registers", bridge->chbcr);
		json_end_object(json);
	}
	json_end_array(json);
}

static void put_windows(Json *json, const Platform *platform)
{
	json_begin_array(json, "windows");
	for (unsigned i = 0; i < platform->cedt.n_windows; i++) {
		const CxlWindow *window = &platform->cedt.windows[i];

		json_begin_object(json, NULL);
		json_number(json, "hpa", window->hpa);
		json_number(json, "len", window->len);
		json_number(json, "restrictions", window->restrictions);
		json_begin_array(json, "targets");
		for (unsigned k = 0; k < window->ways; k++)
			json_number(json, NULL, window->targets[k]);
		json_end_array(json);
		json_end_object(json);
	}
	json_end_array(json);
}

static void put_devices(Json *json, const Platform *platform)
{
	json_begin_array(json, "devices");
	for (unsigned i = 0; i < platform->n_devices; i++) {
		const PlatformDevice *device = &platform->devices[i];
		AgentError why = { "" };
		bool may = platform_may_take(platform, device, &why);

		json_begin_object(json, NULL);
		json_text(json, "device", device->name);
		json_text(json, "driver", device->driver[0] ? device->driver : NULL);
		if (device->bridge >= 0)
			json_number(json, "bridge", platform->bridges[device->bridge].uid);
		else
			json_text(json, "bridge", NULL);
		json_bool(json, "may-be-taken", may);
		json_text(json, "why-not", may ? NULL : why.text);
		json_end_object(json);
	}
	json_end_array(json);
}

bool probe_print(const char *root, AgentError *error)
{
	Platform *platform = calloc(1, sizeof(*platform));
	Json json = { 0 };
	bool ok = platform ? platform_read(platform, root, error)
			   : agent_fail(error, "out of memory");

	if (ok) {
		json_begin_object(&json, NULL);
		put_bridges(&json, platform);
		put_windows(&json, platform);
		put_devices(&json, platform);
		json_end_object(&json);
		json_end_line(&json);
		if (json.is_broken)
			ok = agent_fail(error, "out of memory");
		else
			fputs(json.text, stdout);
		json_clear(&json);
	}
	free(platform);
	return ok;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* softdcd run: the machine's devices, as the daemon of a pool describes them. */
#include "cli/client.h"
#include "cli/run.h"

void run_add_device(RunCmd *cmd, const RunDevice *device)
{
	RunDevice copy = {
		.name = run_keep(cmd, g_strdup(device->name)),
		.vfio_path = run_keep(cmd, g_strdup(device->vfio_path)),
		.mem_path = run_keep(cmd, g_strdup(device->mem_path)),
		.is_persistent = device->is_persistent,
		.is_dynamic = device->is_dynamic,
	};
	MachineDevice machine_device = {
		.name = copy.name,
		.vfio_path = copy.vfio_path,
		.mem_path = copy.mem_path,
		.is_persistent = copy.is_persistent,
	};
	MachineDeviceTraits traits = { .name = copy.name, .is_persistent = copy.is_persistent };

	g_array_append_val(cmd->devices, copy);
	g_array_append_val(cmd->machine_devices, machine_device);
	g_array_append_val(cmd->traits, traits);
}

static JsonObject *find(JsonArray *devices, const char *name)
{
	for (guint i = 0; i < json_array_get_length(devices); i++) {
		JsonObject *device = json_array_get_object_element(devices, i);

		if (g_strcmp0(cli_member_text(device, "id"), name) == 0)
			return device;
	}
	return NULL;
}

static bool is_named_twice(const RunCmd *cmd, const char *name)
{
	for (guint i = 0; i < cmd->devices->len; i++) {
		if (g_str_equal(g_array_index(cmd->devices, RunDevice, i).name, name))
			return true;
	}
	return false;
}

static ExitCode take(RunCmd *cmd, JsonArray *devices, const char *name)
{
	JsonObject *device = find(devices, name);
	JsonObject *sockets = device && json_object_has_member(device, "sockets")
				      ? json_object_get_object_member(device, "sockets")
				      : NULL;

	if (!sockets || !cli_member_text(sockets, "vfio") || !cli_member_text(sockets, "mem")) {
		cli_complain(cmd->args,
			     "pool %s has no device %s; softdcd list -D shows those it has",
			     cli_text(cmd->args, "pool"), name);
		return EXIT_NO_OBJECT;
	}
	if (is_named_twice(cmd, name)) {
		cli_complain(cmd->args, "device %s is named twice", name);
		return EXIT_USAGE;
	}
	run_add_device(cmd, &(RunDevice){
				    .name = name,
				    .vfio_path = cli_member_text(sockets, "vfio"),
				    .mem_path = cli_member_text(sockets, "mem"),
				    .is_persistent = cli_member_int(device, "pmem") != 0,
				    .is_dynamic = cli_member_int(device, "ram") == 0 &&
						  cli_member_int(device, "pmem") == 0,
			    });
	return EXIT_DONE;
}

ExitCode run_find_devices(RunCmd *cmd)
{
	CliClient client;
	JsonArray *devices;
	ExitCode code;

	if (!cli_client_open(&client, cmd->args))
		return client.exit;
	devices = cli_client_list(&client, "query-devices", NULL);
	code = devices ? EXIT_DONE : client.exit;
	for (unsigned i = 0; code == EXIT_DONE && i < cli_n_values(cmd->args, "device"); i++)
		code = take(cmd, devices, cli_value(cmd->args, "device", i)->text);
	g_clear_pointer(&devices, json_array_unref);
	cli_client_close(&client);
	return code;
}

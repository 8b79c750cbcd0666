/* SPDX-License-Identifier: BSD-3-Clause */
/* Keeping the kernel's drivers away from what we use, and letting them in again. */
#include "agent/agent.h"
#include "cxl/component.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define OVERRIDE "softdcd-agent" /* a driver that does not exist */

/* ---- the device ---- */

static bool write_override(const AgentDevice *device, const char *name)
{
	int fd = sys_open(O_WRONLY, device->agent->options.root,
			  "/sys/bus/pci/devices/%s/driver_override", device->info->name);
	ssize_t n = -1;

	if (fd < 0)
		return false;
	n = write(fd, name, strlen(name));
	close(fd);
	return n == (ssize_t)strlen(name);
}

/* One that is there already stays: somebody wants no driver on it, as we do. */
static bool set_override(AgentDevice *device, AgentError *error)
{
	const char *root = device->agent->options.root;
	const char *name = device->info->name;
	char line[64];

	if (sys_read_line(line, sizeof(line), root, "/sys/bus/pci/devices/%s/driver_override",
			  name) < 0 ||
	    (strcmp(line, "(null)") != 0 && line[0]))
		return true;
	if (!write_override(device, OVERRIDE))
		return agent_fail(error, "%s: the kernel's drivers cannot be kept off: %s", name,
				  strerror(errno));
	device->has_override = true;
	/* One may have come while we looked. */
	if (sys_real_path((char[SYS_PATH_LEN]){ "" }, root, "/sys/bus/pci/devices/%s/driver",
			  name) < 0)
		return true;
	write_override(device, "\n");
	return agent_fail(error, "%s: a driver of the kernel has just taken it", name);
}

/* ---- its host bridge ---- */

static bool write_port(const AgentDevice *device, const char *file, const char *port)
{
	int fd = sys_open(O_WRONLY, device->agent->options.root, "/sys/bus/cxl/drivers/cxl_port/%s",
			  file);
	ssize_t n;

	if (fd < 0)
		return false;
	n = write(fd, port, strlen(port));
	close(fd);
	return n > 0;
}

/*
 * Linux: cxl_port keeps the registers of a host bridge as soon as that has decoders, whether or not
 * there is anything below it. Nobody needs them there: platform_may_take() has seen to it that no
 * device below has a driver.
 */
static void unbind_port(AgentDevice *device)
{
	const Agent *agent = device->agent;
	const PlatformBridge *bridge = &agent->platform->bridges[device->info->bridge];
	char owner[64];

	if (!platform_busy_owner(agent->options.root, bridge->chbcr, CXL_COMPONENT_LEN, owner) ||
	    strncmp(owner, "port", 4) != 0 ||
	    strspn(owner + 4, "0123456789") != strlen(owner + 4) ||
	    strlen(owner) >= sizeof(device->unbound_port) || !write_port(device, "unbind", owner))
		return;
	memcpy(device->unbound_port, owner, strlen(owner) + 1);
	complain("host bridge %" PRIu32 ": the kernel's %s has let go of it", bridge->uid, owner);
}

bool kernel_keep_off(AgentDevice *device, AgentError *error)
{
	if (!set_override(device, error))
		return false;
	unbind_port(device);
	return true;
}

void kernel_let_in(AgentDevice *device)
{
	if (device->has_override)
		write_override(device, "\n");
	if (device->unbound_port[0] && !write_port(device, "bind", device->unbound_port))
		complain("the kernel's %s does not take its host bridge back",
			 device->unbound_port);
}

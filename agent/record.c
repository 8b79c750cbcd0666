/* SPDX-License-Identifier: BSD-3-Clause */
/* Records: which device an agent has, and which decoders an agent that died has left behind. */
#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Design. One file per device, locked as long as an agent has the device, and one per host bridge,
 * as its decoders can have one owner only. The device's is written before the first decoder is
 * committed and emptied after the last is taken back, and holds good for as long as this kernel
 * runs: then what lies in its window is ours. After a boot nothing can be ours.
 */
#define BOOT_ID_LEN 37

static bool read_boot_id(const AgentDevice *device, char boot_id[BOOT_ID_LEN])
{
	return sys_read_line(boot_id, BOOT_ID_LEN, device->agent->options.root,
			     "/proc/sys/kernel/random/boot_id") == 0 &&
	       boot_id[0];
}

/* A file of this name in the state directory, locked; -1 with an error. */
static int open_locked(const char *dir, const char *name, AgentError *error)
{
	int fd = sys_open(O_RDWR | O_CREAT | O_NOFOLLOW, dir, "/%s", name);

	if (fd < 0) {
		agent_fail(error, "record %s/%s cannot be opened: %s", dir, name, strerror(-fd));
		return -1;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	agent_fail(error, "another softdcd-agent has it: %s/%s is locked", dir, name);
	close(fd);
	return -1;
}

static bool has_bridge(const Agent *agent, int bridge)
{
	for (unsigned i = 0; i < agent->n_devices; i++) {
		if (agent->devices[i].bridge_fd >= 0 && agent->devices[i].info->bridge == bridge)
			return true;
	}
	return false;
}

bool record_open(AgentDevice *device, AgentError *error)
{
	const Agent *agent = device->agent;
	const char *dir = agent->options.state_dir;
	char bridge[32];

	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return agent_fail(error, "directory %s cannot be made: %s", dir, strerror(errno));
	if (!has_bridge(agent, device->info->bridge)) {
		snprintf(bridge, sizeof(bridge), "bridge-%" PRIu32,
			 agent->platform->bridges[device->info->bridge].uid);
		device->bridge_fd = open_locked(dir, bridge, error);
		if (device->bridge_fd < 0)
			return false;
	}
	device->record_fd = open_locked(dir, device->info->name, error);
	return device->record_fd >= 0;
}

bool record_read(const AgentDevice *device, Record *ret_record)
{
	char text[256];
	char boot_id[BOOT_ID_LEN];
	char recorded_id[BOOT_ID_LEN];
	Record record;
	ssize_t n = pread(device->record_fd, text, sizeof(text) - 1, 0);

	if (n <= 0 || !read_boot_id(device, boot_id))
		return false;
	text[n] = '\0';
	if (sscanf(text, "%36s %" SCNx64 " %" SCNx64 " %" SCNx64, recorded_id, &record.serial,
		   &record.hpa, &record.len) != 4 ||
	    strcmp(recorded_id, boot_id) != 0)
		return false;
	*ret_record = record;
	return true;
}

bool record_write(const AgentDevice *device, const Record *record, AgentError *error)
{
	char boot_id[BOOT_ID_LEN];
	char text[256];
	int n;

	if (!read_boot_id(device, boot_id))
		return agent_fail(error, "the kernel's boot_id cannot be read");
	n = snprintf(text, sizeof(text), "%s %" PRIx64 " %" PRIx64 " %" PRIx64 "\n", boot_id,
		     record->serial, record->hpa, record->len);
	if (ftruncate(device->record_fd, 0) == 0 &&
	    pwrite(device->record_fd, text, (size_t)n, 0) == n)
		return true;
	return agent_fail(error, "the record of %s cannot be written: %s", device->info->name,
			  strerror(errno));
}

void record_drop(AgentDevice *device)
{
	if (ftruncate(device->record_fd, 0) < 0)
		complain("the record of %s cannot be emptied: %s", device->info->name,
			 strerror(errno));
}

void record_close(AgentDevice *device)
{
	if (device->record_fd >= 0)
		close(device->record_fd);
	if (device->bridge_fd >= 0)
		close(device->bridge_fd);
	device->record_fd = -1;
	device->bridge_fd = -1;
}

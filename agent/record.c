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
 * Design. One file per device, locked as long as an agent has the device. It is written before the
 * first decoder is committed and emptied after the last is taken back, and holds good for as long
 * as this kernel runs: then what lies in its window is ours. After a boot nothing can be ours.
 */
#define BOOT_ID_LEN 37

static bool read_boot_id(const AgentDevice *device, char boot_id[BOOT_ID_LEN])
{
	return sys_read_line(boot_id, BOOT_ID_LEN, device->agent->options.root,
			     "/proc/sys/kernel/random/boot_id") == 0 &&
	       boot_id[0];
}

bool record_open(AgentDevice *device, AgentError *error)
{
	const char *dir = device->agent->options.state_dir;
	const char *name = device->info->name;

	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return agent_fail(error, "directory %s cannot be made: %s", dir, strerror(errno));
	device->record_fd = sys_open(O_RDWR | O_CREAT | O_NOFOLLOW, dir, "/%s", name);
	if (device->record_fd < 0)
		return agent_fail(error, "record %s/%s cannot be opened: %s", dir, name,
				  strerror(-device->record_fd));
	if (flock(device->record_fd, LOCK_EX | LOCK_NB) == 0)
		return true;
	return agent_fail(error, "%s: another softdcd-agent has it (record %s/%s is locked)", name,
			  dir, name);
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
	close(device->record_fd);
	device->record_fd = -EBADF;
}

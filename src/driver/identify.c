/* SPDX-License-Identifier: BSD-3-Clause */
/* What a device tells by commands: supported logs, effects log, identity, DC regions. */
#include "driver/driver_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_CEL_LEN  (4096 * (uint32_t)sizeof(CxlCelEntry))
#define MAX_SUP_LOGS 64

/* Length of the command effects log as 0400h gives it */
static int find_cel(CxlMemdev *memdev, uint32_t *ret_len)
{
	static const uint8_t uuid[CXL_UUID_LEN] = CXL_UUID_CEL;
	struct {
		CxlSupportedLogsOut header;
		CxlSupportedLog log[MAX_SUP_LOGS];
	} out;
	uint32_t len;
	unsigned n;
	int err;

	err = memdev_call(memdev, CXL_OP_GET_SUPPORTED_LOGS, NULL, 0, &out, sizeof(out),
			  sizeof(out.header), &len);
	if (err < 0)
		return err;
	n = le16_get(out.header.n_logs);
	if (n > (len - sizeof(out.header)) / sizeof(out.log[0]))
		return driver_fail(memdev->driver, -EPROTO, "%s: %u logs in %u bytes", memdev->name,
				   n, len);
	for (unsigned i = 0; i < n; i++) {
		if (memcmp(out.log[i].uuid, uuid, sizeof(uuid)) == 0) {
			*ret_len = le32_get(out.log[i].len);
			return 0;
		}
	}
	return driver_fail(memdev->driver, -ENOENT, "%s: no command effects log", memdev->name);
}

static int read_cel(CxlMemdev *memdev)
{
	CxlGetLogIn in = { .uuid = CXL_UUID_CEL };
	uint32_t total;
	uint8_t *raw;
	int err;

	err = find_cel(memdev, &total);
	if (err < 0)
		return err;
	if (total > MAX_CEL_LEN || total % sizeof(CxlCelEntry))
		return driver_fail(memdev->driver, -EPROTO, "%s: command effects log of %u bytes",
				   memdev->name, total);
	raw = malloc(total ? total : 1);
	memdev->cel = calloc(total / sizeof(CxlCelEntry) + 1, sizeof(*memdev->cel));
	if (!raw || !memdev->cel) {
		free(raw);
		return driver_fail(memdev->driver, -ENOMEM, "out of memory");
	}
	for (uint32_t pos = 0; pos < total;) {
		uint32_t n = total - pos;

		if (n > memdev->info.payload_len)
			n = memdev->info.payload_len;
		in.offset = le32_put(pos);
		in.len = le32_put(n);
		err = memdev_call(memdev, CXL_OP_GET_LOG, &in, sizeof(in), raw + pos, n, n, NULL);
		if (err < 0) {
			free(raw);
			return err;
		}
		pos += n;
	}
	for (uint32_t pos = 0; pos < total; pos += sizeof(CxlCelEntry)) {
		memdev->cel[memdev->n_cel].opcode = le16_load(raw + pos);
		memdev->cel[memdev->n_cel++].effects = le16_load(raw + pos + 2);
	}
	free(raw);
	return 0;
}

/* Event timestamps should mean something; a device without a clock may refuse. */
static int set_timestamp(CxlMemdev *memdev)
{
	struct timespec now = { 0 };
	CxlTimestamp in;
	int rc;

	clock_gettime(CLOCK_REALTIME, &now);
	in.ns = le64_put((uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec);
	rc = cxl_memdev_command(memdev, CXL_OP_SET_TIMESTAMP, &in, sizeof(in), NULL, 0, NULL);
	if (rc > 0 && rc != CXL_RC_UNSUPPORTED)
		return driver_fail(memdev->driver, -EIO, "%s: Set Timestamp: %s", memdev->name,
				   cxl_rc_name(rc));
	return rc < 0 ? rc : 0;
}

static bool units_to_bytes(le64 units, uint64_t *ret_len)
{
	return !__builtin_mul_overflow(le64_get(units), CXL_CAPACITY_UNIT, ret_len);
}

static int identify(CxlMemdev *memdev)
{
	CxlMemdevInfo *info = &memdev->info;
	CxlIdentifyMemdevOut out;
	CxlPartitionInfoOut parts;
	int err;

	memset(&out, 0, sizeof(out));
	err = memdev_call(memdev, CXL_OP_IDENTIFY_MEMDEV, NULL, 0, &out, sizeof(out),
			  offsetof(CxlIdentifyMemdevOut, dc_event_log_size), NULL);
	if (err < 0)
		return err;
	if (!units_to_bytes(out.total_capacity, &info->total_len) ||
	    !units_to_bytes(out.volatile_capacity, &info->ram_len) ||
	    !units_to_bytes(out.persistent_capacity, &info->pmem_len))
		goto absurd;
	memcpy(info->fw_revision, out.fw_revision, sizeof(out.fw_revision));
	info->lsa_len = le32_get(out.lsa_len);
	if (le64_get(out.partition_align)) {
		err = memdev_call(memdev, CXL_OP_GET_PARTITION_INFO, NULL, 0, &parts, sizeof(parts),
				  sizeof(parts), NULL);
		if (err < 0)
			return err;
		if (!units_to_bytes(parts.active_volatile, &info->ram_len) ||
		    !units_to_bytes(parts.active_persistent, &info->pmem_len))
			goto absurd;
	}
	if (info->ram_len > info->total_len || info->pmem_len > info->total_len - info->ram_len)
		goto absurd;
	return 0;
absurd:
	info->total_len = info->ram_len = info->pmem_len = 0;
	return driver_fail(memdev->driver, -EPROTO, "%s: capacities make no sense", memdev->name);
}

/* Does a region fit the rules, behind all that ends at END */
static bool region_sane(const CxlDcRegionInfo *region, uint64_t end)
{
	uint64_t block = region->block_len;

	return region->decode_len && region->dpa + region->decode_len > region->dpa &&
	       region->dpa >= end && region->dpa % CXL_HDM_ALIGN == 0 && block >= 64 &&
	       (block & (block - 1)) == 0 && region->dpa % block == 0 && region->len &&
	       region->len <= region->decode_len && region->len % block == 0 &&
	       region->dsmad_handle <= 0xff;
}

static int take_regions(CxlMemdev *memdev, const CxlDcRegionConfig *config, unsigned n,
			uint64_t *end)
{
	CxlMemdevInfo *info = &memdev->info;

	for (unsigned i = 0; i < n; i++) {
		CxlDcRegionInfo *region = &memdev->dc_regions[info->n_dc_regions];

		*region = (CxlDcRegionInfo){
			.dpa = le64_get(config[i].base_dpa),
			.len = le64_get(config[i].len),
			.block_len = le64_get(config[i].block_len),
			.dsmad_handle = le32_get(config[i].dsmad_handle),
			.flags = config[i].flags,
		};
		if (!units_to_bytes(config[i].decode_len, &region->decode_len) ||
		    !region_sane(region, *end))
			return driver_fail(memdev->driver, -EPROTO,
					   "%s: DC region %u breaks the rules of 4800h",
					   memdev->name, info->n_dc_regions);
		*end = region->dpa + region->decode_len;
		info->n_dc_regions++;
	}
	return 0;
}

static int read_dc_config(CxlMemdev *memdev)
{
	CxlMemdevInfo *info = &memdev->info;
	uint64_t end = info->total_len;
	struct {
		CxlDcConfigOut header;
		CxlDcRegionConfig region[CXL_DC_MAX_REGIONS];
		CxlDcConfigTail tail;
	} out;
	unsigned available;

	do {
		CxlDcConfigIn in = {
			.n_regions = (uint8_t)(CXL_DC_MAX_REGIONS - info->n_dc_regions),
			.start = (uint8_t)info->n_dc_regions,
		};
		size_t list_len;
		uint32_t len;
		unsigned n;
		int err;

		err = memdev_call(memdev, CXL_OP_GET_DC_CONFIG, &in, sizeof(in), &out, sizeof(out),
				  sizeof(out.header), &len);
		if (err < 0)
			return err;
		available = out.header.n_available;
		n = out.header.n_returned;
		list_len = sizeof(out.header) + n * sizeof(out.region[0]);
		if (available < 1 || available > CXL_DC_MAX_REGIONS || n < 1 ||
		    n > available - info->n_dc_regions || len < list_len)
			return driver_fail(memdev->driver, -EPROTO,
					   "%s: 4800h gives %u of %u DC regions in %u bytes",
					   memdev->name, n, available, len);
		if (len >= list_len + sizeof(out.tail)) {
			const uint8_t *tail = (const uint8_t *)&out + list_len;

			info->n_extents_supported = le32_load(tail);
		}
		err = take_regions(memdev, out.region, n, &end);
		if (err < 0)
			return err;
	} while (info->n_dc_regions < available);
	return 0;
}

int memdev_identify(CxlMemdev *memdev)
{
	CxlDriver *driver = memdev->driver;
	bool has_dc = true;
	int err;

	err = read_cel(memdev);
	if (err >= 0)
		err = set_timestamp(memdev);
	if (err < 0 || !memdev->info.media_ready)
		return err;
	err = identify(memdev);
	if (err < 0)
		return err;
	for (uint16_t op = CXL_OP_GET_DC_CONFIG; op <= CXL_OP_RELEASE_DC; op++)
		has_dc = has_dc && cxl_memdev_effects(memdev, op) >= 0;
	if (!has_dc)
		return 0;
	err = read_dc_config(memdev);
	if (err < 0) {
		driver_log(driver, "%s: no dynamic capacity: %s", memdev->name, driver->error);
		memdev->info.n_dc_regions = 0;
	}
	memdev->info.has_dc = err >= 0;
	return 0;
}

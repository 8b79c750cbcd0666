/* SPDX-License-Identifier: BSD-3-Clause */
/* What a vfio-user client learns about the device when it connects. */
#include "link/vfu_client_setup.h"

#include "link/vfu_caps.h"
#include "util/autofd.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define MAX_ARGSZ     4096u /* of one region's info with its capabilities */
#define MIN_DATA      4096u /* configuration space is read as a whole */
#define MAX_DATA      (64u << 20)
#define MAX_IRQ_COUNT 2048u

/* For replies that make no sense; the server is not one we can use. */
G_GNUC_PRINTF(2, 3)
static bool refuse(GError **error, const char *format, ...)
{
	g_autofree char *what = NULL;
	va_list args;

	va_start(args, format);
	what = g_strdup_vprintf(format, args);
	va_end(args);
	g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
		    "vfio-user server broke the protocol: %s", what);
	return false;
}

static bool ask(VfuClient *client, VfuExchange *x, GError **error)
{
	int rc = vfu_client_conn_exchange(&client->conn, x);

	if (rc == 0)
		return true;
	if (rc == -EPROTO)
		return refuse(error, "malformed reply to %s", vfu_command_name(x->command));
	g_set_error(error, G_IO_ERROR, g_io_error_from_errno(-rc), "vfio-user %s failed: %s",
		    vfu_command_name(x->command), g_strerror(-rc));
	return false;
}

/* ---- VERSION, GET_INFO ---- */

static bool negotiate(VfuClient *client, GError **error)
{
	static const VfuCaps ours = { .max_msg_fds = 1, .max_data = VFU_MAX_DATA };
	VfuVersion version = { .major = le16_put(0), .minor = le16_put(0) };
	VfuVersion answer;
	char our_json[128];
	char json[VFU_MAX_JSON];
	VfuExchange x = {
		.command = VFU_VERSION,
		.request = &version,
		.request_len = sizeof(version),
		.data = our_json,
		.data_len = vfu_caps_format(&ours, our_json, sizeof(our_json)),
		.reply_min = sizeof(answer),
		.reply = &answer,
		.reply_len = sizeof(answer),
		.reply_data = json,
		.reply_data_len = sizeof(json),
	};
	const char *why;
	VfuCaps caps;

	if (!ask(client, &x, error))
		return false;
	if (le16_get(answer.major) != 0 || le16_get(answer.minor) != 0)
		return refuse(error, "version %u.%u where 0.0 was asked for",
			      le16_get(answer.major), le16_get(answer.minor));
	why = vfu_caps_parse(json, x.ret_len - sizeof(answer), &caps);
	if (why != NULL)
		return refuse(error, "%s", why);
	if (caps.max_data < MIN_DATA || caps.max_data > MAX_DATA)
		return refuse(error, "max_data_xfer_size %u is not within %u..%u", caps.max_data,
			      MIN_DATA, MAX_DATA);
	client->max_data = MIN(caps.max_data, VFU_MAX_DATA);
	client->max_fds = MIN(caps.max_msg_fds, VFU_MAX_FDS);
	return true;
}

static bool get_info(VfuClient *client, GError **error)
{
	VfuDeviceInfo info = { .argsz = le32_put(sizeof(info)) };
	VfuExchange x = {
		.command = VFU_DEVICE_GET_INFO,
		.request = &info,
		.request_len = sizeof(info),
		.reply_min = sizeof(info),
		.reply = &info,
		.reply_len = sizeof(info),
	};
	uint32_t n_regions, n_irqs;

	if (!ask(client, &x, error))
		return false;
	n_regions = le32_get(info.n_regions);
	n_irqs = le32_get(info.n_irqs);
	if ((le32_get(info.flags) & VFU_DEVICE_PCI) == 0)
		return refuse(error, "not a PCI device");
	if (n_regions <= VFU_REGION_CONFIG || n_regions > VFU_CLIENT_MAX_REGIONS)
		return refuse(error, "%u regions", n_regions);
	if (n_irqs <= VFU_IRQ_MSIX || n_irqs > VFU_CLIENT_MAX_IRQS)
		return refuse(error, "%u interrupt indexes", n_irqs);
	client->n_regions = n_regions;
	client->n_irqs = n_irqs;
	return true;
}

/* ---- mapping ---- */

/* Memory of a file that can shrink, or fail to have pages, would kill us with SIGBUS one day. */
static bool is_safe_to_map(int fd, uint64_t file_end)
{
	int seals = fcntl(fd, F_GET_SEALS); /* fails on all but memfds: what follows is safe */
	struct statfs fs;
	struct stat st;

	if (seals < 0 || (seals & F_SEAL_SHRINK) == 0)
		return false;
	if (fstatfs(fd, &fs) < 0 || fs.f_type != TMPFS_MAGIC)
		return false; /* hugetlb */
	return fstat(fd, &st) == 0 && st.st_size >= 0 && (uint64_t)st.st_size >= file_end;
}

/* Leaves the area to messages if its file is not good enough. */
static void map_area(VfuClientRegion *region, int fd, uint64_t fd_offset, uint64_t offset,
		     uint64_t len)
{
	int prot = PROT_READ | (region->writable ? PROT_WRITE : 0);
	VfuMapping mapping = { .offset = offset, .len = len };
	uint64_t start, end;
	void *hva;

	if (__builtin_add_overflow(fd_offset, offset, &start) ||
	    __builtin_add_overflow(start, len, &end) || end > INT64_MAX ||
	    start % (uint64_t)getpagesize() != 0 || !is_safe_to_map(fd, end))
		return;
	hva = mmap(NULL, len, prot, MAP_SHARED, fd, (off_t)start);
	if (hva == MAP_FAILED)
		return;
	mapping.hva = hva;
	if (region->mappings == NULL)
		region->mappings = g_array_new(FALSE, FALSE, sizeof(VfuMapping));
	g_array_append_val(region->mappings, mapping);
}

void vfu_client_unmap(VfuClient *client)
{
	for (unsigned i = 0; i < client->n_regions; i++) {
		GArray *mappings = client->regions[i].mappings;

		for (guint j = 0; mappings != NULL && j < mappings->len; j++) {
			VfuMapping *mapping = &g_array_index(mappings, VfuMapping, j);

			munmap(mapping->hva, mapping->len);
		}
		g_clear_pointer(&client->regions[i].mappings, g_array_unref);
	}
}

/* ---- REGION_INFO ---- */

/* One region's info as received: LEN bytes from the start of the struct. */
typedef struct InfoSpan {
	const uint8_t *start;
	uint32_t len;
} InfoSpan;

/* The offset of the sparse capability, 0 if there is none. */
static bool find_sparse_cap(const InfoSpan *span, uint32_t first, uint32_t *ret_offset,
			    GError **error)
{
	uint32_t offset = first;
	uint32_t minimum = sizeof(VfuRegionInfo);
	uint32_t found = 0;

	while (offset != 0) {
		const VfuCap *cap;

		/* Strictly forward, so that a chain ends. */
		if (offset < minimum || offset > span->len - sizeof(*cap))
			return refuse(error, "capability at offset %u", offset);
		cap = (const VfuCap *)(span->start + offset);
		if (le16_get(cap->id) == VFU_CAP_SPARSE_MMAP) {
			if (found != 0 || le16_get(cap->version) != 1)
				return refuse(error, "unusable sparse mmap capability");
			found = offset;
		}
		minimum = offset + (uint32_t)sizeof(*cap);
		offset = le32_get(cap->next);
	}
	*ret_offset = found;
	return true;
}

static bool is_area_of(const VfuClientRegion *region, uint64_t offset, uint64_t len)
{
	uint64_t page_mask = (uint64_t)getpagesize() - 1;

	return ((offset | len) & page_mask) == 0 && len <= region->len &&
	       offset <= region->len - len;
}

static bool map_sparse_areas(VfuClientRegion *region, const InfoSpan *span, uint32_t cap_offset,
			     int fd, uint64_t fd_offset, GError **error)
{
	const VfuCapSparse *cap = (const VfuCapSparse *)(span->start + cap_offset);
	const VfuSparseArea *areas = (const VfuSparseArea *)(cap + 1);
	uint32_t room = span->len - cap_offset;
	uint32_t n;

	if (room < sizeof(*cap))
		return refuse(error, "sparse mmap capability is cut off");
	n = le32_get(cap->n_areas);
	if (n > VFU_CLIENT_MAX_AREAS || n > (room - sizeof(*cap)) / sizeof(*areas))
		return refuse(error, "%u sparse areas", n);
	for (uint32_t i = 0; i < n; i++) {
		if (!is_area_of(region, le64_get(areas[i].offset), le64_get(areas[i].len)))
			return refuse(error, "sparse area %u is not aligned or outside its region",
				      i);
	}
	for (uint32_t i = 0; fd >= 0 && i < n; i++) {
		if (le64_get(areas[i].len) > 0)
			map_area(region, fd, fd_offset, le64_get(areas[i].offset),
				 le64_get(areas[i].len));
	}
	return true;
}

static bool take_region(VfuClient *client, unsigned index, const InfoSpan *span, int fd,
			GError **error)
{
	const VfuRegionInfo *info = (const VfuRegionInfo *)span->start;
	VfuClientRegion *region = &client->regions[index];
	uint32_t flags = le32_get(info->flags);
	uint32_t cap_offset = 0;

	region->len = le64_get(info->len);
	region->writable = (flags & VFU_REGION_IS_WRITABLE) != 0;
	if ((flags & VFU_REGION_HAS_CAPS) != 0 &&
	    !find_sparse_cap(span, le32_get(info->cap_offset), &cap_offset, error))
		return false;
	if ((flags & VFU_REGION_IS_MAPPABLE) == 0) {
		if (fd >= 0)
			return refuse(error, "region %u is not mappable but has a descriptor",
				      index);
		return true;
	}
	if (cap_offset != 0)
		return map_sparse_areas(region, span, cap_offset, fd, le64_get(info->offset),
					error);
	if (fd >= 0 && region->len > 0 && is_area_of(region, 0, region->len))
		map_area(region, fd, le64_get(info->offset), 0, region->len);
	return true;
}

/* Asks with room for ARGSZ bytes; the answer's length and descriptor are in X. */
static bool ask_region(VfuClient *client, unsigned index, uint8_t *buf, uint32_t argsz,
		       VfuExchange *x, GError **error)
{
	VfuRegionInfo request = { .argsz = le32_put(argsz), .index = le32_put(index) };
	const VfuRegionInfo *info = (const VfuRegionInfo *)buf;

	*x = (VfuExchange){
		.command = VFU_DEVICE_GET_REGION_INFO,
		.request = &request,
		.request_len = sizeof(request),
		.reply_min = sizeof(*info),
		.reply = buf,
		.reply_len = argsz,
		.wants_fd = true,
	};
	if (!ask(client, x, error))
		return false;
	if (le32_get(info->index) == index)
		return true;
	if (x->ret_fd >= 0)
		close(x->ret_fd);
	return refuse(error, "info of region %u where %u was asked for", le32_get(info->index),
		      index);
}

static bool get_region(VfuClient *client, unsigned index, GError **error)
{
	uint8_t buf[MAX_ARGSZ];
	const VfuRegionInfo *info = (const VfuRegionInfo *)buf;
	AUTOFD int fd = -1;
	InfoSpan span = { .start = buf };
	VfuExchange x;
	uint32_t argsz;

	if (!ask_region(client, index, buf, sizeof(*info), &x, error))
		return false;
	fd = x.ret_fd;
	argsz = le32_get(info->argsz);
	if (argsz < sizeof(*info) || argsz > MAX_ARGSZ)
		return refuse(error, "argsz %u for region %u", argsz, index);
	if (argsz > sizeof(*info)) {
		fd_close_auto(&fd);
		if (!ask_region(client, index, buf, argsz, &x, error))
			return false;
		fd = x.ret_fd;
		if (le32_get(info->argsz) != x.ret_len)
			return refuse(error, "argsz %u for region %u in a reply of %zu bytes",
				      le32_get(info->argsz), index, x.ret_len);
	}
	span.len = (uint32_t)x.ret_len;
	return take_region(client, index, &span, fd, error);
}

/* ---- IRQ_INFO ---- */

static bool get_irqs(VfuClient *client, unsigned index, GError **error)
{
	VfuIrqInfo info = { .argsz = le32_put(sizeof(info)), .index = le32_put(index) };
	VfuExchange x = {
		.command = VFU_DEVICE_GET_IRQ_INFO,
		.request = &info,
		.request_len = sizeof(info),
		.reply_min = sizeof(info),
		.reply = &info,
		.reply_len = sizeof(info),
	};

	/* Servers answer EINVAL for kinds of interrupt they do not have. */
	if (!ask(client, &x, error)) {
		if (!vfu_client_conn_is_alive(&client->conn))
			return false;
		g_clear_error(error);
		return true;
	}
	if (le32_get(info.index) != index || le32_get(info.count) > MAX_IRQ_COUNT)
		return refuse(error, "%u interrupts of index %u", le32_get(info.count), index);
	client->irq_counts[index] = le32_get(info.count);
	return true;
}

bool vfu_client_setup(VfuClient *client, GError **error)
{
	if (!negotiate(client, error) || !get_info(client, error))
		return false;
	for (unsigned i = 0; i < client->n_regions; i++) {
		if (!get_region(client, i, error))
			return false;
	}
	for (unsigned i = 0; i < client->n_irqs; i++) {
		if (!get_irqs(client, i, error))
			return false;
	}
	return true;
}

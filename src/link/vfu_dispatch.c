/* SPDX-License-Identifier: BSD-3-Clause */
/* The vfio-user commands a server understands: one table row and one function each. */
#include "link/vfu_caps.h"
#include "link/vfu_session.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define HEADER_LEN  ((uint32_t)sizeof(VfuHeader))
#define VERSION_LEN (HEADER_LEN + (uint32_t)sizeof(VfuVersion))
#define ANY_SIZE    HEADER_LEN, VFU_MAX_MESSAGE

/* 0 or a positive errno. The length of the payload has been checked against the table. */
typedef int VfuHandler(VfuSession *session, const VfuRequest *req, VfuReply *reply);

/* ---- VERSION ---- */

static void refresh_region(VfuSession *session, unsigned index, VfuRegion *ret)
{
	*ret = (VfuRegion){ .fd = -1 };
	session->ops->region_info(session->opaque, index, ret);
	session->regions[index].len = ret->len;
	session->regions[index].writable = ret->writable;
}

static void refresh_regions(VfuSession *session)
{
	VfuRegion ignored;

	for (unsigned i = 0; i < VFU_N_REGIONS; i++)
		refresh_region(session, i, &ignored);
}

/* Any error here also ends the connection. */
static int do_version(VfuSession *session, const VfuRequest *req, VfuReply *reply)
{
	const VfuVersion *theirs = (const VfuVersion *)req->payload;
	VfuVersion *ours = (VfuVersion *)reply->payload;
	const char *json = (const char *)(theirs + 1);
	VfuCaps caps;

	if (le16_get(theirs->major) != 0)
		return EINVAL;
	if (vfu_caps_parse(json, req->payload_len - sizeof(*theirs), &caps) != NULL)
		return EINVAL;
	session->max_data = MIN(caps.max_data, VFU_MAX_DATA);
	session->takes_fds = caps.max_msg_fds > 0;
	if (!session->ops->connected(session->opaque, &session->peer))
		return EACCES;
	session->connected = true;
	refresh_regions(session);
	for (unsigned i = 0; i < VFU_N_IRQ_INDEXES; i++)
		vfu_irq_set_count(&session->irqs, i, session->ops->n_irqs(session->opaque, i));

	caps = (VfuCaps){ .max_msg_fds = VFU_MAX_FDS, .max_data = session->max_data };
	*ours = (VfuVersion){ .major = le16_put(0), .minor = le16_put(0) };
	reply->payload_len = (uint32_t)(sizeof(*ours) +
					vfu_caps_format(&caps, (char *)(ours + 1), VFU_MAX_JSON));
	return 0;
}

/* ---- DMA: this device does none, so that it never holds memory of its client ---- */

static bool is_range(uint64_t address, uint64_t len)
{
	return len > 0 && len - 1 <= UINT64_MAX - address;
}

static int do_dma_map(VfuSession *session, const VfuRequest *req, VfuReply *reply)
{
	const VfuDmaMap *map = (const VfuDmaMap *)req->payload;

	if (le32_get(map->argsz) < sizeof(*map) || req->n_fds > 1 ||
	    (le32_get(map->flags) & ~VFU_DMA_FLAGS) != 0)
		return EINVAL;
	if (!is_range(le64_get(map->address), le64_get(map->len)) ||
	    !is_range(le64_get(map->offset), le64_get(map->len)))
		return EINVAL;
	return 0;
}

static int do_dma_unmap(VfuSession *session, const VfuRequest *req, VfuReply *reply)
{
	const VfuDmaUnmap *unmap = (const VfuDmaUnmap *)req->payload;
	uint64_t address = le64_get(unmap->address);
	uint64_t len = le64_get(unmap->len);
	bool legal;

	if (le32_get(unmap->flags) == VFU_DMA_UNMAP_ALL)
		legal = address == 0 && len == 0;
	else
		legal = le32_get(unmap->flags) == 0 && is_range(address, len);
	if (le32_get(unmap->argsz) < sizeof(*unmap) || !legal)
		return EINVAL;
	memcpy(reply->payload, unmap, sizeof(*unmap));
	reply->payload_len = sizeof(*unmap);
	return 0;
}

/* ---- what the device is ---- */

static int do_get_info(VfuSession *session, const VfuRequest *req, VfuReply *reply)
{
	const VfuDeviceInfo *asked = (const VfuDeviceInfo *)req->payload;

	if (le32_get(asked->argsz) < sizeof(*asked))
		return EINVAL;
	*(VfuDeviceInfo *)reply->payload = (VfuDeviceInfo){
		.argsz = le32_put(sizeof(*asked)),
		.flags = le32_put(VFU_DEVICE_RESETS | VFU_DEVICE_PCI),
		.n_regions = le32_put(VFU_N_REGIONS),
		.n_irqs = le32_put(VFU_N_IRQ_INDEXES),
	};
	reply->payload_len = sizeof(*asked);
	return 0;
}

static uint32_t put_sparse_areas(VfuRegionInfo *info, const VfuRegion *region)
{
	VfuCapSparse *cap = (VfuCapSparse *)(info + 1);
	VfuSparseArea *areas = (VfuSparseArea *)(cap + 1);

	*cap = (VfuCapSparse){
		.cap = { .id = le16_put(VFU_CAP_SPARSE_MMAP), .version = le16_put(1) },
		.n_areas = le32_put(region->n_sparse),
	};
	for (unsigned i = 0; i < region->n_sparse; i++) {
		areas[i].offset = le64_put(region->sparse[i].offset);
		areas[i].len = le64_put(region->sparse[i].len);
	}
	return (uint32_t)(sizeof(*cap) + region->n_sparse * sizeof(*areas));
}

/*
 * The client first asks with room for the bare struct, learns from argsz how much there is and asks
 * again. Descriptor and capabilities come only with an answer that is complete.
 */
static int do_get_region_info(VfuSession *session, const VfuRequest *req, VfuReply *reply)
{
	const VfuRegionInfo *asked = (const VfuRegionInfo *)req->payload;
	VfuRegionInfo *info = (VfuRegionInfo *)reply->payload;
	uint32_t asked_argsz = le32_get(asked->argsz);
	uint32_t index = le32_get(asked->index);
	uint32_t flags = 0;
	uint32_t argsz = sizeof(*info);
	VfuRegion region;

	/* Some clients send the room for the answer along. */
	if (asked_argsz < sizeof(*asked) || index >= VFU_N_REGIONS ||
	    (req->payload_len != sizeof(*asked) && req->payload_len != asked_argsz))
		return EINVAL;
	refresh_region(session, index, &region);
	g_assert(region.n_sparse <= VFU_MAX_SPARSE);
	memset(info, 0, sizeof(*info));
	if (region.len > 0)
		flags = VFU_REGION_IS_READABLE | (region.writable ? VFU_REGION_IS_WRITABLE : 0);
	if (region.len > 0 && region.fd >= 0 && session->takes_fds) {
		flags |= VFU_REGION_IS_MAPPABLE;
		if (region.n_sparse > 0)
			argsz += put_sparse_areas(info, &region);
		info->offset = le64_put(region.fd_offset);
		if (asked_argsz >= argsz)
			reply->fd = region.fd;
	}
	reply->payload_len = sizeof(*info);
	if (argsz > sizeof(*info) && asked_argsz >= argsz) {
		flags |= VFU_REGION_HAS_CAPS;
		info->cap_offset = le32_put(sizeof(*info));
		reply->payload_len = argsz;
	}
	info->argsz = le32_put(argsz);
	info->flags = le32_put(flags);
	info->index = le32_put(index);
	info->len = le64_put(region.len);
	return 0;
}

static int do_get_region_io_fds(VfuSession *session, const VfuRequest *req, VfuReply *reply)
{
	const VfuRegionIoFds *asked = (const VfuRegionIoFds *)req->payload;

	if (le32_get(asked->argsz) < sizeof(*asked) || le32_get(asked->flags) != 0 ||
	    le32_get(asked->index) >= VFU_N_REGIONS)
		return EINVAL;
	*(VfuRegionIoFds *)reply->payload = (VfuRegionIoFds){
		.argsz = le32_put(sizeof(*asked)),
		.index = asked->index,
	};
	reply->payload_len = sizeof(*asked);
	return 0;
}

static int do_get_irq_info(VfuSession *session, const VfuRequest *req, VfuReply *reply)
{
	const VfuIrqInfo *asked = (const VfuIrqInfo *)req->payload;
	uint32_t index = le32_get(asked->index);

	if (le32_get(asked->argsz) < sizeof(*asked) || index >= VFU_N_IRQ_INDEXES)
		return EINVAL;
	/* QEMU: 11.1 asks for error recovery at each start, and warns if there are 0 of it. */
	if (index >= VFU_IRQ_ERR && session->irqs.index[index].n == 0)
		return EINVAL;
	*(VfuIrqInfo *)reply->payload = (VfuIrqInfo){
		.argsz = le32_put(sizeof(*asked)),
		.flags = le32_put(VFU_IRQ_IS_EVENTFD),
		.index = le32_put(index),
		.count = le32_put(session->irqs.index[index].n),
	};
	reply->payload_len = sizeof(*asked);
	return 0;
}

static int do_set_irqs(VfuSession *session, const VfuRequest *req, VfuReply *reply)
{
	const VfuIrqSet *set = (const VfuIrqSet *)req->payload;
	int rc = vfu_irq_apply(&session->irqs, set, (const uint8_t *)(set + 1),
			       req->payload_len - (uint32_t)sizeof(*set), req->fds, req->n_fds);

	if (rc == 0 && session->ops->irqs_changed)
		session->ops->irqs_changed(session->opaque);
	return rc;
}

/* ---- access ---- */

static int check_access(const VfuSession *session, const VfuRegionAccess *access)
{
	uint64_t offset = le64_get(access->offset);
	uint32_t region = le32_get(access->region);
	uint32_t count = le32_get(access->count);
	uint64_t len;

	if (region >= VFU_N_REGIONS || count == 0 || count > session->max_data)
		return EINVAL;
	len = session->regions[region].len;
	return count <= len && offset <= len - count ? 0 : EINVAL;
}

static int errno_of(int rc)
{
	return rc == 0 ? 0 : rc < 0 && rc >= -4095 ? -rc : EIO;
}

static int do_region_read(VfuSession *session, const VfuRequest *req, VfuReply *reply)
{
	const VfuRegionAccess *access = (const VfuRegionAccess *)req->payload;
	uint32_t count = le32_get(access->count);
	int rc = check_access(session, access);

	if (rc != 0)
		return rc;
	memcpy(reply->payload, access, sizeof(*access));
	reply->payload_len = (uint32_t)sizeof(*access) + count;
	return errno_of(session->ops->region_read(session->opaque, le32_get(access->region),
						  le64_get(access->offset),
						  reply->payload + sizeof(*access), count));
}

static int do_region_write(VfuSession *session, const VfuRequest *req, VfuReply *reply)
{
	const VfuRegionAccess *access = (const VfuRegionAccess *)req->payload;
	uint32_t region = le32_get(access->region);
	uint32_t count = le32_get(access->count);
	int rc = check_access(session, access);

	if (rc != 0)
		return rc;
	if (count != req->payload_len - sizeof(*access) || !session->regions[region].writable)
		return EINVAL;
	memcpy(reply->payload, access, sizeof(*access));
	reply->payload_len = sizeof(*access);
	return errno_of(session->ops->region_write(session->opaque, region,
						   le64_get(access->offset), access + 1, count));
}

static int do_reset(VfuSession *session, const VfuRequest *req, VfuReply *reply)
{
	session->ops->reset(session->opaque);
	refresh_regions(session);
	return 0;
}

/* ---- the table ---- */

static const struct vfu_row {
	uint16_t command;
	const char *name;
	uint32_t min, max; /* size of the message */
	bool takes_fds;
	VfuHandler *run; /* NULL: EINVAL */
} commands[] = {
	{ VFU_VERSION, "VERSION", VERSION_LEN, VERSION_LEN + VFU_MAX_JSON, false, do_version },
	{ VFU_DMA_MAP, "DMA_MAP", 48, 48, true, do_dma_map },
	{ VFU_DMA_UNMAP, "DMA_UNMAP", 40, 40, false, do_dma_unmap },
	{ VFU_DEVICE_GET_INFO, "DEVICE_GET_INFO", 32, 32, false, do_get_info },
	{ VFU_DEVICE_GET_REGION_INFO, "DEVICE_GET_REGION_INFO", 48, 4096, false,
	  do_get_region_info },
	{ VFU_DEVICE_GET_REGION_IO_FDS, "DEVICE_GET_REGION_IO_FDS", 32, 32, false,
	  do_get_region_io_fds },
	{ VFU_DEVICE_GET_IRQ_INFO, "DEVICE_GET_IRQ_INFO", 32, 32, false, do_get_irq_info },
	{ VFU_DEVICE_SET_IRQS, "DEVICE_SET_IRQS", 36, 36 + VFU_MAX_VECTORS, true, do_set_irqs },
	{ VFU_REGION_READ, "REGION_READ", 32, 32, false, do_region_read },
	{ VFU_REGION_WRITE, "REGION_WRITE", 32, VFU_MAX_MESSAGE, false, do_region_write },
	{ VFU_DMA_READ, "DMA_READ", ANY_SIZE, false, NULL },
	{ VFU_DMA_WRITE, "DMA_WRITE", ANY_SIZE, false, NULL },
	{ VFU_DEVICE_RESET, "DEVICE_RESET", 16, 16, false, do_reset },
	{ VFU_REGION_WRITE_MULTI, "REGION_WRITE_MULTI", ANY_SIZE, false, NULL },
	{ VFU_DEVICE_FEATURE, "DEVICE_FEATURE", ANY_SIZE, false, NULL },
	{ VFU_MIG_DATA_READ, "MIG_DATA_READ", ANY_SIZE, false, NULL },
	{ VFU_MIG_DATA_WRITE, "MIG_DATA_WRITE", ANY_SIZE, false, NULL },
};

static const struct vfu_row *find_command(unsigned command)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(commands); i++) {
		if (commands[i].command == command)
			return &commands[i];
	}
	return NULL;
}

const char *vfu_command_name(unsigned command)
{
	const struct vfu_row *row = find_command(command);

	return row != NULL ? row->name : "?";
}

/* ---- sessions ---- */

void vfu_session_init(VfuSession *session, const VfuServerOps *ops, void *opaque,
		      VfuNotifier *notifier, const VfuPeer *peer)
{
	*session = (VfuSession){ .ops = ops, .opaque = opaque, .peer = *peer };
	vfu_irq_init(&session->irqs, notifier);
}

void vfu_session_clear(VfuSession *session)
{
	bool was_connected = session->connected;

	session->connected = false;
	vfu_irq_clear(&session->irqs);
	if (was_connected)
		session->ops->disconnected(session->opaque);
}

bool vfu_session_accepts_header(const VfuSession *session, const VfuHeader *header)
{
	uint32_t size = le32_get(header->size);
	uint32_t flags = le32_get(header->flags);
	bool is_version = le16_get(header->command) == VFU_VERSION;

	if (size < HEADER_LEN || size > VFU_MAX_MESSAGE)
		return false;
	if ((flags & VFU_FLAGS_TYPE) != VFU_TYPE_COMMAND)
		return false; /* a reply; we never ask */
	if (is_version == session->connected)
		return false; /* VERSION comes first and once */
	return !is_version ||
	       (size <= VERSION_LEN + VFU_MAX_JSON && (flags & VFU_FLAGS_NO_REPLY) == 0);
}

static int run_request(VfuSession *session, const VfuRequest *req, VfuReply *reply)
{
	const struct vfu_row *row = find_command(le16_get(req->header->command));
	uint32_t size = le32_get(req->header->size);

	if ((le32_get(req->header->flags) & ~VFU_FLAGS_NO_REPLY) != VFU_TYPE_COMMAND)
		return EINVAL;
	if (row == NULL || row->run == NULL || size < row->min || size > row->max)
		return EINVAL;
	if (req->n_fds > 0 && !row->takes_fds)
		return EINVAL;
	return row->run(session, req, reply);
}

enum vfu_verdict vfu_session_handle(VfuSession *session, const uint8_t *msg, int *fds,
				    unsigned n_fds, uint8_t *out, uint32_t *ret_len, int *ret_fd)
{
	VfuRequest req = {
		.header = (const VfuHeader *)msg,
		.payload = msg + HEADER_LEN,
		.payload_len = le32_get(((const VfuHeader *)msg)->size) - HEADER_LEN,
		.fds = fds,
		.n_fds = n_fds,
	};
	VfuReply reply = { .payload = out + HEADER_LEN, .fd = -1 };
	VfuHeader *header = (VfuHeader *)out;
	int error = run_request(session, &req, &reply);

	for (unsigned i = 0; i < n_fds; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	*ret_len = 0;
	*ret_fd = -1;
	if ((le32_get(req.header->flags) & VFU_FLAGS_NO_REPLY) != 0)
		return VFU_GO_ON;
	if (error != 0)
		reply = (VfuReply){ .fd = -1 };
	*ret_len = HEADER_LEN + reply.payload_len;
	*ret_fd = reply.fd;
	*header = (VfuHeader){
		.id = req.header->id,
		.command = req.header->command,
		.size = le32_put(*ret_len),
		.flags = le32_put(VFU_TYPE_REPLY | (error != 0 ? VFU_FLAGS_ERROR : 0)),
		.error = le32_put((uint32_t)error),
	};
	return session->connected ? VFU_GO_ON : VFU_CLOSE;
}

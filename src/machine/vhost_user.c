/* SPDX-License-Identifier: BSD-3-Clause */
/* vhost-user front end: what a machine asks of a daemon that serves a virtio device. */
#include "machine/vhost_user.h"

#include "machine/vhost_user_conn.h"
#include "machine/vhost_user_wire.h"

#include <errno.h>
#include <gio/gio.h>

#define VIRTIO_F_VERSION_1 CXL_BIT64(32)

/* More than any back end needs, so that a table of it stays small. */
#define MAX_SLOTS 4096u

struct VhostUser {
	VhostUserConn conn;
	uint64_t features;          /* as the back end said */
	uint64_t protocol_features; /* in use */
	uint32_t n_slots;
};

static int ask_u64(VhostUserConn *conn, uint32_t request, int64_t deadline, uint64_t *ret)
{
	le64 value;
	VhostUserExchange x = {
		.request = request,
		.reply = &value,
		.reply_len = sizeof(value),
	};
	int rc = vhost_user_conn_step(conn, &x, deadline);

	if (rc == 0)
		*ret = le64_get(value);
	return rc;
}

static int tell(VhostUserConn *conn, uint32_t request, const void *payload, uint32_t len,
		int64_t deadline)
{
	VhostUserExchange x = {
		.request = request,
		.payload = payload,
		.payload_len = len,
	};

	return vhost_user_conn_step(conn, &x, deadline);
}

static int tell_u64(VhostUserConn *conn, uint32_t request, uint64_t value, int64_t deadline)
{
	le64 wire = le64_put(value);

	return tell(conn, request, &wire, sizeof(wire), deadline);
}

static int tell_ring(VhostUserConn *conn, uint32_t request, unsigned ring, uint32_t value,
		     int64_t deadline)
{
	VhostUserRingState state = { .index = le32_put(ring), .value = le32_put(value) };

	return tell(conn, request, &state, sizeof(state), deadline);
}

static int tell_ring_fd(VhostUserConn *conn, uint32_t request, unsigned ring, int fd,
			int64_t deadline)
{
	le64 wire = le64_put(fd >= 0 ? ring : ring | VHOST_USER_RING_NO_FD);
	VhostUserExchange x = {
		.request = request,
		.payload = &wire,
		.payload_len = sizeof(wire),
		.fds = &fd,
		.n_fds = fd >= 0,
	};

	return vhost_user_conn_step(conn, &x, deadline);
}

/* ---- the beginning ---- */

static bool lacks(GError **error, const char *what)
{
	g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
		    "the vhost-user daemon does not support %s", what);
	return false;
}

static bool check_offers(const VhostUser *vu, uint64_t offered, uint64_t n_queues, unsigned n_rings,
			 GError **error)
{
	if ((vu->features & VIRTIO_F_VERSION_1) == 0)
		return lacks(error, "virtio 1 (feature bit 32)");
	if ((offered & VHOST_USER_PROTOCOL_F_REPLY_ACK) == 0)
		return lacks(error, "acknowledgements (protocol feature bit 3)");
	if ((offered & VHOST_USER_PROTOCOL_F_MQ) != 0 && n_queues < n_rings) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
			    "the vhost-user daemon has %" G_GUINT64_FORMAT " queues of %u needed",
			    n_queues, n_rings);
		return false;
	}
	return true;
}

static int negotiate(VhostUser *vu, int64_t deadline, uint64_t *ret_offered, uint64_t *ret_n_queues)
{
	const uint64_t wanted = VHOST_USER_PROTOCOL_F_MQ | VHOST_USER_PROTOCOL_F_REPLY_ACK |
				VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS;
	uint64_t n_slots = VHOST_USER_TABLE_MAX;
	uint64_t offered = 0;
	int rc = tell(&vu->conn, VHOST_USER_SET_OWNER, NULL, 0, deadline);

	if (rc == 0)
		rc = ask_u64(&vu->conn, VHOST_USER_GET_FEATURES, deadline, &vu->features);
	if (rc == 0 && (vu->features & VHOST_USER_F_PROTOCOL_FEATURES) != 0)
		rc = ask_u64(&vu->conn, VHOST_USER_GET_PROTOCOL_FEATURES, deadline, &offered);
	if (rc == 0 && (offered & VHOST_USER_PROTOCOL_F_REPLY_ACK) != 0) {
		vu->protocol_features = offered & wanted;
		rc = tell_u64(&vu->conn, VHOST_USER_SET_PROTOCOL_FEATURES, vu->protocol_features,
			      deadline);
		vu->conn.acks = rc == 0;
	}
	if (rc == 0 && (vu->protocol_features & VHOST_USER_PROTOCOL_F_MQ) != 0)
		rc = ask_u64(&vu->conn, VHOST_USER_GET_QUEUE_NUM, deadline, ret_n_queues);
	if (rc == 0 && vhost_user_has_slots(vu))
		rc = ask_u64(&vu->conn, VHOST_USER_GET_MAX_MEM_SLOTS, deadline, &n_slots);
	if (rc == 0) {
		vu->n_slots = (uint32_t)MIN(n_slots, MAX_SLOTS);
		*ret_offered = offered;
	}
	return rc;
}

VhostUser *vhost_user_new(int fd, unsigned n_rings, unsigned timeout_ms, GError **error)
{
	g_autoptr(VhostUser) vu = g_new0(VhostUser, 1);
	uint64_t offered = 0;
	uint64_t n_queues = 0;
	int rc;

	vhost_user_conn_init(&vu->conn, fd);
	rc = negotiate(vu, vhost_user_deadline(timeout_ms), &offered, &n_queues);
	if (rc < 0) {
		g_set_error(error, G_IO_ERROR, g_io_error_from_errno(-rc),
			    "the vhost-user daemon does not get through its first messages: %s",
			    rc == -EIO ? "it closed the connection" : g_strerror(-rc));
		return NULL;
	}
	if (!check_offers(vu, offered, n_queues, n_rings, error))
		return NULL;
	return g_steal_pointer(&vu);
}

void vhost_user_free(VhostUser *vu)
{
	if (vu == NULL)
		return;
	vhost_user_conn_clear(&vu->conn);
	g_free(vu);
}

uint64_t vhost_user_features(const VhostUser *vu)
{
	return vu->features & ~(VHOST_USER_F_PROTOCOL_FEATURES | VHOST_F_LOG_ALL);
}

uint32_t vhost_user_max_regions(const VhostUser *vu)
{
	return vu->n_slots;
}

bool vhost_user_has_slots(const VhostUser *vu)
{
	return (vu->protocol_features & VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS) != 0;
}

bool vhost_user_is_open(const VhostUser *vu)
{
	return vhost_user_conn_is_open(&vu->conn);
}

void vhost_user_shut(VhostUser *vu)
{
	vhost_user_conn_shut(&vu->conn);
}

pid_t vhost_user_ask_pid(VhostUser *vu, unsigned timeout_ms)
{
	int64_t deadline = vhost_user_deadline(timeout_ms);
	uint64_t features;
	pid_t pid = 0;

	if (vhost_user_conn_begin(&vu->conn, deadline) < 0)
		return 0;
	if (ask_u64(&vu->conn, VHOST_USER_GET_FEATURES, deadline, &features) == 0)
		pid = MAX(vu->conn.sender, 0);
	vhost_user_conn_end(&vu->conn);
	return pid;
}

/* ---- memory ---- */

static VhostUserWireRegion region_put(const VhostUserRegion *region)
{
	return (VhostUserWireRegion){
		.gpa = le64_put(region->gpa),
		.len = le64_put(region->len),
		.hva = le64_put(region->hva),
		.offset = le64_put(region->offset),
	};
}

static int send_one_region(VhostUser *vu, uint32_t request, const VhostUserRegion *region,
			   unsigned n_fds, unsigned timeout_ms)
{
	VhostUserOneRegion one = { .region = region_put(region) };
	VhostUserExchange x = {
		.request = request,
		.payload = &one,
		.payload_len = sizeof(one),
		.fds = &region->fd,
		.n_fds = n_fds,
	};

	return vhost_user_conn_exchange(&vu->conn, &x, vhost_user_deadline(timeout_ms));
}

int vhost_user_add_region(VhostUser *vu, const VhostUserRegion *region, unsigned timeout_ms)
{
	return send_one_region(vu, VHOST_USER_ADD_MEM_REG, region, 1, timeout_ms);
}

int vhost_user_remove_region(VhostUser *vu, const VhostUserRegion *region, unsigned timeout_ms)
{
	return send_one_region(vu, VHOST_USER_REM_MEM_REG, region, 0, timeout_ms);
}

int vhost_user_set_regions(VhostUser *vu, const VhostUserRegion *regions, unsigned n,
			   unsigned timeout_ms)
{
	VhostUserTable table = { .n = le32_put(n) };
	int fds[VHOST_USER_TABLE_MAX];
	VhostUserExchange x = {
		.request = VHOST_USER_SET_MEM_TABLE,
		.payload = &table,
		.payload_len = (uint32_t)(offsetof(VhostUserTable, regions) +
					  n * sizeof(table.regions[0])),
		.fds = fds,
		.n_fds = n,
	};

	g_assert(n <= VHOST_USER_TABLE_MAX);
	for (unsigned i = 0; i < n; i++) {
		table.regions[i] = region_put(&regions[i]);
		fds[i] = regions[i].fd;
	}
	return vhost_user_conn_exchange(&vu->conn, &x, vhost_user_deadline(timeout_ms));
}

/* ---- rings ---- */

static int start_ring(VhostUserConn *conn, unsigned index, const VhostUserRing *ring,
		      int64_t deadline)
{
	VhostUserRingAddress address = {
		.index = le32_put(index),
		.desc_hva = le64_put(ring->desc_hva),
		.used_hva = le64_put(ring->used_hva),
		.avail_hva = le64_put(ring->avail_hva),
	};
	int rc = tell_ring(conn, VHOST_USER_SET_VRING_NUM, index, ring->n, deadline);

	if (rc == 0)
		rc = tell_ring(conn, VHOST_USER_SET_VRING_BASE, index, 0, deadline);
	if (rc == 0)
		rc = tell(conn, VHOST_USER_SET_VRING_ADDR, &address, sizeof(address), deadline);
	if (rc == 0)
		rc = tell_ring_fd(conn, VHOST_USER_SET_VRING_CALL, index, ring->call_fd, deadline);
	if (rc == 0)
		rc = tell_ring_fd(conn, VHOST_USER_SET_VRING_KICK, index, ring->kick_fd, deadline);
	if (rc == 0)
		rc = tell_ring(conn, VHOST_USER_SET_VRING_ENABLE, index, 1, deadline);
	return rc;
}

int vhost_user_start(VhostUser *vu, uint64_t features, const VhostUserRing *rings, unsigned n,
		     unsigned timeout_ms)
{
	int64_t deadline = vhost_user_deadline(timeout_ms);
	int rc = vhost_user_conn_begin(&vu->conn, deadline);

	if (rc < 0)
		return rc;
	rc = tell_u64(&vu->conn, VHOST_USER_SET_FEATURES,
		      (features & vhost_user_features(vu)) | VHOST_USER_F_PROTOCOL_FEATURES,
		      deadline);
	for (unsigned i = 0; rc == 0 && i < n; i++) {
		if (rings[i].n > 0)
			rc = start_ring(&vu->conn, i, &rings[i], deadline);
	}
	vhost_user_conn_end(&vu->conn);
	return rc;
}

static int stop_ring(VhostUserConn *conn, unsigned index, int64_t deadline)
{
	VhostUserRingState state = { .index = le32_put(index) };
	VhostUserRingState stopped;
	VhostUserExchange x = {
		.request = VHOST_USER_GET_VRING_BASE,
		.payload = &state,
		.payload_len = sizeof(state),
		.reply = &stopped,
		.reply_len = sizeof(stopped),
	};

	return vhost_user_conn_step(conn, &x, deadline);
}

static bool has_ring(const uint32_t *rings, unsigned index)
{
	return (__atomic_load_n(rings, __ATOMIC_ACQUIRE) >> index & 1) != 0;
}

int vhost_user_stop(VhostUser *vu, uint32_t *rings, unsigned timeout_ms)
{
	int64_t deadline = vhost_user_deadline(timeout_ms);
	int rc = vhost_user_conn_begin(&vu->conn, deadline);

	if (rc < 0)
		return rc;
	for (unsigned i = 0; rc == 0 && i < VHOST_USER_MAX_RINGS; i++) {
		if (!has_ring(rings, i))
			continue;
		rc = stop_ring(&vu->conn, i, deadline);
		if (rc == 0)
			__atomic_and_fetch(rings, ~(UINT32_C(1) << i), __ATOMIC_RELEASE);
	}
	vhost_user_conn_end(&vu->conn);
	return rc;
}

int vhost_user_set_call(VhostUser *vu, unsigned ring, int call_fd, unsigned timeout_ms)
{
	int64_t deadline = vhost_user_deadline(timeout_ms);
	int rc = vhost_user_conn_begin(&vu->conn, deadline);

	if (rc < 0)
		return rc;
	rc = tell_ring_fd(&vu->conn, VHOST_USER_SET_VRING_CALL, ring, call_fd, deadline);
	vhost_user_conn_end(&vu->conn);
	return rc;
}

int vhost_user_settle(VhostUser *vu, const uint32_t *rings, unsigned timeout_ms)
{
	int64_t deadline = vhost_user_deadline(timeout_ms);
	int rc = vhost_user_conn_begin(&vu->conn, deadline);

	if (rc < 0)
		return rc;
	for (unsigned i = 0; rc == 0 && i < VHOST_USER_MAX_RINGS; i++) {
		if (has_ring(rings, i))
			rc = tell_ring(&vu->conn, VHOST_USER_SET_VRING_ENABLE, i, 1, deadline);
	}
	vhost_user_conn_end(&vu->conn);
	return rc;
}

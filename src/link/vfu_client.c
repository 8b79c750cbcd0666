/* SPDX-License-Identifier: BSD-3-Clause */
/* vfio-user client: register access, interrupts, reset. */
#include "link/vfu_client.h"

#include "link/unix_connect.h"
#include "link/vfu_client_setup.h"

#include <errno.h>
#include <gio/gio.h>
#include <string.h>
#include <sys/socket.h>

VfuClient *vfu_client_new(int fd, unsigned timeout_ms, GError **error)
{
	g_autoptr(VfuClient) client = g_new0(VfuClient, 1);

	vfu_client_conn_init(&client->conn, fd, timeout_ms);
	client->replay = vfu_replay_new();
	if (!vfu_client_setup(client, error))
		return NULL;
	return g_steal_pointer(&client);
}

VfuClient *vfu_client_connect(const char *path, unsigned timeout_ms, GError **error)
{
	int fd = unix_connect(path, SOCK_STREAM, timeout_ms, error);

	return fd < 0 ? NULL : vfu_client_new(fd, timeout_ms, error);
}

void vfu_client_free(VfuClient *client)
{
	if (client == NULL)
		return;
	vfu_client_conn_clear(&client->conn);
	vfu_client_unmap(client);
	vfu_replay_free(client->replay);
	g_free(client);
}

static int send_reset(VfuClient *client)
{
	VfuExchange x = { .command = VFU_DEVICE_RESET };
	int rc = vfu_client_conn_exchange(&client->conn, &x);

	__atomic_store_n(&client->owes_reset, rc != 0, __ATOMIC_RELEASE);
	return rc;
}

int vfu_client_replay(VfuClient *client)
{
	bool owes_reset = __atomic_load_n(&client->owes_reset, __ATOMIC_ACQUIRE);
	int rc = owes_reset ? send_reset(client) : 0;

	return rc == 0 ? vfu_replay_run(client->replay, client) : rc;
}

void vfu_client_keep(VfuClient *client, unsigned index, uint64_t offset, uint64_t len)
{
	vfu_replay_keep(client->replay, index, offset, len);
	__atomic_store_n(&client->keeps_bars, 1, __ATOMIC_RELEASE);
}

void vfu_client_disconnect(VfuClient *client)
{
	vfu_client_conn_close(&client->conn);
}

void vfu_client_abort(VfuClient *client)
{
	vfu_client_conn_shutdown(&client->conn);
}

void vfu_client_set_patience(VfuClient *client, unsigned ms)
{
	g_mutex_lock(&client->conn.lock);
	client->conn.patience_ms = ms;
	g_mutex_unlock(&client->conn.lock);
}

bool vfu_client_is_connected(VfuClient *client)
{
	return vfu_client_conn_is_alive(&client->conn);
}

uint64_t vfu_client_region_len(const VfuClient *client, unsigned index)
{
	return index < client->n_regions ? client->regions[index].len : 0;
}

uint64_t vfu_client_n_messages(const VfuClient *client)
{
	return __atomic_load_n(&client->conn.n_messages, __ATOMIC_RELAXED);
}

void vfu_client_set_spin(VfuClient *client, unsigned us)
{
	g_mutex_lock(&client->conn.lock);
	client->conn.spin.us = us;
	g_mutex_unlock(&client->conn.lock);
}

/* ---- access ---- */

static bool is_alive(const VfuClient *client)
{
	return __atomic_load_n(&client->conn.alive, __ATOMIC_ACQUIRE) != 0;
}

static bool is_inside(uint64_t offset, uint64_t count, uint64_t len)
{
	return count <= len && offset <= len - count;
}

void *vfu_client_peek_mapped(VfuClient *client, unsigned index, uint64_t offset, uint64_t len)
{
	const GArray *mappings;

	if (index >= client->n_regions || !is_alive(client))
		return NULL;
	mappings = client->regions[index].mappings;
	for (guint i = 0; mappings != NULL && i < mappings->len; i++) {
		const VfuMapping *mapping = &g_array_index(mappings, VfuMapping, i);

		if (offset >= mapping->offset &&
		    is_inside(offset - mapping->offset, len, mapping->len))
			return mapping->hva + (offset - mapping->offset);
	}
	return NULL;
}

bool vfu_client_area(const VfuClient *client, unsigned index, unsigned n, uint64_t *ret_offset,
		     uint64_t *ret_len, void **ret_hva)
{
	const GArray *mappings = index < client->n_regions ? client->regions[index].mappings : NULL;
	const VfuMapping *mapping;

	if (!mappings || n >= mappings->len)
		return false;
	mapping = &g_array_index(mappings, VfuMapping, n);
	*ret_offset = mapping->offset;
	*ret_len = mapping->len;
	*ret_hva = mapping->hva;
	return true;
}

bool vfu_client_region_is_writable(const VfuClient *client, unsigned index)
{
	return index < client->n_regions && client->regions[index].writable;
}

static int check_access(const VfuClient *client, unsigned index, uint64_t offset, uint32_t count)
{
	if (!is_alive(client))
		return -EIO;
	if (index >= client->n_regions || count == 0 ||
	    !is_inside(offset, count, client->regions[index].len))
		return -EINVAL;
	return 0;
}

static int read_chunk(VfuClient *client, unsigned index, uint64_t offset, void *buf, uint32_t count)
{
	VfuRegionAccess access = {
		.offset = le64_put(offset),
		.region = le32_put(index),
		.count = le32_put(count),
	};
	VfuRegionAccess echo;
	VfuExchange x = {
		.command = VFU_REGION_READ,
		.request = &access,
		.request_len = sizeof(access),
		.reply_min = sizeof(echo) + count,
		.reply = &echo,
		.reply_len = sizeof(echo),
		.reply_data = buf,
		.reply_data_len = count,
	};
	int rc = vfu_client_conn_exchange(&client->conn, &x);

	if (rc == 0 && memcmp(&echo, &access, sizeof(echo)) != 0)
		return vfu_client_conn_violated(&client->conn);
	return rc;
}

int vfu_client_read(VfuClient *client, unsigned index, uint64_t offset, void *buf, uint32_t count)
{
	int rc = check_access(client, index, offset, count);
	const void *mapped;

	if (rc == 0) {
		mapped = vfu_client_peek_mapped(client, index, offset, count);
		if (mapped != NULL) {
			memcpy(buf, mapped, count);
			return 0;
		}
	}
	for (uint32_t done = 0; rc == 0 && done < count;) {
		uint32_t now = MIN(count - done, client->max_data);

		rc = read_chunk(client, index, offset + done, (uint8_t *)buf + done, now);
		done += now;
	}
	if (rc < 0)
		memset(buf, 0xff, count);
	return rc;
}

static int write_chunk(VfuClient *client, unsigned index, uint64_t offset, const void *buf,
		       uint32_t count, bool posted)
{
	VfuRegionAccess access = {
		.offset = le64_put(offset),
		.region = le32_put(index),
		.count = le32_put(count),
	};
	VfuRegionAccess echo;
	VfuExchange x = {
		.command = VFU_REGION_WRITE,
		.no_reply = posted,
		.request = &access,
		.request_len = sizeof(access),
		.data = buf,
		.data_len = count,
		.reply_min = sizeof(echo),
		.reply = &echo,
		.reply_len = sizeof(echo),
	};
	int rc = vfu_client_conn_exchange(&client->conn, &x);

	if (rc == 0 && !posted && memcmp(&echo, &access, sizeof(echo)) != 0)
		return vfu_client_conn_violated(&client->conn);
	return rc;
}

/* Also what is written while the device is away has to be there when it is back. */
static void note_write(VfuClient *client, unsigned index, uint64_t offset, const void *buf,
		       uint32_t count)
{
	if (index != VFU_REGION_CONFIG && !__atomic_load_n(&client->keeps_bars, __ATOMIC_ACQUIRE))
		return;
	if (index < client->n_regions && is_inside(offset, count, client->regions[index].len))
		vfu_replay_note_write(client->replay, index, offset, buf, count);
}

int vfu_client_write(VfuClient *client, unsigned index, uint64_t offset, const void *buf,
		     uint32_t count, bool posted)
{
	int rc = check_access(client, index, offset, count);
	void *mapped;

	note_write(client, index, offset, buf, count);
	if (rc < 0)
		return rc;
	if (!client->regions[index].writable)
		return -EACCES;
	mapped = vfu_client_peek_mapped(client, index, offset, count);
	if (mapped != NULL) {
		memcpy(mapped, buf, count);
		return 0;
	}
	for (uint32_t done = 0; rc == 0 && done < count;) {
		uint32_t now = MIN(count - done, client->max_data);

		rc = write_chunk(client, index, offset + done, (const uint8_t *)buf + done, now,
				 posted);
		done += now;
	}
	return rc;
}

/* ---- interrupts and reset ---- */

uint32_t vfu_client_n_irqs(VfuClient *client, unsigned index)
{
	return index < client->n_irqs ? client->irq_counts[index] : 0;
}

static int set_irqs(VfuClient *client, uint32_t flags, unsigned index, unsigned start,
		    unsigned count, const int *fds, unsigned n_fds)
{
	VfuIrqSet set = {
		.argsz = le32_put(sizeof(set)),
		.flags = le32_put(flags),
		.index = le32_put(index),
		.start = le32_put(start),
		.count = le32_put(count),
	};
	VfuExchange x = {
		.command = VFU_DEVICE_SET_IRQS,
		.request = &set,
		.request_len = sizeof(set),
		.fds = fds,
		.n_fds = n_fds,
	};

	return vfu_client_conn_exchange(&client->conn, &x);
}

int vfu_client_set_irqs(VfuClient *client, unsigned index, unsigned start, const int *fds,
			unsigned n)
{
	uint32_t flags = VFU_IRQ_DATA_EVENTFD | VFU_IRQ_ACTION_TRIGGER;

	if (n == 0 || !is_inside(start, n, vfu_client_n_irqs(client, index)))
		return is_alive(client) ? -EINVAL : -EIO;
	vfu_replay_note_irqs(client->replay, index, start, fds, n);
	if (!is_alive(client))
		return -EIO;
	for (unsigned done = 0, run; done < n; done += run) {
		bool binds = fds[done] >= 0;
		int rc;

		if (binds && client->max_fds == 0)
			return -EOPNOTSUPP;
		for (run = 1; done + run < n && (fds[done + run] >= 0) == binds; run++) {
			if (binds && run == client->max_fds)
				break;
		}
		rc = set_irqs(client, flags, index, start + done, run, fds + done, binds ? run : 0);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int vfu_client_disable_irqs(VfuClient *client, unsigned index)
{
	vfu_replay_note_irqs_off(client->replay, index);
	return set_irqs(client, VFU_IRQ_DATA_NONE | VFU_IRQ_ACTION_TRIGGER, index, 0, 0, NULL, 0);
}

int vfu_client_reset(VfuClient *client)
{
	vfu_replay_note_reset(client->replay);
	return send_reset(client);
}

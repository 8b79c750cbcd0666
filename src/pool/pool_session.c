/* SPDX-License-Identifier: BSD-3-Clause */
/* The session a device's host has with it, and how it goes on after a restart of the daemon. */
#include "pool/pool_priv.h"

#include <errno.h>
#include <string.h>

/* What the session file holds: this, and the registers (device_save_state()). */
typedef struct SessionRecord {
	le32 version;
	le32 flags;  /* SESSION_* */
	le64 serial; /* of the host; 0 = there is no session, and nothing follows */
	le64 start_time;
	le32 pid;
	le32 uid;
	uint8_t name[16];
} SessionRecord;
CXL_STATIC_ASSERT(sizeof(SessionRecord) == 48);

#define SESSION_VERSION  1u
#define SESSION_HAS_NAME CXL_BIT(0)
#define SESSION_HAD_LINK CXL_BIT(1)

/* ---- the file ---- */

bool pool_session_open(PoolDevice *device, const char *path, GError **error)
{
	if (path)
		device->session.file = session_file_open(path, error);
	return !path || device->session.file;
}

static void stop_waiting(PoolSession *session)
{
	if (session->timeout) {
		g_source_destroy(session->timeout);
		g_clear_pointer(&session->timeout, g_source_unref);
	}
	session->awaited = 0;
}

void pool_session_close(PoolDevice *device)
{
	stop_waiting(&device->session);
	g_clear_pointer(&device->session.file, session_file_close);
}

void pool_session_remove(PoolDevice *device)
{
	if (device->session.file)
		session_file_remove(device->session.file);
	g_clear_pointer(&device->session.file, session_file_close);
}

/* A session that cannot be saved goes on; it just does not outlive us. */
static void write_file(PoolDevice *device, const void *data, size_t len)
{
	PoolSession *session = &device->session;

	if (session_file_write(session->file, data, len)) {
		session->has_failed = false;
		return;
	}
	if (!session->has_failed)
		g_warning("device %s: its host's session cannot be saved and will not outlive the"
			  " daemon: %s",
			  device->name, g_strerror(errno));
	session->has_failed = true;
}

void pool_session_save(PoolDevice *device)
{
	PoolSession *session = &device->session;
	uint64_t serial = session->awaited ? session->awaited : device->host;
	const PoolHost *host = pool_host_by_serial(device->pool, serial);
	g_autoptr(GByteArray) out = NULL;
	g_autoptr(GBytes) state = NULL;
	SessionRecord record;

	if (!session->file || !host)
		return;
	record = (SessionRecord){
		.version = le32_put(SESSION_VERSION),
		.flags = le32_put((session->has_name ? SESSION_HAS_NAME : 0) |
				  (device->had_link ? SESSION_HAD_LINK : 0)),
		.serial = le64_put(serial),
		.start_time = le64_put(host->start_time),
		.pid = le32_put((uint32_t)host->pid),
		.uid = le32_put(host->uid),
	};
	memcpy(record.name, session->name, sizeof(record.name));
	state = device_save_state(device->endpoint);
	out = g_byte_array_new();
	g_byte_array_append(out, (const uint8_t *)&record, sizeof(record));
	g_byte_array_append(out, g_bytes_get_data(state, NULL), (guint)g_bytes_get_size(state));
	write_file(device, out->data, out->len);
}

void pool_session_clear(PoolDevice *device)
{
	const SessionRecord none = { .version = le32_put(SESSION_VERSION) };

	if (device->session.file)
		write_file(device, &none, sizeof(none));
}

/* ---- after a restart ---- */

/* The host the file names, if that process still runs. */
static PoolHost *find_former_host(PoolDevice *device, const SessionRecord *record)
{
	const RowHost row = {
		.serial = le64_get(record->serial),
		.pid = le32_get(record->pid),
		.start_time = le64_get(record->start_time),
		.uid = le32_get(record->uid),
	};

	return pool_host_restore(device->pool, &row);
}

static bool restore_registers(PoolDevice *device, GBytes *contents)
{
	g_autoptr(GBytes)
		state = g_bytes_new_from_bytes(contents, sizeof(SessionRecord),
					       g_bytes_get_size(contents) - sizeof(SessionRecord));
	g_autoptr(GError) error = NULL;

	if (device_restore_state(device->endpoint, state, &error))
		return true;
	g_warning("device %s: its host cannot go on where it was: %s", device->name,
		  error->message);
	return false;
}

static gboolean waited_enough(gpointer user_data)
{
	PoolDevice *device = user_data;

	g_message("device %s: its host of before the restart has not come back", device->name);
	pool_session_give_up(device);
	return G_SOURCE_REMOVE;
}

static void wait_for_host(PoolDevice *device, uint64_t serial)
{
	PoolSession *session = &device->session;
	unsigned timeout_ms = device->pool->config.resume_timeout_ms;

	session->awaited = serial;
	session->timeout = g_timeout_source_new(timeout_ms ? timeout_ms : POOL_RESUME_TIMEOUT_MS);
	g_source_set_callback(session->timeout, waited_enough, device, NULL);
	g_source_attach(session->timeout, device->pool->context);
}

static void resume(PoolDevice *device)
{
	PoolSession *session = &device->session;
	g_autoptr(GBytes) contents = session->file ? session_file_read(session->file) : NULL;
	const SessionRecord *record;
	const PoolHost *host;
	uint32_t flags;

	if (!contents || g_bytes_get_size(contents) < sizeof(*record))
		return;
	record = g_bytes_get_data(contents, NULL);
	if (le32_get(record->version) != SESSION_VERSION || le64_get(record->serial) == 0)
		return;
	/* Whatever becomes of it, its number is not given to another process. */
	device->pool->last_serial = MAX(device->pool->last_serial, le64_get(record->serial));
	host = find_former_host(device, record);
	if (!host || !restore_registers(device, contents)) {
		pool_session_clear(device);
		return;
	}
	flags = le32_get(record->flags);
	session->has_name = flags & SESSION_HAS_NAME;
	memcpy(session->name, record->name, sizeof(session->name));
	session->resumed = true;
	device->had_link = flags & SESSION_HAD_LINK;
	wait_for_host(device, host->serial);
}

void pool_sessions_resume(Pool *pool)
{
	for (guint i = 0; i < pool->devices->len; i++)
		resume(g_ptr_array_index(pool->devices, i));
}

void pool_session_awaited_is_back(PoolDevice *device)
{
	stop_waiting(&device->session);
}

void pool_session_give_up(PoolDevice *device)
{
	stop_waiting(&device->session);
	device->session.resumed = false;
	device->had_link = false;
	mem_link_server_disconnect(device->link);
	device_reset(device->endpoint, DEVICE_RESET_NEW_SESSION);
	pool_session_clear(device);
}

void pool_sessions_host_gone(Pool *pool, uint64_t serial)
{
	for (guint i = 0; i < pool->devices->len; i++) {
		PoolDevice *device = g_ptr_array_index(pool->devices, i);

		if (device->session.awaited == serial)
			pool_session_give_up(device);
	}
}

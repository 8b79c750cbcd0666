/* SPDX-License-Identifier: BSD-3-Clause */
/* A vhost-user daemon of one virtio device: its process, its table of guest memory, its rings. */
#include "machine/vhost_backend.h"

#include "machine/backend_proc.h"
#include "machine/backend_socket.h"
#include "machine/log_limit.h"
#include "util/autofd.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <unistd.h>

/* Deadlines, in milliseconds. Rings and requests may have to wait for a disk. */
#define HELLO_MS  20000
#define RINGS_MS  5000
#define SETTLE_MS 5000
#define WORDS_MS  2000

struct VhostBackend {
	char *name;
	BackendProc *proc;
	VhostUser *vu;
	unsigned quiet_ms;
	void (*log)(void *opaque, const char *line);
	void (*broken)(void *opaque);
	void *opaque;
	int is_complained; /* atomic: said once that it is gone */

	GMutex table_lock; /* over regions; held while it is told of one */
	GArray *regions;   /* VhostUserRegion, with descriptors of their own */
	LogLimit blames;

	GMutex rings_lock; /* over rings; never while anything waits */
	VhostUserRing rings[VHOST_USER_MAX_RINGS];
	uint32_t running; /* a bit each, atomic; set under both locks, and after the ring */
};

static G_GNUC_PRINTF(2, 3) void say(VhostBackend *backend, const char *format, ...)
{
	g_autofree char *text = NULL;
	g_autofree char *line = NULL;
	va_list args;

	if (backend->log == NULL)
		return;
	va_start(args, format);
	text = g_strdup_vprintf(format, args);
	va_end(args);
	line = g_strdup_printf("%s: %s", backend->name, text);
	backend->log(backend->opaque, line);
}

/* Under the table's lock. What a guest does can be done again and again. */
static void blame_guest(VhostBackend *backend, const char *what)
{
	const char *behind = log_limit_pass(&backend->blames);

	if (behind != NULL)
		say(backend, "the guest %s%s", what, behind);
}

/* Returns when it is gone; says WHY, unless something was said before. */
static void end_daemon(VhostBackend *backend, const char *why)
{
	bool is_first = __atomic_exchange_n(&backend->is_complained, 1, __ATOMIC_ACQ_REL) == 0;

	vhost_user_shut(backend->vu);
	backend_proc_kill(backend->proc);
	if (is_first) {
		say(backend, "%s; the guest's device does not work any more", why);
		backend->broken(backend->opaque);
	}
}

static void end_after(VhostBackend *backend, const char *what, int rc)
{
	g_autofree char *why = g_strdup_printf("%s: %s", what,
					       rc == -EREMOTEIO   ? "it refuses"
					       : rc == -ETIMEDOUT ? "it does not answer in time"
					       : rc == -EPROTO ? "it does not keep to the protocol"
							       : "it closed the connection");

	end_daemon(backend, why);
}

/* From the process's thread. */
static void proc_ended(void *opaque)
{
	VhostBackend *backend = opaque;
	g_autofree char *words = backend_proc_last_words(backend->proc, 0);
	g_autofree char *why = g_strdup_printf("the daemon %s",
					       words != NULL ? words : "has ended");

	end_daemon(backend, why);
}

/* ---- start and end ---- */

static void clear_region(void *region)
{
	fd_close_auto(&((VhostUserRegion *)region)->fd);
}

/* The process that answers may be a child of ours: it has to be gone as well. */
static bool find_processes(VhostBackend *backend, unsigned hello_ms, GError **error)
{
	pid_t pid = vhost_user_ask_pid(backend->vu, hello_ms);
	int pidfd;

	if (pid == backend_proc_pid(backend->proc))
		return true;
	pidfd = pid > 0 ? backend_proc_open_pidfd(pid) : -ESRCH;
	/* Still the same one, so the pidfd is no later process's. */
	if (pidfd >= 0 && vhost_user_ask_pid(backend->vu, hello_ms) == pid) {
		backend_proc_add_pidfd(backend->proc, pidfd);
		return true;
	}
	if (pidfd >= 0)
		close(pidfd);
	g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED,
		    "cannot tell which process has the guest's memory");
	return false;
}

/* Puts what the daemon itself had to say behind a failure that may be its end's. */
static void add_last_words(VhostBackend *backend, GError **error)
{
	g_autofree char *words = NULL;
	g_autofree char *text = NULL;

	if (error == NULL || g_error_matches(*error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED))
		return;
	words = backend_proc_last_words(backend->proc, WORDS_MS);
	if (words == NULL)
		return;
	text = g_strdup((*error)->message);
	g_clear_error(error);
	g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED, "%s; it %s", text, words);
}

static bool say_hello(VhostBackend *backend, int fd, const VhostBackendConfig *config,
		      GError **error)
{
	unsigned hello_ms = config->hello_ms > 0 ? config->hello_ms : HELLO_MS;

	backend->vu = vhost_user_new(fd, config->n_rings, hello_ms, error);
	if (backend->vu != NULL && find_processes(backend, hello_ms, error))
		return true;
	g_prefix_error(error, "%s: ", backend->name);
	add_last_words(backend, error);
	return false;
}

VhostBackend *vhost_backend_spawn(const VhostBackendConfig *config, GError **error)
{
	AUTOFD int our_fd = -EBADF;
	AUTOFD int its_fd = -EBADF;
	BackendProcConfig proc_config = {
		.name = config->name,
		.argv = config->argv,
		.log = config->log,
		.opaque = config->opaque,
	};
	g_autoptr(VhostBackend) backend = NULL;

	g_assert(config->n_rings <= VHOST_USER_MAX_RINGS);
	if (!backend_socket_pair(config->listens, &our_fd, &its_fd, error))
		return NULL;
	proc_config.fd = its_fd;
	backend = g_new0(VhostBackend, 1);
	backend->name = g_strdup(config->name);
	backend->log = config->log;
	backend->broken = config->broken;
	backend->opaque = config->opaque;
	backend->quiet_ms = config->quiet_ms > 0 ? config->quiet_ms : GUEST_MEMORY_QUIET_MS;
	backend->regions = g_array_new(FALSE, FALSE, sizeof(VhostUserRegion));
	g_array_set_clear_func(backend->regions, clear_region);
	g_mutex_init(&backend->table_lock);
	g_mutex_init(&backend->rings_lock);
	backend->proc = backend_proc_spawn(&proc_config, error);
	if (backend->proc == NULL)
		return NULL;
	/* Its end of the socket is then only its own: should it end, ours says so. */
	close(fd_steal(&its_fd));
	if (!say_hello(backend, fd_steal(&our_fd), config, error))
		return NULL;
	backend_proc_on_end(backend->proc, proc_ended, backend);
	return g_steal_pointer(&backend);
}

void vhost_backend_free(VhostBackend *backend)
{
	if (backend == NULL)
		return;
	/* Not a word about the end we bring about. */
	__atomic_store_n(&backend->is_complained, 1, __ATOMIC_RELEASE);
	if (backend->vu != NULL)
		vhost_user_shut(backend->vu);
	backend_proc_free(backend->proc);
	vhost_user_free(backend->vu);
	g_array_unref(backend->regions);
	g_mutex_clear(&backend->table_lock);
	g_mutex_clear(&backend->rings_lock);
	g_free(backend->name);
	g_free(backend);
}

uint64_t vhost_backend_features(const VhostBackend *backend)
{
	return vhost_user_features(backend->vu);
}

uint32_t vhost_backend_max_regions(const VhostBackend *backend)
{
	return vhost_user_max_regions(backend->vu);
}

bool vhost_backend_is_alive(VhostBackend *backend)
{
	return vhost_user_is_open(backend->vu) && !backend_proc_has_ended(backend->proc);
}

pid_t vhost_backend_pid(const VhostBackend *backend)
{
	return backend_proc_pid(backend->proc);
}

/* ---- memory ---- */

static int send_table(VhostBackend *backend)
{
	return vhost_user_set_regions(backend->vu,
				      (const VhostUserRegion *)(void *)backend->regions->data,
				      backend->regions->len, backend->quiet_ms);
}

static int add_known(VhostBackend *backend, const VhostUserRegion *region)
{
	if (vhost_user_has_slots(backend->vu))
		return vhost_user_add_region(backend->vu, region, backend->quiet_ms);
	return send_table(backend);
}

static int add_region(void *opaque, const GuestRegion *region)
{
	VhostBackend *backend = opaque;
	VhostUserRegion known = {
		.gpa = region->gpa,
		.len = region->len,
		.hva = (uintptr_t)region->hva,
		.offset = region->offset,
	};
	int rc = 0;

	/* It could only map it for writing, too. One that has ended reaches nothing. */
	if (!region->writable || !vhost_user_is_open(backend->vu))
		return 0;
	known.fd = fcntl(region->fd, F_DUPFD_CLOEXEC, 0);
	if (known.fd < 0)
		return -errno;
	g_mutex_lock(&backend->table_lock);
	if (backend->regions->len >= vhost_backend_max_regions(backend)) {
		close(known.fd);
		rc = -ENOSPC;
	} else {
		g_array_append_val(backend->regions, known);
		rc = add_known(backend, &known);
		if (rc < 0)
			g_array_remove_index(backend->regions, backend->regions->len - 1);
	}
	g_mutex_unlock(&backend->table_lock);
	/* Whether one that refuses has mapped it all the same is not known. */
	if (rc < 0 && rc != -ENOSPC) {
		end_after(backend, "asked to map the guest's memory", rc);
		rc = -EIO;
	}
	return rc;
}

static bool is_in(uint64_t hva, const VhostUserRegion *region)
{
	return hva >= region->hva && hva - region->hva < region->len;
}

static bool ring_is_in(const VhostUserRing *ring, const VhostUserRegion *region)
{
	return is_in(ring->desc_hva, region) || is_in(ring->avail_hva, region) ||
	       is_in(ring->used_hva, region);
}

/* No ring that runs is in REGION. */
static bool rings_are_elsewhere(VhostBackend *backend, const VhostUserRegion *region)
{
	uint32_t running = __atomic_load_n(&backend->running, __ATOMIC_ACQUIRE);
	bool elsewhere = true;

	g_mutex_lock(&backend->rings_lock);
	for (unsigned i = 0; i < VHOST_USER_MAX_RINGS; i++) {
		if ((running >> i & 1) != 0 && ring_is_in(&backend->rings[i], region))
			elsewhere = false;
	}
	g_mutex_unlock(&backend->rings_lock);
	return elsewhere;
}

/* Under the table's lock, REGION no longer in it. */
static int forget(VhostBackend *backend, const VhostUserRegion *region)
{
	int rc;

	if (!rings_are_elsewhere(backend, region)) {
		rc = vhost_user_stop(backend->vu, &backend->running, RINGS_MS);
		if (rc < 0)
			return rc;
		blame_guest(backend, "had its rings in memory that is taken back; it has to start "
				     "the device anew");
		backend->broken(backend->opaque);
	}
	if (vhost_user_has_slots(backend->vu))
		rc = vhost_user_remove_region(backend->vu, region, backend->quiet_ms);
	else
		rc = send_table(backend);
	if (rc == 0)
		rc = vhost_user_settle(backend->vu, &backend->running, SETTLE_MS);
	return rc;
}

static void remove_region(void *opaque, const GuestRegion *region)
{
	VhostBackend *backend = opaque;
	VhostUserRegion gone = { .fd = -EBADF };
	bool was_open = true;
	int rc = 0;

	g_mutex_lock(&backend->table_lock);
	for (guint i = 0; i < backend->regions->len; i++) {
		VhostUserRegion *known = &g_array_index(backend->regions, VhostUserRegion, i);

		if (known->gpa != region->gpa || known->len != region->len)
			continue;
		gone = *known;
		known->fd = -EBADF; /* for clear_region() */
		g_array_remove_index(backend->regions, i);
		was_open = vhost_user_is_open(backend->vu);
		if (was_open)
			rc = forget(backend, &gone);
		break;
	}
	g_mutex_unlock(&backend->table_lock);
	if (rc < 0)
		end_after(backend, "asked to let go of the guest's memory", rc);
	else if (!was_open)
		end_daemon(backend, "the connection is closed");
	fd_close_auto(&gone.fd);
}

const GuestListenerOps vhost_backend_listener_ops = {
	.add = add_region,
	.remove = remove_region,
};

/* ---- rings ---- */

static bool is_known(VhostBackend *backend, uint64_t hva)
{
	for (guint i = 0; i < backend->regions->len; i++) {
		if (is_in(hva, &g_array_index(backend->regions, VhostUserRegion, i)))
			return true;
	}
	return false;
}

/* Under the table's lock. A daemon would end when it is given others. */
static bool rings_are_known(VhostBackend *backend, const VhostUserRing *rings, unsigned n)
{
	bool known = true;

	for (unsigned i = 0; i < n; i++) {
		if (rings[i].n > 0)
			known = known && is_known(backend, rings[i].desc_hva) &&
				is_known(backend, rings[i].avail_hva) &&
				is_known(backend, rings[i].used_hva);
	}
	return known;
}

/* They run from now on: whoever takes memory back has to look at them. False: they are not known.
 */
static bool set_rings(VhostBackend *backend, const VhostUserRing *rings, unsigned n)
{
	uint32_t running = 0;
	bool known;

	g_mutex_lock(&backend->table_lock);
	known = rings_are_known(backend, rings, n);
	if (!known) {
		blame_guest(backend, "has rings in memory that is not for it");
	} else {
		g_mutex_lock(&backend->rings_lock);
		for (unsigned i = 0; i < n; i++) {
			backend->rings[i] = rings[i];
			running |= rings[i].n > 0 ? UINT32_C(1) << i : 0;
		}
		__atomic_store_n(&backend->running, running, __ATOMIC_RELEASE);
		g_mutex_unlock(&backend->rings_lock);
	}
	g_mutex_unlock(&backend->table_lock);
	return known;
}

int vhost_backend_start(VhostBackend *backend, uint64_t features, const VhostUserRing *rings,
			unsigned n)
{
	int rc;

	g_assert(n <= VHOST_USER_MAX_RINGS);
	if (!set_rings(backend, rings, n))
		return -EFAULT;
	rc = vhost_user_start(backend->vu, features, rings, n, RINGS_MS);
	if (rc < 0)
		end_after(backend, "asked to start", rc);
	return rc;
}

void vhost_backend_stop(VhostBackend *backend)
{
	int rc = 0;

	if (__atomic_load_n(&backend->running, __ATOMIC_ACQUIRE) == 0)
		return;
	if (vhost_user_is_open(backend->vu))
		rc = vhost_user_stop(backend->vu, &backend->running, RINGS_MS);
	else
		end_daemon(backend, "the connection is closed");
	if (rc < 0)
		end_after(backend, "asked to stop", rc);
	__atomic_store_n(&backend->running, 0, __ATOMIC_RELEASE);
}

void vhost_backend_set_call(VhostBackend *backend, unsigned ring, int call_fd)
{
	int rc;

	if (!vhost_user_is_open(backend->vu))
		return;
	rc = vhost_user_set_call(backend->vu, ring, call_fd, RINGS_MS);
	if (rc < 0)
		end_after(backend, "asked to change an interrupt", rc);
}

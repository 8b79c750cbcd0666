/* SPDX-License-Identifier: BSD-3-Clause */
/* A fake daemon behind a vhost-user back end, memory for it, and what both had to say. */
#include "vhost_trial.h"

#include "machine/vhost_user_wire.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HELLO_MS 2000

/* ---- what the daemon is told and says ---- */

void witness_log(void *opaque, const char *line)
{
	Witness *witness = opaque;

	g_mutex_lock(&witness->lock);
	g_string_append_printf(witness->said, "%s\n", line);
	g_cond_broadcast(&witness->changed);
	g_mutex_unlock(&witness->lock);
}

static void witness_broken(void *opaque)
{
	Witness *witness = opaque;

	g_mutex_lock(&witness->lock);
	witness->n_broken++;
	g_cond_broadcast(&witness->changed);
	g_mutex_unlock(&witness->lock);
}

void witness_wait(Witness *witness, const char *text, unsigned n_broken)
{
	gint64 deadline = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;

	g_mutex_lock(&witness->lock);
	while (strstr(witness->said->str, text) == NULL || witness->n_broken < n_broken) {
		if (!g_cond_wait_until(&witness->changed, &witness->lock, deadline))
			g_error("no \"%s\" and %u broken in:\n%s", text, n_broken,
				witness->said->str);
	}
	g_assert_cmpuint(witness->n_broken, ==, n_broken);
	g_mutex_unlock(&witness->lock);
}

void witness_count(Witness *witness, const char *text, unsigned n)
{
	gint64 deadline = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
	unsigned found = 0;

	g_mutex_lock(&witness->lock);
	for (;;) {
		found = 0;
		for (const char *at = witness->said->str; (at = strstr(at, text)) != NULL; at++)
			found++;
		if (found >= n || !g_cond_wait_until(&witness->changed, &witness->lock, deadline))
			break;
	}
	g_assert_cmpuint(found, ==, n);
	g_mutex_unlock(&witness->lock);
}

void witness_init(Witness *witness)
{
	g_mutex_init(&witness->lock);
	g_cond_init(&witness->changed);
	witness->said = g_string_new(NULL);
	witness->n_broken = 0;
}

void witness_clear(Witness *witness)
{
	g_string_free(witness->said, TRUE);
	g_cond_clear(&witness->changed);
	g_mutex_clear(&witness->lock);
}

VhostBackend *trial_spawn(const Trial *trial, Witness *witness, GError **error)
{
	g_autofree char *traits = g_strdup_printf("%u", trial->traits);
	g_autofree char *lie = g_strdup_printf("%u", trial->lie);
	g_autofree char *lie_at = g_strdup_printf("%u", trial->lie_at);
	g_autofree char *lie_nth = g_strdup_printf("%u", trial->lie_nth);
	const char *const argv[] = {
		"/proc/self/exe", "--fake", traits, lie, lie_at, lie_nth, NULL
	};
	VhostBackendConfig config = {
		.name = "fake",
		.argv = argv,
		.listens = (trial->traits & FAKE_LISTENS) != 0,
		.n_rings = 2,
		.hello_ms = HELLO_MS,
		.quiet_ms = TRIAL_QUIET_MS,
		.log = witness_log,
		.broken = witness_broken,
		.opaque = witness,
	};

	return vhost_backend_spawn(&config, error);
}

VhostBackend *trial_spawn_good(const Trial *trial, Witness *witness)
{
	g_autoptr(GError) error = NULL;
	VhostBackend *backend = trial_spawn(trial, witness, &error);

	g_assert_no_error(error);
	g_assert_nonnull(backend);
	return backend;
}

/* ---- memory ---- */

GuestRegion region_make(unsigned number)
{
	GuestRegion region = {
		.gpa = UINT64_C(0x5000000000) + number * UINT64_C(0x10000000),
		.len = TRIAL_REGION_LEN,
		.offset = TRIAL_REGION_LEN,
		.writable = true,
	};
	g_autofree char *name = g_strdup_printf("vhost-test-%u", number);

	region.fd = memfd_create(name, MFD_CLOEXEC);
	g_assert_cmpint(region.fd, >=, 0);
	g_assert_cmpint(ftruncate(region.fd, 2 * TRIAL_REGION_LEN), ==, 0);
	region.hva = mmap(NULL, TRIAL_REGION_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, region.fd,
			  TRIAL_REGION_LEN);
	g_assert_true(region.hva != MAP_FAILED);
	return region;
}

void region_end(GuestRegion *region)
{
	munmap(region->hva, region->len);
	close(region->fd);
}

bool region_is_mapped(pid_t pid, unsigned number)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/maps", pid);
	g_autofree char *name = g_strdup_printf("memfd:vhost-test-%u ", number);
	g_autofree char *maps = NULL;

	return g_file_get_contents(path, &maps, NULL, NULL) && strstr(maps, name) != NULL;
}

pid_t trial_serving_pid(const VhostBackend *backend, const Trial *trial)
{
	pid_t pid = vhost_backend_pid(backend);
	g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/children", pid, pid);
	g_autofree char *text = NULL;

	if ((trial->traits & FAKE_FORKS) == 0)
		return pid;
	g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
	pid = (pid_t)g_ascii_strtoll(text, NULL, 10);
	g_assert_cmpint(pid, >, 0);
	return pid;
}

void region_fill_rings(const GuestRegion *region, VhostUserRing *rings, int kick_fd, int call_fd)
{
	uint64_t hva = (uintptr_t)region->hva;

	for (unsigned i = 0; i < 2; i++) {
		rings[i] = (VhostUserRing){
			.n = 16,
			.desc_hva = hva + i * 0x4000,
			.avail_hva = hva + i * 0x4000 + 0x1000,
			.used_hva = hva + i * 0x4000 + 0x2000,
			.kick_fd = i == 0 ? kick_fd : -1,
			.call_fd = i == 0 ? call_fd : -1,
		};
	}
}

int region_add(VhostBackend *backend, const GuestRegion *region)
{
	return vhost_backend_listener_ops.add(backend, region);
}

void region_take(VhostBackend *backend, const GuestRegion *region)
{
	vhost_backend_listener_ops.remove(backend, region);
}

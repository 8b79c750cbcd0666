/* SPDX-License-Identifier: BSD-3-Clause */
/* Directories for the guest: a virtio file system that virtiofsd serves. */
#include "machine/backend_proc.h"
#include "machine/backend_program.h"
#include "machine/virtio_device.h"
#include "machine/virtio_pci_wire.h"

#include <gio/gio.h>
#include <mntent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define N_QUEUES  2        /* urgent requests, requests */
#define QUEUE_MAX 1024     /* what both kinds of virtiofsd take */
#define PCI_CLASS 0x018000 /* mass storage, other */

/* Debian's: bookworm's is part of QEMU, later ones are a package of their own. */
static const char *const folders[] = { "/usr/libexec", "/usr/lib/qemu", "/usr/lib", NULL };

static bool check_dir(const char *dir, const char *tag, GError **error)
{
	size_t len = strlen(tag);

	if (len == 0 || len > VIRTIO_FS_TAG_LEN) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
			    "share %s: tag \"%s\" has %zu bytes; it must have 1 to %d", dir, tag,
			    len, VIRTIO_FS_TAG_LEN);
		return false;
	}
	if (!g_file_test(dir, G_FILE_TEST_IS_DIR)) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND, "share %s: no such directory",
			    dir);
		return false;
	}
	return true;
}

/*
 * The newer virtiofsd, in Rust, and the older one, which was QEMU's, name things differently. The
 * thread pool stays off: with it, requests in flight are not waited for when memory is taken back
 * (see vhost_user_settle()).
 */
static GPtrArray *make_argv(const char *path, bool is_new, const char *dir, const char *sandbox)
{
	GPtrArray *argv = g_ptr_array_new_with_free_func(g_free);

	g_ptr_array_add(argv, g_strdup(path));
	g_ptr_array_add(argv, g_strdup("--fd=" BACKEND_PROC_FD_TEXT));
	if (is_new) {
		g_ptr_array_add(argv, g_strdup_printf("--shared-dir=%s", dir));
		g_ptr_array_add(argv, g_strdup_printf("--sandbox=%s", sandbox));
		g_ptr_array_add(argv, g_strdup("--thread-pool-size=0"));
		g_ptr_array_add(argv, g_strdup("--log-level=warn"));
	} else {
		g_ptr_array_add(argv, g_strdup("-f"));
		g_ptr_array_add(argv, g_strdup("-o"));
		/* A comma in the name would begin another option. */
		g_ptr_array_add(argv, g_strdup_printf("source=%s", dir));
		g_ptr_array_add(argv, g_strdup("-o"));
		g_ptr_array_add(argv, g_strdup_printf("sandbox=%s,log_level=warn", sandbox));
	}
	g_ptr_array_add(argv, NULL);
	return argv;
}

static VirtioDevice *try_sandbox(const VirtioContext *context, const VirtioDeviceConfig *config,
				 const char *path, const char *dir, const char *sandbox,
				 GError **error)
{
	bool is_new = backend_program_knows(path, "--shared-dir");
	g_autoptr(GPtrArray) argv = make_argv(path, is_new, dir, sandbox);
	g_autofree char *name = g_strdup_printf("virtiofsd %s", dir);
	VhostBackendConfig backend = {
		.name = name,
		.argv = (const char *const *)argv->pdata,
		.listens = true,
	};

	if (!is_new && strchr(dir, ',') != NULL) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT,
			    "share %s: %s takes no directory with a comma in its name", dir, path);
		return NULL;
	}
	return virtio_device_new(context, config, &backend, error);
}

/* In an initramfs the root cannot be exchanged for another one, only changed with chroot(2). */
static bool is_initramfs(void)
{
	FILE *mounts = setmntent("/proc/self/mounts", "r");
	bool is_first = false;
	const struct mntent *mount;

	if (mounts == NULL)
		return false;
	/* The last of those that are mounted over each other counts. */
	while ((mount = getmntent(mounts)) != NULL) {
		if (strcmp(mount->mnt_dir, "/") == 0)
			is_first = strcmp(mount->mnt_type, "rootfs") == 0;
	}
	endmntent(mounts);
	return is_first;
}

VirtioDevice *virtio_share_new(const VirtioContext *context, const char *dir, const char *tag,
			       GError **error)
{
	g_autofree char *path = backend_program_find("virtiofsd", folders);
	g_autofree char *full_dir = g_canonicalize_filename(dir, NULL);
	g_autoptr(GError) first_error = NULL;
	VirtioFsSpace space = { .n_request_queues = le32_put(N_QUEUES - 1) };
	VirtioDeviceConfig config = {
		.type = VIRTIO_TYPE_FS,
		.class_code = PCI_CLASS,
		.features = VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX,
		.space = &space,
		.space_len = sizeof(space),
		.n_queues = N_QUEUES,
		.queue_max = QUEUE_MAX,
	};
	bool is_root = geteuid() == 0;
	VirtioDevice *device = NULL;

	if (!check_dir(full_dir, tag, error))
		return NULL;
	if (path == NULL) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_FOUND,
			    "share %s: no virtiofsd in PATH, %s or %s: apt-get install virtiofsd "
			    "(before Debian 13: qemu-system-common)",
			    dir, folders[0], folders[1]);
		return NULL;
	}
	memcpy(space.tag, tag, strlen(tag));
	if (is_root && is_initramfs())
		return try_sandbox(context, &config, path, full_dir, "chroot", error);
	device = try_sandbox(context, &config, path, full_dir, "namespace", &first_error);
	/* Containers may forbid namespaces; root may still change its root. */
	if (device == NULL && is_root)
		device = try_sandbox(context, &config, path, full_dir, "chroot", NULL);
	if (device == NULL)
		g_propagate_error(error, g_steal_pointer(&first_error));
	return device;
}

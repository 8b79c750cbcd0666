/* SPDX-License-Identifier: BSD-3-Clause */
/* softdcd run: a pool of its own for a machine that is given none. */
#include "cli/run.h"

#include "cxl/memdev.h"
#include "qmp/qmp_client.h"
#include "util/autofd.h"
#include "util/size.h"
#include "util/socket_dir.h"
#include "util/uuid.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

/*
 * The pool is a daemon like any other, "softdcd serve", so that clients reach it by its name and a
 * guest that gets out of hand does not reach it at all. Its configuration, what it keeps and the
 * socket that it says "ready" on are in a directory that goes with it.
 */
struct RunPool {
	char *name;
	char *dir;         /* ours alone */
	int lock_fd;       /* of a file there: who finds it locked leaves the directory alone */
	char *runtime_dir; /* of the daemon */
	GSubprocess *daemon;
	char tag[UUID_TEXT_SIZE];
};

#define READY_TIMEOUT_MS 30000
#define END_TIMEOUT_MS   30000
#define DEFAULT_DC_LEN   (UINT64_C(4) << 30)
#define BLOCK_LEN        (UINT64_C(2) << 20)
#define LSA_LEN          (UINT64_C(128) << 10)
/* Of the dynamic capacity, what the tagged backend takes: the rest is to try things with. */
#define BACKEND_SHARE 4

static uint64_t size_of(const CliArgs *args, const char *option)
{
	return cli_given(args, option) ? cli_value(args, option, 0)->number : 0;
}

static bool has_static(const CliArgs *args)
{
	return size_of(args, "ram") || size_of(args, "pmem");
}

static uint64_t dynamic_len(const CliArgs *args)
{
	return cli_given(args, "dc") || has_static(args) ? size_of(args, "dc") : DEFAULT_DC_LEN;
}

static uint64_t backend_len(const CliArgs *args)
{
	return MAX(dynamic_len(args) / BACKEND_SHARE / BLOCK_LEN, 1) * BLOCK_LEN;
}

/* ---- configuration ---- */

/* Static and dynamic capacity are two devices, because one has only one host in the guest: the
 * kernel or the agent. */
static bool write_config(RunCmd *cmd, const char *path, GError **error)
{
	g_autoptr(GString) text = g_string_new(NULL);
	const CliArgs *args = cmd->args;

	if (has_static(args))
		g_string_append_printf(text,
				       "[device " RUN_STATIC_DEVICE "]\nram=%" PRIu64
				       "\npmem=%" PRIu64 "\nlsa=%" PRIu64 "\n",
				       size_of(args, "ram"), size_of(args, "pmem"), LSA_LEN);
	if (dynamic_len(args))
		g_string_append_printf(text,
				       "[device " RUN_DYNAMIC_DEVICE "]\ndc-regions=%" PRIu64
				       "\n[backend " RUN_BACKEND "]\nsize=%" PRIu64 "\ntag=%s\n",
				       dynamic_len(args), backend_len(args), cmd->pool->tag);
	return g_file_set_contents(path, text->str, (gssize)text->len, error);
}

static bool add_device(RunCmd *cmd, const char *name, bool is_persistent, bool is_dynamic,
		       GError **error)
{
	g_autofree char *vfio = g_strdup_printf("%s.vfio", name);
	g_autofree char *mem = g_strdup_printf("%s.mem", name);
	g_autofree char *vfio_path = socket_dir_socket_path(cmd->pool->runtime_dir, vfio, error);
	g_autofree char *mem_path =
		vfio_path ? socket_dir_socket_path(cmd->pool->runtime_dir, mem, error) : NULL;

	if (!mem_path)
		return false;
	run_add_device(cmd, &(RunDevice){
				    .name = name,
				    .vfio_path = vfio_path,
				    .mem_path = mem_path,
				    .is_persistent = is_persistent,
				    .is_dynamic = is_dynamic,
			    });
	return true;
}

static bool add_devices(RunCmd *cmd, GError **error)
{
	const CliArgs *args = cmd->args;

	if (has_static(args) &&
	    !add_device(cmd, RUN_STATIC_DEVICE, size_of(args, "pmem") != 0, false, error))
		return false;
	return !dynamic_len(args) || add_device(cmd, RUN_DYNAMIC_DEVICE, false, true, error);
}

/* ---- the daemon ---- */

/* In the child, before it becomes the daemon: its end comes with ours, not with a terminal's ^C. */
static void prepare_child(gpointer unused)
{
	sigset_t none;

	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	(void)setsid();
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static int listen_for_ready(const char *path, GError **error)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
	if (fd >= 0 && strlen(path) < sizeof(address.sun_path) &&
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno), "socket %s: %s", path,
		    g_strerror(errno));
	fd_close_auto(&fd);
	return -EBADF;
}

static bool is_ready_message(int fd)
{
	char text[512];
	ssize_t len = recv(fd, text, sizeof(text) - 1, 0);

	if (len <= 0)
		return false;
	text[len] = '\0';
	return strstr(text, "READY=1") != NULL;
}

/* -1 if it has ended, and been waited for. */
static int open_pidfd(GSubprocess *daemon)
{
	const char *pid = g_subprocess_get_identifier(daemon);

	return pid ? (int)syscall(SYS_pidfd_open, (pid_t)g_ascii_strtoll(pid, NULL, 10), 0) : -1;
}

/* False: it has ended instead, having said why on stderr. */
static bool wait_ready(GSubprocess *daemon, int ready_fd, GError **error)
{
	AUTOFD int pidfd = open_pidfd(daemon);
	struct pollfd fds[2] = { { .fd = ready_fd, .events = POLLIN },
				 { .fd = pidfd, .events = POLLIN } };

	for (;;) {
		int n = pidfd >= 0 ? poll(fds, 2, READY_TIMEOUT_MS) : 1;

		if (n < 0 && errno == EINTR)
			continue;
		if (n > 0 && fds[0].revents && is_ready_message(ready_fd))
			return true;
		if (n <= 0 || pidfd < 0 || fds[1].revents) {
			g_set_error(error, G_IO_ERROR, G_IO_ERROR_FAILED, "%s",
				    n > 0 ? "its pool has ended" : "its pool does not start");
			return false;
		}
	}
}

static bool start_daemon(RunPool *pool, GError **error)
{
	g_autoptr(GSubprocessLauncher)
		launcher = g_subprocess_launcher_new(G_SUBPROCESS_FLAGS_STDOUT_SILENCE);
	g_autofree char *notify = g_build_filename(pool->dir, "notify", NULL);
	g_autofree char *config = g_build_filename(pool->dir, "pool.conf", NULL);
	g_autofree char *self = g_file_read_link("/proc/self/exe", error);
	AUTOFD int ready_fd = -EBADF;

	if (!self)
		return false;
	ready_fd = listen_for_ready(notify, error);
	if (ready_fd < 0)
		return false;
	g_subprocess_launcher_set_child_setup(launcher, prepare_child, NULL, NULL);
	g_subprocess_launcher_setenv(launcher, "NOTIFY_SOCKET", notify, TRUE);
	pool->daemon = g_subprocess_launcher_spawn(launcher, error, self, "serve", "--ephemeral",
						   "--name", pool->name, "--state", pool->dir,
						   "--config", config, NULL);
	return pool->daemon && wait_ready(pool->daemon, ready_fd, error);
}

/* Waits in the pool until the guest's host of the device wants it. */
static bool offer_backend(const RunPool *pool, GError **error)
{
	g_autofree char *path = socket_dir_socket_path(pool->runtime_dir, "qmp.sock", error);
	g_autoptr(QmpClient) client = path ? qmp_client_connect(path, QMP_CLIENT_TIMEOUT_MS, error)
					   : NULL;
	g_autoptr(JsonNode) result = NULL;
	JsonObject *request;

	if (!client)
		return false;
	request = json_object_new();
	json_object_set_string_member(request, "path", RUN_DYNAMIC_DEVICE);
	json_object_set_int_member(request, "host-id", 0);
	json_object_set_string_member(request, "selection-policy", "free");
	json_object_set_int_member(request, "region", 0);
	json_object_set_string_member(request, "tag", pool->tag);
	json_object_set_array_member(request, "extents", json_array_new());
	result = qmp_client_call(client, "cxl-add-dynamic-capacity", request, QMP_CLIENT_TIMEOUT_MS,
				 error);
	return result != NULL;
}

/* ---- what can be ---- */

/* The daemon would refuse it as well, but not by the name it has here. */
static bool check_sizes(const CliArgs *args)
{
	static const char *const options[] = { "dc", "ram", "pmem" };

	for (unsigned i = 0; i < G_N_ELEMENTS(options); i++) {
		if (size_of(args, options[i]) % CXL_CAPACITY_UNIT == 0)
			continue;
		cli_complain(args, "--%s %s: must be a multiple of 256 MiB", options[i],
			     cli_text(args, options[i]));
		return false;
	}
	return true;
}

static uint64_t window_len(const MachineLayout *layout, unsigned device)
{
	for (unsigned i = 0; i < layout->n_windows; i++) {
		const FabricWindow *window = &layout->windows[i];

		for (unsigned j = 0; j < window->ways; j++) {
			if (window->targets[j] == layout->plugs[device].uid)
				return window->len;
		}
	}
	return 0;
}

ExitCode run_check_pool(const RunCmd *cmd)
{
	for (guint i = 0; cmd->pool && i < cmd->devices->len; i++) {
		const RunDevice *device = &g_array_index(cmd->devices, RunDevice, i);
		uint64_t len = device->is_dynamic
				       ? dynamic_len(cmd->args)
				       : size_of(cmd->args, "ram") + size_of(cmd->args, "pmem");
		uint64_t max = window_len(&cmd->layout, i);
		g_autofree char *len_text = size_format_human(len);
		g_autofree char *max_text = size_format_human(max);

		if (len <= max)
			continue;
		cli_complain(cmd->args, "device %s of %s: its window has %s, see --window",
			     device->name, len_text, max_text);
		return EXIT_USAGE;
	}
	return EXIT_DONE;
}

/* ---- begin and end ---- */

static bool make_dir(RunPool *pool, GError **error)
{
	g_autofree char *name = g_strdup_printf(RUN_DIR_PREFIX "%d-XXXXXX", (int)getpid());
	g_autofree char *lock = NULL;

	pool->dir = g_dir_make_tmp(name, error);
	if (!pool->dir)
		return false;
	lock = g_build_filename(pool->dir, RUN_DIR_LOCK, NULL);
	pool->lock_fd = open(lock, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (pool->lock_fd >= 0 && flock(pool->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return true;
	g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno), "%s: cannot be locked: %s",
		    lock, g_strerror(errno));
	return false;
}

static bool start_pool(RunCmd *cmd, GError **error)
{
	RunPool *pool = cmd->pool;
	g_autofree char *config = NULL;

	if (!make_dir(pool, error))
		return false;
	pool->runtime_dir = socket_dir_default_path(pool->name, error);
	config = g_build_filename(pool->dir, "pool.conf", NULL);
	return pool->runtime_dir && write_config(cmd, config, error) && start_daemon(pool, error) &&
	       add_devices(cmd, error) && (!dynamic_len(cmd->args) || offer_backend(pool, error));
}

ExitCode run_start_pool(RunCmd *cmd)
{
	g_autoptr(GError) error = NULL;
	Uuid tag;

	if (!check_sizes(cmd->args))
		return EXIT_USAGE;
	if (!has_static(cmd->args) && !dynamic_len(cmd->args))
		return EXIT_DONE;
	cmd->pool = g_new0(RunPool, 1);
	cmd->pool->lock_fd = -EBADF;
	cmd->pool->name = g_strdup_printf(RUN_POOL_PREFIX "%d", (int)getpid());
	uuid_random(&tag);
	uuid_format(&tag, cmd->pool->tag);
	if (start_pool(cmd, &error))
		return EXIT_DONE;
	cli_complain(cmd->args, "%s", error->message);
	return EXIT_REFUSED;
}

ExitCode run_refuse_pool_options(RunCmd *cmd)
{
	static const char *const options[] = { "dc", "ram", "pmem" };

	for (unsigned i = 0; i < G_N_ELEMENTS(options); i++) {
		if (!cli_given(cmd->args, options[i]))
			continue;
		cli_complain(cmd->args,
			     "--%s is for a pool of the machine's own: leave out --device",
			     options[i]);
		return EXIT_USAGE;
	}
	return EXIT_DONE;
}

/* PATH and the files in it. */
static void remove_directory(const char *path)
{
	g_autoptr(GDir) dir = path ? g_dir_open(path, 0, NULL) : NULL;
	const char *name;

	if (!dir)
		return;
	while ((name = g_dir_read_name(dir))) {
		g_autofree char *file = g_build_filename(path, name, NULL);

		g_unlink(file);
	}
	g_rmdir(path);
}

/* It wipes first; should it hang, nothing of it is of use to anybody. */
static void end_daemon(GSubprocess *daemon)
{
	AUTOFD int pidfd = open_pidfd(daemon);
	struct pollfd ended = { .fd = pidfd, .events = POLLIN };

	g_subprocess_send_signal(daemon, SIGTERM);
	if (pidfd < 0 || poll(&ended, 1, END_TIMEOUT_MS) <= 0)
		g_subprocess_force_exit(daemon);
	g_subprocess_wait(daemon, NULL, NULL);
}

void run_end_pool(RunPool *pool)
{
	if (!pool)
		return;
	if (pool->daemon) {
		end_daemon(pool->daemon);
		g_object_unref(pool->daemon);
		remove_directory(pool->runtime_dir);
	}
	remove_directory(pool->dir);
	fd_close_auto(&pool->lock_fd);
	g_free(pool->name);
	g_free(pool->dir);
	g_free(pool->runtime_dir);
	g_free(pool);
}

const char *run_pool_tag(const RunCmd *cmd)
{
	return cmd->pool && dynamic_len(cmd->args) ? cmd->pool->tag : NULL;
}

char *run_pool_motd(const RunCmd *cmd)
{
	static const char end[] = "exit, or Ctrl-A x, ends the machine.\n\n";
	g_autofree char *len = size_format_human(backend_len(cmd->args));
	const char *name = cmd->pool->name;

	if (!run_pool_tag(cmd))
		return g_strdup_printf(
			"\nDevice " RUN_STATIC_DEVICE " is of pool %s. Try:\n\n"
			"  ls /sys/bus/cxl/devices    what the kernel made of it\n"
			"  cat /sys/bus/cxl/devices/mem0/ram/size\n"
			"  grep CXL /proc/iomem       the window for its memory\n\n%s",
			name, end);
	return g_strdup_printf(
		"\nDevice " RUN_DYNAMIC_DEVICE " of pool %s offers %s with the tag %s. Try:\n\n"
		"  softdcd-agent probe           what there is\n"
		"  softdcd-agent measure $TAG    accept the tag, compare its memory with ordinary "
		"memory,\n"
		"                                and give it back\n"
		"  softdcd-agent &               accept all that is offered; more comes by, "
		"outside:\n"
		"                                softdcd offer --pool %s " RUN_DYNAMIC_DEVICE
		" --size 256M\n\n%s",
		name, len, cmd->pool->tag, name, end);
}

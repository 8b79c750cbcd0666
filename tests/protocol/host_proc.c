/* SPDX-License-Identifier: BSD-3-Clause */
/* `softdcd host` as a process of its own, and a pool in the test that serves it by sockets. */
#include "host_proc.h"

#include "pool/pool_priv.h"
#include "util/autofd.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#define REGION_LEN (256 * MIB)

/* ---- the pool ---- */

static char *socket_path(const Rig *rig, unsigned device, const char *kind)
{
	return g_strdup_printf("%s/dev%u.%s", rig->dir, device, kind);
}

static int listen_on(const char *path, int type)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
	unlink(path);
	g_assert_cmpint(bind(fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
	g_assert_cmpint(chmod(path, 0666), ==, 0);
	g_assert_cmpint(listen(fd, 16), ==, 0);
	return fd;
}

static void serve_device(Rig *rig, unsigned device)
{
	static const DcRegionConfig region = { .len = REGION_LEN, .block_size = BLOCK };
	g_autofree char *name = g_strdup_printf("dev%u", device);
	g_autofree char *vfio = socket_path(rig, device, "vfio");
	g_autofree char *mem = socket_path(rig, device, "mem");
	PoolDeviceConfig config = {
		.name = name,
		.serial = 0xdcd0 + device,
		.regions = &region,
		.n_regions = 1,
		.hold_off = true,
	};
	g_autoptr(GError) error = NULL;

	rig->devices[device] = pool_add_device(rig->pool, &config, &error);
	g_assert_no_error(error);
	pool_listen(rig->pool, rig->devices[device], listen_on(vfio, SOCK_STREAM),
		    listen_on(mem, SOCK_SEQPACKET));
}

void rig_start(Rig *rig)
{
	PoolConfig config = { 0 };

	rig->pool = pool_new(&config);
	for (unsigned i = 0; i < rig->n_devices; i++)
		serve_device(rig, i);
}

void rig_stop(Rig *rig)
{
	g_clear_pointer(&rig->pool, pool_free);
}

Rig *rig_new(unsigned n_devices)
{
	Rig *rig = g_new0(Rig, 1);

	rig->dir = g_dir_make_tmp("softdcd-host-XXXXXX", NULL);
	g_assert_nonnull(rig->dir);
	g_assert_cmpint(chmod(rig->dir, 0755), ==, 0);
	rig->n_devices = n_devices;
	rig_start(rig);
	return rig;
}

void rig_free(Rig *rig)
{
	if (!rig)
		return;
	rig_stop(rig);
	for (unsigned i = 0; i < rig->n_devices; i++) {
		g_autofree char *vfio = socket_path(rig, i, "vfio");
		g_autofree char *mem = socket_path(rig, i, "mem");

		unlink(vfio);
		unlink(mem);
	}
	rmdir(rig->dir);
	g_free(rig->dir);
	g_free(rig);
}

static void hang_up(Pool *pool, void *user_data)
{
	PoolDevice *device = user_data;

	vfu_server_disconnect(device->vfu);
}

void rig_hang_up(Rig *rig, unsigned device)
{
	pool_call(rig->pool, hang_up, rig->devices[device]);
}

Uuid rig_tag(unsigned n)
{
	Uuid tag = { .b = { 0x5b, 0xe1, 0, 0, 0, 0, 0x40, 0, 0x80 } };

	tag.b[15] = (uint8_t)n;
	return tag;
}

char *rig_tag_text(unsigned n)
{
	Uuid tag = rig_tag(n);
	char *text = g_malloc(UUID_TEXT_SIZE);

	uuid_format(&tag, text);
	return text;
}

void rig_backend(Rig *rig, unsigned tag, uint64_t len)
{
	g_autofree char *name = g_strdup_printf("mem%u", tag);
	BackendConfig config = {
		.name = name,
		.type = BACKEND_MEMFD,
		.size = len,
		.tag = rig_tag(tag),
	};
	g_autoptr(GError) error = NULL;

	pool_add_backend(rig->pool, &config, &error);
	g_assert_no_error(error);
}

static bool offer(Rig *rig, unsigned device, unsigned tag, GError **error)
{
	OfferRequest request = { .tag = rig_tag(tag), .policy = OFFER_CONTIGUOUS };

	return pool_offer(rig->pool, rig->devices[device], &request, NULL, error);
}

bool rig_try_offer(Rig *rig, unsigned device, unsigned tag)
{
	return offer(rig, device, tag, NULL);
}

void rig_offer(Rig *rig, unsigned device, unsigned tag)
{
	g_autoptr(GError) error = NULL;

	offer(rig, device, tag, &error);
	g_assert_no_error(error);
}

void rig_ask_back(Rig *rig, unsigned device, unsigned tag, bool forced)
{
	ReleaseRequest request = { .tag = rig_tag(tag), .forced = forced };
	g_autoptr(GError) error = NULL;

	pool_release(rig->pool, rig->devices[device], &request, NULL, &error);
	g_assert_no_error(error);
}

CapacityCounters rig_counters(Rig *rig, unsigned tag)
{
	g_autofree char *name = g_strdup_printf("mem%u", tag);
	CapacityCounters counters;
	uint64_t allocated_len;

	g_assert_true(pool_backend_counters(rig->pool, name, &counters, &allocated_len));
	return counters;
}

void rig_wait_free(Rig *rig, unsigned tag, uint64_t len)
{
	gint64 end = g_get_monotonic_time() + PROC_WAIT_US;

	while (rig_counters(rig, tag).free != len) {
		g_assert_cmpint(g_get_monotonic_time(), <, end);
		g_usleep(500);
	}
}

void rig_wait_accepted(Rig *rig, unsigned tag, uint64_t len)
{
	gint64 end = g_get_monotonic_time() + PROC_WAIT_US;

	while (rig_counters(rig, tag).accepted != len) {
		g_assert_cmpint(g_get_monotonic_time(), <, end);
		g_usleep(500);
	}
}

typedef struct ReadCall {
	unsigned tag;
	uint64_t offset;
	void *buf;
	size_t len;
} ReadCall;

static void run_read(Pool *pool, void *user_data)
{
	const ReadCall *call = user_data;
	Uuid tag = rig_tag(call->tag);
	Backend *backend = capacity_peek_backend_by_tag(pool_peek_capacity(pool), &tag);

	g_assert_cmpint(
		mem_file_read(backend_peek_file(backend), call->offset, call->buf, call->len), ==,
		0);
}

void rig_backend_read(Rig *rig, unsigned tag, uint64_t offset, void *buf, size_t len)
{
	ReadCall call = { .tag = tag, .offset = offset, .buf = buf, .len = len };

	pool_call(rig->pool, run_read, &call);
}

/* ---- the host ---- */

typedef struct Setup {
	uid_t uid;
	pid_t parent;
} Setup;

/* Between fork and exec. */
static void set_up_child(gpointer user_data)
{
	const Setup *setup = user_data;

	if (setup->uid && (setgid((gid_t)setup->uid) || setuid(setup->uid)))
		_exit(127);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != setup->parent)
		_exit(127);
}

HostProc *host_proc_start_as(Rig *rig, uid_t uid, const char *const *args)
{
	g_autofree char *socket_arg = g_strdup_printf("--socket=%s/qmp.sock", rig->dir);
	g_autoptr(GPtrArray) argv = g_ptr_array_new();
	g_autoptr(GError) error = NULL;
	HostProc *proc = g_new0(HostProc, 1);
	Setup setup = { .uid = uid, .parent = getpid() };
	GPid pid;

	g_assert_nonnull(g_getenv("SOFTDCD"));
	g_ptr_array_add(argv, (gpointer)g_getenv("SOFTDCD"));
	g_ptr_array_add(argv, (gpointer) "host");
	g_ptr_array_add(argv, (gpointer) "--json");
	g_ptr_array_add(argv, socket_arg);
	for (; *args; args++)
		g_ptr_array_add(argv, (gpointer)*args);
	g_ptr_array_add(argv, NULL);
	g_spawn_async_with_pipes(NULL, (char **)argv->pdata, NULL, G_SPAWN_DO_NOT_REAP_CHILD,
				 set_up_child, &setup, &pid, NULL, &proc->out, NULL, &error);
	g_assert_no_error(error);
	proc->pid = pid;
	proc->text = g_string_new(NULL);
	return proc;
}

HostProc *host_proc_start(Rig *rig, const char *arg, ...)
{
	g_autoptr(GPtrArray) args = g_ptr_array_new();
	va_list list;

	va_start(list, arg);
	for (; arg; arg = va_arg(list, const char *))
		g_ptr_array_add(args, (gpointer)arg);
	va_end(list);
	g_ptr_array_add(args, NULL);
	return host_proc_start_as(rig, 0, (const char *const *)args->pdata);
}

void host_proc_free(HostProc *proc)
{
	if (!proc)
		return;
	if (proc->pid) {
		kill(proc->pid, SIGKILL);
		waitpid(proc->pid, NULL, 0);
	}
	if (proc->out >= 0)
		close(proc->out);
	g_string_free(proc->text, TRUE);
	g_free(proc);
}

/* A whole line is in proc->text; false: none within the time, or the end. */
static bool read_line(HostProc *proc, gint64 end)
{
	while (!strchr(proc->text->str, '\n')) {
		struct pollfd pfd = { .fd = proc->out, .events = POLLIN };
		gint64 left_us = MAX(0, end - g_get_monotonic_time());
		char buf[4096];
		ssize_t n;

		if (poll(&pfd, 1, (int)((left_us + 999) / 1000)) <= 0)
			return false;
		n = read(proc->out, buf, sizeof(buf));
		if (n <= 0)
			return false;
		g_string_append_len(proc->text, buf, n);
	}
	return true;
}

JsonObject *host_proc_next(HostProc *proc)
{
	g_autoptr(JsonParser) parser = json_parser_new();
	g_autoptr(GError) error = NULL;
	JsonObject *object;
	gssize len;

	if (!read_line(proc, g_get_monotonic_time() + PROC_WAIT_US))
		return NULL;
	len = strchr(proc->text->str, '\n') - proc->text->str;
	g_test_message("%.*s", (int)len, proc->text->str);
	json_parser_load_from_data(parser, proc->text->str, len, &error);
	g_assert_no_error(error);
	object = json_object_ref(json_node_get_object(json_parser_get_root(parser)));
	g_string_erase(proc->text, 0, len + 1);
	return object;
}

JsonObject *host_proc_expect(HostProc *proc, const char *event)
{
	JsonObject *object = host_proc_next(proc);

	if (!object)
		g_error("no event from the host where \"%s\" was expected", event);
	if (strcmp(json_object_get_string_member(object, "event"), event) != 0)
		g_error("\"%s\" where \"%s\" was expected",
			json_object_get_string_member(object, "event"), event);
	return object;
}

void host_proc_pass(HostProc *proc, const char *event)
{
	json_object_unref(host_proc_expect(proc, event));
}

void host_proc_expect_silence(HostProc *proc, unsigned ms)
{
	if (read_line(proc, g_get_monotonic_time() + ms * INT64_C(1000)))
		g_error("nothing was expected: %s", proc->text->str);
}

int host_proc_wait(HostProc *proc)
{
	gint64 end = g_get_monotonic_time() + PROC_WAIT_US;
	int status;

	while (waitpid(proc->pid, &status, WNOHANG) != proc->pid) {
		g_assert_cmpint(g_get_monotonic_time(), <, end);
		g_usleep(1000);
	}
	proc->pid = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int host_proc_end(HostProc *proc, int signal_number)
{
	g_assert_cmpint(kill(proc->pid, signal_number), ==, 0);
	return host_proc_wait(proc);
}

uint8_t *host_proc_map(JsonObject *accepted, unsigned i, uint64_t *ret_len)
{
	JsonObject *map =
		json_array_get_object_element(json_object_get_array_member(accepted, "maps"), i);
	uint64_t len = (uint64_t)json_object_get_int_member(map, "len");
	bool writable = json_object_get_boolean_member(map, "writable");
	AUTOFD int fd = open(json_object_get_string_member(map, "path"),
			     (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	void *hva;

	g_assert_cmpint(fd, >=, 0);
	hva = mmap(NULL, len, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd,
		   (off_t)json_object_get_int_member(map, "offset"));
	g_assert_true(hva != MAP_FAILED);
	*ret_len = len;
	return hva;
}

void assert_tag(JsonObject *event, unsigned tag)
{
	g_autofree char *text = rig_tag_text(tag);

	g_assert_cmpstr(json_object_get_string_member(event, "tag"), ==, text);
}

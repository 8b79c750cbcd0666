/* SPDX-License-Identifier: BSD-3-Clause */
/* A guest that reboots all the time, and a pool that is away meanwhile; needs some KVM. */
#include "../unit/tiny_kernel.h"
#include "machine/machine.h"
#include "serve_fixture.h"
#include "util/autofd.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* A kernel image that writes a letter to the console and resets. */
static GBytes *make_kernel(void)
{
	static const uint8_t code[] = {
		0x66, 0xba, 0xf8, 0x03, /* mov $0x3f8, %dx */
		0xb0, 'b',              /* mov $'b', %al */
		0xee,                   /* out %al, %dx */
		0x66, 0xba, 0x02, 0x06, /* mov $0x602, %dx */
		0xb0, 0x01,             /* mov $1, %al */
		0xee,                   /* out %al, %dx */
		0xf4,                   /* hlt */
	};

	G_STATIC_ASSERT(MACHINE_PORT_RESET == 0x602 && MACHINE_RESET_VALUE == 1);
	return tiny_kernel_new(code, sizeof(code));
}

/* ---- a machine in a process of its own: its console and what it says come by one pipe ---- */

typedef struct Guest {
	Serve *serve;
	pid_t pid;
	int out;
	GString *text;
} Guest;

static void on_log(void *opaque, const char *line)
{
	dprintf(STDOUT_FILENO, "<%s>", line);
}

static void run_child(Serve *serve, int out)
{
	g_autofree char *vfio = g_strdup_printf("%s/dev0.vfio", serve->runtime);
	g_autofree char *mem = g_strdup_printf("%s/dev0.mem", serve->runtime);
	g_autoptr(GBytes) kernel = make_kernel();
	const MachineDevice device = { .name = "dev0", .vfio_path = vfio, .mem_path = mem };
	const MachineConfig config = {
		.ram_len = 64 * MIB,
		.n_cpus = 1,
		.kernel.bytes = kernel,
		.devices = &device,
		.n_devices = 1,
		.log = on_log,
	};
	g_autoptr(GError) error = NULL;
	MachineEnd end;
	int code;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), STDIN_FILENO);
	dup2(out, STDOUT_FILENO);
	if (!machine_run(&config, &end, &code, &error))
		on_log(NULL, error->message);
	_exit(error ? 1 : end == MACHINE_END_ASKED ? 14 : 2);
}

static bool start(Guest *guest)
{
	AUTOFD int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int out[2];

	if (kvm < 0) {
		g_test_skip("there is no /dev/kvm that this user may open");
		return false;
	}
	guest->serve = serve_new();
	serve_start(guest->serve, NULL);
	serve_do(guest->serve, "device-add", "'id': 'dev0', 'ram': 268435456");
	g_assert_cmpint(pipe(out), ==, 0);
	guest->pid = fork();
	g_assert_cmpint(guest->pid, >=, 0);
	if (guest->pid == 0)
		run_child(guest->serve, out[1]);
	close(out[1]);
	guest->out = out[0];
	guest->text = g_string_new(NULL);
	return true;
}

/* Until it has said TEXT, all before which is forgotten. */
static void hear(Guest *guest, const char *text)
{
	gint64 end = g_get_monotonic_time() + WAIT_US;
	char buf[4096];
	char *found;

	while (!(found = strstr(guest->text->str, text))) {
		struct pollfd fd = { .fd = guest->out, .events = POLLIN };
		ssize_t n = poll(&fd, 1, 100) > 0 ? read(guest->out, buf, sizeof(buf)) : -1;

		if (n == 0 || g_get_monotonic_time() > end)
			g_error("no '%s' in %s", text, guest->text->str);
		if (n > 0)
			g_string_append_len(guest->text, buf, n);
	}
	g_string_erase(guest->text, 0, found + strlen(text) - guest->text->str);
}

/* What is left in the pipe is of no interest. */
static int finish(Guest *guest)
{
	char buf[4096];
	int status;

	while (read(guest->out, buf, sizeof(buf)) > 0)
		;
	g_assert_cmpint(waitpid(guest->pid, &status, 0), ==, guest->pid);
	close(guest->out);
	g_string_free(guest->text, TRUE);
	serve_free(guest->serve);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* ---- cases ---- */

static void test_pool_returns(void)
{
	Guest guest;

	if (!start(&guest))
		return;
	hear(&guest, "bbb");
	for (unsigned i = 0; i < 3; i++) {
		serve_kill(guest.serve);
		hear(&guest, "; the reboot is tried again>");
		serve_start(guest.serve, NULL);
		hear(&guest, "bbb");
	}
	/* The first only presses a button. */
	kill(guest.pid, SIGTERM);
	kill(guest.pid, SIGINT);
	g_assert_cmpint(finish(&guest), ==, 14);
}

static void test_ends_meanwhile(void)
{
	Guest guest;

	if (!start(&guest))
		return;
	hear(&guest, "b");
	serve_kill(guest.serve);
	hear(&guest, "; the reboot is tried again>");
	kill(guest.pid, SIGTERM);
	g_assert_cmpint(finish(&guest), ==, 14);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/protocol/machine-reboot/pool-returns", test_pool_returns);
	g_test_add_func("/protocol/machine-reboot/ends-meanwhile", test_ends_meanwhile);
	return g_test_run();
}

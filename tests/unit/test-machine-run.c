/* SPDX-License-Identifier: BSD-3-Clause */
/* Whole machines on this computer's KVM, with a guest of twenty instructions: how each of them
 * ends. */
#include "machine/machine.h"
#include "tiny_kernel.h"
#include "util/autofd.h"

#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

/*
 * The guest is a kernel image whose code carries out a script: steps of a port and a byte to be
 * written there. These ports are none:
 */
#define STEP_END   0x0000 /* halts */
#define STEP_STR   0xfffc /* so many bytes, which follow, go to COM1 by one instruction */
#define STEP_ECHO  0xfffd /* waits for a byte at COM2 and sends it back */
#define STEP_HOLE  0xfffe /* reads where nothing is, and goes on if that was all-ones */
#define STEP_FAULT 0xffff /* an exception without anybody to handle it */

/* Instructions so plain that also a KVM that emulates each of them can carry them out. */
__asm__(".pushsection .rodata\n"
	"guest_code:\n"
	"	lea guest_code_end(%rip), %rsi\n"
	"1:	lodsw\n"
	"	mov %ax, %dx\n"
	"	lodsb\n"
	"	test %dx, %dx\n"
	"	jz 2f\n"
	"	cmp $0xffff, %dx\n"
	"	je 3f\n"
	"	cmp $0xfffe, %dx\n"
	"	je 4f\n"
	"	cmp $0xfffd, %dx\n"
	"	je 5f\n"
	"	cmp $0xfffc, %dx\n"
	"	je 6f\n"
	"	out %al, %dx\n"
	"	jmp 1b\n"
	"2:	hlt\n"
	"	jmp 2b\n"
	"3:	ud2\n"
	"4:	mov $0xd0000000, %ebx\n"
	"	mov (%rbx), %rcx\n"
	"	cmp $-1, %rcx\n"
	"	jne 2b\n"
	"	jmp 1b\n"
	"5:	mov $0x2fd, %dx\n"
	"	in %dx, %al\n"
	"	test $1, %al\n"
	"	jz 5b\n"
	"	mov $0x2f8, %dx\n"
	"	in %dx, %al\n"
	"	out %al, %dx\n"
	"	jmp 1b\n"
	"6:	movzbl %al, %ecx\n"
	"	mov $0x3f8, %dx\n"
	"	rep outsb\n"
	"	jmp 1b\n"
	"guest_code_end:\n"
	"	.popsection\n");
extern const uint8_t guest_code[], guest_code_end[];

static void step(GByteArray *script, uint16_t port, uint8_t value)
{
	const uint8_t bytes[] = { port & 0xff, port >> 8, value };

	g_byte_array_append(script, bytes, sizeof(bytes));
}

static void say(GByteArray *script, unsigned com, const char *text)
{
	for (; *text; text++)
		step(script, machine_serial_ports[com], (uint8_t)*text);
}

static GBytes *make_kernel(const GByteArray *script)
{
	g_autoptr(GByteArray) code = g_byte_array_new();

	g_byte_array_append(code, guest_code, (guint)(guest_code_end - guest_code));
	g_byte_array_append(code, script->data, script->len);
	return tiny_kernel_new(code->data, code->len);
}

/* ---- a machine in a process of its own ---- */

typedef struct Result {
	bool ran;
	MachineEnd end;
	int code;
} Result;

typedef struct Child {
	pid_t pid;
	int to_stdin, from_stdout, from_result;
} Child;

static void run_child(const MachineConfig *config, const int in[2], const int out[2],
		      const int result[2])
{
	Result ret = { .code = -1 };
	g_autoptr(GError) error = NULL;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(in[0], STDIN_FILENO);
	dup2(out[1], STDOUT_FILENO);
	close(in[1]);
	close(out[0]);
	ret.ran = machine_run(config, &ret.end, &ret.code, &error);
	if (!ret.ran)
		fprintf(stderr, "# %s\n", error->message);
	if (write(result[1], &ret, sizeof(ret)) != sizeof(ret))
		_exit(1);
	_exit(0);
}

static Child start(GByteArray *script, MachineConfig *config)
{
	g_autoptr(GBytes) kernel = make_kernel(script);
	int in[2], out[2], result[2];
	Child child;

	g_assert_true(pipe(in) == 0 && pipe(out) == 0 && pipe(result) == 0);
	config->ram_len = UINT64_C(64) << 20;
	config->n_cpus = config->n_cpus ? config->n_cpus : 1;
	config->kernel.bytes = kernel;
	child.pid = fork();
	g_assert_cmpint(child.pid, >=, 0);
	if (child.pid == 0)
		run_child(config, in, out, result);
	close(in[0]);
	close(out[1]);
	close(result[1]);
	child.to_stdin = in[1];
	child.from_stdout = out[0];
	child.from_result = result[0];
	return child;
}

/* All it has written, once it has ended. Caller frees. */
static char *finish(Child *child, Result *ret)
{
	GString *text = g_string_new(NULL);
	char bytes[256];
	ssize_t n;
	int status;

	fd_close_auto(&child->to_stdin);
	while ((n = read(child->from_stdout, bytes, sizeof(bytes))) > 0)
		g_string_append_len(text, bytes, n);
	g_assert_cmpint(read(child->from_result, ret, sizeof(*ret)), ==, sizeof(*ret));
	g_assert_cmpint(waitpid(child->pid, &status, 0), ==, child->pid);
	g_assert_cmpint(status, ==, 0);
	close(child->from_stdout);
	close(child->from_result);
	g_assert_true(ret->ran);
	return g_string_free(text, FALSE);
}

static bool has_kvm(void)
{
	AUTOFD int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		g_test_skip("there is no /dev/kvm that this user may open");
	return fd >= 0;
}

/* ---- ends ---- */

typedef struct End {
	const char *console;
	uint16_t port; /* of the last step, or one that is none */
	uint8_t value;
	MachineEnd end;
} End;

static void test_ends(void)
{
	static const End ends[] = {
		{ "bye\n", MACHINE_PORT_SLEEP_CONTROL, 0x34, MACHINE_END_POWER_OFF },
		{ "again\n", MACHINE_PORT_RESET, MACHINE_RESET_VALUE, MACHINE_END_REBOOT },
		{ "oops\n", STEP_FAULT, 0, MACHINE_END_TRIPLE },
		{ "Kernel panic - not syncing: x\n", MACHINE_PORT_RESET, MACHINE_RESET_VALUE,
		  MACHINE_END_PANIC },
		{ "Kernel panic - not syncing: x\n---[ end Kernel panic - x ]---\n", STEP_END, 0,
		  MACHINE_END_PANIC },
	};

	if (!has_kvm())
		return;
	for (unsigned i = 0; i < G_N_ELEMENTS(ends); i++) {
		g_autoptr(GByteArray) script = g_byte_array_new();
		MachineConfig config = { .no_reboot = true };
		g_autofree char *text = NULL;
		Result result;
		Child child;

		say(script, 0, ends[i].console);
		step(script, STEP_HOLE, 0);
		step(script, ends[i].port, ends[i].value);
		child = start(script, &config);
		text = finish(&child, &result);
		g_assert_cmpstr(text, ==, ends[i].console);
		g_assert_cmpint(result.end, ==, ends[i].end);
	}
}

/* Many bytes by one exit from the guest. */
static void test_string(void)
{
	static const uint8_t bytes[] = "a string of bytes";
	g_autoptr(GByteArray) script = g_byte_array_new();
	MachineConfig config = { .n_cpus = 1 };
	g_autofree char *text = NULL;
	Result result;
	Child child;

	if (!has_kvm())
		return;
	step(script, STEP_STR, sizeof(bytes) - 1);
	g_byte_array_append(script, bytes, sizeof(bytes) - 1);
	step(script, MACHINE_PORT_SLEEP_CONTROL, 0x34);
	child = start(script, &config);
	text = finish(&child, &result);
	g_assert_cmpstr(text, ==, (const char *)bytes);
	g_assert_cmpint(result.end, ==, MACHINE_END_POWER_OFF);
}

/* What the guest says of its command, and what the command says. */
static void test_command(void)
{
	g_autoptr(GByteArray) script = g_byte_array_new();
	MachineConfig config = { .has_command = true, .n_cpus = 3 };
	g_autofree char *text = NULL;
	Result result;
	Child child;

	if (!has_kvm())
		return;
	step(script, 0x2fc, 2); /* COM2 takes input */
	say(script, 0, "not shown\n");
	say(script, 3, "ready\n");
	for (unsigned i = 0; i < 5; i++)
		step(script, STEP_ECHO, 0);
	say(script, 1, "done");
	say(script, 3, "exit 9\n");
	child = start(script, &config);
	g_assert_cmpint(write(child.to_stdin, "input", 5), ==, 5);
	text = finish(&child, &result);
	g_assert_cmpstr(text, ==, "inputdone");
	g_assert_cmpint(result.end, ==, MACHINE_END_COMMAND);
	g_assert_cmpint(result.code, ==, 9);
}

/* Each boot begins anew, until a signal. */
static void check_reboots(const int *signals, unsigned n_signals)
{
	g_autoptr(GByteArray) script = g_byte_array_new();
	MachineConfig config = { .n_cpus = 2 };
	g_autofree char *text = NULL;
	unsigned n_boots = 0;
	Result result;
	Child child;
	char byte;

	say(script, 0, "b");
	step(script, MACHINE_PORT_RESET, MACHINE_RESET_VALUE);
	child = start(script, &config);
	while (n_boots < 5 && read(child.from_stdout, &byte, 1) == 1)
		n_boots += byte == 'b';
	g_assert_cmpuint(n_boots, ==, 5);
	for (unsigned i = 0; i < n_signals; i++)
		kill(child.pid, signals[i]);
	text = finish(&child, &result);
	g_assert_cmpint(result.end, ==, MACHINE_END_ASKED);
}

static void test_reboot_and_signals(void)
{
	static const int signals[] = { SIGTERM, SIGINT };

	if (!has_kvm())
		return;
	check_reboots(signals, 1);
	check_reboots(signals, 2);
}

/* On a terminal keys are the guest's but for Ctrl-A x, and afterwards it is as it was. */
static void test_terminal(void)
{
	g_autoptr(GByteArray) script = g_byte_array_new();
	struct termios before, meanwhile, after;
	MachineConfig config = { .n_cpus = 1 };
	g_autofree char *keys = g_strnfill(1000, 'y');
	int master, slave, result[2], status;
	g_autoptr(GBytes) kernel = NULL;
	Result ret;
	pid_t pid;
	char byte;

	if (!has_kvm())
		return;
	say(script, 0, "z");
	kernel = make_kernel(script);
	config.ram_len = UINT64_C(64) << 20;
	config.kernel.bytes = kernel;
	g_assert_cmpint(openpty(&master, &slave, NULL, NULL, NULL), ==, 0);
	g_assert_cmpint(tcgetattr(slave, &before), ==, 0);
	g_assert_cmpint(pipe(result), ==, 0);
	pid = fork();
	if (pid == 0)
		run_child(&config, (int[]){ slave, -1 }, (int[]){ -1, slave }, result);
	do
		g_assert_cmpint(read(master, &byte, 1), ==, 1);
	while (byte != 'z');
	g_assert_cmpint(tcgetattr(slave, &meanwhile), ==, 0);
	g_assert_cmphex(meanwhile.c_lflag & (ICANON | ECHO | ISIG), ==, 0);
	/* More than a guest that does not read has room for. */
	for (unsigned i = 0; i < 20; i++)
		g_assert_cmpint(write(master, keys, 1000), ==, 1000);
	/* Ctrl-C and an escaped Ctrl-A are keys like others. */
	g_assert_cmpint(write(master, "\003\001\001x\001x", 6), ==, 6);
	g_assert_cmpint(read(result[0], &ret, sizeof(ret)), ==, sizeof(ret));
	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	g_assert_true(ret.ran);
	g_assert_cmpint(ret.end, ==, MACHINE_END_ASKED);
	g_assert_cmpint(tcgetattr(slave, &after), ==, 0);
	g_assert_cmphex(after.c_lflag, ==, before.c_lflag);
	g_assert_cmphex(after.c_iflag, ==, before.c_iflag);
	g_assert_cmphex(after.c_oflag, ==, before.c_oflag);
	close(master);
	close(slave);
	close(result[0]);
	close(result[1]);
}

/* A guest that sleeps is ended by the second signal; SIGTERM presses a button nobody looks at. */
static void test_sleeper(void)
{
	g_autoptr(GByteArray) script = g_byte_array_new();
	MachineConfig config = { .n_cpus = 4 };
	g_autofree char *text = NULL;
	Result result;
	Child child;
	char byte;

	if (!has_kvm())
		return;
	say(script, 0, "z");
	child = start(script, &config);
	g_assert_cmpint(read(child.from_stdout, &byte, 1), ==, 1);
	kill(child.pid, SIGTERM);
	kill(child.pid, SIGINT);
	text = finish(&child, &result);
	g_assert_cmpint(result.end, ==, MACHINE_END_ASKED);
	g_assert_cmpstr(text, ==, "");
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/machine/run/ends", test_ends);
	g_test_add_func("/machine/run/string", test_string);
	g_test_add_func("/machine/run/command", test_command);
	g_test_add_func("/machine/run/reboot-and-signals", test_reboot_and_signals);
	g_test_add_func("/machine/run/terminal", test_terminal);
	g_test_add_func("/machine/run/sleeper", test_sleeper);
	return g_test_run();
}

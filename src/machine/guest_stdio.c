/* SPDX-License-Identifier: BSD-3-Clause */
/* Guest stdio: console on a terminal, or the protocol of guest_command.h. */
#include "machine/guest_stdio.h"

#include "machine/guest_command.h"
#include "machine/stdio_pump.h"
#include "machine/terminal.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CONSOLE_LEN 65536u
#define CTRL_A      0x01
#define PANIC       "Kernel panic - not syncing"
#define PANIC_END   "---[ end Kernel panic"

enum {
	COM_CONSOLE,
	COM_COMMAND,
	COM_STDERR,
	COM_CONTROL
};

struct GuestStdio {
	GuestStdioConfig config;
	Terminal terminal;
	PumpOut *outs[4];
	PumpIn *in;

	pthread_mutex_t lock; /* of what follows */
	GString *console;
	GString *line; /* of COM4, so far */
	bool line_is_too_long;
	bool is_ready; /* the guest's first process listens */
	bool input_has_ended;
	uint64_t input_len;
	bool has_code;
	int code;
	bool has_panicked, is_in_last_line;
	bool escaped; /* Ctrl-A was typed; the input pump's only */
};

/* ---- console ---- */

/* WANTED in what came from FROM on, or began just before; NULL if it is not there. */
static const char *find_text(const GString *text, size_t from, const char *wanted)
{
	size_t len = strlen(wanted);

	from = from > len ? from - len : 0;
	return g_strstr_len(text->str + from, (gssize)(text->len - from), wanted);
}

/* Returns whether this is the end of a panic that will not reboot. */
static bool keep_console(GuestStdio *stdio, const uint8_t *bytes, size_t len)
{
	GString *console = stdio->console;
	const char *last_line;
	size_t before;
	bool is_end;

	if (console->len > 2 * CONSOLE_LEN)
		g_string_erase(console, 0, (gssize)(console->len - CONSOLE_LEN));
	before = console->len;
	for (size_t i = 0; i < len; i++)
		g_string_append_c(console, bytes[i] ? (char)bytes[i] : ' ');
	if (find_text(console, before, PANIC))
		stdio->has_panicked = true;
	last_line = find_text(console, before, PANIC_END);
	stdio->is_in_last_line |= last_line != NULL;
	is_end = last_line ? strchr(last_line, '\n') != NULL
			   : stdio->is_in_last_line && memchr(bytes, '\n', len);
	/* Only once. */
	stdio->is_in_last_line &= !is_end;
	return is_end;
}

static void on_console(void *opaque, const uint8_t *bytes, size_t len)
{
	GuestStdio *stdio = opaque;
	bool ends;

	if (!stdio->config.has_command)
		pump_write(stdio->config.out_fd, bytes, len);
	else if (stdio->config.shows_console)
		pump_write(stdio->config.err_fd, bytes, len);
	pthread_mutex_lock(&stdio->lock);
	ends = keep_console(stdio, bytes, len);
	pthread_mutex_unlock(&stdio->lock);
	if (ends && stdio->config.panicked)
		stdio->config.panicked(stdio->config.opaque);
}

static void on_stdout(void *opaque, const uint8_t *bytes, size_t len)
{
	GuestStdio *stdio = opaque;

	pump_write(stdio->config.out_fd, bytes, len);
}

static void on_stderr(void *opaque, const uint8_t *bytes, size_t len)
{
	GuestStdio *stdio = opaque;

	pump_write(stdio->config.err_fd, bytes, len);
}

/* ---- control lines ---- */

static void send_line(GuestStdio *stdio, const char *line)
{
	serial_try_send(stdio->config.serials[COM_CONTROL], line, strlen(line));
}

static void send_size(GuestStdio *stdio)
{
	g_autofree char *line = NULL;
	unsigned rows, columns;

	if (!terminal_size(stdio->config.in_fd, &rows, &columns))
		return;
	line = g_strdup_printf("winsize %u %u\n", rows, columns);
	send_line(stdio, line);
}

static void send_eof(GuestStdio *stdio)
{
	g_autofree char *line = g_strdup_printf("eof %" PRIu64 "\n", stdio->input_len);

	send_line(stdio, line);
}

static void on_input_end(void *opaque, uint64_t len)
{
	GuestStdio *stdio = opaque;

	pthread_mutex_lock(&stdio->lock);
	stdio->input_has_ended = true;
	stdio->input_len = len;
	if (stdio->config.has_command)
		send_eof(stdio);
	pthread_mutex_unlock(&stdio->lock);
}

static const PumpInOps command_in_ops = { .ended = on_input_end };

/* The lock is held. */
static void start_input(GuestStdio *stdio)
{
	if (stdio->is_ready)
		return;
	stdio->is_ready = true;
	send_size(stdio);
	/* Without a thread the command gets no input, which it is told at once. */
	stdio->in = stdio->config.has_command
			    ? pump_in_new(stdio->config.in_fd, stdio->config.serials[COM_COMMAND],
					  &command_in_ops, stdio, NULL)
			    : stdio->in;
	if (stdio->config.has_command && !stdio->in)
		send_eof(stdio);
}

/* The lock is held. Returns whether the command has ended. */
static bool take_line(GuestStdio *stdio, const char *line)
{
	guint64 code;

	if (g_str_equal(line, "ready")) {
		start_input(stdio);
	} else if (g_str_has_prefix(line, "exit ") && !stdio->has_code &&
		   g_ascii_string_to_unsigned(line + 5, 10, 0, 255, &code, NULL)) {
		stdio->has_code = true;
		stdio->code = (int)code;
		return true;
	}
	return false;
}

/* The lock is held. Returns whether the command has ended. */
static bool take_control(GuestStdio *stdio, uint8_t byte)
{
	bool has_ended = false;

	if (byte != '\n') {
		if (byte && byte != '\r' && stdio->line->len < GUEST_COMMAND_MAX_LINE)
			g_string_append_c(stdio->line, (char)byte);
		else if (byte != '\r')
			stdio->line_is_too_long = true;
		return false;
	}
	if (!stdio->line_is_too_long)
		has_ended = take_line(stdio, stdio->line->str);
	g_string_truncate(stdio->line, 0);
	stdio->line_is_too_long = false;
	return has_ended;
}

static void on_control(void *opaque, const uint8_t *bytes, size_t len)
{
	GuestStdio *stdio = opaque;
	bool has_ended = false;

	pthread_mutex_lock(&stdio->lock);
	for (size_t i = 0; i < len; i++)
		has_ended |= take_control(stdio, bytes[i]);
	pthread_mutex_unlock(&stdio->lock);
	if (has_ended && stdio->config.command_ended)
		stdio->config.command_ended(stdio->config.opaque, stdio->code);
}

void guest_stdio_resize(GuestStdio *stdio)
{
	pthread_mutex_lock(&stdio->lock);
	if (stdio->is_ready)
		send_size(stdio);
	pthread_mutex_unlock(&stdio->lock);
}

/* ---- keys ---- */

/* Ctrl-A x ends the machine, Ctrl-A twice is Ctrl-A for the guest. */
static size_t filter_keys(void *opaque, uint8_t *bytes, size_t len)
{
	GuestStdio *stdio = opaque;
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		bool was_escaped = stdio->escaped;

		stdio->escaped = !was_escaped && bytes[i] == CTRL_A;
		if (was_escaped && bytes[i] == 'x' && stdio->config.quit)
			stdio->config.quit(stdio->config.opaque);
		else if (!stdio->escaped && (!was_escaped || bytes[i] == CTRL_A))
			bytes[n++] = bytes[i];
	}
	return n;
}

static const PumpInOps console_ops = { .filter = filter_keys, .drops = true };
static const PumpInOps plain_ops = { 0 };

/* ---- beginning and end ---- */

static bool start(GuestStdio *stdio, GError **error)
{
	static const PumpOutFunc funcs[] = {
		[COM_CONSOLE] = on_console,
		[COM_COMMAND] = on_stdout,
		[COM_STDERR] = on_stderr,
		[COM_CONTROL] = on_control,
	};
	bool is_terminal = isatty(stdio->config.in_fd);

	for (unsigned i = 0; i < G_N_ELEMENTS(funcs); i++) {
		Serial *serial = stdio->config.serials[i];
		bool is_used = stdio->config.has_command || i == COM_CONSOLE || i == COM_CONTROL;

		if (!is_used) {
			serial_discard(serial);
			continue;
		}
		stdio->outs[i] = pump_out_new(serial, funcs[i], stdio, error);
		if (!stdio->outs[i])
			return false;
	}
	if (stdio->config.has_command)
		return true;
	terminal_set_raw(&stdio->terminal, stdio->config.in_fd);
	stdio->in = pump_in_new(stdio->config.in_fd, stdio->config.serials[COM_CONSOLE],
				is_terminal ? &console_ops : &plain_ops, stdio, error);
	return stdio->in;
}

GuestStdio *guest_stdio_new(const GuestStdioConfig *config, GError **error)
{
	g_autoptr(GuestStdio) stdio = g_new0(GuestStdio, 1);

	stdio->config = *config;
	pthread_mutex_init(&stdio->lock, NULL);
	stdio->console = g_string_new(NULL);
	stdio->line = g_string_new(NULL);
	return start(stdio, error) ? g_steal_pointer(&stdio) : NULL;
}

void guest_stdio_finish(GuestStdio *stdio)
{
	/* First, as what follows may be cut short. */
	terminal_restore(&stdio->terminal);
	for (unsigned i = 0; i < G_N_ELEMENTS(stdio->outs); i++)
		serial_close(stdio->config.serials[i]);
	/* Control first: it may still make the input pump. */
	for (unsigned i = G_N_ELEMENTS(stdio->outs); i-- > 0;)
		g_clear_pointer(&stdio->outs[i], pump_out_free);
	g_clear_pointer(&stdio->in, pump_in_free);
}

void guest_stdio_free(GuestStdio *stdio)
{
	if (!stdio)
		return;
	guest_stdio_finish(stdio);
	g_string_free(stdio->console, TRUE);
	g_string_free(stdio->line, TRUE);
	pthread_mutex_destroy(&stdio->lock);
	g_free(stdio);
}

bool guest_stdio_has_panicked(GuestStdio *stdio)
{
	return stdio->has_panicked;
}

bool guest_stdio_command_code(GuestStdio *stdio, int *ret)
{
	if (stdio->has_code)
		*ret = stdio->code;
	return stdio->has_code;
}

const char *guest_stdio_console(GuestStdio *stdio)
{
	size_t skipped = stdio->console->len > CONSOLE_LEN ? stdio->console->len - CONSOLE_LEN : 0;

	return stdio->console->str + skipped;
}

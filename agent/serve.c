/* SPDX-License-Identifier: BSD-3-Clause */
/* The loop: looks at devices and commands until somebody ends it. */
#include "agent/agent.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * Design. A function without a kernel driver has no interrupts, so each device's event status is
 * read again and again: often as long as something goes on, which costs a CPU little as it does not
 * last, else two hundred times a second.
 */
#define BUSY_MS   1
#define BUSY_US   50000u /* after the last thing that happened */
#define IDLE_MS   5
#define FAILED_US 1000000u /* after a failure, which may not be the last */
#define AWAY_US   200000u  /* between looks at a device that does not answer */
#define MAX_LINE  16384u

static uint64_t now_us(const Agent *agent)
{
	return sys_bus_ops.now_us(agent->bus);
}

/* ---- devices that do not answer ---- */

static void lose(AgentDevice *device)
{
	Agent *agent = device->agent;
	Json json;

	device->is_away = true;
	device->away_us = now_us(agent);
	device->retry_us = device->away_us + AWAY_US;
	tell_begin(&json, "reconnecting", device);
	json_text(&json, "why", cxl_driver_error(agent->driver));
	tell_end(agent, &json);
}

/* True if it is back. Its decoders are where they were, or are put there again. */
static bool try_return(AgentDevice *device)
{
	Agent *agent = device->agent;
	int kept = cxl_memdev_resume(device->memdev);
	Json json;

	if (kept < 0) {
		device->retry_us = now_us(agent) + AWAY_US;
		return false;
	}
	tell_begin(&json, "resumed", device);
	json_text(&json, "session", kept ? "kept" : "new");
	json_number(&json, "away-us", now_us(agent) - device->away_us);
	tell_end(agent, &json);
	if (cxl_dcd_resume(device->dcd) < 0)
		complain("%s", cxl_driver_error(agent->driver));
	device->is_away = false;
	device_settle(device);
	return true;
}

static bool step_device(AgentDevice *device)
{
	Agent *agent = device->agent;
	int n;

	if (now_us(agent) < device->retry_us)
		return false;
	if (device->is_away)
		return try_return(device);
	n = cxl_dcd_poll(device->dcd, 0);
	device_settle(device);
	if (n == -ENODEV) {
		lose(device);
	} else if (n < 0) {
		complain("%s", cxl_driver_error(agent->driver));
		device->retry_us = now_us(agent) + FAILED_US;
	}
	return n > 0;
}

bool agent_step(Agent *agent)
{
	bool happened = false;

	for (unsigned i = 0; i < agent->n_devices; i++)
		happened = step_device(&agent->devices[i]) || happened;
	return happened;
}

/* ---- standard input ---- */

typedef struct Input {
	int fd; /* -1: none, or ended */
	size_t len;
	bool is_too_long; /* the rest of a line that did not fit is dropped */
	char text[MAX_LINE];
} Input;

static void take_lines(Agent *agent, Input *input)
{
	char *line = input->text;
	char *end;

	while ((end = memchr(line, '\n', (size_t)(input->text + input->len - line)))) {
		*end = '\0';
		if (!input->is_too_long)
			agent_command(agent, line);
		input->is_too_long = false;
		line = end + 1;
	}
	input->len -= (size_t)(line - input->text);
	memmove(input->text, line, input->len);
	if (input->len == sizeof(input->text)) {
		complain("a command of more than %u bytes is ignored", MAX_LINE);
		input->is_too_long = true;
		input->len = 0;
	}
}

static void read_input(Agent *agent, Input *input)
{
	ssize_t n = read(input->fd, input->text + input->len, sizeof(input->text) - input->len);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		input->fd = -1;
		return;
	}
	input->len += (size_t)n;
	take_lines(agent, input);
}

/* ---- the loop ---- */

static volatile sig_atomic_t n_signals;

static void on_signal(int number)
{
	if (n_signals++ == 0)
		return;
	signal(number, SIG_DFL);
	raise(number);
}

static void on_bus_error(int number)
{
	static const char text[] =
		"softdcd-agent: memory was taken away: a kernel driver has claimed the device?\n";

	(void)number;
	(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
	_exit(1);
}

void agent_catch_signals(void)
{
	struct sigaction stop = { .sa_handler = on_signal };
	struct sigaction bus_error = { .sa_handler = on_bus_error };

	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGTERM, &stop, NULL);
	sigaction(SIGINT, &stop, NULL);
	sigaction(SIGBUS, &bus_error, NULL);
}

bool agent_is_leaving(const Agent *agent)
{
	return agent->leaves || n_signals > 0;
}

void agent_serve(Agent *agent)
{
	Input *input = calloc(1, sizeof(*input));
	uint64_t busy_until = 0;

	if (!input) {
		complain("out of memory");
		return;
	}
	input->fd = agent->options.takes_commands ? STDIN_FILENO : -1;
	while (!agent_is_leaving(agent)) {
		struct pollfd fd = { .fd = input->fd, .events = POLLIN };
		int pause = BUSY_MS;

		if (agent_step(agent))
			busy_until = now_us(agent) + BUSY_US;
		else if (now_us(agent) >= busy_until)
			pause = IDLE_MS;
		if (poll(&fd, 1, pause) > 0) {
			read_input(agent, input);
			busy_until = now_us(agent) + BUSY_US;
		}
	}
	free(input);
}

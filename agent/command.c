/* SPDX-License-Identifier: BSD-3-Clause */
/* Commands, one a line on standard input; each is answered by one line. */
#include "agent/agent.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAX_WORDS 5
#define MAX_DATA  4096u /* of one read or write */

typedef struct Command {
	const char *name;
	unsigned min, max; /* words after the name */
	bool (*run)(Agent *agent, char **words, unsigned n, AgentError *error);
	const char *usage, *text;
} Command;

/* ---- capacity ---- */

typedef struct Picked {
	AgentDevice *device;
	uint64_t id;
} Picked;

static bool pick(AgentDevice *device, const CxlDcGroup *group, void *opaque, AgentError *error)
{
	*(Picked *)opaque = (Picked){ device, group->id };
	return true;
}

static bool run_release(Agent *agent, char **words, unsigned n, AgentError *error)
{
	Picked picked;

	return group_with(agent, words[0], pick, &picked, error) &&
	       device_release(picked.device, picked.id, "command", error);
}

static bool run_release_range(Agent *agent, char **words, unsigned n, AgentError *error)
{
	uint64_t dpa;
	uint64_t len;

	if (!parse_number(words[0], &dpa) || !parse_number(words[1], &len) || !len ||
	    dpa + len < dpa)
		return agent_fail(error, "DPA and LENGTH are numbers of bytes, LENGTH not 0");
	for (unsigned i = 0; i < agent->n_devices; i++) {
		int err = device_release_range(&agent->devices[i], dpa, len);

		if (err == 0)
			return true;
		if (err != -ENOENT)
			return agent_fail(error, "%s", cxl_driver_error(agent->driver));
	}
	return agent_fail(error, "nothing accepted lies there");
}

static bool run_hold(Agent *agent, char **words, unsigned n, AgentError *error)
{
	if (strcmp(words[0], "on") != 0 && strcmp(words[0], "off") != 0)
		return agent_fail(error, "on or off");
	agent->holds = words[0][1] == 'n';
	return true;
}

static bool run_accept(Agent *agent, char **words, unsigned n, AgentError *error)
{
	CxlAcceptList list;

	if (cxl_accept_list_parse(words[0], &list) < 0)
		return agent_fail(error, "not all, none, or a list of tags (UUIDs) with commas");
	cxl_accept_list_clear(&agent->options.accept);
	agent->options.accept = list;
	return true;
}

static bool run_resync(Agent *agent, char **words, unsigned n, AgentError *error)
{
	for (unsigned i = 0; i < agent->n_devices; i++) {
		if (cxl_dcd_resync(agent->devices[i].dcd) < 0)
			return agent_fail(error, "%s", cxl_driver_error(agent->driver));
		device_settle(&agent->devices[i]);
	}
	return true;
}

typedef struct Listing {
	AgentDevice *device;
	Json json;
} Listing;

static bool list_group(void *opaque, const CxlDcGroup *group)
{
	Listing *listing = opaque;

	json_begin_object(&listing->json, NULL);
	tell_group(&listing->json, listing->device, group);
	json_end_object(&listing->json);
	return true;
}

static bool run_list(Agent *agent, char **words, unsigned n, AgentError *error)
{
	for (unsigned i = 0; i < agent->n_devices; i++) {
		Listing listing = { .device = &agent->devices[i] };
		CxlDcdStats stats;
		int err;

		cxl_dcd_stats(listing.device->dcd, &stats);
		tell_begin(&listing.json, "list", listing.device);
		json_number(&listing.json, "extents", stats.n_extents);
		json_number(&listing.json, "len", stats.len);
		json_number(&listing.json, "declined", stats.n_declined);
		json_number(&listing.json, "resyncs", stats.n_resyncs);
		json_begin_array(&listing.json, "groups");
		err = cxl_dcd_foreach(listing.device->dcd, list_group, &listing);
		json_end_array(&listing.json);
		tell_end(agent, &listing.json);
		if (err < 0)
			return agent_fail(error, "out of memory");
	}
	return true;
}

/* ---- memory ---- */

typedef struct Span {
	bool is_write;
	uint64_t offset, len;
	uint8_t data[MAX_DATA];
} Span;

static bool check_span(const CxlDcGroup *group, const Span *span, AgentError *error)
{
	if (span->len && span->len <= MAX_DATA && span->offset <= group->len &&
	    span->len <= group->len - span->offset)
		return true;
	return agent_fail(error, "%" PRIu64 " bytes at %" PRIu64 ": not 1 to %u within %" PRIu64,
			  span->len, span->offset, MAX_DATA, group->len);
}

static bool copy_span(AgentDevice *device, const CxlDcGroup *group, void *opaque, AgentError *error)
{
	Span *span = opaque;
	uint8_t *base;

	if (!check_span(group, span, error))
		return false;
	base = group_map(device->agent, group, error);
	if (!base)
		return false;
	if (span->is_write)
		memcpy(base + span->offset, span->data, span->len);
	else
		memcpy(span->data, base + span->offset, span->len);
	munmap(base, group->len);
	return true;
}

static bool run_read(Agent *agent, char **words, unsigned n, AgentError *error)
{
	char hex[2 * MAX_DATA + 1];
	Span span = { .is_write = false };
	Json json;

	if (!parse_number(words[1], &span.offset) || !parse_number(words[2], &span.len))
		return agent_fail(error, "OFFSET and LENGTH are numbers of bytes");
	if (!group_with(agent, words[0], copy_span, &span, error))
		return false;
	for (uint64_t i = 0; i < span.len; i++)
		snprintf(hex + 2 * i, 3, "%02x", span.data[i]);
	tell_begin(&json, "data", NULL);
	json_text(&json, "group", words[0]);
	json_number(&json, "offset", span.offset);
	json_text(&json, "bytes", hex);
	tell_end(agent, &json);
	return true;
}

static bool parse_bytes(const char *text, Span *span)
{
	size_t len = strlen(text);

	if (len % 2 || len / 2 > MAX_DATA)
		return false;
	for (size_t i = 0; i < len; i += 2) {
		char digits[] = { '0', 'x', text[i], text[i + 1], '\0' };
		uint64_t value;

		if (!parse_number(digits, &value))
			return false;
		span->data[i / 2] = (uint8_t)value;
	}
	span->len = len / 2;
	return true;
}

static bool run_write(Agent *agent, char **words, unsigned n, AgentError *error)
{
	Span span = { .is_write = true };

	if (!parse_number(words[1], &span.offset) || !parse_bytes(words[2], &span))
		return agent_fail(error,
				  "OFFSET is a number, BYTES are up to %u in hexadecimal digits",
				  MAX_DATA);
	return group_with(agent, words[0], copy_span, &span, error);
}

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Never 0, where the sequence would stay */
static uint64_t first_random(uint64_t seed)
{
	return seed * UINT64_C(0x9e3779b97f4a7c15) | 1;
}

static bool fill(AgentDevice *device, const CxlDcGroup *group, void *opaque, AgentError *error)
{
	uint64_t state = first_random(*(const uint64_t *)opaque);
	uint8_t *base = group_map(device->agent, group, error);
	volatile uint64_t *words = (volatile uint64_t *)(void *)base;

	if (!base)
		return false;
	for (uint64_t i = 0; i < group->len / sizeof(*words); i++)
		words[i] = next_random(&state);
	munmap(base, group->len);
	return true;
}

static bool verify(AgentDevice *device, const CxlDcGroup *group, void *opaque, AgentError *error)
{
	uint64_t state = first_random(*(const uint64_t *)opaque);
	uint8_t *base = group_map(device->agent, group, error);
	const volatile uint64_t *words = (const volatile uint64_t *)(void *)base;
	bool ok = true;

	if (!base)
		return false;
	for (uint64_t i = 0; ok && i < group->len / sizeof(*words); i++) {
		uint64_t expected = next_random(&state);
		uint64_t found = words[i];

		if (found != expected)
			ok = agent_fail(error,
					"mismatch at offset %" PRIu64 ": %016" PRIx64
					" where %016" PRIx64 " was written",
					i * sizeof(*words), found, expected);
	}
	munmap(base, group->len);
	return ok;
}

/* CRC-32 as in Ethernet and zlib, a bit at a time: what is long is measured otherwise */
static bool checksum(AgentDevice *device, const CxlDcGroup *group, void *opaque, AgentError *error)
{
	uint8_t *base = group_map(device->agent, group, error);
	uint32_t crc = UINT32_MAX;

	if (!base)
		return false;
	for (uint64_t i = 0; i < group->len; i++) {
		crc ^= base[i];
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0xedb88320) : 0);
	}
	munmap(base, group->len);
	*(uint32_t *)opaque = ~crc;
	return true;
}

static bool run_checksum(Agent *agent, char **words, unsigned n, AgentError *error)
{
	char text[16];
	uint32_t crc;
	Json json;

	if (!group_with(agent, words[0], checksum, &crc, error))
		return false;
	snprintf(text, sizeof(text), "%08" PRIx32, crc);
	tell_begin(&json, "checksum", NULL);
	json_text(&json, "group", words[0]);
	json_text(&json, "crc32", text);
	tell_end(agent, &json);
	return true;
}

static bool run_pattern(Agent *agent, char **words, GroupFunc func, AgentError *error)
{
	uint64_t seed;

	if (!parse_number(words[1], &seed))
		return agent_fail(error, "SEED is a number");
	return group_with(agent, words[0], func, &seed, error);
}

static bool run_fill(Agent *agent, char **words, unsigned n, AgentError *error)
{
	return run_pattern(agent, words, fill, error);
}

static bool run_verify(Agent *agent, char **words, unsigned n, AgentError *error)
{
	return run_pattern(agent, words, verify, error);
}

static bool run_measure(Agent *agent, char **words, unsigned n, AgentError *error)
{
	return group_with(agent, words[0], group_measure, NULL, error);
}

/* ---- the end ---- */

static bool run_leave(Agent *agent, char **words, unsigned n, AgentError *error)
{
	agent->leaves = true;
	return true;
}

static bool run_abandon(Agent *agent, char **words, unsigned n, AgentError *error)
{
	_exit(0);
}

/* ---- the table ---- */

/* clang-format off */
static const Command commands[] = {
	{ "list", 0, 0, run_list, "list", "tell all that is accepted" },
	{ "release", 1, 1, run_release, "release GROUP", "give back a group" },
	{ "release-range", 2, 2, run_release_range, "release-range DPA LENGTH",
	  "give back what is accepted there" },
	{ "hold", 1, 1, run_hold, "hold on|off", "keep what the device asks for, or not (default)" },
	{ "accept", 1, 1, run_accept, "accept all|none|TAG,...", "as --accept, from now on" },
	{ "resync", 0, 0, run_resync, "resync", "read the device's list of extents again" },
	{ "read", 3, 3, run_read, "read GROUP OFFSET LENGTH", "tell bytes of a group's memory" },
	{ "write", 3, 3, run_write, "write GROUP OFFSET BYTES",
	  "write bytes, in hexadecimal digits, to a group's memory" },
	{ "fill", 2, 2, run_fill, "fill GROUP SEED", "fill a group with a pattern" },
	{ "verify", 2, 2, run_verify, "verify GROUP SEED", "check that it still has that pattern" },
	{ "checksum", 1, 1, run_checksum, "checksum GROUP", "tell the CRC-32 of a group's memory" },
	{ "measure", 1, 1, run_measure, "measure GROUP",
	  "compare its speed with that of ordinary memory; overwrites it" },
	{ "leave", 0, 0, run_leave, "leave", "as SIGTERM" },
	{ "abandon", 0, 0, run_abandon, "abandon", "end at once and give nothing back" },
};
/* clang-format on */

#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

bool command_help(unsigned index, CommandHelp *ret_help)
{
	if (index >= N_COMMANDS)
		return false;
	*ret_help = (CommandHelp){ commands[index].usage, commands[index].text };
	return true;
}

static bool run_command(Agent *agent, char **words, unsigned n, AgentError *error)
{
	for (unsigned i = 0; i < N_COMMANDS; i++) {
		const Command *command = &commands[i];

		if (strcmp(command->name, words[0]) != 0)
			continue;
		if (n - 1 < command->min || n - 1 > command->max)
			return agent_fail(error, "it is: %s", command->usage);
		return command->run(agent, words + 1, n - 1, error);
	}
	return agent_fail(error, "there is no such command");
}

void agent_command(Agent *agent, char *line)
{
	char *whole = strdup(line);
	char *words[MAX_WORDS];
	AgentError error = { "" };
	unsigned n = 0;
	char *save;
	Json json;
	bool ok;

	for (char *word = strtok_r(line, " \t\r", &save); word;
	     word = strtok_r(NULL, " \t\r", &save)) {
		if (n == MAX_WORDS)
			break;
		words[n++] = word;
	}
	if (n > 0) {
		ok = whole ? run_command(agent, words, n, &error)
			   : agent_fail(&error, "out of memory");
		tell_begin(&json, ok ? "done" : "failed", NULL);
		json_text(&json, "command", whole ? whole : words[0]);
		if (!ok)
			json_text(&json, "error", error.text);
		tell_end(agent, &json);
	}
	free(whole);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* softdcd host --check: a pattern in accepted memory, written once and compared again and again. */
#include "cli/host.h"

#include <string.h>

/*
 * Every 8 bytes hold a word made of the seed, the tag, the incarnation of the memory and their
 * place in its file: memory of another tag, of another time, or from another place is recognised,
 * and two hosts that share memory agree. The first word of each map is written last: a map that has
 * it has all. Memory is reached through the bus, where what is not mapped reads as all-ones, and
 * not by pointers, so that a forced release in the middle ends in no signal.
 */
#define PIECE_LEN ((uint64_t)64 * 1024)
#define N_WORDS   (PIECE_LEN / sizeof(uint64_t))

static uint64_t mix(uint64_t word)
{
	word = (word ^ word >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	word = (word ^ word >> 27) * UINT64_C(0x94d049bb133111eb);
	return word ^ word >> 31;
}

static uint64_t map_key(const HostGroup *group, const HostMap *map)
{
	uint64_t tag[2];

	memcpy(tag, group->tag.b, sizeof(tag));
	return mix(mix(group->device->cmd->seed ^ tag[0]) ^ tag[1]) ^ mix(map->place.incarnation);
}

static uint64_t pattern(uint64_t key, uint64_t offset)
{
	return mix(key + offset);
}

static void access_memory(const HostGroup *group, uint64_t hpa, void *buf, uint64_t len,
			  bool is_write)
{
	process_host_access(group->device->cmd->host, hpa, buf, len, is_write);
}

static void fill_map(const HostGroup *group, const HostMap *map)
{
	uint64_t key = map_key(group, map);
	uint64_t words[N_WORDS];
	uint64_t first;

	for (uint64_t at = 0; at < map->len; at += PIECE_LEN) {
		uint64_t len = MIN(PIECE_LEN, map->len - at);
		uint64_t skip = at == 0 ? sizeof(first) : 0;

		for (uint64_t i = 0; i < len / sizeof(words[0]); i++)
			words[i] = pattern(key, map->place.offset + at + i * sizeof(words[0]));
		access_memory(group, map->hpa + at + skip, (uint8_t *)words + skip, len - skip,
			      true);
	}
	first = pattern(key, map->place.offset);
	access_memory(group, map->hpa, &first, sizeof(first), true);
}

static bool is_filled(const HostGroup *group, const HostMap *map)
{
	uint64_t first;

	access_memory(group, map->hpa, &first, sizeof(first), false);
	return first == pattern(map_key(group, map), map->place.offset);
}

/* Taken away, or given other memory, while we were looking? */
static bool is_still_there(const HostGroup *group, const HostMap *map, uint64_t dpa)
{
	const HostDevice *device = group->device;
	ProcessHostPlace place;

	return process_host_find(device->cmd->host, device->port, dpa, &place) &&
	       place.incarnation == map->place.incarnation;
}

/* The pattern, or zeros. */
static bool verify_map(const HostGroup *group, const HostMap *map, bool zeros)
{
	uint64_t key = map_key(group, map);
	uint64_t words[N_WORDS];

	for (uint64_t at = 0; at < map->len; at += PIECE_LEN) {
		uint64_t len = MIN(PIECE_LEN, map->len - at);

		access_memory(group, map->hpa + at, words, len, false);
		for (uint64_t i = 0; i < len / sizeof(words[0]); i++) {
			uint64_t offset = at + i * sizeof(words[0]);
			uint64_t expected = zeros ? 0 : pattern(key, map->place.offset + offset);

			if (words[i] == expected)
				continue;
			if (!is_still_there(group, map, map->dpa + offset))
				return true;
			host_tell_mismatch(group, map->dpa + offset, expected, words[i]);
			group->device->cmd->has_mismatch = true;
			return false;
		}
	}
	return true;
}

bool host_check_accepted(HostGroup *group)
{
	bool is_first = group->needs_filling;

	if (!group->device->cmd->checks)
		return true;
	group->needs_filling = false;
	group->checked = HOST_UNCHECKED;
	for (guint i = 0; i < group->maps->len; i++) {
		const HostMap *map = &g_array_index(group->maps, HostMap, i);

		if (!map->place.writable)
			continue;
		/* A former tenant's bytes must be gone. */
		if (is_first && !group->recovered && group->device->cmd->expects_zeros &&
		    !verify_map(group, map, true))
			return false;
		/* A host before us may have filled it, or have ended in the middle of that. */
		if (is_first && !(group->recovered && is_filled(group, map))) {
			fill_map(group, map);
			group->checked = HOST_FILLED;
		} else if (!verify_map(group, map, false)) {
			return false;
		} else if (group->checked == HOST_UNCHECKED) {
			group->checked = HOST_VERIFIED;
		}
	}
	return true;
}

bool host_check_held(HostGroup *group)
{
	if (!group->device->cmd->checks || !group->is_told)
		return true;
	for (guint i = 0; i < group->maps->len; i++) {
		const HostMap *map = &g_array_index(group->maps, HostMap, i);

		if (map->place.writable && !verify_map(group, map, false))
			return false;
	}
	return true;
}

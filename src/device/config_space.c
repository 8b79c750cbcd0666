/* SPDX-License-Identifier: BSD-3-Clause */
/* 4 KiB of PCI configuration space as data: values, masks, and hooks for what has side effects. */
#include "device/config_space.h"
#include <string.h>

#define CONFIG_MAX_HOOKS 4

struct ConfigSpace {
	uint8_t now[PCI_CONFIG_LEN];
	uint8_t reset[PCI_CONFIG_LEN];
	uint8_t writable[PCI_CONFIG_LEN];
	uint8_t write_clear[PCI_CONFIG_LEN];
	uint8_t kept[PCI_CONFIG_LEN];
	uint8_t lockable[PCI_CONFIG_LEN];
	bool locked;
	unsigned n_hooks;
	ConfigHook hooks[CONFIG_MAX_HOOKS];
};

ConfigSpace *config_space_new(void)
{
	return g_new0(ConfigSpace, 1);
}

void config_space_free(ConfigSpace *space)
{
	g_free(space);
}

void config_space_add(ConfigSpace *space, unsigned base, const ConfigReg *regs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const ConfigReg *reg = &regs[i];
		unsigned at = base + reg->offset;

		g_assert(reg->len >= 1 && reg->len <= 4 && at + reg->len <= PCI_CONFIG_LEN);
		for (unsigned b = 0; b < reg->len; b++, at++) {
			unsigned shift = 8 * b;

			space->reset[at] = space->now[at] = (uint8_t)(reg->value >> shift);
			space->writable[at] = (uint8_t)(reg->writable >> shift);
			space->write_clear[at] = (uint8_t)(reg->write_clear >> shift);
			space->kept[at] = (uint8_t)(reg->kept >> shift);
			space->lockable[at] = (uint8_t)(reg->lockable >> shift);
		}
	}
}

void config_space_add_hook(ConfigSpace *space, const ConfigHook *hook)
{
	g_assert(space->n_hooks < CONFIG_MAX_HOOKS);
	g_assert(hook->offset % 4 == 0 && hook->offset + hook->len <= PCI_CONFIG_LEN);
	space->hooks[space->n_hooks++] = *hook;
}

static const ConfigHook *hook_at(const ConfigSpace *space, unsigned offset)
{
	for (unsigned i = 0; i < space->n_hooks; i++) {
		const ConfigHook *hook = &space->hooks[i];

		if (offset >= hook->offset && offset - hook->offset < hook->len)
			return hook;
	}
	return NULL;
}

void config_space_read(const ConfigSpace *space, unsigned offset, void *buf, unsigned len)
{
	uint8_t *dst = buf;

	while (len > 0) {
		unsigned dword = offset & ~3u, skip = offset - dword;
		unsigned n = MIN(len, 4 - skip);
		const ConfigHook *hook = hook_at(space, dword);
		uint8_t bytes[4];

		if (hook != NULL && hook->read != NULL)
			le32_store(bytes, hook->read(hook->opaque, dword - hook->offset));
		else
			memcpy(bytes, &space->now[dword], 4);
		memcpy(dst, bytes + skip, n);
		dst += n;
		offset += n;
		len -= n;
	}
}

static bool write_byte(ConfigSpace *space, unsigned at, uint8_t value)
{
	uint8_t writable = space->writable[at];
	uint8_t before = space->now[at];

	if (space->locked)
		writable &= (uint8_t)~space->lockable[at];
	space->now[at] = (uint8_t)((space->now[at] & ~writable) | (value & writable));
	space->now[at] &= (uint8_t) ~(value & space->write_clear[at]);
	return space->now[at] != before;
}

bool config_space_write(ConfigSpace *space, unsigned offset, const void *buf, unsigned len)
{
	const uint8_t *src = buf;
	bool changed = false;

	while (len > 0) {
		unsigned dword = offset & ~3u, skip = offset - dword;
		unsigned n = MIN(len, 4 - skip);
		const ConfigHook *hook = hook_at(space, dword);
		uint8_t value[4] = { 0 }, mask[4] = { 0 };

		memcpy(value + skip, src, n);
		memset(mask + skip, 0xff, n);
		for (unsigned i = 0; i < n; i++)
			changed |= write_byte(space, offset + i, src[i]);
		if (hook != NULL && hook->write != NULL)
			hook->write(hook->opaque, dword - hook->offset, le32_load(value),
				    le32_load(mask));
		src += n;
		offset += n;
		len -= n;
	}
	return changed;
}

void config_space_set_locked(ConfigSpace *space, bool locked)
{
	space->locked = locked;
}

void config_space_reset(ConfigSpace *space, bool flr)
{
	for (unsigned i = 0; i < PCI_CONFIG_LEN; i++) {
		uint8_t kept = flr ? space->kept[i] : 0;

		space->now[i] = (uint8_t)((space->now[i] & kept) | (space->reset[i] & ~kept));
	}
}

/* ---- saved state: the bytes that are not as after reset, in ascending order ---- */

typedef struct ConfigSpaceState {
	le16 n;
} ConfigSpaceState;

typedef struct ConfigByteState {
	le16 offset;
	uint8_t value;
} ConfigByteState;
CXL_STATIC_ASSERT(sizeof(ConfigByteState) == 3);

void config_space_save(const ConfigSpace *space, GByteArray *out)
{
	ConfigSpaceState state;
	unsigned n = 0;

	for (unsigned i = 0; i < PCI_CONFIG_LEN; i++)
		n += space->now[i] != space->reset[i];
	state.n = le16_put((uint16_t)n);
	state_put(out, &state, sizeof(state));
	for (unsigned i = 0; i < PCI_CONFIG_LEN; i++) {
		ConfigByteState byte = { le16_put((uint16_t)i), space->now[i] };

		if (space->now[i] != space->reset[i])
			state_put(out, &byte, sizeof(byte));
	}
}

bool config_space_load(ConfigSpace *space, StateReader *in, bool apply)
{
	const ConfigSpaceState *state = state_take(in, sizeof(*state));
	unsigned n = state ? le16_get(state->n) : 0;
	unsigned end = 0; /* of what is done */

	if (!state)
		return false;
	if (apply)
		memcpy(space->now, space->reset, sizeof(space->now));
	for (unsigned i = 0; i < n; i++) {
		const ConfigByteState *byte = state_take(in, sizeof(*byte));
		unsigned at = byte ? le16_get(byte->offset) : PCI_CONFIG_LEN;
		uint8_t free_bits;

		if (at >= PCI_CONFIG_LEN || at < end)
			return false;
		/* Bits that nobody can change say which device this is. */
		free_bits = space->writable[at] | space->write_clear[at];
		if (((byte->value ^ space->reset[at]) & ~free_bits) != 0)
			return false;
		if (apply)
			space->now[at] = byte->value;
		end = at + 1;
	}
	return true;
}

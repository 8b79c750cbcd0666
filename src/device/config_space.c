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

static void write_byte(ConfigSpace *space, unsigned at, uint8_t value)
{
	uint8_t writable = space->writable[at];

	if (space->locked)
		writable &= (uint8_t)~space->lockable[at];
	space->now[at] = (uint8_t)((space->now[at] & ~writable) | (value & writable));
	space->now[at] &= (uint8_t) ~(value & space->write_clear[at]);
}

void config_space_write(ConfigSpace *space, unsigned offset, const void *buf, unsigned len)
{
	const uint8_t *src = buf;

	while (len > 0) {
		unsigned dword = offset & ~3u, skip = offset - dword;
		unsigned n = MIN(len, 4 - skip);
		const ConfigHook *hook = hook_at(space, dword);
		uint8_t value[4] = { 0 }, mask[4] = { 0 };

		memcpy(value + skip, src, n);
		memset(mask + skip, 0xff, n);
		for (unsigned i = 0; i < n; i++)
			write_byte(space, offset + i, src[i]);
		if (hook != NULL && hook->write != NULL)
			hook->write(hook->opaque, dword - hook->offset, le32_load(value),
				    le32_load(mask));
		src += n;
		offset += n;
		len -= n;
	}
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

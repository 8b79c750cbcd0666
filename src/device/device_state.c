/* SPDX-License-Identifier: BSD-3-Clause */
/* What a session resumes with after a restart of the daemon, as bytes; and what queries ask. */
#include "device/device_priv.h"

#include <gio/gio.h>
#include <string.h>

#define STATE_VERSION 1

typedef struct DeviceStateHeader {
	uint8_t magic[8];
	le32 version;
	le32 len; /* of the whole state, bytes */
	DeviceLayout layout;
} DeviceStateHeader;
CXL_STATIC_ASSERT(sizeof(DeviceStateHeader) == 64);

static const uint8_t magic[8] = { 's', 'd', 'c', 'd', 'r', 'e', 'g', 's' };

/* ---- parts that have no file of their own ---- */

static void save_msix(const Device *dev, GByteArray *out)
{
	state_put(out, dev->msix, sizeof(dev->msix));
}

static bool load_msix(Device *dev, StateReader *in, bool apply)
{
	const uint8_t *table = state_take(in, sizeof(dev->msix));

	if (table == NULL)
		return false;
	if (apply)
		device_write_msix(dev, EP_MSIX_TABLE, table, sizeof(dev->msix));
	return true;
}

static void save_config(const Device *dev, GByteArray *out)
{
	config_space_save(dev->config, out);
}

static bool load_config(Device *dev, StateReader *in, bool apply)
{
	uint8_t lock;

	if (!config_space_load(dev->config, in, apply))
		return false;
	if (!apply)
		return true;
	config_space_read(dev->config, EP_DVSEC_DEVICE + offsetof(CxlDvsecDevice, lock), &lock, 1);
	config_space_set_locked(dev->config, lock & CXL_DVSEC_DEVICE_LOCK_CONFIG);
	return true;
}

static void save_component(const Device *dev, GByteArray *out)
{
	component_save(dev->component, out);
}

static bool load_component(Device *dev, StateReader *in, bool apply)
{
	return component_load(dev->component, in, apply);
}

static void save_regs(const Device *dev, GByteArray *out)
{
	device_regs_save(dev->regs, out);
}

static bool load_regs(Device *dev, StateReader *in, bool apply)
{
	return device_regs_load(dev->regs, in, apply);
}

/* In the order of the bytes. The registers come last: with them the core may begin to deliver. */
static const struct StatePart {
	const char *name;
	void (*save)(const Device *dev, GByteArray *out);
	bool (*load)(Device *dev, StateReader *in, bool apply);
} parts[] = {
	{ "configuration space", save_config, load_config },
	{ "MSI-X table", save_msix, load_msix },
	{ "component registers", save_component, load_component },
	{ "device registers", save_regs, load_regs },
};

/* ---- the whole ---- */

GBytes *device_save_state(const Device *dev)
{
	GByteArray *out = g_byte_array_new();
	DeviceStateHeader header = { .version = le32_put(STATE_VERSION), .layout = dev->layout };

	memcpy(header.magic, magic, sizeof(magic));
	state_put(out, &header, sizeof(header));
	for (size_t i = 0; i < G_N_ELEMENTS(parts); i++)
		parts[i].save(dev, out);
	header.len = le32_put(out->len);
	memcpy(out->data, &header, sizeof(header));
	return g_byte_array_free_to_bytes(out);
}

static bool load_parts(Device *dev, StateReader in, bool apply, const char **ret_bad)
{
	for (size_t i = 0; i < G_N_ELEMENTS(parts); i++) {
		*ret_bad = parts[i].name;
		if (!parts[i].load(dev, &in, apply))
			return false;
	}
	*ret_bad = "end";
	return in.left == 0;
}

bool device_restore_state(Device *dev, GBytes *state, GError **error)
{
	gsize len;
	const uint8_t *bytes = g_bytes_get_data(state, &len);
	StateReader in = { bytes, len };
	const DeviceStateHeader *header = state_take(&in, sizeof(*header));
	const char *bad;

	if (header == NULL || memcmp(header->magic, magic, sizeof(magic)) != 0 ||
	    le32_get(header->len) != len) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
			    "saved register state of %zu bytes: not one, or cut", (size_t)len);
		return false;
	}
	if (le32_get(header->version) != STATE_VERSION) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
			    "saved register state of version %u, this program knows version %d",
			    le32_get(header->version), STATE_VERSION);
		return false;
	}
	if (memcmp(&header->layout, &dev->layout, sizeof(dev->layout)) != 0) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
			    "saved register state is of a device with another serial number or"
			    " other capacity");
		return false;
	}
	if (!load_parts(dev, in, false, &bad)) {
		g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA,
			    "saved register state: its part \"%s\" makes no sense", bad);
		return false;
	}
	load_parts(dev, in, true, &bad);
	return true;
}

void device_renew_irqs(Device *dev)
{
	device_regs_renew_irqs(dev->regs);
}

/* ---- queries ---- */

static void add_decoder(const HdmDecoder *decoder, void *opaque)
{
	DeviceInfo *info = opaque;

	info->decoders[info->n_decoders++] = *decoder;
}

void device_get_info(const Device *dev, DeviceInfo *ret)
{
	*ret = (DeviceInfo){ .n_decoders = 0 };
	device_regs_get_info(dev->regs, ret);
	device_foreach_decoder(dev, add_decoder, ret);
}

void device_set_tracing(Device *dev, bool on)
{
	device_regs_set_tracing(dev->regs, on);
}

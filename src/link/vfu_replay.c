/* SPDX-License-Identifier: BSD-3-Clause */
/* What a client has written into a device and must write again when the device comes back. */
#include "link/vfu_replay.h"

#include "cxl/pci.h"
#include "link/vfu_client.h"
#include "link/vfu_wire.h"
#include "util/autofd.h"

#include <fcntl.h>
#include <string.h>

/* A range of a region: its bytes as last written, and which have been. */
typedef struct Kept {
	unsigned index;
	uint64_t offset, len;
	uint8_t *bytes;
	uint8_t *written; /* 0 or 1 for each byte */
} Kept;

typedef struct Vector {
	unsigned index, vector;
	int fd;
} Vector;

struct VfuReplay {
	GMutex lock;
	GPtrArray *kept; /* the first is configuration space */
	GArray *vectors;
};

static void kept_free(gpointer data)
{
	Kept *kept = data;

	g_free(kept->bytes);
	g_free(kept->written);
	g_free(kept);
}

static void vector_clear(gpointer data)
{
	fd_close_auto(&((Vector *)data)->fd);
}

VfuReplay *vfu_replay_new(void)
{
	VfuReplay *replay = g_new0(VfuReplay, 1);

	g_mutex_init(&replay->lock);
	replay->kept = g_ptr_array_new_with_free_func(kept_free);
	replay->vectors = g_array_new(FALSE, FALSE, sizeof(Vector));
	g_array_set_clear_func(replay->vectors, vector_clear);
	vfu_replay_keep(replay, VFU_REGION_CONFIG, 0, PCI_CONFIG_LEN);
	return replay;
}

void vfu_replay_free(VfuReplay *replay)
{
	if (!replay)
		return;
	g_ptr_array_unref(replay->kept);
	g_array_unref(replay->vectors);
	g_mutex_clear(&replay->lock);
	g_free(replay);
}

/* ---- remembering ---- */

void vfu_replay_keep(VfuReplay *replay, unsigned index, uint64_t offset, uint64_t len)
{
	Kept *kept = g_new(Kept, 1);

	*kept = (Kept){
		.index = index,
		.offset = offset,
		.len = len,
		.bytes = g_malloc0(len),
		.written = g_malloc0(len),
	};
	g_mutex_lock(&replay->lock);
	g_ptr_array_add(replay->kept, kept);
	g_mutex_unlock(&replay->lock);
}

void vfu_replay_note_write(VfuReplay *replay, unsigned index, uint64_t offset, const void *buf,
			   uint32_t count)
{
	uint64_t end = offset + count;

	g_mutex_lock(&replay->lock);
	for (guint i = 0; i < replay->kept->len; i++) {
		Kept *kept = replay->kept->pdata[i];
		uint64_t from = MAX(offset, kept->offset);
		uint64_t to = MIN(end, kept->offset + kept->len);

		if (kept->index != index || from >= to)
			continue;
		memcpy(kept->bytes + (from - kept->offset), (const uint8_t *)buf + (from - offset),
		       to - from);
		memset(kept->written + (from - kept->offset), 1, to - from);
	}
	g_mutex_unlock(&replay->lock);
}

/* With the lock held. */
static void forget_vector(VfuReplay *replay, unsigned index, unsigned vector)
{
	for (guint i = 0; i < replay->vectors->len; i++) {
		const Vector *known = &g_array_index(replay->vectors, Vector, i);

		if (known->index == index && known->vector == vector) {
			g_array_remove_index_fast(replay->vectors, i);
			return;
		}
	}
}

void vfu_replay_note_irqs(VfuReplay *replay, unsigned index, unsigned start, const int *fds,
			  unsigned n)
{
	g_mutex_lock(&replay->lock);
	for (unsigned i = 0; i < n; i++) {
		Vector vector = { .index = index, .vector = start + i, .fd = -EBADF };

		forget_vector(replay, index, start + i);
		if (fds[i] >= 0)
			vector.fd = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
		if (vector.fd >= 0)
			g_array_append_val(replay->vectors, vector);
	}
	g_mutex_unlock(&replay->lock);
}

void vfu_replay_note_irqs_off(VfuReplay *replay, unsigned index)
{
	g_mutex_lock(&replay->lock);
	for (guint i = replay->vectors->len; i-- > 0;) {
		if (g_array_index(replay->vectors, Vector, i).index == index)
			g_array_remove_index_fast(replay->vectors, i);
	}
	g_mutex_unlock(&replay->lock);
}

void vfu_replay_note_reset(VfuReplay *replay)
{
	g_mutex_lock(&replay->lock);
	for (guint i = 0; i < replay->kept->len; i++) {
		Kept *kept = replay->kept->pdata[i];

		memset(kept->written, 0, kept->len);
	}
	g_mutex_unlock(&replay->lock);
}

/* ---- what of configuration space is worth it ---- */

typedef struct Register {
	uint32_t offset; /* in the header, or from the capability */
	uint8_t len;
	uint32_t mask;
} Register;

static const Register header_registers[] = {
	{ PCI_CFG_CACHE_LINE, 1, 0xff },   { PCI_CFG_LATENCY_TIMER, 1, 0xff },
	{ PCI_CFG_INT_LINE, 1, 0xff },     { PCI_CFG_BAR(0), 4, UINT32_MAX },
	{ PCI_CFG_BAR(1), 4, UINT32_MAX }, { PCI_CFG_BAR(2), 4, UINT32_MAX },
	{ PCI_CFG_BAR(3), 4, UINT32_MAX }, { PCI_CFG_BAR(4), 4, UINT32_MAX },
	{ PCI_CFG_BAR(5), 4, UINT32_MAX }, { PCI_CFG0_ROM, 4, UINT32_MAX },
	{ PCI_CFG_COMMAND, 2, 0xffff }, /* last: decoding is on only when the BARs are right */
};

#define PM_CTRL     4
#define PM_CTRL_PME CXL_BIT(15) /* status; a written 1 clears it */

static const struct {
	bool extended;
	uint16_t id;
	Register reg;
} cap_registers[] = {
	{ false, PCI_CAP_PM, { PM_CTRL, 2, 0xffff & ~PM_CTRL_PME } },
	{ false, PCI_CAP_PCIE, { PCI_PCIE_DEVCTL, 2, 0xffff & ~PCI_PCIE_DEVCTL_FLR } },
	{ false, PCI_CAP_PCIE, { PCI_PCIE_LNKCTL, 2, 0xffff & ~PCI_PCIE_LNKCTL_RETRAIN } },
	{ false, PCI_CAP_PCIE, { PCI_PCIE_DEVCTL2, 2, 0xffff } },
	{ false, PCI_CAP_PCIE, { PCI_PCIE_LNKCTL2, 2, 0xffff } },
	{ false, PCI_CAP_MSIX, { PCI_MSIX_CTRL, 2, 0xffff } },
	{ true, PCI_EXTCAP_AER, { PCI_AER_UE_MASK, 4, UINT32_MAX } },
	{ true, PCI_EXTCAP_AER, { PCI_AER_UE_SEVERITY, 4, UINT32_MAX } },
	{ true, PCI_EXTCAP_AER, { PCI_AER_CE_MASK, 4, UINT32_MAX } },
	{ true, PCI_EXTCAP_AER, { PCI_AER_CAPS_CTRL, 4, UINT32_MAX } },
};

/* ---- writing it again ---- */

typedef struct Replaying {
	VfuClient *client;
	const Kept *kept;
	uint8_t config[PCI_CONFIG_LEN]; /* as the device has it now */
} Replaying;

/* Bytes never written keep what they are. */
static int replay_register(const Replaying *replaying, uint32_t base, const Register *reg)
{
	uint32_t at = base + reg->offset;
	uint32_t value = 0, mask = 0;

	if (at + reg->len > PCI_CONFIG_LEN)
		return 0;
	for (unsigned i = 0; i < reg->len; i++) {
		uint32_t byte = replaying->config[at + i];

		if (replaying->kept->written[at + i]) {
			byte = replaying->kept->bytes[at + i];
			mask |= UINT32_C(0xff) << 8 * i;
		}
		value |= byte << 8 * i;
	}
	if (mask == 0)
		return 0;
	value &= reg->mask;
	return vfu_client_write(replaying->client, VFU_REGION_CONFIG, at, &value, reg->len, false);
}

static int replay_cap(const Replaying *replaying, bool extended, uint16_t id, uint32_t at)
{
	int rc = 0;

	for (unsigned i = 0; i < G_N_ELEMENTS(cap_registers) && rc == 0; i++) {
		if (cap_registers[i].extended == extended && cap_registers[i].id == id)
			rc = replay_register(replaying, at, &cap_registers[i].reg);
	}
	return rc;
}

/* Both lists are the device's word: bounded, whatever they say. */
static int replay_caps(const Replaying *replaying)
{
	const uint8_t *config = replaying->config;
	uint32_t at = config[PCI_CFG_CAP_PTR] & ~3u;
	int rc = 0;

	for (unsigned i = 0; i < 48 && at >= 0x40 && rc == 0; i++) {
		rc = replay_cap(replaying, false, config[at], at);
		at = config[at + 1] & ~3u;
	}
	at = PCI_EXTCAP_FIRST;
	for (unsigned i = 0; i < 128 && at >= PCI_EXTCAP_FIRST && rc == 0; i++) {
		uint32_t header = le32_load(config + (at & ~3u));

		rc = replay_cap(replaying, true, CXL_FIELD_GET(PCI_EXTCAP_ID, header), at);
		at = CXL_FIELD_GET(PCI_EXTCAP_NEXT, header) & ~3u;
	}
	return rc;
}

static int replay_config(Replaying *replaying)
{
	int rc = vfu_client_read(replaying->client, VFU_REGION_CONFIG, 0, replaying->config,
				 PCI_CONFIG_LEN);

	if (rc == 0)
		rc = replay_caps(replaying);
	for (unsigned i = 0; i < G_N_ELEMENTS(header_registers) && rc == 0; i++)
		rc = replay_register(replaying, 0, &header_registers[i]);
	return rc;
}

/* Runs of what was written, each as one write. */
static int replay_range(VfuClient *client, const Kept *kept)
{
	int rc = 0;

	for (uint64_t from = 0, to; from < kept->len && rc == 0; from = to) {
		to = from + 1;
		if (!kept->written[from])
			continue;
		while (to < kept->len && kept->written[to] && to - from < VFU_MAX_DATA)
			to++;
		rc = vfu_client_write(client, kept->index, kept->offset + from, kept->bytes + from,
				      (uint32_t)(to - from), false);
	}
	return rc;
}

static Kept *kept_copy(const Kept *kept)
{
	Kept *copy = g_memdup2(kept, sizeof(*kept));

	copy->bytes = g_memdup2(kept->bytes, kept->len);
	copy->written = g_memdup2(kept->written, kept->len);
	return copy;
}

/* Copies: writing notes what is written, under the same lock. */
static GPtrArray *copy_kept(VfuReplay *replay)
{
	GPtrArray *copies = g_ptr_array_new_with_free_func(kept_free);

	g_mutex_lock(&replay->lock);
	for (guint i = 0; i < replay->kept->len; i++)
		g_ptr_array_add(copies, kept_copy(replay->kept->pdata[i]));
	g_mutex_unlock(&replay->lock);
	return copies;
}

static GArray *copy_vectors(VfuReplay *replay)
{
	GArray *copies = g_array_new(FALSE, FALSE, sizeof(Vector));

	g_array_set_clear_func(copies, vector_clear);
	g_mutex_lock(&replay->lock);
	for (guint i = 0; i < replay->vectors->len; i++) {
		Vector copy = g_array_index(replay->vectors, Vector, i);

		copy.fd = fcntl(copy.fd, F_DUPFD_CLOEXEC, 0);
		if (copy.fd >= 0)
			g_array_append_val(copies, copy);
	}
	g_mutex_unlock(&replay->lock);
	return copies;
}

int vfu_replay_run(VfuReplay *replay, VfuClient *client)
{
	g_autoptr(GPtrArray) kept = copy_kept(replay);
	g_autoptr(GArray) vectors = copy_vectors(replay);
	g_autofree Replaying *replaying = g_new0(Replaying, 1);
	int rc = 0;

	replaying->client = client;
	replaying->kept = kept->pdata[0];
	/* Interrupts first: what the rest turns on must find its eventfd. */
	for (guint i = 0; i < vectors->len && rc == 0; i++) {
		const Vector *vector = &g_array_index(vectors, Vector, i);

		rc = vfu_client_set_irqs(client, vector->index, vector->vector, &vector->fd, 1);
	}
	for (guint i = 1; i < kept->len && rc == 0; i++)
		rc = replay_range(client, kept->pdata[i]);
	return rc == 0 ? replay_config(replaying) : rc;
}

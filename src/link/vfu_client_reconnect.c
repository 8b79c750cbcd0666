/* SPDX-License-Identifier: BSD-3-Clause */
/* vfio-user client: going on with the same device over another connection. */
#include "link/vfu_client.h"

#include "link/vfu_client_setup.h"

#include <gio/gio.h>
#include <string.h>
#include <sys/mman.h>

G_GNUC_PRINTF(2, 3)
static bool differs(GError **error, const char *format, ...)
{
	g_autofree char *what = NULL;
	va_list args;

	va_start(args, format);
	what = g_strdup_vprintf(format, args);
	va_end(args);
	g_set_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED,
		    "the device that answers is not the one from before: %s", what);
	return false;
}

static bool is_same_region(const VfuClientRegion *old, const VfuClientRegion *fresh)
{
	guint n_old = old->mappings ? old->mappings->len : 0;
	guint n_fresh = fresh->mappings ? fresh->mappings->len : 0;

	if (old->len != fresh->len || old->writable != fresh->writable || n_old != n_fresh)
		return false;
	for (guint i = 0; i < n_old; i++) {
		const VfuMapping *a = &g_array_index(old->mappings, VfuMapping, i);
		const VfuMapping *b = &g_array_index(fresh->mappings, VfuMapping, i);

		if (a->offset != b->offset || a->len != b->len)
			return false;
	}
	return true;
}

/* All that users of the client may have kept in mind: sizes, limits, addresses. */
static bool is_same_device(const VfuClient *old, const VfuClient *fresh, GError **error)
{
	if (old->n_regions != fresh->n_regions || old->n_irqs != fresh->n_irqs)
		return differs(error, "%u regions and %u interrupt indexes, not %u and %u",
			       fresh->n_regions, fresh->n_irqs, old->n_regions, old->n_irqs);
	for (unsigned i = 0; i < old->n_regions; i++) {
		if (!is_same_region(&old->regions[i], &fresh->regions[i]))
			return differs(error, "region %u", i);
	}
	for (unsigned i = 0; i < old->n_irqs; i++) {
		if (old->irq_counts[i] != fresh->irq_counts[i])
			return differs(error, "%u interrupts of index %u, not %u",
				       fresh->irq_counts[i], i, old->irq_counts[i]);
	}
	if (fresh->max_data < old->max_data || fresh->max_fds < old->max_fds)
		return differs(error, "it takes shorter messages");
	return true;
}

/* Moved over the old ones, so that addresses stay what they were. */
static bool move_mappings(VfuClient *client, VfuClient *fresh, GError **error)
{
	for (unsigned i = 0; i < client->n_regions; i++) {
		GArray *old = client->regions[i].mappings;
		GArray *left = fresh->regions[i].mappings;

		while (left && left->len > 0) {
			const VfuMapping *to = &g_array_index(old, VfuMapping, left->len - 1);
			const VfuMapping *from = &g_array_index(left, VfuMapping, left->len - 1);

			if (mremap(from->hva, from->len, to->len, MREMAP_MAYMOVE | MREMAP_FIXED,
				   to->hva) == MAP_FAILED) {
				g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno),
					    "cannot map the device's memory again: %s",
					    g_strerror(errno));
				return false;
			}
			g_array_set_size(left, left->len - 1);
		}
	}
	return true;
}

bool vfu_client_reconnect(VfuClient *client, int fd, GError **error)
{
	g_autoptr(VfuClient) fresh = vfu_client_new(fd, client->conn.timeout_ms, error);

	if (!fresh || !is_same_device(client, fresh, error) || !move_mappings(client, fresh, error))
		return false;
	vfu_client_conn_take(&client->conn, &fresh->conn);
	return true;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Remote endpoint: forwarding, and what of the function is kept on this side. */
#include "machine/vfio_endpoint.h"

#include "link/vfu_client.h"
#include "link/vfu_wire.h"
#include "machine/config_access.h"
#include "machine/pci_msix.h"

#include <errno.h>
#include <gio/gio.h>
#include <pthread.h>
#include <string.h>

#define MAX_CAPS    48 /* what fits into 192 bytes */
#define PATIENCE_MS (3600u * 1000)

/* A part of a BAR that is memory. */
typedef struct Area {
	unsigned bar;
	uint64_t offset, len;
	void *hva;
	bool is_mapped;
	uint32_t slot;
} Area;

/*
 * Locks in order of taking: config_lock (over a write to configuration space, or a reset), access
 * (shared: over a message to the device; alone: while the device returns), the locks in bars and
 * msix, area_lock. The memory link's thread takes none of them.
 */
struct VfioEndpoint {
	KvmVm *vm;
	VfuClient *vfu;
	PciBars *bars;
	PciMsix *msix;
	uint8_t msix_cap;
	uint8_t pcie_cap; /* 0 = none */
	GMutex config_lock;
	pthread_rwlock_t access;
	GMutex area_lock;
	GArray *areas; /* Area */
	bool is_away;  /* under area_lock */
};

/* ---- messages ---- */

/* Reads are not worth waiting for a device that is just coming back. */
static int read_region(VfioEndpoint *ep, unsigned region, uint64_t offset, void *buf, uint32_t len)
{
	int rc = -EIO;

	if (pthread_rwlock_tryrdlock(&ep->access) == 0) {
		rc = vfu_client_read(ep->vfu, region, offset, buf, len);
		pthread_rwlock_unlock(&ep->access);
	}
	if (rc != 0)
		memset(buf, 0xff, len);
	return rc;
}

static int write_region(VfioEndpoint *ep, unsigned region, uint64_t offset, const void *buf,
			uint32_t len, bool posted)
{
	int rc;

	pthread_rwlock_rdlock(&ep->access);
	rc = vfu_client_write(ep->vfu, region, offset, buf, len, posted);
	pthread_rwlock_unlock(&ep->access);
	return rc;
}

/* ---- BARs ---- */

static void read_bar(void *opaque, unsigned bar, uint64_t offset, void *buf, uint32_t len)
{
	VfioEndpoint *ep = opaque;
	uint8_t *bytes = buf;

	while (len > 0) {
		bool is_served;
		uint32_t run = pci_msix_access(ep->msix, bar, offset, bytes, len, false,
					       &is_served);

		if (!is_served)
			read_region(ep, bar, offset, bytes, run);
		offset += run;
		bytes += run;
		len -= run;
	}
}

static void write_bar(void *opaque, unsigned bar, uint64_t offset, const void *buf, uint32_t len)
{
	VfioEndpoint *ep = opaque;
	uint8_t *bytes = (uint8_t *)buf; /* only read */

	while (len > 0) {
		bool is_served;
		uint32_t run = pci_msix_access(ep->msix, bar, offset, bytes, len, true, &is_served);

		/* Posted, like PCI's: a read that follows comes after it. */
		if (!is_served)
			write_region(ep, bar, offset, bytes, run, true);
		offset += run;
		bytes += run;
		len -= run;
	}
}

/* ---- areas that are memory slots; with area_lock held ---- */

static void unmap_area(VfioEndpoint *ep, Area *area)
{
	if (area->is_mapped)
		kvm_vm_unmap(ep->vm, area->slot);
	area->is_mapped = false;
}

/* If KVM will not, accesses come to read_bar() and write_bar(). */
static void map_area(VfioEndpoint *ep, Area *area)
{
	uint64_t gpa = pci_bars_gpa(ep->bars, area->bar);

	unmap_area(ep, area);
	if (gpa == PCI_BAR_NOWHERE || ep->is_away)
		return;
	area->is_mapped = kvm_vm_map(ep->vm, gpa + area->offset, area->len, area->hva,
				     !vfu_client_region_is_writable(ep->vfu, area->bar),
				     &area->slot) == 0;
}

static void bar_moved(void *opaque, unsigned bar, uint64_t gpa)
{
	VfioEndpoint *ep = opaque;

	g_mutex_lock(&ep->area_lock);
	for (guint i = 0; i < ep->areas->len; i++) {
		Area *area = &g_array_index(ep->areas, Area, i);

		if (area->bar == bar)
			map_area(ep, area);
	}
	g_mutex_unlock(&ep->area_lock);
}

static void set_away(VfioEndpoint *ep, bool is_away)
{
	g_mutex_lock(&ep->area_lock);
	ep->is_away = is_away;
	for (guint i = 0; i < ep->areas->len; i++)
		map_area(ep, &g_array_index(ep->areas, Area, i));
	g_mutex_unlock(&ep->area_lock);
}

static const PciBarsOps bars_ops = { .read = read_bar, .write = write_bar, .moved = bar_moved };

/* ---- what the device is ---- */

G_GNUC_PRINTF(2, 3)
static bool refuse(GError **error, const char *format, ...)
{
	g_autofree char *what = NULL;
	va_list args;

	va_start(args, format);
	what = g_strdup_vprintf(format, args);
	va_end(args);
	g_set_error(error, G_IO_ERROR, G_IO_ERROR_INVALID_DATA, "not a usable PCI function: %s",
		    what);
	return false;
}

/* The list is the device's word: bounded, whatever it says. 0 = there is none. */
static uint8_t find_cap(const uint8_t *config, uint8_t id)
{
	uint8_t at = config[PCI_CFG_CAP_PTR] & ~3u;

	for (unsigned i = 0; i < MAX_CAPS && at >= 0x40; i++) {
		if (config[at] == id)
			return at;
		at = config[at + 1] & ~3u;
	}
	return 0;
}

static bool add_areas(VfioEndpoint *ep, unsigned bar)
{
	Area area = { .bar = bar };
	unsigned n = 0;

	while (vfu_client_area(ep->vfu, bar, n, &area.offset, &area.len, &area.hva)) {
		g_array_append_val(ep->areas, area);
		n++;
	}
	return true;
}

static bool add_bars(VfioEndpoint *ep, const uint8_t *config, GError **error)
{
	for (unsigned i = 0; i < PCI_CFG0_N_BARS; i++) {
		uint64_t len = vfu_client_region_len(ep->vfu, i);
		uint32_t flags = le32_load(config + PCI_CFG_BAR(i)) & PCI_BAR_FLAGS;
		bool is_64 = (flags & (PCI_BAR_TYPE | PCI_BAR_IO)) == PCI_BAR_MEM_64;

		if (len == 0)
			continue;
		if (flags & PCI_BAR_IO)
			return refuse(error, "BAR %u is of the I/O kind", i);
		if (!is_64 && (flags & PCI_BAR_TYPE) != 0)
			return refuse(error, "BAR %u is neither of 32 nor of 64 bits", i);
		if (len < 16 || (len & (len - 1)) != 0 || (!is_64 && len > UINT64_C(1) << 31))
			return refuse(error, "BAR %u has %" G_GUINT64_FORMAT " bytes", i, len);
		if (is_64 && (i + 1 == PCI_CFG0_N_BARS || vfu_client_region_len(ep->vfu, i + 1)))
			return refuse(error, "BAR %u is of 64 bits, and %u is no part of it", i,
				      i + 1);
		pci_bars_add(ep->bars, i, len, flags & (PCI_BAR_MEM_64 | PCI_BAR_PREFETCH));
		add_areas(ep, i);
		i += is_64;
	}
	return true;
}

static bool check_place(VfioEndpoint *ep, uint32_t reg, uint64_t len, unsigned *ret_bar,
			uint64_t *ret_offset)
{
	uint64_t bar_len = pci_bars_len(ep->bars, CXL_FIELD_GET(PCI_MSIX_BIR, reg));

	*ret_bar = CXL_FIELD_GET(PCI_MSIX_BIR, reg);
	*ret_offset = reg & PCI_MSIX_OFFSET;
	return len <= bar_len && *ret_offset <= bar_len - len;
}

static bool add_msix(VfioEndpoint *ep, const uint8_t *config, GError **error)
{
	const uint8_t *cap = config + find_cap(config, PCI_CAP_MSIX);
	PciMsixConfig msix = { 0 };

	if (cap == config || cap + PCI_MSIX_CAP_LEN > config + PCI_CONFIG_CONVENTIONAL_LEN)
		return refuse(error, "it has no MSI-X capability");
	msix.n_vectors = (le16_load(cap + PCI_MSIX_CTRL) & PCI_MSIX_CTRL_SIZE) + 1u;
	if (msix.n_vectors > vfu_client_n_irqs(ep->vfu, VFU_IRQ_MSIX))
		return refuse(error, "its table has %u MSI-X vectors, of which it offers %u",
			      msix.n_vectors, vfu_client_n_irqs(ep->vfu, VFU_IRQ_MSIX));
	if (!check_place(ep, le32_load(cap + PCI_MSIX_TABLE_REG),
			 PCI_MSIX_TABLE_LEN(msix.n_vectors), &msix.table_bar, &msix.table_offset) ||
	    !check_place(ep, le32_load(cap + PCI_MSIX_PBA_REG), PCI_MSIX_PBA_LEN(msix.n_vectors),
			 &msix.pba_bar, &msix.pba_offset))
		return refuse(error, "its MSI-X table of %u vectors is outside its BAR",
			      msix.n_vectors);
	ep->msix_cap = (uint8_t)(cap - config);
	ep->msix = pci_msix_new(ep->vm, &msix, error);
	return ep->msix;
}

static bool examine(VfioEndpoint *ep, GError **error)
{
	uint8_t config[PCI_CONFIG_CONVENTIONAL_LEN];

	if (vfu_client_read(ep->vfu, VFU_REGION_CONFIG, 0, config, sizeof(config)) != 0)
		return refuse(error, "its configuration space cannot be read");
	if (le16_load(config) == UINT16_MAX)
		return refuse(error, "nobody is there");
	if ((config[PCI_CFG_HEADER_TYPE] & PCI_HDR_TYPE) != PCI_HDR_TYPE_0)
		return refuse(error, "header type %u is not an endpoint's",
			      config[PCI_CFG_HEADER_TYPE] & PCI_HDR_TYPE);
	ep->pcie_cap = find_cap(config, PCI_CAP_PCIE);
	return add_bars(ep, config, error) && add_msix(ep, config, error);
}

/*
 * A device whose pool was restarted since an earlier boot takes us for the machine before the
 * reboot, and goes on where that was.
 */
static bool reset_device(VfioEndpoint *ep, GError **error)
{
	int rc = vfu_client_reset(ep->vfu);

	return rc == 0 || refuse(error, "it cannot be reset: %s", g_strerror(-rc));
}

VfioEndpoint *vfio_endpoint_new(KvmVm *vm, MachineBus *bus, const PciWindows *windows, int fd,
				unsigned timeout_ms, GError **error)
{
	g_autoptr(VfioEndpoint) ep = g_new0(VfioEndpoint, 1);
	pthread_rwlockattr_t attr;

	ep->vm = vm;
	g_mutex_init(&ep->config_lock);
	g_mutex_init(&ep->area_lock);
	/* Accesses that never end must not keep the device from returning. */
	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&ep->access, &attr);
	pthread_rwlockattr_destroy(&attr);
	ep->areas = g_array_new(FALSE, FALSE, sizeof(Area));
	ep->bars = pci_bars_new(bus, &bars_ops, ep);
	ep->vfu = vfu_client_new(fd, timeout_ms, error);
	if (!ep->vfu || !examine(ep, error) || !reset_device(ep, error))
		return NULL;
	vfu_client_set_patience(ep->vfu, PATIENCE_MS);
	pci_bars_set_windows(ep->bars, windows);
	return g_steal_pointer(&ep);
}

void vfio_endpoint_free(VfioEndpoint *ep)
{
	if (!ep)
		return;
	set_away(ep, true);
	pci_bars_free(ep->bars);
	/* Before the eventfds: the device has them. */
	vfu_client_free(ep->vfu);
	pci_msix_free(ep->msix);
	g_array_unref(ep->areas);
	pthread_rwlock_destroy(&ep->access);
	g_mutex_clear(&ep->area_lock);
	g_mutex_clear(&ep->config_lock);
	g_free(ep);
}

/* ---- configuration space ---- */

static int config_read(void *opaque, uint32_t offset, void *buf, uint32_t len)
{
	VfioEndpoint *ep = opaque;
	int rc = read_region(ep, VFU_REGION_CONFIG, offset, buf, len);

	if (rc != 0)
		return rc;
	pci_bars_config_read(ep->bars, offset, buf, len);
	config_overlay(offset, buf, len, PCI_CFG0_ROM, 4, 0);
	config_overlay(offset, buf, len, PCI_CFG_INT_PIN, 1, 0);
	config_overlay(offset, buf, len, ep->msix_cap + PCI_MSIX_CTRL, 2, pci_msix_ctrl(ep->msix));
	return 0;
}

static void bind_vectors(VfioEndpoint *ep)
{
	unsigned n = pci_msix_n_vectors(ep->msix);
	g_autofree int *fds = g_new(int, n);

	for (unsigned i = 0; i < n; i++)
		fds[i] = pci_msix_peek_fd(ep->msix, i);
	pthread_rwlock_rdlock(&ep->access);
	vfu_client_set_irqs(ep->vfu, VFU_IRQ_MSIX, 0, fds, n);
	pthread_rwlock_unlock(&ep->access);
}

static void unbind_vectors(VfioEndpoint *ep)
{
	pthread_rwlock_rdlock(&ep->access);
	vfu_client_disable_irqs(ep->vfu, VFU_IRQ_MSIX);
	pthread_rwlock_unlock(&ep->access);
}

static void set_msix_ctrl(VfioEndpoint *ep, uint16_t ctrl)
{
	bool was_enabled = pci_msix_is_enabled(ep->msix);
	bool is_enabled = ctrl & PCI_MSIX_CTRL_ENABLE;

	pci_msix_set_ctrl(ep->msix, ctrl);
	if (is_enabled && !was_enabled)
		bind_vectors(ep);
	else if (was_enabled && !is_enabled)
		unbind_vectors(ep);
}

/* As a function level reset leaves it. */
static void reset_own(VfioEndpoint *ep)
{
	bool was_enabled = pci_msix_is_enabled(ep->msix);

	pci_bars_reset(ep->bars);
	pci_msix_reset(ep->msix);
	if (was_enabled)
		unbind_vectors(ep);
}

static int write_config_locked(VfioEndpoint *ep, uint32_t offset, const uint8_t *buf, uint32_t len)
{
	uint32_t ctrl_at = ep->msix_cap + PCI_MSIX_CTRL + 1; /* the byte that can be written */
	uint32_t flr_at = ep->pcie_cap + PCI_PCIE_DEVCTL + 1;
	int rc = 0;

	/* What only asks for sizes or moves BARs is nothing to the device. */
	if (offset < PCI_CFG_BAR(0) || offset + len > PCI_CFG_BAR(PCI_CFG0_N_BARS))
		rc = write_region(ep, VFU_REGION_CONFIG, offset, buf, len, false);
	pci_bars_config_write(ep->bars, offset, buf, len);
	if (config_touches(offset, len, PCI_CFG_COMMAND, 1))
		pci_bars_set_decoding(ep->bars, buf[PCI_CFG_COMMAND - offset] & PCI_CMD_MEM);
	if (config_touches(offset, len, ctrl_at, 1))
		set_msix_ctrl(ep, (uint16_t)(buf[ctrl_at - offset] << 8));
	if (ep->pcie_cap && config_touches(offset, len, flr_at, 1) &&
	    (buf[flr_at - offset] & (PCI_PCIE_DEVCTL_FLR >> 8)))
		reset_own(ep);
	return rc;
}

static int config_write(void *opaque, uint32_t offset, const void *buf, uint32_t len)
{
	VfioEndpoint *ep = opaque;
	int rc;

	g_mutex_lock(&ep->config_lock);
	rc = write_config_locked(ep, offset, buf, len);
	g_mutex_unlock(&ep->config_lock);
	return rc;
}

static int function_bar_read(void *opaque, unsigned bar, uint64_t offset, void *buf, uint32_t len)
{
	memset(buf, 0xff, len);
	read_bar(opaque, bar, offset, buf, len);
	return 0;
}

static int function_bar_write(void *opaque, unsigned bar, uint64_t offset, const void *buf,
			      uint32_t len)
{
	write_bar(opaque, bar, offset, buf, len);
	return 0;
}

static void function_reset(void *opaque)
{
	vfio_endpoint_reset(opaque);
}

const FabricFunction vfio_endpoint_function = {
	.config_read = config_read,
	.config_write = config_write,
	.bar_read = function_bar_read,
	.bar_write = function_bar_write,
	.reset = function_reset,
};

void vfio_endpoint_reset(VfioEndpoint *ep)
{
	g_mutex_lock(&ep->config_lock);
	reset_own(ep);
	pthread_rwlock_rdlock(&ep->access);
	vfu_client_reset(ep->vfu);
	pthread_rwlock_unlock(&ep->access);
	g_mutex_unlock(&ep->config_lock);
}

/* ---- going away and coming back ---- */

bool vfio_endpoint_is_connected(VfioEndpoint *ep)
{
	return vfu_client_is_connected(ep->vfu);
}

void vfio_endpoint_abort(VfioEndpoint *ep)
{
	vfu_client_abort(ep->vfu);
}

void vfio_endpoint_leave(VfioEndpoint *ep)
{
	set_away(ep, true);
	vfu_client_abort(ep->vfu);
	vfu_client_disconnect(ep->vfu);
	/* Whoever is still in a mapped area leaves it; after this nobody goes in. */
	pthread_rwlock_wrlock(&ep->access);
	pthread_rwlock_unlock(&ep->access);
}

static bool replay(VfioEndpoint *ep, GError **error)
{
	int rc = vfu_client_replay(ep->vfu);

	if (rc == 0)
		return true;
	g_set_error(error, G_IO_ERROR, g_io_error_from_errno(-rc),
		    "the device went away again while its registers were written: %s",
		    g_strerror(-rc));
	return false;
}

static void raise_all(VfioEndpoint *ep)
{
	for (unsigned i = 0; i < pci_msix_n_vectors(ep->msix); i++)
		pci_msix_raise(ep->msix, i);
}

bool vfio_endpoint_return(VfioEndpoint *ep, int fd, bool (*open_link)(void *, GError **),
			  void *opaque, GError **error)
{
	bool is_back;

	g_mutex_lock(&ep->config_lock);
	pthread_rwlock_wrlock(&ep->access);
	is_back = vfu_client_reconnect(ep->vfu, fd, error) && open_link(opaque, error) &&
		  replay(ep, error);
	if (!is_back)
		vfu_client_disconnect(ep->vfu);
	pthread_rwlock_unlock(&ep->access);
	g_mutex_unlock(&ep->config_lock);
	if (!is_back)
		return false;
	set_away(ep, false);
	raise_all(ep);
	return true;
}

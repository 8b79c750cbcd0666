/* SPDX-License-Identifier: BSD-3-Clause */
/* Guest memory: regions as KVM slots, told to those who do DMA before and after. */
#include "machine/guest_memory.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>

/* Slots, mappings and descriptors that are for other things than regions. */
#define SPARE_SLOTS 256u
#define SPARE_MAPS  8192u
#define SPARE_FILES 1024u

#define MAX_MAP_COUNT_PATH    "/proc/sys/vm/max_map_count"
#define MAX_MAP_COUNT_DEFAULT 65530u

typedef struct Region {
	GuestRegion config;
	uint32_t slot;
	bool is_ram;
	bool is_told; /* to the listeners */
} Region;

struct GuestListener {
	GuestListenerOps ops;
	void *opaque;
	uint32_t max_regions;
};

struct GuestMemory {
	KvmVm *vm;
	bool with_dma;
	GuestPauser pauser;
	void *pauser_opaque;
	GMutex order;            /* held over a change of the regions, and so over listener calls */
	GPtrArray *listeners;    /* under ORDER */
	pthread_rwlock_t lookup; /* held for a change of REGIONS alone; taken after ORDER */
	GTree *regions;          /* Region, by address; written under both locks */
	uint32_t n_ram;
	uint32_t limit; /* of regions that can be added: slots, mappings, descriptors */
};

static gint compare_regions(gconstpointer a, gconstpointer b, gpointer data)
{
	const Region *x = a, *y = b;

	return (x->config.gpa > y->config.gpa) - (x->config.gpa < y->config.gpa);
}

/* ---- limits ---- */

static uint64_t max_map_count(void)
{
	FILE *file = fopen(MAX_MAP_COUNT_PATH, "re");
	unsigned long long value = MAX_MAP_COUNT_DEFAULT;

	if (file) {
		if (fscanf(file, "%llu", &value) != 1)
			value = MAX_MAP_COUNT_DEFAULT;
		fclose(file);
	}
	return value;
}

static uint64_t max_files(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 1024;
}

static uint64_t without(uint64_t all, uint64_t spare)
{
	/* A small limit leaves half of it. */
	return all > 2 * spare ? all - spare : all / 2;
}

static uint64_t max_slots(KvmVm *vm)
{
	return without(kvm_vm_max_maps(vm), SPARE_SLOTS);
}

/* Of regions, if there are so many mappings for them. */
static uint32_t find_limit(KvmVm *vm, uint64_t n_maps)
{
	/* Taking a piece out of the middle of a mapping makes two of it. */
	uint64_t limit = MIN(max_slots(vm), n_maps / 2);

	return (uint32_t)MIN(limit, without(max_files(), SPARE_FILES));
}

/*
 * Three fifths of what can be had is the least that takes 512 MiB by 16 KiB at the default limit:
 * 32,768 of 65,530. What slots cannot use is no loss to other regions.
 */
uint64_t guest_memory_set_aside(GuestMemory *memory)
{
	uint64_t all = without(max_map_count(), SPARE_MAPS);
	uint64_t aside = all / 5 * 3, usable = 2 * max_slots(memory->vm);

	if (all > usable)
		aside = MAX(aside, all - usable);
	memory->limit = find_limit(memory->vm, all - aside);
	return aside;
}

uint64_t guest_memory_map_count_for(uint64_t n)
{
	return n / 3 * 5 + 5 + SPARE_MAPS;
}

/* ---- life ---- */

GuestMemory *guest_memory_new(KvmVm *vm, bool with_dma)
{
	GuestMemory *memory = g_new0(GuestMemory, 1);

	memory->vm = vm;
	memory->with_dma = with_dma;
	memory->limit = find_limit(vm, without(max_map_count(), SPARE_MAPS));
	g_mutex_init(&memory->order);
	pthread_rwlock_init(&memory->lookup, NULL);
	memory->listeners = g_ptr_array_new_with_free_func(g_free);
	memory->regions = g_tree_new_full(compare_regions, NULL, g_free, NULL);
	return memory;
}

void guest_memory_free(GuestMemory *memory)
{
	if (!memory)
		return;
	for (GTreeNode *node = g_tree_node_first(memory->regions); node;
	     node = g_tree_node_next(node))
		kvm_vm_unmap(memory->vm, ((Region *)g_tree_node_key(node))->slot);
	g_tree_unref(memory->regions);
	g_ptr_array_unref(memory->listeners);
	pthread_rwlock_destroy(&memory->lookup);
	g_mutex_clear(&memory->order);
	g_free(memory);
}

void guest_memory_set_pauser(GuestMemory *memory, const GuestPauser *pauser, void *opaque)
{
	g_mutex_lock(&memory->order);
	memory->pauser = pauser ? *pauser : (GuestPauser){ 0 };
	memory->pauser_opaque = opaque;
	g_mutex_unlock(&memory->order);
}

/* ---- listeners ---- */

/* The first N that heard of it. */
static void tell_remove(GuestMemory *memory, const Region *region, guint n)
{
	while (region->is_told && n-- > 0) {
		GuestListener *listener = memory->listeners->pdata[n];

		listener->ops.remove(listener->opaque, &region->config);
	}
}

/* All of them; how many before one failed and its -errno. */
static int tell_add(GuestMemory *memory, const Region *region, guint *ret_n)
{
	for (guint i = 0; i < memory->listeners->len; i++) {
		GuestListener *listener = memory->listeners->pdata[i];
		int rc = listener->ops.add(listener->opaque, &region->config);

		*ret_n = i;
		if (rc != 0)
			return rc;
	}
	*ret_n = memory->listeners->len;
	return 0;
}

GuestListener *guest_memory_listen(GuestMemory *memory, const GuestListenerOps *ops, void *opaque,
				   uint32_t max_regions, int *ret_error)
{
	GuestListener *listener = g_new(GuestListener, 1);
	GTreeNode *node;
	int rc = 0;

	*listener = (GuestListener){ *ops, opaque, max_regions };
	g_mutex_lock(&memory->order);
	for (node = g_tree_node_first(memory->regions); node; node = g_tree_node_next(node)) {
		const Region *region = g_tree_node_key(node);

		if (!region->is_told)
			continue;
		rc = ops->add(opaque, &region->config);
		if (rc != 0)
			break;
	}
	if (rc == 0)
		g_ptr_array_add(memory->listeners, listener);
	while (rc != 0 && (node = g_tree_node_previous(node))) {
		const Region *region = g_tree_node_key(node);

		if (region->is_told)
			ops->remove(opaque, &region->config);
	}
	g_mutex_unlock(&memory->order);
	if (rc == 0)
		return listener;
	g_free(listener);
	*ret_error = rc;
	return NULL;
}

void guest_memory_unlisten(GuestMemory *memory, GuestListener *listener)
{
	g_mutex_lock(&memory->order);
	g_ptr_array_remove(memory->listeners, listener);
	g_mutex_unlock(&memory->order);
}

/* ---- regions; all below but the last part with ORDER held ---- */

/* The last region that begins at GPA or before. */
static Region *at_or_below(GuestMemory *memory, uint64_t gpa, GTreeNode **ret_above)
{
	Region key = { .config.gpa = gpa };
	GTreeNode *above = g_tree_upper_bound(memory->regions, &key);
	GTreeNode *node = above ? g_tree_node_previous(above) : g_tree_node_last(memory->regions);

	*ret_above = above;
	return node ? g_tree_node_key(node) : NULL;
}

static bool is_taken(GuestMemory *memory, const GuestRegion *region)
{
	GTreeNode *above;
	const Region *below = at_or_below(memory, region->gpa, &above);
	const Region *next = above ? g_tree_node_key(above) : NULL;

	return (below && region->gpa - below->config.gpa < below->config.len) ||
	       (next && next->config.gpa - region->gpa < region->len);
}

static void insert(GuestMemory *memory, Region *region)
{
	pthread_rwlock_wrlock(&memory->lookup);
	g_tree_insert(memory->regions, region, region);
	pthread_rwlock_unlock(&memory->lookup);
}

static void take_out(GuestMemory *memory, Region *region)
{
	pthread_rwlock_wrlock(&memory->lookup);
	g_tree_steal(memory->regions, region);
	pthread_rwlock_unlock(&memory->lookup);
}

static int map_slot(GuestMemory *memory, Region *region)
{
	const GuestRegion *config = &region->config;

	return kvm_vm_map(memory->vm, config->gpa, config->len, config->hva, !config->writable,
			  &region->slot);
}

/* In the tree before listeners hear of it, as these may ask what there is; its slot comes last. */
static int add_locked(GuestMemory *memory, const GuestRegion *config, bool is_ram)
{
	bool is_told = is_ram || (memory->with_dma && config->fd >= 0);
	guint n_told = 0;
	Region *region;
	int rc;

	if (config->len == 0 || config->gpa + (config->len - 1) < config->gpa)
		return -EINVAL;
	if (is_taken(memory, config))
		return -EEXIST;
	region = g_new(Region, 1);
	*region = (Region){ .config = *config, .is_ram = is_ram, .is_told = is_told };
	insert(memory, region);
	rc = is_told ? tell_add(memory, region, &n_told) : 0;
	if (rc == 0)
		rc = map_slot(memory, region);
	if (rc == 0)
		return 0;
	take_out(memory, region);
	tell_remove(memory, region, n_told);
	g_free(region);
	return rc;
}

int guest_memory_add_ram(GuestMemory *memory, const GuestRegion *region)
{
	int rc;

	g_mutex_lock(&memory->order);
	rc = add_locked(memory, region, true);
	memory->n_ram += rc == 0;
	g_mutex_unlock(&memory->order);
	return rc;
}

int guest_memory_add(GuestMemory *memory, const GuestRegion *region)
{
	int rc;

	g_mutex_lock(&memory->order);
	rc = add_locked(memory, region, false);
	g_mutex_unlock(&memory->order);
	return rc;
}

static Region *find_exact(GuestMemory *memory, uint64_t gpa, uint64_t len)
{
	GTreeNode *above;
	Region *region = at_or_below(memory, gpa, &above);

	return region && region->config.gpa == gpa && region->config.len == len && !region->is_ram
		       ? region
		       : NULL;
}

/* A vCPU that still reached it would reach the next tenant's memory: no way to go on. */
static void unmap_slot(GuestMemory *memory, const Region *region)
{
	int rc = kvm_vm_unmap(memory->vm, region->slot);

	if (rc != 0)
		g_error("KVM does not take away %" G_GUINT64_FORMAT
			" bytes of guest memory at %#" G_GINT64_MODIFIER "x: %s",
			region->config.len, region->config.gpa, g_strerror(-rc));
}

static void remove_locked(GuestMemory *memory, Region *region)
{
	take_out(memory, region);
	tell_remove(memory, region, memory->listeners->len);
	unmap_slot(memory, region);
	g_free(region);
}

void guest_memory_remove(GuestMemory *memory, uint64_t gpa, uint64_t len)
{
	Region *region;

	g_mutex_lock(&memory->order);
	region = find_exact(memory, gpa, len);
	if (region)
		remove_locked(memory, region);
	g_mutex_unlock(&memory->order);
}

/* ---- taking a piece out ---- */

/* LEN bytes of REGION from SKIP on */
static GuestRegion sub_region(const GuestRegion *region, uint64_t skip, uint64_t len)
{
	GuestRegion sub = *region;

	sub.gpa += skip;
	sub.hva += skip;
	sub.offset += skip;
	sub.len = len;
	return sub;
}

static void cut_locked(GuestMemory *memory, Region *region, uint64_t gpa, uint64_t len)
{
	GuestRegion whole = region->config;
	uint64_t from = gpa - whole.gpa, to = from + len;
	GuestRegion left = sub_region(&whole, 0, from);
	GuestRegion right = sub_region(&whole, to, whole.len - to);

	/*
	 * A slot cannot shrink: it goes, and what is left of it comes as new ones. A vCPU that
	 * looked between would have to have its instruction emulated, which KVM can do with few.
	 */
	if (memory->pauser.pause)
		memory->pauser.pause(memory->pauser_opaque);
	remove_locked(memory, region);
	if (left.len > 0)
		add_locked(memory, &left, false);
	if (right.len > 0)
		add_locked(memory, &right, false);
	if (memory->pauser.resume)
		memory->pauser.resume(memory->pauser_opaque);
}

void guest_memory_cut(GuestMemory *memory, uint64_t region_gpa, uint64_t region_len, uint64_t gpa,
		      uint64_t len)
{
	Region *region;

	g_mutex_lock(&memory->order);
	region = find_exact(memory, region_gpa, region_len);
	if (region && gpa >= region_gpa && gpa - region_gpa <= region_len &&
	    len <= region_len - (gpa - region_gpa))
		cut_locked(memory, region, gpa, len);
	g_mutex_unlock(&memory->order);
}

/* ---- looking ---- */

bool guest_memory_find(GuestMemory *memory, uint64_t gpa, uint64_t len, GuestRegion *ret)
{
	const Region *region;
	GTreeNode *above;
	bool found;

	pthread_rwlock_rdlock(&memory->lookup);
	region = at_or_below(memory, gpa, &above);
	found = region && gpa - region->config.gpa < region->config.len &&
		len <= region->config.len - (gpa - region->config.gpa);
	if (found)
		*ret = region->config;
	pthread_rwlock_unlock(&memory->lookup);
	return found;
}

uint32_t guest_memory_max_regions(GuestMemory *memory)
{
	uint32_t max = memory->limit;

	g_mutex_lock(&memory->order);
	for (guint i = 0; i < memory->listeners->len && memory->with_dma; i++) {
		const GuestListener *listener = memory->listeners->pdata[i];

		if (listener->max_regions == 0)
			continue;
		if (listener->max_regions <= memory->n_ram)
			max = 0;
		else
			max = MIN(max, listener->max_regions - memory->n_ram);
	}
	g_mutex_unlock(&memory->order);
	return max;
}

uint32_t guest_memory_n_regions(GuestMemory *memory)
{
	uint32_t n;

	pthread_rwlock_rdlock(&memory->lookup);
	n = (uint32_t)g_tree_nnodes(memory->regions) - memory->n_ram;
	pthread_rwlock_unlock(&memory->lookup);
	return n;
}

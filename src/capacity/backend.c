/* SPDX-License-Identifier: BSD-3-Clause */
/* Backend: a named host memory object of the pool; what it is, not who has it. */
#include "capacity/capacity_priv.h"

#include <string.h>

#define NAME_LEN_MAX 200 /* leaves room in a memfd's name and in messages */

/* Unlike a counter, never the same again after a restart either. */
uint64_t backend_new_incarnation(void)
{
	uint64_t incarnation = 0;
	Uuid random;

	while (incarnation == 0) {
		uuid_random(&random);
		memcpy(&incarnation, random.b, sizeof(incarnation));
	}
	return incarnation;
}

static bool check_config(const BackendConfig *config, GError **error)
{
	if (!config->name || !config->name[0] || strlen(config->name) > NAME_LEN_MAX ||
	    strchr(config->name, '/')) {
		g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_INVALID,
			    "backend name \"%s\": must be 1 to %d characters without '/'",
			    config->name ? config->name : "", NAME_LEN_MAX);
		return false;
	}
	if (config->read_only && config->on_release == ON_RELEASE_WIPE) {
		g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_INVALID,
			    "backend %s: read-only memory cannot be wiped on release; use keep",
			    config->name);
		return false;
	}
	if (config->read_only && config->type == BACKEND_DEVDAX) {
		g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_INVALID,
			    "backend %s: a devdax cannot be handed out read-only", config->name);
		return false;
	}
	return true;
}

static Backend *backend_alloc(const char *name)
{
	Backend *backend = g_new0(Backend, 1);

	backend->name = g_strdup(name);
	return backend;
}

static void backend_has_no_users(Backend *backend)
{
	backend->bytes.total = backend->bytes.free = backend->size;
	if (backend->shareable)
		backend->shared = byte_states_new(backend->size);
}

Backend *backend_new(const BackendConfig *config, GError **error)
{
	MemFileConfig file_config = {
		.name = config->name,
		.type = config->type,
		.len = config->size,
		.page_size = config->page_size,
		.path = config->path,
		.read_only = config->read_only,
	};
	g_autoptr(MemFile) file = NULL;
	Backend *backend;
	bool ram;
	int rc;

	if (!check_config(config, error))
		return NULL;
	file = mem_file_new(&file_config, error);
	if (!file) {
		g_prefix_error(error, "backend %s: ", config->name);
		return NULL;
	}
	rc = config->prealloc ? mem_file_populate(file) : 0;
	if (rc < 0) {
		g_set_error(error, CAPACITY_ERROR, CAPACITY_ERROR_FAILED,
			    "backend %s: preallocating %" G_GUINT64_FORMAT " bytes: %s",
			    config->name, mem_file_len(file), g_strerror(-rc));
		return NULL;
	}
	backend = backend_alloc(config->name);
	ram = config->type == BACKEND_MEMFD || config->type == BACKEND_HUGETLB;
	backend->type = config->type;
	backend->size = mem_file_len(file);
	backend->page_size = config->page_size;
	backend->path = g_strdup(config->path);
	backend->tag = config->tag;
	backend->share = config->share;
	backend->shareable = config->shareable;
	backend->read_only = config->read_only;
	backend->prealloc = config->prealloc;
	backend->wipes = config->on_release == ON_RELEASE_WIPE ||
			 (config->on_release == ON_RELEASE_DEFAULT && ram && !config->read_only);
	backend->file = g_steal_pointer(&file);
	backend->incarnation = backend_new_incarnation();
	backend_has_no_users(backend);
	return backend;
}

Backend *memory_restore(const RowBackend *row, const RowFile *file_row, MemFile *file)
{
	Backend *backend = backend_alloc(row->name);

	backend->type = row->type;
	backend->size = row->size;
	backend->page_size = row->page_size;
	backend->path = g_strdup(row->path);
	backend->tag = row->tag;
	backend->share = row->share;
	backend->shareable = row->shareable;
	backend->read_only = row->read_only;
	backend->prealloc = row->prealloc;
	backend->wipes = row->wipes;
	backend->file = file;
	backend->incarnation = file_row->incarnation;
	backend->dirty = file_row->dirty;
	backend_has_no_users(backend);
	return backend;
}

/* The memory of an untagged offer. Its file comes when the first mapping needs it. */
Backend *memory_new_untagged(Capacity *cap, uint64_t size, uint64_t offer)
{
	Backend *mem = backend_alloc(NULL);

	mem->owner = offer;

	mem->type = BACKEND_MEMFD;
	mem->size = size;
	mem->wipes = true;
	mem->untagged = true;
	mem->bytes.total = mem->bytes.free = size;
	memory_join(cap, mem);
	return mem;
}

bool memory_ensure_file(Backend *mem, GError **error)
{
	MemFileConfig config = {
		.name = UNTAGGED_FILE_NAME,
		.type = BACKEND_MEMFD,
		.len = mem->size,
	};

	if (mem->file)
		return true;
	mem->file = mem_file_new(&config, error);
	if (!mem->file)
		return false;
	mem->incarnation = backend_new_incarnation();
	return true;
}

Backend *memory_restore_untagged(Capacity *cap, const RowOffer *offer, const RowFile *file_row)
{
	Backend *mem = memory_new_untagged(cap, offer->mem_len, offer->id);

	if (file_row && file_row->file) {
		mem->file = mem_file_ref(file_row->file);
		mem->incarnation = file_row->incarnation;
		mem->dirty = file_row->dirty;
	}
	return mem;
}

static void backend_destroy(Backend *backend)
{
	g_assert(!backend->cap && backend->n_jobs == 0 && backend->offers.length == 0);
	g_clear_pointer(&backend->file, mem_file_unref);
	byte_states_free(backend->shared);
	g_clear_pointer(&backend->holders, g_array_unref);
	g_clear_pointer(&backend->sanitize, g_hash_table_unref);
	g_free(backend->path);
	g_free(backend->name);
	g_free(backend);
}

void memory_discard(Backend *mem)
{
	memory_leave(mem);
	mem->n_jobs = 0;
	g_queue_init(&mem->offers);
	if (!mem->is_static)
		backend_destroy(mem);
}

void backend_free(Backend *backend)
{
	if (backend)
		backend_destroy(backend);
}

void backend_free_untagged(Backend *mem)
{
	if (mem->incarnation != 0)
		rows_delete_file(mem->incarnation, journal_changes(mem->cap));
	memory_leave(mem);
	backend_destroy(mem);
}

const char *backend_name(const Backend *backend)
{
	return backend->name;
}

const Uuid *backend_tag(const Backend *backend)
{
	return &backend->tag;
}

uint64_t backend_size(const Backend *backend)
{
	return backend->size;
}

BackendType backend_type(const Backend *backend)
{
	return backend->type;
}

bool backend_is_shareable(const Backend *backend)
{
	return backend->shareable;
}

bool backend_is_read_only(const Backend *backend)
{
	return backend->read_only;
}

bool backend_wipes_on_release(const Backend *backend)
{
	return backend->wipes;
}

uint64_t backend_incarnation(const Backend *backend)
{
	return backend->incarnation;
}

bool backend_is_clean(const Backend *backend)
{
	return !backend->dirty;
}

void backend_counters(const Backend *backend, CapacityCounters *ret)
{
	*ret = backend->bytes;
}

MemFile *backend_peek_file(const Backend *backend)
{
	return backend->file;
}

void backend_renew(Backend *backend, MemFile *fresh)
{
	RowRecord *record = journal_changes(backend->cap);

	rows_delete_file(backend->incarnation, record);
	if (fresh) {
		g_clear_pointer(&backend->file, mem_file_unref);
		backend->file = fresh;
		/* Nobody has a descriptor of the new one. */
		g_clear_pointer(&backend->holders, g_array_unref);
	}
	for (guint i = array_len(backend->holders); i-- > 0;) {
		Holder *holder = &g_array_index(backend->holders, Holder, i);

		holder->wiped = true;
		if (holder->gone)
			g_array_remove_index_fast(backend->holders, i);
	}
	backend->incarnation = backend_new_incarnation();
	backend->dirty = false;
	backend->past_unknown = false;
	if (backend->untagged)
		return;
	rows_add_file(backend, true, false, record);
	rows_add_holders(backend, record);
	rows_add_backend(backend, record);
}

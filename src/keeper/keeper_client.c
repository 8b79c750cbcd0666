/* SPDX-License-Identifier: BSD-3-Clause */
/* What a daemon asks of its keeper, and what it does when the keeper has gone. */
#include "keeper/keeper_client.h"

#include "keeper/keeper_io.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_TIMEOUT_MS 5000
#define WINDOW             16 /* requests under way: few enough that their answers always fit */
#define REPLACE_MS         20 /* between looks at a keeper that ends or begins */

G_STATIC_ASSERT(KEEPER_CLIENT_LABEL_SIZE == KEEPER_LABEL_LEN + 1);

struct KeeperClient {
	KeeperIo io;
	char *program;
	KeeperRole role;
	uint64_t instance;  /* of the keeper that holds everything in stored */
	GHashTable *stored; /* &incarnation -> KeeperItem */
};

static void item_free(void *data)
{
	KeeperItem *item = data;

	if (item->owner_unref != NULL)
		item->owner_unref(item->owner);
	g_free(item);
}

KeeperClient *keeper_client_new(const char *socket_path, const char *program, unsigned timeout_ms)
{
	KeeperClient *client = g_new0(KeeperClient, 1);

	client->io = (KeeperIo){
		.path = g_strdup(socket_path),
		.timeout_ms = timeout_ms > 0 ? timeout_ms : DEFAULT_TIMEOUT_MS,
		.sock = -1,
	};
	client->program = g_strdup(program);
	client->role = KEEPER_OWNER;
	client->stored = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, item_free);
	return client;
}

void keeper_client_free(KeeperClient *client)
{
	if (client == NULL)
		return;
	keeper_io_close(&client->io);
	g_hash_table_unref(client->stored);
	g_free(client->io.path);
	g_free(client->program);
	g_free(client);
}

uint64_t keeper_client_instance(const KeeperClient *client)
{
	return client->instance;
}

int keeper_client_dup_socket(const KeeperClient *client)
{
	return client->io.sock < 0 ? -1 : fcntl(client->io.sock, F_DUPFD_CLOEXEC, 0);
}

static void set_rc_error(KeeperClient *client, const KeeperStatus *status, uint64_t incarnation,
			 GError **error)
{
	uint32_t n_max = le32_get(status->n_max);
	KeeperRc rc = (KeeperRc)le32_get(status->rc);
	KeeperClientError code = KEEPER_CLIENT_ERROR_INVALID;
	g_autofree char *text = NULL;

	switch (rc) {
	case KEEPER_FULL:
		code = KEEPER_CLIENT_ERROR_FULL;
		text = g_strdup_printf("it holds %u files, and its limit of open files allows %u: "
				       "raise LimitNOFILE= (ulimit -n) and start it anew",
				       le32_get(status->n_held), n_max);
		break;
	case KEEPER_EXISTS:
		code = KEEPER_CLIENT_ERROR_EXISTS;
		text = g_strdup("another file is held under this incarnation");
		break;
	case KEEPER_BAD_FILE:
		text = g_strdup("only regular files (memfd, hugetlb) can be held");
		break;
	case KEEPER_BAD_FILE_LEN:
		text = g_strdup("the file is not as long as said");
		break;
	default:
		code = KEEPER_CLIENT_ERROR_FAILED;
		text = g_strdup_printf("refused (%u)", (unsigned)rc);
	}
	g_set_error(error, KEEPER_CLIENT_ERROR, (gint)code,
		    "keeper %s: incarnation %" PRIu64 ": %s", client->io.path, incarnation, text);
}

/* A request on many things, cut into messages. */
typedef struct Batches {
	KeeperType type;
	size_t n, max_n; /* in all, in one message */
	/* Sends N of them from FIRST on; returns the id, 0 on failure. */
	uint32_t (*send)(KeeperClient *client, const struct Batches *batches, size_t first,
			 size_t n, GError **error);
	const KeeperItem *items;
	const uint64_t *keys;
} Batches;

static uint32_t send_items(KeeperClient *client, const Batches *batches, size_t first, size_t n,
			   GError **error)
{
	KeeperWireItem wire[KEEPER_MAX_FDS] = { 0 };
	int fds[KEEPER_MAX_FDS];

	for (size_t i = 0; i < n; i++) {
		const KeeperItem *item = &batches->items[first + i];

		wire[i].incarnation = le64_put(item->incarnation);
		wire[i].len = le64_put(item->len);
		memcpy(wire[i].label, item->label, strnlen(item->label, KEEPER_LABEL_LEN));
		fds[i] = item->fd;
	}
	return keeper_io_send(&client->io, batches->type, (uint32_t)n, wire, n * sizeof(wire[0]),
			      fds, error);
}

static uint32_t send_keys(KeeperClient *client, const Batches *batches, size_t first, size_t n,
			  GError **error)
{
	KeeperKey wire[KEEPER_MAX_KEYS];

	for (size_t i = 0; i < n; i++)
		wire[i].incarnation = le64_put(batches->keys[first + i]);
	return keeper_io_send(&client->io, batches->type, (uint32_t)n, wire, n * sizeof(wire[0]),
			      NULL, error);
}

static uint64_t key_at(const Batches *batches, size_t i)
{
	i = MIN(i, batches->n - 1);
	return batches->items != NULL ? batches->items[i].incarnation : batches->keys[i];
}

/* The answer to the oldest request under way. */
static bool recv_status(KeeperClient *client, uint32_t id, KeeperPacket *packet, GError **error)
{
	if (!keeper_io_recv(&client->io, packet, error))
		return false;
	if (packet->type == KEEPER_STATUS && packet->id == id)
		return true;
	keeper_packet_close_fds(packet);
	keeper_io_protocol_error(&client->io, "an answer to nothing that was asked", error);
	return false;
}

static bool run_batches(KeeperClient *client, const Batches *batches, GError **error)
{
	g_autofree KeeperPacket *packet = g_new(KeeperPacket, 1);
	uint32_t ids[WINDOW];
	size_t n_sent = 0, n_answered = 0; /* messages */
	size_t n_messages = (batches->n + batches->max_n - 1) / batches->max_n;
	bool refused = false;

	while (n_answered < n_sent || (!refused && n_sent < n_messages)) {
		size_t first = n_answered * batches->max_n;

		if (!refused && n_sent < n_messages && n_sent - n_answered < WINDOW) {
			first = n_sent * batches->max_n;
			ids[n_sent % WINDOW] = batches->send(
				client, batches, first, MIN(batches->n - first, batches->max_n),
				refused ? NULL : error);
			if (ids[n_sent % WINDOW] == 0)
				return false;
			n_sent++;
			continue;
		}
		if (!recv_status(client, ids[n_answered % WINDOW], packet, refused ? NULL : error))
			return false;
		n_answered++;
		if (le32_get(packet->status.rc) != KEEPER_OK && !refused) {
			set_rc_error(client, &packet->status,
				     key_at(batches, first + le32_get(packet->status.count)),
				     error);
			refused = true;
		}
	}
	return !refused;
}

static bool store_all(KeeperClient *client, const KeeperItem *items, size_t n, GError **error)
{
	const Batches batches = {
		.type = KEEPER_STORE,
		.n = n,
		.max_n = KEEPER_MAX_FDS,
		.send = send_items,
		.items = items,
	};

	return run_batches(client, &batches, error);
}

/* A keeper that is not the one that holds what we have stored gets all of it. */
static bool replay(KeeperClient *client, GError **error)
{
	g_autoptr(GArray) items = NULL;
	GHashTableIter iter;
	gpointer item;

	if (client->io.instance == client->instance)
		return true;
	items = g_array_new(FALSE, FALSE, sizeof(KeeperItem));
	g_hash_table_iter_init(&iter, client->stored);
	while (g_hash_table_iter_next(&iter, NULL, &item))
		g_array_append_vals(items, item, 1);
	if (client->role == KEEPER_OWNER &&
	    !store_all(client, (const KeeperItem *)(void *)items->data, items->len, error))
		return false;
	client->instance = client->io.instance;
	return true;
}

static bool fail_superseded(KeeperClient *client, GError **error)
{
	g_set_error(error, KEEPER_CLIENT_ERROR, KEEPER_CLIENT_ERROR_SUPERSEDED,
		    "keeper %s: another daemon of this pool has taken over", client->io.path);
	return false;
}

/*
 * One that is about to end still holds its lock while nobody can connect any more, and two that are
 * started at once leave one of them: so whatever a start says, what counts is who answers.
 */
static bool connect_or_spawn(KeeperClient *client, GError **error)
{
	gint64 deadline = g_get_monotonic_time() + (gint64)client->io.timeout_ms * 1000;
	g_autoptr(GError) spawn_error = NULL;

	for (;;) {
		g_autoptr(GError) local = NULL;

		if (keeper_io_connect(&client->io, client->role, &local))
			return true;
		if (!client->io.lost || client->program == NULL ||
		    g_get_monotonic_time() >= deadline) {
			if (client->io.lost && spawn_error != NULL)
				g_propagate_error(error, g_steal_pointer(&spawn_error));
			else
				g_propagate_error(error, g_steal_pointer(&local));
			return false;
		}
		g_clear_error(&spawn_error);
		if (!keeper_spawn(client->program, client->io.path, client->io.timeout_ms,
				  &spawn_error))
			g_usleep(REPLACE_MS * 1000);
	}
}

bool keeper_client_connect(KeeperClient *client, GError **error)
{
	keeper_io_check(&client->io);
	if (client->io.superseded)
		return fail_superseded(client, error);
	if (client->io.sock >= 0)
		return true;
	if (!connect_or_spawn(client, error))
		return false;
	if (replay(client, error))
		return true;
	keeper_io_close(&client->io);
	return false;
}

/* Everything that is asked may be asked again: if the keeper goes meanwhile, of the next one. */
typedef bool ClientCall(KeeperClient *client, void *args, GError **error);

static bool call(KeeperClient *client, ClientCall *run, void *args, GError **error)
{
	g_autoptr(GError) local = NULL;

	for (unsigned i = 0; i < 2; i++) {
		g_clear_error(&local);
		client->io.lost = false;
		if (keeper_client_connect(client, &local) && run(client, args, &local))
			return true;
		if (!client->io.lost || client->io.superseded)
			break;
	}
	g_propagate_error(error, g_steal_pointer(&local));
	return false;
}

static bool call_batches(KeeperClient *client, void *args, GError **error)
{
	return run_batches(client, args, error);
}

bool keeper_store(KeeperClient *client, const KeeperItem *items, size_t n, GError **error)
{
	Batches batches = {
		.type = KEEPER_STORE,
		.n = n,
		.max_n = KEEPER_MAX_FDS,
		.send = send_items,
		.items = items,
	};

	if (!call(client, call_batches, &batches, error))
		return false;
	for (size_t i = 0; i < n; i++)
		keeper_remember(client, &items[i]);
	return true;
}

void keeper_remember(KeeperClient *client, const KeeperItem *item)
{
	KeeperItem *copy = g_memdup2(item, sizeof(*item));

	g_hash_table_replace(client->stored, &copy->incarnation, copy);
}

bool keeper_drop(KeeperClient *client, const uint64_t *incarnations, size_t n, GError **error)
{
	Batches batches = {
		.type = KEEPER_DROP,
		.n = n,
		.max_n = KEEPER_MAX_KEYS,
		.send = send_keys,
		.keys = incarnations,
	};

	if (!call(client, call_batches, &batches, error))
		return false;
	for (size_t i = 0; i < n; i++)
		g_hash_table_remove(client->stored, &incarnations[i]);
	return true;
}

static void clear_fetched(void *data)
{
	KeeperItem *item = data;

	if (item->fd >= 0)
		close(item->fd);
}

typedef struct ReadArgs {
	KeeperType type;
	GArray *ret_items;
} ReadArgs;

static void append_items(GArray *items, KeeperPacket *packet)
{
	for (unsigned i = 0; i < packet->n; i++) {
		KeeperItem item = { .fd = packet->n_fds > 0 ? packet->fds[i] : -1 };
		KeeperWireItem wire;

		memcpy(&wire, packet->bytes + sizeof(KeeperHeader) + i * sizeof(wire),
		       sizeof(wire));
		item.incarnation = le64_get(wire.incarnation);
		item.len = le64_get(wire.len);
		memcpy(item.label, wire.label, sizeof(wire.label));
		g_array_append_val(items, item);
	}
	packet->n_fds = 0;
}

static bool call_read(KeeperClient *client, void *data, GError **error)
{
	ReadArgs *args = data;
	g_autofree KeeperPacket *packet = g_new(KeeperPacket, 1);
	g_autoptr(GArray) items = g_array_new(FALSE, FALSE, sizeof(KeeperItem));
	uint32_t id = keeper_io_send(&client->io, args->type, 0, NULL, 0, NULL, error);

	g_array_set_clear_func(items, clear_fetched);
	if (id == 0)
		return false;
	while (keeper_io_recv(&client->io, packet, error)) {
		bool is_ours = packet->id == id;
		bool has_fds = packet->n_fds > 0;

		if (is_ours && packet->type == KEEPER_ITEMS && packet->n > 0 &&
		    has_fds == (args->type == KEEPER_FETCH)) {
			append_items(items, packet);
			continue;
		}
		if (is_ours && packet->type == KEEPER_STATUS &&
		    le32_get(packet->status.rc) == KEEPER_OK &&
		    le32_get(packet->status.count) == items->len) {
			args->ret_items = g_steal_pointer(&items);
			return true;
		}
		keeper_packet_close_fds(packet);
		keeper_io_protocol_error(&client->io, "a list is not what was asked for", error);
		return false;
	}
	return false;
}

static GArray *read_items(KeeperClient *client, KeeperType type, GError **error)
{
	ReadArgs args = { .type = type };

	return call(client, call_read, &args, error) ? args.ret_items : NULL;
}

GArray *keeper_fetch_all(KeeperClient *client, GError **error)
{
	return read_items(client, KEEPER_FETCH, error);
}

GArray *keeper_list(KeeperClient *client, GError **error)
{
	return read_items(client, KEEPER_LIST, error);
}

bool keeper_bye(KeeperClient *client, GError **error)
{
	g_autofree KeeperPacket *packet = g_new(KeeperPacket, 1);
	uint32_t id;

	keeper_io_check(&client->io);
	if (client->io.superseded)
		return fail_superseded(client, error);
	/* Not call(): none is started only to be ended. */
	if (client->io.sock < 0 && !keeper_io_connect(&client->io, client->role, error))
		return false;
	id = keeper_io_send(&client->io, KEEPER_BYE, 0, NULL, 0, NULL, error);
	if (id == 0 || !recv_status(client, id, packet, error))
		return false;
	keeper_io_close(&client->io);
	g_hash_table_remove_all(client->stored);
	client->instance = 0;
	return true;
}

GArray *keeper_peek(const char *socket_path, unsigned timeout_ms, GError **error)
{
	g_autoptr(KeeperClient) client = keeper_client_new(socket_path, NULL, timeout_ms);

	client->role = KEEPER_OBSERVER;
	return keeper_list(client, error);
}

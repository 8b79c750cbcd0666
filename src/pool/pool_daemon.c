/* SPDX-License-Identifier: BSD-3-Clause */
/* The daemon from its start, in the right order, to its end. */
#include "pool/pool_daemon_priv.h"

#include "util/nofile.h"
#include "util/peer_cred.h"
#include "util/sd_listen.h"
#include "util/sd_notify.h"

#include <glib-unix.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define FLUSH_MS    200
#define MID_WIPE_US 200

/* The version of QEMU whose commands these are. */
#define QEMU_MAJOR 11
#define QEMU_MINOR 1
#define QEMU_MICRO 0

/* ---- steps for tests, on any thread ---- */

static void take_step(PoolStep step, void *opaque)
{
	PoolDaemon *daemon = opaque;

	switch (step) {
	case POOL_STEP_EXPOSED:
		pool_fault_pass(daemon->fault, "after-expose-before-reply");
		break;
	case POOL_STEP_REVOKED:
		pool_fault_pass(daemon->fault, "after-revoke-before-wipe");
		break;
	case POOL_STEP_WIPING:
		pool_fault_stall(daemon->fault, POOL_STALL_WIPE);
		pool_fault_pass_later(daemon->fault, "mid-wipe", MID_WIPE_US);
		break;
	case POOL_STEP_WIPED:
		pool_fault_now(daemon->fault);
		break;
	}
}

/* ---- who may talk to us ---- */

/* The sockets' modes keep others out; those inherited or reached through a descriptor may have
 * other modes. */
static bool is_in_group(const PoolDaemon *daemon, const QmpPeer *peer)
{
	gid_t gid;

	if (!socket_dir_group(daemon->sockets, &gid))
		return false;
	if (peer->gid == gid)
		return true;
	for (unsigned i = 0; i < peer->n_groups; i++)
		if (peer->groups[i] == gid)
			return true;
	return false;
}

static bool admit(const QmpPeer *peer, void *opaque, GError **error)
{
	const PoolDaemon *daemon = opaque;
	const PeerCred cred = { .pid = peer->pid, .uid = peer->uid, .gid = peer->gid };

	if (peer_cred_is_trusted(&cred) || is_in_group(daemon, peer))
		return true;
	g_set_error(error, QMP_ERROR, QMP_ERROR_GENERIC,
		    "pool %s belongs to uid %u%s%s; you are uid %u", daemon->name,
		    (unsigned)geteuid(), daemon->group ? " and group " : "",
		    daemon->group ? daemon->group : "", (unsigned)peer->uid);
	return false;
}

/* ---- signals ---- */

static void end(PoolDaemon *daemon, const char *reason)
{
	if (!daemon->end_reason)
		daemon->end_reason = reason;
	if (daemon->loop)
		g_main_loop_quit(daemon->loop);
}

static gboolean ended_by_signal(gpointer data)
{
	end(data, "host-signal");
	return G_SOURCE_CONTINUE;
}

static gboolean hung_up(gpointer data)
{
	daemon_apply_again(data);
	return G_SOURCE_CONTINUE;
}

static gboolean stall_begins(gpointer data)
{
	PoolDaemon *daemon = data;

	pool_fault_begin_stall(daemon->fault);
	return G_SOURCE_CONTINUE;
}

static void on_signal(PoolDaemon *daemon, int signum, GSourceFunc func)
{
	GSource *source = g_unix_signal_source_new(signum);

	g_source_set_callback(source, func, daemon, NULL);
	g_source_attach(source, NULL);
	g_ptr_array_add(daemon->sources, source);
}

static void gone(const QmpPeer *peer, void *opaque)
{
	daemon_trace_client_gone(opaque, peer->client);
}

static void quit(const QmpPeer *peer, void *opaque)
{
	end(opaque, "host-qmp-quit");
}

/* ---- start ---- */

static void destroy_source(gpointer data)
{
	g_source_destroy(data);
	g_source_unref(data);
}

static bool find_directories(PoolDaemon *daemon, const PoolDaemonConfig *config, GError **error)
{
	g_autofree char *runtime_dir = NULL;

	if (!pool_name_check("pool", daemon->name, error))
		return false;
	runtime_dir = socket_dir_default_path(daemon->name, error);
	if (!runtime_dir)
		return false;
	/* First the lock: whatever follows is then ours alone. */
	daemon->sockets = socket_dir_open(runtime_dir, daemon->group, error);
	if (!daemon->sockets)
		return false;
	daemon->state_dir = g_strdup(config->state_dir);
	if (!daemon->ephemeral && !daemon->state_dir)
		daemon->state_dir = state_dir_default_path(daemon->name, error);
	if (!daemon->state_dir)
		return daemon->ephemeral;
	return state_dir_make(daemon->state_dir, error);
}

static void start_pool(PoolDaemon *daemon)
{
	PoolConfig config = {
		.notice = daemon_take_notice,
		.notice_data = daemon,
		.durable = !daemon->ephemeral,
		/* With a group, who may open the sockets is for their modes to say. */
		.own_uid_only = !daemon->group,
		.host_event = daemon_take_host_event,
		.journal_failed = daemon_journal_failed,
		.wiped = daemon_take_wipe,
		.step = daemon->fault ? take_step : NULL,
		.opaque = daemon,
	};

	daemon->pool = pool_new(&config);
}

static bool serve_devices(PoolDaemon *daemon, GError **error)
{
	g_autoptr(GPtrArray) devices = daemon_list_devices(daemon);

	for (guint i = 0; i < devices->len; i++)
		if (!daemon_serve_device(daemon, devices->pdata[i], error))
			return false;
	return true;
}

static bool serve_qmp(PoolDaemon *daemon, GError **error)
{
	const QmpServerConfig config = {
		.major = QEMU_MAJOR,
		.minor = QEMU_MINOR,
		.micro = QEMU_MICRO,
		.package = "softdcd " SOFTDCD_VERSION,
		.admit = admit,
		.gone = gone,
		.quit = quit,
		.opaque = daemon,
	};
	const QmpCommand *const tables[] = {
		qmp_object_commands, qmp_capacity_commands, qmp_query_commands, qmp_extent_commands,
		qmp_inject_commands, qmp_audit_commands,    qmp_trace_commands,
	};
	int fd = daemon_listen(daemon, "qmp.sock", SOCK_STREAM, error);

	if (fd < 0)
		return false;
	daemon->qmp = qmp_server_new(NULL, &config);
	for (size_t i = 0; i < G_N_ELEMENTS(tables); i++)
		qmp_server_add_commands(daemon->qmp, tables[i], daemon);
	qmp_server_listen(daemon->qmp, fd);
	return true;
}

static void audit_life(PoolDaemon *daemon, AuditWhat what)
{
	AuditEntry entry = { .what = what, .who = { .pid = getpid(), .uid = geteuid() } };

	if (daemon->ledger)
		ledger_audit(daemon->ledger, &entry);
}

/* The configuration is read first: what is wrong with it shall cost nothing. */
static bool start(PoolDaemon *daemon, const PoolDaemonConfig *config, GError **error)
{
	g_autoptr(PoolFile) file = config->config_path ? pool_file_load(config->config_path, error)
						       : pool_file_new();

	if (!file)
		return false;
	daemon->group = g_strdup(config->group ? config->group : file->group);
	daemon->inherited = sd_listen_take(error);
	if (!daemon->inherited || !find_directories(daemon, config, error))
		return false;
	nofile_raise(NOFILE_WANTED);
	start_pool(daemon);
	if (!daemon->ephemeral && !daemon_restore(daemon, error))
		return false;
	daemon_watch_keeper(daemon);
	audit_life(daemon, AUDIT_START);
	return daemon_apply_first(daemon, file, error) && serve_devices(daemon, error) &&
	       serve_qmp(daemon, error);
}

PoolDaemon *pool_daemon_new(const PoolDaemonConfig *config, GError **error)
{
	PoolDaemon *daemon = g_new0(PoolDaemon, 1);

	daemon->name = g_strdup(config->name);
	daemon->config_path = g_strdup(config->config_path);
	daemon->ephemeral = config->ephemeral;
	daemon->started_us = g_get_real_time();
	daemon->sources = g_ptr_array_new_with_free_func(destroy_source);
	daemon->traces = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, daemon_trace_free);
	g_mutex_init(&daemon->lock);
	daemon_objects_init(daemon);
	if (config->fault || config->stall || config->report_steps) {
		daemon->fault = pool_fault_new(config->fault, config->stall, config->report_steps,
					       error);
		if (!daemon->fault) {
			pool_daemon_free(daemon);
			return NULL;
		}
	}
	if (start(daemon, config, error))
		return daemon;
	pool_daemon_free(daemon);
	return NULL;
}

void pool_daemon_run(PoolDaemon *daemon)
{
	daemon->loop = g_main_loop_new(NULL, FALSE);
	on_signal(daemon, SIGTERM, ended_by_signal);
	on_signal(daemon, SIGINT, ended_by_signal);
	on_signal(daemon, SIGHUP, hung_up);
	if (daemon->fault)
		on_signal(daemon, SIGUSR2, stall_begins);
	sd_notify_ready(NULL);
	if (!daemon->end_reason)
		g_main_loop_run(daemon->loop);
}

/* ---- end ---- */

/* Answers that are due come first; then everybody is told. */
static void say_goodbye(PoolDaemon *daemon)
{
	JsonObject *data = json_object_new();

	sd_notify_stopping();
	qmp_server_stop(daemon->qmp);
	while (daemon->n_tasks > 0)
		g_main_context_iteration(NULL, TRUE);
	json_object_set_boolean_member(data, "guest", FALSE);
	json_object_set_string_member(data, "reason",
				      daemon->end_reason ? daemon->end_reason : "host-signal");
	daemon_event(daemon, "SHUTDOWN", data);
	qmp_server_flush(daemon->qmp, FLUSH_MS);
}

static void free_state(PoolDaemon *daemon)
{
	g_clear_pointer(&daemon->traces, g_hash_table_unref);
	daemon_objects_clear(daemon);
	g_clear_pointer(&daemon->sockets, socket_dir_free);
	g_clear_pointer(&daemon->inherited, g_array_unref);
	g_clear_pointer(&daemon->loop, g_main_loop_unref);
	g_ptr_array_unref(daemon->sources);
	pool_fault_free(daemon->fault);
	g_mutex_clear(&daemon->lock);
	g_free(daemon->ledger_trouble);
	g_free(daemon->name);
	g_free(daemon->config_path);
	g_free(daemon->state_dir);
	g_free(daemon->group);
	g_free(daemon);
}

void pool_daemon_free(PoolDaemon *daemon)
{
	if (!daemon)
		return;
	if (daemon->qmp)
		say_goodbye(daemon);
	audit_life(daemon, AUDIT_STOP);
	/* In this order: nothing is submitted any more, all that was is kept, the rest goes. */
	if (daemon->pool)
		pool_stop(daemon->pool);
	daemon_unwatch_keeper(daemon);
	g_clear_pointer(&daemon->ledger, ledger_close);
	g_clear_pointer(&daemon->pool, pool_free);
	daemon_end_keeper(daemon);
	/* What the pool's thread has told until now. */
	while (g_main_context_iteration(NULL, FALSE))
		;
	g_clear_pointer(&daemon->qmp, qmp_server_free);
	free_state(daemon);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* Checks of a pool's directories, its keeper and its daemon. */
#include "cli/doctor.h"

#include "cli/client.h"
#include "keeper/keeper_client.h"
#include "util/size.h"
#include "util/socket_dir.h"

#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define STATE_SPACE_MIN (UINT64_C(64) << 20) /* bytes; a ledger with its journal, and some more */
#define DAEMON_WAIT_MS  2000

/* PATH itself, or the nearest of its parents that is there. */
static char *nearest_existing(const char *path)
{
	char *dir = g_strdup(path);

	while (access(dir, F_OK) != 0 && strcmp(dir, "/") != 0 && strcmp(dir, ".") != 0) {
		char *parent = g_path_get_dirname(dir);

		g_free(dir);
		dir = parent;
	}
	return dir;
}

/* By doing it: root may write anywhere by its permissions, and still cannot in some places. */
static bool can_make_files(const char *dir)
{
	g_autofree char *probe = g_build_filename(dir, ".softdcd-doctor-XXXXXX", NULL);

	return g_mkdtemp_full(probe, 0700) != NULL && rmdir(probe) == 0;
}

/* Can it be used, or made? */
static bool check_directory(const char *path, const char *cure, DoctorFinding *ret)
{
	g_autofree char *dir = nearest_existing(path);

	if (!can_make_files(dir)) {
		doctor_found(ret, "%s: %s cannot be written: %s", path, dir, g_strerror(errno));
		doctor_cure(ret, DOCTOR_MISSING, "%s", cure);
		return false;
	}
	doctor_found(ret, "%s%s", path, strcmp(dir, path) == 0 ? "" : ", can be made");
	return true;
}

static void check_runtime_dir(const CliArgs *args, DoctorFinding *ret)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *path = socket_dir_default_path(cli_text(args, "pool"), &error);

	if (!path) {
		doctor_found(ret, "%s", error->message);
		doctor_cure(ret, DOCTOR_MISSING,
			    "set XDG_RUNTIME_DIR to a directory of your own, as a login does");
		return;
	}
	check_directory(path, "set XDG_RUNTIME_DIR to a directory of your own, or run as root",
			ret);
}

static void check_state_dir(const CliArgs *args, DoctorFinding *ret)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *path = state_dir_default_path(cli_text(args, "pool"), &error);
	g_autofree char *dir = path ? nearest_existing(path) : NULL;
	struct statvfs fs;

	if (!path) {
		doctor_found(ret, "%s", error->message);
		doctor_cure(ret, DOCTOR_MISSING, "set HOME, or use softdcd serve --state");
		return;
	}
	if (!check_directory(path, "use softdcd serve --state with a directory of your own", ret))
		return;
	if (statvfs(dir, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize < STATE_SPACE_MIN) {
		g_autofree char *left = size_format_human((uint64_t)fs.f_bavail * fs.f_frsize);

		doctor_found(ret, "%s: only %s are free", path, left);
		doctor_cure(ret, DOCTOR_LIMITED,
			    "make room: nothing is granted while the ledger cannot be written");
	}
}

static void check_keeper(const CliArgs *args, DoctorFinding *ret)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *path = keeper_find_program(&error);

	doctor_found(ret, "%s", path ? path : error->message);
	if (!path)
		doctor_cure(ret, DOCTOR_LIMITED,
			    "install softdcd-keeper, or name it in SOFTDCD_KEEPER: without it the "
			    "contents of memory do not outlive the daemon");
}

/* ---- the daemon ---- */

static JsonObject *peek_object(JsonObject *object, const char *member)
{
	JsonNode *node = json_object_get_member(object, member);

	return node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
}

static void judge_daemon(JsonObject *pool, DoctorFinding *ret)
{
	const char *version = cli_member_text(pool, "version");
	JsonObject *ledger = peek_object(pool, "ledger"), *keeper = peek_object(pool, "keeper");
	const char *ledger_state = ledger ? cli_member_text(ledger, "state") : NULL;
	const char *keeper_state = keeper ? cli_member_text(keeper, "state") : NULL;

	doctor_found(ret, "pid %" G_GINT64_FORMAT ", version %s, ledger %s, keeper %s",
		     cli_member_int(pool, "pid"), version ? version : "?",
		     ledger_state ? ledger_state : "?", keeper_state ? keeper_state : "?");
	if (g_strcmp0(ledger_state, "failed") == 0)
		doctor_cure(ret, DOCTOR_MISSING, "%s; then start the daemon again",
			    cli_member_text(ledger, "message") ? cli_member_text(ledger, "message")
							       : "see the daemon's log");
	else if (g_strcmp0(keeper_state, "lost") == 0)
		doctor_cure(ret, DOCTOR_LIMITED,
			    "start the daemon again when nothing is accepted: the contents of "
			    "memory do not outlive it now");
	else if (g_strcmp0(version, SOFTDCD_VERSION) != 0)
		doctor_cure(ret, DOCTOR_LIMITED, "start the daemon again: this is version %s",
			    SOFTDCD_VERSION);
}

static void check_daemon(const CliArgs *args, DoctorFinding *ret)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *dir = socket_dir_find(cli_text(args, "pool"), &error);
	g_autofree char *path = cli_given(args, "socket") ? g_strdup(cli_text(args, "socket"))
				: dir ? socket_dir_socket_path(dir, "qmp.sock", &error)
				      : NULL;
	g_autoptr(QmpClient) client = path ? qmp_client_connect(path, DAEMON_WAIT_MS, &error)
					   : NULL;
	g_autoptr(JsonNode) pool =
		client ? qmp_client_call(client, "query-pool", NULL, DAEMON_WAIT_MS, &error) : NULL;

	if (pool && JSON_NODE_HOLDS_OBJECT(pool)) {
		judge_daemon(json_node_get_object(pool), ret);
		return;
	}
	doctor_found(ret, "%s", error ? error->message : "it does not answer query-pool");
	if (client)
		doctor_cure(ret, DOCTOR_MISSING, "see the daemon's log, and start it again");
	else
		doctor_cure(ret, DOCTOR_LIMITED, "softdcd serve --name %s", cli_text(args, "pool"));
}

const DoctorCheck doctor_pool_checks[] = {
	{ "runtime-directory", true, "the pool's sockets", check_runtime_dir },
	{ "state-directory", true, "the pool's ledger", check_state_dir },
	{ "keeper", false, "contents that outlive a restart of the daemon", check_keeper },
	{ "daemon", true, "every verb but demo, serve and doctor", check_daemon },
	{ .name = NULL },
};

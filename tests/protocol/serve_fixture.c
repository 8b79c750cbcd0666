/* SPDX-License-Identifier: BSD-3-Clause */
/* Processes of softdcd under a test's control. */
#include "serve_fixture.h"

#include "keeper/keeper_client.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define POLL_US 2000

/* ---- processes ---- */

static const char *program(void)
{
	const char *path = g_getenv("SOFTDCD");

	g_assert_nonnull(path);
	return path;
}

static void add_word(GPtrArray *args, const char *word)
{
	g_ptr_array_add(args, (gpointer)word);
}

/* The child ends with us, however that comes about. */
static pid_t spawn(GPtrArray *args, int out, int err)
{
	pid_t parent = getpid();
	pid_t pid;

	g_ptr_array_add(args, NULL);
	pid = fork();
	g_assert_cmpint(pid, >=, 0);
	if (pid > 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(126);
	if (out >= 0)
		dup2(out, 1);
	if (err >= 0)
		dup2(err, 2);
	execv(args->pdata[0], (char **)args->pdata);
	_exit(127);
}

static int wait_for(pid_t pid)
{
	gint64 deadline = g_get_monotonic_time() + WAIT_US;
	int status;
	pid_t got;

	while ((got = waitpid(pid, &status, WNOHANG)) == 0) {
		g_assert_cmpint(g_get_monotonic_time(), <, deadline);
		g_usleep(POLL_US);
	}
	g_assert_cmpint(got, ==, pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* ---- the daemon ---- */

Serve *serve_new(void)
{
	Serve *serve = g_new0(Serve, 1);
	g_autofree char *run_dir = NULL, *state_dir = NULL;

	serve->dir = g_dir_make_tmp("sdcd-XXXXXX", NULL);
	g_assert_nonnull(serve->dir);
	run_dir = g_build_filename(serve->dir, "run", NULL);
	state_dir = g_build_filename(serve->dir, "state", NULL);
	g_assert_cmpint(g_mkdir(run_dir, 0700), ==, 0);
	g_assert_cmpint(g_mkdir(state_dir, 0700), ==, 0);
	serve->runtime = g_build_filename(run_dir, "softdcd", "test", NULL);
	serve->state = g_build_filename(state_dir, "softdcd", "test", NULL);
	serve->config = g_build_filename(serve->dir, "test.conf", NULL);
	serve->log = g_build_filename(serve->dir, "log", NULL);
	g_setenv("XDG_RUNTIME_DIR", run_dir, TRUE);
	g_setenv("XDG_STATE_HOME", state_dir, TRUE);
	g_unsetenv("NOTIFY_SOCKET");
	g_unsetenv("RUNTIME_DIRECTORY");
	g_unsetenv("STATE_DIRECTORY");
	return serve;
}

static void remove_tree(const char *path)
{
	g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
	const char *name;

	while (dir && (name = g_dir_read_name(dir))) {
		g_autofree char *child = g_build_filename(path, name, NULL);

		if (g_file_test(child, G_FILE_TEST_IS_DIR) &&
		    !g_file_test(child, G_FILE_TEST_IS_SYMLINK))
			remove_tree(child);
		else
			g_unlink(child);
	}
	g_rmdir(path);
}

void serve_end_keeper(Serve *serve)
{
	g_autofree char *path = g_build_filename(serve->runtime, "keeper.sock", NULL);
	g_autoptr(KeeperClient) keeper = keeper_client_new(path, NULL, 0);

	keeper_bye(keeper, NULL);
}

void serve_free(Serve *serve)
{
	if (!serve)
		return;
	if (serve->pid)
		serve_kill(serve);
	serve_end_keeper(serve);
	remove_tree(serve->dir);
	g_free(serve->dir);
	g_free(serve->runtime);
	g_free(serve->state);
	g_free(serve->config);
	g_free(serve->log);
	g_free(serve);
}

void serve_write_config(Serve *serve, const char *text)
{
	g_assert_true(g_file_set_contents(serve->config, text, -1, NULL));
}

void serve_spawn(Serve *serve, const char *const *args)
{
	g_autoptr(GPtrArray) argv = g_ptr_array_new();
	int log = open(serve->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	g_assert_cmpint(serve->pid, ==, 0);
	g_assert_cmpint(log, >=, 0);
	add_word(argv, program());
	add_word(argv, "serve");
	add_word(argv, "--name");
	add_word(argv, "test");
	if (g_file_test(serve->config, G_FILE_TEST_EXISTS)) {
		add_word(argv, "--config");
		g_ptr_array_add(argv, serve->config);
	}
	for (; args && *args; args++)
		add_word(argv, *args);
	serve->pid = spawn(argv, -1, log);
	close(log);
}

bool serve_connect(Serve *serve)
{
	g_autofree char *path = g_build_filename(serve->runtime, "qmp.sock", NULL);
	gint64 deadline = g_get_monotonic_time() + WAIT_US;
	int status;

	while (!(serve->qmp = qmp_client_connect(path, WAIT_MS, NULL))) {
		g_assert_cmpint(g_get_monotonic_time(), <, deadline);
		if (waitpid(serve->pid, &status, WNOHANG) == serve->pid) {
			serve->pid = 0;
			return false;
		}
		g_usleep(POLL_US);
	}
	return true;
}

static GPtrArray *collect(va_list list)
{
	GPtrArray *args = g_ptr_array_new();
	const char *arg;

	while ((arg = va_arg(list, const char *)))
		add_word(args, arg);
	g_ptr_array_add(args, NULL);
	return args;
}

void serve_start(Serve *serve, ...)
{
	g_autoptr(GPtrArray) args = NULL;
	size_t said = serve_log_len(serve);
	va_list list;

	va_start(list, serve);
	args = collect(list);
	va_end(list);
	serve_spawn(serve, (const char *const *)args->pdata);
	if (!serve_connect(serve)) {
		g_autofree char *log = serve_log(serve, said);

		g_error("the daemon did not start: %s", log);
	}
}

int serve_fails(Serve *serve, ...)
{
	g_autoptr(GPtrArray) args = NULL;
	va_list list;

	va_start(list, serve);
	args = collect(list);
	va_end(list);
	serve_spawn(serve, (const char *const *)args->pdata);
	return serve_wait_end(serve);
}

int serve_wait_end(Serve *serve)
{
	int result = wait_for(serve->pid);

	serve->pid = 0;
	g_clear_pointer(&serve->qmp, qmp_client_free);
	return result;
}

int serve_stop(Serve *serve)
{
	kill(serve->pid, SIGTERM);
	return serve_wait_end(serve);
}

void serve_kill(Serve *serve)
{
	kill(serve->pid, SIGKILL);
	serve_wait_end(serve);
}

size_t serve_log_len(Serve *serve)
{
	GStatBuf info;

	return g_stat(serve->log, &info) == 0 ? (size_t)info.st_size : 0;
}

char *serve_log(Serve *serve, size_t offset)
{
	g_autofree char *text = NULL;

	g_file_get_contents(serve->log, &text, NULL, NULL);
	return g_strdup(text && strlen(text) >= offset ? text + offset : "");
}

void serve_assert_said(Serve *serve, size_t offset, const char *text)
{
	g_autofree char *log = serve_log(serve, offset);

	if (!strstr(log, text))
		g_error("\"%s\" is not in the log: %s", text, log);
}

/* ---- the control socket ---- */

static JsonNode *make_request(const char *command, const char *format, va_list args)
{
	g_autofree char *arguments = format ? g_strdup_vprintf(format, args) : g_strdup("");
	g_autofree char *text = g_strdup_printf("{'execute': '%s', 'arguments': {%s}}", command,
						arguments);
	g_autoptr(GError) error = NULL;
	JsonNode *request = qmp_json_parse(text, strlen(text), &qmp_json_answer_limits, &error);

	g_assert_no_error(error);
	return request;
}

static JsonNode *call(Serve *serve, const char *command, const char *format, va_list args)
{
	g_autoptr(JsonNode) request = make_request(command, format, args);
	g_autoptr(GError) error = NULL;
	JsonNode *answer = qmp_client_call_raw(serve->qmp, request, WAIT_MS, &error);

	g_assert_no_error(error);
	return answer;
}

int serve_try(Serve *serve, JsonNode **ret, const char *command, const char *format, ...)
{
	g_autoptr(JsonNode) request = NULL, answer = NULL;
	JsonObject *object;
	va_list args;

	va_start(args, format);
	request = make_request(command, format, args);
	va_end(args);
	answer = qmp_client_call_raw(serve->qmp, request, WAIT_MS, NULL);
	if (!answer)
		return -1;
	object = json_node_get_object(answer);
	if (!json_object_has_member(object, "return"))
		return 0;
	if (ret)
		*ret = json_node_ref(json_object_get_member(object, "return"));
	return 1;
}

static JsonNode *expect_result(const char *command, JsonNode *answer)
{
	JsonObject *object = json_node_get_object(answer);
	JsonNode *result;

	if (!json_object_has_member(object, "return")) {
		g_autofree char *text = json_to_string(answer, FALSE);

		g_error("%s: %s", command, text);
	}
	result = json_node_ref(json_object_get_member(object, "return"));
	json_node_unref(answer);
	return result;
}

JsonNode *serve_call(Serve *serve, const char *command, const char *format, ...)
{
	JsonNode *answer;
	va_list args;

	va_start(args, format);
	answer = call(serve, command, format, args);
	va_end(args);
	return expect_result(command, answer);
}

void serve_do(Serve *serve, const char *command, const char *format, ...)
{
	g_autoptr(JsonNode) result = NULL;
	va_list args;

	va_start(args, format);
	result = call(serve, command, format, args);
	va_end(args);
	result = expect_result(command, g_steal_pointer(&result));
}

char *serve_refused(Serve *serve, const char *command, const char *format, ...)
{
	g_autoptr(JsonNode) answer = NULL;
	JsonObject *error;
	va_list args;

	va_start(args, format);
	answer = call(serve, command, format, args);
	va_end(args);
	g_assert_true(json_object_has_member(json_node_get_object(answer), "error"));
	error = json_object_get_object_member(json_node_get_object(answer), "error");
	return g_strdup_printf("%s %s", json_object_get_string_member(error, "class"),
			       json_object_get_string_member(error, "desc"));
}

JsonObject *serve_first(Serve *serve, const char *command, const char *format, ...)
{
	g_autoptr(JsonNode) result = NULL;
	JsonArray *list;
	va_list args;

	va_start(args, format);
	result = call(serve, command, format, args);
	va_end(args);
	result = expect_result(command, g_steal_pointer(&result));
	list = json_node_get_array(result);
	g_assert_cmpuint(json_array_get_length(list), >, 0);
	return json_object_ref(json_array_get_object_element(list, 0));
}

guint serve_count(Serve *serve, const char *command, const char *format, ...)
{
	g_autoptr(JsonNode) result = NULL;
	va_list args;

	va_start(args, format);
	result = call(serve, command, format, args);
	va_end(args);
	result = expect_result(command, g_steal_pointer(&result));
	return json_array_get_length(json_node_get_array(result));
}

static bool has_name(JsonObject *event, void *opaque)
{
	return g_str_equal(json_object_get_string_member(event, "event"), opaque);
}

JsonObject *serve_event(Serve *serve, const char *name)
{
	g_autoptr(GError) error = NULL;
	JsonObject *event = qmp_client_wait_event(serve->qmp, has_name, (void *)name, WAIT_MS,
						  &error);
	JsonObject *data;

	g_assert_no_error(error);
	data = json_object_ref(json_object_get_object_member(event, "data"));
	json_object_unref(event);
	return data;
}

void serve_pass_event(Serve *serve, const char *name)
{
	json_object_unref(serve_event(serve, name));
}

void serve_wait_backend(Serve *serve, const char *name, const char *state)
{
	gint64 deadline = g_get_monotonic_time() + WAIT_US;

	for (;;) {
		g_autoptr(JsonObject)
			backend = serve_first(serve, "query-backends", "'id': '%s'", name);
		const char *now = json_object_get_string_member(backend, "state");

		if (g_str_equal(now, state))
			return;
		if (g_get_monotonic_time() > deadline)
			g_error("backend %s is %s and not %s", name, now, state);
		g_usleep(POLL_US);
	}
}

/* ---- a tagged allocation ---- */

void serve_add_backend(Serve *serve, const char *name, const char *tag, uint64_t len)
{
	serve_do(serve, "object-add",
		 "'qom-type': 'memory-backend-ram', 'id': '%s', 'size': %d, 'tag': '%s'", name,
		 (int)len, tag);
}

void serve_offer(Serve *serve, const char *tag)
{
	json_node_unref(serve_call(serve, "cxl-add-dynamic-capacity",
				   "'path': 'dev0', 'host-id': 0, 'region': 0, "
				   "'selection-policy': 'contiguous', 'tag': '%s'",
				   tag));
}

void serve_ask_back(Serve *serve, const char *tag)
{
	json_node_unref(serve_call(serve, "cxl-release-dynamic-capacity",
				   "'path': 'dev0', 'host-id': 0, 'region': 0, "
				   "'removal-policy': 'tag-based', 'tag': '%s'",
				   tag));
}

/* ---- hosts ---- */

ServeHost *serve_host(Serve *serve, const char *device, ...)
{
	g_autoptr(GPtrArray) argv = g_ptr_array_new();
	ServeHost *host = g_new0(ServeHost, 1);
	const char *arg;
	int out[2];
	va_list list;

	add_word(argv, program());
	add_word(argv, "host");
	add_word(argv, "--json");
	add_word(argv, "--pool");
	add_word(argv, "test");
	add_word(argv, "--device");
	add_word(argv, device);
	va_start(list, device);
	while ((arg = va_arg(list, const char *)))
		add_word(argv, arg);
	va_end(list);
	g_assert_cmpint(pipe2(out, O_CLOEXEC), ==, 0);
	host->pid = spawn(argv, out[1], -1);
	close(out[1]);
	host->out = out[0];
	host->text = g_string_new(NULL);
	serve_host_pass(host, "attached");
	return host;
}

void serve_host_free(ServeHost *host)
{
	if (!host)
		return;
	if (host->pid)
		serve_host_end(host, SIGKILL);
	close(host->out);
	g_string_free(host->text, TRUE);
	g_free(host);
}

int serve_host_end(ServeHost *host, int signal_number)
{
	int result;

	kill(host->pid, signal_number);
	result = wait_for(host->pid);
	host->pid = 0;
	return result;
}

/* Without waiting. */
static bool read_what_is_there(ServeHost *host)
{
	struct pollfd fd = { .fd = host->out, .events = POLLIN };
	char buf[16384];

	while (poll(&fd, 1, 0) == 1) {
		ssize_t len = read(host->out, buf, sizeof(buf));

		if (len <= 0)
			return false;
		g_string_append_len(host->text, buf, len);
	}
	return true;
}

static JsonObject *take_event(ServeHost *host)
{
	const char *end = strchr(host->text->str, '\n');
	g_autoptr(JsonNode) node = NULL;
	g_autoptr(GError) error = NULL;

	if (!end)
		return NULL;
	node = qmp_json_parse(host->text->str, (size_t)(end - host->text->str),
			      &qmp_json_answer_limits, &error);
	g_assert_no_error(error);
	g_string_erase(host->text, 0, end + 1 - host->text->str);
	return json_object_ref(json_node_get_object(node));
}

bool serve_host_drain(ServeHost *host, ServeHostFunc *func, void *opaque)
{
	bool runs = read_what_is_there(host);
	JsonObject *event;

	while ((event = take_event(host))) {
		func(event, opaque);
		json_object_unref(event);
	}
	return runs;
}

/* False at the end of its output. */
static bool read_more(ServeHost *host)
{
	struct pollfd fd = { .fd = host->out, .events = POLLIN };
	char buf[4096];
	ssize_t len;

	g_assert_cmpint(poll(&fd, 1, WAIT_MS), ==, 1);
	len = read(host->out, buf, sizeof(buf));
	if (len > 0)
		g_string_append_len(host->text, buf, len);
	return len > 0;
}

static JsonObject *next_event(ServeHost *host)
{
	JsonObject *event;

	while (!(event = take_event(host)))
		if (!read_more(host))
			return NULL;
	return event;
}

JsonObject *serve_host_event(ServeHost *host, const char *name)
{
	for (;;) {
		g_autoptr(JsonObject) event = next_event(host);

		if (!event)
			return NULL;
		if (g_test_verbose()) {
			g_autoptr(JsonNode) node = json_node_init_object(json_node_alloc(), event);
			g_autofree char *text = json_to_string(node, FALSE);

			g_test_message("host %d: %s", (int)host->pid, text);
		}
		if (g_str_equal(json_object_get_string_member(event, "event"), name))
			return g_steal_pointer(&event);
	}
}

void serve_host_pass(ServeHost *host, const char *name)
{
	JsonObject *event = serve_host_event(host, name);

	if (!event)
		g_error("the host ended before it told \"%s\"", name);
	json_object_unref(event);
}

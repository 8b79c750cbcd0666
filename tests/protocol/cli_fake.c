/* SPDX-License-Identifier: BSD-3-Clause */
/* A daemon that says what a test tells it to, and the command line that speaks to it. */
#include "cli_fake.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static const char greeting[] =
	"{\"QMP\": {\"version\": {\"qemu\": {\"major\": 10, \"minor\": 2, \"micro\": 0}, "
	"\"package\": \"softdcd fake\"}, \"capabilities\": []}}";

Fake *fake_new(void)
{
	Fake *fake = g_new0(Fake, 1);
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	fake->dir = g_dir_make_tmp("softdcd-cli-XXXXXX", NULL);
	g_assert_nonnull(fake->dir);
	fake->path = g_build_filename(fake->dir, "qmp.sock", NULL);
	g_assert_cmpuint(strlen(fake->path), <, sizeof(address.sun_path));
	strcpy(address.sun_path, fake->path);
	fake->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	g_assert_cmpint(bind(fake->listen_fd, (struct sockaddr *)&address, sizeof(address)), ==, 0);
	g_assert_cmpint(listen(fake->listen_fd, 8), ==, 0);
	fake->fd = fake->out_fd = fake->err_fd = -EBADF;
	fake->received = g_string_new(NULL);
	fake->answers = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	return fake;
}

static void forget_run(Fake *fake)
{
	if (fake->out_fd >= 0)
		close(fake->out_fd);
	if (fake->err_fd >= 0)
		close(fake->err_fd);
	fake->out_fd = fake->err_fd = -EBADF;
	g_clear_pointer(&fake->out, g_free);
	g_clear_pointer(&fake->err, g_free);
}

void fake_free(Fake *fake)
{
	g_assert_cmpint(fake->pid, ==, 0);
	fake_hang_up(fake);
	close(fake->listen_fd);
	forget_run(fake);
	g_unlink(fake->path);
	g_rmdir(fake->dir);
	g_string_free(fake->received, TRUE);
	g_hash_table_unref(fake->answers);
	g_free(fake->id);
	g_free(fake->command);
	g_free(fake->path);
	g_free(fake->dir);
	g_free(fake);
}

/* ---- the verb ---- */

void fake_run_as_it_is(Fake *fake, const char *line)
{
	g_autofree char *command = g_strdup_printf("%s %s", g_getenv("SOFTDCD"), line);
	g_auto(GStrv) argv = NULL;

	g_assert_cmpint(fake->pid, ==, 0);
	forget_run(fake);
	g_assert_true(g_shell_parse_argv(command, NULL, &argv, NULL));
	fake->out_fd = memfd_create("out", MFD_CLOEXEC);
	fake->err_fd = memfd_create("err", MFD_CLOEXEC);
	fake->pid = fork();
	g_assert_cmpint(fake->pid, >=, 0);
	if (fake->pid == 0) {
		dup2(fake->out_fd, STDOUT_FILENO);
		dup2(fake->err_fd, STDERR_FILENO);
		execv(argv[0], argv);
		_exit(127);
	}
}

void fake_run(Fake *fake, const char *line)
{
	g_autofree char *whole = g_strdup_printf("%s --socket %s", line, fake->path);

	fake_run_as_it_is(fake, whole);
}

static char *read_all(int fd)
{
	off_t len = lseek(fd, 0, SEEK_END);
	char *text = g_malloc0((size_t)len + 1);

	g_assert_cmpint(pread(fd, text, (size_t)len, 0), ==, len);
	return text;
}

JsonNode *fake_out_json(Fake *fake)
{
	JsonNode *node = json_from_string(fake->out, NULL);

	g_assert_nonnull(node);
	return node;
}

void fake_assert_err(Fake *fake, const char *part)
{
	if (!strstr(fake->err, part))
		g_error("stderr is \"%s\", without \"%s\"", fake->err, part);
}

void fake_wait_err(Fake *fake, const char *part)
{
	gint64 deadline = g_get_monotonic_time() + FAKE_WAIT_MS * 1000;

	for (;;) {
		g_autofree char *err = read_all(fake->err_fd);

		if (strstr(err, part))
			return;
		g_assert_cmpint(g_get_monotonic_time(), <, deadline);
		g_usleep(1000);
	}
}

/* ---- the daemon's side ---- */

static void await(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };

	g_assert_cmpint(poll(&poll_fd, 1, FAKE_WAIT_MS), ==, 1);
}

void fake_say(Fake *fake, const char *text)
{
	g_autofree char *line = g_strconcat(text, "\r\n", NULL);
	size_t len = strlen(line), sent = 0;

	while (sent < len) {
		ssize_t n = send(fake->fd, line + sent, len - sent, MSG_NOSIGNAL);

		if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
			return; /* it has what it wanted */
		g_assert_cmpint(n, >, 0);
		sent += (size_t)n;
	}
}

static void say_answer(Fake *fake, const char *answer);

/* One request; the client ends each with a newline. NULL: it hung up. */
static JsonNode *read_request(Fake *fake)
{
	JsonNode *request;
	char *end;

	while (!(end = strchr(fake->received->str, '\n'))) {
		char piece[4096];
		ssize_t n;

		await(fake->fd);
		n = recv(fake->fd, piece, sizeof(piece), 0);
		if (n <= 0)
			return NULL;
		g_string_append_len(fake->received, piece, n);
	}
	*end = '\0';
	request = json_from_string(fake->received->str, NULL);
	g_assert_nonnull(request);
	g_string_erase(fake->received, 0, end + 1 - fake->received->str);
	return request;
}

/* Reads one and remembers its command and id. Its arguments, or NULL: it hung up. */
static char *take_request(Fake *fake)
{
	g_autoptr(JsonNode) request = read_request(fake);
	JsonNode *arguments, *id;
	JsonObject *object;
	g_autofree char *all = NULL;

	if (!request)
		return NULL;
	object = json_node_get_object(request);
	arguments = json_object_get_member(object, "arguments");
	id = json_object_get_member(object, "id");
	all = json_to_string(request, FALSE);
	g_test_message("%s", all);
	g_free(fake->id);
	fake->id = id ? json_to_string(id, FALSE) : NULL;
	g_free(fake->command);
	fake->command = g_strdup(json_object_get_string_member(object, "execute"));
	return arguments ? json_to_string(arguments, FALSE) : g_strdup("{}");
}

/* Was the last request a query that has been answered before? Answers it. */
static bool answer_again(Fake *fake)
{
	const char *answer = g_hash_table_lookup(fake->answers, fake->command);

	if (!answer || !(g_str_has_prefix(fake->command, "query-") ||
			 g_str_has_prefix(fake->command, "x-query-")))
		return false;
	say_answer(fake, answer);
	return true;
}

char *fake_expect(Fake *fake, const char *command)
{
	for (;;) {
		char *arguments = take_request(fake);

		if (!arguments)
			g_error("the verb hung up; it said: %s", read_all(fake->err_fd));
		if (strcmp(fake->command, command) == 0)
			return arguments;
		g_free(arguments);
		if (!answer_again(fake))
			g_error("\"%s\" came, and not \"%s\"", fake->command, command);
	}
}

void fake_expect_with(Fake *fake, const char *command, const char *arguments)
{
	g_autofree char *given = fake_expect(fake, command);

	g_assert_cmpstr(given, ==, arguments);
}

/* ANSWER, as in "\"return\": 7", to the last request. */
static void say_answer(Fake *fake, const char *answer)
{
	g_autofree char *text = g_strdup_printf("{%s%s%s}", answer, fake->id ? ", \"id\": " : "",
						fake->id ? fake->id : "");

	fake_say(fake, text);
}

/* The same, and it is the answer to that command from now on. */
static void answer_with(Fake *fake, const char *kind, const char *value)
{
	char *answer = g_strdup_printf("\"%s\": %s", kind, value);

	g_hash_table_insert(fake->answers, g_strdup(fake->command), answer);
	say_answer(fake, answer);
}

void fake_return(Fake *fake, const char *result)
{
	answer_with(fake, "return", result);
}

void fake_answer(Fake *fake, const char *command, const char *result)
{
	g_free(fake_expect(fake, command));
	fake_return(fake, result);
}

void fake_refuse(Fake *fake, const char *class, const char *desc)
{
	g_autofree char *error = g_strdup_printf("{\"class\": \"%s\", \"desc\": \"%s\"}", class,
						 desc);

	answer_with(fake, "error", error);
}

void fake_event(Fake *fake, const char *name, const char *data)
{
	g_autofree char *text = g_strdup_printf("{\"event\": \"%s\", \"data\": %s, \"timestamp\": "
						"{\"seconds\": 1795406400, \"microseconds\": 17}}",
						name, data);

	fake_say(fake, text);
}

void fake_accept(Fake *fake)
{
	await(fake->listen_fd);
	fake->fd = accept4(fake->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	g_assert_cmpint(fake->fd, >=, 0);
	g_string_truncate(fake->received, 0);
	fake_say(fake, greeting);
	fake_answer(fake, "qmp_capabilities", "{}");
}

void fake_hang_up(Fake *fake)
{
	if (fake->fd >= 0)
		close(fake->fd);
	fake->fd = -EBADF;
}

/* ---- its end ---- */

/* Serves the verb while it may still ask. */
static void serve_on(Fake *fake)
{
	struct pollfd poll_fd = { .fd = fake->fd, .events = POLLIN };

	if (fake->fd < 0 || poll(&poll_fd, 1, 1) != 1) {
		g_usleep(1000);
	} else {
		g_autofree char *arguments = take_request(fake);

		if (!arguments)
			fake_hang_up(fake);
		else
			answer_again(fake);
	}
}

int fake_end(Fake *fake)
{
	gint64 deadline = g_get_monotonic_time() + FAKE_WAIT_MS * 1000;
	int status;

	while (waitpid(fake->pid, &status, WNOHANG) == 0) {
		if (g_get_monotonic_time() > deadline) {
			kill(fake->pid, SIGKILL);
			waitpid(fake->pid, &status, 0);
			fake->pid = 0;
			g_error("the verb does not end; it said: %s", read_all(fake->err_fd));
		}
		serve_on(fake);
	}
	fake->pid = 0;
	fake->out = read_all(fake->out_fd);
	fake->err = read_all(fake->err_fd);
	g_test_message("stdout: %s", fake->out);
	g_test_message("stderr: %s", fake->err);
	g_assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

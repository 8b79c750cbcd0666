/* SPDX-License-Identifier: BSD-3-Clause */
/* The control socket by itself: empty commands per second, one after the other and pipelined. */
#include "bench/bench.h"
#include "host/mem_speed.h"
#include "qmp/qmp_client.h"
#include "qmp/qmp_server.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROUNDS     9u
#define N_COMMANDS 5000u

typedef struct Server {
	GMainContext *context;
	GMainLoop *loop;
	QmpServer *qmp;
	GThread *thread;
} Server;

static void run_nothing(QmpCall *call, JsonObject *args, void *opaque)
{
	qmp_call_return(call, NULL);
}

static const QmpCommand commands[] = { { "nothing", NULL, run_nothing }, { .name = NULL } };

static gpointer server_main(gpointer opaque)
{
	const Server *server = opaque;

	g_main_context_push_thread_default(server->context);
	g_main_loop_run(server->loop);
	g_main_context_pop_thread_default(server->context);
	return NULL;
}

static gboolean end_loop(gpointer opaque)
{
	g_main_loop_quit(((const Server *)opaque)->loop);
	return G_SOURCE_REMOVE;
}

/* Returns the client's end of a socket whose other end is served. */
static int server_start(Server *server)
{
	const QmpServerConfig config = { .package = "bench" };
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		g_error("socketpair failed");
	server->context = g_main_context_new();
	server->loop = g_main_loop_new(server->context, FALSE);
	server->qmp = qmp_server_new(server->context, &config);
	qmp_server_add_commands(server->qmp, commands, NULL);
	qmp_server_adopt(server->qmp, pair[1]);
	server->thread = g_thread_new("qmp", server_main, server);
	return pair[0];
}

static void server_stop(Server *server)
{
	g_main_context_invoke(server->context, end_loop, server);
	g_thread_join(server->thread);
	qmp_server_free(server->qmp);
	g_main_loop_unref(server->loop);
	g_main_context_unref(server->context);
}

static double one_by_one(QmpClient *client)
{
	uint64_t start_ns = bench_now_ns();
	GError *error = NULL;

	for (unsigned i = 0; i < N_COMMANDS; i++) {
		JsonNode *result = qmp_client_call(client, "nothing", NULL, 0, &error);

		if (!result)
			g_error("%s", error->message);
		json_node_unref(result);
	}
	return N_COMMANDS / ((double)(bench_now_ns() - start_ns) / 1e9);
}

/* As many answers as requests, in whatever pieces they come. */
static gpointer read_answers(gpointer opaque)
{
	const size_t len = N_COMMANDS * strlen("{\"return\": {}}\r\n");
	char buf[65536];

	for (size_t got = 0; got < len;) {
		ssize_t n = recv(GPOINTER_TO_INT(opaque), buf, MIN(sizeof(buf), len - got), 0);

		if (n <= 0)
			g_error("the server closed the connection");
		got += (size_t)n;
	}
	return NULL;
}

static double pipelined(int fd)
{
	g_autoptr(GString) requests = g_string_new(NULL);
	uint64_t start_ns;
	GThread *reader;

	for (unsigned i = 0; i < N_COMMANDS; i++)
		g_string_append(requests, "{\"execute\": \"nothing\"}\n");
	start_ns = bench_now_ns();
	reader = g_thread_new("reader", read_answers, GINT_TO_POINTER(fd));
	for (gsize at = 0; at < requests->len;) {
		ssize_t n = send(fd, requests->str + at, requests->len - at, MSG_NOSIGNAL);

		if (n < 0)
			g_error("the server closed the connection");
		at += (gsize)n;
	}
	g_thread_join(reader);
	return N_COMMANDS / ((double)(bench_now_ns() - start_ns) / 1e9);
}

int main(void)
{
	Server server = { 0 };
	double single[ROUNDS], stream[ROUNDS];
	GError *error = NULL;
	QmpClient *client = qmp_client_new(server_start(&server), "bench", 0, &error);

	if (!client)
		g_error("%s", error->message);
	for (unsigned i = 0; i < ROUNDS; i++) {
		single[i] = one_by_one(client);
		stream[i] = pipelined(qmp_client_peek_fd(client));
	}
	qmp_client_free(client);
	server_stop(&server);
	bench_report("qmp-empty-per-s", median(single, ROUNDS), "1/s", BENCH_AT_LEAST, 10000);
	bench_report("qmp-pipelined-per-s", median(stream, ROUNDS), "1/s", BENCH_AT_LEAST, 50000);
	return 0;
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* softdcd-keeper: holds the memory of a pool while its daemon is not there; libc only. */
#include "keeper/keeper_server.h"

#include "util/autofd.h"
#include "util/nofile.h"
#include "util/sd_notify.h"
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define IDLE_S      10
#define MAX_IDLE_S  86400
#define BACKLOG     16
#define EXIT_SERVED 4 /* by another keeper: no trouble for who only wants one to be there */
/* Descriptors that are not for holding: those of one message, of connections, our own. */
#define RESERVED_FDS 300

typedef struct Options {
	const char *socket_path;
	unsigned idle_s;
	int ready_fd; /* who started us reads there how it went; -1 = nobody */
} Options;

static const char usage[] =
	"usage: softdcd-keeper [--idle SECONDS] [--ready-fd N] SOCKET\n"
	"\n"
	"Holds the memory files of a softdcd pool while its daemon restarts. The daemon starts\n"
	"it by itself. It ends when told, or after SECONDS (10) with nobody connected and nothing\n"
	"to hold, or when SOCKET (absolute) was removed. Ending it frees the memory.\n";

/* To whoever waits for us, or to stderr. */
static void complain(const Options *options, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void complain(const Options *options, const char *format, ...)
{
	char text[512];
	va_list args;
	size_t len;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	fprintf(stderr, "softdcd-keeper: %s\n", text);
	len = strlen(text);
	if (options->ready_fd >= 0 && write(options->ready_fd, text, len) != (ssize_t)len)
		fprintf(stderr, "softdcd-keeper: nobody waits for this\n");
}

static int parse_number(const char *text, long max, int *ret_number)
{
	char *end;
	long number;

	errno = 0;
	number = strtol(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || number < 0 || number > max)
		return -ERANGE;
	*ret_number = (int)number;
	return 0;
}

/* -1: go on; else the exit code. */
static int parse_options(int argc, char **argv, Options *options)
{
	static const struct option known[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ "idle", required_argument, NULL, 'i' },
		{ "ready-fd", required_argument, NULL, 'r' },
		{ 0 },
	};
	int option, number;

	while ((option = getopt_long(argc, argv, "h", known, NULL)) != -1) {
		switch (option) {
		case 'h':
			fputs(usage, stdout);
			return 0;
		case 'V':
			printf("softdcd-keeper %s\n", SOFTDCD_VERSION);
			return 0;
		case 'i':
			if (parse_number(optarg, MAX_IDLE_S, &number) != 0 || number == 0) {
				complain(options, "--idle %s: must be a number from 1 to %d",
					 optarg, MAX_IDLE_S);
				return 2;
			}
			options->idle_s = (unsigned)number;
			break;
		case 'r':
			if (parse_number(optarg, 1 << 20, &number) != 0 ||
			    fcntl(number, F_SETFD, FD_CLOEXEC) != 0) {
				complain(options, "--ready-fd %s: no open descriptor", optarg);
				return 2;
			}
			options->ready_fd = number;
			break;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (optind != argc - 1 || argv[optind][0] != '/') {
		complain(options, "expected one socket, by its absolute path");
		fputs(usage, stderr);
		return 2;
	}
	options->socket_path = argv[optind];
	return -1;
}

/* The lock is on a file of its own and held for life: so the socket beside it is nobody's. Returns
 * 0 or an exit code. */
static int lock_socket(const Options *options, int *ret_fd)
{
	char path[sizeof(((struct sockaddr_un *)0)->sun_path) + sizeof(".lock")];
	AUTOFD int fd = -EBADF;

	snprintf(path, sizeof(path), "%s.lock", options->socket_path);
	fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0) {
		complain(options, "%s: cannot open the lock: %s", path, strerror(errno));
		return 1;
	}
	if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
		*ret_fd = fd_steal(&fd);
		return 0;
	}
	if (errno == EWOULDBLOCK) {
		complain(options, "%s: another keeper serves it", options->socket_path);
		return EXIT_SERVED;
	}
	complain(options, "%s: cannot lock: %s", path, strerror(errno));
	return 1;
}

static int listen_on_socket(const Options *options)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *path = options->socket_path;
	AUTOFD int sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat st;

	strcpy(address.sun_path, path); /* main() has looked at its length */
	if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode)) {
		complain(options, "%s: a file that is no socket is in the way", path);
		return -1;
	}
	if (unlink(path) != 0 && errno != ENOENT) {
		complain(options, "%s: cannot remove the stale socket: %s", path, strerror(errno));
		return -1;
	}
	if (sock < 0 || bind(sock, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
	    listen(sock, BACKLOG) != 0) {
		complain(options, "%s: cannot listen: %s", path, strerror(errno));
		return -1;
	}
	return fd_steal(&sock);
}

/* Ends with the daemon's session, terminal or readers it does not: SIGTERM and SIGKILL do end it.
 */
static void ignore_signals(void)
{
	static const int ignored[] = {
		SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2, SIGALRM
	};

	for (unsigned i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
}

static void tell_ready(Options *options)
{
	static const char ready[] = "ready\n";

	sd_notify_ready("serving");
	if (options->ready_fd < 0)
		return;
	/* Whoever started us may have gone; that is no reason not to serve the next one. */
	if (write(options->ready_fd, ready, strlen(ready)) < 0)
		fprintf(stderr, "softdcd-keeper: nobody waits for us\n");
	close(options->ready_fd);
	options->ready_fd = -1;
}

int main(int argc, char **argv)
{
	Options options = { .idle_s = IDLE_S, .ready_fd = -1 };
	int rc = parse_options(argc, argv, &options);
	uint64_t n_files = nofile_raise(NOFILE_WANTED);
	AUTOFD int lock_fd = -EBADF;
	AUTOFD int listen_fd = -EBADF;
	KeeperConfig config;

	if (rc >= 0)
		return rc;
	if (strlen(options.socket_path) >= sizeof(((struct sockaddr_un *)0)->sun_path)) {
		complain(&options, "%s: a socket's path has at most %zu bytes", options.socket_path,
			 sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
		return 2;
	}
	ignore_signals();
	umask(0177); /* the socket is made with what is left of 0777 */
	rc = lock_socket(&options, &lock_fd);
	if (rc != 0)
		return rc;
	listen_fd = listen_on_socket(&options);
	if (listen_fd < 0)
		return 1;
	if (chdir("/") != 0)
		return 1;
	tell_ready(&options);
	config = (KeeperConfig){
		.listen_fd = listen_fd,
		.socket_path = options.socket_path,
		.n_max = n_files > RESERVED_FDS ? (uint32_t)(n_files - RESERVED_FDS) : 0,
		.idle_ms = options.idle_s * 1000,
	};
	rc = keeper_server_run(&config);
	if (rc < 0) {
		complain(&options, "%s: %s", options.socket_path, strerror(-rc));
		return 1;
	}
	return 0;
}

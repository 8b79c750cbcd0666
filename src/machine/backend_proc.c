/* SPDX-License-Identifier: BSD-3-Clause */
/* A daemon that serves one machine: started, listened to, and gone for certain when we say so. */
#include "machine/backend_proc.h"

#include "machine/log_limit.h"
#include "util/autofd.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define HIGH_FD   10 /* out of the way of what the daemon gets as 0 to 3 */
#define MAX_LINE  512
#define MAX_PROCS 4

struct BackendProc {
	char *name;
	pid_t pid;
	int out_fd;  /* what it writes */
	int stop_fd; /* ends the thread */
	void (*log)(void *opaque, const char *line);
	void *opaque;
	GThread *thread;
	LogLimit log_limit; /* the thread's */

	GMutex lock; /* over all below */
	int pidfds[MAX_PROCS];
	unsigned n_pidfds; /* the first is the one we started */
	bool has_ended;
	bool is_heard; /* also all it wrote before */
	GCond heard;
	siginfo_t how;
	char last_line[MAX_LINE];
	void (*ended)(void *opaque);
	void *ended_opaque;
};

int backend_proc_open_pidfd(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0); /* glibc has no wrapper before 2.36 */

	return fd < 0 ? -errno : fd;
}

/* ---- start ---- */

/* Only async-signal-safe calls from here to exec: another thread may have held any lock. */
static _Noreturn void become_daemon(const BackendProcConfig *config, int null_fd, int out_fd,
				    pid_t parent)
{
	static char *const environment[] = {
		(char *)"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		NULL,
	};
	struct sigaction action = { .sa_handler = SIG_DFL };
	sigset_t none;
	int fd;

	/* Our death is its death; should we be dead already, nobody would tell it. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
		_exit(127);
	sigemptyset(&action.sa_mask);
	for (int number = 1; number < NSIG; number++)
		(void)sigaction(number, &action, NULL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)setsid();

	fd = fcntl(config->fd, F_DUPFD, HIGH_FD);
	null_fd = fcntl(null_fd, F_DUPFD, HIGH_FD);
	out_fd = fcntl(out_fd, F_DUPFD, HIGH_FD);
	if (fd < 0 || null_fd < 0 || out_fd < 0)
		_exit(127);
	if (dup2(null_fd, 0) < 0 || dup2(out_fd, 1) < 0 || dup2(out_fd, 2) < 0 ||
	    dup2(fd, BACKEND_PROC_FD) < 0 || close_range(BACKEND_PROC_FD + 1, ~0u, 0) != 0)
		_exit(127);
	execve(config->argv[0], (char *const *)config->argv, environment);
	(void)!write(2, "cannot be executed\n", 19);
	_exit(127);
}

static gpointer listen_to_it(gpointer opaque);

static void fail(GError **error, const BackendProcConfig *config, int errno_value)
{
	g_set_error(error, G_IO_ERROR, g_io_error_from_errno(errno_value),
		    "cannot start %s (%s): %s", config->name, config->argv[0],
		    g_strerror(errno_value));
}

static bool fork_it(BackendProc *proc, const BackendProcConfig *config, GError **error)
{
	AUTOFD int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	AUTOFD int read_fd = -EBADF;
	AUTOFD int write_fd = -EBADF;
	pid_t parent = getpid();
	int ends[2];
	int pidfd;
	pid_t pid;

	if (null_fd < 0 || pipe2(ends, O_CLOEXEC) != 0) {
		fail(error, config, errno);
		return false;
	}
	read_fd = ends[0];
	write_fd = ends[1];
	pid = fork();
	if (pid == 0)
		become_daemon(config, null_fd, write_fd, parent);
	if (pid < 0) {
		fail(error, config, errno);
		return false;
	}
	/* It is our child and not waited for, so the pid is its own whatever it has done. */
	pidfd = backend_proc_open_pidfd(pid);
	if (pidfd < 0) {
		fail(error, config, -pidfd);
		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
		return false;
	}
	proc->pid = pid;
	proc->pidfds[proc->n_pidfds++] = pidfd;
	proc->out_fd = fd_steal(&read_fd);
	return true;
}

BackendProc *backend_proc_spawn(const BackendProcConfig *config, GError **error)
{
	AUTOFD int stop_fd = eventfd(0, EFD_CLOEXEC);
	BackendProc *proc;

	if (stop_fd < 0) {
		fail(error, config, errno);
		return NULL;
	}
	proc = g_new0(BackendProc, 1);
	proc->name = g_strdup(config->name);
	proc->log = config->log;
	proc->opaque = config->opaque;
	g_mutex_init(&proc->lock);
	g_cond_init(&proc->heard);
	if (!fork_it(proc, config, error)) {
		g_cond_clear(&proc->heard);
		g_mutex_clear(&proc->lock);
		g_free(proc->name);
		g_free(proc);
		return NULL;
	}
	proc->stop_fd = fd_steal(&stop_fd);
	proc->thread = g_thread_new("backend", listen_to_it, proc);
	return proc;
}

pid_t backend_proc_pid(const BackendProc *proc)
{
	return proc->pid;
}

/* ---- while it runs ---- */

static void pass_on_line(BackendProc *proc, char *line)
{
	g_autofree char *text = NULL;
	const char *behind;

	/* It is not trusted with our terminal. */
	for (char *c = line; *c != '\0'; c++) {
		if (g_ascii_iscntrl(*c))
			*c = ' ';
	}
	g_strchomp(line);
	if (*line == '\0')
		return;
	g_mutex_lock(&proc->lock);
	g_strlcpy(proc->last_line, line, sizeof(proc->last_line));
	g_mutex_unlock(&proc->lock);
	behind = proc->log != NULL ? log_limit_pass(&proc->log_limit) : NULL;
	if (behind == NULL)
		return;
	text = g_strdup_printf("%s: %s%s", proc->name, line, behind);
	proc->log(proc->opaque, text);
}

/* Reads what there is; false at the end. */
static bool read_output(BackendProc *proc, char *line, size_t *len)
{
	char bytes[MAX_LINE];
	ssize_t got = read(proc->out_fd, bytes, sizeof(bytes));

	if (got <= 0)
		return got < 0 && errno == EINTR;
	for (ssize_t i = 0; i < got; i++) {
		if (bytes[i] != '\n' && *len < MAX_LINE - 1) {
			line[(*len)++] = bytes[i] != '\0' ? bytes[i] : ' ';
			continue;
		}
		line[*len] = '\0';
		pass_on_line(proc, line);
		*len = 0;
		if (bytes[i] != '\n')
			line[(*len)++] = bytes[i] != '\0' ? bytes[i] : ' ';
	}
	return true;
}

/*
 * Under the lock. Takes note of the end of the process we started, once it is there. A pidfd may
 * say so (Linux 6.18) a moment before there is something to wait for: then with FLAGS 0, not
 * WNOHANG.
 */
static void reap(BackendProc *proc, int flags)
{
	if (!proc->has_ended && waitid(P_PID, (id_t)proc->pid, &proc->how, WEXITED | flags) == 0 &&
	    proc->how.si_pid == proc->pid)
		proc->has_ended = true;
}

static void note_end(BackendProc *proc)
{
	void (*ended)(void *opaque) = NULL;
	void *opaque = NULL;

	g_mutex_lock(&proc->lock);
	reap(proc, 0);
	if (proc->has_ended) {
		ended = proc->ended;
		opaque = proc->ended_opaque;
		proc->ended = NULL;
	}
	proc->is_heard = true;
	g_cond_broadcast(&proc->heard);
	g_mutex_unlock(&proc->lock);
	if (ended != NULL)
		ended(opaque);
}

static gpointer listen_to_it(gpointer opaque)
{
	BackendProc *proc = opaque;
	struct pollfd polled[] = {
		{ .fd = proc->stop_fd, .events = POLLIN },
		{ .fd = proc->out_fd, .events = POLLIN },
		{ .fd = proc->pidfds[0], .events = POLLIN },
	};
	char line[MAX_LINE];
	size_t len = 0;

	while (polled[0].revents == 0) {
		if (poll(polled, G_N_ELEMENTS(polled), -1) < 0)
			continue;
		/* Its last words before its end. */
		if (polled[1].revents != 0 && !read_output(proc, line, &len)) {
			line[len] = '\0';
			pass_on_line(proc, line);
			len = 0;
			polled[1].fd = -1;
			polled[1].revents = 0;
		} else if (polled[1].revents == 0 && polled[2].revents != 0) {
			note_end(proc);
			polled[2].fd = -1;
			polled[2].revents = 0;
		}
	}
	return NULL;
}

void backend_proc_add_pidfd(BackendProc *proc, int pidfd)
{
	g_mutex_lock(&proc->lock);
	g_assert(proc->n_pidfds < MAX_PROCS);
	proc->pidfds[proc->n_pidfds++] = pidfd;
	g_mutex_unlock(&proc->lock);
}

void backend_proc_on_end(BackendProc *proc, void (*ended)(void *opaque), void *opaque)
{
	bool now;

	g_mutex_lock(&proc->lock);
	reap(proc, WNOHANG);
	now = proc->has_ended;
	if (!now) {
		proc->ended = ended;
		proc->ended_opaque = opaque;
	}
	g_mutex_unlock(&proc->lock);
	if (now)
		ended(opaque);
}

/* ---- the end ---- */

bool backend_proc_has_ended(BackendProc *proc)
{
	bool has_ended;

	g_mutex_lock(&proc->lock);
	reap(proc, WNOHANG);
	has_ended = proc->has_ended;
	g_mutex_unlock(&proc->lock);
	return has_ended;
}

void backend_proc_kill(BackendProc *proc)
{
	int pidfds[MAX_PROCS];
	unsigned n;

	g_mutex_lock(&proc->lock);
	n = proc->n_pidfds;
	memcpy(pidfds, proc->pidfds, sizeof(pidfds));
	g_mutex_unlock(&proc->lock);
	for (unsigned i = 0; i < n; i++)
		(void)syscall(SYS_pidfd_send_signal, pidfds[i], SIGKILL, NULL, 0);
	for (unsigned i = 0; i < n; i++) {
		struct pollfd polled = { .fd = pidfds[i], .events = POLLIN };

		/* Readable when all threads have ended, and with them what they had mapped. */
		while (poll(&polled, 1, -1) < 0 && errno == EINTR)
			;
	}
	g_mutex_lock(&proc->lock);
	reap(proc, 0);
	g_mutex_unlock(&proc->lock);
}

char *backend_proc_last_words(BackendProc *proc, unsigned timeout_ms)
{
	gint64 deadline = g_get_monotonic_time() + (gint64)timeout_ms * 1000;
	char *words = NULL;

	g_mutex_lock(&proc->lock);
	while (!proc->is_heard && g_cond_wait_until(&proc->heard, &proc->lock, deadline))
		;
	if (proc->has_ended && proc->how.si_code == CLD_EXITED)
		words = g_strdup_printf("ended with exit code %d%s%s", proc->how.si_status,
					*proc->last_line != '\0' ? ": " : "", proc->last_line);
	else if (proc->has_ended)
		words = g_strdup_printf("was ended by signal %d%s%s", proc->how.si_status,
					*proc->last_line != '\0' ? ": " : "", proc->last_line);
	g_mutex_unlock(&proc->lock);
	return words;
}

void backend_proc_free(BackendProc *proc)
{
	uint64_t one = 1;

	if (proc == NULL)
		return;
	g_mutex_lock(&proc->lock);
	proc->ended = NULL;
	g_mutex_unlock(&proc->lock);
	backend_proc_kill(proc);
	(void)!write(proc->stop_fd, &one, sizeof(one));
	g_thread_join(proc->thread);
	for (unsigned i = 0; i < proc->n_pidfds; i++)
		close(proc->pidfds[i]);
	close(proc->out_fd);
	close(proc->stop_fd);
	g_cond_clear(&proc->heard);
	g_mutex_clear(&proc->lock);
	g_free(proc->name);
	g_free(proc);
}

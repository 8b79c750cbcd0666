/* SPDX-License-Identifier: BSD-3-Clause */
/* Checks of the kernel and of the limits this process has. */
#include "cli/doctor.h"

#include "util/autofd.h"
#include "util/nofile.h"
#include "util/size.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#define PROBE_LEN  (UINT64_C(2) << 20)
#define WINDOW_LEN (UINT64_C(16) << 30) /* a host's default window */
#define SEALS      (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

/* The number in a file of /proc or /sys; false: it has none. */
static bool read_number(const char *path, uint64_t *ret_number)
{
	g_autofree char *text = NULL;

	return g_file_get_contents(path, &text, NULL, NULL) &&
	       g_ascii_string_to_unsigned(g_strstrip(text), 10, 0, UINT64_MAX, ret_number, NULL);
}

static void check_kernel(const CliArgs *args, DoctorFinding *ret)
{
	struct utsname name;
	AUTOFD int fd = -EBADF;

	uname(&name);
	/* Since 5.3; the process behind a socket is watched by it, so no pid is ever mistaken. */
	fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	doctor_found(ret, "%s %s, pidfd %s", name.sysname, name.release,
		     fd >= 0 ? "works" : g_strerror(errno));
	if (fd < 0)
		doctor_cure(ret, DOCTOR_MISSING,
			    "run Linux 5.3 or later, and allow pidfd_open(2) in the sandbox");
}

static void check_memfd(const CliArgs *args, DoctorFinding *ret)
{
	AUTOFD int fd = memfd_create("softdcd-doctor", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	bool works = fd >= 0 && ftruncate(fd, (off_t)PROBE_LEN) == 0 &&
		     fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			       (off_t)PROBE_LEN) == 0 &&
		     fcntl(fd, F_ADD_SEALS, SEALS) == 0;

	doctor_found(ret, "%s",
		     works ? "memory files can be made, punched and sealed" : g_strerror(errno));
	if (!works)
		doctor_cure(ret, DOCTOR_MISSING,
			    "allow memfd_create(2), fallocate(2) and sealing in the sandbox");
}

static void check_fd_passing(const CliArgs *args, DoctorFinding *ret)
{
	int fds[2];
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) {
		doctor_found(ret, "%s", g_strerror(errno));
		doctor_cure(ret, DOCTOR_MISSING, "allow UNIX sockets in the sandbox");
		return;
	}
	if (getsockopt(fds[0], SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 && cred.pid == getpid()) {
		doctor_found(ret, "SOCK_SEQPACKET with peer credentials works");
	} else {
		doctor_found(ret, "no peer credentials");
		doctor_cure(ret, DOCTOR_MISSING,
			    "run daemon and hosts in one pid namespace: a host is known by its "
			    "process");
	}
	close(fds[0]);
	close(fds[1]);
}

static void check_address_space(const CliArgs *args, DoctorFinding *ret)
{
	void *window = mmap(NULL, WINDOW_LEN, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (window != MAP_FAILED) {
		munmap(window, WINDOW_LEN);
		doctor_found(ret, "a window of 16 GiB can be reserved");
		return;
	}
	doctor_found(ret, "a window of 16 GiB cannot be reserved: %s", g_strerror(errno));
	doctor_cure(ret, DOCTOR_LIMITED, "ulimit -v unlimited, or softdcd host --window with less");
}

static void check_map_count(const CliArgs *args, DoctorFinding *ret)
{
	uint64_t count;

	if (!read_number("/proc/sys/vm/max_map_count", &count)) {
		doctor_found(ret, "unknown: /proc/sys/vm/max_map_count cannot be read");
		return;
	}
	doctor_found(ret, "vm.max_map_count is %" PRIu64, count);
	if (count < 65530)
		doctor_cure(ret, DOCTOR_LIMITED,
			    "sysctl vm.max_map_count=262144: a process can hold about as many "
			    "extents as this");
}

static void check_nofile(const CliArgs *args, DoctorFinding *ret)
{
	struct rlimit limit;
	uint64_t holds;

	getrlimit(RLIMIT_NOFILE, &limit);
	holds = geteuid() == 0 ? NOFILE_WANTED : (uint64_t)limit.rlim_max;
	doctor_found(ret, "%" PRIu64 " open files, up to %" PRIu64 " if asked for",
		     (uint64_t)limit.rlim_cur, MAX(holds, (uint64_t)limit.rlim_max));
	if (holds < 1024)
		doctor_cure(ret, DOCTOR_MISSING, "ulimit -Hn 262144, or LimitNOFILE= in the unit");
	else if (holds < 65536)
		doctor_cure(ret, DOCTOR_LIMITED,
			    "ulimit -Hn 262144, or LimitNOFILE= in the unit: each untagged offer "
			    "and each backend is an open file or two");
}

static void check_memory(const CliArgs *args, DoctorFinding *ret)
{
	g_autofree char *text = NULL;
	const char *line;
	g_autofree char *human = NULL;
	uint64_t available;

	if (!g_file_get_contents("/proc/meminfo", &text, NULL, NULL) ||
	    !(line = strstr(text, "MemAvailable:"))) {
		doctor_found(ret, "unknown: /proc/meminfo cannot be read");
		return;
	}
	available = g_ascii_strtoull(line + strlen("MemAvailable:"), NULL, 10) << 10;
	human = size_format_human(available);
	doctor_found(ret, "%s available", human);
	if (available < UINT64_C(256) << 20)
		doctor_cure(ret, DOCTOR_LIMITED,
			    "end what uses it: hosts that write to accepted memory need as much");
}

/* ---- what only some use ---- */

static uint64_t hugepage_len(void)
{
	g_autofree char *text = NULL;
	const char *line;

	if (!g_file_get_contents("/proc/meminfo", &text, NULL, NULL) ||
	    !(line = strstr(text, "Hugepagesize:")))
		return 0;
	return g_ascii_strtoull(line + strlen("Hugepagesize:"), NULL, 10) << 10;
}

static void check_hugetlb(const CliArgs *args, DoctorFinding *ret)
{
	g_autofree char *dir = g_strdup_printf("/sys/kernel/mm/hugepages/hugepages-%" PRIu64 "kB",
					       hugepage_len() >> 10);
	g_autofree char *free_path = g_build_filename(dir, "free_hugepages", NULL);
	g_autofree char *more_path = g_build_filename(dir, "nr_overcommit_hugepages", NULL);
	g_autofree char *human = size_format_human(hugepage_len());
	AUTOFD int fd = memfd_create("softdcd-doctor", MFD_CLOEXEC | MFD_HUGETLB);
	uint64_t n_free = 0, n_more = 0;

	if (fd < 0 || !hugepage_len()) {
		doctor_found(ret, "the kernel has none: %s", g_strerror(errno));
		doctor_cure(ret, DOCTOR_LIMITED,
			    "run a kernel with hugetlbfs, or do without --type hugetlb");
		return;
	}
	read_number(free_path, &n_free);
	read_number(more_path, &n_more);
	doctor_found(ret, "%" PRIu64 " pages of %s are free, %" PRIu64 " more may be made", n_free,
		     human, n_more);
	if (!n_free && !n_more)
		doctor_cure(
			ret, DOCTOR_LIMITED,
			"sysctl vm.nr_hugepages=N before --type hugetlb is used or a guest starts");
}

static void check_devdax(const CliArgs *args, DoctorFinding *ret)
{
	g_autoptr(GDir) dir = g_dir_open("/dev", 0, NULL);
	unsigned n = 0, n_usable = 0;
	const char *name;

	while (dir && (name = g_dir_read_name(dir)) != NULL) {
		g_autofree char *path = g_build_filename("/dev", name, NULL);

		if (!g_str_has_prefix(name, "dax"))
			continue;
		n++;
		n_usable += access(path, R_OK | W_OK) == 0;
	}
	doctor_found(ret, "%u devices, of which %u can be opened", n, n_usable);
	if (n > n_usable)
		doctor_cure(ret, DOCTOR_LIMITED,
			    "give yourself access to /dev/dax*, or do without --type devdax");
}

const DoctorCheck doctor_machine_checks[] = {
	{ "kernel", true, "to know for certain that a host's process has ended", check_kernel },
	{ "memfd", true, "backends", check_memfd },
	{ "unix-sockets", true, "hosts", check_fd_passing },
	{ "open-files", true, "backends and hosts", check_nofile },
	{ "memory", false, "backends", check_memory },
	{ "address-space", false, "process hosts", check_address_space },
	{ "map-count", false, "process hosts with many extents", check_map_count },
	{ "hugetlb", false, "backends of type hugetlb and guests' own memory", check_hugetlb },
	{ "devdax", false, "backends of type devdax", check_devdax },
	{ .name = NULL },
};

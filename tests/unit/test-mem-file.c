/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory files: sizes, seals, hostile holders of their descriptors, wiping, adoption. */

#include "capacity/mem_file.h"
#include "util/autofd.h"
#include <fcntl.h>
#include <gio/gio.h>
#include <glib/gstdio.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define KIB    ((uint64_t)1024)
#define MIB    (KIB * 1024)
#define NOBODY 65534

static MemFile *new_memfd(uint64_t len, bool read_only)
{
	MemFileConfig config = {
		.name = "test", .type = BACKEND_MEMFD, .len = len, .read_only = read_only
	};
	g_autoptr(GError) error = NULL;
	MemFile *file = mem_file_new(&config, &error);

	g_assert_no_error(error);
	return file;
}

static void assert_refused(const MemFileConfig *config, const char *word1, const char *word2)
{
	g_autoptr(GError) error = NULL;

	g_assert_null(mem_file_new(config, &error));
	g_assert_nonnull(error);
	if (!strstr(error->message, word1) || !strstr(error->message, word2))
		g_error("\"%s\" lacks \"%s\" or \"%s\"", error->message, word1, word2);
}

static char *temp_path(const char *name)
{
	g_autofree char *leaf = g_strdup_printf("softdcd-mem-file-%d-%s", getpid(), name);

	return g_build_filename(g_get_tmp_dir(), leaf, NULL);
}

static void test_sizes(void)
{
	MemFileConfig config = { .name = "odd", .type = BACKEND_MEMFD };
	g_autoptr(MemFile) file = new_memfd(64 * MIB, false);

	g_assert_cmpuint(mem_file_len(file), ==, 64 * MIB);
	g_assert_cmpuint(mem_file_page_size(file), ==, 4096);
	g_assert_cmpuint(mem_file_allocated_len(file), ==, 0);
	g_assert_true(mem_file_is_replaceable(file));
	assert_refused(&config, "odd", "size 0");
	config.len = 4097;
	assert_refused(&config, "4097", "multiple");
	config.len = UINT64_C(1) << 63;
	assert_refused(&config, "9223372036854775808", "limit");
	config = (MemFileConfig){ .type = BACKEND_FILE };
	assert_refused(&config, "file", "path");
}

static void test_read_write(void)
{
	g_autoptr(MemFile) file = new_memfd(1 * MIB, false);
	uint8_t in[5000], out[5000];

	memset(in, 0xa5, sizeof(in));
	g_assert_cmpint(mem_file_write(file, 1000, in, sizeof(in)), ==, 0);
	g_assert_cmpint(mem_file_read(file, 1000, out, sizeof(out)), ==, 0);
	g_assert_cmpmem(in, sizeof(in), out, sizeof(out));
	g_assert_cmpint(mem_file_write(file, 1 * MIB - 1, in, 2), ==, -ERANGE);
	g_assert_cmpint(mem_file_read(file, UINT64_MAX, out, 2), ==, -ERANGE);
	g_assert_cmpint(mem_file_zero(file, 4096, UINT64_MAX - 4095), ==, -ERANGE);
	g_assert_cmpint(mem_file_populate(file), ==, 0);
	g_assert_cmpuint(mem_file_allocated_len(file), ==, 1 * MIB);
}

static void check_zero(MemFile *file)
{
	uint64_t len = mem_file_len(file);
	g_autofree uint8_t *buf = g_malloc(len);

	memset(buf, 0x5a, len);
	g_assert_cmpint(mem_file_write(file, 0, buf, len), ==, 0);
	/* Starts and ends inside a page. */
	g_assert_cmpint(mem_file_zero(file, 100, len - 200), ==, 0);
	g_assert_cmpint(mem_file_read(file, 0, buf, len), ==, 0);
	for (uint64_t i = 0; i < len; i++)
		g_assert_cmpint(buf[i], ==, i >= 100 && i < len - 100 ? 0 : 0x5a);
	g_assert_cmpint(mem_file_zero(file, 0, len), ==, 0);
	g_assert_cmpint(mem_file_read(file, 0, buf, len), ==, 0);
	for (uint64_t i = 0; i < len; i++)
		g_assert_cmpint(buf[i], ==, 0);
}

static void test_zero(void)
{
	g_autoptr(MemFile) file = new_memfd(1 * MIB, false);
	g_autoptr(MemFile) fresh = NULL;
	g_autoptr(GError) error = NULL;

	check_zero(file);
	g_assert_cmpuint(mem_file_allocated_len(file), ==, 0);
	g_assert_cmpint(mem_file_write(file, 0, "x", 1), ==, 0);
	fresh = mem_file_new_like(file, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(mem_file_len(fresh), ==, 1 * MIB);
	g_assert_cmpuint(mem_file_allocated_len(fresh), ==, 0);
}

/* Runs HOLD in a child under UID; fails if an assertion in it does. */
static void as_holder(uid_t uid, void (*hold)(int fd), int fd)
{
	int status;
	pid_t pid = fork();

	g_assert_cmpint(pid, >=, 0);
	if (pid == 0) {
		if (uid != geteuid()) {
			g_assert_cmpint(setgroups(0, NULL), ==, 0);
			g_assert_cmpint(setresgid(uid, uid, uid), ==, 0);
			g_assert_cmpint(setresuid(uid, uid, uid), ==, 0);
		}
		hold(fd);
		_exit(0);
	}
	g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
	g_assert_cmpint(status, ==, 0);
}

/* As the same uid and, if we may, as another one. */
static void as_any_holder(void (*hold)(int fd), int fd)
{
	as_holder(geteuid(), hold, fd);
	if (geteuid() == 0)
		as_holder(NOBODY, hold, fd);
	else
		g_test_message("not root: other uid not tried");
}

static void assert_cannot_resize(int fd)
{
	g_assert_cmpint(ftruncate(fd, 0), !=, 0);
	g_assert_cmpint(ftruncate(fd, 4096), !=, 0);
	g_assert_cmpint(ftruncate(fd, (off_t)(64 * MIB)), !=, 0);
	g_assert_cmpint(fallocate(fd, 0, (off_t)MIB, (off_t)MIB), !=, 0);
	g_assert_cmpint(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, 4096), !=, 0);
	g_assert_cmpint(pwrite(fd, "x", 1, (off_t)(2 * MIB)), !=, 1);
	g_assert_cmpint(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), !=, 0);
	g_assert_cmpint(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), !=, 0);
}

static void hold_writable(int fd)
{
	g_autofree char *link = g_strdup_printf("/proc/self/fd/%d", fd);
	uint8_t *map = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	g_assert_true(map != MAP_FAILED);
	memset(map, 0xee, MIB);
	assert_cannot_resize(fd);
	g_assert_cmpint(open(link, O_RDWR | O_TRUNC), <, 0);
	g_assert_cmpint(truncate(link, 0), !=, 0);
	/* What it can do is spoil what is its own, and flags of its own open file. */
	g_assert_cmpint(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), ==, 0);
	g_assert_cmpint(fcntl(fd, F_SETFL, O_APPEND), ==, 0);
	if (fchmod(fd, 0) != 0)
		g_assert_cmpint(errno, ==, EPERM);
}

static void test_writable_holder(void)
{
	g_autoptr(MemFile) file = new_memfd(MIB, false);
	g_autoptr(GError) error = NULL;
	AUTOFD int fd = mem_file_open_for_host(file, true, &error);
	uint8_t byte = 0;

	g_assert_no_error(error);
	g_assert_cmpint(fcntl(fd, F_GETFD), ==, FD_CLOEXEC);
	as_any_holder(hold_writable, fd);
	/* The pool still works: its own flags, its own length, and another host can be served. */
	g_assert_cmpint(fcntl(mem_file_peek_fd(file), F_GETFL) & O_APPEND, ==, 0);
	g_assert_cmpint(mem_file_write(file, 5000, "\x11", 1), ==, 0);
	g_assert_cmpint(mem_file_read(file, 5000, &byte, 1), ==, 0);
	g_assert_cmpint(byte, ==, 0x11);
	fd_close_auto(&fd);
	fd = mem_file_open_for_host(file, true, &error);
	g_assert_no_error(error);
	g_assert_cmpint(mem_file_zero(file, 0, MIB), ==, 0);
}

/* A wiped RAM file is replaced: what the former host does to the old one shows nowhere. */
static void test_former_holder(void)
{
	g_autoptr(MemFile) file = new_memfd(MIB, false);
	g_autoptr(MemFile) fresh = mem_file_new_like(file, NULL);
	AUTOFD int fd = mem_file_open_for_host(file, true, NULL);
	uint8_t buf[4096], zeros[4096] = { 0 };

	g_clear_pointer(&file, mem_file_unref);
	as_any_holder(hold_writable, fd);
	g_assert_cmpint(mem_file_read(fresh, 0, buf, sizeof(buf)), ==, 0);
	g_assert_cmpmem(buf, sizeof(buf), zeros, sizeof(zeros));
}

/* struct mount_attr and the flags of mount_setattr(2), open_tree(2) */
static void assert_mount_is_out_of_reach(int fd)
{
	uint64_t clear_rdonly[4] = { 0, 1, 0, 0 };

	g_assert_cmpint(syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, clear_rdonly,
				sizeof(clear_rdonly)),
			!=, 0);
	g_assert_cmpint(syscall(SYS_open_tree, fd, "", AT_EMPTY_PATH | 1), !=, 0);
}

static void assert_cannot_write(int fd)
{
	g_autofree char *link = g_strdup_printf("/proc/self/fd/%d", fd);
	g_autofree char *thread_link = g_strdup_printf("/proc/thread-self/fd/%d", fd);
	uint8_t *map;
	int fds[4];

	g_assert_cmpint(pwrite(fd, "x", 1, 0), !=, 1);
	g_assert_cmpint(ftruncate(fd, 0), !=, 0);
	g_assert_true(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
	map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	g_assert_true(map != MAP_FAILED);
	g_assert_cmpint(mprotect(map, 4096, PROT_READ | PROT_WRITE), !=, 0);
	if (fchmod(fd, 0666) != 0)
		g_assert_cmpint(errno, !=, 0);
	fds[0] = open(link, O_RDWR);
	fds[1] = open(link, O_WRONLY);
	fds[2] = open(thread_link, O_RDWR | O_TRUNC);
	fds[3] = open(link, O_RDONLY | O_TRUNC);
	/* A memfd may be opened, but then lets nothing through. */
	for (size_t i = 0; i < G_N_ELEMENTS(fds); i++) {
		if (fds[i] < 0)
			continue;
		g_assert_cmpint(pwrite(fds[i], "x", 1, 0), !=, 1);
		g_assert_cmpint(ftruncate(fds[i], 0), !=, 0);
		g_assert_cmpint(
			fallocate(fds[i], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096), !=,
			0);
		g_assert_cmpint(fallocate(fds[i], FALLOC_FL_ZERO_RANGE, 0, 4096), !=, 0);
		g_assert_true(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, fds[i], 0) == MAP_FAILED);
		map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fds[i], 0);
		if (map != MAP_FAILED)
			g_assert_cmpint(mprotect(map, 4096, PROT_READ | PROT_WRITE), !=, 0);
	}
	assert_mount_is_out_of_reach(fd);
}

static void hold_read_only(int fd)
{
	assert_cannot_write(fd);
	/* A holder may also be all-powerful in namespaces of its own. */
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0)
		assert_cannot_write(fd);
}

static void test_read_only_memfd(void)
{
	g_autoptr(MemFile) file = new_memfd(MIB, true);
	g_autoptr(GError) error = NULL;
	AUTOFD int fd = -EBADF;
	char buf[8] = "";

	g_assert_cmpint(mem_file_write(file, 4000, "weights", 8), ==, 0);
	fd = mem_file_open_for_host(file, false, &error);
	g_assert_no_error(error);
	as_any_holder(hold_read_only, fd);
	assert_cannot_resize(fd);
	g_assert_cmpint(mem_file_read(file, 4000, buf, 8), ==, 0);
	g_assert_cmpstr(buf, ==, "weights");
	g_assert_cmpint(pread(fd, buf, 8, 4000), ==, 8);
	g_assert_cmpstr(buf, ==, "weights");
	/* The pool's mapping still writes, sparsely. */
	g_assert_cmpint(mem_file_zero(file, 0, MIB), ==, 0);
	g_assert_cmpuint(mem_file_allocated_len(file), <=, 8192);
	g_assert_cmpint(pread(fd, buf, 8, 4000), ==, 8);
	g_assert_cmpint(buf[0], ==, 0);
	g_assert_cmpint(mem_file_open_for_host(file, true, &error), ==, -1);
	g_assert_error(error, G_IO_ERROR, G_IO_ERROR_READ_ONLY);
}

static void test_read_only_of_writable_memfd(void)
{
	g_autoptr(MemFile) file = new_memfd(MIB, false);
	g_autoptr(GError) error = NULL;

	g_assert_cmpint(mem_file_open_for_host(file, false, &error), ==, -1);
	g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED);
	g_assert_nonnull(strstr(error->message, "read-only"));
}

static void test_file(void)
{
	g_autofree char *path = temp_path("file"), *link = temp_path("link");
	MemFileConfig config = { .type = BACKEND_FILE, .path = path, .len = MIB };
	g_autoptr(GError) error = NULL;
	g_autoptr(MemFile) file = NULL;
	struct stat st;

	config.len = 0;
	assert_refused(&config, path, "No such file");
	config.len = MIB + 1;
	assert_refused(&config, path, "multiple");
	g_assert_cmpint(access(path, F_OK), !=, 0);
	config.len = MIB;
	file = mem_file_new(&config, &error);
	g_assert_no_error(error);
	g_assert_cmpint(stat(path, &st), ==, 0);
	g_assert_cmpint(st.st_size, ==, MIB);
	g_assert_cmpint(st.st_mode & 07777, ==, 0600);
	g_assert_cmpuint(mem_file_allocated_len(file), ==, 0);
	g_assert_false(mem_file_is_replaceable(file));
	check_zero(file);
	/* A host cut it: refused until wiped back to its length. */
	g_assert_cmpint(truncate(path, 4096), ==, 0);
	g_assert_cmpint(mem_file_open_for_host(file, true, &error), ==, -1);
	g_assert_nonnull(strstr(error->message, path));
	g_assert_cmpint(mem_file_write(file, MIB - 4, "abcd", 4), ==, 0);
	g_assert_cmpint(truncate(path, 0), ==, 0);
	g_assert_cmpint(mem_file_zero(file, 0, MIB), ==, 0);
	g_assert_cmpint(stat(path, &st), ==, 0);
	g_assert_cmpint(st.st_size, ==, MIB);
	/* Existing files never grow. */
	config.len = 2 * MIB;
	assert_refused(&config, path, "1048576");
	config.len = 0;
	g_assert_cmpint(symlink(path, link), ==, 0);
	config.path = link;
	assert_refused(&config, link, "symbolic link");
	config.path = "/dev/null";
	assert_refused(&config, "/dev/null", "regular");
	unlink(link);
	unlink(path);
}

static void make_read_only_file_fd(int out)
{
	g_autofree char *path = temp_path("ro");
	MemFileConfig config = { .type = BACKEND_FILE, .path = path, .len = MIB };
	g_autoptr(MemFile) rw = mem_file_new(&config, NULL);
	g_autoptr(MemFile) ro = NULL;
	g_autoptr(GError) error = NULL;
	int fds[2];

	g_assert_nonnull(rw);
	config.read_only = true;
	config.len = 0;
	ro = mem_file_new(&config, &error);
	g_assert_no_error(error);
	g_assert_cmpint(mem_file_zero(ro, 0, MIB), ==, -EROFS);
	g_assert_cmpint(mem_file_write(ro, 0, "x", 1), ==, -EROFS);
	g_assert_cmpint(mem_file_write(rw, 0, "data", 5), ==, 0);
	chmod(path, 0666);
	fds[0] = mem_file_open_for_host(rw, false, &error);
	fds[1] = fds[0] < 0 ? -1 : mem_file_open_for_host(ro, false, &error);
	unlink(path);
	if (error) {
		/* Refusing is right where it cannot be had; the message says what would help. */
		g_assert_error(error, G_IO_ERROR, G_IO_ERROR_PERMISSION_DENIED);
		g_assert_nonnull(strstr(error->message, "CAP_SYS_ADMIN"));
		return;
	}
	for (int i = 0; i < 2; i++) {
		char buf[5] = "";

		g_assert_cmpint(pread(fds[i], buf, 5, 0), ==, 5);
		g_assert_cmpstr(buf, ==, "data");
		as_any_holder(hold_read_only, fds[i]);
		close(fds[i]);
	}
	g_assert_cmpint(mem_file_write(rw, 0, "more", 5), ==, 0);
}

static void test_read_only_file(void)
{
	make_read_only_file_fd(-1);
}

/* The pool itself without privileges: through namespaces of a child, or refused. */
static void test_read_only_file_unprivileged(void)
{
	if (geteuid() != 0) {
		g_test_skip("needs root to become another user; read-only-file covers this one");
		return;
	}
	as_holder(NOBODY, make_read_only_file_fd, -1);
}

static void test_hugetlb(void)
{
	MemFileConfig config = { .name = "huge", .type = BACKEND_HUGETLB, .len = 6 * MIB };
	g_autoptr(GError) error = NULL;
	g_autoptr(MemFile) file = NULL, read_only = NULL;
	g_autofree char *text = NULL;
	AUTOFD int fd = -EBADF;

	config.page_size = 12 * KIB;
	assert_refused(&config, "12288", "/sys/kernel/mm/hugepages");
	config.page_size = 2 * MIB;
	if (access("/sys/kernel/mm/hugepages/hugepages-2048kB", F_OK) != 0) {
		assert_refused(&config, "2097152", "/sys/kernel/mm/hugepages");
		g_test_skip("this system has no 2 MiB huge pages");
		return;
	}
	config.len = 3 * MIB;
	assert_refused(&config, "3145728", "2097152");
	config.len = 6 * MIB;
	file = mem_file_new(&config, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(mem_file_page_size(file), ==, 2 * MIB);
	g_assert_cmpuint(mem_file_allocated_len(file), ==, 0);
	fd = mem_file_open_for_host(file, true, &error);
	g_assert_no_error(error);
	g_assert_cmpint(ftruncate(fd, 0), !=, 0);
	g_file_get_contents("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", &text, NULL,
			    NULL);
	if (g_ascii_strtoull(text ? text : "0", NULL, 10) < 6) {
		g_assert_cmpint(mem_file_write(file, 0, "x", 1), ==, -ENOMEM);
		g_test_skip("fewer than 6 free 2 MiB huge pages");
		return;
	}
	check_zero(file);
	g_assert_cmpuint(mem_file_allocated_len(file), ==, 0);
	g_assert_cmpint(mem_file_populate(file), ==, 0);
	g_assert_cmpuint(mem_file_allocated_len(file), ==, 6 * MIB);
	g_clear_pointer(&file, mem_file_unref);
	fd_close_auto(&fd);
	config.read_only = true;
	read_only = mem_file_new(&config, &error);
	g_assert_no_error(error);
	check_zero(read_only);
	fd = mem_file_open_for_host(read_only, false, &error);
	g_assert_no_error(error);
	g_assert_true(mmap(NULL, 2 * MIB, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
}

static void test_devdax(void)
{
	g_autofree char *path = temp_path("dax"), *dir = temp_path("sysfs");
	g_autofree char *size = g_build_filename(dir, "size", NULL);
	g_autofree char *align = g_build_filename(dir, "align", NULL);
	MemFileConfig config = { .type = BACKEND_DEVDAX, .path = path, .devdax_sysfs = dir };
	g_autoptr(GError) error = NULL;
	g_autoptr(MemFile) file = NULL;
	AUTOFD int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	g_assert_cmpint(ftruncate(fd, (off_t)(4 * MIB)), ==, 0);
	g_assert_cmpint(g_mkdir(dir, 0700), ==, 0);
	g_assert_true(g_file_set_contents(size, "4194304\n", -1, NULL));
	g_assert_true(g_file_set_contents(align, "2097152\n", -1, NULL));
	file = mem_file_new(&config, &error);
	g_assert_no_error(error);
	g_assert_cmpuint(mem_file_len(file), ==, 4 * MIB);
	g_assert_cmpuint(mem_file_page_size(file), ==, 2 * MIB);
	check_zero(file);
	g_assert_cmpint(mem_file_open_for_host(file, false, &error), ==, -1);
	g_assert_error(error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED);
	config.len = 6 * MIB;
	assert_refused(&config, path, "4194304");
	config.len = 1 * MIB;
	assert_refused(&config, "1048576", "2097152");
	config.len = 0;
	g_assert_true(g_file_set_contents(align, "3000\n", -1, NULL));
	assert_refused(&config, path, "3000");
	config.devdax_sysfs = NULL;
	assert_refused(&config, path, "devdax");
	config.path = "/dev/zero";
	assert_refused(&config, "/dev/zero", "devdax");
	unlink(size);
	unlink(align);
	rmdir(dir);
	unlink(path);
}

static void assert_adopt_refused(const MemFileConfig *config, int fd, const char *word)
{
	g_autoptr(GError) error = NULL;

	g_assert_null(mem_file_adopt(config, fd, &error));
	if (!strstr(error->message, word))
		g_error("\"%s\" lacks \"%s\"", error->message, word);
	/* Still ours. */
	g_assert_cmpint(fcntl(fd, F_GETFD), !=, -1);
}

static void test_adopt(void)
{
	MemFileConfig config = { .name = "kept", .type = BACKEND_MEMFD, .len = MIB };
	g_autoptr(MemFile) file = new_memfd(MIB, false), read_only = new_memfd(MIB, true);
	g_autoptr(MemFile) adopted = NULL;
	g_autoptr(GError) error = NULL;
	AUTOFD int unsealed = memfd_create("u", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	AUTOFD int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	AUTOFD int reader = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	AUTOFD int half_sealed = memfd_create("h", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	AUTOFD int kept = -EBADF;
	char buf[5] = "";

	g_assert_cmpint(ftruncate(unsealed, (off_t)MIB), ==, 0);
	g_assert_cmpint(ftruncate(half_sealed, (off_t)MIB), ==, 0);
	g_assert_cmpint(fcntl(half_sealed, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), ==, 0);
	assert_adopt_refused(&config, unsealed, "sealed");
	assert_adopt_refused(&config, half_sealed, "sealed");
	assert_adopt_refused(&config, null_fd, "type");
	assert_adopt_refused(&config, reader, "writing");
	assert_adopt_refused(&config, mem_file_peek_fd(read_only), "sealed against writing");
	config.len = 2 * MIB;
	assert_adopt_refused(&config, mem_file_peek_fd(file), "1048576");
	config.len = MIB;
	config.type = BACKEND_HUGETLB;
	assert_adopt_refused(&config, mem_file_peek_fd(file), "type");
	config.type = BACKEND_MEMFD;
	config.read_only = true;
	assert_adopt_refused(&config, mem_file_peek_fd(file), "not sealed against writing");
	config.read_only = false;
	g_assert_cmpint(mem_file_write(file, 0, "kept", 5), ==, 0);
	kept = dup(mem_file_peek_fd(file));
	g_clear_pointer(&file, mem_file_unref);
	adopted = mem_file_adopt(&config, kept, &error);
	g_assert_no_error(error);
	fd_steal(&kept);
	g_assert_cmpint(mem_file_read(adopted, 0, buf, 5), ==, 0);
	g_assert_cmpstr(buf, ==, "kept");
	g_clear_pointer(&adopted, mem_file_unref);
	/* Read-only RAM comes back readable, but nobody can write it any more. */
	config.read_only = true;
	adopted = mem_file_adopt(&config, dup(mem_file_peek_fd(read_only)), &error);
	g_assert_no_error(error);
	g_assert_cmpint(mem_file_read(adopted, 0, buf, 5), ==, 0);
	g_assert_cmpint(mem_file_write(adopted, 0, buf, 5), ==, -EROFS);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/capacity/mem-file/sizes", test_sizes);
	g_test_add_func("/unit/capacity/mem-file/read-write", test_read_write);
	g_test_add_func("/unit/capacity/mem-file/zero", test_zero);
	g_test_add_func("/unit/capacity/mem-file/writable-holder", test_writable_holder);
	g_test_add_func("/unit/capacity/mem-file/former-holder", test_former_holder);
	g_test_add_func("/unit/capacity/mem-file/read-only-memfd", test_read_only_memfd);
	g_test_add_func("/unit/capacity/mem-file/read-only-of-writable-memfd",
			test_read_only_of_writable_memfd);
	g_test_add_func("/unit/capacity/mem-file/file", test_file);
	g_test_add_func("/unit/capacity/mem-file/read-only-file", test_read_only_file);
	g_test_add_func("/unit/capacity/mem-file/read-only-file-unprivileged",
			test_read_only_file_unprivileged);
	g_test_add_func("/unit/capacity/mem-file/hugetlb", test_hugetlb);
	g_test_add_func("/unit/capacity/mem-file/devdax", test_devdax);
	g_test_add_func("/unit/capacity/mem-file/adopt", test_adopt);
	return g_test_run();
}

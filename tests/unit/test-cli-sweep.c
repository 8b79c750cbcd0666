/* SPDX-License-Identifier: BSD-3-Clause */
/* What killed machines left is removed, and nothing else is. */
#include "cli/run.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOCK "test.lock"

typedef struct Place {
	char *parent;
	pid_t dead;
} Place;

static pid_t dead_pid(void)
{
	pid_t pid = fork();

	g_assert_cmpint(pid, >=, 0);
	if (pid == 0)
		_exit(0);
	g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
	return pid;
}

static void start(Place *place)
{
	place->parent = g_dir_make_tmp("softdcd-sweep.XXXXXX", NULL);
	g_assert_nonnull(place->parent);
	place->dead = dead_pid();
}

/* NAME, with %d for the pid, in the parent; below it FILE, unless that is NULL. Caller frees. */
static char *path_of(const Place *place, const char *name, pid_t pid, const char *file)
{
	g_autoptr(GString) text = g_string_new(name);
	g_autofree char *number = g_strdup_printf("%d", (int)pid);

	g_string_replace(text, "%d", number, 0);
	return g_build_filename(place->parent, text->str, file, NULL);
}

static void make_file(const char *path)
{
	g_assert_true(g_file_set_contents(path, "x", 1, NULL));
}

static char *make_dir(const Place *place, const char *name, pid_t pid)
{
	g_autofree char *file = path_of(place, name, pid, "qmp.sock");
	g_autofree char *lock = path_of(place, name, pid, LOCK);
	char *dir = path_of(place, name, pid, NULL);

	g_assert_cmpint(g_mkdir(dir, 0700), ==, 0);
	make_file(file);
	make_file(lock);
	return dir;
}

static void sweep(const Place *place)
{
	run_sweep(place->parent, "run-", LOCK);
}

static void finish(Place *place)
{
	const char *argv[] = { "rm", "-rf", place->parent, NULL };

	g_assert_true(g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL,
				   NULL, NULL, NULL));
	g_free(place->parent);
}

static bool is_there(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static void test_dead(void)
{
	static const char *const names[] = { "run-%d", "run-%d-Ab12", "run-%d-" };
	Place place;

	start(&place);
	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autofree char *dir = make_dir(&place, names[i], place.dead);

		sweep(&place);
		g_assert_false(is_there(dir));
		/* One that was killed before it had a lock, or while it removed this. */
		g_assert_cmpint(g_mkdir(dir, 0700), ==, 0);
		sweep(&place);
		g_assert_false(is_there(dir));
	}
	finish(&place);
	/* Nothing to be done where nothing is. */
	run_sweep("/nonexistent/directory", "run-", LOCK);
}

static void test_other_names(void)
{
	static const char *const names[] = { "run-",    "run-x",      "run--%d",
					     "run-%dx", "xrun-%d",    "default",
					     "run-0",   "run-%d.old", "run-99999999999999999999",
					     "run- %d" };
	Place place;

	start(&place);
	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
		g_free(make_dir(&place, names[i], place.dead));
	sweep(&place);
	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autofree char *file = path_of(&place, names[i], place.dead, "qmp.sock");

		g_assert_true(is_there(file));
	}
	finish(&place);
}

static void test_live(void)
{
	g_autofree char *dir = NULL, *file = NULL;
	Place place;

	start(&place);
	dir = make_dir(&place, "run-%d", getpid());
	file = path_of(&place, "run-%d", getpid(), "qmp.sock");
	sweep(&place);
	g_assert_true(is_there(file));
	finish(&place);
}

/* Its process cannot be seen here, or its daemon has not ended yet. */
static void test_locked(void)
{
	g_autofree char *dir = NULL, *file = NULL, *lock = NULL;
	Place place;
	int fd;

	start(&place);
	dir = make_dir(&place, "run-%d", place.dead);
	file = path_of(&place, "run-%d", place.dead, "qmp.sock");
	lock = path_of(&place, "run-%d", place.dead, LOCK);
	fd = open(lock, O_RDWR | O_CLOEXEC);
	g_assert_cmpint(flock(fd, LOCK_EX | LOCK_NB), ==, 0);
	sweep(&place);
	g_assert_true(is_there(file) && is_there(lock));
	close(fd);
	sweep(&place);
	g_assert_false(is_there(dir));
	finish(&place);
}

static void test_links(void)
{
	g_autofree char *other = NULL, *file = NULL, *link = NULL, *dir = NULL, *lock = NULL;
	g_autofree char *inner = NULL;
	Place place;

	start(&place);
	other = make_dir(&place, "other", 0);
	file = path_of(&place, "other", 0, "qmp.sock");
	/* The directory itself, its lock, and a file in it. */
	link = path_of(&place, "run-%d", place.dead, NULL);
	g_assert_cmpint(symlink(other, link), ==, 0);
	dir = make_dir(&place, "run-%d-lock", place.dead);
	lock = path_of(&place, "run-%d-lock", place.dead, LOCK);
	g_assert_cmpint(g_unlink(lock), ==, 0);
	g_assert_cmpint(symlink(file, lock), ==, 0);
	sweep(&place);
	g_assert_true(is_there(link) && is_there(lock) && is_there(file));
	g_assert_cmpint(g_unlink(lock), ==, 0);
	inner = path_of(&place, "run-%d-lock", place.dead, "link");
	g_assert_cmpint(symlink(other, inner), ==, 0);
	sweep(&place);
	g_assert_false(is_there(dir));
	g_assert_true(is_there(file));
	finish(&place);
}

/* What somebody else could have put there, and what is not of a machine. */
static void test_strange(void)
{
	g_autofree char *open_dir = NULL, *file = NULL, *inner = NULL, *plain = NULL;
	Place place;

	start(&place);
	open_dir = make_dir(&place, "run-%d", place.dead);
	g_assert_cmpint(g_chmod(open_dir, 0777), ==, 0);
	file = path_of(&place, "run-%d", place.dead, "qmp.sock");
	g_free(make_dir(&place, "run-%d-deep", place.dead));
	inner = path_of(&place, "run-%d-deep", place.dead, "inner");
	g_assert_cmpint(g_mkdir(inner, 0700), ==, 0);
	plain = path_of(&place, "run-%d-plain", place.dead, NULL);
	make_file(plain);
	sweep(&place);
	g_assert_true(is_there(file) && is_there(inner) && is_there(plain));
	finish(&place);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/unit/cli/sweep/dead", test_dead);
	g_test_add_func("/unit/cli/sweep/other-names", test_other_names);
	g_test_add_func("/unit/cli/sweep/live", test_live);
	g_test_add_func("/unit/cli/sweep/locked", test_locked);
	g_test_add_func("/unit/cli/sweep/links", test_links);
	g_test_add_func("/unit/cli/sweep/strange", test_strange);
	return g_test_run();
}

/* A thread that has left the process's descriptors: its numbers are others' in /proc/self/fd. */
#include "common.h"
#include <sched.h>

static int (*unshare_)(int);

#define PATH_NUMBER 700
#define NUMBER 701

static void look_at(const char *who)
{
	char link[64];
	STEP(fchownat(PATH_NUMBER, "", geteuid(), getegid(), AT_EMPTY_PATH), "%s: fchownat", who);
	STEP(utimensat(PATH_NUMBER, "", (struct timespec[]){{1, 1}, {1, 1}}, AT_EMPTY_PATH), "%s: utimensat", who);
	STEP(linkat(PATH_NUMBER, "", AT_FDCWD, "new", AT_EMPTY_PATH), "%s: linkat", who);
	STEP(write(NUMBER, "WXYZ", 4), "%s: write", who);
	STEP(fchmod(NUMBER, 0600), "%s: fchmod", who);
	snprintf(link, sizeof link, "/proc/thread-self/fd/%d", PATH_NUMBER);
	STEP(chmod(link, 0600), "%s: chmod by /proc", who);
	STEP(truncate(link, 100), "%s: truncate by /proc", who);
}

static void open_as(const char *name)
{
	raw(SYS_dup2, raw(SYS_openat, AT_FDCWD, name, O_PATH), PATH_NUMBER);
	raw(SYS_dup2, raw(SYS_openat, AT_FDCWD, name, O_RDWR), NUMBER);
}

static void *alone(void *by_range)
{
	if (by_range ? close_range(900, 901, CLOSE_RANGE_UNSHARE) : unshare_(CLONE_FILES))
		die("unshare");
	open_as("file");
	look_at(by_range ? "a second thread" : "a thread");
	return NULL;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	unshare_ = (int (*)(int))symbol;
	for (intptr_t i = 0; i < 2; i++) {
		pthread_t thread;
		open_as("plain");
		look_at(i ? "the process then" : "the process");
		if (pthread_create(&thread, NULL, alone, (void *)i) || pthread_join(thread, NULL))
			die("pthread_create");
		look_at(i ? "the process at last" : "the process afterwards");
	}
	return end();
}

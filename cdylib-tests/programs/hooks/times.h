/* What the programs of the utime family add to a step's line: which times it moved. */
#ifndef TIMES_H
#define TIMES_H

#include "common.h"
#include <utime.h>

static const char *const timed[] = {"file", "plain", "symlink", "sub"};
#define TIMED_FILES (sizeof timed / sizeof *timed)
#define SYMLINK 2 /* its atime moves when somebody follows it */
static struct stat times_before[TIMED_FILES];

static struct stat times_of(size_t i)
{
	struct stat st;
	if (raw(SYS_newfstatat, AT_FDCWD, timed[i], &st, AT_SYMLINK_NOFOLLOW))
		die(timed[i]);
	return st;
}

static bool print_time(const char *name, const char *which, struct timespec was, struct timespec is)
{
	if (was.tv_sec == is.tv_sec && was.tv_nsec == is.tv_nsec)
		return false;
	if (labs(is.tv_sec - time(NULL)) < 1000)
		printf(" | %s %s now", name, which);
	else
		printf(" | %s %s %ld.%09ld", name, which, (long)is.tv_sec, is.tv_nsec);
	return true;
}

/* Prints the times that moved and puts them back; leaves alone what nobody moved. */
static void print_times(void)
{
	for (size_t i = 0; i < TIMED_FILES; i++) {
		struct stat was = times_before[i], is = times_of(i);
		bool moved = i != SYMLINK && print_time(timed[i], "atime", was.st_atim, is.st_atim);
		moved |= print_time(timed[i], "mtime", was.st_mtim, is.st_mtim);
		struct timespec back[] = {was.st_atim, was.st_mtim};
		if (moved && raw(SYS_utimensat, AT_FDCWD, timed[i], back, AT_SYMLINK_NOFOLLOW))
			die(timed[i]);
	}
}

static void begin_times(int argc, char **argv)
{
	usleep(20000); /* now is another tick of the clock than when the scene was made */
	begin(argc, argv);
	for (size_t i = 0; i < TIMED_FILES; i++)
		times_before[i] = times_of(i);
	also = print_times;
}

#endif

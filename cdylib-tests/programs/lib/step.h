/* A step: one call, one line of output. */
#ifndef STEP_H
#define STEP_H

#include "depth.h"
#include "put_back.h"
#include <sys/wait.h>

static void UNUSED __attribute__((format(printf, 3, 4))) step(long result, int error, const char *format, ...)
{
	va_list list;
	va_start(list, format);
	write_depth(format, list);
	va_end(list);
	va_start(list, format);
	vprintf(format, list);
	va_end(list);
	printf(" = %ld", result);
	if (result == -1)
		printf(" %s", error == NO_ERROR ? "errno not set" : strerrorname_np(error));
	else if (error != NO_ERROR)
		printf(" errno touched");
	if (also)
		also();
	print_changes();
	printf("\n");
	if (!keep)
		put_back();
}

/* Calls, then prints one line: the label, the result, errno's name, what changed. */
#define STEP(call, ...)                                                                                                \
	do {                                                                                                           \
		paint();                                                                                               \
		errno = NO_ERROR;                                                                                      \
		long result_ = (long)(call);                                                                           \
		int error_ = errno;                                                                                    \
		measure_depth();                                                                                       \
		step(result_, error_, __VA_ARGS__);                                                                    \
	} while (0)

/* What a child of vfork(2) changes is not looked at. */
#pragma GCC diagnostic ignored "-Wclobbered"

/* The same call in a forked child: 0, or -1 with the child's errno. In a child of vfork(2) where its use of the
 * stack is wanted. */
#define IN_CHILD(call)                                                                                                 \
	({                                                                                                             \
		if (!depths)                                                                                           \
			fflush(stdout);                                                                                \
		pid_t child_ = depths ? vfork() : fork();                                                              \
		if (child_ == 0) {                                                                                     \
			errno = 0;                                                                                     \
			_exit((long)(call) == -1 ? errno : 0);                                                         \
		}                                                                                                      \
		ended(child_);                                                                                         \
	})

/* How a child ended: 0; or -1 with its exit status in errno; or 1000 + signal. */
static long UNUSED ended(pid_t child)
{
	int status;
	if (waitpid(child, &status, 0) != child)
		die("waitpid");
	errno = NO_ERROR;
	if (WIFSIGNALED(status))
		return 1000 + WTERMSIG(status);
	if (WEXITSTATUS(status) == 0)
		return 0;
	errno = WEXITSTATUS(status);
	return -1;
}

/* Closes what a step opened, and hands the number on. */
static int UNUSED closing(int fd)
{
	int saved = errno;
	if (fd >= 0)
		close(fd);
	errno = saved;
	return fd;
}

#endif

/* Shared: preloaded before all else into a program that says nothing itself. Each of its msyncs that returns 0 is an
 * acknowledgement, POWERCUT_BLOCKS of them. The run begins at the first, so what that one syncs counts as durable before. */
#define _GNU_SOURCE
#include "run.h"
#include <dlfcn.h>
#include <sys/mman.h>

int msync(void *start, size_t length, int flags)
{
	static uint64_t number, most;
	int (*next)(void *, size_t, int) = (int (*)(void *, size_t, int))dlsym(RTLD_NEXT, "msync");
	int failed;
	if (number == 0) {
		most = strtoull(getenv("POWERCUT_BLOCKS"), NULL, 10);
		run_begins(getenv("POWERCUT_FILE"));
	}
	if (++number > most)
		return next(start, length, flags);
	transaction(0, number, 'f');
	failed = next(start, length, flags);
	if (failed)
		return failed;
	acknowledge(0, number);
	if (number == most)
		run_ends();
	return 0;
}

/* A record is stored through a window that is unmapped before anything is synced. */
#include "crash.h"

static NOINLINE void bug(char *p, int fd, long number)
{
	char *window = mmap(NULL, 15 * PAGE, RW, MAP_SHARED, fd, PAGE);
	must(window != MAP_FAILED, "mmap");
	fill(window - PAGE, number);
	if (!wrong)
		sync_range(window, 15);
	munmap(window, 15 * PAGE);
	commit(p, number);
}

static void run(void)
{
	int fd = opened("store");
	char *p = mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0);
	must(p != MAP_FAILED, "mmap");
	for (long number = 0; number < RECORDS; number++)
		bug(p, fd, number);
}

int main(int argc, char **argv)
{
	return start(argc, argv, check_records, run);
}

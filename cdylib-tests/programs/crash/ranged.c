/* Synced by sync_file_range with all its flags; wrong is the range, by a page. */
#include "crash.h"

static NOINLINE void bug(char *p, int fd, long number)
{
	fill(p, number);
	int all = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
	must(sync_file_range(fd, wrong ? 2 * PAGE : PAGE, wrong ? PAGE : (PAGES - 1) * PAGE, all) == 0, "sync_file_range");
	commit(p, number);
}

static void run(void)
{
	int fd = opened("store");
	char *p = store();
	for (long number = 0; number < RECORDS; number++)
		bug(p, fd, number);
}

int main(int argc, char **argv)
{
	return start(argc, argv, check_records, run);
}

/* As together.c, by fsync. */
#include "crash.h"

static int fd;

static NOINLINE void bug(char *p, long number)
{
	fill(p, number);
	if (!wrong)
		must(fdatasync(fd) == 0, "fdatasync");
	*count_of(p) = number + 1;
	must(fsync(fd) == 0, "fsync");
}

static void run(void)
{
	fd = opened("store");
	char *p = store();
	for (long number = 0; number < RECORDS; number++)
		bug(p, number);
}

int main(int argc, char **argv)
{
	return start(argc, argv, check_records, run);
}

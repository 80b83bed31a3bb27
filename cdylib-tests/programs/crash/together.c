/* Counter and record are made durable by one sync. */
#include "crash.h"

static NOINLINE void bug(char *p, long number)
{
	fill(p, number);
	if (!wrong)
		sync_records(p);
	*count_of(p) = number + 1;
	sync_range(p, PAGES);
}

static void run(void)
{
	char *p = store();
	for (long number = 0; number < RECORDS; number++)
		bug(p, number);
}

int main(int argc, char **argv)
{
	return start(argc, argv, check_records, run);
}

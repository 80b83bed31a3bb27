/* The file is mapped twice, stored to by one mapping and synced by the other: which is enough. */
#include "crash.h"

static NOINLINE void bug(char *p, char *q, long number)
{
	fill(p, number);
	if (!wrong)
		sync_records(q);
	*count_of(q) = number + 1;
	sync_range(p, 1);
}

static void run(void)
{
	char *p = store(), *q = store();
	for (long number = 0; number < RECORDS; number++)
		bug(p, q, number);
}

int main(int argc, char **argv)
{
	return start(argc, argv, check_records, run);
}

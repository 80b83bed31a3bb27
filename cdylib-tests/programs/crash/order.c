/* The counter is made durable before what it counts. */
#include "crash.h"

static NOINLINE void bug(char *p, long number)
{
	if (wrong)
		commit(p, number);
	fill(p, number);
	sync_records(p);
	if (!wrong)
		commit(p, number);
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

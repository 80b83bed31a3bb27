/* The record's sync covers another page: nothing ever makes the record durable. It is stored long
 * before it is counted, and the counter is alone when it is synced. */
#include "crash.h"

static NOINLINE void bug(char *p, long number)
{
	fill(p, number);
	sync_range(wrong ? p + 9 * PAGE : p + PAGE, 3);
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

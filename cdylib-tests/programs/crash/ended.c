/* The last record is not synced at all, and the program ends. */
#include "crash.h"

static NOINLINE void bug(char *p)
{
	fill(p, 0);
	if (!wrong)
		sync_records(p);
	*count_of(p) = 1;
	if (!wrong)
		sync_range(p, 1);
}

static void run(void)
{
	bug(store());
}

int main(int argc, char **argv)
{
	return start(argc, argv, check_records, run);
}

/* A root of two words that belong together is changed where it lies; the twin writes it to the
 * place that is not in use, and then which place is. */
#include "crash.h"

struct root {
	uint64_t place, length;
};

static struct root *roots(char *p)
{
	return (struct root *)(p + PAGE);
}

static NOINLINE void bug(char *p, uint64_t number)
{
	long place = wrong ? 0 : !*count_of(p);
	roots(p)[place] = (struct root){ number, number * 3 };
	sync_range(p + PAGE, 1);
	*count_of(p) = place;
	sync_range(p, 1);
}

static void run(void)
{
	char *p = store();
	for (long number = 0; number < RECORDS; number++)
		bug(p, number + 1);
}

static int check(char *p)
{
	struct root root = roots(p)[*count_of(p)];
	if (root.length == root.place * 3)
		return 0;
	printf("a length of %ld at %ld\n", (long)root.length, (long)root.place);
	return 1;
}

int main(int argc, char **argv)
{
	return start(argc, argv, check, run);
}

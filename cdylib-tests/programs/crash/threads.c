/* Four threads with a store each, three pages long; one of them has the bug. */
#include "crash.h"

#define STEPS 200

static NOINLINE void bug(char *p, uint64_t step, bool here)
{
	volatile uint64_t *record = (volatile uint64_t *)(p + PAGE);
	volatile uint64_t *counter = (volatile uint64_t *)p;
	if (here) {
		*counter = step;
		sync_range(p, 1);
	}
	record[step % 64 * 8] = step;
	sync_range(p + PAGE, 2);
	*counter = step;
	sync_range(p, 1);
}

static char *first;

static void *thread(void *p)
{
	for (uint64_t step = 1; step <= STEPS; step++)
		bug(p, step, wrong && p == first);
	return NULL;
}

static void run(void)
{
	char *p = first = store();
	pthread_t threads[4];
	for (int i = 0; i < 4; i++)
		must(pthread_create(&threads[i], NULL, thread, p + 4 * i * PAGE) == 0, "thread");
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}

static int check(char *p)
{
	for (int i = 0; i < 4; i++, p += 4 * PAGE) {
		uint64_t step = *(uint64_t *)p;
		uint64_t found = ((uint64_t *)(p + PAGE))[step % 64 * 8];
		/* The next round may have begun. */
		if (step && found != step && found != step + 64) {
			printf("step %ld of thread %d is missing\n", (long)step, i);
			return 1;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	return start(argc, argv, check, run);
}

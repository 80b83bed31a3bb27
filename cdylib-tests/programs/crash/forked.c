/* A child stores the record, and its parent counts it. */
#include "crash.h"

static NOINLINE void bug(char *p, long number)
{
	pid_t child = fork();
	must(child >= 0, "fork");
	if (child == 0) {
		fill(p, number);
		if (!wrong)
			sync_records(p);
		_exit(0);
	}
	must(waitpid(child, NULL, 0) == child, "waitpid");
	commit(p, number);
}

static void run(void)
{
	char *p = store();
	for (long number = 0; number < 8; number++)
		bug(p, number);
}

int main(int argc, char **argv)
{
	return start(argc, argv, check_records, run);
}

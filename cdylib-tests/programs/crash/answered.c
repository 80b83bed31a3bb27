/* Nothing is synced before the answer. */
#include "crash.h"

static int channel[2];

static NOINLINE void bug(char *p, long number)
{
	fill(p, number);
	if (!wrong)
		sync_records(p);
	*count_of(p) = number + 1;
	if (!wrong)
		sync_range(p, 1);
	must(send(channel[0], "done", 4, 0) == 4, "send");
	sync_range(p, PAGES);
}

static void run(void)
{
	char *p = store();
	must(socketpair(AF_UNIX, SOCK_DGRAM, 0, channel) == 0, "socketpair");
	for (long number = 0; number < 8; number++)
		bug(p, number);
}

int main(int argc, char **argv)
{
	return start(argc, argv, check_records, run);
}

/* Record and counter are flushed by libpmem, and drained together. */
#include "crash.h"
#include "libpmem.h"

static NOINLINE void bug(char *p, long number)
{
	fill(p, number);
	pmem_flush(record_of(p, number), sizeof(struct record));
	if (!wrong)
		pmem_drain();
	*count_of(p) = number + 1;
	pmem_flush(p, sizeof(uint64_t));
	pmem_drain();
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

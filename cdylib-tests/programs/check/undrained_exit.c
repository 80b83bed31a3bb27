/* The drain is another thread's, and so none for this one. */
#include "check.h"
#include "libpmem.h"
#include <pthread.h>

static void *drain(void *nothing)
{
	pmem_drain();
	return nothing;
}

static NOINLINE void bug(char *p)
{
	pmem_memcpy_nodrain(p + 2 * PAGE, "value", 5);
}

int main(int argc, char **argv)
{
	pthread_t other;
	begin(argc, argv);
	bug(mapped("file", 4));
	must(pthread_create(&other, NULL, drain, NULL) == 0 && pthread_join(other, NULL) == 0, "a thread");
	if (!wrong)
		pmem_drain();
	return 0;
}

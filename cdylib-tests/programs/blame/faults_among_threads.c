/* Some threads store and sync while another has faults of its own: its handler sees no others. */
#include "blame.h"

enum { THREADS = 3, FAULTS = 20 };

static char *p, *guarded;
static atomic_bool done;

static void on_fault(int signal, siginfo_t *info, void *context)
{
	(void)signal, (void)context;
	must(info->si_addr == guarded, "its own fault");
	must(mprotect(guarded, PAGE, RW) == 0, "mprotect");
}

static void *work(void *number)
{
	char *own = p + (long)number * 8 * PAGE;
	for (int i = 0; !done; i++) {
		later(own + i % 8 * PAGE);
		if (i % 256 == 0)
			sync_range(own, 8);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	p = mapped("big", 64);
	guarded = forbidden();
	handle(SIGSEGV, on_fault, 0);
	pthread_t threads[THREADS];
	for (long i = 0; i < THREADS; i++)
		must(pthread_create(&threads[i], NULL, work, (void *)i) == 0, "thread");
	for (int i = 0; i < FAULTS; i++) {
		*guarded = 1;
		must(mprotect(guarded, PAGE, PROT_NONE) == 0, "mprotect");
		sync_range(p + 40 * PAGE, 1);
	}
	done = true;
	for (int i = 0; i < THREADS; i++)
		must(pthread_join(threads[i], NULL) == 0, "join");
	sync_range(p, 64);
	writer(p + 50 * PAGE);
	return 0;
}

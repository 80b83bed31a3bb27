/* Its handler runs on its alternate stack and stores to the mapping from there; so do threads with the
 * smallest stack there is. */
#include "blame.h"

#include <limits.h>

static char *page, *guarded, *stack;
static size_t length;

static void on_fault(int signal, siginfo_t *info, void *context)
{
	(void)signal, (void)info, (void)context;
	char here;
	must(&here >= stack && &here < stack + length, "on the alternate stack");
	later(page);
	must(mprotect(guarded, PAGE, RW) == 0, "mprotect");
}

static void *small(void *p)
{
	later(p);
	return NULL;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4);
	page = p + PAGE;
	guarded = forbidden();
	/* Two frames of the kernel's and a bit; whoever needs more runs into what nobody may touch. */
	length = 2 * sysconf(_SC_MINSIGSTKSZ) + 2048;
	stack = mmap(NULL, 16 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(stack != MAP_FAILED, "mmap");
	stack += PAGE;
	must(mprotect(stack, 15 * PAGE, RW) == 0, "mprotect");
	must(sigaltstack(&(stack_t){ .ss_sp = stack, .ss_size = length }, NULL) == 0, "sigaltstack");
	handle(SIGSEGV, on_fault, SA_ONSTACK);
	guarded[0] = 1;
	pthread_attr_t attributes;
	pthread_attr_init(&attributes);
	must(pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN) == 0, "stack size");
	for (int i = 0; i < 4; i++) {
		pthread_t thread;
		sync_range(p, 4);
		must(pthread_create(&thread, &attributes, small, p + i * PAGE) == 0, "thread");
		must(pthread_join(thread, NULL) == 0, "join");
	}
	sync_range(p, 4);
	writer(p + 2 * PAGE);
	return 0;
}

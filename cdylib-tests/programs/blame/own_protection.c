/* Its own protection holds: what it makes read-only faults, and works again when it is writable. */
#include "blame.h"

static char *p;
static atomic_int faults;

static void on_fault(int signal, siginfo_t *info, void *context)
{
	(void)signal, (void)context;
	must((char *)info->si_addr == p + 300, "address");
	faults++;
	must(mprotect(p, PAGE, RW) == 0, "mprotect");
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	p = mapped("big", 64);
	handle(SIGSEGV, on_fault, 0);
	for (int i = 1; i <= 3; i++) {
		later(p);
		sync_range(p, 64);
		must(mprotect(p, PAGE, PROT_READ) == 0, "mprotect");
		sync_range(p, 64);
		p[300] ^= 1;
		must(faults == i, "its own fault");
		sync_range(p, 64);
		later(p + PAGE);
		p = mremap(p, 64 * PAGE, 64 * PAGE, MREMAP_MAYMOVE);
		must(p != MAP_FAILED, "mremap");
	}
	sync_range(p, 64);
	writer(p + 2 * PAGE);
	return 0;
}

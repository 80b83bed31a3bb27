/* Its handler gets its own faults, with all that belongs to them, and no others. */
#include "blame.h"

static char *guarded;
static atomic_int faults;

static void on_fault(int signal, siginfo_t *info, void *context)
{
	ucontext_t *interrupted = context;
	must(signal == SIGSEGV && info->si_addr == guarded + 5, "address");
	must(info->si_code == SEGV_ACCERR, "code");
	must(interrupted->uc_mcontext.gregs[REG_RIP] != 0, "context");
	sigset_t blocked;
	must(sigprocmask(SIG_SETMASK, NULL, &blocked) == 0, "sigprocmask");
	must(sigismember(&blocked, SIGUSR1) == 1, "its mask");
	must(mprotect(guarded, PAGE, RW) == 0, "mprotect");
	atomic_fetch_add(&faults, 1);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4);
	guarded = forbidden();
	struct sigaction known;
	must(sigaction(SIGSEGV, NULL, &known) == 0 && known.sa_handler == SIG_DFL, "default");
	handle(SIGSEGV, on_fault, 0);
	must(sigaction(SIGSEGV, NULL, &known) == 0 && known.sa_sigaction == on_fault, "known");
	must(sigismember(&known.sa_mask, SIGSEGV) == 1, "mask is known");
	for (int i = 1; i <= 3; i++) {
		later(p + PAGE);
		guarded[5] = 1;
		must(faults == i, "one fault each");
		later(p + 2 * PAGE);
		sync_range(p, 4);
		must(mprotect(guarded, PAGE, PROT_NONE) == 0, "mprotect");
	}
	must(sigaction(SIGSEGV, NULL, &known) == 0 && known.sa_sigaction == on_fault, "still known");
	writer(p + PAGE);
	must(faults == 3, "none but its own");
	return 0;
}

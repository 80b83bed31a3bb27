/* Jumps out of its handler, which is reset by being called, and sends itself SIGSEGV. */
#include "blame.h"

static sigjmp_buf back;

static void jump(int signal, siginfo_t *info, void *context)
{
	(void)signal, (void)context;
	siglongjmp(back, info->si_code == SI_TKILL ? 2 : 1);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4), *guarded = forbidden();
	for (int i = 0; i < 3; i++) {
		handle(SIGSEGV, jump, SA_RESETHAND);
		later(p);
		int how = sigsetjmp(back, 1);
		if (how == 0)
			guarded[0] = 1;
		must(how == 1, "fault");
		struct sigaction known;
		must(sigaction(SIGSEGV, NULL, &known) == 0 && known.sa_handler == SIG_DFL, "reset");
		handle(SIGSEGV, jump, 0);
		later(p + PAGE);
		sync_range(p, 4);
		later(p + 2 * PAGE);
		how = sigsetjmp(back, 1);
		if (how == 0)
			raise(SIGSEGV);
		must(how == 2, "raise");
		sync_range(p, 4);
	}
	writer(p + 3 * PAGE);
	return 0;
}

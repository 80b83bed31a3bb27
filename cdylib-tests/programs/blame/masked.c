/* Stores while it blocks all signals: by its own mask, its handlers', and that of each wait. */
#include "blame.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>

static char *page;

static void on_signal(int signal, siginfo_t *info, void *context)
{
	(void)signal, (void)info, (void)context;
	later(page);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4);
	page = p + PAGE;
	handle(SIGUSR1, on_signal, 0);
	struct sigaction known;
	must(sigaction(SIGUSR1, NULL, &known) == 0 && sigismember(&known.sa_mask, SIGSEGV) == 1, "mask");
	raise(SIGUSR1);
	sync_range(p, 4);
	sigset_t all, but_one;
	sigfillset(&all);
	sigfillset(&but_one);
	sigdelset(&but_one, SIGUSR1);
	must(sigprocmask(SIG_SETMASK, &all, NULL) == 0, "sigprocmask");
	int epoll = epoll_create1(0);
	struct epoll_event event;
	for (int i = 0; i < 4; i++) {
		sync_range(p, 4);
		later(p + 2 * PAGE);
		raise(SIGUSR1);
		int result = i == 0   ? sigsuspend(&but_one)
			     : i == 1 ? ppoll(NULL, 0, NULL, &but_one)
			     : i == 2 ? pselect(0, NULL, NULL, NULL, NULL, &but_one)
				      : epoll_pwait(epoll, &event, 1, -1, &but_one);
		must(result == -1 && errno == EINTR, "interrupted");
	}
	sync_range(p, 4);
	writer(p + 2 * PAGE);
	return 0;
}

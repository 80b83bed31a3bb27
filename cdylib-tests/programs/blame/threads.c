/* Many threads store and sync, while mappings come and go; a child does the same. */
#include "blame.h"

enum { THREADS = 4, ROUNDS = 300 };

static char *p;

static void *work(void *number)
{
	char *own = p + (long)number * 8 * PAGE;
	for (int i = 0; i < ROUNDS; i++) {
		for (int page = 0; page < 8; page++) {
			own[page * PAGE + i] ^= 1;
			p[40 * PAGE + i] ^= 1;
		}
		sync_range(own, 8);
		char *more = mapped("file", 4);
		more[i] ^= 1;
		sync_range(more, 1);
		must(mprotect(more, PAGE, PROT_READ) == 0 && mprotect(more, PAGE, RW) == 0, "mprotect");
		more[i] ^= 1;
		sync_range(more, 1);
		must(munmap(more, 4 * PAGE) == 0, "munmap");
	}
	return NULL;
}

static void all(void)
{
	pthread_t threads[THREADS];
	for (long i = 0; i < THREADS; i++)
		must(pthread_create(&threads[i], NULL, work, (void *)i) == 0, "thread");
	for (int i = 0; i < THREADS; i++)
		must(pthread_join(threads[i], NULL) == 0, "join");
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	p = mapped("big", 64);
	all();
	pid_t child = fork();
	if (child == 0) {
		all();
		_exit(0);
	}
	int status;
	must(waitpid(child, &status, 0) == child && status == 0, "child");
	sync_range(p, 64);
	writer(p + 50 * PAGE);
	return 0;
}

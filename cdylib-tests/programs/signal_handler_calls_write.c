/* A signal handler writes while it interrupts hooks: nothing slips past, nothing is refused wrongly. */
#include "common.h"

static char *map(int fd, int prot, int flags, long pages, long offset)
{
	char *p = mmap(NULL, pages * PAGE, prot, flags, fd, offset);
	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

#define RW (PROT_READ | PROT_WRITE)

static int fd, plain;
static char *p;
static volatile long handled, refused, passed, failed, plain_failed, loops;

static void count(long result)
{
	if (result == -1 && errno == EPERM)
		refused++;
	else if (result == 4)
		passed++;
}

static void handler(int signal UNUSED)
{
	int saved = errno;
	count(pwrite(fd, "WXYZ", 4, 0));
	lseek(fd, 0, SEEK_SET);
	count(write(fd, "WXYZ", 4));
	count(ftruncate(fd, FILE_SIZE) ? -1 : 4);
	if (msync(p, 4 * PAGE, MS_SYNC))
		failed++;
	if (pwrite(plain, "p", 1, 0) != 1)
		plain_failed++;
	handled++;
	errno = saved;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	keep = true;
	fd = open("file", O_RDWR);
	plain = open("plain", O_RDWR);
	p = map(fd, RW, MAP_SHARED, 4, 0);
	struct sigaction action = {.sa_handler = handler};
	struct itimerval every = {{0, 50}, {0, 50}};
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
	while (handled < 500 && loops++ < 20000000) {
		int other = open(loops % 2 ? "file" : "plain", O_RDWR);
		count(loops % 2 ? write(other, "WXYZ", 4) : 0);
		close(other);
		char *q = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0);
		if (q == MAP_FAILED || msync(q, 4 * PAGE, MS_SYNC) || munmap(q, 4 * PAGE))
			failed++;
	}
	every = (struct itimerval){0};
	setitimer(ITIMER_REAL, &every, NULL);
	alarm(300);
	signal(SIGALRM, SIG_DFL);
	STEP(handled >= 500, "the handler ran");
	STEP(refused > 0, "calls were refused");
	STEP(passed > 0, "calls slipped past");
	STEP(failed, "failures of what must work");
	STEP(plain_failed, "false refusals");
	return end();
}

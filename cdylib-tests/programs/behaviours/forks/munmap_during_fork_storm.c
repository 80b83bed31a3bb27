/* fork while another thread maps and unmaps: no lock of the parent stays held in the child. */
#include "common.h"

static char *map(int fd, int prot, int flags, long pages, long offset)
{
	char *p = mmap(NULL, pages * PAGE, prot, flags, fd, offset);
	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

#define RW (PROT_READ | PROT_WRITE)

static volatile bool done;

static void *churning(void *fd)
{
	while (!done) {
		char *p = map(*(int *)fd, RW, MAP_SHARED, 4, 0);
		msync(p, 4 * PAGE, MS_SYNC);
		munmap(p, 2 * PAGE);
		munmap(p, 4 * PAGE);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	keep = true;
	int fd = open("file", O_RDWR);
	pthread_t thread;
	pthread_create(&thread, NULL, churning, &fd);
	int bad = 0;
	for (int i = 0; i < 200; i++) {
		pid_t child = fork();
		if (child == 0) {
			char *q = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0);
			if (q == MAP_FAILED || msync(q, 4 * PAGE, MS_SYNC) || munmap(q, 4 * PAGE) || msync(q, PAGE, MS_SYNC) != -1)
				_exit(1);
			if (fsync(fd))
				_exit(2);
			_exit(0);
		}
		bad += ended(child) != 0;
	}
	done = true;
	pthread_join(thread, NULL);
	STEP(bad, "children that failed or hung");
	return end();
}

/* Threads with the smallest stack that glibc allows: hooks must fit. */
#include "common.h"

static long results[10];

static long answer(long result)
{
	return result < 0 ? 1000 + errno : result;
}

static void *tiny(void *unused UNUSED)
{
	int fd = open("file", O_RDWR), n = 0;
	results[n++] = answer(write(fd, "WXYZ", 4));
	results[n++] = answer(ftruncate(fd, 10));
	results[n++] = answer(truncate("file", FILE_SIZE));
	results[n++] = answer(chmod("file", 0644));
	results[n++] = answer(rename("file", "new"));
	results[n++] = answer(rename("new", "file"));
	char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	results[n++] = p == MAP_FAILED;
	results[n++] = answer(msync(p, PAGE, MS_SYNC));
	results[n++] = answer(fsync(fd));
	results[n++] = answer(munmap(p, 4 * PAGE));
	close(fd);
	return NULL;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	pthread_attr_t attributes;
	pthread_t thread;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN);
	for (int i = 0; i < 4; i++) {
		if (pthread_create(&thread, &attributes, tiny, NULL) || pthread_join(thread, NULL))
			die("pthread_create");
		for (size_t j = 0; j < sizeof results / sizeof *results; j++)
			STEP(results[j], "thread %d, call %zu", i, j);
	}
	return end();
}

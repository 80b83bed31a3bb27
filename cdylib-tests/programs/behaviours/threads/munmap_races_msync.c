/* msync in one thread while another unmaps, covers and protects the mapping: never a signal. */
#include "common.h"

static char *map(int fd, int prot, int flags, long pages, long offset)
{
	char *p = mmap(NULL, pages * PAGE, prot, flags, fd, offset);
	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

#define RW (PROT_READ | PROT_WRITE)

static char *volatile room;
static volatile bool done;
static volatile int strange;

static void *syncing(void *unused UNUSED)
{
	while (!done)
		if (msync(room, 4 * PAGE, MS_SYNC) && errno != ENOMEM)
			strange++;
	return NULL;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	keep = true;
	int fd = open("file", O_RDWR);
	pthread_t threads[2];
	room = map(-1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, 4, 0);
	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, syncing, NULL);
	for (int i = 0; i < 600; i++) {
		if (mmap(room, 4 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0) != room)
			die("mmap");
		room[i * 31 % FILE_SIZE] = '!';
		if (i % 3 == 0)
			munmap(room, 4 * PAGE);
		else if (i % 3 == 1)
			mmap(room + PAGE, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		else
			mprotect(room, 2 * PAGE, PROT_NONE);
	}
	done = true;
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	STEP(strange, "answers other than 0 and ENOMEM");
	return end();
}

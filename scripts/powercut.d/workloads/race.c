/* race FILE TRANSACTIONS msync|file-range|fsync|fault: two threads that store to two lines of one DAX entry of 2 MiB, the
 * last one of the file, and sync them, each for itself. With `fault` the first never syncs: it only maps the file, stores
 * and unmaps it. The kernel loses lines here (docs/kernel-race.md). */
#define _GNU_SOURCE
#include "run.h"
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define HUGE (2ul << 20)
#define APART (1ul << 20)

static char *map;
static const char *how;
static size_t size;
static int fd;
static uint64_t transactions;
static volatile int is_over;

static int sync_of(char *line)
{
	if (how[0] == 'm' || how[1] == 'a')
		return msync(line, 4096, MS_SYNC);
	if (how[1] == 's')
		return fsync(fd);
	return sync_file_range(fd, line - map, 4096,
			       SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
}

static void fault_only(void)
{
	while (!is_over) {
		char *again = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (again == MAP_FAILED)
			fail("mmap");
		/* Not the writers' line. */
		*(volatile uint64_t *)(again + size - HUGE + 64) += 1;
		munmap(again, size);
	}
}

static void *writer(void *which)
{
	uint64_t writer = (uintptr_t)which;
	char *line = map + size - HUGE + writer * APART;
	if (how[1] == 'a' && writer == 0) {
		fault_only();
		return NULL;
	}
	for (uint64_t number = 1; number <= transactions; number++) {
		transaction(writer, number, how[0]);
		*(volatile uint64_t *)line = number;
		if (sync_of(line) != 0)
			fail("sync");
		acknowledge(writer, number);
	}
	is_over = 1;
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t threads[2];
	struct stat stat;
	if (argc != 4)
		return 2;
	fd = open(argv[1], O_RDWR);
	transactions = strtoull(argv[2], NULL, 10);
	how = argv[3];
	if (fd < 0 || fstat(fd, &stat) != 0 || (size = stat.st_size) < HUGE)
		fail(argv[1]);
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		fail("mmap");
	run_begins(argv[1]);
	mark(MARK_MAPPED, (uintptr_t)map, (uint64_t)(size / 4096) << 32);
	for (uintptr_t i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, writer, (void *)i);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	run_ends();
	return 0;
}

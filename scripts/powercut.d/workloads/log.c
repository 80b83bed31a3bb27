/* log FILE pages|whole|fsync RECORDS: a log, written by a program that knows nothing of persistent memory: it stores
 * into a shared mapping, and syncs the record before the head that counts it. */
#define _GNU_SOURCE
#include "log.h"
#include "run.h"
#include <sys/mman.h>

static char *map;
static int fd;
static char how;

static void sync_of(void *start, size_t length)
{
	uintptr_t page = (uintptr_t)start & ~4095ul;
	int failed;
	if (how == 'f')
		failed = fsync(fd);
	else if (how == 'w')
		failed = msync(map, LOG_SIZE, MS_SYNC);
	else
		failed = msync((void *)page, (uintptr_t)start + length - page, MS_SYNC);
	if (failed)
		fail("sync");
}

int main(int argc, char **argv)
{
	struct log_head *head;
	struct log_record *records;
	if (argc != 4)
		return 2;
	fd = open(argv[1], O_RDWR);
	how = argv[2][0];
	map = mmap(NULL, LOG_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd < 0 || map == MAP_FAILED)
		fail(argv[1]);
	head = (void *)map;
	records = (void *)(map + LOG_HEAD);
	head->magic = LOG_MAGIC;
	sync_of(head, sizeof *head);

	run_begins(argv[1]);
	mark(MARK_MAPPED, (uintptr_t)map, (uint64_t)LOG_SIZE >> 12 << 32);
	for (uint64_t number = 1; number <= strtoull(argv[3], NULL, 10); number++) {
		struct log_record *record = &records[(number - 1) % LOG_CAPACITY];
		transaction(0, number, how);
		log_fill(record, number);
		sync_of(record, sizeof *record);
		head->records = number;
		sync_of(head, sizeof *head);
		acknowledge(0, number);
	}
	run_ends();
	return 0;
}

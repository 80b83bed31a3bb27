/* log FILE pages|whole|fsync|together|backwards RECORDS: a log, written by a program that knows nothing of persistent
 * memory: it stores into a shared mapping, and syncs the record before the head that counts it. The last two are wrong:
 * both by one sync, and the head before the record. log FILE check: whether all that the head counts is there. */
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
	else if (how == 'w' || how == 't')
		failed = msync(map, LOG_SIZE, MS_SYNC);
	else
		failed = msync((void *)page, (uintptr_t)start + length - page, MS_SYNC);
	if (failed)
		fail("sync");
}

static void count(uint64_t number)
{
	((struct log_head *)map)->records = number;
	if (how != 't')
		sync_of(map, sizeof(struct log_head));
}

/* Exit status. */
static int check(void)
{
	const struct log_head *head = (void *)map;
	const struct log_record *records = (void *)(map + LOG_HEAD);
	uint64_t number = head->records + 2 > LOG_CAPACITY ? head->records + 2 - LOG_CAPACITY : 1;
	if (head->records && head->magic != LOG_MAGIC)
		return 1;
	for (; number <= head->records; number++) {
		const struct log_record *record = &records[(number - 1) % LOG_CAPACITY];
		if (record->number != number || record->sum != log_sum(record)) {
			printf("record %llu of %llu is not there\n", (unsigned long long)number,
			       (unsigned long long)head->records);
			return 1;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct log_head *head;
	struct log_record *records;
	if (argc != 4 && (argc != 3 || strcmp(argv[2], "check") != 0))
		return 2;
	fd = open(argv[1], O_RDWR);
	how = argv[2][0];
	map = mmap(NULL, LOG_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd < 0 || map == MAP_FAILED)
		fail(argv[1]);
	if (argc == 3)
		return check();
	head = (void *)map;
	records = (void *)(map + LOG_HEAD);
	head->magic = LOG_MAGIC;
	sync_of(head, sizeof *head);

	run_begins(argv[1]);
	mark(MARK_MAPPED, (uintptr_t)map, (uint64_t)LOG_SIZE >> 12 << 32);
	for (uint64_t number = 1; number <= strtoull(argv[3], NULL, 10); number++) {
		struct log_record *record = &records[(number - 1) % LOG_CAPACITY];
		transaction(0, number, how);
		if (how == 'b')
			count(number);
		log_fill(record, number);
		if (how != 't')
			sync_of(record, sizeof *record);
		if (how != 'b')
			count(number);
		if (how == 't')
			sync_of(head, sizeof *head);
		acknowledge(0, number);
	}
	run_ends();
	return 0;
}

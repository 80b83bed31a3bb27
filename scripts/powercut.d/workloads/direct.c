/* direct FILE right|no-flush|no-fence|early RECORDS: the log of log.c, written by a program for persistent memory: it
 * flushes by itself. All but the first are wrong, as the rig must see: a record is not flushed; it is flushed, and there
 * is no fence between it and the head; the head is acknowledged before it is flushed. */
#define _GNU_SOURCE
#include "log.h"
#include "run.h"
#include <sys/mman.h>

#define MAP_SYNC_OF_FILE (MAP_SHARED_VALIDATE | 0x80000)

static void write_back(void *start, size_t length)
{
	for (uintptr_t line = (uintptr_t)start & ~63ul; line < (uintptr_t)start + length; line += 64)
		__asm__ volatile("clwb %0" : "+m"(*(char *)line));
}

static void fence(void)
{
	__asm__ volatile("sfence" ::: "memory");
}

int main(int argc, char **argv)
{
	int fd = argc == 4 ? open(argv[1], O_RDWR) : -1;
	char *map = mmap(NULL, LOG_SIZE, PROT_READ | PROT_WRITE, MAP_SYNC_OF_FILE, fd, 0);
	if (fd < 0 || map == MAP_FAILED)
		fail(argv[1]);
	struct log_head *head = (void *)map;
	struct log_record *records = (void *)(map + LOG_HEAD);
	int no_flush = strcmp(argv[2], "no-flush") == 0, no_fence = strcmp(argv[2], "no-fence") == 0,
	    early = strcmp(argv[2], "early") == 0;
	head->magic = LOG_MAGIC;
	write_back(head, sizeof *head);
	fence();
	fsync(fd);

	run_begins(argv[1]);
	mark(MARK_MAPPED, (uintptr_t)map, (uint64_t)LOG_SIZE >> 12 << 32);
	for (uint64_t number = 1; number <= strtoull(argv[3], NULL, 10); number++) {
		struct log_record *record = &records[(number - 1) % LOG_CAPACITY];
		transaction(0, number, argv[2][0]);
		log_fill(record, number);
		if (!no_flush)
			write_back(record, sizeof *record);
		if (!no_flush && !no_fence)
			fence();
		head->records = number;
		if (early)
			acknowledge(0, number);
		write_back(head, sizeof *head);
		fence();
		if (!early)
			acknowledge(0, number);
	}
	run_ends();
	return 0;
}

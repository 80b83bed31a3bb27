/* slots FILE PROCESSES THREADS blocks|interleaved WAYS TRANSACTIONS: many writers with plain stores into shared mappings,
 * and every way to sync what they have stored. WAYS: letters of `ways` below, one of which is chosen for each
 * transaction; or "all" for all that are right. The digits are bugs, which the rig must see.
 *
 * A writer acknowledges when its sync has returned 0, and not before. */
#define _GNU_SOURCE
#include "../../../include/daxshim.h"
#include "run.h"
#include "slots.h"
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define PAGE 4096ul
#define PAGE_OF(offset) ((offset) & ~(PAGE - 1))

static const char *name, *letters;
static size_t size;
static struct slots all;
static unsigned long threads, transactions, seed;
static char *map; /* of this process, for all of its threads */
static int fd;
static volatile char sink;

/* A transaction. */
struct writes {
	uint64_t writer, number, *random;
	uint32_t slots[SLOTS_MOST];
	unsigned count;
	size_t first, end; /* bytes of the file, the first one's page and behind the last one */
};

/* ---- stores ------------------------------------------------------------------------------------------------ */

static void store(char *base, const struct writes *writes)
{
	for (unsigned i = 0; i < writes->count; i++) {
		uint64_t line = slot_line(&all, writes->writer, writes->slots[i]);
		slot_fill((struct slot *)(base + line * 64), writes->number, writes->writer, line);
	}
}

/* Reads a byte of each page: clwb of a page that is not there faults it in, and QEMU's does not. */
static void touch(const char *base, const struct writes *writes)
{
	for (size_t page = writes->first; page < writes->end; page += PAGE)
		sink = base[page];
}

static char *mapped(char *start)
{
	if (start == MAP_FAILED)
		fail("mmap");
	mark(MARK_MAPPED, (uintptr_t)start, (uint64_t)(size / PAGE) << 32);
	return start;
}

static char *map_again(int of)
{
	return mapped(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, of, 0));
}

/* ---- ways to sync: each stores and syncs, and returns what the sync returned --------------------------------------- */

static int sync_range(char *base, const struct writes *writes)
{
	return msync(base + writes->first, writes->end - writes->first, MS_SYNC);
}

static int sync_pages(char *base, const struct writes *writes, unsigned count)
{
	size_t last = size;
	for (unsigned i = 0; i < count; i++) {
		size_t page = PAGE_OF(slot_line(&all, writes->writer, writes->slots[i]) * 64);
		if (page != last && msync(base + page, PAGE, MS_SYNC) != 0)
			return -1;
		last = page;
	}
	return 0;
}

static int by_pages(struct writes *writes)
{
	store(map, writes);
	return sync_pages(map, writes, writes->count);
}

static int by_range(struct writes *writes)
{
	store(map, writes);
	return sync_range(map, writes);
}

static int by_number(struct writes *writes)
{
	store(map, writes);
	return syscall(SYS_msync, map + writes->first, writes->end - writes->first, MS_SYNC);
}

/* What the library offers to programs that ask; without it, that is msync. */
static int by_persist(struct writes *writes)
{
	store(map, writes);
	for (unsigned i = 0; i < writes->count; i++)
		if (daxshim_persist(map + slot_line(&all, writes->writer, writes->slots[i]) * 64, 64) != 0)
			return -1;
	return 0;
}

static int by_whole_map(struct writes *writes)
{
	store(map, writes);
	return msync(map, size, MS_SYNC);
}

static int by_pieces(struct writes *writes)
{
	store(map, writes);
	for (size_t at = writes->first; at < writes->end;) {
		size_t length = (1 + next_random(writes->random) % 64) * PAGE;
		if (length > writes->end - at)
			length = writes->end - at;
		if (msync(map + at, length, MS_SYNC) != 0)
			return -1;
		at += length;
	}
	return 0;
}

/* A window of 4 KiB to 64 MiB that holds the range. */
static int by_window(struct writes *writes)
{
	size_t range = (writes->end - writes->first + PAGE - 1) / PAGE * PAGE, length, low, high;
	store(map, writes);
	length = PAGE << next_random(writes->random) % 15;
	while (length < range)
		length *= 2;
	if (length > size)
		length = size;
	low = writes->first + range > length ? writes->first + range - length : 0;
	high = writes->first < size - length ? writes->first : size - length;
	low += next_random(writes->random) % ((high - low) / PAGE + 1) * PAGE;
	return msync(map + low, length, MS_SYNC);
}

static int by_fsync(struct writes *writes)
{
	store(map, writes);
	return fsync(fd);
}

static int by_fdatasync(struct writes *writes)
{
	store(map, writes);
	return fdatasync(fd);
}

static int by_file_range(struct writes *writes)
{
	store(map, writes);
	return sync_file_range(fd, writes->first, writes->end - writes->first,
			       SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
}

static int by_whole_file_range(struct writes *writes)
{
	store(map, writes);
	return sync_file_range(fd, 0, 0,
			       SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
}

static int by_duplicate(struct writes *writes)
{
	int other = dup(fd), failed;
	store(map, writes);
	failed = fsync(other);
	close(other);
	return failed;
}

/* Stored through another mapping than the one that is synced. */
static int by_other_mapping(struct writes *writes)
{
	char *other = map_again(fd);
	int failed;
	store(other, writes);
	touch(map, writes);
	failed = sync_range(map, writes);
	munmap(other, size);
	return failed;
}

/* Moved between store and sync. */
static int by_moved(struct writes *writes)
{
	char *other = map_again(fd), *to = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int failed;
	store(other, writes);
	to = mapped(mremap(other, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to));
	touch(to, writes);
	failed = sync_range(to, writes);
	munmap(to, size);
	return failed;
}

/* Read-only when it is synced. */
static int by_protected(struct writes *writes)
{
	char *other = map_again(fd);
	int failed;
	store(other, writes);
	mprotect(other, size, PROT_READ);
	failed = sync_range(other, writes);
	munmap(other, size);
	return failed;
}

/* Unmapped when it is synced. */
static int by_unmapped(struct writes *writes)
{
	char *other = map_again(fd);
	store(other, writes);
	munmap(other, size);
	touch(map, writes);
	return next_random(writes->random) & 1 ? fsync(fd) : fdatasync(fd);
}

/* Unmapped, and mapped again. */
static int by_mapped_again(struct writes *writes)
{
	char *other = map_again(fd);
	int failed;
	store(other, writes);
	munmap(other, size);
	other = map_again(fd);
	touch(other, writes);
	failed = msync(other, size, MS_SYNC);
	munmap(other, size);
	return failed;
}

/* Through a mapping with a hole, above or below it. */
static int by_holed(struct writes *writes)
{
	size_t half = size / 2;
	char *other;
	int failed;
	if (writes->first < half + PAGE && writes->end > half)
		return by_range(writes);
	other = map_again(fd);
	munmap(other + half, PAGE);
	store(other, writes);
	failed = writes->first > half ? sync_range(other, writes) : msync(other, half, MS_SYNC);
	munmap(other, size);
	return failed;
}

/* By the descriptor, while the file's latest mapping has a hole where the stores are. The hole is not told to the plugin as
 * mapped: a flush there is none. */
static int by_holed_file(struct writes *writes)
{
	size_t from = size / PAGE / 2 * PAGE;
	char *other = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	int failed;
	if (other == MAP_FAILED)
		fail("mmap");
	munmap(other + from, size - from);
	store(map, writes);
	failed = fsync(fd);
	munmap(other, from);
	return failed;
}

/* Its descriptor closed when it is synced. */
static int by_closed(struct writes *writes)
{
	int other = open(name, O_RDWR), failed;
	char *again = map_again(other);
	close(other);
	store(again, writes);
	failed = msync(again, size, MS_SYNC);
	munmap(again, size);
	return failed;
}

static int in_child(struct writes *writes, int (*run)(struct writes *))
{
	int status;
	pid_t child = fork();
	if (child == 0) {
		/* Another thread, with other page tables: it is the writer until it ends. */
		mark(MARK_TRANSACTION, 'F', writes->number << 16 | writes->writer);
		mapped(map);
		_exit(run(writes) != 0);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		fail("fork");
	return status;
}

static int store_and_sync(struct writes *writes)
{
	store(map, writes);
	return next_random(writes->random) & 1 ? msync(map, size, MS_SYNC) : sync_range(map, writes);
}

static int sync_only(struct writes *writes)
{
	touch(map, writes);
	return next_random(writes->random) & 1 ? msync(map, size, MS_SYNC) : fsync(fd);
}

static int by_child(struct writes *writes)
{
	return in_child(writes, store_and_sync);
}

static int for_parent(struct writes *writes)
{
	store(map, writes);
	return in_child(writes, sync_only);
}

/* ---- bugs ------------------------------------------------------------------------------------------------------ */

static int no_sync(struct writes *writes)
{
	store(map, writes);
	return 0;
}

/* The last line's page is left out, unless another line is on it. */
static int last_left_out(struct writes *writes)
{
	store(map, writes);
	return writes->count > 1 ? sync_pages(map, writes, writes->count - 1) : sync_range(map, writes);
}

static int no_fence(struct writes *writes)
{
	store(map, writes);
	for (unsigned i = 0; i < writes->count; i++) {
		char *line = map + slot_line(&all, writes->writer, writes->slots[i]) * 64;
		__asm__ volatile("clwb %0" : "+m"(*line));
	}
	return 0;
}

static int early(struct writes *writes)
{
	store(map, writes);
	acknowledge(writes->writer, writes->number);
	return sync_range(map, writes);
}

#define EARLY '3'

static const struct way {
	char letter;
	int (*run)(struct writes *);
	/* A child has one thread only, and may inherit another's lock. */
	int forks;
} ways[] = {
	{'p', by_pages, 0},     {'r', by_range, 0},      {'n', by_number, 0},	     {'w', by_whole_map, 0},
	{'c', by_pieces, 0},    {'k', by_window, 0},     {'f', by_fsync, 0},	     {'d', by_fdatasync, 0},
	{'s', by_file_range, 0}, {'S', by_whole_file_range, 0}, {'D', by_duplicate, 0}, {'a', by_other_mapping, 0},
	{'m', by_moved, 0},     {'t', by_protected, 0},  {'u', by_unmapped, 0},	     {'P', by_mapped_again, 0},
	{'M', by_holed, 0},     {'B', by_closed, 0},     {'F', by_child, 1},	     {'G', for_parent, 1},
	{'x', by_persist, 0},   {'H', by_holed_file, 0},
	{'0', no_sync, 0},      {'1', last_left_out, 0}, {'2', no_fence, 0},	     {EARLY, early, 0},
};
#define WAYS (sizeof ways / sizeof *ways)

static const struct way *chosen_way(uint64_t *random)
{
	for (;;) {
		char letter = letters[next_random(random) % strlen(letters)];
		for (size_t i = 0; i < WAYS; i++)
			if (ways[i].letter == letter && (!ways[i].forks || threads == 1))
				return &ways[i];
	}
}

static void *writer(void *which)
{
	struct writes *writes = calloc(1, sizeof *writes);
	uint64_t random = mix(seed * 31 + (uintptr_t)which);
	writes->writer = (uintptr_t)which;
	writes->random = &random;
	for (uint64_t number = 1; number <= transactions; number++) {
		const struct way *way = chosen_way(&random);
		writes->number = number;
		writes->count = slots_of(&all, writes->writer, number, writes->slots);
		writes->first = size;
		writes->end = 0;
		for (unsigned i = 0; i < writes->count; i++) {
			size_t at = slot_line(&all, writes->writer, writes->slots[i]) * 64;
			writes->first = PAGE_OF(at) < writes->first ? PAGE_OF(at) : writes->first;
			writes->end = at + 64 > writes->end ? at + 64 : writes->end;
		}
		mark(MARK_TRANSACTION, way->letter, number << 16 | writes->writer);
		if (way->run(writes) != 0) {
			fprintf(stderr, "slots: writer %llu, transaction %llu, way %c: %s\n",
				(unsigned long long)writes->writer, (unsigned long long)number, way->letter,
				strerror(errno));
			exit(3);
		}
		if (way->letter != EARLY)
			acknowledge(writes->writer, number);
	}
	free(writes);
	return NULL;
}

static int process(unsigned long which)
{
	pthread_t running[64];
	fd = open(name, O_RDWR);
	if (fd < 0)
		fail(name);
	map = map_again(fd);
	/* In some the descriptor that was mapped is closed. */
	if (which % 3 == 2) {
		int other = open(name, O_RDWR);
		close(fd);
		fd = other;
	}
	for (unsigned long i = 0; i < threads; i++)
		pthread_create(&running[i], NULL, writer, (void *)(which * threads + i));
	for (unsigned long i = 0; i < threads; i++)
		pthread_join(running[i], NULL);
	return 0;
}

int main(int argc, char **argv)
{
	static char right[WAYS + 1];
	struct stat stat_of;
	unsigned long processes;
	int status, failed = 0;
	if (argc != 7)
		return 2;
	name = argv[1];
	processes = strtoul(argv[2], NULL, 10);
	threads = strtoul(argv[3], NULL, 10);
	transactions = strtoul(argv[6], NULL, 10);
	letters = argv[5];
	if (strcmp(letters, "all") == 0) {
		for (size_t i = 0, end = 0; i < WAYS; i++)
			if (ways[i].letter > '9' && (!ways[i].forks || threads == 1))
				right[end++] = ways[i].letter;
		letters = right;
	}
	if (threads < 1 || threads > 64 || processes < 1 || stat(name, &stat_of) != 0)
		fail(name);
	size = stat_of.st_size;
	all = (struct slots){size / 64, processes * threads, argv[4][0] == 'i'};
	if (getenv("POWERCUT"))
		sscanf(getenv("POWERCUT"), "%*s %lu", &seed);

	run_begins(name);
	for (unsigned long i = 0; i < processes; i++)
		if (fork() == 0)
			exit(process(i));
	while (wait(&status) > 0)
		failed |= status != 0;
	run_ends();
	return failed;
}

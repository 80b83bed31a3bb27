/* How much of the program's stack calls take that are looked at, bytes. */
#include "check.h"

#include <sys/auxv.h>

#define ROOM (24 << 10)
static char *p;
static int fd, channel[2];

static void sync_clean(void) { msync(p, PAGE, MS_SYNC); }
static void sync_dirty(void) { p[100] ^= 1, p[3 * PAGE] ^= 1, msync(p, PAGE, MS_SYNC); }
static void sync_wrong(void) { p[2 * PAGE] ^= 1, msync(p, PAGE, MS_SYNC); }
static void sync_file(void) { fsync(fd); }
static void sync_all(void) { sync(); }
static void map(void) { mmap(p, 4 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0); }
static void unmap(void) { munmap(p + 3 * PAGE, PAGE); }
static void answer(void) { p[64] ^= 1, must(write(channel[1], "x", 1) == 1, "write"); }
static void refused(void) { if (write(fd, "x", 1)) errno = 0; }
static void protect(void) { mprotect(p, PAGE, RW); }
static void store(void) { p[2 * PAGE + 512] ^= 1; }

static struct {
	const char *name;
	void (*call)(void);
} calls[] = {
	{ "msync, clean", sync_clean }, { "msync, dirty", sync_dirty }, { "msync, wrong range", sync_wrong },
	{ "fsync", sync_file }, { "sync", sync_all }, { "write to a pipe", answer }, { "write", refused },
	{ "store", store }, { "mprotect", protect }, { "munmap", unmap }, { "mmap", map },
};

/* Bytes below its own frame that the call has touched. */
static NOINLINE size_t used_by(void (*call)(void))
{
	char *low, *end;
	/* Once before: the first call of a function is bound by the loader. */
	call();
	sync_range(p, 3);
	/* Nothing of this function's own lies below its stack pointer while nothing is called. */
	asm volatile("mov %%rsp, %0" : "=r"(end));
	for (low = end - ROOM; low < end; low++)
		*(volatile char *)low = 0x5a;
	call();
	for (low = end - ROOM; low < end && *(volatile char *)low == 0x5a; low++)
		;
	return end - low;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	fd = opened("file");
	p = mapped("file", 4);
	must(pipe(channel) == 0, "pipe");
	sync_range(p, 4);
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
		printf("%s: %zu\n", calls[i].name, used_by(calls[i].call));
	printf("frame of a signal: %lu\n", getauxval(AT_MINSIGSTKSZ));
	sync_range(p, 4);
	return 0;
}

/* A call that fails and changes no mapping leaves the record as it was: the mapping is flushed by lines still. What a
 * call changed before it failed, it shows. Each on a mapping of its own. */
#include "common.h"
#include "daxshim.h"
#include <sys/shm.h>

#define RW (PROT_READ | PROT_WRITE)

static int fd;
static char *p;

/* Six pages: of the file, with one of no access behind them. */
static void map(void)
{
	p = mmap(NULL, 6 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED || mmap(p, 4 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0) != p)
		die("mmap");
	p[PAGE] = '!';
}

static long succeeds(const void *result)
{
	return result == MAP_FAILED ? -1 : 0;
}

/* The call, msync, and what the record then says of the pages that it must not have changed. */
#define FAILING(call, ...)                                                                                             \
	do {                                                                                                           \
		map();                                                                                                 \
		STEP(call, __VA_ARGS__);                                                                               \
		STEP(msync(p, 4 * PAGE, MS_SYNC), "  then msync after " __VA_ARGS__);                                  \
		STEP(daxshim_needs_msync(p, 4 * PAGE), "  needs msync after " __VA_ARGS__);                            \
		munmap(p, 6 * PAGE);                                                                                   \
	} while (0)

/* An mmap over it may have unmapped it before it failed: then the kernel may do it, and what is left is synced. */
#define FAILING_OVER(...)                                                                                              \
	do {                                                                                                           \
		map();                                                                                                 \
		STEP(succeeds(mmap(__VA_ARGS__)), "mmap(%s)", #__VA_ARGS__);                                           \
		STEP(msync(p, 4 * PAGE, MS_SYNC), "  then msync after mmap(%s)", #__VA_ARGS__);                        \
		munmap(p, 6 * PAGE);                                                                                   \
	} while (0)

int main(int argc, char **argv)
{
	begin(argc, argv);
	keep = true;
	setvbuf(stdout, NULL, _IOLBF, 1 << 16); /* a crash shows where */
	fd = open("file", O_RDWR);
	int read_only = open("file", O_RDONLY), write_only = open("file", O_WRONLY);
	int self = syscall(SYS_pidfd_open, getpid(), 0);

	FAILING(succeeds(mremap(p, 4 * PAGE, 8 * PAGE, 0)), "mremap in place, where there is no room");
	FAILING(succeeds(mremap(p + PAGE, 2 * PAGE, 3 * PAGE, 0)), "mremap of its middle in place");
	FAILING(succeeds(mremap(p, 4 * PAGE, 4 * PAGE, 0x80)), "mremap, bad flags");
	FAILING(succeeds(mremap(p + 1, PAGE, PAGE, 0)), "mremap, unaligned");
	FAILING(succeeds(mremap(p, 4 * PAGE, 0, 0)), "mremap to nothing");
	FAILING(succeeds(mremap(p, 4 * PAGE, SIZE_MAX, MREMAP_MAYMOVE)), "mremap to SIZE_MAX");
	FAILING(succeeds(mremap(p, 4 * PAGE, 4 * PAGE, MREMAP_FIXED, p + 64 * PAGE)), "mremap, MREMAP_FIXED alone");
	FAILING(succeeds(mremap(p, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p + PAGE)), "mremap onto itself");
	FAILING(succeeds(mremap(p, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p + 1)), "mremap to where is unaligned");
	FAILING(succeeds(mremap(p, 4 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP)), "mremap, MREMAP_DONTUNMAP and shorter");
	FAILING(munmap(p, -4096UL), "munmap, too long");
	FAILING(munmap(p, SIZE_MAX), "munmap, SIZE_MAX");
	FAILING(munmap(p, 0), "munmap, length 0");
	FAILING(munmap(p + 1, PAGE), "munmap, unaligned");
	FAILING(mprotect(p + 1, PAGE, PROT_NONE), "mprotect, unaligned");
	FAILING(mprotect(p, 4 * PAGE, 0x40), "mprotect, bad protection");
	FAILING(mprotect(p, -4096UL, PROT_NONE), "mprotect, too long");
	FAILING(mprotect(p, 4 * PAGE, PROT_GROWSDOWN | PROT_GROWSUP), "mprotect, growing both ways");
	FAILING(pkey_mprotect(p, 4 * PAGE, PROT_NONE, 15), "pkey_mprotect, no such key");
	FAILING(pkey_mprotect(p + 1, PAGE, PROT_NONE, -1), "pkey_mprotect, unaligned");
	FAILING_OVER(p, PAGE, RW, MAP_SHARED | MAP_FIXED, -1, 0);
	FAILING_OVER(p, PAGE, RW, MAP_PRIVATE | MAP_FIXED, CLOSED_FD, 0);
	FAILING_OVER(p, PAGE, RW, MAP_SHARED | MAP_FIXED, DIR_FD, 0);
	FAILING_OVER(p, PAGE, RW, MAP_SHARED | MAP_FIXED, OPATH_FD, 0);
	FAILING_OVER(p, PAGE, RW, MAP_SHARED | MAP_FIXED, read_only, 0);
	FAILING_OVER(p, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, write_only, 0);
	FAILING_OVER(p, PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 1);
	FAILING_OVER(p + 1, PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0);
	FAILING_OVER(p, 0, RW, MAP_SHARED | MAP_FIXED, fd, 0);
	FAILING_OVER(p, SIZE_MAX, RW, MAP_SHARED | MAP_FIXED, fd, 0);
	FAILING_OVER(p, PAGE, RW, MAP_FIXED, fd, 0);
	FAILING_OVER(p, PAGE, RW, MAP_SHARED_VALIDATE | MAP_FIXED | 0x800000, fd, 0);
	FAILING_OVER(p, PAGE, RW, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
	FAILING(madvise(p, 4 * PAGE, 999), "madvise, unknown advice");
	FAILING(madvise(p + 1, PAGE, MADV_DONTNEED), "madvise, unaligned");
	FAILING(madvise(p + 1, PAGE, 102), "madvise, a guard, unaligned");
	FAILING(madvise(p, SIZE_MAX - PAGE, 102), "madvise, a guard, too long");
	FAILING(process_madvise(self, &(struct iovec){p, 4 * PAGE}, 1, 999, 0), "process_madvise, unknown advice");
	FAILING(process_madvise(-1, &(struct iovec){p, 4 * PAGE}, 1, 102, 0), "process_madvise, a guard, of nobody");
	FAILING(remap_file_pages(p, PAGE, PROT_READ, 1, 0), "remap_file_pages, protection");
	FAILING(remap_file_pages(p, PAGE, 0, SIZE_MAX / PAGE, 0), "remap_file_pages, beyond all");
	FAILING(succeeds(shmat(-1, p, SHM_REMAP)), "shmat over it, no such segment");
	int segment = shmget(IPC_PRIVATE, PAGE, 0600 | IPC_CREAT);
	FAILING(succeeds(shmat(segment, p, 0)), "shmat over it, without SHM_REMAP");
	FAILING(succeeds(shmat(segment, p + 1, SHM_REMAP)), "shmat over it, unaligned");

	/* What a call that fails has changed before. */
	map();
	STEP(munmap(p + 2 * PAGE, PAGE), "a hole at page 2");
	STEP(mprotect(p, 4 * PAGE, PROT_READ), "mprotect over the hole, to PROT_READ");
	STEP(daxshim_needs_msync(p, 2 * PAGE), "before the hole, PROT_READ: needs msync");
	STEP(mprotect(p, 4 * PAGE, PROT_NONE), "mprotect over the hole, to PROT_NONE");
	STEP(daxshim_needs_msync(p, PAGE), "before the hole, PROT_NONE: needs msync");
	STEP(msync(p, 2 * PAGE, MS_SYNC), "msync before the hole");
	STEP(msync(p, 4 * PAGE, MS_SYNC), "msync over the hole");
	STEP(mprotect(p, 2 * PAGE, RW), "writable before the hole");
	STEP(daxshim_needs_msync(p, 2 * PAGE), "before the hole, writable: needs msync");
	char *elsewhere = mmap(NULL, 4 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	STEP(succeeds(mremap(p, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere)), "mremap over the hole");
	STEP(succeeds(mremap(p + 2 * PAGE, PAGE, 2 * PAGE, MREMAP_MAYMOVE)), "mremap of the hole");
	STEP(madvise(p, 4 * PAGE, MADV_DONTNEED), "madvise over the hole");
	STEP(msync(p, 2 * PAGE, MS_SYNC), "msync before the hole, after all that");
	munmap(p, 6 * PAGE);

	map();
	STEP(succeeds(shmat(segment, p + PAGE, SHM_REMAP)), "shmat over page 1");
	STEP(daxshim_needs_msync(p + PAGE, PAGE), "page 1 of the segment: needs msync");
	STEP(msync(p, 4 * PAGE, MS_SYNC), "msync over it");
	STEP(shmdt(p + PAGE), "shmdt");
	STEP(daxshim_needs_msync(p + PAGE, PAGE), "nothing at page 1: needs msync");
	STEP(msync(p, 4 * PAGE, MS_SYNC), "msync over nothing");
	STEP(msync(p, PAGE, MS_SYNC), "msync of page 0");

	/* From Linux 6.17 on, of two mappings the first is moved before the second is refused. */
	map();
	elsewhere = mmap(NULL, 4 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	STEP(succeeds(shmat(segment, p + PAGE, SHM_REMAP)), "a segment at page 1");
	STEP(succeeds(mremap(p, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere)), "mremap of a page and the segment");
	STEP(msync(p, PAGE, MS_SYNC), "msync of where the page was");
	STEP(msync(p, 4 * PAGE, MS_SYNC), "msync of where they were");
	STEP(msync(elsewhere, 2 * PAGE, MS_SYNC), "msync of where they went");

	/* And stays where it was, with MREMAP_DONTUNMAP: of an empty file, of which no page can be read, over the file. */
	map();
	char *source = mmap(NULL, 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int empty = open(".", O_TMPFILE | O_RDWR, 0600);
	STEP(succeeds(mmap(source, PAGE, RW, MAP_SHARED | MAP_FIXED, empty, 0)), "an empty file");
	STEP(succeeds(shmat(segment, source + PAGE, SHM_REMAP)), "a segment behind it");
	STEP(succeeds(mremap(source, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, p)),
	     "mremap of both over the file, MREMAP_DONTUNMAP");
	STEP(msync(p, 4 * PAGE, MS_SYNC), "msync of where they went, and of the file behind");
	shmctl(segment, IPC_RMID, NULL);
	return end();
}

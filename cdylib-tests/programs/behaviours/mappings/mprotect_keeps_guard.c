/* A guard (MADV_GUARD_INSTALL, on files Linux 6.15) outlives mprotect: a line of its page written back is SIGSEGV.
 * daxshim_needs_msync tells what the record says. */
#include "common.h"
#include "daxshim.h"

#define RW (PROT_READ | PROT_WRITE)
enum { INSTALL = 102, REMOVE = 103 };

static int fd;

static char *mapped(void)
{
	char *p = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die("mmap");
	p[0] = p[2 * PAGE] = '!';
	return p;
}

#define NEEDS(address, pages, ...) STEP(daxshim_needs_msync(address, (pages) * PAGE), __VA_ARGS__)

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*msync_)(void *, size_t, int) = symbol;
	keep = true;
	setvbuf(stdout, NULL, _IOLBF, 1 << 16); /* a crash shows where */
	fd = open("file", O_RDWR);
	char *p;
	STEP((p = mapped()) == MAP_FAILED, "mapped and stored to");
	NEEDS(p, 4, "before: needs msync");
	STEP(madvise(p + PAGE, PAGE, INSTALL), "a guard on page 1");
	NEEDS(p + PAGE, 1, "page 1: needs msync");
	STEP(mprotect(p, 4 * PAGE, RW), "mprotect over all");
	NEEDS(p + PAGE, 1, "page 1 after mprotect: needs msync");
	NEEDS(p, 4, "all after mprotect: needs msync");
	NEEDS(p, 1, "page 0 beside it: needs msync");
	STEP(msync_(p, 4 * PAGE, MS_SYNC), "msync over the guard");
	STEP(msync_(p + PAGE, PAGE, MS_SYNC), "msync of it");
	STEP(mprotect(p + PAGE, PAGE, PROT_NONE) + mprotect(p + PAGE, PAGE, RW), "PROT_NONE and back");
	NEEDS(p + PAGE, 1, "page 1 after PROT_NONE: needs msync");
	STEP(pkey_mprotect(p + PAGE, PAGE, RW, -1), "pkey_mprotect");
	NEEDS(p + PAGE, 1, "page 1 after pkey_mprotect: needs msync");
	STEP(madvise(p + PAGE, PAGE, MADV_DONTNEED), "MADV_DONTNEED, which leaves guards");
	NEEDS(p + PAGE, 1, "page 1 after MADV_DONTNEED: needs msync");
	STEP(msync_(p + PAGE, PAGE, MS_SYNC), "msync of it");
	STEP(IN_CHILD(daxshim_needs_msync(p + PAGE, PAGE) ? msync(p, 4 * PAGE, MS_SYNC) : -1), "page 1 in a child");
	char *to = mmap(NULL, 4 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	STEP(mremap(p, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to, "moved");
	NEEDS(to + PAGE, 1, "page 1 where it went: needs msync");
	STEP(msync_(to, 4 * PAGE, MS_SYNC), "msync where it went");
	STEP(madvise(to, 4 * PAGE, REMOVE), "the guard removed, with what is around it");
	STEP((to[PAGE] = '?', msync_(to, 4 * PAGE, MS_SYNC)), "store to page 1 and msync");
	NEEDS(to, 4, "without the guard: needs msync");

	p = mapped();
	int self = syscall(SYS_pidfd_open, getpid(), 0);
	struct iovec two[] = {{p, PAGE}, {p + 2 * PAGE, PAGE}};
	STEP(process_madvise(self, two, 2, INSTALL, 0), "guards on pages 0 and 2 by process_madvise");
	STEP(mprotect(p, 4 * PAGE, PROT_READ), "mprotect over all to PROT_READ");
	NEEDS(p, 1, "page 0: needs msync");
	NEEDS(p + 2 * PAGE, 1, "page 2: needs msync");
	STEP(msync_(p, 4 * PAGE, MS_SYNC), "msync over both");
	STEP(munmap(p, 4 * PAGE), "unmapped");
	STEP(mmap(p, 4 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0) == p, "mapped again in its place");
	NEEDS(p, 4, "the new one has no guard: needs msync");
	STEP(madvise(p + 1, PAGE, INSTALL), "a guard, unaligned");
	NEEDS(p, 4, "after that failed: needs msync");
	STEP(madvise(p, 2 * PAGE, INSTALL), "guards on pages 0 and 1");
	STEP(madvise(p, PAGE, REMOVE), "that on page 0 removed");
	NEEDS(p + PAGE, 1, "page 1, guarded still: needs msync");
	STEP(mmap(p + PAGE, PAGE, RW, MAP_SHARED | MAP_FIXED, fd, PAGE) == p + PAGE, "mapped over page 1");
	NEEDS(p + PAGE, 1, "page 1, mapped anew: needs msync");
	STEP(msync_(p, 4 * PAGE, MS_SYNC), "msync of all");
	return end();
}

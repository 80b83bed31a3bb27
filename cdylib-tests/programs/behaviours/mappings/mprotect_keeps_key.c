/* A protection key outlives mprotect, and whether its pages can be read changes without a system call: no line of
 * them may be written back. daxshim_needs_msync tells what the record says. */
#include "common.h"
#include "daxshim.h"

#define RW (PROT_READ | PROT_WRITE)

static int fd;

static char *mapped(void)
{
	char *p = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die("mmap");
	p[0] = p[PAGE] = '!';
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
	int key = pkey_alloc(0, 0), other = pkey_alloc(0, 0);
	if (key < 0 || other < 0)
		die("pkey_alloc");

	char *p;
	STEP((p = mapped()) == MAP_FAILED, "mapped and stored to");
	NEEDS(p, 4, "before: needs msync");
	STEP(pkey_mprotect(p + PAGE, PAGE, RW, key), "a key for page 1");
	STEP(mprotect(p, 4 * PAGE, RW), "mprotect over all");
	NEEDS(p + PAGE, 1, "page 1 after mprotect: needs msync");
	NEEDS(p, 4, "all after mprotect: needs msync");
	NEEDS(p, 1, "page 0 beside it: needs msync");
	pkey_set(key, PKEY_DISABLE_ACCESS);
	STEP(msync_(p, 4 * PAGE, MS_SYNC), "msync over the unreadable page");
	STEP(msync_(p + PAGE, PAGE, MS_SYNC), "msync of it");
	pkey_set(key, 0);
	NEEDS(p + PAGE, 1, "readable again, under its key: needs msync");
	STEP(pkey_mprotect(p + PAGE, PAGE, RW, -1), "key -1: keep");
	NEEDS(p + PAGE, 1, "page 1 after key -1: needs msync");
	STEP(mprotect(p + PAGE, PAGE, PROT_NONE) + mprotect(p + PAGE, PAGE, RW), "PROT_NONE and back");
	NEEDS(p + PAGE, 1, "page 1 after PROT_NONE: needs msync");
	STEP(pkey_mprotect(p + PAGE, PAGE, RW, other), "another key");
	NEEDS(p + PAGE, 1, "page 1 under another key: needs msync");
	STEP(mprotect(p + PAGE, PAGE, PROT_READ), "mprotect to PROT_READ");
	NEEDS(p + PAGE, 1, "page 1 after PROT_READ: needs msync");
	STEP(pkey_mprotect(p + PAGE, PAGE, RW, 15), "a key that is not allocated");
	NEEDS(p + PAGE, 1, "page 1 after that failed: needs msync");
	STEP(madvise(p + PAGE, PAGE, MADV_WILLNEED), "advice");
	NEEDS(p + PAGE, 1, "page 1 after advice: needs msync");
	STEP(IN_CHILD(daxshim_needs_msync(p + PAGE, PAGE) ? 0 : -1), "page 1 in a child needs msync");
	STEP(pkey_free(other), "the key is freed, the page has it still");
	NEEDS(p + PAGE, 1, "page 1 under a freed key: needs msync");

	char *to = mmap(NULL, 4 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	/* One by one, as before Linux 6.17 only one mapping can be moved at once. */
	bool moved = true;
	for (int i = 0; i < 4; i++)
		moved &= mremap(p + i * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to + i * PAGE) == to + i * PAGE;
	STEP(moved, "moved");
	NEEDS(to + PAGE, 1, "page 1 where it went: needs msync");
	NEEDS(to, 1, "page 0 where it went: needs msync");

	STEP(pkey_mprotect(to + PAGE, PAGE, RW, 0), "key 0, which is no key");
	STEP(msync_(to, 4 * PAGE, MS_SYNC), "msync of all");
	p = mapped();
	STEP(pkey_mprotect(p, 4 * PAGE, RW, key) + munmap(p, 4 * PAGE), "a mapping with a key, unmapped");
	STEP(mmap(p, 4 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0) == p, "mapped again in its place");
	NEEDS(p, 4, "the new one has no key: needs msync");
	STEP(pkey_mprotect(p, 4 * PAGE, RW, 15), "a key that is not allocated, for all");
	NEEDS(p, 4, "after that failed too: needs msync");
	STEP(pkey_mprotect(p + 2 * PAGE, PAGE, RW, -1), "key -1 where there is none");
	NEEDS(p, 4, "after key -1: needs msync");
	return end();
}

/* Mappings above 47 bits, which five-level paging gives to those who ask for them by a hint; elsewhere they come
 * lower. */
#include "common.h"
#include "daxshim.h"

#define RW (PROT_READ | PROT_WRITE)

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*msync_)(void *, size_t, int) = symbol;
	keep = true;
	void *hint = (void *)(1UL << 55);
	int fd = open("file", O_RDWR);
	char *p = mmap(hint, 4 * PAGE, RW, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die("mmap");
	STEP((p[0] = p[2 * PAGE] = '!', 0), "store");
	STEP(daxshim_needs_msync(p, 4 * PAGE), "needs msync");
	STEP(msync_(p, 4 * PAGE, MS_SYNC), "msync");
	STEP(mprotect(p + PAGE, PAGE, PROT_NONE), "page 1 to PROT_NONE");
	STEP(msync_(p, 4 * PAGE, MS_SYNC), "msync over it");
	STEP(daxshim_needs_msync(p + PAGE, PAGE), "page 1: needs msync");
	char *room = mmap(hint, 8 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	STEP(mremap(p + 2 * PAGE, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, room) == room, "pages 2 and 3 moved");
	STEP(msync_(room, 2 * PAGE, MS_SYNC), "msync where they went");
	STEP(msync_(p, 4 * PAGE, MS_SYNC), "msync where they were");
	STEP(mmap(room, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == room, "anonymous over page 2");
	STEP(daxshim_needs_msync(room, PAGE), "anonymous: needs msync");
	STEP(fsync(fd), "fsync");
	STEP(msync_((void *)(1UL << 55), PAGE, MS_SYNC), "msync of nothing, high");
	STEP(msync_((void *)-(1UL << 40), PAGE, MS_SYNC), "msync of the kernel's");
	STEP(munmap(p, 2 * PAGE) + munmap(room, 2 * PAGE), "unmap");
	STEP(msync_(p, 4 * PAGE, MS_SYNC), "msync then");
	return end();
}

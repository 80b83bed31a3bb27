/* From Linux 6.17 on, mremap(2) moves several mappings at once, and each replaces what is where it goes: what is behind a
 * hole between them stays. */
#include "common.h"

#define RW (PROT_READ | PROT_WRITE)

int main(int argc, char **argv)
{
	begin(argc, argv);
	int fd = open("file", O_RDWR);
	char *p = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0);
	char *from = mmap(NULL, 3 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED || from == MAP_FAILED)
		die("mmap");
	munmap(from + PAGE, PAGE);
	bool moved = mremap(from, 3 * PAGE, 3 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p) == p;
	char *stayed = p + (moved ? 1 : 3) * PAGE;
	*stayed = '!';
	STEP(msync(stayed, PAGE, MS_SYNC), "msync of the page that stayed");
	STEP(madvise(stayed, PAGE, MADV_REMOVE), "MADV_REMOVE of it");
	return end();
}

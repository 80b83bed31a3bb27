/* On CPUs with protection keys PROT_EXEC alone makes pages unreadable; on others they can be read. What is said of them
 * holds on both. */
#include "common.h"
#include "daxshim.h"

#define RW (PROT_READ | PROT_WRITE)

static int fd;

static char *mapped(int protection)
{
	char *p = mmap(NULL, 4 * PAGE, protection, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

/* OSPKE: the kernel uses protection keys (CPUID.7.0:ECX bit 4). */
static bool has_keys(void)
{
	unsigned a = 7, b, c = 0, d, most = 0;
	__asm__("cpuid" : "+a"(most), "=b"(b), "=c"(c), "=d"(d));
	if (most < 7)
		return false;
	c = 0;
	__asm__("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
	return c & 1 << 4;
}

/* Where the pages cannot be read, the kernel must do it; where they can, either way is right. */
#define UNREADABLE(address, pages, ...) \
	STEP(!has_keys() || daxshim_needs_msync(address, (pages) * PAGE), __VA_ARGS__)
#define NEEDS(address, pages, ...) STEP(daxshim_needs_msync(address, (pages) * PAGE), __VA_ARGS__)

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*msync_)(void *, size_t, int) = symbol;
	keep = true;
	setvbuf(stdout, NULL, _IOLBF, 1 << 16); /* a crash shows where */
	fd = open("file", O_RDWR);
	char *p = mapped(RW);
	p[0] = p[PAGE] = '!';
	STEP(mprotect(p + PAGE, PAGE, PROT_EXEC), "page 1 to PROT_EXEC");
	UNREADABLE(p + PAGE, 1, "page 1 is the kernel's");
	UNREADABLE(p, 4, "with it, all is");
	STEP(msync_(p, 4 * PAGE, MS_SYNC), "msync over it");
	STEP(msync_(p + PAGE, PAGE, MS_SYNC), "msync of it");
	STEP(fsync(fd), "fsync");
	STEP(IN_CHILD(msync(p, 4 * PAGE, MS_SYNC)), "msync over it, in a child");
	STEP(mprotect(p, 4 * PAGE, RW), "writable again");
	NEEDS(p, 4, "writable again: needs msync");
	STEP((p[PAGE] = '?', msync_(p, 4 * PAGE, MS_SYNC)), "store and msync");
	STEP(pkey_mprotect(p, 2 * PAGE, PROT_EXEC, -1), "PROT_EXEC by pkey_mprotect, key -1");
	UNREADABLE(p, 2, "pages 0 and 1 are the kernel's");
	STEP(msync_(p, 4 * PAGE, MS_SYNC), "msync over them");
	STEP(mprotect(p, 2 * PAGE, PROT_READ), "to PROT_READ");
	STEP(msync_(p, 4 * PAGE, MS_SYNC), "msync of what can be read");
	STEP(mprotect(p, 2 * PAGE, PROT_EXEC | PROT_WRITE), "to PROT_EXEC|PROT_WRITE");
	STEP((p[PAGE] = '!', msync_(p, 4 * PAGE, MS_SYNC)), "store and msync");
	char *q = mapped(PROT_EXEC);
	UNREADABLE(q, 4, "mapped as PROT_EXEC: the kernel's");
	STEP(msync_(q, 4 * PAGE, MS_SYNC), "msync of it");
	STEP(mprotect(q, 4 * PAGE, RW), "made writable");
	STEP((q[0] = '?', msync_(q, 4 * PAGE, MS_SYNC)), "store and msync");
	char *to = mmap(NULL, 4 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	STEP(mprotect(p, 4 * PAGE, PROT_EXEC), "all to PROT_EXEC");
	STEP(mremap(p, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to, "moved");
	UNREADABLE(to, 4, "where it went it is the kernel's");
	STEP(msync_(to, 4 * PAGE, MS_SYNC), "msync there");
	return end();
}

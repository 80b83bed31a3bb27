#include "common.h"

#define RW (PROT_READ | PROT_WRITE)

static ssize_t (*advise)(int, const struct iovec *, size_t, int, unsigned);
static int self;

/* Before Linux 6.13 the kernel takes hardly any advice this way, not even from the process itself:
 * then madvise answers for it. */
static long remove_pages(const struct iovec *ranges, int count)
{
	static char *shared;
	if (!shared)
		shared = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct iovec probe = {shared, PAGE};
	if (advise(self, &probe, 1, MADV_REMOVE, 0) >= 0) {
		errno = NO_ERROR;
		return advise(self, ranges, count, MADV_REMOVE, 0) < 0 ? -1 : 0;
	}
	errno = NO_ERROR;
	return madvise(ranges[count - 1].iov_base, PAGE, MADV_REMOVE);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	advise = symbol;
	keep = true;
	int fd = open("file", O_RDWR);
	self = syscall(SYS_pidfd_open, getpid(), 0);
	char *p = mmap(NULL, 4 * PAGE, RW, MAP_SHARED, fd, 0),
	     *a = mmap(NULL, 4 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED || a == MAP_FAILED || self < 0)
		die("set-up");
	struct iovec file = {p, PAGE}, both[] = {{a, PAGE}, {p + PAGE, PAGE}}, unaligned = {p + 1, PAGE};
	STEP(advise(self, &file, 1, MADV_WILLNEED, 0), "WILLNEED");
	STEP(advise(self, &file, 1, MADV_COLD, 0), "COLD");
	STEP(advise(self, &file, 1, MADV_REMOVE, 1), "REMOVE, flags that do not exist");
	STEP(advise(-1, &file, 1, MADV_REMOVE, 0), "REMOVE, descriptor -1");
	STEP(advise(fd, &file, 1, MADV_REMOVE, 0), "REMOVE, a descriptor of a file");
	STEP(advise(self, NULL, 1, MADV_REMOVE, 0), "REMOVE, NULL");
	STEP(advise(self, (void *)8, 1, MADV_REMOVE, 0), "REMOVE, bad pointer");
	STEP(advise(self, &file, 2000, MADV_REMOVE, 0), "REMOVE, too many");
	STEP(advise(self, &file, 0, MADV_REMOVE, 0), "REMOVE, none");
	STEP(advise(self, &unaligned, 1, MADV_REMOVE, 0), "REMOVE, unaligned");
	STEP(remove_pages(&file, 1), "REMOVE, page 0");
	STEP(remove_pages(both, 2), "REMOVE, page 1 behind another mapping");
	STEP(advise(self, &file, 1, 9999, 0), "no such advice");
	return end();
}

/* What daxshim_mincore answers, for tests/ask.rs: pages 0 and 2 of a fresh mapping were stored to. */
#include "common.h"
#include "daxshim.h"

#define RW (PROT_READ | PROT_WRITE)

static void ask(const char *label, void *address, size_t length, unsigned char *vec)
{
	errno = NO_ERROR;
	int result = daxshim_mincore(address, length, vec);
	printf("%s: %d %s", label, result, errno == NO_ERROR ? "" : strerrorname_np(errno));
	for (size_t i = 0; !result && i < (length + PAGE - 1) / PAGE; i++)
		printf(" %02x", vec[i]);
	printf("\n");
}

static char *map(const char *name, int flags, long pages)
{
	int fd = open(name, O_RDWR);
	char *p = mmap(NULL, pages * PAGE, RW, flags, fd, 0);
	close(fd);
	return p;
}

int main(int argc, char **argv)
{
	unsigned char vec[8];
	begin(argc, argv);
	char *p = map("file", MAP_SHARED, 4);
	p[0] = p[2 * PAGE] = '!';
	memset(vec, 0xff, sizeof vec);
	ask("whole", p, 4 * PAGE, vec);
	printf("behind: %02x\n", vec[4]);
	ask("part", p + PAGE, PAGE + 1, vec);
	ask("a byte", p, 1, vec);
	ask("empty", p, 0, NULL);
	ask("unaligned", p + 1, PAGE, vec);
	ask("too long", p, SIZE_MAX, vec);
	ask("not mapped", NULL, PAGE, vec);
	ask("bad vector", p, PAGE, NULL);
	ask("read-only vector", p, PAGE, (unsigned char *)"text");
	/* Its name leads elsewhere now. */
	char *plain = map("plain", MAP_SHARED, 1);
	plain[0] = '!';
	raw(SYS_renameat, AT_FDCWD, "plain", AT_FDCWD, "new");
	raw(SYS_unlinkat, AT_FDCWD, "new", 0);
	ask("removed", plain, PAGE, vec);
	munmap(p + 3 * PAGE, PAGE);
	ask("over a hole", p, 4 * PAGE, vec);
	return end();
}

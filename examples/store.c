/* For `daxshim check`: docs/check.md has what it says of this program. Usage: store FILE (two pages). */
#include <fcntl.h>
#include <sys/mman.h>

static void commit(char *page)
{
	msync(page, 4096, MS_SYNC);
}

int main(int argc, char **argv)
{
	int fd = open(argv[argc - 1], O_RDWR);
	char *map = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return 1;
	map[5000] ^= 1;
	commit(map); /* The record lies in the second page. */
	munmap(map, 8192);
	return 0;
}

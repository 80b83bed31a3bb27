#include "common.h"
#include "libpmem.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	keep = true;
	char *p = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, open("file", O_RDWR), 0);
	if (p == MAP_FAILED)
		die("mmap");
	void *(*copy)(void *, const void *, size_t) = symbol;
	bool set = !strcmp(argv[1], "pmem_memset_nodrain");
	const char *from = set ? (char *)7 : memset(malloc(PAGE), 7, PAGE);
	STEP((char *)copy(p + 5, from, 100) - p, "a few bytes");
	STEP((char *)copy(p + PAGE, from, PAGE) - p, "a page");
	return end();
}

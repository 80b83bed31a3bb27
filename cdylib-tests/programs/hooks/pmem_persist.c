#include "common.h"
#include "libpmem.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	keep = true;
	char *p = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, open("file", O_RDWR), 0);
	if (p == MAP_FAILED)
		die("mmap");
	void (*persist)(const void *, size_t) = symbol;
	p[10] = 1;
	STEP((persist(p + 10, 1), 0), "a byte");
	STEP((persist(p, FILE_SIZE), 0), "all of it");
	return end();
}

#include "common.h"
#include "libpmem.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	keep = true;
	char *p = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, open("file", O_RDWR), 0);
	if (p == MAP_FAILED)
		die("mmap");
	void (*drain)(void) = symbol;
	p[10] = 1;
	pmem_flush(p + 10, 1);
	STEP((drain(), 0), "after a flush");
	STEP((drain(), 0), "again");
	return end();
}

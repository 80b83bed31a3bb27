#include "common.h"
#include "libpmem.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	keep = true;
	char *p = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, open("file", O_RDWR), 0);
	if (p == MAP_FAILED)
		die("mmap");
	void (*flush)(const void *, size_t) = symbol;
	p[10] = 1;
	STEP((flush(p + 10, 1), 0), "a byte");
	STEP((flush(p, FILE_SIZE), 0), "all of it");
	STEP((flush(p, 0), 0), "nothing");
	STEP((flush("constant", 8), 0), "no mapping");
	return end();
}

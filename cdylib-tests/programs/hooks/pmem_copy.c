#include "common.h"
#include "libpmem.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	keep = true;
	char *p = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, open("file", O_RDWR), 0);
	if (p == MAP_FAILED)
		die("mmap");
	copy_fn *copy = symbol;
	bool set = !strcmp(argv[1], "pmem_memset");
	const char *from = set ? (char *)7 : memset(malloc(PAGE), 7, PAGE);
	unsigned flags[] = {0, PMEM_F_MEM_NODRAIN, PMEM_F_MEM_NOFLUSH, PMEM_F_MEM_NODRAIN | PMEM_F_MEM_NOFLUSH};
	for (int i = 0; i < 4; i++)
		STEP((char *)copy(p + i * PAGE + 5, from, 100 + 1000 * i, flags[i]) - p, "flags %#x", flags[i]);
	return end();
}

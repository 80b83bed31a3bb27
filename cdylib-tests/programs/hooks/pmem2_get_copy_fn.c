#include "common.h"
#include "libpmem.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	keep = true;
	int fd = open("file", O_RDWR);
	for (int by_line = 0; by_line < 2; by_line++) {
		const char *by = by_line ? "CACHE_LINE" : "PAGE";
		struct pmem2_map *map = pmem2_mapped(fd, by);
		if (!map)
			die("pmem2_map_new");
		char *p = pmem2_map_get_address(map);
		p[10 + by_line] = 1;
		copy_fn *(*get)(struct pmem2_map *) = symbol;
		bool set = !strcmp(argv[1], "pmem2_get_memset_fn");
		const char *from = set ? (char *)7L : memset(malloc(PAGE), 7, PAGE);
		STEP((char *)get(map)(p + PAGE + 5, from, 1000, 0) - p, "%s: copy", by);
		STEP((char *)get(map)(p + 5, from, 100, PMEM_F_MEM_NODRAIN) - p, "%s: without drain", by);
		STEP((char *)get(map)(p + 2 * PAGE, from, 100, PMEM_F_MEM_NOFLUSH) - p, "%s: without flush", by);
		STEP(pmem2_map_delete(&map), "%s: unmapped", by);
	}
	return end();
}

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
		flush_fn *(*get)(struct pmem2_map *) = symbol;
		STEP((get(map)(p + 10, 2), 0), "%s: persist", by);
		STEP(get(map) == get(map), "%s: the same function", by);
		STEP(pmem2_map_delete(&map), "%s: unmapped", by);
	}
	return end();
}

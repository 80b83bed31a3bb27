#include "check.h"
#include "libpmem.h"

static NOINLINE void bug(int to)
{
	must(send(to, "OK", 2, 0) == 2, "send");
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	int ends[2];
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0, "socketpair");
	struct pmem2_map *map = pmem2_mapped(opened("file"), "CACHE_LINE");
	must(map, "pmem2_map_new");
	char *p = pmem2_map_get_address(map);
	pmem2_get_memcpy_fn(map)(p + PAGE, "value", 5, PMEM_F_MEM_NODRAIN);
	if (!wrong)
		pmem2_get_drain_fn(map)();
	bug(ends[0]);
	pmem2_get_drain_fn(map)();
	must(pmem2_map_delete(&map) == 0, "pmem2_map_delete");
	return 0;
}

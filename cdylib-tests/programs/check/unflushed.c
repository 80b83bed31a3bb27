/* All of libpmem's and libpmem2's ways to make stores durable; and a copy without a flush. */
#include "check.h"
#include "libpmem.h"

static char values[PAGE];

static NOINLINE void bug(char *p)
{
	munmap(p, 4 * PAGE);
}

static void by_libpmem(char *p)
{
	p[0] ^= 1;
	pmem_persist(p, 1);
	p[64] ^= 1;
	must(pmem_deep_persist(p + 64, 1) == 0, "pmem_deep_persist");
	p[128] ^= 1;
	pmem_flush(p + 128, 1);
	p[192] ^= 1;
	pmem_deep_flush(p + 192, 1);
	pmem_drain();
	pmem_memcpy_persist(p + 256, values, 100);
	pmem_memmove_persist(p + 512, values, 100);
	pmem_memset_persist(p + 768, 9, 100);
	pmem_memcpy_nodrain(p + 1024, values, 100);
	pmem_memmove_nodrain(p + 1280, values, 100);
	pmem_memset_nodrain(p + 1536, 9, 100);
	pmem_drain();
	pmem_memcpy(p + 1792, values, 100, 0);
	pmem_memmove(p + 2048, values, 100, PMEM_F_MEM_NODRAIN);
	pmem_memset(p + 2304, 9, 100, 0);
	pmem_memset(p + 2560, 9, 100, PMEM_F_MEM_NOFLUSH);
	if (!wrong)
		pmem_persist(p + 2560, 100);
	p[PAGE] ^= 1;
	must(pmem_msync(p + PAGE, 1) == 0, "pmem_msync");
	bug(p);
}

static void by_libpmem2(int fd, const char *by, long at)
{
	struct pmem2_map *map = pmem2_mapped(fd, by);
	must(map, "pmem2_map_new");
	char *p = (char *)pmem2_map_get_address(map) + at;
	p[0] ^= 1;
	pmem2_get_persist_fn(map)(p, 1);
	p[64] ^= 1;
	pmem2_get_flush_fn(map)(p + 64, 1);
	pmem2_get_drain_fn(map)();
	pmem2_get_memcpy_fn(map)(p + 128, values, 100, 0);
	pmem2_get_memmove_fn(map)(p + 256, values, 100, 0);
	pmem2_get_memset_fn(map)(p + 512, 9, 100, PMEM_F_MEM_NODRAIN);
	pmem2_get_drain_fn(map)();
	/* Where a flush is msync, a deep one does nothing more: not even that. */
	p[1024] ^= strcmp(by, "PAGE") != 0;
	must(pmem2_deep_flush(map, p + 1024, 1) == 0, "pmem2_deep_flush");
	must(pmem2_map_delete(&map) == 0, "pmem2_map_delete");
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	memset(values, 7, sizeof values);
	by_libpmem2(opened("file"), "CACHE_LINE", 2 * PAGE);
	by_libpmem2(opened("file"), "PAGE", 3 * PAGE);
	by_libpmem(mapped("file", 4));
	return 0;
}

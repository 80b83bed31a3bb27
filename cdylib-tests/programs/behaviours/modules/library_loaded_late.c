/* libpmem is loaded for everybody, libpmem2 for this program alone: symbols are found as they would be for a
 * module that needs them. */
#include "common.h"
#include "libpmem.h"

static void *found(void *library, const char *name)
{
	void *function = dlsym(RTLD_DEFAULT, name);
	return function ? function : dlsym(library, name);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	keep = true;
	void *one = dlopen("libpmem.so.1", RTLD_LAZY | RTLD_GLOBAL), *two = dlopen("libpmem2.so.1", RTLD_LAZY | RTLD_LOCAL);
	char *p = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, open("file", O_RDWR), 0);
	if (!one || !two || p == MAP_FAILED)
		die("dlopen, mmap");
	void (*persist)(const void *, size_t) = found(one, "pmem_persist");
	void *(*copy)(void *, const void *, size_t) = found(one, "pmem_memcpy_persist");
	flush_fn *(*get)(struct pmem2_map *) = found(two, "pmem2_get_persist_fn");
	p[10] = 1;
	for (int i = 0; i < 2; i++) {
		STEP((persist(p + 10, 1), 0), "pmem_persist");
		STEP((char *)copy(p + 100 + i, "text", 4) - p, "pmem_memcpy_persist");
		STEP(get(memset(malloc(PAGE), 0, PAGE)) == NULL, "pmem2_get_persist_fn");
	}
	return end();
}

/* libpmem and libpmem2, as far as the programs use them: only the libraries themselves are needed to build. */
#ifndef LIBPMEM_H
#define LIBPMEM_H

#include <stddef.h>

#define PMEM_F_MEM_NODRAIN (1u << 0)
#define PMEM_F_MEM_NOFLUSH (1u << 5)

void pmem_flush(const void *p, size_t length);
void pmem_deep_flush(const void *p, size_t length);
void pmem_drain(void);
int pmem_deep_drain(const void *p, size_t length);
void pmem_persist(const void *p, size_t length);
int pmem_deep_persist(const void *p, size_t length);
int pmem_msync(const void *p, size_t length);
void *pmem_memcpy(void *to, const void *from, size_t length, unsigned flags);
void *pmem_memmove(void *to, const void *from, size_t length, unsigned flags);
void *pmem_memset(void *to, int byte, size_t length, unsigned flags);
void *pmem_memcpy_nodrain(void *to, const void *from, size_t length);
void *pmem_memmove_nodrain(void *to, const void *from, size_t length);
void *pmem_memset_nodrain(void *to, int byte, size_t length);
void *pmem_memcpy_persist(void *to, const void *from, size_t length);
void *pmem_memmove_persist(void *to, const void *from, size_t length);
void *pmem_memset_persist(void *to, int byte, size_t length);

enum granularity { GRANULARITY_BYTE, GRANULARITY_CACHE_LINE, GRANULARITY_PAGE };
struct pmem2_config;
struct pmem2_source;
struct pmem2_map;

int pmem2_config_new(struct pmem2_config **config);
int pmem2_config_set_required_store_granularity(struct pmem2_config *config, enum granularity granularity);
int pmem2_source_from_fd(struct pmem2_source **source, int fd);
int pmem2_map_new(struct pmem2_map **map, const struct pmem2_config *config, const struct pmem2_source *source);
int pmem2_map_delete(struct pmem2_map **map);
void *pmem2_map_get_address(struct pmem2_map *map);
int pmem2_deep_flush(struct pmem2_map *map, void *p, size_t length);
const char *pmem2_errormsg(void);

typedef void flush_fn(const void *p, size_t length);
typedef void drain_fn(void);
typedef void *copy_fn(void *to, const void *from, size_t length, unsigned flags);
typedef void *set_fn(void *to, int byte, size_t length, unsigned flags);

flush_fn *pmem2_get_persist_fn(struct pmem2_map *map);
flush_fn *pmem2_get_flush_fn(struct pmem2_map *map);
drain_fn *pmem2_get_drain_fn(struct pmem2_map *map);
copy_fn *pmem2_get_memcpy_fn(struct pmem2_map *map);
copy_fn *pmem2_get_memmove_fn(struct pmem2_map *map);
set_fn *pmem2_get_memset_fn(struct pmem2_map *map);

/* All of a file; `by` is the granularity that it is to count as, NULL for what the library finds. */
static __attribute__((unused)) struct pmem2_map *pmem2_mapped(int fd, const char *by)
{
	struct pmem2_config *config;
	struct pmem2_source *source;
	struct pmem2_map *map = NULL;
	if (by)
		setenv("PMEM2_FORCE_GRANULARITY", by, 1);
	if (pmem2_config_new(&config) || pmem2_config_set_required_store_granularity(config, GRANULARITY_PAGE) ||
	    pmem2_source_from_fd(&source, fd) || pmem2_map_new(&map, config, source))
		fprintf(stderr, "the program itself failed: libpmem2: %s\n", pmem2_errormsg());
	return map;
}

#endif

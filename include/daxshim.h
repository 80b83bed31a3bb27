/* daxshim.h - what a program may ask of its mappings: is this MAP_SYNC, does it take msync to make
 * a store durable, what are the pages mapped by; and one call that makes stores durable the cheapest
 * way that suffices.
 *
 * The functions live in libdaxshim.so. They are referred to weakly: a program that includes this
 * header needs neither the library to link nor the shim to run. Without it (or where a static or
 * non-PIE executable keeps the dynamic linker from finding it) the answers are the safe ones:
 * nothing is MAP_SYNC, everything needs msync, and daxshim_persist is msync.
 *
 * C99 or C++, GCC or Clang, Linux on x86-64. Lengths are bytes. Every function may be called from
 * any thread and from signal handlers, allocates nothing, takes no lock and is no cancellation
 * point. The answer holds as long as nobody changes the mappings.
 *
 * Licensed under MIT or Apache-2.0. */
#ifndef DAXSHIM_H
#define DAXSHIM_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bits of a byte of daxshim_mincore's vector. None of the last three: not mapped now, or not told. */
#define DAXSHIM_MINCORE_RESIDENT 0x01 /* as mincore(2) says */
#define DAXSHIM_MINCORE_DAX 0x02      /* of a file that the kernel accesses by DAX (STATX_ATTR_DAX) */
#define DAXSHIM_MINCORE_SYNC 0x04     /* in a mapping to which the kernel granted MAP_SYNC */
#define DAXSHIM_MINCORE_PTE 0x08      /* mapped as a page of 4 KiB */
#define DAXSHIM_MINCORE_PMD 0x10      /* mapped as a part of a page of 2 MiB */
#define DAXSHIM_MINCORE_PUD 0x20      /* mapped as a part of a page of 1 GiB (hugetlbfs; fs-DAX has none) */

/* The library's functions under names of their own; 0 where it is not loaded. */
#define DAXSHIM_WEAK(symbol) __asm__(symbol) __attribute__((weak))
extern int daxshim_weak_is_sync(const void *addr, size_t len) DAXSHIM_WEAK("daxshim_is_sync");
extern int daxshim_weak_needs_msync(const void *addr, size_t len) DAXSHIM_WEAK("daxshim_needs_msync");
extern int daxshim_weak_mincore(void *addr, size_t len, unsigned char *vec) DAXSHIM_WEAK("daxshim_mincore");
extern int daxshim_weak_persist(const void *addr, size_t len) DAXSHIM_WEAK("daxshim_persist");
#undef DAXSHIM_WEAK
/* mincore(2), which libc's header hides from strict C99. */
extern int daxshim_libc_mincore(void *addr, size_t len, unsigned char *vec) __asm__("mincore");

/* Out of line, the functions below must not take the library's names. */
static __inline__ int daxshim_is_sync(const void *addr, size_t len) __asm__("daxshim_is_sync_or_safe");
static __inline__ int daxshim_needs_msync(const void *addr, size_t len) __asm__("daxshim_needs_msync_or_safe");
static __inline__ int daxshim_mincore(void *addr, size_t len, unsigned char *vec) __asm__("daxshim_mincore_or_safe");
static __inline__ int daxshim_persist(const void *addr, size_t len) __asm__("daxshim_persist_or_safe");

/* 1 if every page that [addr, addr + len) touches lies in a shared mapping to which the kernel
 * granted MAP_SYNC, of a tagged file or any other; else 0: also for what is not mapped, for an empty
 * range, and where the kernel can't be asked (no /proc, no descriptor left). Emulated tags are not
 * MAP_SYNC. Leaves errno alone.
 *
 * Of mappings of tagged files the shim knows it, a lookup of some nanoseconds; for others it reads
 * /proc/self/smaps, which takes the longer the more the process maps: ask once per mapping. */
static __inline__ int daxshim_is_sync(const void *addr, size_t len)
{
	return daxshim_weak_is_sync ? daxshim_weak_is_sync(addr, len) : 0;
}

/* 0 if stores to [addr, addr + len) are durable once their cache lines are written back (clwb) and a
 * fence (sfence) has followed; 1 if it takes msync, and where that can't be told. 0 are MAP_SYNC
 * mappings of files with a valid tag or none, and emulated tags on tmpfs, where nothing outlives a
 * power failure, whatever is called. A broken tag is 1, and so is everything with
 * DAXSHIM_FLUSH=kernel or PMEM_IS_PMEM_FORCE=0. Leaves errno alone. Costs as daxshim_is_sync. */
static __inline__ int daxshim_needs_msync(const void *addr, size_t len)
{
	return daxshim_weak_needs_msync ? daxshim_weak_needs_msync(addr, len) : 1;
}

/* mincore(2) with more to say: a byte for each page that [addr, addr + len) touches, of the bits
 * above; bit 0 is mincore's own. addr must be at the beginning of a page. 0, or -1 with mincore's
 * errno:
 *   EINVAL  addr is not at the beginning of a page
 *   ENOMEM  a part of the range is not mapped, or it ends beyond the address space
 *   EFAULT  vec is not writable
 *   EAGAIN  the kernel is short of memory
 * The page sizes need Linux 6.7 (PAGEMAP_SCAN); where it or /proc is missing, their bits are 0. So
 * are DAX and SYNC where /proc is missing, and DAX where the file was renamed or removed and the
 * caller may not use /proc/self/map_files. Without the shim there is only bit 0. */
static __inline__ int daxshim_mincore(void *addr, size_t len, unsigned char *vec)
{
	size_t page, pages;
	long size;

	if (daxshim_weak_mincore)
		return daxshim_weak_mincore(addr, len, vec);
	if (daxshim_libc_mincore(addr, len, vec))
		return -1;
	size = sysconf(_SC_PAGESIZE);
	pages = len / (size_t)size + (len % (size_t)size != 0);
	for (page = 0; page < pages; page++)
		vec[page] &= DAXSHIM_MINCORE_RESIDENT;
	return 0;
}

/* Makes stores to [addr, addr + len) durable, in the way that msync(2) with MS_SYNC would: on sync
 * mappings of tagged files by writing back the lines of the range and one fence, by the kernel's
 * msync for all other pages that the range touches. Neither addr nor len need be aligned.
 * DAXSHIM_FLUSH decides as it does for msync (with `none` nothing is durable). 0, or -1 with msync's
 * errno:
 *   ENOMEM  a part of the range is not mapped (the rest is durable all the same), or it ends beyond
 *           the address space
 *   EIO     the file could not be written
 * EINVAL does not happen: addr need not be aligned. An empty range is 0. */
static __inline__ int daxshim_persist(const void *addr, size_t len)
{
	uintptr_t start = (uintptr_t)addr, mask;

	if (daxshim_weak_persist)
		return daxshim_weak_persist(addr, len);
	if (len > UINTPTR_MAX - start) {
		errno = ENOMEM;
		return -1;
	}
	mask = (uintptr_t)sysconf(_SC_PAGESIZE) - 1;
	if (!len)
		return 0;
	return msync((void *)(start & ~mask), len + (size_t)(start & mask), MS_SYNC);
}

#ifdef __cplusplus
}
#endif

#endif

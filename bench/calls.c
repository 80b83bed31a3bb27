/* calls FILE: instructions of public calls on a file, a line each: its name and the median. For a clock that counts them
 * (scripts/vm --icount). `calls FILE tagged` leaves out what a tagged file refuses, and asks what only such a file costs.
 * scripts/bench.d/calls runs it without the shim and with it. */
#define _GNU_SOURCE
#include "blocks.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { PAGE = 4096, SIZE = 1 << 20, FIRST = 60, CALLS = 200 };
#define RW (PROT_READ | PROT_WRITE)
/* Far from other mappings: what the kernel takes depends on how many are near (nodes of its maple tree). */
#define FAR ((char *)0x100000000000)

static int fd, null_fd;
static const char *path;
static char *map, page[PAGE];
static struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};

#define CALL(name, call)                                                                           \
	static void name(int i)                                                                    \
	{                                                                                          \
		(void)i;                                                                           \
		call;                                                                              \
	}

/* What a tagged file allows, too. */
CALL(do_read, pread(fd, page, 64, 0))
CALL(do_open_read, close(open(path, O_RDONLY)))
CALL(do_open_write, close(open(path, O_RDWR)))
CALL(do_dup, close(dup(fd)))
CALL(do_getfl, fcntl(fd, F_GETFL))
CALL(do_lock, fcntl(fd, F_SETLK, &lock))
CALL(do_fstat, (fstat(fd, &(struct stat){0})))
CALL(do_map, munmap(mmap(FAR, SIZE, RW, MAP_SHARED, fd, 0), SIZE))
CALL(do_map_anonymous, munmap(mmap(FAR + 4 * SIZE, SIZE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), SIZE))
CALL(do_mprotect, mprotect(map, PAGE, i % 2 ? RW : PROT_READ))
CALL(do_madvise, madvise(map, PAGE, MADV_WILLNEED))
CALL(do_msync_clean, msync(map, PAGE, MS_SYNC))
CALL(do_msync_line, (map[0]++, msync(map, PAGE, MS_SYNC)))
CALL(do_msync_64, (map[0]++, msync(map, 64 << 10, MS_SYNC)))
CALL(do_msync_all, (map[0]++, msync(map, SIZE, MS_SYNC)))
CALL(do_msync_async, msync(map, PAGE, MS_ASYNC))
CALL(do_fsync, fsync(fd))
CALL(do_fdatasync, fdatasync(fd))
CALL(do_fsync_line, (map[0]++, fsync(fd)))

/* What it refuses. */
CALL(do_write_null, write(null_fd, page, 64))
CALL(do_write, pwrite(fd, page, 64, 0))
CALL(do_writev, pwritev(fd, &((struct iovec){page, 64}), 1, 0))
CALL(do_ftruncate, ftruncate(fd, SIZE))
CALL(do_fallocate, fallocate(fd, 0, 0, SIZE))
CALL(do_fchmod, fchmod(fd, 0600))
CALL(do_chmod, chmod(path, 0600))
CALL(do_truncate, truncate(path, SIZE))
CALL(do_utimensat, utimensat(AT_FDCWD, path, NULL, 0))
CALL(do_setxattr, setxattr(path, "user.x", "x", 1, 0))
CALL(do_rename, (rename(path, "renamed"), rename("renamed", path)))
CALL(do_create, (close(open("created", O_CREAT | O_WRONLY, 0600)), unlink("created")))

static const struct {
	const char *name;
	void (*call)(int);
} allowed[] = {
    {"pread, 64 bytes", do_read},
    {"open to read, close", do_open_read},
    {"open to write, close", do_open_write},
    {"dup, close", do_dup},
    {"fcntl F_GETFL", do_getfl},
    {"fcntl F_SETLK", do_lock},
    {"fstat", do_fstat},
    {"mmap, munmap, 1 MiB", do_map},
    {"mmap, munmap, anonymous", do_map_anonymous},
    {"mprotect, a page", do_mprotect},
    {"madvise, a page", do_madvise},
    {"msync, a clean page", do_msync_clean},
    {"store, msync, a page", do_msync_line},
    {"store, msync, 64 KiB", do_msync_64},
    {"store, msync, 1 MiB", do_msync_all},
    {"msync MS_ASYNC", do_msync_async},
    {"fsync, clean", do_fsync},
    {"fdatasync, clean", do_fdatasync},
    {"store, fsync", do_fsync_line},
}, refused[] = {
    {"write to /dev/null", do_write_null},
    {"pwrite, 64 bytes", do_write},
    {"pwritev, 64 bytes", do_writev},
    {"ftruncate, same size", do_ftruncate},
    {"fallocate", do_fallocate},
    {"fchmod", do_fchmod},
    {"chmod", do_chmod},
    {"truncate, same size", do_truncate},
    {"utimensat", do_utimensat},
    {"setxattr", do_setxattr},
    {"rename, twice", do_rename},
    {"open O_CREAT, close, unlink", do_create},
};

/* The median of single calls: a tick of the clock, or a commit of the journal, is in few of them. */
static double cost(void (*call)(int))
{
	static double took[CALLS];
	for (int i = 0; i < FIRST + CALLS; i++) {
		double before = now();
		call(i);
		if (i >= FIRST)
			took[i - FIRST] = now() - before;
	}
	return median(took, CALLS);
}

CALL(do_nothing, (void)0)

static void measure(const char *name, void (*call)(int))
{
	printf("%-28s %8.0f\n", name, cost(call) - cost(do_nothing));
}

int main(int argc, char **argv)
{
	path = argc > 1 ? argv[1] : "";
	fd = open(path, O_RDWR);
	null_fd = open("/dev/null", O_WRONLY);
	map = mmap(FAR + 8 * SIZE, SIZE, RW, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED || lseek(fd, 0, SEEK_END) != SIZE) {
		fprintf(stderr, "calls: give it a file of 1 MiB\n");
		return 1;
	}
	for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
		measure(allowed[i].name, allowed[i].call);
	for (size_t i = 0; argc < 3 && i < sizeof refused / sizeof *refused; i++)
		measure(refused[i].name, refused[i].call);
	return 0;
}

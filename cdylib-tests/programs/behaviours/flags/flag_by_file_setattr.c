/* file_setattr(2) and file_getattr(2), by number: the same flag, by path. Ends with 77 where the
 * kernel has no such call. */
#include "inode_flags.h"

struct attributes {
	uint64_t xflags;
	uint32_t extent_size, extents, project, cow_extent_size;
	uint64_t more[2];
};

static long get(int at, const char *path, int flags)
{
	struct attributes now = {0};
	return syscall(468, at, path, &now, 24, flags) ? -1 : (long)(now.xflags & BOTH);
}

static long change(int at, const char *path, uint64_t off, uint64_t on, size_t size, int flags)
{
	struct attributes now = {0};
	if (syscall(468, at, path, &now, 24, flags))
		return -1;
	now.xflags = (now.xflags & ~off) | on;
	return syscall(469, at, path, &now, size, flags);
}

int main(int argc, char **argv)
{
	struct attributes odd = {.xflags = BOTH, .more = {0, 1}};
	begin_alone(argc, argv);
	if (raw(468, AT_FDCWD, "file", &odd, 24, 0) == -1 && errno == ENOSYS)
		_exit(77);
	odd.xflags = BOTH;
	STEP(change(AT_FDCWD, "sub", 0, BOTH, 24, 0), "a directory");
	STEP(change(AT_FDCWD, "missing", 0, BOTH, 24, 0), "nothing");
	STEP(change(AT_FDCWD, "symlink", 0, BOTH, 24, AT_SYMLINK_NOFOLLOW), "a symlink");
	STEP(change(AT_FDCWD, "file", 0, BOTH, 24, 0x10000), "bad flags");
	STEP(change(AT_FDCWD, "file", 0, BOTH, 23, 0), "too short");
	STEP(syscall(469, AT_FDCWD, "file", &odd, sizeof odd, 0), "something behind it");
	STEP(syscall(469, AT_FDCWD, "file", 8, 24, 0), "a bad pointer");
	STEP(change(AT_FDCWD, "file", 0, BOTH | 0x20000000, 24, 0), "a flag that nobody knows");
	STEP(change(AT_FDCWD, "file", 0, BOTH | 1ull << 40, 24, 0), "a flag beyond 32 bits");
	STEP(has_attribute("file"), "attribute");

	STEP(change(DIR_FD, "symlink", 0, BOTH, sizeof odd, 0), "set");
	STEP(get(DIR_FD, "hardlink", 0), "flags");
	STEP(get(AT_FDCWD, "plain", 0), "those of plain");
	STEP(truncate("file", 10), "truncate");
	STEP(change(AT_FDCWD, "file", 0, 0, 24, 0), "as they are");
	STEP(change(AT_FDCWD, "file", 0, NODUMP, 24, 0), "NODUMP too");
	int fd = opened("file", O_RDONLY);
	void *at = map(fd, MAP_SHARED);
	close(fd);
	STEP(change(AT_FDCWD, "file", DAX_IMMUTABLE, 0, 24, 0), "clear while mapped");
	munmap(at, FILE_SIZE);
	STEP(change(AT_FDCWD, "file", DAX_IMMUTABLE, 0, 24, 0), "clear");
	STEP(get(AT_FDCWD, "file", 0) & DAX_IMMUTABLE, "flags");
	fd = opened("file", O_RDWR);
	STEP(change(OPATH_FD, "", 0, BOTH, 24, AT_EMPTY_PATH), "set by O_PATH");
	STEP(change(fd, "", 0, BOTH, 24, AT_EMPTY_PATH), "set by descriptor");
	STEP(get(fd, "", AT_EMPTY_PATH), "flags");
	STEP(pwrite(fd, "WXYZ", 4, 0), "write");
	STEP(change(fd, "", DAX, 0, 24, AT_EMPTY_PATH), "clear DAX by descriptor");
	STEP(get(AT_FDCWD, "file", 0), "flags");
	STEP(has_attribute("file"), "attribute");
	return end();
}

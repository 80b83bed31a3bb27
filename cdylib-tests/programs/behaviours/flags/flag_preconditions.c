/* What keeps FS_XFLAG_DAX_IMMUTABLE from being set, each with its errno; then nothing is changed. */
#include "inode_flags.h"

static int new_file(void)
{
	return opened("new", O_RDWR | O_CREAT | O_TRUNC);
}

static long set_raw(int fd, unsigned flags)
{
	struct fsxattr attributes = {.fsx_xflags = flags};
	return ioctl(fd, FS_IOC_FSSETXATTR, &attributes);
}

/* Linux before 6.17 takes flags that it does not know for nothing. */
#define UNKNOWN 0x20000000u
static bool passes_unknown(int fd)
{
	struct fsxattr attributes = {0};
	raw(SYS_ioctl, fd, FS_IOC_FSGETXATTR, &attributes);
	attributes.fsx_xflags |= UNKNOWN;
	return raw(SYS_ioctl, fd, FS_IOC_FSSETXATTR, &attributes) == 0;
}

int main(int argc, char **argv)
{
	int ends[2];
	begin_alone(argc, argv);
	int fd = opened("file", O_RDWR);
	if (pipe(ends))
		die("pipe");
	STEP(set_tag(SUB_FD), "a directory");
	STEP(set_raw(ends[1], BOTH), "a pipe");
	STEP(set_raw(CLOSED_FD, BOTH), "a closed descriptor");
	STEP(set_raw(OPATH_FD, BOTH), "an O_PATH descriptor");
	STEP(ioctl(fd, FS_IOC_FSSETXATTR, 8), "a bad pointer");
	STEP(passes_unknown(fd) ? GIVEN(EOPNOTSUPP) : set_raw(fd, BOTH | UNKNOWN), "a flag that nobody knows");
	STEP(is_emulated() ? GIVEN(EPERM) : WITHOUT(CAP_LINUX_IMMUTABLE, set_tag(fd)), "without CAP_LINUX_IMMUTABLE, not emulated");
	STEP(is_emulated() ? GIVEN(EPERM) : WITHOUT(CAP_SYS_ADMIN, set_tag(fd)), "without CAP_SYS_ADMIN, not emulated");
	STEP(is_emulated() ? GIVEN(EINVAL) : change_flags(fd, DAX, DAX_IMMUTABLE), "without DAX, not emulated");

	int hole = new_file();
	if (pwrite(hole, "x", 1, 0) != 1 || pwrite(hole, "x", 1, 3 * PAGE) != 1)
		die("pwrite");
	STEP(set_tag(hole), "a hole");
	if (ftruncate(hole, 0) || fallocate(hole, 0, 0, FILE_SIZE))
		die("fallocate");
	STEP(set_tag(hole), "unwritten");
	close(hole);

	struct holder writer = HOLDING(opened("file", O_WRONLY));
	STEP(set_tag(fd), "open for writing elsewhere");
	release(writer);
	struct holder sharing = HOLDING({
		int other = opened("file", O_RDWR);
		map(other, MAP_SHARED);
		close(other);
		close(fd);
	});
	STEP(set_tag(fd), "mapped elsewhere");
	release(sharing);
	struct holder loose = HOLDING(close(fd));
	void *at = map(fd, MAP_SHARED);
	STEP(set_tag(fd), "mapped here");
	munmap(at, FILE_SIZE);
	STEP(flags_of(fd) & DAX_IMMUTABLE, "its flags");
	STEP(has_attribute("file") + has_attribute("new") + has_attribute("sub"), "attributes");
	struct fsxattr now = {0};
	raw(SYS_ioctl, fd, FS_IOC_FSGETXATTR, &now);
	STEP(now.fsx_xflags & (BOTH | NODEFRAG), "what the kernel has");
	release(loose);

	struct holder reader = HOLDING({
		close(fd);
		map(opened("file", O_RDONLY), MAP_PRIVATE);
	});
	STEP(set_tag(fd), "open for reading elsewhere");
	release(reader);
	STEP(clear_tag(fd), "clear");
	return end();
}

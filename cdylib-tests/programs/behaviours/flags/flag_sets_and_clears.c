/* FS_XFLAG_DAX_IMMUTABLE is the tag: set, shown, in force for every descriptor, cleared. */
#include "inode_flags.h"

/* FS_IOC_SETFLAGS without FS_DAX_FL. */
static long clear_dax(int fd)
{
	int flags = 0;
	if (ioctl(fd, FS_IOC_GETFLAGS, &flags))
		return -1;
	if (!(flags & DAX_FL))
		die("FS_DAX_FL is not shown");
	flags &= ~DAX_FL;
	return ioctl(fd, FS_IOC_SETFLAGS, &flags);
}

static long set_by_number(int fd)
{
	struct fsxattr attributes = {0};
	if (syscall(SYS_ioctl, fd, FS_IOC_FSGETXATTR, &attributes))
		return -1;
	attributes.fsx_xflags |= BOTH;
	return syscall(SYS_ioctl, fd, FS_IOC_FSSETXATTR, &attributes);
}

static void refused(const char *when, const int *fds, int count)
{
	for (int i = 0; i < count; i++)
		STEP(pwrite(fds[i], "WXYZ", 4, 0), "%s, write to descriptor %d", when, i);
	STEP(ftruncate(fds[0], 10), "%s, ftruncate", when);
	STEP(chmod("file", 0600), "%s, chmod", when);
}

int main(int argc, char **argv)
{
	begin_alone(argc, argv);
	int fds[] = {opened("file", O_RDWR), opened("file", O_WRONLY), opened("hardlink", O_RDWR), 0, 200};
	fds[3] = dup(fds[0]);
	if (dup2(fds[1], 200) != 200)
		die("dup2");
	/* Now each is known as untagged. */
	for (int i = 0; i < 5; i++)
		if (pwrite(fds[i], "aaaa", 4, 0) != 4)
			die("pwrite");
	int fd = fds[0];
	STEP(flags_of(fd), "untagged, flags");
	STEP(set_tag(fd), "set");
	STEP(flags_of(fd), "tagged, flags");
	STEP(has_attribute("file"), "attribute");
	STEP(lseek(fd, 0, SEEK_CUR), "offset");
	refused("tagged", fds, 5);
	STEP(change_flags(fd, 0, 0), "as they are");
	STEP(set_tag(fd), "set again");
	STEP(change_flags(fd, 0, NODUMP), "NODUMP too");
	STEP(flags_of(fd), "flags");
	/* A process that can't be looked at must not be what keeps it. */
	for (int i = 1; i < 5; i++)
		close(fds[i]);
	void *at = map(fd, MAP_SHARED);
	STEP(clear_tag(fd), "clear while mapped");
	STEP(change_flags(fd, DAX, 0), "clear DAX while mapped");
	STEP(clear_dax(fd), "clear FS_DAX_FL while mapped");
	STEP(flags_of(fd), "flags");
	refused("still", fds, 1);
	munmap(at, FILE_SIZE);
	STEP(clear_tag(fd), "clear");
	STEP(flags_of(fd) & DAX_IMMUTABLE, "flags");
	STEP(has_attribute("file"), "attribute");
	STEP(pwrite(fd, "aaaa", 4, 0), "write");
	STEP(set_by_number(fd), "set by number");
	refused("by number", fds, 1);
	STEP(change_flags(fd, DAX, 0), "clear DAX");
	STEP(flags_of(fd), "flags");
	STEP(pwrite(fd, "aaaa", 4, 0), "write");
	STEP(set_tag(fd), "set");
	STEP(clear_dax(fd), "clear FS_DAX_FL");
	STEP(flags_of(fd), "flags");
	STEP(change_flags(fd, 0, BOTH | NODUMP), "set with NODUMP");
	STEP(change_flags(fd, BOTH | NODUMP, 0), "clear with NODUMP");
	struct fsxattr last = {0};
	raw(SYS_ioctl, fd, FS_IOC_FSGETXATTR, &last);
	STEP(last.fsx_xflags & (BOTH | NODUMP | NODEFRAG), "what the kernel has");
	STEP(has_attribute("file"), "attribute");
	return end();
}

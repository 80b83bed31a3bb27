/* A tag is its inode's own: not for new files, nor for what becomes of the file once it is cleared.
 * Its attribute can't be made by hand. */
#include "inode_flags.h"

static long set_at(const char *path, const void *value, size_t size)
{
	struct {
		uint64_t value;
		uint32_t size, flags;
	} arguments = {(uintptr_t)value, size, 0};
	return syscall(463, AT_FDCWD, path, 0, tag_name(), &arguments, sizeof arguments);
}

int main(int argc, char **argv)
{
	char tag[256];
	begin_alone(argc, argv);
	int fd = opened("file", O_RDWR);
	STEP(set_tag(fd), "set");
	long size = getxattr("file", tag_name(), tag, sizeof tag);
	STEP(size > 0, "the attribute can be read");
	STEP(removexattr("file", tag_name()), "removed while tagged");
	STEP(setxattr("file", tag_name(), "v", 1, 0), "set to something else while tagged");
	STEP(flags_of(fd), "flags");

	STEP(change_flags(DIR_FD, 0, DAX_IMMUTABLE), "the flag on the directory");
	int new = opened("new", O_RDWR | O_CREAT), unnamed = open(".", O_TMPFILE | O_RDWR, 0644);
	STEP(flags_of(new) & DAX_IMMUTABLE, "flags of a new file");
	STEP(flags_of(unnamed) & DAX_IMMUTABLE, "flags of an unnamed file");
	STEP(write(new, "x", 1) + write(unnamed, "x", 1), "writes to them");

	/* As root's cp -a does it: it binds nobody, and may be taken off again. */
	STEP(setxattr("plain", tag_name(), tag, size, 0), "a copy");
	STEP(pwrite(opened("plain", O_WRONLY), "q", 1, 0), "write to the copy");
	STEP(removexattr("plain", tag_name()), "the copy's attribute removed");

	STEP(clear_tag(fd), "clear");
	STEP(setxattr("file", tag_name(), tag, size, 0), "set by hand");
	STEP(lsetxattr("file", tag_name(), tag, size, 0), "set by lsetxattr");
	STEP(fsetxattr(fd, tag_name(), tag, size, 0), "set by fsetxattr");
	STEP(setxattr("file", tag_name(), tag, size, XATTR_CREATE), "created by hand");
	STEP(setxattr("file", tag_name(), tag, size, 4), "with bad flags");
	STEP(set_at("plain", "v", 1) ? GIVEN(EPERM) : set_at("file", tag, size), "set by setxattrat");
	STEP(flags_of(fd) & DAX_IMMUTABLE, "flags");
	STEP(has_attribute("file"), "attribute");
	STEP(setxattr("file", tag_name(), tag, size - 1, 0), "set, cut short");
	STEP(removexattr("file", tag_name()), "and removed");
	if (ftruncate(fd, FILE_SIZE - 1))
		die("ftruncate");
	STEP(setxattr("file", tag_name(), tag, size, 0), "stale: the size is another");
	STEP(flags_of(fd) & DAX_IMMUTABLE, "flags");
	STEP(pwrite(fd, "aaaa", 4, 0), "write");
	STEP(set_tag(fd), "set over it");
	STEP(pwrite(fd, "aaaa", 4, 0), "write");
	STEP(clear_tag(fd), "clear");
	STEP(has_attribute("file"), "attribute");
	return end();
}

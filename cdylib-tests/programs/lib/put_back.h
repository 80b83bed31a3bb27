/* Puts the scene back as the harness laid it out, behind the hooks. */
#ifndef PUT_BACK_H
#define PUT_BACK_H

#include "changes.h"

static unsigned char original(long offset)
{
	return 'a' + (offset / 64 + offset / PAGE) % 26;
}

static void raw_remove(const char *name)
{
	if (raw(SYS_unlinkat, AT_FDCWD, name, 0) == -1)
		raw(SYS_unlinkat, AT_FDCWD, name, AT_REMOVEDIR);
}

static void raw_link(const char *from, const char *to)
{
	raw_remove(to);
	if (raw(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0) == -1)
		die("restoring a hard link");
}

static void raw_fill(const char *name, long size, bool pattern)
{
	unsigned char bytes[FILE_SIZE];
	int fd = raw(SYS_openat, AT_FDCWD, name, O_RDWR | O_CREAT, 0644);
	for (long i = 0; i < size; i++)
		bytes[i] = pattern ? original(i) : 'p';
	if (fd < 0 || raw(SYS_ftruncate, fd, size) || raw(SYS_pwrite64, fd, bytes, size, 0) != size ||
	    raw(SYS_fchmod, fd, 0644) || raw(SYS_fchown, fd, scene[0].uid, scene[0].gid))
		die("restoring a file");
	raw(SYS_fremovexattr, fd, "user.test");
	raw(SYS_fremovexattr, fd, "trusted.test");
	raw(SYS_fremovexattr, fd, "system.posix_acl_access");
	if (pattern)
		raw(SYS_fsetxattr, fd, "user.present", "yes", 3, 0);
	else
		raw(SYS_fremovexattr, fd, "user.present");
	raw(SYS_close, fd);
}

static bool as_in_the_scene(int i)
{
	struct state now = look(watched[i]);
	struct state was = scene[i];
	return now.there == was.there && now.inode == was.inode && now.mode == was.mode && now.uid == was.uid &&
	       now.gid == was.gid && now.links == was.links && now.size == was.size && now.data == was.data &&
	       !strcmp(now.xattrs, was.xattrs);
}

static void put_symlink_back(int i, const char *to)
{
	if (!as_in_the_scene(i)) {
		raw_remove(watched[i]);
		raw(SYS_symlinkat, to, AT_FDCWD, watched[i]);
	}
}

static void put_back(void)
{
	static const int names[] = {1, 3, 2, 4, 6, 5, 7, 8, 9, 10};
	bool whole = true;
	for (size_t i = 0; i < WATCHED; i++)
		whole &= as_in_the_scene(i);
	if (whole)
		return;
	if (!look("sub").there || !S_ISDIR(look("sub").mode)) {
		if (S_ISDIR(look("new").mode))
			raw(SYS_renameat2, AT_FDCWD, "new", AT_FDCWD, "sub", 0);
		else if (S_ISDIR(look("file").mode))
			raw(SYS_renameat2, AT_FDCWD, "file", AT_FDCWD, "sub", 0);
	}
	/* The same inode again under its names, wherever it has gone. */
	for (size_t i = 0; i < sizeof names / sizeof *names && look("file").inode != scene[0].inode; i++)
		if (look(watched[names[i]]).inode == scene[0].inode)
			raw_link(watched[names[i]], "file");
	if (!S_ISREG(look("file").mode))
		raw_remove("file");
	if (!as_in_the_scene(1) || look("hardlink").inode != look("file").inode)
		raw_link("file", "hardlink");
	if (!as_in_the_scene(0))
		raw_fill("file", FILE_SIZE, true);
	if (look("plain").inode != scene[2].inode) {
		if (look("new").inode == scene[2].inode)
			raw_link("new", "plain");
		else
			raw_remove("plain");
	}
	raw_remove("new");
	if (!as_in_the_scene(2))
		raw_fill("plain", PLAIN_SIZE, false);
	raw_remove("missing");
	raw_remove("sub/file");
	put_symlink_back(4, "file");
	put_symlink_back(5, "new");
	put_symlink_back(7, "loop");
	put_symlink_back(9, "../file");
	if (!as_in_the_scene(6)) {
		raw(SYS_fchmodat, AT_FDCWD, "sub", 0755);
		raw(SYS_fchownat, AT_FDCWD, "sub", scene[6].uid, scene[6].gid, 0);
		raw(SYS_removexattr, "sub", "user.test");
	}
	for (size_t i = 0; i < WATCHED; i++)
		before[i] = scene[i] = look(watched[i]);
}

#endif

/* What changed in the scene since the last step. */
#ifndef CHANGES_H
#define CHANGES_H

#include "program.h"
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/xattr.h>

struct state {
	bool there;
	ino_t inode;
	mode_t mode;
	uid_t uid;
	gid_t gid;
	nlink_t links;
	off_t size;
	uint32_t data; /* FNV-1a of the content, or of a symlink's target */
	char xattrs[256];
};

static const char *const watched[] = {"file", "hardlink", "plain", "new", "symlink", "dangling", "sub", "loop", "missing", "sub/inner", "sub/file"};
#define WATCHED (sizeof watched / sizeof *watched)
static struct state before[WATCHED], scene[WATCHED];

static uint32_t fnv(uint32_t hash, const unsigned char *bytes, long n)
{
	for (long i = 0; i < n; i++)
		hash = (hash ^ bytes[i]) * 0x01000193u;
	return hash;
}

static void look_at_xattrs(const char *name, char *out, size_t room)
{
	static const char *const names[] = {"user.present", "user.test", "trusted.test"};
	*out = 0;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char value[64];
		long n = raw(SYS_lgetxattr, name, names[i], value, sizeof value);
		if (n >= 0)
			snprintf(out + strlen(out), room - strlen(out), " %s=%.*s", names[i], (int)n, value);
	}
}

static struct state look(const char *name)
{
	struct state state = {0};
	struct stat st;
	unsigned char bytes[8192];
	long n, left = 1 << 20;
	int saved = errno;

	if (raw(SYS_newfstatat, AT_FDCWD, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		state = (struct state){true, st.st_ino, st.st_mode, st.st_uid, st.st_gid, st.st_nlink, st.st_size, 0x811c9dc5u, ""};
		if (S_ISREG(st.st_mode)) {
			int fd = raw(SYS_openat, AT_FDCWD, name, O_RDONLY | O_CLOEXEC | O_NOATIME, 0);
			if (fd < 0) /* not ours */
				fd = raw(SYS_openat, AT_FDCWD, name, O_RDONLY | O_CLOEXEC, 0);
			while (fd >= 0 && left > 0 && (n = raw(SYS_read, fd, bytes, sizeof bytes)) > 0) {
				state.data = fnv(state.data, bytes, n);
				left -= n;
			}
			raw(SYS_close, fd);
		} else if (S_ISLNK(st.st_mode)) {
			n = raw(SYS_readlinkat, AT_FDCWD, name, bytes, sizeof bytes);
			state.data = fnv(state.data, bytes, n);
		} else {
			state.size = 0;
			state.links = 1;
		}
		look_at_xattrs(name, state.xattrs, sizeof state.xattrs);
	}
	errno = saved;
	return state;
}

static void print_changes(void)
{
	for (size_t i = 0; i < WATCHED; i++) {
		struct state was = before[i], is = look(watched[i]);
		bool same_inode_as_file = i == 1 && is.there && before[0].there && look("file").inode == is.inode;
		before[i] = is;
		if (was.there != is.there) {
			printf(" | %s %s", watched[i], is.there ? "appears" : "gone");
			if (is.there)
				printf(" %o %ld %08x", is.mode, (long)is.size, is.data);
			continue;
		}
		if (!is.there || (same_inode_as_file && was.inode == is.inode))
			continue;
		if (was.inode != is.inode)
			printf(" | %s is another file", watched[i]);
		if (was.size != is.size)
			printf(" | %s size %ld -> %ld", watched[i], (long)was.size, (long)is.size);
		if (was.data != is.data)
			printf(" | %s data %08x", watched[i], is.data);
		if (was.mode != is.mode)
			printf(" | %s mode %o -> %o", watched[i], was.mode, is.mode);
		if (was.uid != is.uid || was.gid != is.gid)
			printf(" | %s owner %d:%d -> %d:%d", watched[i], was.uid, was.gid, is.uid, is.gid);
		if (was.links != is.links)
			printf(" | %s links %ld -> %ld", watched[i], (long)was.links, (long)is.links);
		if (strcmp(was.xattrs, is.xattrs))
			printf(" | %s xattrs%s", watched[i], is.xattrs);
	}
}

#endif

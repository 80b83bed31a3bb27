/* The kernel interface as proposed: FS_XFLAG_DAX_IMMUTABLE among the inode flags. */
#ifndef INODE_FLAGS_H
#define INODE_FLAGS_H

#include "common.h"
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

#define DAX_IMMUTABLE 0x40000000u
#define DAX 0x8000u
#define NODEFRAG 0x2000u
#define NODUMP 0x80u
#define BOTH (DAX_IMMUTABLE | DAX)
#define DAX_FL 0x02000000

/* Without emulation the tests run on real fs-DAX. */
static bool UNUSED is_emulated(void)
{
	return getenv("DAXSHIM_EMULATE") != NULL;
}

static const char *UNUSED tag_name(void)
{
	return is_emulated() ? "user.dax_immutable" : "security.dax_immutable";
}

/* What an unshimmed process sees: 1 if there is a tag's attribute. */
static int UNUSED has_attribute(const char *path)
{
	int saved = errno, there = raw(SYS_lgetxattr, path, tag_name(), NULL, 0) > 0;
	errno = saved;
	return there;
}

/* FS_IOC_FSGETXATTR: those of the two flags that show. */
static long UNUSED flags_of(int fd)
{
	struct fsxattr attributes = {0};
	return ioctl(fd, FS_IOC_FSGETXATTR, &attributes) ? -1 : (long)(attributes.fsx_xflags & BOTH);
}

/* FS_IOC_FSGETXATTR, some flags off, others on, FS_IOC_FSSETXATTR. */
static long UNUSED change_flags(int fd, unsigned off, unsigned on)
{
	struct fsxattr attributes = {0};
	if (ioctl(fd, FS_IOC_FSGETXATTR, &attributes))
		return -1;
	attributes.fsx_xflags = (attributes.fsx_xflags & ~off) | on;
	return ioctl(fd, FS_IOC_FSSETXATTR, &attributes);
}

static long UNUSED set_tag(int fd)
{
	return change_flags(fd, 0, BOTH);
}

static long UNUSED clear_tag(int fd)
{
	return change_flags(fd, DAX_IMMUTABLE, 0);
}

/* A step's answer without the step, where it makes no sense. */
#define GIVEN(error) (errno = (error), -1l)

/* In a child without this capability. */
#define WITHOUT(capability, call) IN_CHILD((drop_capability(capability), (call)))
static void UNUSED drop_capability(int capability)
{
	struct {
		uint32_t version;
		int pid;
	} header = {0x20080522, 0};
	uint32_t sets[6];
	if (syscall(SYS_capget, &header, sets))
		die("capget");
	for (int i = 0; i < 3; i++)
		sets[3 * (capability / 32) + i] &= ~(1u << capability % 32);
	if (syscall(SYS_capset, &header, sets))
		die("capset");
}
#define CAP_LINUX_IMMUTABLE 9
#define CAP_SYS_PTRACE 19
#define CAP_SYS_ADMIN 21

/* A child that holds the file in some way until it is released. */
struct holder {
	pid_t child;
	int pipe;
};

#define HOLDING(prepare)                                                                                               \
	({                                                                                                             \
		int ready_[2], go_[2];                                                                                 \
		char byte_;                                                                                            \
		fflush(stdout);                                                                                        \
		if (pipe(ready_) || pipe(go_))                                                                         \
			die("pipe");                                                                                   \
		pid_t child_ = fork();                                                                                 \
		if (child_ == 0) {                                                                                     \
			close(go_[1]);                                                                                 \
			prepare;                                                                                       \
			close(ready_[1]);                                                                              \
			_exit(read(go_[0], &byte_, 1) != 0);                                                           \
		}                                                                                                      \
		close(ready_[1]);                                                                                      \
		close(go_[0]);                                                                                         \
		if (read(ready_[0], &byte_, 1) != 0)                                                                   \
			die("read");                                                                                   \
		close(ready_[0]);                                                                                      \
		(struct holder){child_, go_[1]};                                                                       \
	})

static void UNUSED release(struct holder holder)
{
	close(holder.pipe);
	if (ended(holder.child) != 0)
		die("the holder failed");
}

static UNUSED void *map(int fd, int how)
{
	void *at = mmap(NULL, FILE_SIZE, PROT_READ, how, fd, 0);
	if (at == MAP_FAILED)
		die("mmap");
	return at;
}

/* Whether nothing but the descriptors of a step stands against clearing: where a process can't be
 * looked at even by root, it counts as mapping a file that others have open. */
static bool UNUSED sees_everybody(void)
{
	int fd = raw(SYS_openat, AT_FDCWD, "/proc/1/maps", O_RDONLY, 0);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* As begin(), without what the scene itself has of the file. */
static void UNUSED begin_alone(int argc, char **argv)
{
	begin(argc, argv);
	keep = true;
	if (close(FILE_FD))
		die("close");
}

static int UNUSED opened(const char *path, int how)
{
	int fd = open(path, how, 0644);
	if (fd < 0)
		die(path);
	return fd;
}

#endif

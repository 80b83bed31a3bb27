/* What the programs share: the scene, one line per step, and what changed with it.
 *
 * Started as PROGRAM SYMBOL DIR, in DIR. The scene that the harness laid out there:
 *   file       16 KiB, mode 644, user.present=yes; the file that may be tagged
 *   hardlink   its second name
 *   symlink    -> file        dangling -> new      loop -> loop
 *   plain      100 bytes, never tagged
 *   sub/inner  -> ../file
 * After each step the scene is put back (behind the hooks), so that steps are independent.
 */
#ifndef COMMON_H
#define COMMON_H

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))

/* A system call behind the hooks: through no symbol, at no place in libc's code. */
#define raw(...) raw_(__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define raw_(n, a, b, c, d, e, f, ...) raw_six(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
static long UNUSED raw_six(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	long result;
	__asm__ volatile("syscall"
	                 : "=a"(result)
	                 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
	                 : "rcx", "r11", "memory");
	if (result < 0 && result > -4096) {
		errno = -result;
		return -1;
	}
	return result;
}

#define PAGE 4096
#define FILE_SIZE (4 * PAGE)
#define PLAIN_SIZE 100
/* No error has this number: a successful call leaves it in errno. */
#define NO_ERROR 12345

static void *symbol;     /* the function under test, under the name the harness asked for */
static const char *dir;  /* absolute path of the scene */
static bool keep;        /* steps build on each other: do not put the scene back */
static char **arguments; /* of main */
static void (*also)(void); /* what a program has to add to a step's line */

static void die(const char *what)
{
	printf("the program itself failed: %s: %s\n", what, strerror(errno));
	fflush(stdout);
	_exit(99);
}

/* Whether there is time for many repetitions: not in the virtual machine, whose scenes are on its
 * own filesystem, nor where every call is measured for a report. */
static bool UNUSED runs_fast(void)
{
	return !strncmp(dir, "/dev/shm/", 9) && !getenv("DAXSHIM_REPORT");
}

/* ---- what changed ---- */

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

/* ---- putting the scene back, behind the hooks ---- */

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

/* ---- how much of the stack a call takes ---- */

/* Where that is to be written, a line for each step: bytes and the label. */
static const char *depths;
#define PAINTED (64 << 10)
#define PAINT 0xa5
#define GAP 64 /* where these functions are themselves */
static volatile unsigned char *painted;
static long deepest; /* of the last step */

/* What a function called from the same place may write to from now on. */
static void UNUSED __attribute__((noinline)) paint(void)
{
	if (!depths)
		return;
	painted = (unsigned char *)((uintptr_t)__builtin_frame_address(0) - PAINTED);
	for (long i = 0; i < PAINTED - GAP; i++)
		painted[i] = PAINT;
}

/* How far below that place something was written. */
static void UNUSED __attribute__((noinline)) measure_depth(void)
{
	long untouched = 0;
	if (!depths)
		return;
	while (untouched < PAINTED - GAP && painted[untouched] == PAINT)
		untouched++;
	deepest = PAINTED - untouched;
}

static void write_depth(const char *format, va_list list)
{
	char line[PATH_MAX + 300];
	if (!depths || !painted)
		return;
	int at = sprintf(line, "%ld ", deepest);
	at += vsnprintf(line + at, sizeof line - at - 1, format, list);
	if (at > (int)sizeof line - 2)
		at = sizeof line - 2;
	line[at++] = '\n';
	int fd = raw(SYS_openat, AT_FDCWD, depths, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (raw(SYS_write, fd, line, at) != at)
		die(depths);
	raw(SYS_close, fd);
}

/* The function under test by its system call instead. */
static long system_call;
static long through_number(long a, long b, long c, long d, long e, long f)
{
	return syscall(system_call, a, b, c, d, e, f);
}

/* ---- steps ---- */

static void UNUSED __attribute__((format(printf, 3, 4))) step(long result, int error, const char *format, ...)
{
	va_list list;
	va_start(list, format);
	write_depth(format, list);
	va_end(list);
	va_start(list, format);
	vprintf(format, list);
	va_end(list);
	printf(" = %ld", result);
	if (result == -1)
		printf(" %s", error == NO_ERROR ? "errno not set" : strerrorname_np(error));
	else if (error != NO_ERROR)
		printf(" errno touched");
	if (also)
		also();
	print_changes();
	printf("\n");
	if (!keep)
		put_back();
}

/* Calls, then prints one line: the label, the result, errno's name, what changed. */
#define STEP(call, ...)                                                                                                \
	do {                                                                                                           \
		paint();                                                                                               \
		errno = NO_ERROR;                                                                                      \
		long result_ = (long)(call);                                                                           \
		int error_ = errno;                                                                                    \
		measure_depth();                                                                                       \
		step(result_, error_, __VA_ARGS__);                                                                    \
	} while (0)

/* What a child of vfork(2) changes is not looked at. */
#pragma GCC diagnostic ignored "-Wclobbered"

/* The same call in a forked child: 0, or -1 with the child's errno. In a child of vfork(2) where its use of the
 * stack is wanted. */
#define IN_CHILD(call)                                                                                                 \
	({                                                                                                             \
		if (!depths)                                                                                           \
			fflush(stdout);                                                                                \
		pid_t child_ = depths ? vfork() : fork();                                                              \
		if (child_ == 0) {                                                                                     \
			errno = 0;                                                                                     \
			_exit((long)(call) == -1 ? errno : 0);                                                         \
		}                                                                                                      \
		ended(child_);                                                                                         \
	})

/* How a child ended: 0; or -1 with its exit status in errno; or 1000 + signal. */
static long UNUSED ended(pid_t child)
{
	int status;
	if (waitpid(child, &status, 0) != child)
		die("waitpid");
	errno = NO_ERROR;
	if (WIFSIGNALED(status))
		return 1000 + WTERMSIG(status);
	if (WEXITSTATUS(status) == 0)
		return 0;
	errno = WEXITSTATUS(status);
	return -1;
}

/* Closes what a step opened, and hands the number on. */
static int UNUSED closing(int fd)
{
	int saved = errno;
	if (fd >= 0)
		close(fd);
	errno = saved;
	return fd;
}

/* ---- ways to name a file ---- */

struct route {
	const char *name;
	const char *path;
};

static struct route UNUSED routes[] = {
	{"absolute", NULL},
	{"relative", "file"},
	{"dots", "./sub/../file"},
	{"symlink", "symlink"},
	{"symlink in sub", "sub/inner"},
	{"hard link", "hardlink"},
	{"/proc/self/fd", "/proc/self/fd/100"},
	{"/proc/self/fd of O_PATH", "/proc/self/fd/101"},
	{"plain", "plain"},
	{"trailing slash", "file/"},
	{"symlink, trailing slash", "symlink/"},
	{"below the file", "file/x"},
	{"missing", "missing"},
	{"missing directory", "missing/file"},
	{"dangling", "dangling"},
	{"loop", "loop"},
	{"directory", "sub"},
	{"empty", ""},
	{"NULL", NULL},
	{"bad pointer", (const char *)8},
	{"kernel pointer", (const char *)0xffff800000000000},
	{"unterminated", NULL},
	{"long component", NULL},
	{"long path", NULL},
};
#define FOR_ROUTES(r) for (struct route *r = routes; r < routes + sizeof routes / sizeof *routes; r++)

struct at_route {
	const char *name;
	int fd;
	const char *path;
};

/* Descriptors 100 and up belong to the scene, so that those of the steps count from 3. */
enum { FILE_FD = 100, OPATH_FD, DIR_FD, DIR_OPATH_FD, SUB_FD, CLOSED_FD };

static struct at_route UNUSED at_routes[] = {
	{"AT_FDCWD", AT_FDCWD, "file"},
	{"dirfd", DIR_FD, "file"},
	{"O_PATH dirfd", DIR_OPATH_FD, "file"},
	{"dirfd, symlink", DIR_FD, "symlink"},
	{"dirfd, hard link", DIR_FD, "hardlink"},
	{"dirfd, plain", DIR_FD, "plain"},
	{"dirfd, missing", DIR_FD, "missing"},
	{"sub and dots", SUB_FD, "../file"},
	{"sub and symlink", SUB_FD, "inner"},
	{"sub, not there", SUB_FD, "file"},
	{"descriptor is a file", FILE_FD, "file"},
	{"closed descriptor", CLOSED_FD, "file"},
	{"descriptor -1", -1, "file"},
	{"huge descriptor", INT_MAX, "file"},
	{"descriptor -1, absolute", -1, NULL},
	{"file as dirfd, absolute", FILE_FD, NULL},
	{"file, empty path", FILE_FD, ""},
	{"O_PATH, empty path", OPATH_FD, ""},
	{"dirfd, NULL", DIR_FD, (const char *)0},
	{"dirfd, bad pointer", DIR_FD, (const char *)8},
};
#define FOR_AT_ROUTES(r) for (struct at_route *r = at_routes; r < at_routes + sizeof at_routes / sizeof *at_routes; r++)

/* ---- ways to hold a file ---- */

struct descriptor {
	const char *name;
	int fd;
};

static struct descriptor UNUSED descriptors[] = {
	{"O_RDWR", -1},
	{"O_WRONLY", -1},
	{"O_WRONLY|O_APPEND", -1},
	{"O_RDONLY", -1},
	{"O_PATH", -1},
	{"one opened behind the hooks", -1},
	{"a dup", -1},
	{"plain", -1},
	{"a pipe", -1},
	{"a directory", DIR_FD},
	{"a closed one", CLOSED_FD},
	{"-1", -1},
	{"AT_FDCWD", AT_FDCWD},
	{"INT_MAX", INT_MAX},
	{"INT_MIN", INT_MIN},
};
#define FOR_DESCRIPTORS(d) for (struct descriptor *d = descriptors; d < descriptors + sizeof descriptors / sizeof *descriptors; d++)
enum { RDWR, WRONLY, APPEND, RDONLY, OPATH, RAW, DUP, PLAIN, PIPE };
#define FD(which) descriptors[which].fd

static void UNUSED open_descriptors(void)
{
	int ends[2];
	FD(RDWR) = open("file", O_RDWR);
	FD(WRONLY) = open("file", O_WRONLY);
	FD(APPEND) = open("file", O_WRONLY | O_APPEND);
	FD(RDONLY) = open("file", O_RDONLY);
	FD(OPATH) = open("file", O_PATH);
	FD(RAW) = raw(SYS_openat, AT_FDCWD, "file", O_RDWR, 0);
	FD(DUP) = dup(FD(RDWR));
	FD(PLAIN) = open("plain", O_RDWR);
	if (pipe(ends))
		die("pipe");
	FD(PIPE) = ends[1];
	for (int i = RDWR; i <= PIPE; i++)
		if (FD(i) < 0)
			die(descriptors[i].name);
}

/* ---- beginning and end ---- */

static void raw_open_as(int number, const char *path, int flags)
{
	int fd = raw(SYS_openat, AT_FDCWD, path, flags, 0);
	if (fd < 0 || raw(SYS_dup3, fd, number, 0) < 0)
		die(path);
	raw(SYS_close, fd);
}

static void UNUSED begin(int argc, char **argv)
{
	static char absolute[PATH_MAX], component[300], longest[PATH_MAX + 300];
	if (argc < 3)
		exit(2);
	arguments = argv;
	dir = argv[2];
	symbol = dlsym(RTLD_DEFAULT, argv[1]);
	if (!symbol)
		die(argv[1]);
	depths = getenv("DEPTHS");
	if (getenv("BY_NUMBER")) {
		system_call = atol(getenv("BY_NUMBER"));
		symbol = through_number;
	}
	alarm(300);
	umask(022);
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	/* What was inherited; 50 is handed on by a program that executes itself. */
	raw(SYS_close_range, 3, 49, 0);
	raw(SYS_close_range, 51, ~0u, 0);

	raw_open_as(FILE_FD, "file", O_RDONLY);
	raw_open_as(OPATH_FD, "file", O_PATH);
	raw_open_as(DIR_FD, ".", O_RDONLY | O_DIRECTORY);
	raw_open_as(DIR_OPATH_FD, ".", O_PATH);
	raw_open_as(SUB_FD, "sub", O_RDONLY | O_DIRECTORY);

	snprintf(absolute, sizeof absolute, "%s/file", dir);
	memset(component, 'x', sizeof component - 1);
	memset(longest, '/', sizeof longest - 5);
	strcpy(longest + sizeof longest - 5, "file");
	char *pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages == MAP_FAILED || munmap(pages + PAGE, PAGE))
		die("mmap");
	memcpy(pages + PAGE - 4, "file", 4);
	FOR_ROUTES(r) {
		if (!strcmp(r->name, "absolute"))
			r->path = absolute;
		else if (!strcmp(r->name, "unterminated"))
			r->path = pages + PAGE - 4;
		else if (!strcmp(r->name, "long component"))
			r->path = component;
		else if (!strcmp(r->name, "long path"))
			r->path = longest;
	}
	FOR_AT_ROUTES(r)
		if (strstr(r->name, ", absolute"))
			r->path = absolute;
	for (size_t i = 0; i < WATCHED; i++)
		before[i] = scene[i] = look(watched[i]);
}

static int UNUSED end(void)
{
	fflush(stdout);
	return 0;
}

#endif

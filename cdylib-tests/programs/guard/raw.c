/* What the library can't hold: a static program without libc, whose system calls are inline, of 64 and of
 * 32 bits, by io_uring and libaio. Started as raw [held] in a scene (programs/common.h). A line per attempt:
 *
 *   DENY|ALLOW NAME = ok|-ERRNO
 *
 * what a tagged file refuses, and what it does not. What succeeds is undone, as far as the next rows need it. With
 * `held` it also attempts what would leave an untagged file another one for good. */
#include <asm/unistd_64.h>
#include <stdint.h>

typedef unsigned long ulong;

#define LENGTH(array) (sizeof(array) / sizeof *(array))
#define CWD (-100)
enum { RDONLY, WRONLY, RDWR, CREAT = 0100, TRUNC = 01000, APPEND = 02000, DIRECT = 040000, PATH = 010000000 };

static long call(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	long result;
	__asm__ volatile("syscall"
	                 : "=a"(result)
	                 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
	                 : "rcx", "r11", "memory");
	return result;
}
/* As a program of 32 bits: what it points to lies below 4 GiB, as all static data does here. */
static long call32(long number, long a, long b, long c)
{
	long result;
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "r8", "r9", "r10", "r11", "memory");
	return (int)result;
}
#define sys_(n, a, b, c, d, e, f, ...) call(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define sys(name, ...) sys_(__NR_##name, __VA_ARGS__, 0, 0, 0, 0, 0, 0)

void *memset(void *to, int byte, ulong size)
{
	for (ulong i = 0; i < size; i++)
		((volatile char *)to)[i] = byte;
	return to;
}
void *memcpy(void *to, const void *from, ulong size)
{
	for (ulong i = 0; i < size; i++)
		((volatile char *)to)[i] = ((const char *)from)[i];
	return to;
}

static char line[200];
static int used;
static void put(const char *text)
{
	while (*text && used < 190)
		line[used++] = *text++;
}
static void row(const char *class, const char *name, long result)
{
	char digits[8] = {0};
	int at = 7;
	used = 0;
	put(class);
	put(" ");
	put(name);
	put(" = ");
	if (result >= 0 || result < -4095) {
		put("ok");
	} else {
		put("-");
		for (long rest = -result; rest; rest /= 10)
			digits[--at] = '0' + rest % 10;
		put(digits + at);
	}
	put("\n");
	sys(write, 1, line, used);
}
static long last;
#define deny(name, attempt) (last = (attempt), row("DENY", name, last))
#define allow(name, attempt) (last = (attempt), row("ALLOW", name, last))
/* What it did, if it did something. */
#define undo(how) ((void)(last >= 0 && (how)))

static char page[8192] __attribute__((aligned(4096)));
static struct { void *base; ulong length; } vector = {page, 1};
static struct { uint32_t base, length; } vector32;
static struct { long times[4]; } when = {{1000, 0, 1000, 0}};
static int held, fd, wronly, append, direct, plain, link_fd;

static long opened(long result)
{
	if (result >= 0)
		sys(close, result);
	return result;
}
/* "/proc/self/fd/N" */
static const char *by_proc(int of)
{
	static char path[32] = "/proc/self/fd/";
	path[14] = of < 10 ? '0' + of : '0' + of / 10;
	path[15] = of < 10 ? 0 : '0' + of % 10;
	path[16] = 0;
	return path;
}
static int size_as_before(void)
{
	return sys(fallocate, fd, 0, 0, 16384) == 0 && sys(ftruncate, fd, 16384) == 0;
}

static struct { unsigned bytes; int type; char handle[64]; } handle;
static long by_handle(int flags)
{
	int mount, root = sys(open, ".", RDONLY);
	handle.bytes = sizeof handle.handle;
	sys(name_to_handle_at, CWD, "file", &handle, &mount, 0);
	long result = sys(open_by_handle_at, root, &handle, flags);
	sys(close, root);
	return result;
}

static void writes(void)
{
	static int pipe[2];
	static long offset, offset2;
	deny("write", sys(write, fd, page, 1));
	deny("write, O_WRONLY", sys(write, wronly, page, 1));
	deny("write, O_APPEND", sys(write, append, page, 1));
	deny("write, O_DIRECT", sys(write, direct, page, 4096));
	deny("pwrite64", sys(pwrite64, fd, page, 1, 0));
	deny("pwrite64 beyond the end", sys(pwrite64, fd, page, 1, 20000));
	deny("writev", sys(writev, fd, &vector, 1));
	deny("pwritev", sys(pwritev, fd, &vector, 1, 0));
	deny("pwritev2", sys(pwritev2, fd, &vector, 1, 0, 0, 0));
	deny("pwritev2, DSYNC|SYNC", sys(pwritev2, fd, &vector, 1, 0, 0, 6));
	deny("pwritev2, APPEND", sys(pwritev2, fd, &vector, 1, -1, -1, 16));
	int other = sys(dup, fd);
	deny("write by a copy of the descriptor", sys(write, other, page, 1));
	sys(close, other);
	other = sys(open, by_proc(fd), RDWR);
	deny("write by /proc", sys(write, other, page, 1));
	sys(close, other);
	other = sys(open, "hardlink", RDWR);
	deny("write by another name", sys(write, other, page, 1));
	sys(close, other);
	other = by_handle(RDWR);
	deny("write by handle", sys(write, other, page, 1));
	sys(close, other);
	sys(pipe2, pipe, 0);
	sys(write, pipe[1], page, 1);
	deny("splice", sys(splice, pipe[0], 0, fd, &offset, 1, 0));
	deny("sendfile", sys(sendfile, fd, plain, &offset, 1));
	deny("copy_file_range", sys(copy_file_range, plain, &offset, fd, &offset2, 1, 0));
	deny("vmsplice, then splice", sys(vmsplice, pipe[1], &vector, 1, 0) < 0 ? 0 : sys(splice, pipe[0], 0, fd, &offset, 1, 0));
	int child = sys(fork, 0);
	if (child == 0)
		sys(exit, -sys(write, fd, page, 1) & 0xff);
	int status = 0;
	sys(wait4, child, &status, 0, 0);
	deny("write of a child", -(status >> 8 & 0xff) > -100 ? -(status >> 8 & 0xff) : 0);
	vector32.base = (uint32_t)(ulong)page;
	vector32.length = 1;
	deny("write, 32 bits", call32(4, fd, (long)page, 1));
	deny("writev, 32 bits", call32(146, fd, (long)&vector32, 1));
	sys(close, pipe[0]);
	sys(close, pipe[1]);
	undo(size_as_before());
}

static void sizes(void)
{
	static struct { uint64_t flags, mode, resolve; } how = {RDWR | TRUNC, 0, 0};
	deny("ftruncate", sys(ftruncate, fd, 4096));
	deny("ftruncate to more", sys(ftruncate, fd, 65536));
	deny("truncate", sys(truncate, "file", 0));
	deny("truncate by a symlink", sys(truncate, "symlink", 0));
	deny("truncate, 32 bits", call32(92, (long)"file", 0, 0));
	deny("ftruncate64, 32 bits", call32(194, fd, 0, 0));
	deny("ftruncate to the present size", sys(ftruncate, fd, 16384));
	size_as_before();
	deny("open, O_TRUNC", opened(sys(open, "file", RDWR | TRUNC)));
	deny("open, O_RDONLY|O_TRUNC", opened(sys(open, "file", RDONLY | TRUNC)));
	deny("creat", opened(sys(creat, "file", 0644)));
	deny("openat2, O_TRUNC", opened(sys(openat2, CWD, "symlink", &how, sizeof how)));
	deny("open by /proc, O_TRUNC", opened(sys(open, by_proc(fd), RDWR | TRUNC)));
	deny("open by handle, O_TRUNC", opened(by_handle(RDWR | TRUNC)));
	size_as_before();
	static const struct { const char *name; int mode; } modes[] = {
		{"fallocate", 0}, {"fallocate, KEEP_SIZE", 1}, {"fallocate, PUNCH_HOLE", 3}, {"fallocate, COLLAPSE_RANGE", 8},
		{"fallocate, ZERO_RANGE", 16}, {"fallocate, ZERO_RANGE|KEEP_SIZE", 17}, {"fallocate, INSERT_RANGE", 32},
		{"fallocate, UNSHARE_RANGE", 64},
	};
	for (ulong i = 0; i < LENGTH(modes); i++)
		deny(modes[i].name, sys(fallocate, fd, modes[i].mode, 0, 4096));
	deny("fallocate beyond the end", sys(fallocate, fd, 0, 16384, 4096));
	deny("fallocate beyond the end, KEEP_SIZE", sys(fallocate, fd, 1, 16384, 4096));
	static struct { short type, whence; long start, length; int system; unsigned pid, padding[4]; } space = {0, 0, 0, 4096, 0, 0, {0}};
	deny("RESVSP", sys(ioctl, fd, 0x40305828, &space));
	deny("UNRESVSP", sys(ioctl, fd, 0x40305829, &space));
	deny("ZERO_RANGE", sys(ioctl, fd, 0x40305839, &space));
	char *map = (char *)sys(mmap, 0, 16384, 3, 1, fd, 0);
	deny("madvise, MADV_REMOVE", sys(madvise, map, 4096, 9));
	sys(munmap, map, 16384);
	size_as_before();
}

static void inode(void)
{
	int path = sys(open, "file", PATH);
	/* version 2; the owner, a user, the group, the mask, others */
	static const unsigned char acl[] = {2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 6, 0, 1, 0, 0, 0, 4, 0, 4, 0, 255, 255, 255,
	                                    255, 16, 0, 6, 0, 255, 255, 255, 255, 32, 0, 4, 0, 255, 255, 255, 255};
	deny("chmod", sys(chmod, "file", 0600));
	deny("fchmod", sys(fchmod, fd, 0600));
	deny("fchmodat", sys(fchmodat, CWD, "symlink", 0600));
	deny("chmod by /proc", sys(chmod, by_proc(path), 0644));
	deny("fchmod, 32 bits", call32(94, fd, 0644, 0));
	deny("chown", sys(chown, "file", 0, 0));
	deny("fchown", sys(fchown, fd, 0, 0));
	deny("lchown", sys(lchown, "file", 1, 1));
	deny("fchownat, AT_EMPTY_PATH", sys(fchownat, path, "", 0, 0, 0x1000));
	deny("utime", sys(utime, "file", when.times));
	deny("utimes", sys(utimes, "file", when.times));
	deny("futimesat", sys(futimesat, CWD, "file", when.times));
	deny("utimensat", sys(utimensat, CWD, "file", when.times, 0));
	deny("utimensat, no path", sys(utimensat, fd, 0, when.times, 0));
	deny("utimensat, now", sys(utimensat, CWD, "file", 0, 0));
	deny("setxattr", sys(setxattr, "file", "user.test", "1", 1, 0));
	deny("lsetxattr", sys(lsetxattr, "file", "trusted.test", "1", 1, 0));
	deny("fsetxattr", sys(fsetxattr, fd, "security.test", "1", 1, 0));
	deny("setxattr by /proc", sys(setxattr, by_proc(path), "user.test", "2", 1, 0));
	deny("setxattr, an ACL", sys(setxattr, "file", "system.posix_acl_access", acl, sizeof acl, 0));
	deny("removexattr, an ACL", sys(removexattr, "file", "system.posix_acl_access"));
	deny("removexattr", sys(removexattr, "file", "user.test"));
	deny("lremovexattr", sys(lremovexattr, "file", "trusted.test"));
	deny("fremovexattr", sys(fremovexattr, fd, "security.test"));
	if (held) {
		deny("the tag taken off", sys(removexattr, "file", "security.dax_immutable"));
		deny("the tag replaced", sys(setxattr, "file", "security.dax_immutable", "", 0, 0));
	}
	sys(close, path);
}

static void names(void)
{
	int path = sys(open, "file", PATH);
	deny("link", sys(link, "file", "new"));
	undo(sys(unlink, "new"));
	deny("link of another name", sys(link, "hardlink", "new"));
	undo(sys(unlink, "new"));
	deny("linkat, AT_EMPTY_PATH", sys(linkat, fd, "", CWD, "new", 0x1000));
	undo(sys(unlink, "new"));
	deny("linkat by /proc", sys(linkat, CWD, by_proc(path), CWD, "new", 0x400));
	undo(sys(unlink, "new"));
	deny("rename", sys(rename, "file", "new"));
	undo(sys(rename, "new", "file"));
	deny("rename into another directory", sys(renameat, CWD, "file", CWD, "sub/new"));
	undo(sys(rename, "sub/new", "file"));
	deny("renameat2, RENAME_NOREPLACE", sys(renameat2, CWD, "file", CWD, "new", 1));
	undo(sys(rename, "new", "file"));
	deny("renameat2, RENAME_EXCHANGE", sys(renameat2, CWD, "file", CWD, "plain", 2));
	undo(sys(renameat2, CWD, "file", CWD, "plain", 2));
	deny("renameat2, RENAME_EXCHANGE, the other way", sys(renameat2, CWD, "plain", CWD, "file", 2));
	undo(sys(renameat2, CWD, "file", CWD, "plain", 2));
	deny("renameat2, RENAME_WHITEOUT", sys(renameat2, CWD, "file", CWD, "new", 4));
	undo(sys(unlink, "file") == 0 && sys(rename, "new", "file"));
	sys(link, "plain", "spare");
	deny("rename over it", sys(rename, "spare", "file"));
	undo(sys(link, "hardlink", "new") == 0 && sys(rename, "new", "file"));
	sys(unlink, "spare");
	deny("unlink", sys(unlink, "file"));
	undo(sys(link, "hardlink", "file"));
	deny("unlinkat", sys(unlinkat, CWD, "file", 0));
	undo(sys(link, "hardlink", "file"));
	deny("unlink of another name", sys(unlink, "hardlink"));
	undo(sys(link, "file", "hardlink"));
	deny("unlink, 32 bits", call32(10, (long)"file", 0, 0));
	undo(sys(link, "hardlink", "file"));
	allow("rename onto itself", sys(rename, "file", "file"));
	allow("rename of the parent directory",
	      sys(chdir, "..") < 0 ? -1 : sys(rename, "scene", "moved") < 0 ? -1 : sys(rename, "moved", "scene"));
	sys(chdir, "scene");
	sys(close, path);
}

/* Requests of ioctl(2): numbers as in core/src/requests.rs. */
static void requests(void)
{
	static int flags, changed;
	static long number;
	static struct { uint64_t start, length; uint32_t rest[4]; } fiemap;
	static struct { uint32_t xflags, extsize, nextents, project, cowextsize, padding[2]; } attributes, others;
	static struct { uint32_t reserved, donor; uint64_t start, other, length, moved; } move = {0, 0, 0, 0, 1, 0};
	static struct { long source, from, length, to; } range = {0, 0, 4096, 0};
	static struct { uint64_t from, length; uint16_t count, reserved; uint32_t reserved2; long to; uint64_t to_offset, deduped; int status; uint32_t reserved3; } dedupe =
	        {0, 4096, 1, 0, 0, 0, 0, 0, 0, 0};
	static struct { int32_t file; uint32_t padding; uint64_t offset, other, length, flags; } exchange = {0, 0, 0, 0, 4096, 0};
	static struct { long version, file, other; char rest[168]; } swap;
	allow("FS_IOC_GETFLAGS", sys(ioctl, fd, 0x80086601, &flags));
	allow("FS_IOC_SETFLAGS of the present ones", sys(ioctl, fd, 0x40086602, &flags));
	allow("FS_IOC32_SETFLAGS of the present ones", call32(54, fd, 0x40046602, (long)&flags));
	changed = flags ^ 0x40;
	deny("FS_IOC_SETFLAGS", sys(ioctl, fd, 0x40086602, &changed));
	undo(sys(ioctl, fd, 0x40086602, &flags));
	deny("FS_IOC32_SETFLAGS", call32(54, fd, 0x40046602, (long)&changed));
	undo(sys(ioctl, fd, 0x40086602, &flags));
	allow("FS_IOC_FSGETXATTR", sys(ioctl, fd, 0x801c581f, &attributes));
	allow("FS_IOC_FSSETXATTR of the present ones", sys(ioctl, fd, 0x401c5820, &attributes));
	others = attributes;
	others.xflags ^= 0x80;
	deny("FS_IOC_FSSETXATTR", sys(ioctl, fd, 0x401c5820, &others));
	undo(sys(ioctl, fd, 0x401c5820, &attributes));
	others = attributes;
	others.project = 7;
	deny("FS_IOC_FSSETXATTR, another project", sys(ioctl, fd, 0x401c5820, &others));
	undo(sys(ioctl, fd, 0x401c5820, &attributes));
	fiemap.length = -1;
	allow("FIEMAP", sys(ioctl, fd, 0xc020660b, &fiemap));
	move.donor = plain;
	deny("EXT4_IOC_MOVE_EXT", sys(ioctl, fd, 0xc028660f, &move));
	move.donor = fd;
	deny("EXT4_IOC_MOVE_EXT, the donor", sys(ioctl, plain, 0xc028660f, &move));
	move.donor = wronly;
	deny("EXT4_IOC_MOVE_EXT, the donor write-only", sys(ioctl, plain, 0xc028660f, &move));
	deny("FICLONE to", sys(ioctl, fd, 0x40049409, plain));
	deny("FICLONE from", sys(ioctl, plain, 0x40049409, fd));
	range.source = plain;
	deny("FICLONERANGE to", sys(ioctl, fd, 0x4020940d, &range));
	range.source = fd;
	deny("FICLONERANGE from", sys(ioctl, plain, 0x4020940d, &range));
	dedupe.to = plain;
	long result = sys(ioctl, fd, 0xc0189436, &dedupe);
	deny("FIDEDUPERANGE from", result < 0 ? result : dedupe.status);
	dedupe.to = fd;
	dedupe.status = 0;
	result = sys(ioctl, plain, 0xc0189436, &dedupe);
	deny("FIDEDUPERANGE to", result < 0 ? result : dedupe.status);
	exchange.file = plain;
	deny("XFS_IOC_EXCHANGE_RANGE", sys(ioctl, fd, 0x40285881, &exchange));
	exchange.file = fd;
	deny("XFS_IOC_EXCHANGE_RANGE, the other", sys(ioctl, plain, 0x40285881, &exchange));
	swap.file = fd;
	swap.other = plain;
	deny("XFS_IOC_SWAPEXT", sys(ioctl, fd, 0xc0c0586d, &swap));
	swap.file = plain;
	swap.other = fd;
	deny("XFS_IOC_SWAPEXT, the other", sys(ioctl, plain, 0xc0c0586d, &swap));
	sys(ioctl, fd, 0x80087601, &number);
	if (held) {
		deny("FS_IOC_SETVERSION", sys(ioctl, fd, 0x40087602, &number));
		deny("FS_IOC32_SETVERSION", call32(54, fd, 0x40047602, (long)&number));
		deny("EXT4_IOC_SETVERSION", sys(ioctl, fd, 0x40086604, &number));
		deny("FS_IOC_ENABLE_VERITY", sys(ioctl, fd, 0x40806685, page));
		deny("FS_IOC_SET_ENCRYPTION_POLICY", sys(ioctl, fd, 0x800c6613, page));
		deny("EXT4_IOC_MIGRATE", sys(ioctl, fd, 0x6609, 0));
		deny("EXT4_IOC_ALLOC_DA_BLKS", sys(ioctl, fd, 0x660c, 0));
		deny("EXT4_IOC_SWAP_BOOT", sys(ioctl, fd, 0x6611, 0));
	}
}

/* A descriptor that was cleared is free when the device is closed. */
static long attach(uint32_t request, void *argument)
{
	int device = sys(open, "/dev/loop0", RDWR);
	if (device < 0)
		return device;
	long result = sys(ioctl, device, request, argument);
	if (result >= 0)
		sys(ioctl, device, 0x4c01, 0);
	sys(close, device);
	return result;
}

static void loops(void)
{
	static struct { uint32_t file, block; char info[232]; uint64_t reserved[8]; } configuration;
	deny("LOOP_SET_FD", attach(0x4c00, (void *)(long)fd));
	configuration.file = fd;
	deny("LOOP_CONFIGURE", attach(0x4c0a, &configuration));
	/* Pages of a file that nobody has touched in this mapping. */
	int source = sys(open, "argument", RDWR | CREAT | TRUNC, 0600);
	sys(write, source, &configuration, sizeof configuration);
	void *untouched = (void *)sys(mmap, 0, 4096, 1, 2, source, 0);
	deny("LOOP_CONFIGURE, its argument not in memory", attach(0x4c0a, untouched));
	sys(munmap, untouched, 4096);
	sys(close, source);
	sys(unlink, "argument");
	/* What is attached must not be writable to be changed. */
	int reading = sys(open, "file", RDONLY), device = sys(open, "/dev/loop0", RDONLY), other = sys(open, "plain", RDONLY);
	if (sys(ioctl, device, 0x4c00, other) == 0) {
		deny("LOOP_CHANGE_FD", sys(ioctl, device, 0x4c06, reading));
		sys(ioctl, device, 0x4c01, 0);
	}
	sys(close, other);
	sys(close, device);
	sys(close, reading);
}

static void aio(void)
{
	static ulong context;
	static struct { uint64_t data; uint32_t key, flags; uint16_t opcode, priority; uint32_t file; uint64_t buffer, bytes; int64_t offset; uint64_t rest[2]; } block;
	static struct { uint64_t data, object; int64_t result, result2; } event;
	static void *blocks[] = {&block};
	static const struct { const char *name; int opcode; } kinds[] = {{"io_submit, PWRITE", 1}, {"io_submit, PWRITEV", 8}};
	if (sys(io_setup, 1, &context) < 0)
		return;
	for (ulong i = 0; i < LENGTH(kinds); i++) {
		block.opcode = kinds[i].opcode;
		block.file = fd;
		block.buffer = i ? (ulong)&vector : (ulong)page;
		block.bytes = 1;
		long result = sys(io_submit, context, 1, blocks);
		if (result == 1 && sys(io_getevents, context, 1, 1, &event, 0) == 1)
			result = event.result;
		deny(kinds[i].name, result);
	}
	block.opcode = 0;
	block.buffer = (ulong)page;
	long result = sys(io_submit, context, 1, blocks);
	if (result == 1 && sys(io_getevents, context, 1, 1, &event, 0) == 1)
		result = event.result;
	allow("io_submit, PREAD", result);
	sys(io_destroy, context);
}

/* ---- io_uring (linux/io_uring.h) ---- */

struct entry {
	uint8_t opcode, flags;
	uint16_t priority;
	int32_t file;
	uint64_t offset, address;
	uint32_t length, operation_flags;
	uint64_t data;
	uint16_t buffer, personality;
	int32_t splice_file;
	uint64_t rest[2];
};
static struct {
	uint32_t sq_entries, cq_entries, flags, cpu, idle, features, queue, reserved[3];
	struct { uint32_t head, tail, mask, entries, flags, dropped, array, reserved; uint64_t address; } sq;
	struct { uint32_t head, tail, mask, entries, overflow, cqes, flags, reserved; uint64_t address; } cq;
} setup;
static char *ring;
static struct entry *entries;
static int ring_file;

static long start_ring(uint32_t flags)
{
	memset(&setup, 0, sizeof setup);
	setup.flags = flags;
	ring_file = sys(io_uring_setup, 8, &setup);
	if (ring_file < 0)
		return ring_file;
	ring = (char *)sys(mmap, 0, 65536, 3, 0x8001, ring_file, 0);
	entries = (struct entry *)sys(mmap, 0, 8 * sizeof *entries, 3, 0x8001, ring_file, 0x10000000);
	return (ulong)ring >= (ulong)-4095 || (ulong)entries >= (ulong)-4095 ? -12 : 0;
}
/* One of them, and what comes of it. */
static long submit(struct entry entry)
{
	volatile uint32_t *tail = (uint32_t *)(ring + setup.sq.tail), *head = (uint32_t *)(ring + setup.cq.head);
	uint32_t slot = *tail & *(uint32_t *)(ring + setup.sq.mask);
	entries[slot] = entry;
	((uint32_t *)(ring + setup.sq.array))[slot] = slot;
	__sync_synchronize();
	*tail += 1;
	__sync_synchronize();
	/* IORING_ENTER_GETEVENTS; with a thread that polls also IORING_ENTER_SQ_WAKEUP */
	long result = sys(io_uring_enter, ring_file, 1, 1, setup.flags & 2 ? 3 : 1, 0, 0);
	if (result < 0)
		return result;
	struct { uint64_t data; int32_t result; uint32_t flags; } *events = (void *)(ring + setup.cq.cqes);
	result = events[*head & *(uint32_t *)(ring + setup.cq.mask)].result;
	*head += 1;
	return result;
}
#define ring_row(class, name, ...) (last = submit((struct entry){__VA_ARGS__}), row(class, "io_uring, " name, last))

static void uring(void)
{
	static int files[1], pipe[2];
	static struct { ulong address, length; } buffers[1] = {{(ulong)page, sizeof page}};
	long started = start_ring(0);
	if (started < 0) {
		row("ALLOW", "io_uring", started);
		return;
	}
	files[0] = fd;
	sys(io_uring_register, ring_file, 0, buffers, 1);
	sys(io_uring_register, ring_file, 2, files, 1);
	sys(pipe2, pipe, 0);
	sys(write, pipe[1], page, 8);
	ring_row("DENY", "write", .opcode = 23, .file = fd, .address = (ulong)page, .length = 1);
	ring_row("DENY", "write from a worker", .opcode = 23, .flags = 16, .file = fd, .address = (ulong)page, .length = 1);
	ring_row("DENY", "writev", .opcode = 2, .file = fd, .address = (ulong)&vector, .length = 1);
	ring_row("DENY", "write of a registered buffer", .opcode = 5, .file = fd, .address = (ulong)page, .length = 1);
	ring_row("DENY", "write by a registered file", .opcode = 23, .flags = 1, .address = (ulong)page, .length = 1);
	ring_row("DENY", "splice", .opcode = 30, .file = fd, .length = 1, .address = -1, .splice_file = pipe[0]);
	ring_row("DENY", "splice by a registered file", .opcode = 30, .flags = 1, .length = 1, .address = -1, .splice_file = pipe[0]);
	ring_row("DENY", "fallocate", .opcode = 17, .file = fd, .length = 1, .address = 4096);
	ring_row("DENY", "ftruncate", .opcode = 55, .file = fd, .offset = 8192);
	undo(size_as_before());
	ring_row("DENY", "openat, O_TRUNC", .opcode = 18, .file = CWD, .address = (ulong)"file", .operation_flags = RDWR | TRUNC);
	undo(opened(last) >= 0 && size_as_before());
	ring_row("DENY", "fsetxattr", .opcode = 41, .file = fd, .address = (ulong)"user.test", .offset = (ulong)"1", .length = 1);
	ring_row("DENY", "setxattr", .opcode = 42, .address = (ulong)"user.test", .offset = (ulong)"1", .length = 1, .rest = {(ulong)"file"});
	ring_row("DENY", "linkat", .opcode = 39, .file = CWD, .address = (ulong)"file", .offset = (ulong)"new", .length = CWD);
	undo(sys(unlink, "new"));
	ring_row("DENY", "renameat", .opcode = 35, .file = CWD, .address = (ulong)"file", .offset = (ulong)"new", .length = CWD);
	undo(sys(rename, "new", "file"));
	ring_row("DENY", "unlinkat", .opcode = 36, .file = CWD, .address = (ulong)"file");
	undo(sys(link, "hardlink", "file"));
	char *map = (char *)sys(mmap, 0, 16384, 3, 1, fd, 0);
	ring_row("DENY", "madvise, MADV_REMOVE", .opcode = 25, .address = (ulong)map, .length = 4096, .operation_flags = 9);
	undo(size_as_before());
	sys(munmap, map, 16384);
	ring_row("ALLOW", "read", .opcode = 22, .file = fd, .address = (ulong)page, .length = 1);
	ring_row("ALLOW", "readv", .opcode = 1, .file = fd, .address = (ulong)&vector, .length = 1);
	ring_row("ALLOW", "fsync", .opcode = 3, .file = fd);
	ring_row("ALLOW", "fadvise", .opcode = 24, .file = fd);
	ring_row("ALLOW", "openat", .opcode = 18, .file = CWD, .address = (ulong)"file", .operation_flags = RDWR);
	opened(last);
	sys(close, pipe[0]);
	sys(close, pipe[1]);
	sys(close, ring_file);
	/* IORING_SETUP_SQPOLL: the call is made by a thread of the kernel's. */
	started = start_ring(2);
	if (started < 0) {
		row("ALLOW", "io_uring, SQPOLL", started);
		return;
	}
	ring_row("DENY", "write, SQPOLL", .opcode = 23, .file = fd, .address = (ulong)page, .length = 1);
	ring_row("ALLOW", "read, SQPOLL", .opcode = 22, .file = fd, .address = (ulong)page, .length = 1);
	sys(close, ring_file);
}

/* What works as on any file. */
static void allowed(void)
{
	static struct { short type, whence; long start, length; int pid; } lock = {1, 0, 0, 0, 0};
	static char stat[256];
	static long offset, hint = 2;
	int pipe[2], null = sys(open, "/dev/null", WRONLY);
	allow("open, O_RDWR", opened(sys(open, "file", RDWR)));
	allow("open, O_WRONLY|O_APPEND", opened(sys(open, "file", WRONLY | APPEND)));
	allow("open, O_CREAT", opened(sys(open, "file", RDWR | CREAT, 0600)));
	allow("open by handle", opened(by_handle(RDWR)));
	allow("read", sys(read, fd, page, 1));
	allow("pread64", sys(pread64, fd, page, 1, 0));
	allow("readv", sys(readv, fd, &vector, 1));
	allow("sendfile from", sys(sendfile, null, fd, &offset, 1));
	sys(pipe2, pipe, 0);
	allow("splice from", sys(splice, fd, &offset, pipe[1], 0, 1, 0));
	sys(close, pipe[0]);
	sys(close, pipe[1]);
	allow("lseek", sys(lseek, fd, 0, 0));
	allow("fstat", sys(fstat, fd, stat));
	allow("flock", sys(flock, fd, 1 | 4));
	allow("flock, to release", sys(flock, fd, 8));
	allow("fcntl, F_SETLK", sys(fcntl, fd, 6, &lock));
	allow("fcntl, F_SET_RW_HINT", sys(fcntl, fd, 1036, &hint));
	allow("fcntl, F_SETFL", sys(fcntl, fd, 4, DIRECT));
	sys(fcntl, fd, 4, 0);
	allow("fgetxattr", sys(fgetxattr, fd, "user.present", page, 10));
	allow("fsync", sys(fsync, fd));
	allow("fdatasync", sys(fdatasync, fd));
	allow("sync_file_range", sys(sync_file_range, fd, 0, 4096, 7));
	allow("fadvise64", sys(fadvise64, fd, 0, 4096, 4));
	/* MAP_SHARED_VALIDATE|MAP_SYNC */
	char *map = (char *)sys(mmap, 0, 16384, 3, 0x80003, fd, 0);
	allow("mmap, MAP_SYNC", (long)map);
	if ((ulong)map < (ulong)-4095) {
		*(volatile char *)map = 'x';
		allow("msync", sys(msync, map, 4096, 4));
		allow("mprotect", sys(mprotect, map, 4096, 1));
		allow("mprotect back", sys(mprotect, map, 4096, 3));
		struct { void *base; ulong length; } to = {map, 1};
		allow("process_vm_writev into the mapping", sys(process_vm_writev, sys(getpid, 0), &vector, 1, &to, 1, 0));
		int memory = sys(open, "/proc/self/mem", RDWR);
		allow("a write to the mapping by /proc/self/mem", sys(pwrite64, memory, page, 1, map));
		sys(close, memory);
		allow("read into the mapping", sys(pread64, plain, map, 1, 0));
		allow("mremap", (long)(map = (char *)sys(mremap, map, 16384, 16384, 0)));
		allow("munmap", sys(munmap, map, 16384));
	}
	map = (char *)sys(mmap, 0, 16384, 3, 2, fd, 0);
	allow("mmap, MAP_PRIVATE", (long)map);
	*(volatile char *)map = 'y';
	sys(munmap, map, 16384);
	/* Another file is another file. */
	allow("write to another file", sys(pwrite64, plain, page, 1, 0));
	allow("fchmod of another file", sys(fchmod, plain, 0644));
	allow("fsetxattr of another file", sys(fsetxattr, plain, "user.test", "1", 1, 0));
	allow("ftruncate of another file", sys(ftruncate, plain, 16384));
	allow("fallocate of another file", sys(fallocate, plain, 0, 0, 16384));
	sys(close, null);
}

void program(long *stack)
{
	held = stack[0] > 1;
	fd = sys(open, "file", RDWR);
	wronly = sys(open, "file", WRONLY);
	append = sys(open, "file", WRONLY | APPEND);
	direct = sys(open, "file", RDWR | DIRECT);
	plain = sys(open, "plain", RDWR);
	link_fd = sys(open, "hardlink", RDWR);
	allowed();
	writes();
	sizes();
	inode();
	names();
	requests();
	loops();
	aio();
	uring();
	sys(exit_group, fd < 0 || plain < 0 || link_fd < 0);
}

__asm__(".globl _start\n_start: mov %rsp, %rdi\nand $-16, %rsp\ncall program\n");

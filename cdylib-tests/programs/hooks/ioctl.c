#include "common.h"
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <termios.h>

/* What may show on a tagged file: DAX_IMMUTABLE, DAX, NODEFRAG; and PREALLOC, which tells how it was
 * prepared. */
#define OF_A_TAG (0x40000000u | 0x8000u | 0x2000u | 0x2u)
#define WHOLE (~0ul)

static int (*call)(int, unsigned long, ...);

/* linux/falloc.h and the filesystems' own headers are not everywhere. */
struct space {
	short type, whence;
	int64_t start, length;
	int32_t sysid;
	uint32_t pid;
	int32_t pad[4];
};
static const struct {
	const char *name;
	unsigned long number;
	int64_t start;
} spaces[] = {
	{"RESVSP", 0x40305828, 2 * FILE_SIZE},
	{"RESVSP64", 0x4030582a, 2 * FILE_SIZE},
	{"UNRESVSP", 0x40305829, 0},
	{"UNRESVSP64", 0x4030582b, 0},
	{"ZERO_RANGE", 0x40305839, 0},
};

struct move_extent {
	uint32_t reserved, donor;
	uint64_t start, donor_start, length, moved;
};
struct swap_extents {
	int64_t version, target, temporary, offset, length;
	char rest[152];
};
struct exchange_range {
	int32_t file1;
	uint32_t pad;
	uint64_t offset1, offset2, length, flags, freshness[6];
};
struct move_range {
	uint32_t target, pad;
	uint64_t from, to, length;
};
#define MOVE_EXT 0xc028660f
#define MIGRATE 0x6609
#define ALLOC_DA_BLKS 0x660c
#define SWAPEXT 0xc0c0586d
#define EXCHANGE_RANGE 0x40285881
#define COMMIT_RANGE 0x40585883
#define SETVERSION 0x40087602
#define ENABLE_VERITY 0x40806685
#define SET_ENCRYPTION_POLICY 0x800c6613
#define MOVE_RANGE 0xc020f509

static const struct {
	const char *name;
	unsigned long number;
} others[] = {
	{"SETFLAGS of 32 bits", 0x40046602},
	{"SETVERSION of 32 bits", 0x40047602},
	{"ext4's SETVERSION", 0x40086604},
	{"ext4's SETVERSION of 32 bits", 0x40046604},
	{"ALLOCSP", 0x4030580a},
	{"FREESP", 0x4030580b},
	{"ALLOCSP64", 0x40305824},
	{"FREESP64", 0x40305825},
	{"FSSETDM", 0x40085827},
	{"DEFRAG", 0x50009402},
	{"DEFRAG_RANGE", 0x40309410},
	{"ENCODED_WRITE", 0x40809440},
	{"START_ATOMIC_WRITE", 0xf501},
	{"COMMIT_ATOMIC_WRITE", 0xf502},
	{"START_VOLATILE_WRITE", 0xf503},
	{"DEFRAGMENT", 0xc010f508},
	{"SET_PIN_FILE", 0x4004f50d},
	{"RELEASE_COMPRESS_BLOCKS", 0x8008f512},
	{"RESERVE_COMPRESS_BLOCKS", 0x8008f513},
	{"SEC_TRIM_FILE", 0x4018f514},
	{"SET_COMPRESS_OPTION", 0x4002f516},
	{"DECOMPRESS_FILE", 0xf517},
	{"COMPRESS_FILE", 0xf518},
	{"START_ATOMIC_REPLACE", 0xf519},
};

static long clone_range(int into, int from)
{
	struct file_clone_range range = {.src_fd = from};
	return call(into, FICLONERANGE, &range);
}

static long dedupe(int from, int count, const int *into)
{
	char room[sizeof(struct file_dedupe_range) + 4 * sizeof(struct file_dedupe_range_info)] = {0};
	struct file_dedupe_range *range = (void *)room;
	range->src_length = 64;
	range->dest_count = count;
	for (int i = 0; i < count; i++)
		range->info[i].dest_fd = into[i];
	return call(from, FIDEDUPERANGE, range);
}

static void share(void)
{
	FOR_DESCRIPTORS(d) {
		STEP(call(d->fd, FICLONE, FD(PLAIN)), "FICLONE plain into %s", d->name);
		STEP(call(FD(PLAIN), FICLONE, d->fd), "FICLONE %s into plain", d->name);
		STEP(clone_range(d->fd, FD(PLAIN)), "FICLONERANGE plain into %s", d->name);
		STEP(clone_range(FD(PLAIN), d->fd), "FICLONERANGE %s into plain", d->name);
		STEP(dedupe(FD(PLAIN), 1, &d->fd), "FIDEDUPERANGE plain into %s", d->name);
		STEP(dedupe(d->fd, 1, &FD(PLAIN)), "FIDEDUPERANGE %s into plain", d->name);
		STEP(call(d->fd, FICLONE, CLOSED_FD), "FICLONE a closed one into %s", d->name);
		STEP(call(d->fd, FICLONERANGE, 8), "FICLONERANGE at a bad pointer, %s", d->name);
		STEP(call(d->fd, FIDEDUPERANGE, 8), "FIDEDUPERANGE at a bad pointer, %s", d->name);
	}
	STEP(call(FD(RDWR), FICLONE, FD(RDONLY)), "FICLONE file into itself");
	STEP(dedupe(FD(PLAIN), 3, (int[]){FD(PLAIN), FD(PLAIN), FD(RDWR)}), "FIDEDUPERANGE, the third destination");
	STEP(call(FD(RDWR), 0xffffffff00000000 | FICLONE, FD(PLAIN)), "FICLONE with high bits");
}

static long set_flags(int fd, int change)
{
	int flags = 0;
	call(fd, FS_IOC_GETFLAGS, &flags);
	flags ^= change;
	return call(fd, FS_IOC_SETFLAGS, &flags);
}

static long set_attributes(int fd, unsigned change)
{
	struct fsxattr attributes = {0};
	call(fd, FS_IOC_FSGETXATTR, &attributes);
	attributes.fsx_xflags ^= change;
	return call(fd, FS_IOC_FSSETXATTR, &attributes);
}

/* Takes NODUMP off again, where it came on. */
static void clear_flags(int fd)
{
	int flags = 0;
	if (raw(SYS_ioctl, fd, FS_IOC_GETFLAGS, &flags) || !(flags & FS_NODUMP_FL))
		return;
	flags &= ~FS_NODUMP_FL;
	if (raw(SYS_ioctl, fd, FS_IOC_SETFLAGS, &flags))
		die("FS_IOC_SETFLAGS");
}

static void flags(void)
{
	int now;
	FOR_DESCRIPTORS(d) {
		STEP(set_flags(d->fd, FS_NODUMP_FL), "SETFLAGS NODUMP %s", d->name);
		STEP(call(FILE_FD, FS_IOC_GETFLAGS, &now) ? -1 : now & FS_NODUMP_FL, "after SETFLAGS %s", d->name);
		clear_flags(d->fd);
		STEP(set_flags(d->fd, 0), "SETFLAGS as they are %s", d->name);
		STEP(call(d->fd, FS_IOC_SETFLAGS, 8), "SETFLAGS at a bad pointer %s", d->name);
		STEP(set_attributes(d->fd, FS_XFLAG_NODUMP), "FSSETXATTR NODUMP %s", d->name);
		STEP(call(FILE_FD, FS_IOC_GETFLAGS, &now) ? -1 : now & FS_NODUMP_FL, "after FSSETXATTR %s", d->name);
		clear_flags(d->fd);
		STEP(set_attributes(d->fd, 0), "FSSETXATTR as they are %s", d->name);
		STEP(call(d->fd, FS_IOC_FSSETXATTR, 8), "FSSETXATTR at a bad pointer %s", d->name);
	}
}

static void allocation(void)
{
	static const int with[] = {RDWR, WRONLY, APPEND, RDONLY, OPATH, RAW, DUP, PLAIN, PIPE};
	for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++)
		for (size_t j = 0; j < sizeof with / sizeof *with; j++) {
			const char *name = spaces[i].name, *held = descriptors[with[j]].name;
			int fd = FD(with[j]);
			struct space space = {.start = spaces[i].start, .length = PAGE}, empty = space, whence = space;
			empty.length = 0;
			whence.whence = 77;
			STEP(call(fd, spaces[i].number, &space), "%s %s", name, held);
			STEP(call(fd, spaces[i].number, 8), "%s at a bad pointer %s", name, held);
			STEP(call(fd, spaces[i].number, &empty), "%s of length 0 %s", name, held);
			STEP(call(fd, spaces[i].number, &whence), "%s, bad whence %s", name, held);
		}
}

/* What only some filesystems have: a tagged file refuses it on all. (Not SWAP_BOOT: on an untagged
 * file of ext4 it works, and leaves the filesystem's boot inode another one for the next run.) */
static void filesystems_own(void)
{
	static const int with[] = {RDWR, PLAIN};
	int version = 7;
	unsigned char policy[12] = {0, 1, 4};
	uint32_t verity[32] = {1, 1, PAGE};
	for (size_t i = 0; i < 2; i++) {
		int fd = FD(with[i]);
		const char *held = descriptors[with[i]].name;
		STEP(call(fd, SETVERSION, &version), "SETVERSION %s", held);
		STEP(call(fd, ENABLE_VERITY, verity), "ENABLE_VERITY %s", held);
		STEP(call(fd, SET_ENCRYPTION_POLICY, policy), "SET_ENCRYPTION_POLICY %s", held);
		STEP(call(fd, MIGRATE), "MIGRATE %s", held);
		STEP(call(fd, ALLOC_DA_BLKS), "ALLOC_DA_BLKS %s", held);
		for (size_t j = 0; j < sizeof others / sizeof *others; j++) {
			char argument[4096] = {0};
			STEP(call(fd, others[j].number, argument), "%s %s", others[j].name, held);
			STEP(call(FD(OPATH), others[j].number, argument), "%s O_PATH, after %s", others[j].name, held);
		}
	}
	static const int pairs[][2] = {{RDWR, PLAIN}, {PLAIN, RDWR}, {PLAIN, PLAIN}};
	for (size_t i = 0; i < 3; i++) {
		int one = FD(pairs[i][0]), other = FD(pairs[i][1]);
		const char *a = descriptors[pairs[i][0]].name, *b = descriptors[pairs[i][1]].name;
		struct move_extent move = {.donor = other, .length = 1};
		struct swap_extents swap = {.target = one, .temporary = other, .length = FILE_SIZE};
		struct exchange_range range = {.file1 = other, .length = 64};
		struct move_range f2fs = {.target = other, .length = PAGE};
		STEP(call(one, MOVE_EXT, &move), "MOVE_EXT %s, donor %s", a, b);
		STEP(call(one, SWAPEXT, &swap), "SWAPEXT on %s and %s", a, b);
		STEP(call(FD(PLAIN), SWAPEXT, &swap), "SWAPEXT on plain of %s and %s", a, b);
		STEP(call(one, EXCHANGE_RANGE, &range), "EXCHANGE_RANGE %s with %s", a, b);
		STEP(call(one, COMMIT_RANGE, &range), "COMMIT_RANGE %s with %s", a, b);
		STEP(call(one, MOVE_RANGE, &f2fs), "MOVE_RANGE %s to %s", a, b);
	}
}

static void asking(void)
{
	FOR_DESCRIPTORS(d) {
		struct fiemap map = {.fm_length = WHOLE};
		struct fsxattr attributes = {0};
		struct termios terminal;
		int number = 0;
		STEP(call(d->fd, FS_IOC_FIEMAP, &map), "FIEMAP %s", d->name);
		STEP(call(d->fd, FS_IOC_GETFLAGS, &number), "GETFLAGS %s", d->name);
		STEP(call(d->fd, FS_IOC_FSGETXATTR, &attributes), "FSGETXATTR %s", d->name);
		STEP(attributes.fsx_xflags & ~OF_A_TAG, "its flags %s", d->name);
		STEP(call(d->fd, FIONREAD, &number), "FIONREAD %s", d->name);
		STEP(number, "its number %s", d->name);
		STEP(call(d->fd, FIONREAD, 8), "FIONREAD at a bad pointer %s", d->name);
		STEP(call(d->fd, TCGETS, &terminal), "TCGETS %s", d->name);
		STEP(call(d->fd, FIGETBSZ, &number), "FIGETBSZ %s", d->name);
		STEP(call(d->fd, FIONBIO, (number = 0, &number)), "FIONBIO %s", d->name);
		STEP(call(d->fd, FIOCLEX), "FIOCLEX %s", d->name);
		STEP(fcntl(d->fd, F_GETFD), "F_GETFD %s", d->name);
		STEP(call(d->fd, FIONCLEX), "FIONCLEX %s", d->name);
		STEP(call(d->fd, 0), "request 0 %s", d->name);
		STEP(call(d->fd, WHOLE), "all bits %s", d->name);
		STEP(call(d->fd, 0x665f, 8), "a request that nobody has %s", d->name);
	}
}

/* On what is no loop device, the kernel's answer stands. */
static void loops(void)
{
	char config[304] = {0};
	FOR_DESCRIPTORS(d) {
		memcpy(config, &d->fd, sizeof d->fd);
		STEP(call(FD(PLAIN), LOOP_SET_FD, d->fd), "LOOP_SET_FD %s on plain", d->name);
		STEP(call(FD(PLAIN), LOOP_CHANGE_FD, d->fd), "LOOP_CHANGE_FD %s on plain", d->name);
		STEP(call(FD(PLAIN), 0x4c0a, config), "LOOP_CONFIGURE %s on plain", d->name);
		STEP(call(CLOSED_FD, LOOP_SET_FD, d->fd), "LOOP_SET_FD %s on a closed one", d->name);
	}
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	call = symbol;
	open_descriptors();
	share();
	flags();
	allocation();
	filesystems_own();
	asking();
	loops();
	STEP(IN_CHILD(call(FD(RDWR), FICLONE, FD(PLAIN))), "FICLONE in a child");
	return end();
}

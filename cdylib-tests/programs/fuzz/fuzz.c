/* A random program: what it does follows from a seed. tests/fuzz.rs runs it without the library and
 * with it, and holds the two logs against each other.
 *
 *     fuzz seed=1 count=2000 threads=3 phase=64 verdicts=,write:RR,… [native=1] [keep=FILE] [say=1] …
 *
 * in a folder with the files that `names` lists. Operation N is of thread N % threads, and all its
 * choices follow from (seed, N) alone: what is left out by `keep` changes nothing in the others.
 *
 * The outcome must not depend on who comes first. So each thread has addresses (its arena), files,
 * descriptors and a segment of its own; what they share is the file S, of which each stores to its own
 * pages, and everything inside the library and the kernel. Numbers of descriptors that the kernel
 * chooses, and addresses it chooses, are not logged.
 *
 * What a tagged file refuses would leave another state than without the library. So natively it is done
 * to a copy of the file: errors stand, as they come before the contract's; success becomes what the
 * contract says (`verdicts`, from core/src/contract.rs). Then nothing at all may differ.
 *
 * The harness's own calls are `raw`: they pass no library. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096L
#define THREADS 4
#define ARENA_PAGES 64
/* Behind each arena is a page that is always mapped, so that nothing grows into the next. */
#define STRIDE (ARENA_PAGES + 1)
#define BASE 0x100000000000L
/* Where nothing is mapped by itself: one thread's segment of System V, so that it lives on once removed. */
#define SEGMENTS (BASE + (1L << 32))
#define SEGMENT_PAGES 4
/* What only the handlers of SIGUSR2 map. */
#define PESTERED (BASE + (2L << 32))
/* So many operations of a thread's in a row often use the same pages. */
#define NEIGHBOURS 16
#define SLOTS 8
/* Slots below have the number that the kernel chose, those above their own. */
#define FIXED_SLOT 4
#define FIXED_FD 300
#define WATCH_FD 600
#define FILE_PAGES 32
#define NOT_RUN 0x7fff

/* ---- the library's back entrance ---- */

static long raw6(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	long result;
	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
	return result;
}
#define RAW_(n, a, b, c, d, e, f, ...) raw6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define raw(...) RAW_(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

static void die(const char *what, long error)
{
	fprintf(stderr, "fuzz: %s: %s\n", what, strerror((int)-error));
	_exit(99);
}

/* ---- settings ---- */

static const char *verdicts = "", *keep_file, *self;
static uint64_t seed;
static long count, threads = 2, phase_length = 64, from;
static bool native, say, pester, has_keys;
static long pause_between = 300; /* signals, µs */
static uint64_t without;
static char *carried; /* the slots, over an exec */
static unsigned char *kept;
static char **arguments;

/* Families of operations that can be left out: without=1 leaves out the first, and so on by bits. */
enum family { BY_HANDLE = 1, GUARD = 2, KEY = 4, BY_PATH = 8, SEGMENT = 16, FORK = 32, EXEC = 64, HANDLER = 128, BY_INSTRUCTION = 256, REMAP = 1024, PUNCH = 2048 };

/* ---- files ---- */

/* Tagged: T; S, which all threads share; E, by emulation on a disk. Untagged: U, and D on a disk. */
enum file { T, S, E, U, D, FILES, ANON, SHM, NONE, UNKNOWN };
static const char letters[] = "TSEUD";
static char names[FILES][THREADS][256], copies[2][THREADS][256], others[2][THREADS][256];

static bool is_tagged(enum file file)
{
	return file == T || file == S || file == E;
}

/* ---- the log ---- */

/* What an operation came to; tests/fuzz.rs knows the layout. */
struct entry {
	int64_t result;
	int32_t error;
	uint16_t signal, done;
	uint64_t locks;  /* digest of the record locks that the process holds on the thread's files */
	uint64_t digest; /* of what was read */
	uint32_t dirty;  /* pages of a disk's file still dirty after the sync that covered them */
	uint32_t kind;
};
static struct entry *entries;
/* Behind those of the operations: so many for each, of what its handler or child did. */
#define PARTS 8

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

/* ---- a thread's state ---- */

struct slot {
	int fd;
	enum file file;
	int flags;
};

/* What is mapped at a page of the arena, as far as is known. */
struct page {
	unsigned char file; /* enum file */
	bool shared;        /* and of a descriptor open for writing: what msync syncs */
	unsigned short at;  /* page of the file */
};

static struct thread {
	long number;
	struct slot slots[SLOTS];
	struct page pages[ARENA_PAGES];
	int segment;
	int keys[2];
	uint64_t random;
	struct entry *entry;
	sigjmp_buf *volatile escape; /* where SIGSEGV and SIGBUS go on */
	volatile int signal;
	volatile long fault; /* where */
	sigjmp_buf *volatile leave; /* where SIGUSR2 goes on, if it is not to return */
	volatile int handler_failures;
	long operation;
	uint64_t neighbourhood; /* where operations that follow each other meet */
	char line[512];
} all[THREADS];
static __thread struct thread *me;

static long arena(void)
{
	return BASE + me->number * STRIDE * PAGE;
}

static long at(long page)
{
	return arena() + page * PAGE;
}

static uint64_t random64(void)
{
	return me->random = mix(me->random);
}

static long below(long n)
{
	return (long)(random64() >> 16) % n;
}

static bool one_in(long n)
{
	return below(n) == 0;
}

#define PICK(...) pick_from((const long[]){__VA_ARGS__}, sizeof((const long[]){__VA_ARGS__}) / sizeof(long))
static long pick_from(const long *values, size_t n)
{
	return values[below((long)n)];
}

static void __attribute__((format(printf, 1, 2))) said(const char *format, ...)
{
	va_list list;
	size_t used = strlen(me->line);
	if (!say)
		return;
	va_start(list, format);
	vsnprintf(me->line + used, sizeof me->line - used, format, list);
	va_end(list);
}

static void say_line(const char *whose)
{
	char line[700];
	int length;
	if (!say)
		return;
	length = snprintf(line, sizeof line, "%ld thread %ld%s:%s\n", me->operation, me->number, whose, me->line);
	raw(SYS_write, 2, line, length);
}

/* ---- calls, by each way ---- */

#define CALLS(X)                                                                                                       \
	X(mmap, 6) X(munmap, 2) X(mremap, 5) X(mprotect, 3) X(pkey_mprotect, 4) X(madvise, 3) X(msync, 3) X(mlock, 2)  \
	X(munlock, 2) X(remap_file_pages, 5) X(shmat, 3) X(shmdt, 1) X(pkey_alloc, 2) X(open, 3) X(dup, 1) X(dup2, 2)  \
	X(dup3, 3) X(fcntl, 3) X(close, 1) X(close_range, 3) X(fsync, 1) X(fdatasync, 1) X(sync_file_range, 4)         \
	X(ftruncate, 2) X(truncate, 2) X(fallocate, 4) X(write, 3) X(pwrite64, 4) X(pread64, 4) X(sendfile, 4)         \
	X(copy_file_range, 6) X(chmod, 2) X(fchmod, 2) X(chown, 3) X(utimensat, 4) X(setxattr, 5) X(removexattr, 2)    \
	X(link, 2) X(rename, 2) X(unlink, 1)

#define X(name, arguments) CALL_##name,
enum call { CALLS(X) LAST_OF_MEMORY = CALL_shmdt };
#undef X
#define X(name, arguments) {#name, SYS_##name, arguments, NULL, NULL},
static struct {
	const char *name;
	long number;
	int arguments;
	void *symbol, *of_handle;
} calls[] = {CALLS(X)};
#undef X

static bool is_wide(enum call call)
{
	return call == CALL_mmap || call == CALL_mremap || call == CALL_shmat || call == CALL_write || call == CALL_pwrite64 ||
	       call == CALL_pread64 || call == CALL_sendfile || call == CALL_copy_file_range;
}

/* The ways to a call, most often the first. */
enum way { SYMBOL, LIBC_HANDLE, NUMBER, INLINE };

/* The last part of the path that is there, if one of ours is. */
static const char *path_at(long address)
{
	char *p = (char *)address;
	bool is_path = (p >= (char *)names && p < (char *)(&names + 1)) || (p >= (char *)copies && p < (char *)(&copies + 1)) ||
		       (p >= (char *)others && p < (char *)(&others + 1));
	return is_path && strrchr(p, '/') ? strrchr(p, '/') + 1 : NULL;
}

static void say_call(enum call call, enum way way, const long *values)
{
	static const char *const ways[] = {"", " of libc's handle", " by syscall()", " inline"};
	if (!say)
		return;
	said(" %s%s(", calls[call].name, ways[way]);
	for (int i = 0; i < calls[call].arguments; i++) {
		bool is_in_arena = values[i] >= arena() && values[i] < arena() + STRIDE * PAGE;
		const char *path = path_at(values[i]);
		if (path)
			said("%s%s", i ? ", " : "", path);
		else
			said(is_in_arena ? "%sarena+0x%lx" : "%s0x%lx", i ? ", " : "", values[i] - (is_in_arena ? arena() : 0));
	}
	said(");");
}

static long make_call(enum call call, const long *v)
{
	enum way way = below(8) < 5 ? SYMBOL : (enum way)below(4);
	long result;
	/* What a program's own instructions ask for is not refused (docs/semantics.md, "What gets past"); what they move is known. */
	bool is_refused = call > LAST_OF_MEMORY || (call == CALL_madvise && v[2] == MADV_REMOVE);
	if ((way == LIBC_HANDLE && without & BY_HANDLE) || (way == INLINE && (without & BY_INSTRUCTION || is_refused)))
		way = SYMBOL;
	say_call(call, way, v);
	errno = 0;
	if (way == NUMBER)
		return syscall(calls[call].number, v[0], v[1], v[2], v[3], v[4], v[5]);
	if (way == INLINE) {
		result = raw6(calls[call].number, v[0], v[1], v[2], v[3], v[4], v[5]);
		if (result < 0 && result > -4096) {
			errno = (int)-result;
			result = -1;
		}
		return result;
	}
	long (*function)(long, long, long, long, long, long) = way == LIBC_HANDLE ? calls[call].of_handle : calls[call].symbol;
	result = function(v[0], v[1], v[2], v[3], v[4], v[5]);
	return is_wide(call) ? result : (int)result;
}
#define MAKE_(call, a, b, c, d, e, f, ...) make_call(CALL_##call, (const long[]){(long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f)})
#define CALL(...) MAKE_(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)

static void find_calls(void)
{
	void *libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
		calls[i].symbol = dlsym(RTLD_DEFAULT, calls[i].name);
		calls[i].of_handle = dlsym(libc, calls[i].name);
		if (!calls[i].symbol || !calls[i].of_handle)
			die(calls[i].name, -ENOSYS);
	}
}

/* ---- the contract, played natively ---- */

enum verdict { ALLOW = 'A', REFUSE = 'R', PRETEND = 'P' };

static enum verdict verdict(const char *operation, bool idle, enum file file)
{
	char word[64];
	const char *found;
	snprintf(word, sizeof word, ",%s:", operation);
	found = strstr(verdicts, word);
	if (!found)
		die(operation, -ENOKEY);
	return is_tagged(file) ? (enum verdict)found[strlen(word) + idle] : ALLOW;
}

static int watch_fd(enum file file)
{
	return WATCH_FD + (int)(me->number * FILES + file);
}

static long size_of(enum file file)
{
	return (file == S ? THREADS * STRIDE : FILE_PAGES) * PAGE;
}

/* What a modification is aimed at. */
struct aim {
	enum verdict verdict;
	enum file file;
	bool on_copy;
	int fd, copy_fd;
	const char *path;
};

static const char *copy_of(enum file file)
{
	return copies[file == E][me->number];
}

static void restore_copy(enum file file)
{
	const char *path = copy_of(file);
	long fd = raw(SYS_open, path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		die(path, fd);
	raw(SYS_ftruncate, fd, size_of(file));
	raw(SYS_fallocate, fd, 0, 0, size_of(file));
	raw(SYS_fchmod, fd, 0644);
	raw(SYS_fremovexattr, fd, "user.fuzz");
	raw(SYS_close, fd);
}

static struct aim aim_at(const char *operation, bool idle, enum file file, const struct slot *slot)
{
	struct aim aim = {verdict(operation, idle, file), file, false, slot ? slot->fd : -1, -1, names[file][me->number]};
	if (!native || aim.verdict == ALLOW || (slot && slot->fd < 0))
		return aim;
	aim.on_copy = true;
	aim.path = copy_of(file);
	raw(SYS_truncate, aim.path, size_of(file));
	if (slot) {
		long position = raw(SYS_lseek, slot->fd, 0, SEEK_CUR);
		aim.fd = aim.copy_fd = (int)raw(SYS_open, aim.path, slot->flags, 0);
		raw(SYS_lseek, aim.fd, position, SEEK_SET);
	}
	return aim;
}

/* The answer, and the copy as it was. */
static long settle(struct aim aim, long result)
{
	if (!aim.on_copy)
		return result;
	int error = errno;
	if (aim.copy_fd >= 0)
		raw(SYS_close, aim.copy_fd);
	if (result != -1) {
		restore_copy(aim.file);
		result = aim.verdict == PRETEND ? 0 : -1;
		error = aim.verdict == PRETEND ? 0 : EPERM;
	}
	errno = error;
	return result;
}

/* What all threads see is not modified where that is not refused. */
static bool is_left_alone(const char *operation, bool idle, enum file file)
{
	return file == S && verdict(operation, idle, S) == ALLOW;
}

/* ---- faults ---- */

static void on_fault(int number, siginfo_t *info, void *context)
{
	(void)context;
	if (!me || !me->escape) {
		signal(number, SIG_DFL);
		return;
	}
	me->signal = number << 8 | (info->si_code & 0xff);
	me->fault = (long)info->si_addr;
	siglongjmp(*me->escape, 1);
}

/* Runs the statement; the signal that ended it, or 0. */
#define FAULT_OF(statement)                                                                                            \
	({                                                                                                             \
		sigjmp_buf here_, *volatile outer_ = me->escape;                                                       \
		volatile int fault_ = 0;                                                                               \
		if (!sigsetjmp(here_, 0)) {                                                                            \
			me->escape = &here_;                                                                           \
			statement;                                                                                     \
		} else {                                                                                               \
			fault_ = me->signal;                                                                           \
		}                                                                                                      \
		me->escape = outer_;                                                                                   \
		fault_;                                                                                                \
	})

static void digest(uint64_t value)
{
	me->entry->digest = mix(me->entry->digest ^ value);
}

/* Whether what is at the page is this thread's to store to, and to compare. */
static bool is_own(long page)
{
	const struct page *p = &me->pages[page];
	return p->file != UNKNOWN && (p->file != S || p->at / STRIDE == me->number);
}

static void load(long page)
{
	volatile uint64_t *words = (volatile uint64_t *)at(page);
	volatile uint64_t sum = 0;
	int fault = FAULT_OF(for (int i = 0; i < 8; i++) sum = mix(sum ^ words[i * 64]));
	digest(fault ? (uint64_t)fault << 32 : is_own(page) ? sum : 1);
}

static void store(long page, long word, uint64_t value)
{
	volatile uint64_t *words = (volatile uint64_t *)at(page);
	if (is_own(page))
		digest(FAULT_OF(words[word * 64] = value));
	else
		load(page);
}

/* ---- what is checked after each operation ---- */

static uint64_t locks_held(void)
{
	static const enum file files[] = {T, U, D, E};
	uint64_t sum = 0;
	for (int i = 0; i < 4; i++) {
		/* A lock of an open file description conflicts with those of processes, this one's too. */
		struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
		while (raw(SYS_fcntl, watch_fd(files[i]), F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK) {
			sum = mix(sum ^ mix(lock.l_start * 64 + lock.l_len * 4 + lock.l_type + i * 4096L));
			if (lock.l_len == 0)
				break;
			lock = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = lock.l_start + lock.l_len};
		}
	}
	return sum;
}

/* Whether the kernel can be asked for a file's dirty pages: not on DAX, where cachestat(2) takes the entries of
 * the page cache for those of pages that were evicted and dereferences what they are not. On Linux 6.12 that is an
 * oops in the thread, which ends in the middle of its program while the others wait for it. */
static bool counts_dirty(enum file file)
{
	static char known[FILES][THREADS]; /* 1: no, 2: yes */
	char *answer = &known[file][me->number];
	struct statx stat;
	if (!*answer) {
		long result = raw(SYS_statx, watch_fd(file), "", AT_EMPTY_PATH, STATX_INO, &stat);
		*answer = result == 0 && !(stat.stx_attributes & STATX_ATTR_DAX) ? 2 : 1;
	}
	return *answer == 2;
}

static void count_dirty(enum file file, long first, long pages)
{
	if (!counts_dirty(file))
		return;
	struct {
		uint64_t offset, length;
	} range = {first * PAGE, pages * PAGE};
	uint64_t counts[5] = {0};
	long result = raw(451 /* cachestat, Linux 6.5 */, watch_fd(file), &range, counts, 0);
	if (result == 0)
		me->entry->dirty += counts[1] + counts[2];
}

/* After a sync of pages of the arena that is done. */
static void check_clean(long page, long pages)
{
	for (long i = page; i < page + pages && i < ARENA_PAGES; i++) {
		const struct page *p = &me->pages[i];
		if (p->shared && (p->file == D || p->file == E))
			count_dirty(p->file, p->at, 1);
	}
}

/* ---- what is known to be mapped ---- */

static void mapped(long page, long pages, enum file file, bool shared, long offset)
{
	for (long i = page; i < page + pages; i++)
		if (i >= 0 && i < ARENA_PAGES)
			me->pages[i] = (struct page){(unsigned char)file, shared, (unsigned short)(offset + i - page)};
}

/* ---- operations: memory ---- */

static enum file some_file(void)
{
	static const char wheel[] = {T, T, T, T, T, T, T, S, S, S, S, U, U, U, U, D, D, E};
	return wheel[below(sizeof wheel)];
}

static struct slot *some_slot(void)
{
	return &me->slots[below(SLOTS)];
}

/* A range of the arena. */
struct range {
	long page, pages, address, length;
};

static struct range some_range(long most)
{
	struct range r;
	r.pages = 1 + below(one_in(4) ? most : 4);
	r.page = below(ARENA_PAGES - r.pages + 1);
	if (one_in(2))
		r.page = (long)(me->neighbourhood % (uint64_t)(ARENA_PAGES - r.pages + 1));
	r.address = at(r.page);
	r.length = r.pages * PAGE;
	if (one_in(8)) /* up to the page's end */
		r.length -= below(PAGE);
	return r;
}

static int some_protection(void)
{
	return (int)PICK(PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ, PROT_WRITE, PROT_NONE, PROT_EXEC,
			 PROT_READ | PROT_EXEC);
}

static long logged_address(long result)
{
	return result == -1 ? -1 : result >= arena() && result < arena() + ARENA_PAGES * PAGE ? result - arena() : 1L << 40;
}

static long op_map(void)
{
	struct range r = some_range(16);
	enum file file = some_file();
	struct slot watched = {watch_fd(file), file, O_RDWR}, *slot = &watched;
	int type = (int)PICK(MAP_SHARED, MAP_SHARED, MAP_SHARED, MAP_SHARED_VALIDATE, MAP_PRIVATE);
	int placed = (int)PICK(MAP_FIXED, MAP_FIXED, MAP_FIXED, MAP_FIXED, MAP_FIXED_NOREPLACE);
	int protection = one_in(2) ? PROT_READ | PROT_WRITE : some_protection();
	int more = one_in(8) ? (int)PICK(MAP_POPULATE, MAP_LOCKED, MAP_NORESERVE, MAP_DENYWRITE, MAP_SYNC, MAP_SHARED | MAP_PRIVATE, MAP_STACK) : 0;
	long offset = file == S ? me->number * STRIDE + below(ARENA_PAGES) : below(FILE_PAGES);
	long fault = below(64);
	if (one_in(4)) {
		slot = some_slot();
		file = slot->file;
		if (file == S)
			offset += me->number * STRIDE;
	}
	int fd = slot->fd;
	if (one_in(10)) {
		more |= MAP_ANONYMOUS;
		file = ANON;
		fd = -1;
	}
	/* What fails leaves nothing known of the place: in some kernels it is unmapped by then. */
	long address = r.address + (fault == 0), length = fault == 1 ? 0 : fault == 2 ? -PAGE : r.length, o = fault == 3 ? 100 : offset * PAGE;
	long result = CALL(mmap, address, length, protection, type | placed | more, fd, o);
	bool shared = ((type | more) & MAP_TYPE) != MAP_PRIVATE && (slot->flags & O_ACCMODE) == O_RDWR;
	if (result != -1)
		mapped(r.page, r.pages, file, shared, offset);
	else if (placed == MAP_FIXED && fault != 2)
		mapped(r.page, r.pages, UNKNOWN, false, 0);
	return logged_address(result);
}

/* Where the kernel chooses the address: mapped, used, moved, and unmapped. */
static long op_map_anywhere(void)
{
	enum file file = one_in(2) ? T : U;
	long pages = 1 + below(8), offset = below(FILE_PAGES - 8), more = below(4) * PAGE, score = 0;
	long address = CALL(mmap, 0, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, watch_fd(file), offset * PAGE);
	if (address == -1)
		return -1;
	volatile uint64_t *words = (volatile uint64_t *)address;
	score |= FAULT_OF(words[below(pages) * 512] = random64());
	score = score << 1 | (CALL(msync, address, pages * PAGE, MS_SYNC) & 1);
	if (more) {
		long moved = CALL(mremap, address, pages * PAGE, pages * PAGE + more, MREMAP_MAYMOVE);
		if (moved == -1)
			return -2;
		address = moved;
		score = score << 1 | (CALL(msync, address, pages * PAGE + more, MS_SYNC) & 1);
	}
	score = score << 1 | (CALL(munmap, address, pages * PAGE + more) & 1);
	return score;
}

static long op_munmap(void)
{
	struct range r = some_range(8);
	long fault = below(24);
	long address = r.address + (fault == 0) * 8, length = fault == 1 ? 0 : fault == 2 ? -PAGE : r.length;
	long result = CALL(munmap, address, length);
	if (result == 0)
		mapped(r.page, r.pages, NONE, false, 0);
	return result;
}

static long op_mremap(void)
{
	struct range r = some_range(8), to = some_range(8);
	struct page old[ARENA_PAGES];
	long fault = below(24), how = below(6), result;
	long old_length = how == 5 ? 0 : r.length, pages = to.pages, new_length = to.length;
	memcpy(old, me->pages, sizeof old);
	/* Where the mapping ends decides between EFAULT and EINVAL: one of S may end in another thread's arena. */
	if (fault == 0 && old[r.page].file != S && old[r.page].file != UNKNOWN)
		old_length = -PAGE;
	if (fault == 1)
		new_length = 0;
	if (how <= 1) { /* in place, which may fail */
		result = CALL(mremap, r.address + (fault == 2), old_length, new_length, how == 1 && fault == 3 ? 8 : 0);
		if (result != -1) {
			/* What grows is one mapping. */
			for (long i = r.pages; i < pages && r.page + i < ARENA_PAGES; i++) {
				me->pages[r.page + i] = old[r.page];
				me->pages[r.page + i].at = (unsigned short)(old[r.page].at + i);
			}
			if (r.pages > pages)
				mapped(r.page + pages, r.pages - pages, NONE, false, 0);
		}
		return logged_address(result);
	}
	int flags = MREMAP_MAYMOVE | MREMAP_FIXED | (how == 4 ? 4 /* MREMAP_DONTUNMAP */ : 0);
	if (how == 4 && fault > 4) {
		new_length = old_length;
		pages = r.pages;
		if (to.page + pages > ARENA_PAGES)
			to.page = 0, to.address = at(0);
	}
	result = CALL(mremap, r.address, old_length, new_length, flags, to.address);
	if (result != -1) {
		if (old_length != 0)
			mapped(r.page, r.pages, how == 4 ? UNKNOWN : NONE, false, 0);
		for (long i = 0; i < pages && to.page + i < ARENA_PAGES; i++) {
			me->pages[to.page + i] = old[r.page];
			me->pages[to.page + i].at = (unsigned short)(old[r.page].at + i);
		}
		/* More than one mapping was moved: not followed. */
		for (long i = 1; i < pages && i < r.pages; i++)
			if (old[r.page + i].file != old[r.page].file || old[r.page + i].at != old[r.page].at + i)
				mapped(to.page, pages, UNKNOWN, false, 0);
	} else {
		mapped(to.page, pages, UNKNOWN, false, 0);
	}
	return logged_address(result);
}

static long op_mprotect(void)
{
	struct range r = some_range(16);
	long fault = below(24);
	int protection = some_protection() | (fault == 2 ? PROT_GROWSDOWN : 0);
	return CALL(mprotect, r.address + (fault == 0), fault == 1 ? -PAGE : r.length, protection);
}

static long op_key(void)
{
	struct range r = some_range(8);
	long which = below(2), how = below(6);
	int key = me->keys[which];
	if (without & KEY)
		return 0;
	if (how == 0 && !has_keys) /* EINVAL, or ENOSPC while another thread is about it */
		return 0;
	if (how == 0 && key < 0) {
		me->keys[which] = (int)CALL(pkey_alloc, 0, one_in(2) ? PKEY_DISABLE_ACCESS : 0);
		return me->keys[which] >= 0 ? 1 : -1;
	}
	if (how == 1 && key >= 0) {
		said(" pkey_set(%ld, …)", which);
		return pkey_set(key, (unsigned)PICK(0, 0, PKEY_DISABLE_WRITE, PKEY_DISABLE_ACCESS));
	}
	return CALL(pkey_mprotect, r.address, r.length, some_protection(), one_in(4) ? 0 : one_in(3) ? -1 : key);
}

static long op_advise(void)
{
	struct range r = some_range(16);
	long advice = PICK(MADV_NORMAL, MADV_RANDOM, MADV_WILLNEED, MADV_DONTNEED, MADV_DONTFORK, MADV_DOFORK, MADV_WIPEONFORK, MADV_KEEPONFORK,
			   MADV_POPULATE_READ, MADV_POPULATE_WRITE, MADV_COLD, 102, 102, 102, 103, 103, 999, MADV_DONTDUMP);
	if ((advice == 102 || advice == 103) && without & GUARD)
		advice = MADV_NORMAL;
	return CALL(madvise, r.address + (one_in(24) ? 1 : 0), one_in(24) ? -PAGE : r.length, advice);
}

/* A hole in the file, of one page, whose content comes back where that is refused. */
static long op_punch(void)
{
	struct range r = some_range(1);
	const struct page *p = &me->pages[r.page];
	char content[PAGE];
	bool plays;
	if (without & PUNCH || p->file == UNKNOWN || (p->file == S && (!is_own(r.page) || verdict("madvise MADV_REMOVE", false, S) == ALLOW)))
		return 0;
	plays = native && p->file < FILES && verdict("madvise MADV_REMOVE", false, p->file) == REFUSE;
	long offset = p->at * PAGE, held = plays ? raw(SYS_pread64, watch_fd(p->file), content, PAGE, offset) : 0;
	long result = CALL(madvise, r.address, PAGE, MADV_REMOVE);
	if (plays && result == 0) {
		raw(SYS_pwrite64, watch_fd(p->file), content, held, offset);
		errno = EPERM;
		result = -1;
	}
	return result;
}

static long op_msync(void)
{
	struct range r = some_range(one_in(8) ? ARENA_PAGES : 8);
	long fault = below(24);
	int flags = (int)PICK(MS_SYNC, MS_SYNC, MS_SYNC, MS_SYNC, MS_SYNC, MS_ASYNC, MS_SYNC | MS_INVALIDATE, 0, MS_SYNC | MS_ASYNC, 64);
	long length = fault == 1 ? 0 : fault == 2 ? -PAGE : fault == 3 ? -16 * PAGE : r.length;
	long result = CALL(msync, r.address + (fault == 0), length, flags);
	if (fault > 3 && (flags & ~MS_INVALIDATE) == MS_SYNC && (result == 0 || errno == ENOMEM)) {
		int error = errno;
		check_clean(r.page, r.pages);
		errno = error;
	}
	return result;
}

static long op_lock_memory(void)
{
	struct range r = some_range(4);
	return one_in(2) ? CALL(mlock, r.address, r.length) : CALL(munlock, r.address, r.length);
}

static long op_segment(void)
{
	struct range r = some_range(1);
	long result;
	if (without & SEGMENT || r.page + SEGMENT_PAGES > ARENA_PAGES)
		return 0;
	if (one_in(2)) {
		for (int i = 0; i < ARENA_PAGES && me->pages[r.page].file != SHM; i++)
			r.page = (r.page + 1) % ARENA_PAGES;
		result = CALL(shmdt, at(r.page));
		for (long i = 0; result == 0 && i < SEGMENT_PAGES; i++)
			if (r.page + i < ARENA_PAGES && me->pages[r.page + i].file == SHM && me->pages[r.page + i].at == i)
				mapped(r.page + i, 1, NONE, false, 0);
		return result;
	}
	int flags = (int)PICK(SHM_REMAP, SHM_REMAP, SHM_REMAP, 0, SHM_RDONLY | SHM_REMAP, SHM_RND | SHM_REMAP);
	result = CALL(shmat, me->segment, r.address + (one_in(8) ? 8 : 0), flags);
	if (result != -1)
		mapped(r.page, SEGMENT_PAGES, SHM, true, 0);
	else
		mapped(r.page, SEGMENT_PAGES, UNKNOWN, false, 0);
	return logged_address(result);
}

static long op_remap_file_pages(void)
{
	struct range r = some_range(4);
	enum file file = me->pages[r.page].file;
	if (without & REMAP)
		return 0;
	long offset = file == S ? me->number * STRIDE + below(ARENA_PAGES) : below(FILE_PAGES);
	long result = CALL(remap_file_pages, r.address, r.pages * PAGE, one_in(16) ? PROT_READ : 0, offset, 0);
	mapped(r.page, r.pages, result == 0 ? file : UNKNOWN, me->pages[r.page].shared, offset);
	return result;
}

static long op_store(void)
{
	struct range r = some_range(8);
	said(" store to %lx, %lx", r.page * PAGE, r.pages * PAGE);
	for (long i = 0; i < r.pages; i++)
		store(r.page + i, below(8), random64());
	return 0;
}

static long op_load(void)
{
	struct range r = some_range(16);
	said(" load of %lx, %lx", r.page * PAGE, r.pages * PAGE);
	for (long i = 0; i < r.pages; i++)
		load(r.page + i);
	return 0;
}

/* A store, and the sync that is to make it durable. */
static long op_store_and_sync(void)
{
	struct range r = some_range(2);
	store(r.page, below(8), random64());
	long result = CALL(msync, r.address, r.length, MS_SYNC);
	int error = errno;
	if (result == 0 || error == ENOMEM)
		check_clean(r.page, r.pages);
	errno = error;
	return result;
}

/* ---- operations: descriptors ---- */

static bool is_fixed(const struct slot *slot)
{
	return slot - me->slots >= FIXED_SLOT;
}

static int fixed_fd(long slot)
{
	return FIXED_FD + (int)(me->number * SLOTS + slot);
}

static long fill_slot(struct slot *slot, long fd, enum file file, int flags)
{
	if (fd < 0)
		return -1;
	slot->fd = (int)fd;
	slot->file = file;
	slot->flags = flags;
	return 0;
}

/* Makes room in a slot whose number is the kernel's to choose. */
static struct slot *some_free_slot(void)
{
	struct slot *slot = &me->slots[below(FIXED_SLOT)];
	if (slot->fd >= 0) {
		CALL(close, slot->fd);
		slot->fd = -1;
	}
	return slot;
}

static long op_open(void)
{
	struct slot *slot = some_free_slot();
	enum file file = some_file();
	int flags = (int)PICK(O_RDWR, O_RDWR, O_RDWR, O_RDWR, O_RDONLY, O_WRONLY, O_RDWR | O_APPEND, O_PATH, O_RDWR | O_CREAT | O_EXCL, O_RDWR | O_NOFOLLOW);
	if (one_in(8))
		flags |= O_CLOEXEC;
	if (one_in(12) && !(without & BY_PATH) && !(flags & (O_PATH | O_EXCL)) && !is_left_alone("open with O_TRUNC", false, file)) {
		struct aim aim = aim_at("open with O_TRUNC", false, file, NULL);
		long fd = CALL(open, aim.path, flags | O_TRUNC, 0644);
		if (aim.on_copy && fd >= 0)
			raw(SYS_close, fd);
		return fill_slot(slot, settle(aim, fd), file, flags);
	}
	return fill_slot(slot, CALL(open, names[file][me->number], flags, 0644), file, flags);
}

static long op_dup(void)
{
	struct slot *slot = some_slot(), was, *to;
	long how = below(4);
	if (how == 0 || how == 1) {
		to = some_free_slot();
		was = *slot;
		if (was.fd < 0)
			return 0; /* the number -1, or one that another thread has by now */
		return fill_slot(to, how == 0 ? CALL(dup, was.fd) : CALL(fcntl, was.fd, one_in(2) ? F_DUPFD : F_DUPFD_CLOEXEC, 3), was.file, was.flags);
	}
	to = &me->slots[FIXED_SLOT + below(SLOTS - FIXED_SLOT)];
	was = *slot;
	int fd = fixed_fd(to - me->slots);
	long result = how == 2 ? CALL(dup2, was.fd, fd) : CALL(dup3, was.fd, fd, PICK(0, O_CLOEXEC, 64));
	return fill_slot(to, result, was.file, was.flags);
}

static long op_close(void)
{
	struct slot *slot = some_slot();
	if (one_in(4)) {
		long first = FIXED_SLOT + below(SLOTS - FIXED_SLOT), last = first + below(SLOTS - first);
		int flags = (int)PICK(0, 0, 8 /* not known */);
		long result = CALL(close_range, fixed_fd(first), fixed_fd(last), flags);
		for (long i = first; result == 0 && i <= last; i++)
			me->slots[i].fd = -1;
		return result;
	}
	if (slot->fd < 0 && !is_fixed(slot))
		return 0;
	long result = CALL(close, is_fixed(slot) ? fixed_fd(slot - me->slots) : slot->fd);
	slot->fd = -1;
	return result;
}

static long op_sync_descriptor(void)
{
	struct slot *slot = some_slot();
	long how = below(3), result;
	if (one_in(2) || slot->file == D || slot->file == E) { /* a disk's cost milliseconds */
		static struct slot watched[THREADS];
		enum file file = one_in(12) ? (one_in(2) ? D : E) : one_in(2) ? T : S;
		slot = &watched[me->number];
		*slot = (struct slot){watch_fd(file), file, O_RDWR};
	}
	long first = below(FILE_PAGES), pages = one_in(2) ? 0 : 1 + below(FILE_PAGES - first);
	if (how == 0)
		result = CALL(fsync, slot->fd);
	else if (how == 1)
		result = CALL(fdatasync, slot->fd);
	else
		result = CALL(sync_file_range, slot->fd, first * PAGE, pages * PAGE, one_in(12) ? 99 : 7);
	if (result == 0 && (slot->file == D || slot->file == E)) {
		if (how < 2)
			count_dirty(slot->file, 0, 4 * FILE_PAGES);
		else
			count_dirty(slot->file, first, pages ? pages : 4 * FILE_PAGES);
		errno = 0;
	}
	return result;
}

static long op_record_lock(void)
{
	struct slot *slot = some_slot();
	if (slot->file == S)
		return 0;
	struct flock lock = {.l_type = (short)PICK(F_RDLCK, F_WRLCK, F_WRLCK, F_WRLCK, F_UNLCK), .l_whence = SEEK_SET, .l_start = below(8), .l_len = below(5)};
	said(" %s %ld, %ld:", lock.l_type == F_RDLCK ? "read" : lock.l_type == F_WRLCK ? "write" : "no", lock.l_start, lock.l_len);
	return CALL(fcntl, slot->fd, F_SETLK, &lock);
}

static long op_resize(void)
{
	struct slot *slot = some_slot();
	bool by_path = one_in(2), idle = one_in(3);
	enum file file = by_path ? some_file() : slot->file;
	if (file >= FILES || (by_path && without & BY_PATH))
		return 0;
	long length = idle ? size_of(file) : one_in(12) ? -1 : below(FILE_PAGES) * PAGE + below(PAGE);
	if (is_left_alone("truncate", idle, file))
		return 0;
	struct aim aim = aim_at("truncate", idle, file, by_path ? NULL : slot);
	return settle(aim, by_path ? CALL(truncate, aim.path, length) : CALL(ftruncate, aim.fd, length));
}

static long op_allocate(void)
{
	struct slot *slot = some_slot();
	int mode = (int)PICK(0, 0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
	long first = below(FILE_PAGES), pages = below(FILE_PAGES - first + 1);
	bool idle = !(mode & FALLOC_FL_PUNCH_HOLE);
	if (is_left_alone("fallocate", idle, slot->file))
		return 0;
	struct aim aim = aim_at("fallocate", idle, slot->file, slot);
	return settle(aim, CALL(fallocate, aim.fd, mode, first * PAGE, pages * PAGE));
}

static long op_write(void)
{
	struct slot *slot = some_slot();
	uint64_t content[64];
	for (int i = 0; i < 64; i++)
		content[i] = random64();
	if (is_left_alone("write", false, slot->file))
		return 0;
	struct aim aim = aim_at("write", false, slot->file, slot);
	if (slot->flags & O_APPEND && aim.verdict == ALLOW && slot->fd >= 0) {
		struct stat st;
		if (raw(SYS_fstat, slot->fd, &st) == 0 && st.st_size > 2 * FILE_PAGES * PAGE)
			return 0;
	}
	long at_offset = below(FILE_PAGES * PAGE - 512), result;
	bool by_position = one_in(3);
	if (by_position)
		raw(SYS_lseek, aim.fd, at_offset, SEEK_SET);
	if (by_position)
		result = CALL(write, aim.fd, one_in(16) ? (void *)8 : content, below(512));
	else
		result = CALL(pwrite64, aim.fd, content, below(512), one_in(16) ? -1 : at_offset);
	return settle(aim, result);
}

static long op_read(void)
{
	struct slot *slot = some_slot();
	uint64_t content[64] = {0};
	long offset = below(FILE_PAGES * PAGE);
	long result = CALL(pread64, slot->fd, content, sizeof content, slot->file == S ? me->number * STRIDE * PAGE + offset : offset);
	for (int i = 0; result > 0 && i < 64; i++)
		digest(content[i]);
	return result;
}

static long op_copy(void)
{
	struct slot *to = some_slot();
	enum file source = one_in(2) ? T : U;
	if (is_left_alone("copy into", false, to->file) || to->flags & O_APPEND)
		return 0;
	struct aim aim = aim_at("copy into", false, to->file, to);
	off_t in = below(FILE_PAGES) * PAGE, out = below(FILE_PAGES) * PAGE;
	long length = 1 + below(PAGE);
	if (one_in(2)) {
		raw(SYS_lseek, aim.fd, out, SEEK_SET);
		return settle(aim, CALL(sendfile, aim.fd, watch_fd(source), &in, length));
	}
	return settle(aim, CALL(copy_file_range, watch_fd(U), &in, aim.fd, &out, length, 0));
}

static long op_attributes(void)
{
	struct slot *slot = some_slot();
	long how = below(7);
	static const char *const words[] = {"chmod", "chmod", "chown", "set times", "set times", "setxattr", "removexattr"};
	bool idle = how >= 2 ? how <= 4 : one_in(2), by_path = how != 1;
	enum file file = by_path ? some_file() : slot->file;
	if (file >= FILES || is_left_alone(words[how], idle, file) || (by_path && without & BY_PATH))
		return 0;
	struct aim aim = aim_at(words[how], idle, file, by_path ? NULL : slot);
	struct timespec times[2] = {{1000000, 0}, {1000000, 0}};
	long result = 0;
	int mode = idle ? 0644 : 0640;
	switch (how) {
	case 0: result = CALL(chmod, aim.path, mode); break;
	case 1: result = CALL(fchmod, aim.fd, mode); break;
	case 2: result = CALL(chown, aim.path, -1, one_in(2) ? getgid() : (gid_t)-1); break;
	case 3: result = CALL(utimensat, AT_FDCWD, aim.path, one_in(2) ? times : NULL, 0); break;
	case 4: result = CALL(utimensat, AT_FDCWD, aim.path, NULL, 0); break;
	case 5: result = CALL(setxattr, aim.path, "user.fuzz", "1", 1, 0); break;
	case 6:
		/* Refused before it is asked whether there is one: natively there is. */
		if (aim.on_copy)
			raw(SYS_setxattr, aim.path, "user.fuzz", "1", 1, 0);
		result = CALL(removexattr, aim.path, "user.fuzz");
		break;
	}
	return settle(aim, result);
}

static long op_names(void)
{
	static const enum file files[] = {T, T, E, U, U, D};
	enum file file = files[below(6)];
	const char *other = others[file == E || file == D][me->number];
	static const char *const words[] = {"link", "rename", "unlink"};
	long how = below(3);
	if (without & BY_PATH)
		return 0;
	if (!is_tagged(file)) /* another name comes and goes; its first stays */
		return how == 0 ? CALL(link, names[file][me->number], other) : how == 1 ? CALL(unlink, other) : CALL(rename, other, other);
	if (verdict(words[how], false, file) == ALLOW)
		return 0;
	struct aim aim = aim_at(words[how], false, file, NULL);
	char third[300];
	snprintf(third, sizeof third, "%s-not-there", other);
	long result = how == 0 ? CALL(link, aim.path, third) : how == 1 ? CALL(rename, aim.path, third) : CALL(unlink, aim.path);
	if (aim.on_copy) {
		int error = errno;
		raw(SYS_unlink, third);
		errno = error;
	}
	return settle(aim, result);
}

/* ---- operations: processes and handlers ---- */

static void perform(struct entry *entry, uint64_t random, bool is_part);

static void perform_parts(struct entry *whole, uint64_t random, long parts)
{
	struct entry *part = entries + count + (whole - entries) * PARTS;
	for (long i = 0; i < parts; i++, part++) {
		*part = (struct entry){0};
		perform(part, mix(random + (uint64_t)i), true);
		part->done = 1;
	}
}

/* Set before raise(): what the handler is to do. */
static __thread uint64_t handler_random;
static __thread struct entry *handler_entry;

static void on_raised(int number)
{
	(void)number;
	int saved = errno;
	perform_parts(handler_entry, handler_random, 2);
	errno = saved;
}

static long op_raise(void)
{
	if (without & HANDLER)
		return 0;
	said(" in a handler:");
	handler_random = random64();
	handler_entry = me->entry;
	errno = 0;
	return raise(SIGUSR1);
}

/* A sync that a handler may leave by siglongjmp. */
static long op_left(void)
{
	sigjmp_buf here;
	struct range r = some_range(16);
	int rights[2];
	if (without & HANDLER || !pester)
		return 0;
	for (int i = 0; i < 2; i++)
		rights[i] = me->keys[i] < 0 ? 0 : pkey_get(me->keys[i]);
	if (!sigsetjmp(here, 1)) {
		me->leave = &here;
		for (int i = 0; i < 20; i++)
			CALL(msync, r.address, r.length, MS_SYNC);
	}
	me->leave = NULL;
	for (int i = 0; i < 2; i++) /* a handler begins with the kernel's own, and this one has not returned */
		if (me->keys[i] >= 0)
			pkey_set(me->keys[i], (unsigned)rights[i]);
	errno = 0;
	return 0;
}

/* Arrives at any moment, inside the library too. */
static void on_pestered(int number)
{
	(void)number;
	int saved = errno;
	if (!me)
		return;
	sigjmp_buf *leave = me->leave;
	if (leave) {
		me->leave = NULL;
		siglongjmp(*leave, 1);
	}
	char *place = (char *)(PESTERED + me->number * 16 * PAGE);
	int fd = watch_fd(T), failures = 0;
	failures += mmap(place, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) != place;
	failures += msync(place, 2 * PAGE, MS_SYNC) != 0;
	failures += munmap(place, PAGE) != 0;
	failures += msync(place, 2 * PAGE, MS_SYNC) != -1;
	me->handler_failures += failures;
	errno = saved;
}

static long op_fork(void)
{
	long how = below(4), child, parts = 2 + below(6);
	uint64_t random = random64();
	int status = -1;
	struct entry *entry = me->entry;
	if (without & FORK)
		return 0;
	said(" %s:", how == 0 ? "fork" : how == 1 ? "_Fork" : how == 2 ? "syscall(SYS_fork)" : "clone, inline");
	child = how == 0 ? fork() : how == 1 ? _Fork() : how == 2 ? syscall(SYS_fork) : raw(SYS_clone, SIGCHLD);
	if (child < 0)
		return -1;
	if (child == 0) {
		/* The log is shared memory. */
		perform_parts(entry, random, parts);
		say_line(", its child");
		raw(SYS_exit_group, 0);
	}
	while (raw(SYS_wait4, child, &status, 0, NULL) == -EINTR)
		;
	errno = 0;
	return status;
}

static char *describe_slots(char *text, size_t room, const struct thread *thread)
{
	size_t used = strlen(text);
	for (int i = 0; i < SLOTS; i++)
		used += (size_t)snprintf(text + used, room - used, "%d:%d:%d;", thread->slots[i].fd, thread->slots[i].file, thread->slots[i].flags);
	return text;
}

static void execute(const char *more, const char *slots)
{
	char *list[40];
	int n = 0;
	for (char **a = arguments; *a && n < 32; a++)
		if (strncmp(*a, "from=", 5) && strncmp(*a, "slots=", 6))
			list[n++] = *a;
	list[n++] = (char *)more;
	list[n++] = (char *)slots;
	list[n] = NULL;
	/* One that comes before there is a handler would end it. */
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	execv(self, list);
}

/* A child that executes this program, and goes on with some operations of the thread's. */
static long op_execute(void)
{
	char from_text[64], slots[512] = "slots=";
	int status = -1;
	if (without & EXEC)
		return 0;
	snprintf(from_text, sizeof from_text, "from=child:%ld:%ld:%lu", me->number, (long)(me->entry - entries), random64());
	describe_slots(slots, sizeof slots, me);
	said(" vfork and exec");
	pid_t child = vfork();
	if (child == 0) {
		execute(from_text, slots);
		_exit(98);
	}
	while (raw(SYS_wait4, child, &status, 0, NULL) == -EINTR)
		;
	errno = 0;
	return status;
}

/* ---- one operation ---- */

static const struct {
	const char *name;
	long (*run)(void);
	int weight;
	bool is_whole; /* not within a handler or child */
} operations[] = {
	{"map", op_map, 130, false},
	{"map anywhere", op_map_anywhere, 15, false},
	{"munmap", op_munmap, 60, false},
	{"mremap", op_mremap, 50, false},
	{"mprotect", op_mprotect, 80, false},
	{"key", op_key, 25, false},
	{"advise", op_advise, 60, false},
	{"punch", op_punch, 8, false},
	{"msync", op_msync, 90, false},
	{"lock memory", op_lock_memory, 10, false},
	{"segment", op_segment, 20, false},
	{"remap_file_pages", op_remap_file_pages, 10, false},
	{"store", op_store, 90, false},
	{"load", op_load, 60, false},
	{"store and sync", op_store_and_sync, 60, false},
	{"open", op_open, 40, false},
	{"dup", op_dup, 30, false},
	{"close", op_close, 25, false},
	{"sync", op_sync_descriptor, 25, false},
	{"record lock", op_record_lock, 30, false},
	{"resize", op_resize, 20, false},
	{"allocate", op_allocate, 12, false},
	{"write", op_write, 20, false},
	{"read", op_read, 15, false},
	{"copy", op_copy, 10, false},
	{"attributes", op_attributes, 25, false},
	{"names", op_names, 15, false},
	{"raise", op_raise, 12, true},
	{"left", op_left, 4, true},
	{"fork", op_fork, 8, true},
	{"execute", op_execute, 1, true},
};
#define OPERATIONS (sizeof operations / sizeof *operations)
static int total_weight;

static uint32_t some_operation(bool is_part)
{
	uint32_t kind;
	do {
		long weight = below(total_weight);
		for (kind = 0; weight >= operations[kind].weight; kind++)
			weight -= operations[kind].weight;
	} while (is_part && operations[kind].is_whole);
	return kind;
}

static void perform(struct entry *entry, uint64_t random, bool is_part)
{
	struct entry *outer = me->entry;
	uint64_t outer_random = me->random;
	me->entry = entry;
	me->random = mix(random ^ seed);
	entry->kind = some_operation(is_part);
	said(" %s:", operations[entry->kind].name);
	entry->signal = NOT_RUN;
	sigjmp_buf here, *volatile escape = me->escape;
	if (!sigsetjmp(here, 1)) {
		me->escape = &here;
		errno = 0;
		entry->result = operations[entry->kind].run();
		entry->error = errno;
		entry->signal = 0;
	} else {
		/* A call that must not fault has, and may have left anything behind: enough is known. */
		entry->signal = (uint16_t)me->signal;
		fprintf(stderr, "fuzz: a call of thread %ld (arena at %lx) faults at %lx\n", me->number, arena(), me->fault);
		raw(SYS_exit_group, 4);
	}
	me->escape = escape;
	entry->locks = locks_held();
	me->entry = outer;
	me->random = outer_random;
}

/* ---- phases ---- */

static atomic_int waiting, generation;

static void meet(void)
{
	int now = atomic_load(&generation);
	if (atomic_fetch_add(&waiting, 1) + 1 == threads) {
		atomic_store(&waiting, 0);
		atomic_store(&generation, now + 1);
		raw(SYS_futex, &generation, FUTEX_WAKE_PRIVATE, THREADS);
		return;
	}
	/* At first so that all begin together; an emulated processor has better things to do. */
	for (int spins = 0; atomic_load(&generation) == now; spins++)
		if (spins > 2000)
			raw(SYS_futex, &generation, FUTEX_WAIT_PRIVATE, now, NULL);
}

/* What thread 0 does while the others wait. */
static void between_phases(long first)
{
	me->random = mix(seed ^ mix((uint64_t)first) ^ 77);
	if (one_in(40) && first != from && !(without & EXEC)) {
		char from_text[32], slots[2048] = "slots=";
		snprintf(from_text, sizeof from_text, "from=%ld", first);
		for (long i = 0; i < threads; i++)
			describe_slots(slots, sizeof slots, &all[i]);
		execute(from_text, slots);
		die("exec", -errno);
	}
	if (one_in(2)) { /* one mapping, and a part of it each thread's */
		long length = threads * STRIDE * PAGE;
		char *p = mmap((void *)BASE, (size_t)length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, watch_fd(S), 0);
		if (p != (char *)BASE)
			die("mmap of S", -errno);
		for (long t = 0; t < threads; t++)
			for (long i = 0; i < ARENA_PAGES; i++)
				all[t].pages[i] = (struct page){S, true, (unsigned short)(t * STRIDE + i)};
	}
}

static bool is_kept(long n)
{
	return !kept || kept[n];
}

static void run_operation(long n)
{
	struct entry *entry = &entries[n];
	*entry = (struct entry){0};
	me->line[0] = 0;
	me->operation = n;
	me->neighbourhood = mix(seed ^ mix((uint64_t)(n / threads / NEIGHBOURS * THREADS + me->number)));
	perform(entry, mix((uint64_t)n), false);
	entry->done = 1;
	say_line("");
}

static void *run_thread(void *of)
{
	long phase = phase_length * threads;
	me = of;
	sigset_t set;
	sigemptyset(&set);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
	for (long first = from; first < count; first += phase) {
		meet();
		if (me->number == 0)
			between_phases(first);
		meet();
		for (long n = first + me->number; n < first + phase && n < count; n += threads)
			if (is_kept(n))
				run_operation(n);
	}
	meet();
	return NULL;
}

/* ---- beginning and end ---- */

static void prepare_thread(long number, bool is_child)
{
	struct thread *thread = &all[number];
	me = thread;
	thread->number = number;
	thread->keys[0] = thread->keys[1] = -1;
	for (int i = 0; i < SLOTS; i++)
		thread->slots[i] = (struct slot){-1, U, 0};
	memset(thread->pages, 0, sizeof thread->pages);
	mapped(0, ARENA_PAGES, NONE, false, 0);
	raw(SYS_mmap, at(ARENA_PAGES), PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	for (int file = 0; file < FILES; file++) {
		long to = watch_fd((enum file)file);
		if (raw(SYS_fcntl, to, F_GETFD) >= 0) /* it came with the exec: closing another would drop locks */
			continue;
		long fd = raw(SYS_open, names[file][number], O_RDWR);
		if (fd < 0 || raw(SYS_dup3, fd, to, 0) < 0)
			die(names[file][number], fd);
		raw(SYS_close, fd);
	}
	if (is_child)
		return;
	thread->segment = shmget(IPC_PRIVATE, SEGMENT_PAGES * PAGE, 0600 | IPC_CREAT);
	if (thread->segment < 0 || shmat(thread->segment, (void *)(SEGMENTS + number * 16 * PAGE), 0) == (void *)-1)
		die("a segment", -errno);
	shmctl(thread->segment, IPC_RMID, NULL);
}

static void read_slots(const char *text, long first, long last)
{
	for (long t = first; t <= last; t++)
		for (int i = 0; i < SLOTS && text && *text; i++) {
			int fd, file, flags;
			if (sscanf(text, "%d:%d:%d;", &fd, &file, &flags) != 3)
				die("slots", -EINVAL);
			all[t].slots[i] = (struct slot){fd, (enum file)file, flags};
			if (fd >= 0 && raw(SYS_fcntl, fd, F_GETFD) < 0) /* it was to be closed */
				all[t].slots[i].fd = -1;
			text = strchr(text, ';') + 1;
		}
}

static const char *value(const char *argument, const char *name)
{
	size_t length = strlen(name);
	return !strncmp(argument, name, length) && argument[length] == '=' ? argument + length + 1 : NULL;
}

int main(int argc, char **argv)
{
	const char *v, *log = "log", *dir = ".", *disk = ".", *from_text = NULL;
	(void)argc;
	arguments = argv;
	self = argv[0];
	for (char **a = argv + 1; *a; a++) {
		if ((v = value(*a, "seed")))
			seed = strtoull(v, NULL, 10);
		else if ((v = value(*a, "count")))
			count = atol(v);
		else if ((v = value(*a, "threads")))
			threads = atol(v);
		else if ((v = value(*a, "phase")))
			phase_length = atol(v);
		else if ((v = value(*a, "verdicts")))
			verdicts = v;
		else if ((v = value(*a, "native")))
			native = *v == '1';
		else if ((v = value(*a, "pester")))
			pester = *v == '1';
		else if ((v = value(*a, "pause")))
			pause_between = atol(v);
		else if ((v = value(*a, "say")))
			say = *v == '1';
		else if ((v = value(*a, "without")))
			without = strtoull(v, NULL, 10);
		else if ((v = value(*a, "keep")))
			keep_file = v;
		else if ((v = value(*a, "log")))
			log = v;
		else if ((v = value(*a, "dir")))
			dir = v;
		else if ((v = value(*a, "disk")))
			disk = v;
		else if ((v = value(*a, "from")))
			from_text = v;
		else if ((v = value(*a, "slots")))
			carried = (char *)v;
		else
			die(*a, -EINVAL);
	}
	for (long t = 0; t < THREADS; t++) {
		for (int f = 0; f < FILES; f++)
			snprintf(names[f][t], sizeof names[f][t], "%s/%c%ld", f == D || f == E ? disk : dir, letters[f], f == S ? 0 : t);
		for (int i = 0; i < 2; i++) {
			snprintf(copies[i][t], sizeof copies[i][t], "%s/copy%ld", i ? disk : dir, t);
			snprintf(others[i][t], sizeof others[i][t], "%s/other%ld", i ? disk : dir, t);
		}
	}
	find_calls();
	long key = raw(SYS_pkey_alloc, 0, 0);
	has_keys = key >= 0;
	if (has_keys)
		raw(SYS_pkey_free, key);
	for (size_t i = 0; i < OPERATIONS; i++)
		total_weight += operations[i].weight;
	long fd = raw(SYS_open, log, O_RDWR | O_CLOEXEC);
	entries = (struct entry *)raw(SYS_mmap, 0, count * (1 + PARTS) * sizeof *entries, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	raw(SYS_close, fd);
	if ((long)entries < 0 && (long)entries > -4096)
		die(log, (long)entries);
	if (keep_file) {
		fd = raw(SYS_open, keep_file, O_RDONLY | O_CLOEXEC);
		kept = (unsigned char *)raw(SYS_mmap, 0, count, PROT_READ, MAP_SHARED, fd, 0);
		raw(SYS_close, fd);
	}
	struct sigaction action = {.sa_flags = SA_SIGINFO | SA_NODEFER};
	action.sa_sigaction = on_fault;
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	action = (struct sigaction){.sa_flags = SA_RESTART};
	action.sa_handler = on_raised;
	sigaction(SIGUSR1, &action, NULL);
	action.sa_handler = on_pestered;
	sigaction(SIGUSR2, &action, NULL);
	alarm(120); /* a hang is a failure too */

	if (from_text && !strncmp(from_text, "child:", 6)) {
		long number, n;
		uint64_t random;
		if (sscanf(from_text, "child:%ld:%ld:%lu", &number, &n, &random) != 3)
			die(from_text, -EINVAL);
		prepare_thread(number, true);
		read_slots(carried, number, number);
		me->operation = n;
		me->neighbourhood = random;
		perform_parts(&entries[n], random, 4);
		say_line(", executed");
		return 0;
	}
	if (from_text)
		from = atol(from_text);
	for (long t = 0; t < threads; t++)
		prepare_thread(t, false);
	me = NULL;
	read_slots(carried, 0, threads - 1);

	pthread_t ids[THREADS];
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	for (long t = 0; t < threads; t++)
		pthread_create(&ids[t], NULL, run_thread, &all[t]);
	long phases = (count - from + phase_length * threads - 1) / (phase_length * threads);
	for (long which = 0; pester && atomic_load(&generation) < 2 * phases;) {
		pthread_kill(ids[which++ % threads], SIGUSR2);
		usleep((useconds_t)pause_between);
	}
	for (long t = 0; t < threads; t++)
		pthread_join(ids[t], NULL);
	for (long t = 0; t < threads; t++)
		if (all[t].handler_failures) {
			fprintf(stderr, "fuzz: %d calls in a handler of thread %ld did not answer as they should\n", all[t].handler_failures, t);
			return 3;
		}
	return 0;
}

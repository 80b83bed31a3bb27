/* Two threads at the same mapping, for tests/interleavings.rs, which stops the first amid its call, lets the second make
 * its own, and asks at the last breakpoint what the record then says of the page that the second has changed.
 * Started as PROGRAM SYMBOL DIR FIRST SECOND. Each round is one mapping; the tracer ends the program. */
#include "common.h"
#include "daxshim.h"
#include <sys/shm.h>

#define RW (PROT_READ | PROT_WRITE)
/* Long enough for regions on all sides of what is changed. */
enum { PAGES = 8, CHANGED = 4 };

static int file, plain, segment;
static char *p, *elsewhere, *extra;
static long child_says;
static pthread_barrier_t barrier;

#define BREAKPOINT(a, b, c) __asm__ volatile("int3" ::"D"((long)(a)), "S"((long)(b)), "d"((long)(c)) : "memory")

static void *map(void *at, int descriptor)
{
	return mmap(at, at ? PAGE : PAGES * PAGE, RW, MAP_SHARED | (at ? MAP_FIXED : 0), descriptor, 0);
}

/* ---- what the first does: elsewhere in the same mapping ---- */

static void protect(void)
{
	mprotect(p, PAGE, RW);
}
static void protect_none(void)
{
	mprotect(p, PAGE, PROT_NONE);
}
static void unmap_first(void)
{
	munmap(p, PAGE);
}
static void unmap_last(void)
{
	munmap(p + (PAGES - 1) * PAGE, PAGE);
}
static void map_over(void)
{
	map(p, plain);
}
static void map_another(void)
{
	extra = mmap(NULL, PAGES * PAGE, RW, MAP_SHARED, file, 0);
}
static void shrink(void)
{
	mremap(p, PAGES * PAGE, (PAGES - 1) * PAGE, 0);
}
static void move_first(void)
{
	mremap(p, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere);
}
static void advise(void)
{
	madvise(p, PAGE, MADV_DONTNEED);
}
static void protect_by_key(void)
{
	pkey_mprotect(p, PAGE, PROT_READ, -1);
}

/* ---- what the second does: to page CHANGED ---- */

static char *changed(void)
{
	return p + CHANGED * PAGE;
}
static void plain_over(void)
{
	map(changed(), plain);
}
static void nothing_over(void)
{
	mmap(changed(), PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}
static void segment_over(void)
{
	shmat(segment, changed(), SHM_REMAP);
}
static void unmap_it(void)
{
	munmap(changed(), PAGE);
}
static void hide_it(void)
{
	mprotect(changed(), PAGE, PROT_NONE);
}
static void move_it(void)
{
	mremap(changed(), PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere + PAGE);
}
static void move_over_it(void)
{
	map(elsewhere + PAGE, plain);
	mremap(elsewhere + PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, changed());
}

/* In a child: a copy of what the first was amid. The mapping goes, and an untagged file comes in its place. */
static void in_child(pid_t child)
{
	if (child == 0) {
		map(changed(), plain);
		_exit(daxshim_needs_msync(changed(), PAGE) && msync(changed(), PAGE, MS_SYNC) == 0 ? 1 : 0);
	}
	int status = 0;
	waitpid(child, &status, 0);
	child_says = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
	map(changed(), plain);
}
static void fork_it(void)
{
	in_child(fork());
}
static void fork_it_alone(void)
{
	in_child(_Fork());
}
static void fork_it_raw(void)
{
	in_child(raw(SYS_fork));
}

static const struct {
	const char *name;
	void (*call)(void);
} calls[] = {
	{"mprotect", protect}, {"mprotect none", protect_none}, {"munmap first", unmap_first}, {"munmap last", unmap_last},
	{"mmap over", map_over}, {"mmap another", map_another}, {"mremap shrinks", shrink}, {"mremap moves", move_first},
	{"madvise", advise}, {"pkey_mprotect", protect_by_key},
	{"plain over", plain_over}, {"nothing over", nothing_over}, {"segment over", segment_over}, {"unmap", unmap_it},
	{"hide", hide_it}, {"move", move_it}, {"move over", move_over_it}, {"fork", fork_it}, {"_Fork", fork_it_alone},
	{"raw fork", fork_it_raw},
};

static void (*named(const char *name))(void)
{
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
		if (!strcmp(calls[i].name, name))
			return calls[i].call;
	die(name);
	return NULL;
}

static void *second(void *call)
{
	for (;;) {
		pthread_barrier_wait(&barrier);
		BREAKPOINT(0, 0, 0);
		((void (*)(void))call)();
		BREAKPOINT(0, 0, 0);
		pthread_barrier_wait(&barrier);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	if (argc < 5)
		return 2;
	alarm(0);
	void (*first)(void) = named(argv[3]);
	file = open("file", O_RDWR);
	plain = open("plain", O_RDWR);
	segment = shmget(IPC_PRIVATE, PAGE, 0600 | IPC_CREAT);
	/* It goes with its last attachment, whoever ends this. */
	shmat(segment, NULL, 0);
	shmctl(segment, IPC_RMID, NULL);
	elsewhere = mmap(NULL, 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	/* Known as untagged. */
	munmap(map(NULL, plain), PAGES * PAGE);
	pthread_t thread;
	pthread_barrier_init(&barrier, NULL, 2);
	if (pthread_create(&thread, NULL, second, (void *)named(argv[4])))
		die("pthread_create");
	for (;;) {
		p = map(NULL, file);
		if (p == MAP_FAILED)
			die("mmap");
		child_says = 1;
		extra = NULL;
		p[2 * PAGE] = '!';
		pthread_barrier_wait(&barrier);
		BREAKPOINT(0, 0, 0);
		first();
		BREAKPOINT(0, 0, 0);
		pthread_barrier_wait(&barrier);
		long needs = daxshim_needs_msync(changed(), PAGE);
		long error = msync(changed(), PAGE, MS_SYNC) ? errno : 0;
		long rest = msync(p + 2 * PAGE, PAGE, MS_SYNC) ? errno : 0;
		BREAKPOINT(needs, error, rest ? -rest : child_says);
		munmap(p, PAGES * PAGE);
		if (extra)
			munmap(extra, PAGES * PAGE);
		mmap(elsewhere, 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	}
}

/* What daxshim_is_sync and daxshim_needs_msync answer, for tests/ask.rs. Natively these are the header's own answers. */
#include "common.h"
#include "daxshim.h"

#define RW (PROT_READ | PROT_WRITE)

static char *map(const char *name, int prot, int flags, long pages)
{
	int fd = name ? open(name, O_RDWR) : -1;
	char *p = mmap(NULL, pages * PAGE, prot, flags, fd, 0);
	close(fd);
	return p;
}

static void ask(const char *label, const void *address, size_t length)
{
	errno = NO_ERROR;
	int sync = daxshim_is_sync(address, length), needs = daxshim_needs_msync(address, length);
	printf("%s: %d %d%s\n", label, sync, needs, errno == NO_ERROR ? "" : ", errno changed");
}

static char *plain;
static int answers[3];

/* The longest way: through smaps and the page table, on the smallest stack that glibc allows. */
static void *tiny(void *unused UNUSED)
{
	unsigned char page;
	answers[0] = daxshim_is_sync(plain, 100);
	answers[1] = daxshim_needs_msync(plain, 100);
	answers[2] = daxshim_mincore(plain, 1, &page) || daxshim_persist(plain, 1);
	return NULL;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = map("file", RW, MAP_SHARED, 4), *hole = map("file", RW, MAP_SHARED, 4);
	char *half = map("file", RW, MAP_SHARED, 4), *none = map("file", RW, MAP_SHARED, 4);
	plain = map("plain", RW, MAP_SHARED, 1);
	char *anonymous = map(NULL, RW, MAP_PRIVATE | MAP_ANONYMOUS, 1);
	ask("whole", p, 4 * PAGE);
	ask("a byte", p + PAGE, 1);
	ask("unaligned", p + 5, 3 * PAGE);
	ask("empty", p, 0);
	ask("empty NULL", NULL, 0);
	ask("NULL", NULL, 1);
	ask("too long", p, SIZE_MAX);
	ask("last page", (void *)-PAGE, PAGE);
	munmap(hole + PAGE, PAGE);
	ask("over a hole", hole, 4 * PAGE);
	ask("before the hole", hole, PAGE);
	mmap(half + PAGE, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	ask("partly anonymous", half, 4 * PAGE);
	mprotect(none, PAGE, PROT_NONE);
	ask("readable part", none + PAGE, 3 * PAGE);
	ask("private", map("file", RW, MAP_PRIVATE, 4), 4 * PAGE);
	ask("plain", plain, 100);
	ask("anonymous", anonymous, PAGE);
	pthread_attr_t attributes;
	pthread_t thread;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN);
	if (pthread_create(&thread, &attributes, tiny, NULL) || pthread_join(thread, NULL) || answers[2])
		die("on a small stack");
	printf("plain on a small stack: %d %d\n", answers[0], answers[1]);
	/* Where the kernel grants it. */
	char *asked = map("plain", RW, MAP_SHARED_VALIDATE | MAP_SYNC, 1);
	if (asked != MAP_FAILED)
		ask("plain with MAP_SYNC", asked, 100);
	asked = map("file", RW, MAP_SHARED_VALIDATE | MAP_SYNC, 4);
	if (asked != MAP_FAILED)
		ask("file with MAP_SYNC", asked, 4 * PAGE);
	return end();
}

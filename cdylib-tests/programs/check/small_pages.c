/* On DAX with extents that 2 MiB pages can map: `huge` has 8 MiB. */
#include "check.h"

#define HUGE (2 << 20)

static NOINLINE void bug(int fd, char *where)
{
	must(mmap(where, 4 * HUGE, RW, MAP_SHARED | MAP_FIXED, fd, 0) == where, "mmap");
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *room = mmap(NULL, 6 * HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must(room != MAP_FAILED, "mmap");
	char *aligned = (char *)(((unsigned long)room + HUGE - 1) & -(unsigned long)HUGE);
	bug(opened("huge"), wrong ? aligned + PAGE : aligned);
	return 0;
}

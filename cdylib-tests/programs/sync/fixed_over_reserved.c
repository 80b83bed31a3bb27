/* Maps the file over a range that it keeps reserved, as allocators do: at no moment may that be nobody's. For
 * tests/traced.rs, under strace. Started as PROGRAM in a scene. */
#include "common.h"

#define RW (PROT_READ | PROT_WRITE)

int main(void)
{
	int fd = open("file", O_RDWR);
	char *room = mmap(NULL, 16 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (room == MAP_FAILED)
		die("mmap");
	dprintf(STDOUT_FILENO, "room %p\n", room);
	/* Over a reservation, over itself, over the end of one and the beginning of nothing's. */
	char *over[] = {room, room, room + 2 * PAGE, room + 8 * PAGE};
	for (size_t i = 0; i < sizeof over / sizeof *over; i++)
		if (mmap(over[i], 4 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 0) != over[i])
			die("mmap over it");
	if (mmap(room, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) != room ||
	    mmap(room + PAGE, PAGE, RW, MAP_SHARED_VALIDATE | MAP_FIXED, fd, PAGE) != room + PAGE)
		die("mmap of a page");
	room[8 * PAGE] = '!';
	return msync(room, 16 * PAGE, MS_SYNC) ? 1 : 0;
}

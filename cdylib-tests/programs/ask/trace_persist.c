/* One call of daxshim_persist between two breakpoints, for the tracer of tests/ask.rs: the first shows it the address
 * of the mapping, the second the result. Started as PROGRAM SYMBOL DIR CASE. */
#include "common.h"
#include "daxshim.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	const char *which = argc > 3 ? argv[3] : "";
	int fd = open("file", O_RDWR);
	char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), *from = p;
	size_t length = 4 * PAGE;

	for (long i = 0; i < 4; i++)
		p[i * PAGE] = '!';
	/* So that the call under test finds what a second one finds. */
	daxshim_persist(p, 1);
	if (!strcmp(which, "line"))
		from = p + PAGE + 70, length = 3;
	if (!strcmp(which, "two lines"))
		from = p + PAGE + 127, length = 2;
	if (!strcmp(which, "two pages"))
		from = p + 2 * PAGE - 1, length = 66;
	if (!strcmp(which, "hole")) {
		munmap(p + 2 * PAGE, PAGE);
		from = p + 2 * PAGE - 1, length = PAGE + 2;
	}
	if (!strcmp(which, "kernel first")) {
		mmap(p, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		from = p + 100, length = PAGE;
	}

	__asm__ volatile("int3" ::"D"(p), "S"(length), "d"(from) : "memory");
	long result = daxshim_persist(from, length) ? errno : 0;
	__asm__ volatile("int3" ::"a"(result) : "memory");
	return end();
}

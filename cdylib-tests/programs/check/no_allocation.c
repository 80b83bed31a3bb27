/* As `redundant`, but whoever allocates within a call that is looked at ends the program. */
#include "check.h"

static volatile bool inside;
static char room[1 << 20];
static size_t used;

void *malloc(size_t size)
{
	if (inside)
		abort();
	size_t at = used;
	used += (size + 63) & ~63UL;
	return used <= sizeof room ? room + at : NULL;
}

void *calloc(size_t count, size_t size)
{
	return malloc(count * size);
}

void *realloc(void *old, size_t size)
{
	void *new = malloc(size);
	if (new && old)
		memcpy(new, old, size);
	return new;
}

void free(void *old)
{
	(void)old;
	if (inside)
		abort();
}

static NOINLINE void bug(char *p)
{
	inside = true;
	sync_range(p, 4);
	inside = false;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	char *p = mapped("file", 4);
	p[3 * PAGE] ^= 1;
	sync_range(p, 4);
	for (int i = 0; i < 3; i++) {
		if (!wrong)
			p[PAGE * i] ^= 1;
		bug(p);
	}
	inside = true;
	must(munmap(p, 4 * PAGE) == 0, "munmap");
	inside = false;
	return 0;
}

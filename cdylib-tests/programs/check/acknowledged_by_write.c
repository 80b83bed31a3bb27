#include "check.h"

static NOINLINE void bug(FILE *to)
{
	fputs("OK", to);
	must(fflush(to) == 0, "fflush");
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	int ends[2];
	must(pipe(ends) == 0, "pipe");
	FILE *to = fdopen(ends[1], "w");
	char *p = mapped("file", 4);
	bug(to);
	p[0] ^= 1;
	fputs("what goes to standard error is no answer\n", stderr);
	if (!wrong)
		sync_range(p, 1);
	bug(to);
	if (wrong)
		sync_range(p, 1);
	return 0;
}

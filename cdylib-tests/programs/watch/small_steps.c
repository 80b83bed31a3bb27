/* The file grows by a page at a time, a thousand times: what check keeps of it must not use up the process's mappings. */
#include "../check/check.h"

#define STEPS 1000

static int mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	must(maps, "/proc/self/maps");
	int lines = 0;
	for (int c; (c = getc(maps)) != EOF;)
		lines += c == '\n';
	fclose(maps);
	return lines;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	int fd = opened("file");
	char *p = mapped("file", 4 + STEPS);
	p[0] ^= 1;
	sync_range(p, 1);
	int before = mappings();
	for (int i = 0; i < STEPS; i++) {
		must(ftruncate(fd, (5 + i) * PAGE) == 0, "ftruncate");
		p[(4 + i) * PAGE] = 1;
		if (!wrong || i != 500)
			sync_range(p + (4 + i) * PAGE, 1);
	}
	must(mappings() < before + 20, "mappings");
	return 0;
}

/* Watched are 255 files; `many/N` are 256. */
#include "check.h"

static NOINLINE void bug(int count)
{
	char name[32];
	for (int i = 0; i < count; i++) {
		snprintf(name, sizeof name, "many/%d", i);
		mapped(name, 1);
	}
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	bug(wrong ? 256 : 255);
	return 0;
}

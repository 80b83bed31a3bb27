/* Built for other loaders than glibc's of this machine. Ends with 0 if it was not told to load the library; with
 * `show`, prints what it was told. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
	const char *preload = getenv("LD_PRELOAD");
	if (argc == 2 && !strcmp(argv[1], "show"))
		puts(preload ? preload : "nothing");
	return preload && strstr(preload, "libdaxshim") ? 3 : 0;
}

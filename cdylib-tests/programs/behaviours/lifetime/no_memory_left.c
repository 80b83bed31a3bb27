/* A process that may map no more memory is refused what it was refused before, and nothing fails that did not. */
#include "common.h"
#include <sys/resource.h>

int main(int argc, char **argv)
{
	begin(argc, argv);
	int file = open("file", O_RDWR), here = open(".", O_RDONLY | O_DIRECTORY);
	printf("no more memory\n");
	struct rlimit limit = {1, 1};
	if (setrlimit(RLIMIT_AS, &limit) || mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
		die("setrlimit");
	STEP(rename("file", "new"), "rename");
	STEP(rename("plain", "file"), "rename over it");
	STEP(renameat(here, "file", here, "new"), "renameat");
	STEP(unlink("file"), "unlink");
	STEP(unlinkat(here, "file", 0), "unlinkat");
	STEP(remove("file"), "remove");
	STEP(link("file", "new"), "link");
	STEP(linkat(here, "file", here, "new", 0), "linkat");
	STEP(open("file", O_RDWR | O_TRUNC), "open with O_TRUNC");
	STEP(openat(here, "file", O_RDWR | O_TRUNC), "openat with O_TRUNC");
	STEP(chmod("file", 0600), "chmod");
	STEP(fchmodat(here, "file", 0600, 0), "fchmodat");
	STEP(utimensat(here, "file", NULL, 0), "utimensat");
	STEP(setxattr("file", "user.test", "1", 1, 0), "setxattr");
	STEP(truncate("file", 100), "truncate");
	STEP(write(file, "WXYZ", 4), "write");
	STEP(rename("plain", "new"), "rename of another");
	STEP(rename("missing", "new"), "rename of none");
	STEP(unlink("sub"), "unlink of a directory");
	STEP(unlink("missing/file"), "unlink in none");
	STEP(unlinkat(here, "plain", 0), "unlinkat of another");
	return end();
}

/* Somebody who may not write there gets the EACCES of the kernel, not ours. */
#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	if (setresuid(65534, 65534, 65534))
		die("setresuid");
	keep = true;
	STEP(closing(open("file", O_RDONLY)), "open O_RDONLY");
	STEP(closing(open("file", O_RDWR)), "open O_RDWR");
	STEP(closing(open("file", O_WRONLY | O_TRUNC)), "open O_TRUNC");
	STEP(closing(open("file", O_RDONLY | O_TRUNC)), "open O_RDONLY|O_TRUNC");
	STEP(closing(creat("file", 0600)), "creat");
	STEP(truncate("file", 10), "truncate");
	STEP(unlink("file"), "unlink");
	STEP(rename("file", "new"), "rename");
	STEP(rename("plain", "file"), "rename over it");
	STEP(link("file", "new"), "link");
	STEP(setxattr("file", "user.test", "v", 1, 0), "setxattr");
	STEP(chmod("file", 0600), "chmod");
	STEP(chown("file", 1, 2), "chown");
	STEP(utimes("file", NULL), "utimes, now");
	STEP(utimensat(AT_FDCWD, "file", NULL, 0), "utimensat, now");
	return end();
}

/* One step on the flag of `file`, named by the third argument; prints what it came to. */
#include "inode_flags.h"

static void print(long result)
{
	printf("%ld%s%s\n", result, result ? " " : "", result ? strerrorname_np(errno) : "");
}

int main(int argc, char **argv)
{
	struct fsxattr now = {0};
	begin_alone(argc, argv);
	int fd = opened("file", O_RDWR);
	const char *step = argv[3];
	if (ioctl(fd, FS_IOC_FSGETXATTR, &now))
		die("FS_IOC_FSGETXATTR");
	if (!strcmp(step, "get"))
		puts(now.fsx_xflags & DAX_IMMUTABLE ? "set" : "not set");
	else if (!strcmp(step, "nodefrag"))
		puts(now.fsx_xflags & NODEFRAG ? "set" : "not set");
	else if (!strcmp(step, "set"))
		print(set_tag(fd));
	else if (!strcmp(step, "clear"))
		print(clear_tag(fd));
	else if (!strcmp(step, "nodump"))
		print(change_flags(fd, 0, NODUMP));
	return end();
}

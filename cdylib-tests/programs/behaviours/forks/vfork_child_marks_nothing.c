/* A child of vfork shares the parent's memory, and not its descriptors: what it learns of a number
 * must not be believed in the parent. */
#include "common.h"

static ssize_t (*write_)(int, const void *, size_t);
static int file, plain;

/* The child has plain under the file's number, writes to it, and exits with what that said. */
static int __attribute__((noinline)) plain_for_file(void)
{
	close(file);
	if (open("plain", O_RDWR) != file)
		return 98;
	return write_(file, "WXYZ", 4) == 4 ? 0 : errno;
}

static int __attribute__((noinline)) duplicated(void)
{
	if (dup2(plain, file) != file)
		return 98;
	return write_(file, "WXYZ", 4) == 4 ? 0 : errno;
}

static int __attribute__((noinline)) file_for_plain(void)
{
	if (dup2(file, plain) != plain)
		return 98;
	return write_(plain, "WXYZ", 4) == 4 ? 0 : errno;
}

static long in_vfork(int (*child)(void))
{
	fflush(stdout);
	pid_t pid = vfork();
	if (pid == 0)
		_exit(child());
	return ended(pid);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	write_ = symbol;
	file = open("file", O_RDWR);
	plain = open("plain", O_RDWR);
	for (int i = 0; i < 2; i++) { /* before and after something is known of the numbers */
		STEP(in_vfork(plain_for_file), "plain opened under the file's number, turn %d", i);
		STEP(write_(file, "WXYZ", 4), "the file in the parent, turn %d", i);
		STEP(in_vfork(duplicated), "plain duplicated to the file's number, turn %d", i);
		STEP(write_(file, "WXYZ", 4), "the file in the parent after that, turn %d", i);
		STEP(ftruncate(file, 10), "ftruncate in the parent, turn %d", i);
		STEP(in_vfork(file_for_plain), "the file under plain's number, turn %d", i);
		STEP(write_(plain, "WXYZ", 4), "plain in the parent, turn %d", i);
	}
	return end();
}

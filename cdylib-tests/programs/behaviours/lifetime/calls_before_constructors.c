/* .preinit_array runs before any library's constructor: calls from there reach the kernel, and what
 * they opened and mapped is known for what it is later. */
#include "common.h"

static struct {
	long result;
	int error;
} early[16];
static int count, file, plain, duplicate;
static char *p;

static void note(long result)
{
	early[count].result = result;
	early[count++].error = result == -1 ? errno : 0;
}

/* Started in the scene's directory, as every program is. */
static void before_constructors(void)
{
	note((plain = open("plain", O_RDWR)) >= 0);
	note((file = open("file", O_RDWR)) >= 0);
	note(pwrite(plain, "early", 5, 0));
	note(pwrite(-1, "early", 5, 0));
	note(open((const char *)8, O_RDWR));
	note(ftruncate(plain, PLAIN_SIZE));
	note((duplicate = dup(file)) >= 0);
	note(fcntl(plain, F_GETFL) & O_ACCMODE);
	note((p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0)) != MAP_FAILED);
	note(msync(p, 4 * PAGE, MS_SYNC));
	note(fsync(plain));
	note(open("missing", O_RDWR));
	note(syscall(SYS_pwrite64, plain, "later", 5, 0));
	note(close(dup(plain)));
}

static void (*const preinit)(void) __attribute__((section(".preinit_array"), used)) = before_constructors;

int main(int argc, char **argv)
{
	/* Not begin(), which closes what it was not told of. */
	if (argc < 3)
		exit(2);
	int hidden = raw(SYS_fcntl, file, F_DUPFD, 200);
	dir = argv[2];
	for (int i = 0; i < count; i++)
		printf("early call %d = %ld %s\n", i, early[i].result, early[i].error ? strerrorname_np(early[i].error) : "");
	keep = true;
	for (size_t i = 0; i < WATCHED; i++)
		before[i] = scene[i] = look(watched[i]);
	STEP(pwrite(file, "WXYZ", 4, 0), "the file, opened early");
	STEP(pwrite(duplicate, "WXYZ", 4, 0), "its duplicate");
	STEP(pwrite(dup(file), "WXYZ", 4, 0), "a later duplicate");
	STEP(pwrite(hidden, "WXYZ", 4, 0), "one behind the hooks");
	STEP(ftruncate(file, FILE_SIZE), "ftruncate");
	STEP(pwrite(plain, "pp", 2, 0), "plain, opened early");
	STEP(msync(p, 4 * PAGE, MS_SYNC), "msync of the early mapping");
	STEP(munmap(p, 4 * PAGE), "munmap of it");
	return end();
}

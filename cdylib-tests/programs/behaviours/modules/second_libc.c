/* A libc of another namespace, which no symbol of the library's is in front of. */
#include "modules.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	keep = true;
	char *early = map("file");
	void *libc = dlmopen(LM_ID_NEWLM, "libc.so.6", RTLD_NOW);
	if (!libc)
		die(dlerror());
	int (*munmap_)(void *, size_t) = find(libc, "munmap");
	int (*mprotect_)(void *, size_t, int) = find(libc, "mprotect");
	int (*dup2_)(int, int) = find(libc, "dup2");
	int (*close_)(int) = find(libc, "close");
	int (*open_)(const char *, int, ...) = find(libc, "open");
	ssize_t (*write_)(int, const void *, size_t) = find(libc, "write");
	long (*syscall_)(long, ...) = find(libc, "syscall");
	int *(*errno_)(void) = find(libc, "__errno_location");
	int file = open("file", O_RDWR), plain = open("plain", O_RDWR);
	char *p = map("file");
#define THERE(call) (*errno_() = NO_ERROR, result = (call), errno = *errno_(), result)
	long result;

	STEP(munmap_(early, PAGE), "munmap");
	STEP(msync(early, FILE_SIZE, MS_SYNC), "msync over the hole");
	STEP(mprotect_(p, PAGE, PROT_NONE), "mprotect");
	STEP(msync(p, FILE_SIZE, MS_SYNC), "msync");
	STEP(THERE(syscall_(SYS_munmap, p, PAGE)), "syscall(SYS_munmap)");
	STEP(msync(p, FILE_SIZE, MS_SYNC), "msync over the hole");
	STEP(THERE(write_(file, "WXYZ", 4)), "write");
	STEP(THERE(syscall_(SYS_write, file, "WXYZ", 4)), "syscall(SYS_write)");
	STEP(THERE(open_("file", O_RDWR | O_TRUNC)), "open with O_TRUNC");
	STEP(write(plain, "plain", 5), "write to plain");
	STEP(dup2_(file, plain) == plain, "the file takes its number");
	STEP(pwrite(plain, "WXYZ", 4, 0), "the first libc's pwrite to it");
	plain = open("plain", O_RDWR);
	STEP(write(plain, "plain", 5), "write to another plain");
	STEP(close_(plain), "close it");
	STEP(raw(SYS_openat, AT_FDCWD, "file", O_RDWR, 0) == plain, "the file takes that number");
	STEP(pwrite(plain, "WXYZ", 4, 0), "its pwrite to that");
	return end();
}

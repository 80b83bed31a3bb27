/* Calls that change mappings, looked up in libc itself, past the library's symbols. */
#include "modules.h"
#include <sys/shm.h>

int main(int argc, char **argv)
{
	begin(argc, argv);
	keep = true;
	void *libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
	int (*munmap_)(void *, size_t) = find(libc, "munmap");
	int (*mprotect_)(void *, size_t, int) = find(libc, "mprotect");
	int (*pkey_mprotect_)(void *, size_t, int, int) = find(libc, "pkey_mprotect");
	void *(*mremap_)(void *, size_t, size_t, int, ...) = find(libc, "mremap");
	void *(*mmap_)(void *, size_t, int, int, int, off_t) = find(libc, "mmap");
	int (*remap_file_pages_)(void *, size_t, int, size_t, int) = find(libc, "remap_file_pages");
	void *(*shmat_)(int, const void *, int) = find(libc, "shmat");
	long (*syscall_)(long, ...) = find(libc, "syscall");
	char *p = map("file");

	STEP(munmap_(p + PAGE, PAGE), "munmap");
	STEP(msync(p, FILE_SIZE, MS_SYNC), "msync over the hole");
	STEP(munmap(p, FILE_SIZE), "munmap by its symbol");
	p = map("file");
	STEP(syscall_(SYS_munmap, p + PAGE, PAGE), "syscall(SYS_munmap)");
	STEP(msync(p, FILE_SIZE, MS_SYNC), "msync over the hole");
	munmap(p, FILE_SIZE);
	p = map("file");
	STEP(mprotect_(p, PAGE, PROT_NONE), "mprotect");
	STEP(msync(p, FILE_SIZE, MS_SYNC), "msync");
	STEP(mprotect_(p, PAGE, PROT_READ | PROT_WRITE), "mprotect");
	STEP(pkey_mprotect_(p, PAGE, PROT_NONE, -1), "pkey_mprotect without a key");
	STEP(msync(p, FILE_SIZE, MS_SYNC), "msync");
	STEP(mprotect_(p, PAGE, PROT_READ | PROT_WRITE), "mprotect");
	STEP(pkey_mprotect_(p, PAGE, PROT_NONE, 0), "pkey_mprotect with the first key");
	STEP(msync(p, FILE_SIZE, MS_SYNC), "msync");
	munmap(p, FILE_SIZE);
	p = map("file");
	char *moved = mremap_(p, FILE_SIZE, 2 * FILE_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, mmap(NULL, 2 * FILE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	STEP(moved != MAP_FAILED && moved != p, "mremap");
	STEP(msync(p, FILE_SIZE, MS_SYNC), "msync where it was");
	STEP(msync(moved, FILE_SIZE, MS_SYNC), "msync where it is");
	munmap(moved, 2 * FILE_SIZE);
	p = map("file");
	int plain = open("plain", O_RDWR);
	STEP(mmap_(p, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, plain, 0) == p, "mmap of plain over it");
	STEP(is_the_kernels(p), "its sync is the kernel's");
	STEP(mmap_(p + PAGE, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == p + PAGE, "mmap of nothing over it");
	STEP(msync(p, FILE_SIZE, MS_SYNC), "msync");
	munmap(p, FILE_SIZE);
	p = map("file");
	STEP(remap_file_pages_(p, PAGE, 0, 1, 0), "remap_file_pages");
	STEP(is_the_kernels(p), "its sync is the kernel's");
	STEP(msync(p, FILE_SIZE, MS_SYNC), "msync");
	munmap(p, FILE_SIZE);
	p = map("file");
	int segment = shmget(IPC_PRIVATE, PAGE + 1, 0600 | IPC_CREAT);
	STEP(shmat_(segment, p, SHM_REMAP) == p, "shmat over it");
	STEP(is_the_kernels(p) + is_the_kernels(p + PAGE), "their sync is the kernel's");
	STEP(shmdt(p), "shmdt");
	STEP(msync(p, FILE_SIZE, MS_SYNC), "msync over the hole");
	shmctl(segment, IPC_RMID, NULL);
	return end();
}

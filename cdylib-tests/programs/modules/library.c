/* Calls libc as any library does; loaded with RTLD_DEEPBIND its calls go past the library's symbols. */
#include <sys/mman.h>
#include <unistd.h>

int library_munmap(void *address, size_t length)
{
	return munmap(address, length);
}

void *library_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
	return mmap(address, length, protection, flags, fd, offset);
}

ssize_t library_pwrite(int fd, const void *bytes, size_t length, off_t offset)
{
	return pwrite(fd, bytes, length, offset);
}

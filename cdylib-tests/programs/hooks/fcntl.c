#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*fcntl_)(int, int, ...) = symbol;
	open_descriptors();
	FOR_DESCRIPTORS(d) {
		int fd = -1;
		STEP(fd = fcntl_(d->fd, F_DUPFD, 60), "F_DUPFD %s", d->name);
		if (fd >= 0) {
			STEP(write(fd, "WXYZ", 4), "write to F_DUPFD of %s", d->name);
			STEP(close(fd), "close F_DUPFD of %s", d->name);
		}
		STEP(fd = fcntl_(d->fd, F_DUPFD_CLOEXEC, 60), "F_DUPFD_CLOEXEC %s", d->name);
		if (fd >= 0) {
			STEP(fcntl_(fd, F_GETFD), "F_GETFD of F_DUPFD_CLOEXEC of %s", d->name);
			STEP(ftruncate(fd, 10), "ftruncate F_DUPFD_CLOEXEC of %s", d->name);
			STEP(close(fd), "close F_DUPFD_CLOEXEC of %s", d->name);
		}
		STEP(fcntl_(d->fd, F_GETFL) & O_ACCMODE, "F_GETFL %s, the access mode", d->name);
	}
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10};
	STEP(fcntl_(FD(RDWR), F_SETLK, &lock), "F_SETLK");
	STEP(fcntl_(FD(RDONLY), F_SETLK, &lock), "F_SETLK for writing on O_RDONLY");
	STEP(IN_CHILD(fcntl_(FD(RDWR), F_SETLK, &lock)), "F_SETLK in a child");
	STEP(fcntl_(FD(RDWR), F_GETLK, &lock), "F_GETLK");
	STEP(fcntl_(FD(RDWR), F_GETLK, (void *)8), "F_GETLK to a bad pointer");
	lock.l_type = F_UNLCK;
	STEP(fcntl_(FD(RDWR), F_SETLKW, &lock), "F_SETLKW, unlock");
	lock.l_type = F_RDLCK;
	lock.l_pid = 0;
	STEP(fcntl_(FD(RDWR), F_OFD_SETLK, &lock), "F_OFD_SETLK");
	STEP(fcntl_(FD(RDWR), F_SETFL, O_APPEND), "F_SETFL O_APPEND");
	STEP(fcntl_(FD(RDWR), F_GETFL) & (O_ACCMODE | O_APPEND), "F_GETFL");
	STEP(write(FD(RDWR), "WXYZ", 4), "write after F_SETFL");
	STEP(fcntl_(FD(RDWR), F_SETFD, FD_CLOEXEC), "F_SETFD");
	STEP(fcntl_(FD(RDWR), F_GETFD), "F_GETFD");
	STEP(fcntl_(FD(RDWR), F_DUPFD, -1), "F_DUPFD from -1");
	STEP(fcntl_(FD(RDWR), F_DUPFD, INT_MAX), "F_DUPFD from INT_MAX");
	STEP(fcntl_(FD(PIPE), F_GETPIPE_SZ) > 0, "F_GETPIPE_SZ is positive");
	STEP(fcntl_(FD(PIPE), F_SETPIPE_SZ, 8192), "F_SETPIPE_SZ");
	STEP(fcntl_(FD(RDONLY), F_GETLEASE), "F_GETLEASE");
	STEP(fcntl_(FD(RDWR), 9999), "no such command");
	STEP(fcntl_(FD(RDWR), -1), "command -1");
	return end();
}

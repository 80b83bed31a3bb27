/* dprintf writes from inside libc. */
#include "common.h"

static int vd(int fd, const char *format, ...)
{
	va_list list;
	va_start(list, format);
	int result = vdprintf(fd, format, list);
	va_end(list);
	return result;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*dprintf_)(int, const char *, ...) = symbol;
	open_descriptors();
	FOR_DESCRIPTORS(d) {
		STEP(dprintf_(d->fd, "%s%d", "WX", 12), "dprintf to %s", d->name);
		STEP(vd(d->fd, "%s%d", "WX", 12), "vdprintf to %s", d->name);
	}
	return end();
}

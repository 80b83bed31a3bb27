/* Files that XFS's requests name by handle: their attributes set and removed, and a descriptor handed out.
 * On other filesystems nothing has handles of that kind. */
#include "common.h"
#include <sys/ioctl.h>

static int (*call)(int, unsigned long, ...);

/* xfs_fs.h */
struct handle_request {
	uint32_t fd;
	const void *path;
	uint32_t flags;
	void *in;
	uint32_t in_length;
	void *out;
	uint32_t *out_length;
};
struct operation {
	uint32_t what;
	int32_t error;
	const char *name;
	void *value;
	uint32_t length, flags;
};
struct attributes {
	struct handle_request request;
	uint32_t count;
	struct operation *operations;
};
#define FD_TO_HANDLE 0xc038586a
#define OPEN_BY_HANDLE 0xc038586b
#define ATTRMULTI_BY_HANDLE 0x4048587b
#define FSSETDM_BY_HANDLE 0x40405879
enum { GET = 1, SET, REMOVE };

struct handle {
	char bytes[24];
	uint32_t length;
};

static struct handle handle_of(int fd)
{
	struct handle handle = {.length = sizeof handle.bytes};
	struct handle_request request = {.fd = fd, .out = handle.bytes, .out_length = &handle.length};
	raw(SYS_ioctl, fd, FD_TO_HANDLE, &request);
	return handle;
}

static long attributes(int directory, struct handle handle, uint32_t count, struct operation *operations)
{
	struct attributes argument = {
	    .request = {.in = handle.bytes, .in_length = handle.length}, .count = count, .operations = operations};
	return call(directory, ATTRMULTI_BY_HANDLE, &argument);
}

static long one(struct handle handle, int what, const char *name)
{
	char value[16] = "new";
	struct operation operation = {.what = what, .name = name, .value = value, .length = what == GET ? sizeof value : 3};
	long result = attributes(DIR_FD, handle, 1, &operation);
	return result ? result : labs(operation.error); /* the sign differs between kernels */
}

static void of(const char *name, int fd)
{
	struct handle handle = handle_of(fd), bad = handle;
	/* Linux 6.12 does not survive a value without room for it. */
	char room[16];
	struct operation two[2] = {{.what = GET, .name = "present", .value = room, .length = sizeof room},
	                           {.what = REMOVE, .name = "present"}};
	bad.length--;
	STEP(one(handle, GET, "present"), "get of %s", name);
	STEP(one(handle, SET, "test"), "set of %s", name);
	STEP(one(handle, REMOVE, "present"), "remove of %s", name);
	STEP(one(handle, 77, "present"), "nothing known of %s", name);
	STEP(one(bad, SET, "test"), "set of %s, a bad handle", name);
	STEP(attributes(DIR_FD, handle, 2, two), "get and remove of %s", name);
	STEP(attributes(DIR_FD, handle, 0, two), "none of %s", name);
	STEP(attributes(DIR_FD, handle, 3000, two), "too many of %s", name);
	STEP(attributes(DIR_FD, handle, 1, (void *)8), "set of %s at a bad pointer", name);
	STEP(attributes(FILE_FD, handle, 1, two + 1), "remove of %s, no directory", name);
	STEP(call(DIR_FD, ATTRMULTI_BY_HANDLE, 8), "an argument of %s at a bad pointer", name);
	struct handle_request request = {.flags = O_RDWR, .in = handle.bytes, .in_length = handle.length};
	/* Under a number that is known, and was closed by nobody that we see. */
	int known = raw(SYS_openat, AT_FDCWD, "plain", O_RDWR, 0), opened;
	STEP(write(known, "", 0), "a write of nothing");
	raw(SYS_close, known);
	STEP((opened = call(DIR_FD, OPEN_BY_HANDLE, &request)) == known, "open of %s", name);
	if (opened < 0)
		return;
	STEP(write(opened, "WXYZ", 4), "write to %s", name);
	close(opened);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	call = symbol;
	open_descriptors();
	struct handle handle = handle_of(FILE_FD);
	printf("%s\n", memcmp(handle.bytes, (char[24]){0}, sizeof handle.bytes) ? "handles" : "no handles");
	of("file", FILE_FD);
	of("plain", FD(PLAIN));
	return end();
}

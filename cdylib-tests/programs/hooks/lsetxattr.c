#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*lsetxattr_)(const char *, const char *, const void *, size_t, int) = symbol;
	static char big[XATTR_SIZE_MAX + 1], long_name[300] = "user.";
	memset(long_name + 5, 'x', sizeof long_name - 6);
	FOR_ROUTES(r) {
		STEP(lsetxattr_(r->path, "user.test", "v", 1, 0), "user. %s", r->name);
		STEP(lsetxattr_(r->path, "trusted.test", "v", 1, 0), "trusted. %s", r->name);
	}
	STEP(lsetxattr_("file", "user.present", "yes", 3, 0), "the value it has");
	STEP(lsetxattr_("file", "user.present", "no", 2, XATTR_REPLACE), "XATTR_REPLACE");
	STEP(lsetxattr_("file", "user.present", "no", 2, XATTR_CREATE), "XATTR_CREATE of one that exists");
	STEP(lsetxattr_("file", "user.test", "no", 2, XATTR_REPLACE), "XATTR_REPLACE of none");
	STEP(lsetxattr_("file", "user.test", NULL, 0, 0), "empty value");
	STEP(lsetxattr_("file", "user.test", (void *)8, 1, 0), "value at a bad pointer");
	STEP(lsetxattr_("file", "user.test", big, sizeof big, 0), "value too big");
	STEP(lsetxattr_("file", NULL, "v", 1, 0), "name NULL");
	STEP(lsetxattr_("file", (char *)8, "v", 1, 0), "name at a bad pointer");
	STEP(lsetxattr_("file", "", "v", 1, 0), "name empty");
	STEP(lsetxattr_("file", long_name, "v", 1, 0), "name too long");
	STEP(lsetxattr_("file", "user.test", "v", 1, 4), "bad flags");
	STEP(lsetxattr_("file", "nonsense", "v", 1, 0), "no such namespace");
	return end();
}

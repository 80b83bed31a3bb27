#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	int (*setxattr_)(const char *, const char *, const void *, size_t, int) = symbol;
	static char big[XATTR_SIZE_MAX + 1], long_name[300] = "user.";
	memset(long_name + 5, 'x', sizeof long_name - 6);
	FOR_ROUTES(r) {
		STEP(setxattr_(r->path, "user.test", "v", 1, 0), "user. %s", r->name);
		STEP(setxattr_(r->path, "trusted.test", "v", 1, 0), "trusted. %s", r->name);
	}
	STEP(setxattr_("file", "user.present", "yes", 3, 0), "the value it has");
	STEP(setxattr_("file", "user.present", "no", 2, XATTR_REPLACE), "XATTR_REPLACE");
	STEP(setxattr_("file", "user.present", "no", 2, XATTR_CREATE), "XATTR_CREATE of one that exists");
	STEP(setxattr_("file", "user.test", "no", 2, XATTR_REPLACE), "XATTR_REPLACE of none");
	STEP(setxattr_("file", "user.test", NULL, 0, 0), "empty value");
	STEP(setxattr_("file", "user.test", (void *)8, 1, 0), "value at a bad pointer");
	STEP(setxattr_("file", "user.test", big, sizeof big, 0), "value too big");
	STEP(setxattr_("file", NULL, "v", 1, 0), "name NULL");
	STEP(setxattr_("file", (char *)8, "v", 1, 0), "name at a bad pointer");
	STEP(setxattr_("file", "", "v", 1, 0), "name empty");
	STEP(setxattr_("file", long_name, "v", 1, 0), "name too long");
	STEP(setxattr_("file", "user.test", "v", 1, 4), "bad flags");
	STEP(setxattr_("file", "nonsense", "v", 1, 0), "no such namespace");
	return end();
}

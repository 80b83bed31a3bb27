#include "common.h"

static const struct {
	const char *name;
	int flags;
} cases[] = {
	{"RWF_HIPRI", 1},  {"RWF_DSYNC", 2},     {"RWF_SYNC", 4},
	{"RWF_APPEND", 0x10}, {"RWF_NOAPPEND", 0x20},
	{"RWF_ATOMIC", 0x40}, {"an unknown flag", 0x40000000},
};

int main(int argc, char **argv)
{
	begin(argc, argv);
	ssize_t (*pwritev2_)(int, const struct iovec *, int, off_t, int) = symbol;
	struct iovec two[] = {{"WX", 2}, {"YZ", 2}}, none[] = {{"", 0}}, negative[] = {{"WXYZ", SIZE_MAX}};
	open_descriptors();
	FOR_DESCRIPTORS(d) {
		STEP(pwritev2_(d->fd, two, 2, 100, 0), "2 + 2 bytes at 100 to %s", d->name);
		STEP(pwritev2_(d->fd, two, 2, -1, 0), "2 + 2 bytes at the position to %s", d->name);
		STEP(pwritev2_(d->fd, two, 2, -2, 0), "2 + 2 bytes at -2 to %s", d->name);
		STEP(pwritev2_(d->fd, none, 1, 0, 0), "an empty vector element to %s", d->name);
		STEP(pwritev2_(d->fd, two, -1, 0, 0), "-1 elements to %s", d->name);
		STEP(pwritev2_(d->fd, (struct iovec *)8, 2, 0, 0), "vector at a bad pointer to %s", d->name);
		STEP(pwritev2_(d->fd, negative, 1, -1, 0), "negative length to %s", d->name);
	}
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		STEP(pwritev2_(FD(RDWR), two, 2, 100, cases[i].flags), "%s", cases[i].name);
		STEP(pwritev2_(FD(PLAIN), two, 2, 10, cases[i].flags), "%s to plain", cases[i].name);
		STEP(pwritev2_(FD(RDONLY), two, 2, 10, cases[i].flags), "%s to O_RDONLY", cases[i].name);
	}
	STEP(lseek(FD(RAW), 0, SEEK_CUR), "position");
	STEP(IN_CHILD(pwritev2_(FD(RDWR), two, 2, 0, 0)), "O_RDWR inherited by a child");
	return end();
}

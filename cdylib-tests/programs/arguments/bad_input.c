/* Bad arguments to one function, in a thread with the smallest stack there is: what comes of it is
 * what the kernel answers, never a crash.
 *
 * Started as PROGRAM SYMBOL DIR SIGNATURE…. A signature is words with a space in between: what the
 * function returns (int, long, fd, map), then for each argument either a number, or a word below. Of
 * those words, one after another takes its bad values, while the others keep their good one. */
#include "common.h"

#define UNMAPPED_PAGES 4
enum { GOOD_FD = 110, SPARE_FD = 111, PIPE_OUT, PIPE_IN, SOCKET, SOCKET_PEER };

static char *unmapped; /* behind two pages, before more that stay so */
static char *mapping;  /* of the file, four pages, anew for each call */

struct values {
	const char *name;
	long good;
	struct {
		const char *name;
		long value;
	} bad[16];
};

#define KERNEL ((long)0xffff800000000000)
#define WILD {"NULL", 0}, {"8", 8}, {"kernel", KERNEL}, {"unmapped", 0}, {"cut off", 0}
#define NUMBERS                                                                                                        \
	{"-1", -1}, {"INT_MIN", INT_MIN}, {"INT_MAX", INT_MAX}, {"1 << 20", 1 << 20}, {"AT_FDCWD", AT_FDCWD},          \
		{"closed", CLOSED_FD}

static struct values kinds[] = {
	{"fd", GOOD_FD, {NUMBERS}},
	{"new", SPARE_FD, {{"-1", -1}, {"INT_MIN", INT_MIN}, {"INT_MAX", INT_MAX}, {"AT_FDCWD", AT_FDCWD}}},
	{"pipe", PIPE_IN, {NUMBERS}},
	{"socket", SOCKET, {NUMBERS}},
	{"dirfd", AT_FDCWD, {{"-1", -1}, {"INT_MIN", INT_MIN}, {"INT_MAX", INT_MAX}, {"closed", CLOSED_FD}, {"file", FILE_FD}}},
	{"path", 0, {WILD, {"PATH_MAX, cut off", 0}, {"longer, cut off", 0}, {"longer", 0}, {"empty", (long)""}}},
	{"target", 0, {WILD, {"PATH_MAX, cut off", 0}, {"longer, cut off", 0}, {"longer", 0}, {"empty", (long)""}}},
	{"name", (long)"user.test", {WILD, {"empty", (long)""}, {"longer", 0}}},
	{"buffer", 0, {WILD}},
	{"struct", 0, {WILD}},
	{"maybe", 0, {{"8", 8}, {"kernel", KERNEL}, {"unmapped", 0}, {"cut off", 0}}},
	{"iovec", 0, {WILD, {"of bad buffers", 0}}},
	{"size", 16, {{"SIZE_MAX", -1}, {"LONG_MIN", LONG_MIN}}},
	{"count", 1, {{"-1", -1}, {"IOV_MAX + 1", IOV_MAX + 1}, {"INT_MIN", INT_MIN}}},
	{"offset", 0, {{"-1", -1}, {"LONG_MIN", LONG_MIN}, {"LONG_MAX", LONG_MAX}}},
	{"flags", 0, {{"1 << 30", 1 << 30}, {"-1", -1}}},
	{"mapping", 0, {{"NULL", 0}, {"8", 8}, {"kernel", KERNEL}, {"unmapped", 0}, {"odd", 0}}},
	/* Behind a mapping are others, which a long range would take away from the program. */
	{"span", PAGE, {{"SIZE_MAX", -1}, {"0", 0}}},
	{"length", PAGE, {{"SIZE_MAX", -1}, {"LONG_MIN", LONG_MIN}, {"0", 0}}},
};
#define FOR_KINDS(k) for (struct values *k = kinds; k < kinds + sizeof kinds / sizeof *kinds; k++)

static long *bad_value(struct values *kind, const char *name)
{
	for (int i = 0; i < 16 && kind->bad[i].name; i++)
		if (!strcmp(kind->bad[i].name, name))
			return &kind->bad[i].value;
	return NULL;
}

static void set(const char *kind, const char *name, void *value)
{
	FOR_KINDS(k) {
		long *where = bad_value(k, name);
		if (where && (!kind || !strcmp(k->name, kind)))
			*where = (long)value;
	}
}

/* Bytes that end where memory ends. */
static char *cut_off(size_t length)
{
	return unmapped - length;
}

static void prepare(void)
{
	static char buffer[8 * PAGE], longer[2 * PATH_MAX], long_name[300];
	static struct iovec vector[2] = {{buffer, 8}, {buffer, 8}}, bad_vector[2] = {{buffer, 8}, {(void *)8, 8}};
	char *pages = mmap(NULL, (4 + UNMAPPED_PAGES) * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages == MAP_FAILED)
		die("mmap");
	/* Addresses that mmap would take again for the next mapping are none: PROT_NONE faults as well. */
	if (mprotect(pages + 4 * PAGE, UNMAPPED_PAGES * PAGE, PROT_NONE))
		die("mprotect");
	unmapped = pages + 4 * PAGE;
	memset(pages, '/', 4 * PAGE);
	memset(longer, '/', sizeof longer - 5);
	strcpy(longer + sizeof longer - 5, "file");
	memset(long_name, 'x', sizeof long_name - 1);
	memcpy(long_name, "user.", 5);
	set(NULL, "unmapped", unmapped);
	set(NULL, "cut off", cut_off(4));
	set(NULL, "PATH_MAX, cut off", cut_off(PATH_MAX));
	set(NULL, "longer, cut off", cut_off(PATH_MAX + 100));
	set(NULL, "longer", longer);
	set("name", "longer", long_name);
	set("iovec", "of bad buffers", bad_vector);
	FOR_KINDS(k) {
		if (!strcmp(k->name, "path"))
			k->good = (long)"file";
		else if (!strcmp(k->name, "target"))
			k->good = (long)"new";
		else if (!strcmp(k->name, "iovec"))
			k->good = (long)vector;
		else if (!strcmp(k->name, "buffer") || !strcmp(k->name, "struct"))
			k->good = (long)buffer;
	}
}

/* What each call finds: the same descriptors, the same mapping. */
static void renew(void)
{
	int ends[2];
	raw_open_as(GOOD_FD, "file", O_RDWR);
	raw(SYS_close, SPARE_FD);
	if (pipe(ends) || raw(SYS_dup3, ends[0], PIPE_OUT, 0) < 0 || raw(SYS_dup3, ends[1], PIPE_IN, 0) < 0)
		die("pipe");
	raw(SYS_fcntl, PIPE_OUT, F_SETFL, O_NONBLOCK);
	raw(SYS_fcntl, PIPE_IN, F_SETFL, O_NONBLOCK);
	raw(SYS_close, ends[0]);
	raw(SYS_close, ends[1]);
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, ends) || raw(SYS_dup3, ends[0], SOCKET, 0) < 0 ||
	    raw(SYS_dup3, ends[1], SOCKET_PEER, 0) < 0)
		die("socketpair");
	raw(SYS_close, ends[0]);
	raw(SYS_close, ends[1]);
	raw(SYS_write, SOCKET_PEER, "hello", 5);
	mapping = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, GOOD_FD, 0);
	if (mapping == MAP_FAILED)
		die("mmap");
}

/* ---- one call ---- */

static const char *returns;
static long arguments_[6], result;
static int error;

static void *calling(void *unused UNUSED)
{
	typedef long function(long, long, long, long, long, long);
	long *a = arguments_;
	errno = NO_ERROR;
	result = ((function *)symbol)(a[0], a[1], a[2], a[3], a[4], a[5]);
	error = errno;
	if (strcmp(returns, "long") && strcmp(returns, "map"))
		result = (int)result;
	return NULL;
}

static void call(const char *what, const char *bad)
{
	pthread_attr_t attributes;
	pthread_t thread;
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, PTHREAD_STACK_MIN);
	if (pthread_create(&thread, &attributes, calling, NULL) || pthread_join(thread, NULL))
		die("pthread_create");
	pthread_attr_destroy(&attributes);
	if (!strcmp(returns, "map") && result != -1) {
		raw(SYS_munmap, result, PAGE);
		result = 0;
	}
	if (!strcmp(returns, "fd") && result > 2 && result < FILE_FD)
		raw(SYS_close, result);
	/* What is left of it, or what was put there. */
	raw(SYS_munmap, mapping, 4 * PAGE);
	step(result, error, "%s, %s", what, bad);
}

static struct values *kind_of(const char *word)
{
	FOR_KINDS(k)
		if (!strcmp(k->name, word))
			return k;
	return NULL;
}

static void try_signature(const char *signature)
{
	char words[256], *list[7] = {0}, *rest = words;
	int n = 0;
	snprintf(words, sizeof words, "%s", signature);
	for (char *word; n < 7 && (word = strsep(&rest, " "));)
		list[n++] = word;
	returns = list[0];
	for (int bad = 1; bad < n; bad++) {
		struct values *kind = kind_of(list[bad]);
		for (int i = 0; kind && i < 16 && kind->bad[i].name; i++) {
			char what[300];
			renew();
			for (int j = 1; j < n; j++) {
				struct values *other = kind_of(list[j]);
				arguments_[j - 1] = !other                       ? strtol(list[j], NULL, 0)
				                    : !strcmp(list[j], "mapping") ? (long)mapping
				                                                  : other->good;
			}
			arguments_[bad - 1] = !strcmp(kind->bad[i].name, "odd") ? (long)mapping + 1 : kind->bad[i].value;
			snprintf(what, sizeof what, "%s: argument %d", signature, bad);
			call(what, kind->bad[i].name);
		}
	}
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	prepare();
	for (int i = 3; i < argc; i++)
		try_signature(argv[i]);
	return end();
}

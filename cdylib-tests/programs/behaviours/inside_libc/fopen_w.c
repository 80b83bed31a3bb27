/* fopen("w") truncates: refused, by whatever name, and nothing changed. */
#include "common.h"

static int shut(FILE *stream)
{
	return stream ? fclose(stream) : -1;
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	FILE *(*fopen_)(const char *, const char *) = symbol;
	static const char *const modes[] = {"w", "w+", "wb", "we", "w,ccs=UTF-8", "wx", "r", "r+", "a", "a+", "q", ""};
	/* Whoever is first has the conversions looked for, on much of the stack. */
	shut(fopen_("/dev/null", "w,ccs=UTF-8"));
	for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
		STEP(shut(fopen_("file", modes[i])), "file \"%s\"", modes[i]);
		STEP(shut(fopen_("plain", modes[i])), "plain \"%s\"", modes[i]);
		STEP(shut(fopen_("new", modes[i])), "new \"%s\"", modes[i]);
	}
	FOR_ROUTES(r)
		if (r->path)
			STEP(shut(fopen_(r->path, "w")), "\"w\" %s", r->name);
	return end();
}

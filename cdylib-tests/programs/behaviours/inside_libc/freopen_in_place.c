/* freopen puts another file under the stream's number, by dup2 inside libc: what was known of that
 * number is not true any more. */
#include "common.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	for (int i = 0; i < 2; i++) {
		const char *from = i ? "file" : "plain", *to = i ? "plain" : "file";
		FILE *stream = fopen(from, "r+");
		int fd = fileno(stream);
		STEP(write(fd, "1234", 4), "turn %d: to %s", i, from);
		STEP(freopen(to, "r+", stream) != stream, "turn %d: freopen %s", i, to);
		STEP(fileno(stream) - fd, "turn %d: the number changed by", i);
		STEP(fputs("WXYZ", stream) < 0, "turn %d: fputs", i);
		STEP(fflush(stream), "turn %d: fflush", i);
		STEP(write(fd, "WXYZ", 4), "turn %d: write", i);
		STEP(ftruncate(fd, 10), "turn %d: ftruncate", i);
		fclose(stream);
	}
	return end();
}

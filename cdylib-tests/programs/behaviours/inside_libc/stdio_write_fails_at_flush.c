/* Streams on a tagged file take data into their buffer; the flush fails, and nothing changed. */
#include "common.h"

static void print(FILE *stream, const char *mode, const char *how)
{
	static char much[10000];
	memset(much, 'm', sizeof much);
	if (!stream)
		die(mode);
	STEP(fwrite("WXYZ", 1, 4, stream), "fwrite, %s \"%s\"", how, mode);
	STEP(fflush(stream), "fflush, %s \"%s\"", how, mode);
	STEP(ferror(stream) != 0, "ferror, %s \"%s\"", how, mode);
	STEP(fclose(stream), "fclose, %s \"%s\"", how, mode);
	stream = fopen("file", mode);
	STEP(fprintf(stream, "%d", 1234), "fprintf, %s \"%s\"", how, mode);
	STEP(fclose(stream), "fclose after fprintf, %s \"%s\"", how, mode);
	stream = fopen("file", mode);
	STEP(fwrite(much, 1, sizeof much, stream) == sizeof much ? 0 : -1, "fwrite of more than the buffer, %s \"%s\"", how, mode);
	STEP(ferror(stream) != 0, "ferror after that, %s \"%s\"", how, mode);
	fclose(stream);
	put_back();
	stream = fopen("file", mode);
	setvbuf(stream, NULL, _IONBF, 0);
	STEP(fputc('!', stream), "unbuffered fputc, %s \"%s\"", how, mode);
	STEP(fputs("WXYZ", stream), "unbuffered fputs, %s \"%s\"", how, mode);
	fclose(stream);
	stream = fopen("file", mode);
	fputc('!', stream);
	STEP(fseek(stream, 100, SEEK_SET), "fseek with a full buffer, %s \"%s\"", how, mode);
	fclose(stream);
	put_back();
}

static long at_exit(const char *mode)
{
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		FILE *stream = fopen("file", mode);
		if (!stream)
			_exit(50);
		fputs("WXYZ", stream);
		exit(0);
	}
	return ended(child);
}

int main(int argc, char **argv)
{
	begin(argc, argv);
	static const char *const modes[] = {"r+", "a"};
	for (int i = 0; i < 2; i++) {
		print(fopen("file", modes[i]), modes[i], "fopen");
		print(fdopen(open("file", O_RDWR), modes[i]), modes[i], "fdopen");
		STEP(at_exit(modes[i]), "the flush at exit, \"%s\"", modes[i]);
		FILE *stream = fopen("plain", modes[i]);
		STEP(fputs("WXYZ", stream) >= 0, "plain \"%s\"", modes[i]);
		STEP(fclose(stream), "fclose plain \"%s\"", modes[i]);
	}
	FILE *stream = fopen("file", "r+");
	char line[8];
	STEP(fread(line, 1, sizeof line, stream), "fread");
	STEP(fclose(stream), "fclose after fread");
	return end();
}

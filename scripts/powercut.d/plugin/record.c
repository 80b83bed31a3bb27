#define _GNU_SOURCE
#include "record.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static FILE *file;
static char part[4096], stem[4000];
static uint64_t written, limit;
static bool failed;

static void put(const void *data, size_t length)
{
	if (!file || failed)
		return;
	written += length;
	if (fwrite_unlocked(data, 1, length, file) == length)
		return;
	failed = true;
	fprintf(stderr, "powercut plugin: cannot write %s: %s\n", part, strerror(errno));
}

void record_begin(const char *directory, const struct trace_head *head, uint64_t bytes)
{
	snprintf(stem, sizeof stem, "%s/run-%llu", directory, (unsigned long long)head->run);
	snprintf(part, sizeof part, "%s.part", stem);
	written = 0;
	limit = bytes;
	failed = false;
	file = fopen(part, "we");
	if (!file) {
		fprintf(stderr, "powercut plugin: cannot write %s: %s\n", part, strerror(errno));
		return;
	}
	setvbuf(file, NULL, _IOFBF, 1 << 20);
	put(head, sizeof *head);
}

bool is_recording(void)
{
	return file != NULL;
}

void record_content(enum trace_kind kind, unsigned cpu, unsigned detail, uint32_t a, uint64_t b, const void *content,
		    size_t length)
{
	struct trace_record head = {kind, cpu, detail, a, b};
	put(&head, sizeof head);
	if (length)
		put(content, length);
}

void record(enum trace_kind kind, unsigned cpu, unsigned detail, uint32_t a, uint64_t b)
{
	record_content(kind, cpu, detail, a, b, NULL, 0);
}

bool record_is_full(void)
{
	return failed || written >= limit;
}

void record_end(enum trace_end how, uint64_t points)
{
	char name[4096];
	record(TRACE_END, 0, how, 0, points);
	if (fclose(file) != 0 && !failed) {
		failed = true;
		fprintf(stderr, "powercut plugin: cannot write %s: %s\n", part, strerror(errno));
	}
	file = NULL;
	snprintf(name, sizeof name, "%s.%s", stem, failed ? "cut" : "trace");
	if (rename(part, name) != 0)
		fprintf(stderr, "powercut plugin: cannot rename %s: %s\n", part, strerror(errno));
}

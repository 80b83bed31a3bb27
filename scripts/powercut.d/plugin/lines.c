/* A line is CLEAN, or stored to and not flushed since (DIRTY), or flushed and waiting for a fence (PENDING), or both,
 * when it was stored to behind the flush. Flushing a clean line changes nothing and is not recorded: a sync of a whole
 * mapping is mostly that.
 *
 * clwb acts on the whole coherence domain (SDM volume 2, CLWB): of a line that another processor has flushed and not
 * fenced, one's own flush and fence suffice. So a line may be in several processors' lists; `owner` is who flushed it
 * last, and every flush has a number, so that what an earlier one brings late never replaces what is newer. */
#include "lines.h"
#include "record.h"
#include <stdlib.h>
#include <string.h>

#define PROCESSORS 16
enum { CLEAN = 0, DIRTY = 1, PENDING = 2 };

static const uint8_t *device;
static uint64_t count;
static uint8_t *state, *owner, *is_changed;
static uint32_t *changed; /* lines stored to since the last crash point */
static size_t changes;
static uint64_t sequence, points;
static uint64_t random_state, densities[CAUSES];

/* Of a processor. */
static struct list {
	struct waiting {
		uint32_t line;
		uint64_t sequence;
		uint8_t content[LINE];
	} *lines;
	size_t length, capacity, sent;
} lists[PROCESSORS];

static void *array(void *old, size_t size)
{
	free(old);
	void *new = calloc(count, size);
	if (!new)
		abort();
	return new;
}

void lines_begin(const uint8_t *content, uint64_t size)
{
	device = content;
	count = size / LINE;
	state = array(state, sizeof *state);
	owner = array(owner, sizeof *owner);
	is_changed = array(is_changed, sizeof *is_changed);
	changed = array(changed, sizeof *changed);
	changes = points = sequence = 0;
	for (unsigned cpu = 0; cpu < PROCESSORS; cpu++)
		lists[cpu].length = lists[cpu].sent = 0;
}

void lines_density(enum cause cause, uint64_t one_in)
{
	if (cause < CAUSES)
		densities[cause] = one_in;
}

void lines_seed(uint64_t seed)
{
	random_state = 88172645463325252ull ^ seed * 0x9e3779b97f4a7c15ull;
}

static bool is_chosen(enum cause cause)
{
	if (densities[cause] == 0)
		return false;
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % densities[cause] == 0;
}

static const uint8_t *content_of(uint32_t line)
{
	return device + (uint64_t)line * LINE;
}

/* What has come to the list since it was recorded last: late, as non-temporal stores to one line come together. */
static void record_list(unsigned cpu)
{
	struct list *list = &lists[cpu];
	for (; list->sent < list->length; list->sent++) {
		const struct waiting *waiting = &list->lines[list->sent];
		record_content(TRACE_FLUSHED, cpu, 0, waiting->line, waiting->sequence << 24 | list->sent,
			       waiting->content, LINE);
	}
}

static void crash_point(enum cause cause, unsigned cpu)
{
	for (unsigned each = 0; each < PROCESSORS; each++)
		record_list(each);
	for (size_t i = 0; i < changes; i++) {
		is_changed[changed[i]] = false;
		record_content(TRACE_STORED, cpu, 0, changed[i], 0, content_of(changed[i]), LINE);
	}
	changes = 0;
	points++;
	record(TRACE_POINT, cpu, cause, 0, 0);
}

uint64_t crash_points(void)
{
	return points;
}

static void wait_for_fence(unsigned cpu, uint32_t line)
{
	struct list *list = &lists[cpu];
	struct waiting *waiting;
	if (list->length == list->capacity) {
		list->capacity = list->capacity ? 2 * list->capacity : 1024;
		list->lines = realloc(list->lines, list->capacity * sizeof *list->lines);
		if (!list->lines)
			abort();
	}
	waiting = &list->lines[list->length++];
	waiting->line = line;
	waiting->sequence = ++sequence;
	memcpy(waiting->content, content_of(line), LINE);
}

static void stored_around(unsigned cpu, uint32_t line)
{
	struct list *list = &lists[cpu];
	if (!(state[line] & DIRTY)) {
		state[line] = PENDING;
		owner[line] = cpu;
	}
	if (list->length == 0 || list->lines[list->length - 1].line != line) {
		wait_for_fence(cpu, line);
		return;
	}
	struct waiting *last = &list->lines[list->length - 1];
	memcpy(last->content, content_of(line), LINE);
	last->sequence = ++sequence;
	if (list->sent == list->length)
		list->sent--;
}

void line_stored(unsigned cpu, uint64_t offset, unsigned length, bool around_the_cache)
{
	for (uint64_t line = offset / LINE; line <= (offset + length - 1) / LINE && line < count; line++) {
		if (!is_changed[line]) {
			is_changed[line] = true;
			changed[changes++] = line;
		}
		if (around_the_cache)
			stored_around(cpu, line);
		else
			state[line] |= DIRTY;
	}
	if (is_chosen(BEHIND_STORE))
		crash_point(BEHIND_STORE, cpu);
}

void line_flushed(unsigned cpu, uint32_t line, bool at_once)
{
	if (state[line] & DIRTY) {
		if (at_once) {
			record_content(TRACE_DURABLE, cpu, 0, line, ++sequence, content_of(line), LINE);
			state[line] = CLEAN;
			return;
		}
	} else if (!(state[line] & PENDING) || owner[line] == cpu) {
		return;
	}
	state[line] = PENDING;
	owner[line] = cpu;
	wait_for_fence(cpu, line);
}

void line_fence(unsigned cpu)
{
	struct list *list = &lists[cpu];
	if (list->length == 0)
		return;
	if (is_chosen(BEFORE_FENCE))
		crash_point(BEFORE_FENCE, cpu);
	record_list(cpu);
	record(TRACE_FENCE, cpu, 0, 0, list->length);
	for (size_t i = 0; i < list->length; i++) {
		uint32_t line = list->lines[i].line;
		if (owner[line] == cpu)
			state[line] &= ~PENDING;
	}
	list->length = list->sent = 0;
}

void line_acknowledged(unsigned cpu)
{
	if (is_chosen(BEHIND_ACK))
		crash_point(BEHIND_ACK, cpu);
}

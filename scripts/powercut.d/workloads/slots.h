/* What slots.c writes, and powercut/src/checkers/slots.rs wants to find: every writer has lines of its own, and each
 * transaction of a writer writes some of these, which ones being a matter of its number alone. */
#ifndef SLOTS_H
#define SLOTS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SLOTS_MOST 2048 /* lines of a transaction */

struct slot { /* one line */
	uint64_t number, writer, line, payload[4], sum;
};

struct slots {
	uint64_t lines, writers;
	int interleaved;
};

static inline uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ull;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static inline uint64_t next_random(uint64_t *state)
{
	return mix(*state += 0x9e3779b97f4a7c15ull);
}

static inline void slot_fill(struct slot *slot, uint64_t number, uint64_t writer, uint64_t line)
{
	struct slot filled = {number, writer, line, {0}, 0};
	uint64_t hash = mix(number * 1000003 + writer * 65537 + line);
	for (int i = 0; i < 4; i++)
		filled.payload[i] = hash = mix(hash + i);
	filled.sum = mix(number ^ hash ^ line << 20 ^ writer << 50);
	/* One store a word, and no other. */
	for (int i = 0; i < 8; i++)
		((volatile uint64_t *)slot)[i] = ((uint64_t *)&filled)[i];
}

static inline uint64_t slots_each(const struct slots *all)
{
	return all->lines / all->writers;
}

static inline uint64_t slot_line(const struct slots *all, uint64_t writer, uint64_t slot)
{
	return all->interleaved ? slot * all->writers + writer : writer * slots_each(all) + slot;
}

/* Which slots of the writer its transaction writes, and how many. One may come twice. */
static inline unsigned slots_of(const struct slots *all, uint64_t writer, uint64_t number, uint32_t *slots)
{
	uint64_t state = mix(writer * 7919 + number), each = slots_each(all), window, first;
	unsigned kind = next_random(&state) % 100, count;
	int together;
	if (kind < 60)
		count = 1;
	else if (kind < 85)
		count = 2 + next_random(&state) % 15;
	else if (kind < 97)
		count = 17 + next_random(&state) % 180;
	else
		count = 200 + next_random(&state) % (SLOTS_MOST - 200);
	together = next_random(&state) & 1;
	window = together ? count : (uint64_t)64 << next_random(&state) % 8;
	if (window > each)
		window = each;
	if (count > each)
		count = each;
	first = next_random(&state) % (each - window + 1);
	for (unsigned i = 0; i < count; i++)
		slots[i] = first + (together ? i % window : next_random(&state) % window);
	return count;
}

#ifdef SLOTS_PRINT
#include <stdio.h>
/* The numbers that powercut/src/checkers/slots_vectors.rs holds. */
int main(void)
{
	static uint32_t slots[SLOTS_MOST];
	struct slots all = {4096, 2, 0};
	struct slot slot;
	puts("const VECTORS: [(usize, u64); 6] = [");
	for (int number = 1; number <= 6; number++) {
		unsigned count = slots_of(&all, 1, number, slots);
		printf("    (%u, %u),\n", count, slots[0]);
	}
	slot_fill(&slot, 5, 1, 77);
	printf("];\nconst SUM: u64 = %llu;\n", (unsigned long long)slot.sum);
	return 0;
}
#endif

#endif

/* What database.c does to every database, and powercut/src/checkers/database.rs wants to find: transaction N gives some
 * of a few hundred keys a value, or deletes them, and sets "last" to N. GDBM's values keep their size and are not deleted:
 * then its file does not grow. */
#ifndef DATABASE_H
#define DATABASE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define KEYS 400
#define MOST_CHANGES 8
#define MOST_BYTES 624

struct change {
	unsigned key;
	int is_deleted;
};

static inline uint64_t mixed(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ull;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

static inline unsigned changes_of(uint64_t number, int same_size, struct change *changes)
{
	uint64_t state = mixed(number * 77773 + 5);
	unsigned count = 1 + state % MOST_CHANGES;
	for (unsigned i = 0; i < count; i++) {
		state = mixed(state + 1);
		changes[i].key = state % KEYS;
		changes[i].is_deleted = !same_size && (state >> 32) % 10 == 0;
	}
	return count;
}

static inline size_t value_of(uint64_t number, unsigned key, int same_size, unsigned char *value)
{
	uint64_t state = mixed(number * 31 + key);
	size_t length = same_size ? 600 : 24 + state % 600;
	memcpy(value, &number, 8);
	memcpy(value + 8, &key, 4);
	for (size_t i = 12; i < length; i++) {
		if (i % 8 == 4)
			state = mixed(state);
		value[i] = state >> (i % 8 * 8);
	}
	return length;
}

#endif

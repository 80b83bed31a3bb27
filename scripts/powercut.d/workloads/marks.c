/* Shared: what workloads in other languages call, by ctypes or as Java's native methods. The file is POWERCUT_FILE. */
#include "run.h"

void powercut_begin(void)
{
	run_begins(getenv("POWERCUT_FILE"));
}

void powercut_transaction(uint64_t number)
{
	transaction(0, number, 'f');
}

void powercut_acknowledge(uint64_t number)
{
	acknowledge(0, number);
}

void powercut_end(void)
{
	run_ends();
}

/* The first two are the environment and the class. */
void Java_Force_begin(void *unused, void *unused2)
{
	(void)unused, (void)unused2;
	powercut_begin();
}

void Java_Force_transaction(void *unused, void *unused2, int64_t number)
{
	(void)unused, (void)unused2;
	powercut_transaction(number);
}

void Java_Force_acknowledge(void *unused, void *unused2, int64_t number)
{
	(void)unused, (void)unused2;
	powercut_acknowledge(number);
}

void Java_Force_end(void *unused, void *unused2)
{
	(void)unused, (void)unused2;
	powercut_end();
}

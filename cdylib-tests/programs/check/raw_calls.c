/* Makes a system call by itself. */
#include "check.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	long result;
	__asm__ volatile("mov $39, %%eax\n\tsyscall" : "=a"(result) : : "rcx", "r11", "memory");
	must(result == getpid(), "getpid");
	return 0;
}

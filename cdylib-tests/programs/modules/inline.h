/* System calls of a module's own. `at` says where the place lies within an aligned word, and no jump fits into one
 * from 4 on. The kernel's result. */
#define INLINE(name, at, number, load)                                                                                 \
	long name(void *, long, long);                                                                                 \
	__asm__(".text\n.balign 16\n.globl " #name "\n.type " #name ", @function\n" #name ":\n"                        \
		".fill " #at ", 1, 0x90\n" load(number) "syscall\nret\n"                                                \
		".size " #name ", . - " #name "\n")
#define PLAINLY(number) "movl $" #number ", %eax\n"
#define BY_REGISTER(number) "movl $" #number ", %r9d\nmovl %r9d, %eax\n"

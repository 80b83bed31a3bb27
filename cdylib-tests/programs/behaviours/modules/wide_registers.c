/* The kernel preserves all vector and mask registers across a system call, and code may keep values in them across
 * the instruction: so must a place that was turned. */
#include "modules.h"

#define REGISTERS(n) (64 * (n) + 64)
extern void keep_zmm(void *function, long *arguments, void *before, void *after);
extern void keep_ymm(void *function, long *arguments, void *before, void *after);

__asm__(".macro keeps name, move, prefix, mask, registers:vararg\n"
        "\\name:\n"
        "push %rbx\npush %rbp\npush %r12\n"
        "mov %rcx, %rbx\nmov %rdi, %rax\nmov %rsi, %rbp\n"
        ".irp n, \\registers\n\\move 64 * \\n(%rdx), %\\prefix\\n\n.endr\n"
        ".if \\mask\n.irp n, 1, 2, 3, 4, 5, 6, 7\nkmovw 64 * 32 + 8 * \\n(%rdx), %k\\n\n.endr\n.endif\n"
        "mov (%rbp), %rdi\nmov 8(%rbp), %rsi\nmov 16(%rbp), %rdx\nmov 24(%rbp), %rcx\nmov 32(%rbp), %r8\nmov 40(%rbp), %r9\n"
        "mov %rax, %r12\nxor %eax, %eax\n"
        "call *%r12\n"
        "mov %rax, (%rbp)\n"
        ".irp n, \\registers\n\\move %\\prefix\\n, 64 * \\n(%rbx)\n.endr\n"
        ".if \\mask\n.irp n, 1, 2, 3, 4, 5, 6, 7\nkmovw %k\\n, 64 * 32 + 8 * \\n(%rbx)\n.endr\n.endif\n"
        "vzeroupper\n"
        "pop %r12\npop %rbp\npop %rbx\nret\n"
        ".endm\n"
        "keeps keep_zmm, vmovdqu64, zmm, 1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31\n"
        "keeps keep_ymm, vmovdqu, ymm, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"
        ".text\n");

static unsigned char before_[REGISTERS(32)], after_[REGISTERS(32)];
static bool has_zmm, has_ymm;

static long kept(void *function, const char *name, long a, long b, long c, long d, long e, long f)
{
	long arguments[6] = {a, b, c, d, e, f};
	for (size_t i = 0; i < sizeof before_; i++)
		before_[i] = i * 7 + 1;
	memset(after_, 0, sizeof after_);
	if (has_zmm)
		keep_zmm(function, arguments, before_, after_);
	else
		keep_ymm(function, arguments, before_, after_);
	int lost = 0;
	for (int i = 0; i < (has_zmm ? 32 : 16); i++)
		lost += memcmp(before_ + 64 * i, after_ + 64 * i, has_zmm ? 64 : 32) != 0;
	for (int i = 1; has_zmm && i < 8; i++)
		lost += memcmp(before_ + 64 * 32 + 8 * i, after_ + 64 * 32 + 8 * i, 2) != 0;
	printf("%s: %d registers lost\n", name, lost);
	return arguments[0];
}

#define KEPT_(name, a, b, c, d, e, f, ...) kept(find(libc, #name), #name, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define KEPT_AT(at, name, ...) STEP(KEPT_(name, __VA_ARGS__, 0, 0, 0, 0, 0, 0) == (long)(at), "%s", #name)
#define KEPT(name, ...) STEP((int)KEPT_(name, __VA_ARGS__, 0, 0, 0, 0, 0, 0), "%s", #name)

int main(int argc, char **argv)
{
	begin(argc, argv);
	keep = true;
	has_zmm = __builtin_cpu_supports("avx512f");
	has_ymm = __builtin_cpu_supports("avx");
	if (!has_zmm)
		fprintf(stderr, "this CPU has no AVX-512: zmm and k registers are not tried\n");
	if (!has_ymm) {
		fprintf(stderr, "this CPU has no AVX: nothing is tried\n");
		return end();
	}
	void *libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
	int file = open("file", O_RDWR), plain = open("plain", O_RDWR);
	char *p;

	STEP((p = map("file"), 0), "map and store");
	KEPT(write, file, "WXYZ", 4);
	KEPT(pwrite, plain, "WXYZ", 4, 0);
	KEPT(open, "symlink", O_RDWR | O_TRUNC);
	KEPT(rename, "sub/inner", "sub/file");
	KEPT(chmod, "file", 0600);
	KEPT(ftruncate, file, PAGE);
	KEPT(setxattr, "file", "user.test", "value", 5, 0);
	KEPT(mprotect, p, PAGE, PROT_NONE);
	KEPT_AT(p + PAGE, mremap, p + PAGE, PAGE, PAGE, 0);
	KEPT(munmap, p, PAGE);
	KEPT_AT(p, mmap, p, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_FIXED, plain, 0);
	KEPT(madvise, p + PAGE, PAGE, MADV_REMOVE);
	KEPT(unlink, "file");
	return end();
}

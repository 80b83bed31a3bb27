/* What the library is for, in one program: a refused write, stores through a mapping made durable, the same in a child,
 * and in what it executes. What is hard it does to itself first: for tests/adversity.rs. Started in a scene as
 * PROGRAM WHAT. */
#include "common.h"
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <setjmp.h>
#include <ucontext.h>

#define RW (PROT_READ | PROT_WRITE)

static char **words;
static char said[4096];

static void say(const char *what, long result)
{
	char line[128];
	const char *end = result != -1 ? "works" : errno == EPERM ? "refused" : strerrorname_np(errno);
	snprintf(line, sizeof line, "%s %s\n", what, end ? end : "fails");
	strncat(said, line, sizeof said - strlen(said) - 1);
}

static void tell(void)
{
	if (write(STDOUT_FILENO, said, strlen(said)) < 0)
		_exit(98);
	*said = 0;
}

static int fd;
static char *p;

static void sync_and_write(const char *who)
{
	char what[64];
	p[0]++;
	snprintf(what, sizeof what, "%s: msync", who);
	say(what, msync(p, FILE_SIZE, MS_SYNC));
	snprintf(what, sizeof what, "%s: fdatasync", who);
	say(what, fdatasync(fd));
	snprintf(what, sizeof what, "%s: write", who);
	say(what, pwrite(fd, "WXYZ", 4, 0));
}

static void demonstrate(void)
{
	sync_and_write("here");
	tell();
	pid_t child = fork();
	if (child == 0) {
		sync_and_write("child");
		tell();
		_exit(0);
	}
	say("the child ended", ended(child));
	say("munmap", munmap(p, FILE_SIZE));
	tell();
}

/* The demonstration's calls with little stack left: on a stack of their own, filled but for so much. */
static ucontext_t back, there;
enum { LEFT = 2048, CONTEXT = 64 };

static long small_results[4];
static void with_little_stack(void)
{
	small_results[0] = msync(p, FILE_SIZE, MS_SYNC);
	small_results[1] = fdatasync(fd);
	small_results[2] = pwrite(fd, "WXYZ", 4, 0) == -1 ? -errno : 0;
	small_results[3] = closing(open("file", O_RDWR)) < 0;
}

static void on_little_stack(void)
{
	/* A page that is not there lies below. */
	char *stack = mmap(NULL, 3 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	mprotect(stack, 2 * PAGE, PROT_NONE);
	/* Here first: what is looked up at a first call has been. */
	with_little_stack();
	if (getcontext(&there))
		die("getcontext");
	there.uc_stack.ss_sp = stack + 2 * PAGE;
	there.uc_stack.ss_size = LEFT + CONTEXT;
	there.uc_link = &back;
	makecontext(&there, with_little_stack, 0);
	if (swapcontext(&back, &there))
		die("swapcontext");
	errno = -small_results[2];
	say("little stack: msync", small_results[0]);
	say("little stack: fdatasync", small_results[1]);
	say("little stack: write", small_results[2] ? -1 : 0);
	say("little stack: open", small_results[3] ? -1 : 0);
	tell();
}

static void exhaust_descriptors(void)
{
	if (setrlimit(RLIMIT_NOFILE, &(struct rlimit){0, 0}))
		die("setrlimit");
}

static void exhaust_address_space(void)
{
	if (setrlimit(RLIMIT_AS, &(struct rlimit){1, 1}))
		die("setrlimit");
}

static void strict(void)
{
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
		die("strict mode");
	if (write(STDOUT_FILENO, "strict: write to a pipe works\n", 30) != 30)
		raw(SYS_exit, 97);
	char byte;
	if (read(fd, &byte, 1) == 1)
		(void)!write(STDOUT_FILENO, "strict: read works\n", 19);
	raw(SYS_exit, 0);
}

static sigjmp_buf out;
static volatile sig_atomic_t left;
static void leave(int signal UNUSED)
{
	left++;
	siglongjmp(out, 1);
}

/* Whatever msync is amid when the clock rings. */
static void leak_flushes(void)
{
	signal(SIGPROF, leave);
	for (volatile int i = 0; i < 200; i++)
		if (!sigsetjmp(out, 1)) {
			struct itimerval soon = {{0, 0}, {0, 100 + i}};
			setitimer(ITIMER_PROF, &soon, NULL);
			for (;;)
				msync(p, FILE_SIZE, MS_SYNC);
		}
	say("200 left by longjmp", left == 200 ? 0 : -1);
}

int main(int argc, char **argv)
{
	words = argv;
	const char *what = argc > 1 ? argv[1] : "";
	if (!strcmp(what, "executed")) {
		fd = open("file", O_RDWR);
		say("executed: write", pwrite(fd, "WXYZ", 4, 0));
		tell();
		return 0;
	}
	fd = open("file", O_RDWR);
	p = mmap(NULL, FILE_SIZE, RW, MAP_SHARED, fd, 0);
	if (fd < 0 || p == MAP_FAILED)
		die("file");
	if (!strcmp(what, "descriptors"))
		exhaust_descriptors();
	else if (!strcmp(what, "address space"))
		exhaust_address_space();
	else if (!strcmp(what, "TSC off"))
		prctl(PR_SET_TSC, PR_TSC_SIGSEGV);
	else if (!strcmp(what, "strict"))
		strict();
	else if (!strcmp(what, "little stack"))
		on_little_stack();
	else if (!strcmp(what, "left flushes"))
		leak_flushes();
	demonstrate();
	if (*what)
		return 0;
	execl("/proc/self/exe", argv[0], "executed", NULL);
	execv(argv[0], (char *[]){argv[0], "executed", NULL});
	return 1;
}

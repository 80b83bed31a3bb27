/* Puts itself into an environment that is hard on a library, and executes a program there, with the library or without:
 * for tests/adversity.rs. Started as PROGRAM ENVIRONMENT LIBRARY COMMAND [ARG...]; LIBRARY may be empty. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Linux 6.3, linux/prctl.h. */
#define SET_MDWE 65
#define REFUSE_EXEC_GAIN 1

static void die(const char *what)
{
	fprintf(stderr, "the environment: %s: %s\n", what, strerror(errno));
	exit(125);
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		die(path);
	close(fd);
}

static void filter(struct sock_filter *instructions, size_t count)
{
	struct sock_fprog program = {count, instructions};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		die("seccomp");
}

/* Lets pass the system calls of these numbers, and execve; all others end in the action. */
static void allow_only(const char *numbers, unsigned action)
{
	static struct sock_filter all[1024];
	size_t n = 0;
	all[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (char *end; *numbers; numbers = *end ? end + 1 : end) {
		all[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, strtoul(numbers, &end, 10), 0, 1);
		all[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	}
	all[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_execve, 0, 1);
	all[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	all[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action);
	filter(all, n);
}

/* MemoryDenyWriteExecute= of systemd: no mmap of both, no mprotect to PROT_EXEC. */
static void deny_write_execute(void)
{
	struct sock_filter all[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, PROT_WRITE | PROT_EXEC),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PROT_WRITE | PROT_EXEC, 4, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mprotect, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_EXEC, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	filter(all, sizeof all / sizeof *all);
}

/* Mounts that nobody else sees, gone with this process. */
static void private_mounts(void)
{
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		die("unshare");
}

static void hide(const char *directory)
{
	private_mounts();
	if (mount("nothing", directory, "tmpfs", MS_RDONLY, NULL))
		die(directory);
}

/* The same tree, seen from a root that is not the process's first. */
static void change_root(void)
{
	char here[4096];
	private_mounts();
	if (!getcwd(here, sizeof here) || mount("/", "/mnt", NULL, MS_BIND | MS_REC, NULL) || chroot("/mnt") || chdir(here))
		die("chroot");
}

static void user_namespace(void)
{
	char map[64];
	snprintf(map, sizeof map, "%d %d 1\n", geteuid(), geteuid());
	if (unshare(CLONE_NEWUSER))
		die("unshare");
	put("/proc/self/setgroups", "deny");
	put("/proc/self/uid_map", map);
	put("/proc/self/gid_map", map);
}

static void limit(int resource, const char *value)
{
	rlim_t most = strtoul(value, NULL, 10);
	if (setrlimit(resource, &(struct rlimit){most, most}))
		die("setrlimit");
}

int main(int argc, char **argv)
{
	if (argc < 4)
		return 2;
	/* First: it may need what the environment then refuses. */
	if (*argv[2])
		setenv("LD_PRELOAD", argv[2], 1);
	char *name = argv[1], *value = strchr(name, ':');
	if (value)
		*value++ = 0;
	if (!strcmp(name, "kill"))
		allow_only(value, SECCOMP_RET_KILL_PROCESS);
	else if (!strcmp(name, "trap"))
		allow_only(value, SECCOMP_RET_TRAP);
	else if (!strcmp(name, "errno"))
		allow_only(value, SECCOMP_RET_ERRNO | ENOSYS);
	else if (!strcmp(name, "no /proc"))
		hide("/proc");
	else if (!strcmp(name, "no /sys"))
		hide("/sys");
	else if (!strcmp(name, "chroot"))
		change_root();
	else if (!strcmp(name, "user namespace"))
		user_namespace();
	else if (!strcmp(name, "descriptors"))
		limit(RLIMIT_NOFILE, value);
	else if (!strcmp(name, "address space"))
		limit(RLIMIT_AS, value);
	else if (!strcmp(name, "MDWE")) {
		if (prctl(SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0))
			die("PR_SET_MDWE");
	} else if (!strcmp(name, "MemoryDenyWriteExecute"))
		deny_write_execute();
	else if (strcmp(name, "none"))
		die("no such environment");
	execvp(argv[3], argv + 3);
	die(argv[3]);
}

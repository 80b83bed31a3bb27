/* Under a filter nothing can be looked up any more; a duplicate of what was known as tagged is it too. */
#include "filters.h"

int main(int argc, char **argv)
{
	begin(argc, argv);
	keep = true;
	int file = open("file", O_RDWR), plain = open("plain", O_RDWR), read_only = open("file", O_RDONLY);
	struct sock_filter filter[] = {
		BEGIN,
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fgetxattr, 0, 1),
		KILL,
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_readv, 0, 1),
		KILL,
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = FILTER(filter);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		die("seccomp");
	int other = dup(file);
	STEP(write(other, "1", 1), "dup");
	STEP(write(fcntl(file, F_DUPFD, 50), "2", 1), "F_DUPFD");
	STEP(write(fcntl(other, F_DUPFD_CLOEXEC, 60), "3", 1), "F_DUPFD_CLOEXEC of a duplicate");
	STEP(write(dup2(file, 70), "4", 1), "dup2");
	STEP(write(dup3(70, 80, O_CLOEXEC), "5", 1), "dup3 of a duplicate");
	STEP(write(dup2(70, 70), "6", 1), "dup2 of itself");
	STEP(write(syscall(SYS_dup, file), "7", 1), "by number");
	STEP(ftruncate(other, 100), "ftruncate");
	STEP(write(dup2(plain, 70), "8", 1), "another file under a number that was a duplicate's");
	STEP(write(dup2(file, 70), "9", 1), "and the file again");
	close(70);
	STEP(dup2(plain, 70) == 70 ? write(70, "0", 1) : -1, "closed, and another file");
	STEP(write(dup(read_only), "1", 1), "what is open for reading");
	STEP(dup(-1), "none");
	return 0;
}

/* shmat(2): a segment takes the place of whatever is mapped there, if that is asked for. */
#include "modules.h"
#include <sys/shm.h>

int main(int argc, char **argv)
{
	begin(argc, argv);
	keep = true;
	void *(*shmat_)(int, const void *, int) = symbol;
	int segment = shmget(IPC_PRIVATE, PAGE + 1, 0600 | IPC_CREAT);
	char *p = map("file");

	STEP(shmat_(segment, p, 0) == (void *)-1, "shmat where something is");
	STEP(shmat_(segment, p + 1, SHM_REMAP), "shmat at an odd address");
	STEP(shmat_(segment, NULL, SHM_REMAP), "shmat anywhere, over something");
	STEP(shmat_(-1, p, SHM_REMAP), "shmat of no segment");
	STEP(msync(p, FILE_SIZE, MS_SYNC), "msync");
	STEP(shmat_(segment, p + PAGE + 1, SHM_REMAP | SHM_RND) == p + PAGE, "shmat over its middle");
	STEP(is_the_kernels(p + PAGE) + is_the_kernels(p + 2 * PAGE), "their sync is the kernel's");
	p[1]++, p[3 * PAGE]++, p[PAGE] = 1;
	STEP(msync(p, FILE_SIZE, MS_SYNC), "msync of all");
	STEP(shmdt(p + PAGE), "shmdt");
	STEP(msync(p, FILE_SIZE, MS_SYNC), "msync over the hole");
	STEP(shmat_(segment, p + PAGE, 0) == p + PAGE, "shmat into the hole");
	STEP(msync(p, FILE_SIZE, MS_SYNC), "msync of all");
	shmctl(segment, IPC_RMID, NULL);
	return end();
}

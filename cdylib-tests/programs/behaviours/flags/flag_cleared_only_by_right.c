/* The flag comes off only with the capability, and only while the file is mapped nowhere. */
#include "inode_flags.h"

int main(int argc, char **argv)
{
	begin_alone(argc, argv);
	int fd = opened("file", O_RDWR);
	STEP(set_tag(fd), "set");
	STEP(is_emulated() ? GIVEN(EPERM) : WITHOUT(CAP_LINUX_IMMUTABLE, clear_tag(fd)),
	     "without CAP_LINUX_IMMUTABLE, not emulated");
	STEP(is_emulated() ? GIVEN(EPERM) : WITHOUT(CAP_LINUX_IMMUTABLE, change_flags(fd, DAX, 0)),
	     "DAX, without CAP_LINUX_IMMUTABLE, not emulated");
	/* What can't be looked at counts as mapped. */
	struct holder other = HOLDING(prctl(PR_SET_DUMPABLE, 0));
	STEP(WITHOUT(CAP_SYS_PTRACE, clear_tag(fd)), "without CAP_SYS_PTRACE");
	release(other);
	struct holder mapping = HOLDING({
		map(fd, MAP_PRIVATE);
		close(fd);
	});
	STEP(clear_tag(fd), "mapped elsewhere, privately");
	release(mapping);
	int own = opened("file", O_RDONLY);
	void *at = map(own, MAP_PRIVATE);
	close(own);
	STEP(clear_tag(fd), "mapped here, the descriptor closed");
	munmap(at, FILE_SIZE);
	STEP(flags_of(fd), "flags");
	STEP(pwrite(fd, "WXYZ", 4, 0), "write");
	struct holder reader = HOLDING(opened("file", O_RDONLY));
	if (!sees_everybody())
		release(reader);
	STEP(clear_tag(fd), "open elsewhere, not mapped");
	if (sees_everybody())
		release(reader);
	STEP(flags_of(fd) & DAX_IMMUTABLE, "flags");
	STEP(has_attribute("file"), "attribute");
	STEP(pwrite(fd, "aaaa", 4, 0), "write");
	return end();
}

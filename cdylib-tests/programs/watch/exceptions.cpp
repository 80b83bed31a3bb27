/* An exception passes the sync by: threads and templates store, and a destructor unmaps what one of them has left. */
#include <cstring>
#include <fcntl.h>
#include <stdexcept>
#include <string>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>
#include <vector>

static const size_t PAGE = 4096;

class Map {
	char *memory;
	size_t length;

public:
	Map(const std::string &path, size_t length) : length(length)
	{
		int fd = open(path.c_str(), O_RDWR);
		memory = static_cast<char *>(mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
		close(fd);
		if (memory == MAP_FAILED)
			throw std::runtime_error(path);
	}
	~Map()
	{
		munmap(memory, length);
	}
	template <class T> void put(size_t at, const T &value)
	{
		std::memcpy(memory + at, &value, sizeof value);
	}
	void sync(size_t at)
	{
		if (msync(memory + at / PAGE * PAGE, PAGE, MS_SYNC))
			throw std::runtime_error("msync");
	}
};

template <class T> static void commit(Map &map, size_t at, const T &value, bool fails)
{
	map.put(at, value);
	if (fails)
		throw std::runtime_error("before the sync");
	map.sync(at);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		return 99;
	bool wrong = std::string(argv[1]) == "wrong";
	Map map(std::string(argv[2]) + "/big", 64 * PAGE);
	std::vector<std::thread> threads;
	for (size_t thread = 0; thread < 4; thread++)
		threads.emplace_back([&, thread] {
			for (size_t page = 0; page < 8; page++)
				commit<long>(map, (8 * thread + page) * PAGE + 8, page + 1000, false);
		});
	for (auto &thread : threads)
		thread.join();
	try {
		commit<int>(map, 40 * PAGE, 77, wrong);
	} catch (const std::runtime_error &) {
	}
	return 0;
}

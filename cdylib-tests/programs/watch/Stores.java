/* Stores to a mapped file; `wrong` leaves the last force() out. */
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

class Stores {
	public static void main(String[] arguments) throws Exception {
		Path path = Path.of(arguments[1], "file");
		try (FileChannel file = FileChannel.open(path, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
			MappedByteBuffer map = file.map(FileChannel.MapMode.READ_WRITE, 0, 4 * 4096);
			map.putInt(100, 7);
			map.force();
			map.putInt(9000, 8);
			if (arguments[0].equals("right"))
				map.force();
		}
	}
}

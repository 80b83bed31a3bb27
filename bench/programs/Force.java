import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.ByteBuffer;
import static java.nio.file.StandardOpenOption.READ;
import static java.nio.file.StandardOpenOption.WRITE;

/** A JVM's MappedByteBuffer.force, of a record or of all. Usage: Force create|commit|verify FILE MIB record|all */
public class Force {
    static final int RECORD = 512, WARM = 20000, COMMITS = 10000;

    static int place(int i, int size) {
        return (int) ((long) i * 7919 % (size / RECORD)) * RECORD;
    }

    public static void main(String[] arguments) throws Exception {
        Path path = Path.of(arguments[1]);
        int size = Integer.parseInt(arguments[2]) << 20;
        boolean all = arguments[3].equals("all");
        switch (arguments[0]) {
            case "create" -> Files.write(path, new byte[size]);
            case "commit" -> {
                try (FileChannel channel = FileChannel.open(path, READ, WRITE)) {
                    MappedByteBuffer map = channel.map(FileChannel.MapMode.READ_WRITE, 0, size);
                    long start = 0;
                    for (int i = 0; i < WARM + COMMITS; i++) {
                        if (i == WARM) start = System.nanoTime();
                        int at = place(i, size);
                        for (int word = 0; word < RECORD; word += 8) map.putLong(at + word, i);
                        if (all) map.force(); else map.force(at, RECORD);
                    }
                    System.out.println(COMMITS + " " + (System.nanoTime() - start));
                }
            }
            default -> {
                ByteBuffer read = ByteBuffer.wrap(Files.readAllBytes(path));
                for (int i = WARM + COMMITS - Math.min(WARM + COMMITS, size / RECORD); i < WARM + COMMITS; i++)
                    for (int word = 0; word < RECORD; word += 8)
                        if (read.getLong(place(i, size) + word) != i) throw new Exception("record " + i);
            }
        }
    }
}

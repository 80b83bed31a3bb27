import java.nio.ByteOrder;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** Force FILE RECORDS: the log of log.h. Each second record is synced by its range, the others by the whole buffer. */
class Force {
    static final int SIZE = 4 << 20, HEAD = 4096, PAYLOAD = 176, RECORD = 192, CAPACITY = (SIZE - HEAD) / RECORD;

    static native void begin();
    static native void transaction(long number);
    static native void acknowledge(long number);
    static native void end();

    public static void main(String[] arguments) throws Exception {
        System.loadLibrary("marks");
        try (var file = FileChannel.open(Path.of(arguments[0]), StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            MappedByteBuffer map = file.map(FileChannel.MapMode.READ_WRITE, 0, SIZE);
            map.order(ByteOrder.LITTLE_ENDIAN);
            map.putLong(0, 0xdaff);
            map.force();
            begin();
            for (long number = 1; number <= Long.parseLong(arguments[1]); number++) {
                transaction(number);
                int at = HEAD + (int) ((number - 1) % CAPACITY) * RECORD;
                map.putLong(at, number);
                long sum = 1469598103934665603L ^ number;
                for (int i = 0; i < PAYLOAD; i++) {
                    byte value = (byte) (number * 31 + i);
                    map.put(at + 8 + i, value);
                    sum = (sum ^ (value & 0xff)) * 1099511628211L;
                }
                map.putLong(at + 8 + PAYLOAD, sum);
                sync(map, number, at, RECORD);
                map.putLong(8, number);
                sync(map, number, 0, 16);
                acknowledge(number);
            }
            end();
        }
    }

    /** Throws an exception where msync fails. */
    static void sync(MappedByteBuffer map, long number, int at, int length) {
        if (number % 2 == 0) {
            map.force(at, length);
        } else {
            map.force();
        }
    }
}

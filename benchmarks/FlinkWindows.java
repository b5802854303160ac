import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;

/**
 * The window job in Flink SQL, streaming, in a cluster inside this process; see peer_flink.py.
 *
 * <p>Arguments: the CSV file of events, a folder for every run's windows, the parallelism, the
 * number of runs. Prints for each run its seconds, from the job's start to its end, then the peak
 * memory in MiB.
 */
public final class FlinkWindows {
    public static void main(String[] args) throws Exception {
        Configuration config = new Configuration();
        config.setString("execution.runtime-mode", "STREAMING");
        config.setString("pipeline.object-reuse", "true");
        config.setString("parallelism.default", args[2]);
        config.setString("taskmanager.numberOfTaskSlots", args[2]);
        config.setString("taskmanager.memory.network.min", "64mb");
        config.setString("table.local-time-zone", "UTC");
        StringBuilder line = new StringBuilder();
        for (int run = 0; run < Integer.parseInt(args[3]); run++) {
            line.append(seconds(config, args[0], args[1] + "/" + run)).append(' ');
        }
        String peak = Files.readAllLines(Path.of("/proc/self/status")).stream()
                .filter(row -> row.startsWith("VmHWM:"))
                .findFirst()
                .orElse("VmHWM: 0 kB");
        System.out.println(line.toString() + Long.parseLong(peak.split("\\s+")[1]) / 1024);
    }

    private static double seconds(Configuration config, String from, String to) throws Exception {
        StreamTableEnvironment table = StreamTableEnvironment.create(
                StreamExecutionEnvironment.getExecutionEnvironment(config));
        table.executeSql("CREATE TABLE events (user_id BIGINT, time_us BIGINT, dwell_ms BIGINT,"
                + " ts AS TO_TIMESTAMP_LTZ(time_us / 1000, 3),"
                + " WATERMARK FOR ts AS ts - INTERVAL '5' SECOND)"
                + " WITH ('connector' = 'filesystem', 'format' = 'csv', 'path' = '" + from + "')");
        table.executeSql("CREATE TABLE windows (user_id BIGINT, window_end TIMESTAMP_LTZ(3),"
                + " events BIGINT, dwell_ms BIGINT)"
                + " WITH ('connector' = 'filesystem', 'format' = 'csv', 'path' = '" + to + "')");
        return table.executeSql("INSERT INTO windows"
                        + " SELECT user_id, window_end, COUNT(*), SUM(dwell_ms) FROM TABLE("
                        + " HOP(TABLE events, DESCRIPTOR(ts), INTERVAL '10' SECOND,"
                        + " INTERVAL '60' SECOND)) GROUP BY user_id, window_start, window_end")
                .getJobClient()
                .orElseThrow()
                .getJobExecutionResult()
                .get()
                .getNetRuntime(TimeUnit.MILLISECONDS) / 1e3;
    }
}

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;

/** Runs a statement by JDBC: plain or prepared, URL, SQL. Prints the rows, or what refused. */
public final class Query {
    public static void main(String[] arguments) throws Exception {
        boolean prepared = arguments[0].equals("prepared");
        try (Connection connection = DriverManager.getConnection(arguments[1])) {
            if (prepared) {
                try (PreparedStatement statement = connection.prepareStatement(arguments[2]);
                        ResultSet rows = statement.executeQuery()) {
                    print(rows);
                }
            } else {
                try (Statement statement = connection.createStatement();
                        ResultSet rows = statement.executeQuery(arguments[2])) {
                    print(rows);
                }
            }
        } catch (SQLException refused) {
            List<String> causes = new ArrayList<>();
            for (Throwable cause = refused; cause != null; cause = cause.getCause()) {
                causes.add(String.valueOf(cause.getMessage()));
                reason(cause, causes);
            }
            System.out.println("refused\t" + String.join(" | ", causes).replace('\n', ' '));
        }
        System.exit(0);
    }

    private static void print(ResultSet rows) throws SQLException {
        int columns = rows.getMetaData().getColumnCount();
        while (rows.next()) {
            StringBuilder line = new StringBuilder("row");
            for (int column = 1; column <= columns; column++) {
                line.append('\t').append(rows.getObject(column));
            }
            System.out.println(line);
        }
        System.out.println("end");
    }

    /**
     * The stable code is in the trailer grpc-status-details-bin of the driver's own exception,
     * whose classes the driver keeps under names of its own.
     */
    private static void reason(Throwable cause, List<String> causes) {
        try {
            Object metadata = cause.getClass().getMethod("metadata").invoke(cause);
            Iterable<?> keys = (Iterable<?>) metadata.getClass().getMethod("keys").invoke(metadata);
            for (Object key : keys) {
                if (key.equals("grpc-status-details-bin")) {
                    byte[] bytes = (byte[]) metadata.getClass().getMethod("getByte", String.class).invoke(metadata, key);
                    causes.add("details " + new String(bytes, java.nio.charset.StandardCharsets.ISO_8859_1).replaceAll("[^ -~]", "\u00a6"));
                }
            }
        } catch (ReflectiveOperationException none) {
            // Not an exception of Flight.
        }
    }
}

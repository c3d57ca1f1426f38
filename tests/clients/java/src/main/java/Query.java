import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Types;
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
                // The driver has no object for a timestamp with a time zone.
                boolean zoned = rows.getMetaData().getColumnType(column) == Types.TIMESTAMP_WITH_TIMEZONE;
                line.append('\t').append(zoned ? rows.getTimestamp(column) : rows.getObject(column));
            }
            System.out.println(line);
        }
        System.out.println("end");
    }
}

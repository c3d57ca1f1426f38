use super::*;
use crate::query::functions;
use perron_model::limits::{QUERY_STACK_BYTES, STATEMENT_EXPANSION_MAX, STATEMENT_TABLES_MAX};

fn parse(sql: &str) -> Result<Statement> {
    Statement::parse(sql, &DatasetId::parse("house-water").unwrap())
}

fn code(sql: &str) -> ErrorCode {
    match parse(sql) {
        Ok(_) => panic!("allowed: {sql}"),
        Err(e) => e.code,
    }
}

#[test]
fn usual_statements_are_allowed() {
    for sql in [
        "SELECT * FROM data",
        "select a.b, \"c\" from \"house-water\" as a;",
        "SELECT d.* FROM house_water d WHERE b BETWEEN 1 AND 2 OR c LIKE 'x%' AND d NOT IN (1, 2)",
        "WITH x AS (SELECT b FROM data), y AS (SELECT * FROM x) SELECT * FROM y JOIN x USING (b)",
        "SELECT b FROM data UNION ALL (SELECT c FROM data EXCEPT SELECT d FROM data) ORDER BY 1 LIMIT 3 OFFSET 1",
        "SELECT extract(year FROM t), date_trunc('day', t AT TIME ZONE 'Europe/Brussels') FROM data",
        "SELECT count(*) FILTER (WHERE b > 1), sum(b) OVER (PARTITION BY c ORDER BY d ROWS 2 PRECEDING) FROM data",
        "SELECT CASE b WHEN 1 THEN 'x' ELSE NULL END, b::bigint, TRY_CAST(c AS date), -b, DATE '2025-01-01' FROM data",
        "SELECT trim(b), substring(b from 1 for 2), position('x' in b), floor(c), t - INTERVAL '1 day' FROM data",
        "SELECT DISTINCT b FROM data WHERE EXISTS (SELECT 1 FROM data e WHERE e.b = data.b) AND c = (SELECT max(c) FROM data)",
        "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY b) FROM data",
    ] {
        parse(sql).map_err(|e| format!("{sql}: {e}")).unwrap();
    }
}

#[test]
fn only_select_is_served() {
    for sql in [
        "EXPLAIN SELECT * FROM data",
        "EXPLAIN ANALYZE SELECT * FROM data",
        "SHOW TABLES",
        "SHOW ALL",
        "SET x = 1",
        "CREATE TABLE x AS SELECT * FROM data",
        "CREATE VIEW x AS SELECT * FROM data",
        "COPY (SELECT * FROM data) TO '/tmp/x'",
        "INSERT INTO data VALUES (1)",
        "UPDATE data SET b = 1",
        "DELETE FROM data",
        "DROP TABLE data",
        "PREPARE p AS SELECT * FROM data",
        "EXECUTE p",
        "DESCRIBE data",
        "VALUES (1)",
        "TABLE data",
        "SELECT * INTO x FROM data",
        "WITH RECURSIVE x AS (SELECT 1 UNION ALL SELECT 1 FROM x) SELECT * FROM x",
        "SELECT * FROM data WHERE b = ?",
        "SELECT * FROM data WHERE b = $1",
        "SELECT * FROM data TABLESAMPLE (10)",
        "SELECT * FROM (VALUES (1)) x",
        "SELECT b FROM data WHERE b ~ '(a+)+'",
        "SELECT b FROM data WHERE b SIMILAR TO 'x'",
        "SELECT [1, 2] FROM data",
        "SELECT * EXCLUDE (b) FROM data",
        "SELECT b FROM data FOR UPDATE",
        "SELECT b FROM data GROUP BY ALL",
        "SELECT CAST(b AS INT ARRAY) FROM data",
        "SELECT b AT TIME ZONE c FROM data",
        "SELECT median(b) OVER (ORDER BY c) FROM data",
        "SELECT count(DISTINCT b) OVER () FROM data",
    ] {
        let code = code(sql);
        assert!(matches!(code, ErrorCode::StatementNotAllowed | ErrorCode::StatementInvalid), "{sql}: {code}");
    }
    for sql in ["", ";", "SELEC 1", "SELECT * FROM data; SELECT 1", "SELECT (1", "SELECT 1)", "SELECT 'x"] {
        assert_eq!(code(sql), ErrorCode::StatementInvalid, "{sql}");
    }
}

#[test]
fn another_table_is_not_granted() {
    for sql in [
        "SELECT * FROM other",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM public.data",
        "SELECT * FROM datafusion.public.data",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM 'x.csv'",
        "SELECT * FROM \"DATA\"",
        "SELECT * FROM data, pg_catalog.pg_class",
        "SELECT * FROM data WHERE b IN (SELECT b FROM other)",
        "WITH x AS (SELECT * FROM x) SELECT * FROM x",
    ] {
        assert_eq!(code(sql), ErrorCode::TableNotGranted, "{sql}");
    }
    let same = |sql: &str| parse(sql).unwrap_err().detail;
    assert_eq!(same("SELECT * FROM other"), "table `other` isn't one that the agreement gives");
}

#[test]
fn a_function_outside_the_list_is_refused_by_name() {
    for name in [
        "now",
        "random",
        "uuid",
        "version",
        "repeat",
        "lpad",
        "replace",
        "regexp_like",
        "to_char",
        "array_agg",
        "string_agg",
        "arrow_typeof",
        "arrow_cast",
        "input_file_name",
        "sha256",
        "make_array",
        "current_time",
        "no_such_function",
        "generate_series",
        "read_csv",
        "pg_sleep",
    ] {
        let error = parse(&format!("SELECT {name}(b) FROM data")).unwrap_err();
        assert_eq!(error.code, ErrorCode::FunctionNotAllowed, "{name}");
        assert_eq!(error.detail, format!("function `{name}` isn't one that is served"));
    }
    for sql in [
        "SELECT current_date FROM data",
        "SELECT current_timestamp",
        "SELECT b FROM data WHERE (SELECT random()) > 0",
        "SELECT x.now(b) FROM data",
        "SELECT b FROM data ORDER BY random()",
        "SELECT sum(b) OVER (ORDER BY random()) FROM data",
        "SELECT * FROM generate_series(1, 10)",
        "SELECT * FROM unnest([1])",
        "SELECT count(*) FILTER (WHERE random() > 0) FROM data",
    ] {
        assert_eq!(code(sql), ErrorCode::FunctionNotAllowed, "{sql}");
    }
    // Every listed function exists in a session, and nothing else does.
    let state = functions::register(datafusion::execution::SessionStateBuilder::new()).build();
    for name in functions::function_names() {
        let there = state.scalar_functions().contains_key(name)
            || state.aggregate_functions().contains_key(name)
            || state.window_functions().contains_key(name);
        assert!(there, "{name}");
    }
    assert!(!state.scalar_functions().contains_key("random") && state.table_functions().is_empty());
}

/// Statements are read on the engine's threads, which have a stack for the longest of them.
fn on_a_query_stack(work: fn()) {
    std::thread::Builder::new().stack_size(QUERY_STACK_BYTES).spawn(work).unwrap().join().unwrap();
}

#[test]
fn size_and_nesting_are_bounded() {
    on_a_query_stack(bounds_hold);
}

fn bounds_hold() {
    let bound = STATEMENT_BYTES_MAX;
    assert_eq!(code(&format!("SELECT '{}'", "x".repeat(bound))), ErrorCode::TooLarge);
    let nested = |n: usize| format!("SELECT {}b{} FROM data", "(".repeat(n), ")".repeat(n));
    parse(&nested(STATEMENT_DEPTH_MAX - 2)).unwrap();
    assert!(parse(&nested(STATEMENT_DEPTH_MAX + 1)).unwrap_err().detail.contains("nested deeper"));
    let chain = |n: usize| format!("SELECT b{} FROM data", "+b".repeat(n));
    parse(&chain(STATEMENT_CHAIN_MAX / 2 - 10)).unwrap();
    assert!(parse(&chain(STATEMENT_CHAIN_MAX / 2 + 10)).unwrap_err().detail.contains("longer than"));
    // Chains within parentheses add up; lists don't.
    let mut stacked = String::from("b");
    for _ in 0..20 {
        stacked = format!("({stacked}{})", "+b".repeat(20));
    }
    assert!(parse(&format!("SELECT {stacked} FROM data")).unwrap_err().detail.contains("longer than"));
    parse(&format!("SELECT b FROM data WHERE b IN (1{})", ",1".repeat(4000))).unwrap();
    for sql in ["NOT ", "- ", "CASE WHEN "] {
        assert_eq!(code(&format!("SELECT {}b FROM data", sql.repeat(550))), ErrorCode::StatementInvalid, "{sql}");
    }
    let literal = format!("SELECT '{}' FROM data", "x".repeat(2000));
    assert!(parse(&literal).unwrap_err().detail.contains("a text of the statement"));
}

#[test]
fn what_names_expand_to_is_bounded() {
    // Each level doubles the tables that are read.
    let mut sql = String::from("WITH x0 AS (SELECT b FROM data)");
    for i in 1..8 {
        sql += &format!(", x{i} AS (SELECT p.b FROM x{} p JOIN x{} q ON p.b = q.b)", i - 1, i - 1);
    }
    let error = parse(&format!("{sql} SELECT * FROM x7")).unwrap_err();
    assert!(error.detail.contains(&STATEMENT_TABLES_MAX.to_string()), "{error}");
    parse(&format!("{sql} SELECT * FROM x3")).unwrap();
    // Each level multiplies the expression.
    let mut sql = String::from("SELECT b FROM data");
    for _ in 0..6 {
        sql = format!("SELECT b*b+b*b+b*b AS b FROM ({sql})");
    }
    let error = parse(&format!("{sql} WHERE b > 1")).unwrap_err();
    assert!(error.detail.contains(&STATEMENT_EXPANSION_MAX.to_string()), "{error}");
    let mut sql = String::from("SELECT b FROM data");
    for _ in 0..4 {
        sql = format!("SELECT b||b||b||b AS b FROM ({sql})");
    }
    assert!(parse(&sql).unwrap_err().detail.contains("joins more than"));
    parse("SELECT b || ' ' || c || concat(b, '-', c) FROM data").unwrap();
    assert!(parse("WITH x AS (SELECT 1), x AS (SELECT 2) SELECT * FROM x").unwrap_err().detail.contains("taken"));
    assert!(parse("WITH data AS (SELECT 1) SELECT * FROM data").unwrap_err().detail.contains("taken"));
}

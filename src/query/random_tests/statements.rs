//! Random statements within what is served: expressions of each type, aggregates, windows, joins,
//! subqueries, set operations, order and limit. Now and then one names what isn't given.

use super::chance::Chance;
use perron_model::dataset::ColumnType::{self, Boolean, Date, Integer, Number, Text, Timestamp as Time};

/// A name that an expression may use.
pub(super) type Name = (String, ColumnType);

/// A statement, and whether its rows have an order.
#[derive(Clone, Debug)]
pub(super) struct Sql {
    pub(super) text: String,
    /// Every column is in ORDER BY.
    pub(super) ordered: bool,
}

pub(super) struct Statements<'a> {
    pub(super) chance: &'a mut Chance,
    /// The table's columns as the view gives them.
    pub(super) table: Vec<Name>,
    /// Names that the view withholds, and one that doesn't exist.
    pub(super) missing: Vec<String>,
    aliases: usize,
    subqueries: usize,
}

impl<'a> Statements<'a> {
    pub(super) fn new(chance: &'a mut Chance, table: Vec<Name>, missing: Vec<String>) -> Statements<'a> {
        Statements { chance, table, missing, aliases: 0, subqueries: 0 }
    }

    /// A whole statement.
    pub(super) fn statement(&mut self) -> Sql {
        (self.aliases, self.subqueries) = (0, 0);
        let types: Vec<ColumnType> = (0..1 + self.chance.below(3)).map(|_| self.kind()).collect();
        let united = self.chance.percent(15);
        let mut text = self.select(&types);
        if united {
            let operator = *self.chance.of_all(&["UNION ALL", "UNION", "INTERSECT", "EXCEPT"]);
            text = format!("{text} {operator} {}", self.select(&types));
        }
        let ordered = self.chance.percent(50);
        if ordered {
            let places: Vec<String> = (1..=types.len())
                .map(|n| {
                    let (direction, nulls) =
                        (self.chance.of_all(&["", " DESC"]), self.chance.of_all(&[" NULLS FIRST", " NULLS LAST"]));
                    format!("{n}{direction}{nulls}")
                })
                .collect();
            text += &format!(" ORDER BY {}", places.join(", "));
        }
        // Without an order the rows of a union come as they come.
        if (ordered || !united) && self.chance.percent(30) {
            text += &format!(" LIMIT {}", self.chance.below(12));
            if self.chance.percent(30) {
                text += &format!(" OFFSET {}", self.chance.below(5));
            }
        }
        Sql { text, ordered }
    }

    fn kind(&mut self) -> ColumnType {
        *self.chance.of_all(&[Text, Integer, Integer, Number, Boolean, Date, Time])
    }

    fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("t{}", self.aliases)
    }

    /// A SELECT whose columns are of these types.
    fn select(&mut self, types: &[ColumnType]) -> String {
        let (from, scope) = self.from();
        let filter =
            if self.chance.percent(60) { format!(" WHERE {}", self.expr(Boolean, &scope, 3)) } else { String::new() };
        match self.chance.below(10) {
            0..=2 => self.grouped(types, &from, &filter, &scope),
            3 => self.windowed(types, &from, &filter, &scope),
            other => {
                let items: Vec<String> = types.iter().map(|t| self.expr(*t, &scope, 3)).collect();
                let distinct = if other == 4 { "DISTINCT " } else { "" };
                format!("SELECT {distinct}{} FROM {from}{filter}", named(&items))
            }
        }
    }

    /// What is read, and the names in it.
    fn from(&mut self) -> (String, Vec<Name>) {
        let (mut text, mut scope) = self.source();
        if self.chance.percent(20) {
            let (other, names) = self.source();
            let kind = *self.chance.of_all(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "CROSS JOIN"]);
            let all: Vec<Name> = scope.iter().chain(&names).cloned().collect();
            text = format!("{text} {kind} {other}");
            if kind != "CROSS JOIN" {
                let shared: Vec<(String, String)> = scope
                    .iter()
                    .flat_map(|a| names.iter().filter(|b| a.1 == b.1).map(|b| (a.0.clone(), b.0.clone())))
                    .collect();
                let condition = match shared.as_slice() {
                    [] => self.expr(Boolean, &all, 1),
                    some => {
                        let (a, b) = self.chance.of_all(some).clone();
                        let more = self.chance.percent(30) && kind != "FULL JOIN";
                        let more = if more { format!(" AND {}", self.expr(Boolean, &all, 2)) } else { String::new() };
                        format!("{a} = {b}{more}")
                    }
                };
                text += &format!(" ON {condition}");
            }
            scope = all;
        }
        (text, scope)
    }

    fn source(&mut self) -> (String, Vec<Name>) {
        let alias = self.alias();
        let within = |names: Vec<Name>| names.into_iter().map(|(n, t)| (format!("{alias}.{n}"), t)).collect();
        if self.chance.percent(15) && self.subqueries < 2 {
            self.subqueries += 1;
            let types: Vec<ColumnType> = (0..1 + self.chance.below(3)).map(|_| self.kind()).collect();
            let inner = self.select(&types);
            let names = types.iter().enumerate().map(|(n, t)| (format!("x{n}"), *t)).collect();
            return (format!("({inner}) {alias}"), within(names));
        }
        (format!("data {alias}"), within(self.table.clone()))
    }

    fn grouped(&mut self, types: &[ColumnType], from: &str, filter: &str, scope: &[Name]) -> String {
        let key_type = self.kind();
        let key = self.expr(key_type, scope, 1);
        let items: Vec<String> = types
            .iter()
            .map(|t| if *t == key_type && self.chance.percent(40) { key.clone() } else { self.aggregate(*t, scope) })
            .collect();
        let having = if self.chance.percent(25) {
            let (of, literal) = (self.aggregate(Integer, scope), self.literal(Integer));
            format!(" HAVING {of} {} {literal}", self.chance.of_all(&["<", ">=", "<>"]))
        } else {
            String::new()
        };
        if self.chance.percent(20) && !items.contains(&key) {
            return format!("SELECT {} FROM {from}{filter}{having}", named(&items));
        }
        format!("SELECT {} FROM {from}{filter} GROUP BY {key}{having}", named(&items))
    }

    fn aggregate(&mut self, kind: ColumnType, scope: &[Name]) -> String {
        let filter = if self.chance.percent(15) {
            format!(" FILTER (WHERE {})", self.expr(Boolean, scope, 2))
        } else {
            String::new()
        };
        let call = match (kind, self.chance.below(5)) {
            (Integer, 0) => "count(*)".to_owned(),
            (Integer, 1) => format!("count(DISTINCT {})", self.any(scope)),
            (Integer, 2) => format!("count({})", self.any(scope)),
            (Integer | Number, 3) => format!("sum({})", self.expr(kind, scope, 2)),
            (Number, 0) => format!("avg({})", self.expr(Number, scope, 1)),
            (Number, 1) => format!("stddev({})", self.expr(Number, scope, 1)),
            (Number, 2) => format!("median({})", self.expr(Number, scope, 1)),
            (Boolean, 0) => format!("bool_or({})", self.expr(Boolean, scope, 2)),
            (Boolean, _) => format!("bool_and({})", self.expr(Boolean, scope, 2)),
            (kind, n) => format!("{}({})", if n % 2 == 0 { "min" } else { "max" }, self.expr(kind, scope, 2)),
        };
        call + &filter
    }

    fn windowed(&mut self, types: &[ColumnType], from: &str, filter: &str, scope: &[Name]) -> String {
        let order: Vec<String> = scope.iter().map(|(name, _)| name.clone()).collect();
        let order = format!("ORDER BY {}", order.join(", "));
        let items: Vec<String> = types
            .iter()
            .map(|t| {
                let part =
                    if self.chance.percent(50) { format!("PARTITION BY {} ", self.any(scope)) } else { String::new() };
                match (*t, self.chance.below(4)) {
                    (Integer, 0) => format!("row_number() OVER ({part}{order})"),
                    (Integer, 1) => format!("rank() OVER ({part}{order})"),
                    (Integer, 2) => format!("count(*) OVER ({part}{order})"),
                    (Number, 0 | 1) => format!("sum({}) OVER ({part}{order})", self.expr(Number, scope, 1)),
                    (Boolean, _) => self.expr(Boolean, scope, 2),
                    (kind, n) => {
                        let function = ["lag", "lead", "first_value", "max"][n % 4];
                        format!("{function}({}) OVER ({part}{order})", self.expr(kind, scope, 1))
                    }
                }
            })
            .collect();
        format!("SELECT {} FROM {from}{filter}", named(&items))
    }

    /// A name of any type.
    fn any(&mut self, scope: &[Name]) -> String {
        self.chance.of_all(scope).0.clone()
    }

    fn leaf(&mut self, kind: ColumnType, scope: &[Name]) -> String {
        if self.chance.below(250) == 0 {
            return self.chance.of_all(&self.missing).clone();
        }
        let fitting: Vec<&Name> = scope.iter().filter(|(_, t)| *t == kind).collect();
        if fitting.is_empty() || self.chance.percent(25) {
            return self.literal(kind);
        }
        self.chance.of_all(&fitting).0.clone()
    }

    fn literal(&mut self, kind: ColumnType) -> String {
        let n = self.chance.below(4);
        match kind {
            Text => ["'1'", "'13'", "'x9'", "''"][n],
            Integer => ["1", "2", "0", "13"][n],
            Number => ["0.5", "2.25", "10.0", "0.0"][n],
            Boolean => ["true", "false", "true", "NULL"][n],
            Date => ["DATE '2024-10-05'", "DATE '2024-10-07'", "DATE '1970-01-01'", "DATE '2030-01-01'"][n],
            Time => "TIMESTAMP '2025-02-19T22:00:00'",
        }
        .to_owned()
    }

    /// An expression of a type.
    fn expr(&mut self, kind: ColumnType, scope: &[Name], depth: usize) -> String {
        if depth == 0 || self.chance.percent(35) {
            return self.leaf(kind, scope);
        }
        let below = depth - 1;
        if self.chance.percent(15) {
            let (c, a, b) =
                (self.expr(Boolean, scope, below), self.expr(kind, scope, below), self.expr(kind, scope, below));
            return match self.chance.below(3) {
                0 => format!("CASE WHEN {c} THEN {a} ELSE {b} END"),
                1 => format!("coalesce({a}, {b})"),
                _ => format!("nullif({a}, {b})"),
            };
        }
        match kind {
            Text => self.text(scope, below),
            Integer => self.integer(scope, below),
            Number => self.number(scope, below),
            Boolean => self.boolean(scope, below),
            Date => match self.chance.below(3) {
                0 => format!("CAST({} AS DATE)", self.expr(Time, scope, below)),
                1 => format!("CAST(concat('2025-01-', {}) AS DATE)", self.expr(Text, scope, below)),
                _ => format!("greatest({}, {})", self.expr(Date, scope, below), self.expr(Date, scope, below)),
            },
            Time => match self.chance.below(3) {
                0 => format!("date_trunc('day', {})", self.expr(Time, scope, below)),
                1 => format!("({} + INTERVAL '1 hour')", self.expr(Time, scope, below)),
                _ => format!("least({}, {})", self.expr(Time, scope, below), self.expr(Time, scope, below)),
            },
        }
    }

    fn text(&mut self, scope: &[Name], below: usize) -> String {
        let (a, n) = (self.expr(Text, scope, below), self.chance.below(7));
        match n {
            0 => format!("upper({a})"),
            1 => format!("substr({a}, 1, {})", self.expr(Integer, scope, below)),
            2 => format!("CAST({} AS VARCHAR)", self.expr(Integer, scope, below)),
            3 => format!("split_part({a}, '-', {})", self.expr(Integer, scope, below)),
            4 => format!("({a} || {})", self.leaf(Text, scope)),
            5 => format!("reverse({a})"),
            _ => format!("left({a}, 1)"),
        }
    }

    fn integer(&mut self, scope: &[Name], below: usize) -> String {
        let (a, n) = (self.expr(Integer, scope, below), self.chance.below(10));
        match n {
            0..=4 => format!("({a} {} {})", ["+", "-", "*", "/", "%"][n], self.expr(Integer, scope, below)),
            5 => format!("abs({a})"),
            6 => format!("CAST({} AS BIGINT)", self.expr(Text, scope, below)),
            7 => format!("CAST({} AS BIGINT)", self.expr(Number, scope, below)),
            8 => format!("CAST(length({}) AS BIGINT)", self.expr(Text, scope, below)),
            _ => format!("CAST(TRY_CAST({} AS SMALLINT) AS BIGINT)", self.expr(Text, scope, below)),
        }
    }

    fn number(&mut self, scope: &[Name], below: usize) -> String {
        let (a, n) = (self.expr(Number, scope, below), self.chance.below(8));
        match n {
            0..=3 => format!("({a} {} {})", ["+", "-", "*", "/"][n], self.expr(Number, scope, below)),
            4 => format!("sqrt({a})"),
            5 => format!("ln({a})"),
            6 => format!("CAST({} AS DOUBLE)", self.expr(Integer, scope, below)),
            _ => format!("round({a}, 2)"),
        }
    }

    fn boolean(&mut self, scope: &[Name], below: usize) -> String {
        let kind = self.kind();
        match self.chance.below(10) {
            0 => format!("({} AND {})", self.expr(Boolean, scope, below), self.expr(Boolean, scope, below)),
            1 => format!("({} OR {})", self.expr(Boolean, scope, below), self.expr(Boolean, scope, below)),
            2 => format!("(NOT {})", self.expr(Boolean, scope, below)),
            3 => format!("({} IS {}NULL)", self.expr(kind, scope, below), self.chance.of_all(&["", "NOT "])),
            4 => format!("({} LIKE {})", self.expr(Text, scope, below), self.chance.of_all(&["'%1%'", "'_'", "'2%'"])),
            5 => format!("({} IN ({}, {}))", self.expr(kind, scope, below), self.literal(kind), self.literal(kind)),
            6 if self.subqueries < 2 => self.subquery(kind, scope, below),
            _ => {
                let operator = *self.chance.of_all(&["=", "<>", "<", "<=", ">", ">="]);
                format!("({} {operator} {})", self.expr(kind, scope, below), self.expr(kind, scope, below))
            }
        }
    }

    fn subquery(&mut self, kind: ColumnType, scope: &[Name], below: usize) -> String {
        self.subqueries += 1;
        let inner = self.select(&[kind]);
        match self.chance.below(4) {
            0 => format!("EXISTS ({inner})"),
            1 => format!("({} = ({inner} LIMIT 1))", self.expr(kind, scope, below)),
            2 => format!("({} NOT IN ({inner}))", self.expr(kind, scope, below)),
            _ => format!("({} IN ({inner}))", self.expr(kind, scope, below)),
        }
    }
}

fn named(items: &[String]) -> String {
    let named: Vec<String> = items.iter().enumerate().map(|(n, item)| format!("{item} AS x{n}")).collect();
    named.join(", ")
}

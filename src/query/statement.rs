//! What a statement may be, judged on its text and its syntax before anything is planned.
//!
//! One `SELECT` (with joins, set operations, window functions and non-recursive common table
//! expressions) over the one table of the grant. Its size, its nesting, the chains of its
//! operators, the tables that it reads and what its names expand to are bounded, so that planning
//! is, too.

use super::walk::Walk;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArguments, Ident, ObjectNamePart, Statement as Syntax, TableAlias, TableFactor, VisitMut,
    VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use perron_model::limits::{STATEMENT_BYTES_MAX, STATEMENT_CHAIN_MAX, STATEMENT_DEPTH_MAX};
use perron_model::{DatasetId, Error, ErrorCode, Result};
use std::ops::ControlFlow;

/// The name by which every statement may call the table of its grant.
pub const TABLE_ALIAS: &str = "data";

/// A statement that may be planned.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pub(crate) syntax: Syntax,
}

/// The names of the grant's table: the data set's, the same with `_` for `-` (which needs no
/// quotes), and `data`.
pub(crate) fn table_names(dataset: &DatasetId) -> Vec<String> {
    let mut names = vec![dataset.as_str().to_owned()];
    for other in [dataset.as_str().replace('-', "_"), TABLE_ALIAS.to_owned()] {
        if !names.contains(&other) {
            names.push(other);
        }
    }
    names
}

impl Statement {
    /// Reads `sql` for a grant of `dataset`.
    pub(crate) fn parse(sql: &str, dataset: &DatasetId) -> Result<Statement> {
        Statement::judged(sql, table_names(dataset), |_| {})
    }

    /// Reads `sql` for a grant of the log, whose tables have these names.
    pub(crate) fn parse_of_log(sql: &str, tables: Vec<String>) -> Result<Statement> {
        Statement::judged(sql, tables, |syntax| {
            let _ = VisitMut::visit(syntax, &mut UserColumn);
        })
    }

    fn judged(sql: &str, tables: Vec<String>, written: impl Fn(&mut Syntax)) -> Result<Statement> {
        if sql.len() > STATEMENT_BYTES_MAX {
            return Err(Error::new(
                ErrorCode::TooLarge,
                format!("a statement of {} bytes is over {STATEMENT_BYTES_MAX}", sql.len()),
            ));
        }
        let dialect = GenericDialect {};
        let tokens = Tokenizer::new(&dialect, sql)
            .tokenize_with_location()
            .map_err(|e| Error::new(ErrorCode::StatementInvalid, syntax_detail(&e.to_string())))?;
        check_nesting(tokens.iter().map(|t| &t.token))?;
        let statements = Parser::new(&dialect)
            .with_recursion_limit(STATEMENT_DEPTH_MAX * 4)
            .with_tokens_with_locations(tokens)
            .parse_statements()
            .map_err(|e| Error::new(ErrorCode::StatementInvalid, syntax_detail(&e.to_string())))?;
        let mut statements = statements.into_iter();
        let (Some(mut syntax), None) = (statements.next(), statements.next()) else {
            return Err(Error::new(ErrorCode::StatementInvalid, "exactly one statement is expected"));
        };
        written(&mut syntax);
        let Syntax::Query(query) = &syntax else {
            return Err(Error::new(ErrorCode::StatementNotAllowed, "only SELECT statements are served"));
        };
        Walk::new(tables).statement(query)?;
        let _ = VisitMut::visit(&mut syntax, &mut NameSubqueries(0));
        Ok(Statement { syntax })
    }
}

/// Takes `user` for the column of this name: the parser takes it for who is signed in.
struct UserColumn;

impl VisitorMut for UserColumn {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Function(Function { name, args: FunctionArguments::None, .. }) = expr
            && let [ObjectNamePart::Identifier(ident)] = name.0.as_slice()
            && ident.quote_style.is_none()
            && ident.value.eq_ignore_ascii_case("user")
        {
            *expr = Expr::Identifier(ident.clone());
        }
        ControlFlow::Continue(())
    }
}

/// Gives each subquery in FROM a name where the user gave none. DataFusion 55.2 takes projections
/// of unnamed subqueries for one when they compute columns of the same name from each other, and
/// answers `SELECT a + 1 AS a FROM (SELECT a + 1 AS a FROM (…))` wrongly; of named ones it doesn't.
struct NameSubqueries(usize);

impl VisitorMut for NameSubqueries {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Derived { alias: alias @ None, .. } = factor {
            self.0 += 1;
            let name = Ident::with_quote('"', format!("subquery {}", self.0));
            *alias = Some(TableAlias { explicit: true, name, columns: Vec::new(), at: None });
        }
        ControlFlow::Continue(())
    }
}

/// Bounds nesting and chains on the words alone, so that no later step recurses without bound.
fn check_nesting<'a>(tokens: impl Iterator<Item = &'a Token>) -> Result<()> {
    // For each open parenthesis: the longest run between commas so far, and the current run.
    let mut levels: Vec<(usize, usize)> = vec![(0, 0)];
    for token in tokens {
        match token {
            Token::Whitespace(_) => {}
            Token::LParen | Token::LBracket | Token::LBrace => {
                levels.push((0, 0));
                if levels.len() > STATEMENT_DEPTH_MAX + 1 {
                    return Err(Error::new(
                        ErrorCode::StatementInvalid,
                        format!("the statement is nested deeper than {STATEMENT_DEPTH_MAX} levels"),
                    ));
                }
            }
            Token::RParen | Token::RBracket | Token::RBrace => {
                let inner = if levels.len() > 1 { levels.pop() } else { None };
                let Some((longest, run)) = inner else {
                    return Err(Error::new(ErrorCode::StatementInvalid, "a parenthesis is closed that wasn't opened"));
                };
                grow(&mut levels, longest.max(run) + 1)?;
            }
            Token::Comma => {
                if let Some((longest, run)) = levels.last_mut() {
                    *longest = (*longest).max(*run);
                    *run = 0;
                }
            }
            _ => grow(&mut levels, 1)?,
        }
    }
    Ok(())
}

fn grow(levels: &mut [(usize, usize)], by: usize) -> Result<()> {
    if let Some((_, run)) = levels.last_mut() {
        *run += by;
        if *run > STATEMENT_CHAIN_MAX {
            return Err(Error::new(
                ErrorCode::StatementInvalid,
                format!("an expression of the statement is longer than {STATEMENT_CHAIN_MAX} words"),
            ));
        }
    }
    Ok(())
}

/// The parser's message, which speaks of the user's own text alone.
fn syntax_detail(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let text = line.strip_prefix("sql parser error: ").unwrap_or(line);
    let mut text: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
    if let Some(first) = text.get(..1) {
        let lower = first.to_lowercase();
        text.replace_range(..1, &lower);
    }
    format!("the statement can't be read: {text}")
}

#[cfg(test)]
#[path = "statement_tests.rs"]
mod tests;

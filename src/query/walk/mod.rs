//! The walk over a statement's syntax: only what is named here is served.

mod expr;

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, GroupByExpr, Ident, Join, JoinConstraint, JoinOperator, LimitClause, ObjectName, ObjectNamePart,
    OrderBy, OrderByExpr, OrderByKind, Query, Select, SelectFlavor, SelectItem, SelectItemQualifiedWildcardKind,
    SetExpr, SetQuantifier, TableFactor, TableWithJoins, WildcardAdditionalOptions,
};
use perron_model::limits::{STATEMENT_EXPANSION_MAX, STATEMENT_TABLES_MAX};
use perron_model::{Error, ErrorCode, Result};
use std::collections::BTreeMap;

/// What a piece of a statement comes to once every name stands for what it is made of.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    /// Tables read.
    tables: usize,
    /// Words of the largest expression.
    words: usize,
    /// Texts joined into the longest one.
    texts: usize,
}

impl Size {
    /// Two pieces beside each other in one expression.
    fn and(self, other: Size) -> Size {
        Size {
            tables: self.tables.saturating_add(other.tables),
            words: self.words.saturating_add(other.words),
            texts: self.texts.max(other.texts),
        }
    }
    /// Two pieces of which a name stands for one.
    fn or(self, other: Size) -> Size {
        Size {
            tables: self.tables.saturating_add(other.tables),
            words: self.words.max(other.words),
            texts: self.texts.max(other.texts),
        }
    }
    fn without_tables(self) -> Size {
        Size { tables: 0, ..self }
    }
}

/// One word.
const WORD: Size = Size { tables: 0, words: 1, texts: 1 };

/// The walk over one statement.
pub(super) struct Walk {
    tables: Vec<String>,
    ctes: BTreeMap<String, Size>,
    words: usize,
}

impl Walk {
    /// A walk for a grant whose table has the names `tables`.
    pub(super) fn new(tables: Vec<String>) -> Walk {
        Walk { tables, ctes: BTreeMap::new(), words: 0 }
    }

    /// Is the statement one that may be planned?
    pub(super) fn statement(mut self, query: &Query) -> Result<()> {
        let size = self.query(query, WORD)?;
        if size.tables > STATEMENT_TABLES_MAX {
            return Err(Error::new(
                ErrorCode::StatementInvalid,
                format!("the statement reads more than {STATEMENT_TABLES_MAX} tables"),
            ));
        }
        Ok(())
    }

    fn query(&mut self, query: &Query, outer: Size) -> Result<Size> {
        let Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        if fetch.is_some()
            || !locks.is_empty()
            || for_clause.is_some()
            || settings.is_some()
            || format_clause.is_some()
            || !pipe_operators.is_empty()
        {
            return Err(unsupported("a clause of the query"));
        }
        if let Some(with) = with {
            if with.recursive {
                return Err(unsupported("WITH RECURSIVE"));
            }
            for cte in &with.cte_tables {
                if cte.from.is_some() || cte.materialized.is_some() {
                    return Err(unsupported("an option of WITH"));
                }
                let size = self.query(&cte.query, outer)?;
                let name = normal(&cte.alias.name);
                // One meaning a name in the whole statement: so its use can be counted.
                if self.tables.contains(&name) || self.ctes.insert(name.clone(), size).is_some() {
                    return Err(Error::new(ErrorCode::StatementInvalid, format!("the name `{name}` is taken")));
                }
            }
        }
        let size = self.set(body, outer)?;
        let scope = size.without_tables().or(outer);
        let mut tables = size.tables;
        if let Some(order_by) = order_by {
            tables = tables.saturating_add(self.order(order_by, scope)?.tables);
        }
        match limit_clause {
            None => {}
            Some(LimitClause::LimitOffset { limit, offset, limit_by }) if limit_by.is_empty() => {
                for expr in limit.iter().chain(offset.iter().map(|o| &o.value)) {
                    tables = tables.saturating_add(self.expr(expr, scope)?.tables);
                }
            }
            Some(_) => return Err(unsupported("this form of LIMIT")),
        }
        Ok(Size { tables, ..size })
    }

    fn set(&mut self, set: &SetExpr, outer: Size) -> Result<Size> {
        match set {
            SetExpr::Select(select) => self.select(select, outer),
            SetExpr::Query(query) => self.query(query, outer),
            SetExpr::SetOperation { left, right, set_quantifier, .. } => {
                if !matches!(set_quantifier, SetQuantifier::All | SetQuantifier::Distinct | SetQuantifier::None) {
                    return Err(unsupported("BY NAME"));
                }
                Ok(self.set(left, outer)?.or(self.set(right, outer)?))
            }
            _ => Err(unsupported("anything but SELECT")),
        }
    }

    fn select(&mut self, select: &Select, outer: Size) -> Result<Size> {
        if !select.optimizer_hints.is_empty()
            || select.select_modifiers.is_some()
            || select.top.is_some()
            || select.exclude.is_some()
            || select.into.is_some()
            || !select.lateral_views.is_empty()
            || select.prewhere.is_some()
            || !select.connect_by.is_empty()
            || !select.cluster_by.is_empty()
            || !select.distribute_by.is_empty()
            || !select.sort_by.is_empty()
            || select.value_table_mode.is_some()
            || select.flavor != SelectFlavor::Standard
            || !select.named_window.is_empty()
        {
            return Err(unsupported("a clause of SELECT"));
        }
        let mut from = Size::default();
        for table in &select.from {
            from = from.or(self.joined(table, outer)?);
        }
        let mut tables = from.tables;
        let scope = from.without_tables().or(outer).or(WORD);
        let mut made = Size::default();
        for item in &select.projection {
            made = made.or(self.item(item, scope)?);
        }
        tables = tables.saturating_add(made.tables);
        // Names after the projection may stand for its items.
        let after = scope.or(made.without_tables());
        let mut others: Vec<&Expr> = select.selection.iter().collect();
        others.extend(select.having.iter().chain(&select.qualify));
        match &select.group_by {
            GroupByExpr::Expressions(exprs, modifiers) if modifiers.is_empty() => others.extend(exprs),
            _ => return Err(unsupported("this form of GROUP BY")),
        }
        match &select.distinct {
            None | Some(Distinct::All | Distinct::Distinct) => {}
            Some(Distinct::On(exprs)) => others.extend(exprs),
        }
        for expr in others {
            tables = tables.saturating_add(self.counted(expr, after)?.tables);
        }
        Ok(Size { tables, ..made })
    }

    fn item(&mut self, item: &SelectItem, scope: Size) -> Result<Size> {
        match item {
            SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => self.counted(expr, scope),
            SelectItem::Wildcard(options) if plain(options) => Ok(scope.without_tables()),
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(_), options)
                if plain(options) =>
            {
                Ok(scope.without_tables())
            }
            _ => Err(unsupported("this form of a select item")),
        }
    }

    fn joined(&mut self, table: &TableWithJoins, outer: Size) -> Result<Size> {
        let mut size = self.factor(&table.relation, outer)?;
        for Join { relation, global, join_operator } in &table.joins {
            if *global {
                return Err(unsupported("GLOBAL"));
            }
            size = size.or(self.factor(relation, outer)?);
            let constraint = match join_operator {
                JoinOperator::Join(c)
                | JoinOperator::Inner(c)
                | JoinOperator::Left(c)
                | JoinOperator::LeftOuter(c)
                | JoinOperator::Right(c)
                | JoinOperator::RightOuter(c)
                | JoinOperator::FullOuter(c)
                | JoinOperator::CrossJoin(c)
                | JoinOperator::LeftSemi(c)
                | JoinOperator::LeftAnti(c) => c,
                _ => return Err(unsupported("this form of a join")),
            };
            match constraint {
                JoinConstraint::On(expr) => {
                    let on = self.counted(expr, size.without_tables().or(outer).or(WORD))?;
                    size.tables = size.tables.saturating_add(on.tables);
                }
                JoinConstraint::Using(_) | JoinConstraint::None => {}
                JoinConstraint::Natural => return Err(unsupported("NATURAL")),
            }
        }
        Ok(size)
    }

    fn factor(&mut self, factor: &TableFactor, outer: Size) -> Result<Size> {
        match factor {
            TableFactor::Table {
                name,
                alias: _,
                args: None,
                with_hints,
                version: None,
                with_ordinality: false,
                partitions,
                json_path: None,
                sample: None,
                index_hints,
            } if with_hints.is_empty() && partitions.is_empty() && index_hints.is_empty() => self.table(name),
            TableFactor::Table { name, args: Some(_), .. } | TableFactor::Function { name, .. } => {
                Err(function_not_allowed(&name.to_string()))
            }
            TableFactor::Derived { lateral: false, subquery, alias: _, sample: None } => self.query(subquery, outer),
            TableFactor::NestedJoin { table_with_joins, alias: _ } => self.joined(table_with_joins, outer),
            TableFactor::UNNEST { .. } => Err(function_not_allowed("unnest")),
            TableFactor::TableFunction { .. } => Err(function_not_allowed("table")),
            _ => Err(unsupported("this form of a table")),
        }
    }

    fn table(&mut self, name: &ObjectName) -> Result<Size> {
        if let [ObjectNamePart::Identifier(ident)] = name.0.as_slice() {
            let known = normal(ident);
            if let Some(size) = self.ctes.get(&known) {
                return Ok(Size { tables: size.tables.max(1), ..*size });
            }
            if self.tables.contains(&known) {
                return Ok(Size { tables: 1, ..WORD });
            }
        }
        let asked: String = name.to_string().chars().take(80).collect();
        Err(Error::new(ErrorCode::TableNotGranted, format!("table `{asked}` isn't one that the agreement gives")))
    }

    fn order(&mut self, order: &OrderBy, scope: Size) -> Result<Size> {
        match &order.kind {
            OrderByKind::Expressions(exprs) if order.interpolate.is_none() => self.sorted(exprs, scope),
            _ => Err(unsupported("this form of ORDER BY")),
        }
    }

    fn sorted(&mut self, exprs: &[OrderByExpr], scope: Size) -> Result<Size> {
        let mut size = Size::default();
        for OrderByExpr { expr, options: _, with_fill } in exprs {
            if with_fill.is_some() {
                return Err(unsupported("WITH FILL"));
            }
            size = size.and(self.counted(expr, scope)?);
        }
        Ok(size)
    }

    /// An expression of its own, counted into the statement's total.
    fn counted(&mut self, expr: &Expr, scope: Size) -> Result<Size> {
        let size = self.expr(expr, scope)?;
        self.words = self.words.saturating_add(size.words);
        if self.words > STATEMENT_EXPANSION_MAX {
            return Err(Error::new(
                ErrorCode::StatementInvalid,
                format!("the statement's expressions expand to more than {STATEMENT_EXPANSION_MAX} words"),
            ));
        }
        Ok(size)
    }

    fn all<'a>(&mut self, exprs: impl IntoIterator<Item = &'a Expr>, scope: Size) -> Result<Size> {
        let mut size = WORD;
        for expr in exprs {
            size = size.and(self.expr(expr, scope)?);
        }
        Ok(size)
    }
}

/// An identifier as SQL compares it: lower-case unless quoted.
fn normal(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_ascii_lowercase() }
}

fn plain(options: &WildcardAdditionalOptions) -> bool {
    options.opt_ilike.is_none()
        && options.opt_exclude.is_none()
        && options.opt_except.is_none()
        && options.opt_replace.is_none()
        && options.opt_rename.is_none()
        && options.opt_alias.is_none()
}

fn unsupported(what: &str) -> Error {
    Error::new(ErrorCode::StatementNotAllowed, format!("{what} isn't served in a statement"))
}

fn function_not_allowed(name: &str) -> Error {
    let name: String = name.chars().take(80).collect();
    Error::new(ErrorCode::FunctionNotAllowed, format!("function `{name}` isn't one that is served"))
}

//! Expressions of a statement.

use super::{Size, WORD, Walk, function_not_allowed, normal, unsupported};
use crate::query::functions;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CastKind, CeilFloorKind, DataType, DateTimeField, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, ObjectNamePart, UnaryOperator, Value, WindowFrameBound, WindowSpec, WindowType,
};
use perron_model::limits::{STATEMENT_LITERAL_BYTES_MAX, STATEMENT_TEXT_EXPANSION_MAX};
use perron_model::{Error, ErrorCode, Result};

impl Walk {
    /// The size of an expression whose names stand for something of the size `scope`.
    pub(super) fn expr(&mut self, expr: &Expr, scope: Size) -> Result<Size> {
        match expr {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => Ok(scope.without_tables()),
            Expr::Value(value) => literal(&value.value),
            Expr::TypedString(typed) => {
                check_type(&typed.data_type)?;
                literal(&typed.value.value)
            }
            Expr::Interval(interval) => self.expr(&interval.value, scope),
            Expr::Nested(e)
            | Expr::IsFalse(e)
            | Expr::IsNotFalse(e)
            | Expr::IsTrue(e)
            | Expr::IsNotTrue(e)
            | Expr::IsNull(e)
            | Expr::IsNotNull(e)
            | Expr::IsUnknown(e)
            | Expr::IsNotUnknown(e) => self.all([e.as_ref()], scope),
            Expr::IsDistinctFrom(a, b) | Expr::IsNotDistinctFrom(a, b) => self.all([a.as_ref(), b.as_ref()], scope),
            Expr::BinaryOp { left, op, right } => self.binary(left, op, right, scope),
            Expr::UnaryOp { op: UnaryOperator::Plus | UnaryOperator::Minus | UnaryOperator::Not, expr } => {
                self.all([expr.as_ref()], scope)
            }
            Expr::Between { expr, low, high, negated: _ } => {
                self.all([expr.as_ref(), low.as_ref(), high.as_ref()], scope)
            }
            Expr::InList { expr, list, negated: _ } => self.all(std::iter::once(expr.as_ref()).chain(list), scope),
            Expr::Like { expr, pattern, any: false, .. } | Expr::ILike { expr, pattern, any: false, .. } => {
                self.all([expr.as_ref(), pattern.as_ref()], scope)
            }
            Expr::Case { operand, conditions, else_result, .. } => {
                let branches = conditions.iter().flat_map(|c| [&c.condition, &c.result]);
                self.all(operand.as_deref().into_iter().chain(branches).chain(else_result.as_deref()), scope)
            }
            Expr::InSubquery { expr, subquery, negated: _ } => {
                Ok(self.expr(expr, scope)?.and(self.query(subquery, scope)?))
            }
            Expr::Exists { subquery, negated: _ } => Ok(WORD.and(self.query(subquery, scope)?)),
            Expr::Subquery(query) => self.query(query, scope),
            Expr::Function(function) => self.function(function, scope),
            other => self.special(other, scope),
        }
    }

    /// Forms that SQL writes with words of their own.
    fn special(&mut self, expr: &Expr, scope: Size) -> Result<Size> {
        match expr {
            Expr::Cast {
                kind: CastKind::Cast | CastKind::TryCast | CastKind::SafeCast | CastKind::DoubleColon,
                expr,
                data_type,
                array: false,
                format: None,
            } => {
                check_type(data_type)?;
                self.all([expr.as_ref()], scope)
            }
            Expr::AtTimeZone { timestamp, time_zone } => {
                let Expr::Value(zone) = time_zone.as_ref() else {
                    return Err(unsupported("a time zone that isn't written out"));
                };
                literal(&zone.value)?;
                self.all([timestamp.as_ref()], scope)
            }
            Expr::Extract { field, expr, .. } => {
                if let DateTimeField::Custom(name) = field {
                    return Err(unsupported(&format!("EXTRACT of `{}`", normal(name))));
                }
                self.all([expr.as_ref()], scope)
            }
            Expr::Ceil { expr, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) }
            | Expr::Floor { expr, field: CeilFloorKind::DateTimeField(DateTimeField::NoDateTime) } => {
                self.all([expr.as_ref()], scope)
            }
            Expr::Position { expr, r#in } => self.all([expr.as_ref(), r#in.as_ref()], scope),
            Expr::Substring { expr, substring_from, substring_for, .. } => self.all(
                std::iter::once(expr.as_ref()).chain(substring_from.as_deref()).chain(substring_for.as_deref()),
                scope,
            ),
            Expr::Trim { expr, trim_what, trim_characters: None, .. } => {
                self.all(std::iter::once(expr.as_ref()).chain(trim_what.as_deref()), scope)
            }
            _ => Err(unsupported("this form of an expression")),
        }
    }

    fn binary(&mut self, left: &Expr, op: &BinaryOperator, right: &Expr, scope: Size) -> Result<Size> {
        use BinaryOperator::{
            And, Divide, Eq, Gt, GtEq, Lt, LtEq, Minus, Modulo, Multiply, NotEq, Or, Plus, StringConcat,
        };
        match op {
            Plus | Minus | Multiply | Divide | Modulo | Gt | Lt | GtEq | LtEq | Eq | NotEq | And | Or => {
                self.all([left, right], scope)
            }
            StringConcat => {
                let (left, right) = (self.expr(left, scope)?, self.expr(right, scope)?);
                joined(left.and(right), left.texts.saturating_add(right.texts))
            }
            other => Err(unsupported(&format!("the operator `{other}`"))),
        }
    }

    fn function(&mut self, function: &Function, scope: Size) -> Result<Size> {
        let name = match function.name.0.as_slice() {
            [ObjectNamePart::Identifier(ident)] => normal(ident),
            _ => return Err(function_not_allowed(&function.name.to_string())),
        };
        if !functions::allowed(&name) {
            return Err(function_not_allowed(&name));
        }
        if function.uses_odbc_syntax || !matches!(function.parameters, FunctionArguments::None) {
            return Err(unsupported("this form of a function call"));
        }
        let mut size = WORD;
        let mut texts: usize = 0;
        for argument in arguments(function)? {
            let argument = self.expr(argument, scope)?;
            texts = texts.saturating_add(argument.texts);
            size = size.and(argument);
        }
        if functions::joins_texts(&name) {
            // The separator of `concat_ws` is repeated between all others.
            size = joined(size, texts.saturating_mul(2))?;
        }
        if let Some(filter) = &function.filter {
            size = size.and(self.expr(filter, scope)?);
        }
        size = size.and(self.sorted(&function.within_group, scope)?);
        match &function.over {
            None => Ok(size),
            Some(_) if !functions::allowed_over_window(&name) || distinct(function) => {
                Err(unsupported(&format!("`{name}` over this window")))
            }
            Some(WindowType::WindowSpec(spec)) => Ok(size.and(self.window(spec, scope)?)),
            Some(WindowType::NamedWindow(_)) => Err(unsupported("a named window")),
        }
    }

    fn window(&mut self, spec: &WindowSpec, scope: Size) -> Result<Size> {
        if spec.window_name.is_some() {
            return Err(unsupported("a named window"));
        }
        let mut size = self.all(&spec.partition_by, scope)?.and(self.sorted(&spec.order_by, scope)?);
        if let Some(frame) = &spec.window_frame {
            for bound in std::iter::once(&frame.start_bound).chain(&frame.end_bound) {
                if let WindowFrameBound::Preceding(Some(e)) | WindowFrameBound::Following(Some(e)) = bound {
                    size = size.and(self.expr(e, scope)?);
                }
            }
        }
        Ok(size)
    }
}

fn distinct(function: &Function) -> bool {
    matches!(&function.args, FunctionArguments::List(list) if list.duplicate_treatment.is_some())
}

/// The arguments of a call; `count(*)` has none.
fn arguments(function: &Function) -> Result<Vec<&Expr>> {
    let list = match &function.args {
        FunctionArguments::None => return Ok(Vec::new()),
        FunctionArguments::List(list) => list,
        FunctionArguments::Subquery(_) => return Err(unsupported("this form of a function call")),
    };
    if !list.clauses.is_empty() {
        return Err(unsupported("a clause within a function call"));
    }
    let mut arguments = Vec::with_capacity(list.args.len());
    for argument in &list.args {
        match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => arguments.push(expr),
            FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => {}
            _ => return Err(unsupported("this form of an argument")),
        }
    }
    Ok(arguments)
}

fn joined(size: Size, texts: usize) -> Result<Size> {
    if texts > STATEMENT_TEXT_EXPANSION_MAX {
        return Err(Error::new(
            ErrorCode::StatementInvalid,
            format!("the statement joins more than {STATEMENT_TEXT_EXPANSION_MAX} texts into one"),
        ));
    }
    Ok(Size { texts, ..size })
}

fn literal(value: &Value) -> Result<Size> {
    match value {
        Value::SingleQuotedString(text) if text.len() > STATEMENT_LITERAL_BYTES_MAX => Err(Error::new(
            ErrorCode::StatementInvalid,
            format!("a text of the statement is longer than {STATEMENT_LITERAL_BYTES_MAX} bytes"),
        )),
        Value::Number(_, false) | Value::SingleQuotedString(_) | Value::Boolean(_) | Value::Null => Ok(WORD),
        Value::Placeholder(_) => Err(unsupported("a parameter")),
        _ => Err(unsupported("this form of a literal")),
    }
}

fn check_type(data_type: &DataType) -> Result<()> {
    use DataType::{
        BigInt, Bool, Boolean, Char, Date, Decimal, Double, DoublePrecision, Float, Int, Integer, Numeric, Real,
        SmallInt, String, Text, Timestamp, TinyInt, Varchar,
    };
    match data_type {
        BigInt(_)
        | Bool
        | Boolean
        | Char(_)
        | Date
        | Decimal(_)
        | Double(_)
        | DoublePrecision
        | Float(_)
        | Int(_)
        | Integer(_)
        | Numeric(_)
        | Real
        | SmallInt(_)
        | String(_)
        | Text
        | Timestamp(_, _)
        | TinyInt(_)
        | Varchar(_) => Ok(()),
        other => Err(unsupported(&format!(
            "the type `{}`",
            other.to_string().chars().take(40).collect::<std::string::String>()
        ))),
    }
}

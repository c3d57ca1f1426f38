//! Functions that choose a value (`coalesce`, `ifnull`, `nvl`, `nvl2`) as the `CASE` that they
//! stand for.
//!
//! The engine knows them only in this form, and makes it where it simplifies. A statement with a
//! constant that raises is left as it is there, and so would fail inside instead of for its reason.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result as PlanResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, when};
use datafusion::optimizer::AnalyzerRule;

/// Writes them as `CASE`, once all types are known.
#[derive(Debug)]
pub(super) struct Choices;

impl AnalyzerRule for Choices {
    fn name(&self) -> &str {
        "choices"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> PlanResult<LogicalPlan> {
        let written = plan.transform_up_with_subqueries(|node| {
            let names = NamePreserver::new(&node);
            node.map_expressions(|expression| {
                let name = names.save(&expression);
                Ok(expression.transform_up(as_case)?.update_data(|expression| name.restore(expression)))
            })
        });
        written.map(|written| written.data)
    }
}

fn as_case(expression: Expr) -> PlanResult<Transformed<Expr>> {
    let Expr::ScalarFunction(ScalarFunction { func, args }) = &expression else {
        return Ok(Transformed::no(expression));
    };
    let chosen = match (func.name(), args.as_slice()) {
        ("nvl2", [tested, then, otherwise]) => {
            when(tested.clone().is_not_null(), then.clone()).otherwise(otherwise.clone())?
        }
        ("coalesce" | "nvl", [.., last]) => first_of(args, last)?,
        _ => return Ok(Transformed::no(expression)),
    };
    Ok(Transformed::yes(chosen))
}

/// The first that isn't null, or else the last.
fn first_of(args: &[Expr], last: &Expr) -> PlanResult<Expr> {
    let mut before = args.iter().rev().skip(1).rev();
    let Some(first) = before.next() else { return Ok(last.clone()) };
    let mut case = when(first.clone().is_not_null(), first.clone());
    for next in before {
        case = case.when(next.clone().is_not_null(), next.clone());
    }
    case.otherwise(last.clone())
}

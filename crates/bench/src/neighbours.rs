//! A caller beside others who ask for as much as the bounds let them: short reads alone, and the
//! same while statements run that end only where they are cut.

use crate::figure::{Figure, Goal, Line, Round, Rounds};
use crate::flush::Probe;
use crate::reads::{read, user};
use crate::size::Size;
use crate::space::Space;
use crate::{conditions, failed};
use futures::StreamExt;
use perron_model::Result;
use std::time::Duration;

/// Long statements at a time.
const LONG: usize = 8;
/// All rows with all rows: within the memory that a statement has, no machine is through in time, and
/// nothing comes out until then.
const STATEMENT: &str = "SELECT count(*) FROM readings x, readings y WHERE x.litres + y.litres < 0";
/// How long the long statements run before the short ones begin: longer than they count as short.
const AHEAD: Duration = Duration::from_millis(1_000);

/// The figure of short reads beside long ones.
pub async fn measure(space: &Space, size: &Size) -> Result<Figure> {
    let load = conditions::load();
    let mut short = user(space, space.terms.relayed).await?;
    let mut probe = Probe::new(&space.provider)?;
    let (mut quiet, mut beside) = (Rounds::default(), Rounds::default());
    for _ in 0..3 {
        read(&mut short).await?;
    }
    for _ in 0..size.rounds {
        let mut round = Round::default();
        for _ in 0..size.reads {
            round.work.push(read(&mut short).await?);
            round.flush.push(probe.flush()?);
        }
        quiet.0.push(round);
        let mut long = tokio::task::JoinSet::<Result<()>>::new();
        for _ in 0..LONG {
            let mut asker = user(space, space.terms.relayed).await?;
            let info = asker.execute(STATEMENT.to_owned(), None).await.map_err(failed)?;
            let ticket = info.endpoint.first().and_then(|e| e.ticket.clone()).ok_or_else(|| failed("no ticket"))?;
            long.spawn(async move {
                // Until it is cut: the answer is never whole.
                let mut answer = asker.do_get(ticket).await.map_err(failed)?;
                while let Some(batch) = answer.next().await {
                    batch.map_err(failed)?;
                }
                Err(failed("a long statement came to its end"))
            });
        }
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + AHEAD, AHEAD);
        ticks.tick().await;
        let mut round = Round::default();
        for _ in 0..size.reads {
            round.work.push(read(&mut short).await?);
            round.flush.push(probe.flush()?);
        }
        beside.0.push(round);
        if let Some(ended) = long.try_join_next() {
            ended.map_err(failed)??;
        }
        long.shutdown().await;
        // The provider sees that nobody waits any more.
        ticks.tick().await;
    }
    let ratios = |of: fn(&Round) -> f64| {
        let each = quiet.0.iter().zip(&beside.0).map(|(alone, among)| of(among) / of(alone));
        crate::figure::Seen::median(&each.collect::<Vec<_>>())
    };
    let lines = vec![
        Line::new("p99 beside / alone", "ratio", ratios(Round::p99), Some(Goal::AtMost(2.0))),
        Line::new("p50 beside / alone", "ratio", ratios(Round::p50), None),
        Line::new("p99 alone", "µs", quiet.seen(Round::p99), None),
        Line::new("p99 beside", "µs", beside.seen(Round::p99), None),
        Line::new("flush p50", "µs", quiet.seen(Round::flush_p50), None),
    ];
    let what = "a short read beside eight statements that run until they are cut";
    let samples = quiet.samples() + beside.samples();
    Ok(Figure { name: "neighbours", what, lines, samples, load: [load, conditions::load()] })
}

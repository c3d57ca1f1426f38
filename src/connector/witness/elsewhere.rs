//! What others keep of our log, asked for before it is opened for writing.

use super::{Kept, log_verifiers_of};
use crate::connector::peers::Peers;
use crate::trust::register::VerifiedRegister;
use futures::StreamExt;
use perron_log::{Checkpoint, NoteError, OpenedCheckpoint};
use perron_model::limits::{HEADS_ASKED_ALL_MS_MAX, HEADS_ASKED_MAX, HEADS_ASKED_MS_MAX};
use perron_model::participant::{Participant, Role};
use perron_model::succession::generation_of;
use perron_model::{Error, ErrorCode, ParticipantId, Result, Timestamp};
use std::collections::HashMap;
use std::time::Duration;

/// What others keep of our log.
#[derive(Clone, Debug, Default)]
pub struct HeldElsewhere {
    /// Checkpoints that our log key signed.
    pub heads: Vec<Checkpoint>,
    /// Who answered.
    pub asked: Vec<ParticipantId>,
    /// A log of ours that took the place of this one, and who keeps a checkpoint of it.
    pub later: Option<(String, ParticipantId)>,
}

impl HeldElsewhere {
    /// Refuses where somebody keeps a head of a log that took the place of this one, and notes it: this
    /// directory isn't the newest state.
    pub(in crate::connector) fn require_in_force(&self, origin: &str, kept: &Kept, now: Timestamp) -> Result<()> {
        let Some((later, by)) = &self.later else { return Ok(()) };
        let detail = format!("`{by}` keeps a checkpoint of `{later}`, and this directory is of `{origin}`");
        kept.note_superseded(&detail, &[], now)?;
        Err(Error::new(ErrorCode::OwnLogForked, detail))
    }
}

/// What a checkpoint that somebody keeps says of our log in force, as our register names it.
#[derive(Debug)]
pub(in crate::connector) enum Shown {
    /// A head of it.
    Head(Box<OpenedCheckpoint>),
    /// That it isn't in force any more: our key signed a head of the log of this origin, a later one.
    Later(String),
    /// Nothing: our log key never signed it, or it is of a log before.
    Nothing,
}

impl Shown {
    /// Opens what somebody keeps as a checkpoint of ours.
    pub(in crate::connector) fn of(note: &str, own: &Participant) -> Shown {
        let open = |origin: &str| Checkpoint::open(note, origin, &log_verifiers_of(own, origin), &[]);
        match open(&own.log_origin) {
            Ok(opened) => Shown::Head(Box::new(opened)),
            Err(NoteError::OtherOrigin { found, .. }) if is_later(&found, &own.log_origin) && open(&found).is_ok() => {
                Shown::Later(found)
            }
            Err(_) => Shown::Nothing,
        }
    }
}

/// Are both origins of one participant's logs, the first that of a later generation?
fn is_later(origin: &str, than: &str) -> bool {
    let stem = |origin: &str| origin.rsplit_once('/').map(|(stem, _)| stem.to_owned());
    let later = generation_of(origin).ok().zip(generation_of(than).ok()).is_some_and(|(one, two)| one > two);
    later && stem(origin) == stem(than)
}

/// Asks all who can be reached for the newest checkpoint of our log that they keep: the authority, then
/// `partners`, then others, so many at a time. Those that don't answer in time are left out: a start waits for nobody.
pub async fn ask_for_heads(
    peers: &dyn Peers,
    register: &VerifiedRegister,
    me: &ParticipantId,
    partners: &[ParticipantId],
) -> HeldElsewhere {
    let mut held = HeldElsewhere::default();
    let Some(own) = register.participant(me) else { return held };
    let others: Vec<&Participant> = register.participants().filter(|p| p.id != *me && p.endpoint.is_some()).collect();
    let authority = others.iter().filter(|p| p.roles.contains(&Role::Authority)).map(|p| p.id.clone());
    let first: Vec<ParticipantId> = authority.chain(partners.iter().cloned()).collect();
    let others = in_order(others.iter().map(|p| &p.id).collect(), &first);
    let limit = Duration::from_millis(HEADS_ASKED_ALL_MS_MAX);
    for (who, note) in answers(others, |who| peers.kept(who), limit).await {
        match note.map_or(Shown::Nothing, |note| Shown::of(&note, own)) {
            Shown::Head(opened) => held.heads.push(opened.checkpoint),
            Shown::Later(origin) => held.later = Some((origin, who.clone())),
            Shown::Nothing => {}
        }
        held.asked.push(who.clone());
    }
    held.asked.sort();
    held
}

/// All of them by name, those of `first` before, as they stand there.
fn in_order<'a>(mut all: Vec<&'a ParticipantId>, first: &[ParticipantId]) -> Vec<&'a ParticipantId> {
    let places: HashMap<&ParticipantId, usize> = first.iter().enumerate().rev().map(|(at, id)| (id, at)).collect();
    all.sort_by_key(|id| (places.get(id).copied().unwrap_or(usize::MAX), *id));
    all
}

/// Who answers in time, and what: each has a time of its own, and all together have `limit`.
async fn answers<'a, T, F>(
    who: Vec<&'a ParticipantId>,
    ask: impl Fn(&'a ParticipantId) -> F,
    limit: Duration,
) -> Vec<(&'a ParticipantId, T)>
where
    F: Future<Output = Result<T>>,
{
    let each = Duration::from_millis(HEADS_ASKED_MS_MAX);
    let asking = who.into_iter().map(|id| {
        let answer = tokio::time::timeout(each, ask(id));
        async move { answer.await.ok().and_then(Result::ok).map(|answer| (id, answer)) }
    });
    let mut told = Vec::new();
    let heard = futures::stream::iter(asking).buffer_unordered(HEADS_ASKED_MAX).for_each(|answer| {
        told.extend(answer);
        std::future::ready(())
    });
    if tokio::time::timeout(limit, heard).await.is_err() {
        tracing::warn!("not all could be asked in time what they keep of this log");
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::testing::{World, id};
    use perron_log::Signer;
    use perron_log::merkle::Hash;
    use perron_model::participant::KeyUse;

    fn names(count: usize) -> Vec<ParticipantId> {
        (0..count).map(|number| id(&format!("n{number:03}"))).collect()
    }

    #[tokio::test]
    async fn all_are_asked_and_who_does_not_answer_keeps_nobody_waiting() {
        let all = names(5 * HEADS_ASKED_MAX);
        let long = Duration::from_millis(HEADS_ASKED_ALL_MS_MAX);
        let told = answers(all.iter().collect(), |who| std::future::ready(Ok(who.to_string())), long).await;
        let mut told: Vec<String> = told.into_iter().map(|(_, name)| name).collect();
        told.sort();
        assert_eq!(told, all.iter().map(ToString::to_string).collect::<Vec<_>>());

        // As many as are asked at a time never answer: those before them were heard.
        let heard = all.len() - 3 * HEADS_ASKED_MAX;
        let ask = |who: &ParticipantId| {
            let answers = *who < all[heard];
            async move { if answers { Ok(()) } else { std::future::pending().await } }
        };
        let told = answers(all.iter().collect(), ask, Duration::from_millis(500)).await;
        assert_eq!(told.len(), heard);
    }

    #[test]
    fn the_authority_and_partners_come_before_the_alphabet() {
        let all = names(4);
        let first = [all[3].clone(), id("gone"), all[1].clone(), all[3].clone()];
        let order = in_order(all.iter().collect(), &first);
        assert_eq!(order, [&all[3], &all[1], &all[0], &all[2]]);
    }

    #[test]
    fn a_head_of_a_later_log_says_that_this_one_is_closed() {
        let world = World::new(&["huy", "seraing"]);
        let register = world.verified();
        let own = register.participant(&id("huy")).unwrap();
        let shown = |origin: &str, by: &str| {
            let seed = world.keys(by).signing_key(KeyUse::Log).unwrap().seed();
            let signer = Signer::from_seed(origin, &seed).unwrap();
            let note = Checkpoint::new(origin, 7, Hash([3; 32])).sign(&[&signer]).unwrap().to_string();
            Shown::of(&note, own)
        };
        assert!(matches!(shown("liege/huy/1", "huy"), Shown::Head(opened) if opened.checkpoint.size == 7));
        assert!(matches!(shown("liege/huy/2", "huy"), Shown::Later(origin) if origin == "liege/huy/2"));
        assert!(matches!(shown("liege/huy/12", "huy"), Shown::Later(_)));
        // Another's key, and other logs.
        for (origin, by) in [
            ("liege/huy/2", "seraing"),
            ("liege/huy/1", "seraing"),
            ("liege/huy/0", "huy"),
            ("liege/huy/02", "huy"),
            ("liege/seraing/2", "huy"),
            ("liege/huy/huy/2", "huy"),
        ] {
            assert!(matches!(shown(origin, by), Shown::Nothing), "{origin} by {by}");
        }
        assert!(matches!(Shown::of("", own), Shown::Nothing));
    }
}

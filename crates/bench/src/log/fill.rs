//! Fills a log through its own interface: entries in their order and their chains, as many a batch as
//! asked, each batch durable, published as it goes on.

use crate::{appends, failed};
use perron::ledger::{Draft, SystemClock};
use perron_gate::Clock;
use perron_log::merkle::leaf_hash;
use perron_log::{Attachment, Log, NewEntry};
use perron_model::entry::{Body, ChainPosition, Decision, ENTRY_VERSION, Entry};
use perron_model::{AgreementId, Digest, Result, Timestamp};
use std::collections::HashMap;
use std::time::Instant;

/// Entries between two publications: their hashes are still in memory then.
const PUBLISHED_EACH: u64 = 32 * 1024;
/// Entries after which it says how far it is.
const TOLD_EACH: u64 = 1_000_000;
const BLIND_BYTES: usize = 16;

/// Fills a log up to so many entries, by what makes the draft of a number; the seconds that it took.
pub(super) fn fill(mut log: Log, entries: u64, batch: u64, draft: fn(u64) -> Draft) -> Result<f64> {
    let begun = Instant::now();
    let mut next = Next::after(&log, draft)?;
    let mut published = log.size();
    let mut told = TOLD_EACH;
    while log.size() < entries {
        let count = batch.min(entries - log.size());
        log.append(&next.batch(log.size(), count)?).map_err(failed)?;
        if log.size() - published >= PUBLISHED_EACH {
            log.publish().map_err(failed)?;
            published = log.size();
        }
        if log.size() >= told {
            println!("{told} entries in {:.0} s", begun.elapsed().as_secs_f64());
            told += TOLD_EACH;
        }
    }
    log.publish().map_err(failed)?;
    Ok(begun.elapsed().as_secs_f64())
}

/// A decision as the gate makes it, but refused: a permitted read waits for its outcome, and a start
/// closes all that do. What fills a log that is opened again is what nobody waits for.
pub(super) fn refusal(number: u64) -> Draft {
    let mut draft = appends::draft(usize::try_from(number).unwrap_or(usize::MAX), false);
    if let Body::Decision(decision) = draft.body {
        let reasons = vec!["purpose_not_allowed".to_owned()];
        draft.body = Body::Decision(Decision { permitted: false, reasons, ..decision });
    }
    draft
}

/// What the next entry builds on.
struct Next {
    draft: fn(u64) -> Draft,
    last: Option<Digest>,
    time: Timestamp,
    heads: HashMap<AgreementId, (u64, Digest)>,
}

impl Next {
    fn after(log: &Log, draft: fn(u64) -> Draft) -> Result<Next> {
        let mut next = Next { draft, last: None, time: Timestamp::EPOCH, heads: HashMap::new() };
        if let Some(newest) = log.size().checked_sub(1) {
            let leaf = log.leaf(newest).map_err(failed)?;
            next.last = Some(Digest::from_bytes(leaf_hash(&leaf).0));
            next.time = Entry::from_bytes(&leaf)?.time;
        }
        Ok(next)
    }

    fn batch(&mut self, first: u64, count: u64) -> Result<Vec<NewEntry>> {
        self.time = self.time.max(SystemClock.now());
        let mut blinds = vec![0u8; usize::try_from(count).map_err(failed)? * BLIND_BYTES];
        getrandom::fill(&mut blinds).map_err(failed)?;
        let numbered = (first..).zip(blinds.chunks_exact(BLIND_BYTES));
        numbered.map(|(index, blind)| self.entry(index, blind)).collect()
    }

    fn entry(&mut self, index: u64, blind: &[u8]) -> Result<NewEntry> {
        let Draft { body, chain, attachments, .. } = (self.draft)(index);
        let chain = chain.map(|agreement| match self.heads.get(&agreement) {
            Some((number, leaf)) => ChainPosition { agreement, number: number + 1, previous: Some(*leaf) },
            None => ChainPosition { agreement, number: 0, previous: None },
        });
        let entry = Entry {
            version: ENTRY_VERSION,
            index,
            time: self.time,
            previous: self.last,
            blind: <[u8; BLIND_BYTES]>::try_from(blind).map_err(failed)?.into(),
            chain,
            trace: None,
            on_behalf_of: None,
            processing_activity: None,
            body,
        };
        let bytes = entry.to_bytes()?;
        let leaf = Digest::from_bytes(leaf_hash(&bytes).0);
        self.last = Some(leaf);
        if let Some(position) = &entry.chain {
            self.heads.insert(position.agreement, (position.number, leaf));
        }
        let attached = |(kind, bytes)| Attachment { kind: kind as u16, bytes };
        Ok(NewEntry { leaf: bytes, attachments: attachments.into_iter().map(attached).collect() })
    }
}

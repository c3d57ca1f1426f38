//! Fills a log through its own interface: decisions in their chains, as many a batch as asked, each
//! batch durable, published as it goes on.

use super::ground;
use crate::{appends, failed};
use perron::ledger::{Draft, SystemClock};
use perron_gate::Clock;
use perron_log::NewEntry;
use perron_log::merkle::leaf_hash;
use perron_model::entry::{Body, ChainPosition, ENTRY_VERSION, Entry};
use perron_model::{AgreementId, Digest, Result, Timestamp};
use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

/// Entries between two publications: their hashes are still in memory then.
const PUBLISHED_EACH: u64 = 32 * 1024;
/// Entries after which it says how far it is.
const TOLD_EACH: u64 = 1_000_000;
const BLIND_BYTES: usize = 16;

/// Fills the log of a new directory; the seconds that it took.
pub(super) fn fill(directory: &Path, entries: u64, batch: u64) -> Result<f64> {
    let begun = Instant::now();
    let mut log = ground::log(directory)?;
    let mut chains = Chains::default();
    let mut published = 0;
    let mut told = TOLD_EACH;
    while log.size() < entries {
        let count = batch.min(entries - log.size());
        log.append(&chains.batch(log.size(), count)?).map_err(failed)?;
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

/// What the next entry builds on.
struct Chains {
    last: Option<Digest>,
    time: Timestamp,
    heads: HashMap<AgreementId, (u64, Digest)>,
}

impl Default for Chains {
    fn default() -> Chains {
        Chains { last: None, time: Timestamp::EPOCH, heads: HashMap::new() }
    }
}

impl Chains {
    fn batch(&mut self, first: u64, count: u64) -> Result<Vec<NewEntry>> {
        self.time = self.time.max(SystemClock.now());
        let mut blinds = vec![0u8; usize::try_from(count).map_err(failed)? * BLIND_BYTES];
        getrandom::fill(&mut blinds).map_err(failed)?;
        let numbered = (first..).zip(blinds.chunks_exact(BLIND_BYTES));
        numbered.map(|(index, blind)| self.entry(index, blind)).collect()
    }

    fn entry(&mut self, index: u64, blind: &[u8]) -> Result<NewEntry> {
        let Draft { body, chain, .. } = appends::draft(usize::try_from(index).map_err(failed)?, false);
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
            body: refused(body),
        };
        let bytes = entry.to_bytes()?;
        let leaf = Digest::from_bytes(leaf_hash(&bytes).0);
        self.last = Some(leaf);
        if let Some(position) = &entry.chain {
            self.heads.insert(position.agreement, (position.number, leaf));
        }
        Ok(NewEntry { leaf: bytes, attachments: Vec::new() })
    }
}

/// A permitted read waits for its outcome, and a start closes all that do: what fills a log that is
/// opened again is what nobody waits for.
fn refused(body: Body) -> Body {
    match body {
        Body::Decision(decision) => Body::Decision(perron_model::entry::Decision {
            permitted: false,
            reasons: vec!["purpose_not_allowed".to_owned()],
            ..decision
        }),
        other => other,
    }
}

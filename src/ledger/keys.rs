//! The keys of a log: which of them sign at a time, and which did before.

use perron_log::{LogSettings, NoteSigner, Signer, Verifier};
use perron_model::{Error, ErrorCode, Result, Timestamp};
use std::sync::Arc;

/// A log key that this process holds, and the time in which it is in force.
#[derive(Clone, Debug)]
pub struct LogKey {
    /// The key.
    pub signer: Arc<Signer>,
    /// From when on; always, where nobody says.
    pub from: Option<Timestamp>,
    /// Until when, exclusive; none while nothing ends it.
    pub until: Option<Timestamp>,
}

/// The keys of a log. Those in force at a time all sign, the oldest first.
#[derive(Clone, Debug)]
pub struct LogKeys {
    held: Vec<LogKey>,
    known: Vec<Verifier>,
}

impl LogKeys {
    /// These keys, and others of whose notes are this log's too.
    pub fn new(mut held: Vec<LogKey>, known: Vec<Verifier>) -> LogKeys {
        held.sort_by_key(|key| key.from);
        LogKeys { held, known }
    }

    /// One key, always in force.
    pub fn alone(signer: Signer) -> LogKeys {
        LogKeys::new(vec![LogKey { signer: Arc::new(signer), from: None, until: None }], Vec::new())
    }

    /// The keys that sign at `at`. Before the first of them is in force, which a clock that lags may
    /// show, that first one.
    ///
    /// # Errors
    /// `key_invalid` where the last of them has ended.
    pub fn signing(&self, at: Timestamp) -> Result<Vec<Arc<Signer>>> {
        let has_begun = |key: &&LogKey| key.from.is_none_or(|from| from <= at);
        let lives = || self.held.iter().filter(|key| key.until.is_none_or(|until| at < until));
        let mut signing: Vec<Arc<Signer>> = lives().filter(has_begun).map(|key| key.signer.clone()).collect();
        if signing.is_empty() {
            signing.extend(lives().next().map(|key| key.signer.clone()));
        }
        if signing.is_empty() {
            return Err(Error::new(ErrorCode::KeyInvalid, "no log key that this directory holds is in force"));
        }
        Ok(signing)
    }

    /// The public halves of all.
    pub fn verifiers(&self) -> Vec<Verifier> {
        let held = self.held.iter().map(|key| key.signer.verifier().clone());
        let mut all: Vec<Verifier> = held.collect();
        all.extend(self.known.iter().filter(|key| !self.held.iter().any(|h| h.signer.verifier() == *key)).cloned());
        all
    }

    /// Settings of the log at `at`.
    ///
    /// # Errors
    /// As [`LogKeys::signing`].
    pub fn settings(&self, origin: &str, generation: u64, at: Timestamp) -> Result<LogSettings> {
        self.signed_by(origin, generation, self.signing(at)?)
    }

    /// Settings of a log that nobody writes to.
    ///
    /// # Errors
    /// `key_invalid` where no key is held.
    pub fn reading(&self, origin: &str, generation: u64) -> Result<LogSettings> {
        self.signed_by(origin, generation, self.held.last().map(|key| key.signer.clone()).into_iter().collect())
    }

    fn signed_by(&self, origin: &str, generation: u64, signing: Vec<Arc<Signer>>) -> Result<LogSettings> {
        let is_signing = |key: &Verifier| signing.iter().any(|signer| signer.verifier() == key);
        let former_keys = self.verifiers().into_iter().filter(|key| !is_signing(key)).collect();
        let mut signers = boxed(signing).into_iter();
        let first = signers.next().ok_or_else(|| Error::new(ErrorCode::KeyInvalid, "a log has a key"))?;
        let mut settings = LogSettings::new(origin, generation, first);
        settings.signers.extend(signers);
        settings.former_keys = former_keys;
        Ok(settings)
    }
}

pub(super) fn boxed(signers: Vec<Arc<Signer>>) -> Vec<Box<dyn NoteSigner>> {
    signers.into_iter().map(|signer| Box::new(signer) as Box<dyn NoteSigner>).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms).unwrap()
    }

    fn key(seed: u8, from: i64, until: Option<i64>) -> LogKey {
        let signer = Signer::from_seed("s/ville/1", &[seed; 32]).unwrap();
        LogKey { signer: Arc::new(signer), from: Some(at(from)), until: until.map(at) }
    }

    #[test]
    fn in_the_overlap_both_sign_the_old_one_first() {
        let keys = LogKeys::new(vec![key(2, 100, None), key(1, 10, Some(200))], Vec::new());
        let ids = |ms| keys.signing(at(ms)).unwrap().iter().map(|s| s.verifier().key_id()).collect::<Vec<_>>();
        let [one, two] = [1, 2].map(|seed| key(seed, 0, None).signer.verifier().key_id());
        assert_eq!(ids(5), [one], "a clock that lags");
        assert_eq!(ids(10), [one]);
        assert_eq!(ids(99), [one]);
        assert_eq!(ids(100), [one, two]);
        assert_eq!(ids(199), [one, two]);
        assert_eq!(ids(200), [two]);
        let settings = keys.settings("s/ville/1", 1, at(200)).unwrap();
        assert_eq!((settings.signers.len(), settings.former_keys.len()), (1, 1));
    }

    #[test]
    fn a_log_without_a_key_in_force_signs_nothing() {
        let keys = LogKeys::new(vec![key(1, 10, Some(200))], vec![key(3, 0, None).signer.verifier().clone()]);
        assert_eq!(keys.signing(at(200)).unwrap_err().code, ErrorCode::KeyInvalid);
        assert_eq!(keys.verifiers().len(), 2);
    }
}

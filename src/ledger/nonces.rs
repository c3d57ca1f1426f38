//! Nonces of tickets: single use, short-lived, void after a restart.
//!
//! Freshness so needs neither a store of nonces seen nor a common clock.

use perron_model::limits::{TICKET_LIFE_MS, TICKETS_PER_CALLER_MAX};
use perron_model::{AgreementId, Error, ErrorCode, ParticipantId, Result, Timestamp};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// What a nonce was issued for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedNonce {
    /// To whom.
    pub peer: ParticipantId,
    /// Under which agreement.
    pub agreement: AgreementId,
    /// Until when.
    pub expires: Timestamp,
}

/// The nonces that are out.
#[derive(Debug, Default)]
pub struct Nonces(Mutex<HashMap<String, IssuedNonce>>);

impl Nonces {
    /// Issues one; a caller may hold `TICKETS_PER_CALLER_MAX` at a time.
    pub fn issue(&self, peer: &ParticipantId, agreement: AgreementId, now: Timestamp) -> Result<String> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|_, n| n.expires > now);
        if held.values().filter(|n| n.peer == *peer).count() >= TICKETS_PER_CALLER_MAX {
            return Err(Error::new(
                ErrorCode::Overloaded,
                format!("more than {TICKETS_PER_CALLER_MAX} tickets are waiting to be used"),
            ));
        }
        let nonce = crate::ledger::writer::random_text()?;
        held.insert(
            nonce.clone(),
            IssuedNonce { peer: peer.clone(), agreement, expires: now.plus_millis(TICKET_LIFE_MS) },
        );
        Ok(nonce)
    }

    /// Is this nonce out for this peer and agreement? It stays out.
    pub fn check(&self, nonce: &str, peer: &ParticipantId, agreement: &AgreementId, now: Timestamp) -> Result<()> {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match held.get(nonce) {
            Some(n) if n.peer == *peer && n.agreement == *agreement && n.expires > now => Ok(()),
            _ => Err(Error::new(ErrorCode::TicketInvalid, "the ticket isn't known, was used, or is too old")),
        }
    }

    /// Takes a nonce of this peer out of use, if it is out.
    pub fn void(&self, nonce: &str, peer: &ParticipantId) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.get(nonce).is_some_and(|n| n.peer == *peer) {
            held.remove(nonce);
        }
    }

    /// Takes the nonce out of use. Only the first who spends it may go on.
    pub fn spend(&self, nonce: &str) -> Result<()> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.remove(nonce)
            .map(|_| ())
            .ok_or_else(|| Error::new(ErrorCode::TicketInvalid, "the ticket isn't known, was used, or is too old"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use perron_model::Digest;

    #[test]
    fn a_nonce_is_spent_once_by_whom_it_was_issued_to_and_in_time() {
        let nonces = Nonces::default();
        let me = ParticipantId::parse("a").unwrap();
        let other = ParticipantId::parse("b").unwrap();
        let agreement = Digest::of(b"x");
        let now = Timestamp::from_millis(1_000).unwrap();
        let nonce = nonces.issue(&me, agreement, now).unwrap();
        assert!(nonces.check(&nonce, &me, &agreement, now).is_ok());
        assert!(nonces.check(&nonce, &other, &agreement, now).is_err());
        assert!(nonces.check(&nonce, &me, &Digest::of(b"y"), now).is_err());
        assert!(nonces.check(&nonce, &me, &agreement, now.plus_millis(TICKET_LIFE_MS)).is_err());
        nonces.spend(&nonce).unwrap();
        assert_eq!(nonces.spend(&nonce).unwrap_err().code, ErrorCode::TicketInvalid);
        let nonce = nonces.issue(&me, agreement, now).unwrap();
        nonces.void(&nonce, &other);
        assert!(nonces.check(&nonce, &me, &agreement, now).is_ok());
        nonces.void(&nonce, &me);
        assert_eq!(nonces.spend(&nonce).unwrap_err().code, ErrorCode::TicketInvalid);
        for _ in 0..TICKETS_PER_CALLER_MAX {
            nonces.issue(&me, agreement, now).unwrap();
        }
        assert_eq!(nonces.issue(&me, agreement, now).unwrap_err().code, ErrorCode::Overloaded);
        assert!(nonces.issue(&me, agreement, now.plus_millis(TICKET_LIFE_MS)).is_ok());
    }
}

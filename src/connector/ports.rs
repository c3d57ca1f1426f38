//! The gate's ports over what this organisation has.

use crate::connector::state::State;
use crate::policy::Policies;
use crate::source::Sets;
use crate::trust::register::RegisterHandle;
use perron_gate::{AgreementInForce, Clock, Evaluated, Standing};
use perron_model::decision::AccessInput;
use perron_model::life::Standing as Life;
use perron_model::negotiation::Side;
use perron_model::participant::Status;
use perron_model::policy::{Terms, odrl};
use perron_model::{AgreementId, ParticipantId, Result, Timestamp};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Most agreements whose normalised terms are kept at hand.
const TERMS_CACHED_MAX: usize = 10_000;

/// The register as the gate sees it.
#[derive(Clone)]
pub struct RegisterPort(pub Arc<RegisterHandle>);

impl perron_gate::Register for RegisterPort {
    fn standing(&self, id: &ParticipantId, now: Timestamp) -> Standing {
        let register = self.0.load();
        // The register's own time is a lower bound of now: a clock that lags a little makes no
        // new member unknown, one that lags much decides nothing.
        let clock_behind = register.is_ahead_of(now);
        let at = now.max(register.payload().issued);
        let status = match register.participant(id) {
            Some(p) if p.status == Status::Active && p.require_in_force(at).is_err() => Status::Suspended,
            Some(p) => p.status,
            None => Status::Revoked,
        };
        Standing { status, version: register.version(), fresh: register.is_fresh(now), clock_behind }
    }
}

/// Agreements of which this organisation is the provider.
pub struct AgreementsPort {
    state: Arc<State>,
    sets: Arc<Sets>,
    terms: RwLock<HashMap<AgreementId, Arc<Terms>>>,
}

impl AgreementsPort {
    /// Over the state and the published sets.
    pub fn new(state: Arc<State>, sets: Arc<Sets>) -> AgreementsPort {
        AgreementsPort { state, sets, terms: RwLock::default() }
    }
}

impl perron_gate::Agreements for AgreementsPort {
    fn agreement(&self, id: &AgreementId) -> Option<AgreementInForce> {
        let kept = self.state.agreement(id).filter(|a| a.side == Side::Provider)?;
        let standing = self.state.standing_of(id)?;
        let (dataset, snapshot) = self.sets.current(&kept.payload.offer.dataset)?;
        let cached = self.terms.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        let terms = match cached {
            Some(terms) => terms,
            None => {
                // What was agreed was parsed before it was signed; a set described anew since
                // may not fit any more, and then there is no agreement to go by.
                let terms =
                    Arc::new(odrl::parse(&kept.payload.offer.policy, &dataset, Some(&kept.payload.consumer)).ok()?);
                let mut cache = self.terms.write().unwrap_or_else(PoisonError::into_inner);
                if cache.len() >= TERMS_CACHED_MAX {
                    cache.clear();
                }
                cache.insert(*id, terms.clone());
                terms
            }
        };
        Some(AgreementInForce {
            id: *id,
            provider: kept.payload.provider,
            consumer: kept.payload.consumer,
            finalized: true,
            revoked: standing == Life::Revoked,
            suspended: standing == Life::Suspended,
            amended: standing == Life::Amended,
            legal_basis: kept.payload.offer.legal_basis.term,
            terms,
            dataset,
            snapshot: Some(snapshot),
        })
    }
}

/// The policies as the gate sees them.
#[derive(Clone)]
pub struct PolicyPort(pub Arc<Policies>);

impl perron_gate::Policy for PolicyPort {
    async fn access(&self, input: &AccessInput) -> Result<Evaluated> {
        perron_gate::Policy::access(self.0.as_ref(), input).await
    }
}

/// The clock as the gate sees it.
#[derive(Clone)]
pub struct ClockPort(pub Arc<dyn Clock>);

impl Clock for ClockPort {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

//! The gate's ports over what this organisation has.

use crate::connector::state::State;
use crate::policy::Policies;
use crate::source::Sets;
use crate::trust::register::RegisterHandle;
use perron_gate::{AgreementInForce, Clock, Evaluated, Known, Standing};
use perron_model::dataset::{Dataset, Snapshot};
use perron_model::decision::{AccessInput, DutyState, StaffInput};
use perron_model::id::DatasetId;
use perron_model::life::{FactValue, Standing as Life};
use perron_model::limits::TERMS_AT_HAND_MAX;
use perron_model::negotiation::Side;
use perron_model::participant::Status;
use perron_model::policy::{Scalar, Terms, odrl};
use perron_model::{AgreementId, ParticipantId, Result, Timestamp};
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

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

    fn jurisdiction(&self, id: &ParticipantId) -> Option<String> {
        self.0.load().participant(id).map(|p| p.jurisdiction.clone())
    }
}

/// What the gate decides by of an agreement: what was agreed doesn't change, and its policy was read
/// for a description of the set.
struct Agreed {
    id: AgreementId,
    provider: ParticipantId,
    consumer: ParticipantId,
    set: DatasetId,
    at: Timestamp,
    legal_basis: String,
    terms: Arc<Terms>,
    described: Arc<Dataset>,
}

/// Agreements of which this organisation is the provider.
pub struct AgreementsPort {
    state: Arc<State>,
    sets: Arc<Sets>,
    clock: Arc<dyn Clock>,
    agreed: RwLock<HashMap<AgreementId, Arc<Agreed>>>,
}

impl AgreementsPort {
    /// Over the state and the published sets.
    pub fn new(state: Arc<State>, sets: Arc<Sets>, clock: Arc<dyn Clock>) -> AgreementsPort {
        AgreementsPort { state, sets, clock, agreed: RwLock::default() }
    }

    /// What was agreed, with the newest snapshot of its set.
    fn agreed(&self, id: &AgreementId) -> Option<(Arc<Agreed>, Snapshot)> {
        let at_hand = self.agreed.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned();
        if let Some(agreed) = at_hand {
            let (described, snapshot) = self.sets.current(&agreed.set)?;
            if Arc::ptr_eq(&described, &agreed.described) {
                return Some((agreed, snapshot));
            }
        }
        let kept = self.state.agreement(id).filter(|a| a.side == Side::Provider)?;
        let offer = &kept.payload.offer;
        let (described, snapshot) = self.sets.current(&offer.dataset)?;
        // What was agreed was parsed before it was signed; a set described anew since may not fit
        // any more, and then there is no agreement to go by.
        let terms = Arc::new(odrl::parse(&offer.policy, &described, Some(&kept.payload.consumer)).ok()?);
        let agreed = Arc::new(Agreed {
            id: *id,
            provider: kept.payload.provider.clone(),
            consumer: kept.payload.consumer.clone(),
            set: offer.dataset.clone(),
            at: kept.payload.timestamp,
            legal_basis: offer.legal_basis.term.clone(),
            terms,
            described,
        });
        let mut at_hand = self.agreed.write().unwrap_or_else(PoisonError::into_inner);
        if at_hand.len() >= TERMS_AT_HAND_MAX {
            at_hand.clear();
        }
        at_hand.insert(*id, agreed.clone());
        Some((agreed, snapshot))
    }
}

impl perron_gate::Agreements for AgreementsPort {
    fn agreement(&self, id: &AgreementId) -> Option<AgreementInForce> {
        let (agreed, snapshot) = self.agreed(id)?;
        let standing = self.state.standing_of(id)?;
        let known = known(&self.state, &agreed, self.clock.now());
        Some(AgreementInForce {
            id: *id,
            provider: agreed.provider.clone(),
            consumer: agreed.consumer.clone(),
            finalized: true,
            revoked: standing == Life::Revoked,
            suspended: standing == Life::Suspended,
            amended: standing == Life::Amended,
            agreed_at: agreed.at,
            known,
            legal_basis: agreed.legal_basis.clone(),
            terms: agreed.terms.clone(),
            dataset: agreed.described.clone(),
            snapshot: Some(snapshot),
        })
    }
}

/// What the policy may ask of the world: its duties, one that is late being violated, declared
/// facts, and who and what belongs to declared collections.
fn known(state: &State, agreement: &Agreed, now: Timestamp) -> Known {
    let (id, agreed_at, rules) = (&agreement.id, agreement.at, &agreement.terms.rules);
    let mut known = Known::default();
    if rules.duties().next().is_some() {
        let kept = state.life(id);
        let states = rules.duties().map(|duty| {
            let within = duty.within_ms.map(|ms| agreed_at.millis().saturating_add(ms));
            let until = duty.before_ms.into_iter().chain(within).min();
            let told = kept.as_ref().and_then(|kept| kept.life.fulfilled(id, &duty.at)).map(|told| told.time);
            let late = until.is_some_and(|until| told.unwrap_or(now).millis() >= until);
            let state = match (late, told) {
                (true, _) => DutyState::Violated,
                (false, Some(_)) => DutyState::Fulfilled,
                (false, None) => DutyState::NotSet,
            };
            (duty.at.clone(), state)
        });
        known.duties = states.collect();
    }
    for collection in state.collections_named(&rules.collections()) {
        let name = collection.name.to_string();
        if collection.has_party(&agreement.consumer) {
            known.consumer_of.push(name.clone());
        }
        if collection.has_set(&agreement.set) {
            known.dataset_of.push(name.clone());
        }
        known.collections.push(name);
    }
    let asked = rules.facts();
    if !asked.is_empty() {
        let scalar = |value| match value {
            FactValue::Boolean(value) => Scalar::Boolean(value),
            FactValue::Text(text) => Scalar::Text(text),
        };
        let declared = state.facts().into_iter().filter(|(name, _)| asked.contains(name.as_str()));
        known.facts = declared.map(|(name, fact)| (name.as_str().to_owned(), scalar(fact.value))).collect();
    }
    known
}

/// The policies as the gate sees them.
#[derive(Clone)]
pub struct PolicyPort(pub Arc<Policies>);

impl perron_gate::Policy for PolicyPort {
    async fn access(&self, input: &AccessInput) -> Result<Evaluated> {
        perron_gate::Policy::access(self.0.as_ref(), input).await
    }
    async fn staff(&self, input: &StaffInput) -> Result<Evaluated> {
        perron_gate::Policy::staff(self.0.as_ref(), input).await
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

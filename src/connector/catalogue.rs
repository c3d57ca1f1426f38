//! Sets and offers: publishing them, and who may see them.

use crate::connector::node::Node;
use crate::connector::peers::CatalogueItem;
use crate::connector::state::{Approval, PublishedOffer};
use crate::source::SourceFile;
use perron_model::agreement::{LegalBasis, Offer};
use perron_model::dataset::{Dataset, Snapshot};
use perron_model::id::DatasetId;
use perron_model::limits::RELEASE_TABLES_MAX;
use perron_model::negotiation::Side;
use perron_model::policy::{ReleaseSpec, Terms, View, odrl};
use perron_model::{Digest, Error, ErrorCode, ParticipantId, Result, canonical};
use serde_json::Value as Json;

/// Who acts where nobody did: the process, when it starts.
const STARTING: &str = "start";

impl Node {
    /// Publishes a set: its description is complete or it is refused.
    pub async fn add_dataset(&self, actor: &str, dataset: Dataset, source: SourceFile) -> Result<Snapshot> {
        let dataset = dataset.check()?;
        self.ledger.require_room()?;
        let sets = self.sets.clone();
        let described = dataset.clone();
        let now = self.now();
        let snapshot = blocking(move || sets.add(described, &source, now)).await?;
        self.administer("dataset.add", actor, canonical::to_bytes(&(&dataset, &snapshot))?).await?;
        Ok(snapshot)
    }

    /// Appends to a set, or replaces its rows.
    pub async fn update_dataset(
        &self,
        actor: &str,
        id: DatasetId,
        source: SourceFile,
        replace: bool,
    ) -> Result<Snapshot> {
        self.ledger.require_room()?;
        let sets = self.sets.clone();
        let now = self.now();
        let name = id.clone();
        let snapshot =
            blocking(
                move || if replace { sets.replace(&name, &source, now) } else { sets.append(&name, &source, now) },
            )
            .await?;
        self.administer(
            if replace { "dataset.replace" } else { "dataset.append" },
            actor,
            canonical::to_bytes(&snapshot)?,
        )
        .await?;
        Ok(snapshot)
    }

    /// Takes a set back: it is no longer seen, offered or read.
    pub async fn withdraw_dataset(&self, actor: &str, id: &DatasetId) -> Result<()> {
        self.sets.withdraw(id)?;
        self.administer("dataset.withdraw", actor, canonical::to_bytes(id)?).await
    }

    /// What moved in the sets and has no entry, because a crash or a full disk came between, gets
    /// it now: the log says what may be read. Called at the start.
    pub(crate) async fn note_sets(&self) -> Result<()> {
        let mut noted = self.state.published_sets()?;
        for (dataset, snapshot) in self.sets.list() {
            if noted.remove(&dataset.id) != Some(snapshot.digest) {
                let document = canonical::to_bytes(&(dataset.as_ref(), &snapshot))?;
                self.administer("dataset.found", STARTING, document).await?;
            }
        }
        for gone in noted.into_keys() {
            self.administer("dataset.withdraw", STARTING, canonical::to_bytes(&gone)?).await?;
        }
        Ok(())
    }

    /// Publishes an offer. Its policy is parsed against the set here: a term that nothing would
    /// enforce is refused now, by name.
    #[allow(clippy::too_many_arguments, reason = "an offer has these parts")]
    pub async fn add_offer(
        &self,
        actor: &str,
        id: DatasetId,
        dataset: &DatasetId,
        policy: Json,
        legal_basis: LegalBasis,
        approval: Approval,
        consumer: Option<ParticipantId>,
    ) -> Result<Offer> {
        let (described, _) = self
            .sets
            .current(dataset)
            .ok_or_else(|| Error::new(ErrorCode::NotFound, format!("no set `{dataset}` is published")))?;
        let terms = odrl::parse(&policy, &described, consumer.as_ref())?;
        odrl::check_legal_basis(&terms, &legal_basis.term)?;
        self.check_release(dataset, &terms)?;
        if self.state.offer(&id).is_some_and(|o| o.open) {
            return Err(Error::new(ErrorCode::AlreadyExists, format!("an offer `{id}` is published")));
        }
        let description = Digest::of(&canonical::to_bytes(described.as_ref())?);
        let offer = Offer {
            id,
            dataset: dataset.clone(),
            description,
            policy,
            legal_basis,
            regime: described.regime,
            amends: None,
        };
        let published = PublishedOffer { offer: offer.clone(), approval, consumer, open: true };
        self.administer("offer.add", actor, canonical::to_bytes(&published)?).await?;
        Ok(offer)
    }

    /// Refuses terms whose released table can't stand beside those of the set's open offers and
    /// agreements, whatever the data: noise in one that the other takes away, or more ε than the
    /// smallest budget holds. What depends on the data is checked when a table is released.
    pub(crate) fn check_release(&self, dataset: &DatasetId, terms: &Terms) -> Result<()> {
        let View::Aggregates(spec) = &terms.view else { return Ok(()) };
        let Some((described, _)) = self.sets.current(dataset) else { return Ok(()) };
        let open = self.state.offers().into_iter().filter(|o| o.open).map(|o| o.offer);
        let agreed = self.state.agreements()?.into_iter().filter(|a| a.side == Side::Provider).map(|a| a.payload.offer);
        let mut others: Vec<ReleaseSpec> = Vec::new();
        for offer in open.chain(agreed).filter(|o| o.dataset == *dataset) {
            // A policy that no longer fits the set isn't read either.
            let Ok(other) = odrl::parse(&offer.policy, &described, None) else { continue };
            if let View::Aggregates(other) = other.view
                && !others.contains(&other)
            {
                others.push(other);
            }
        }
        others.retain(|o| o != spec);
        if others.len() >= RELEASE_TABLES_MAX {
            let what = format!("{RELEASE_TABLES_MAX} tables of the set are offered or agreed already");
            return Err(Error::new(ErrorCode::TooLarge, what));
        }
        if let Some(conflict) = others.iter().find_map(|o| spec.conflict(o)) {
            return Err(Error::new(ErrorCode::ReleaseOverlap, conflict));
        }
        others.push(spec.clone());
        let cost = others.iter().fold(0u64, |sum, o| sum.saturating_add(o.protection.epsilon_micro()));
        let budget = others.iter().filter_map(|o| o.protection.budget_micro).min();
        match budget {
            Some(budget) if cost > budget => {
                let what = "one period of all tables of the set costs more than the smallest budget stated";
                Err(Error::new(ErrorCode::BudgetExhausted, what))
            }
            _ => Ok(()),
        }
    }

    /// What a participant may see: sets whose owner lets them, with the offers made to them.
    pub fn catalogue_for(&self, peer: &ParticipantId, filter: &str) -> Vec<CatalogueItem> {
        let words = filter.to_lowercase();
        let offers = self.state.offers();
        self.sets
            .list()
            .into_iter()
            .filter(|(dataset, _)| dataset.visibility.allows(peer))
            .filter(|(dataset, _)| {
                words.is_empty()
                    || [&dataset.title, &dataset.description, &dataset.theme]
                        .iter()
                        .any(|t| t.to_lowercase().contains(&words))
            })
            .map(|(dataset, _)| {
                let of_set = |o: &&PublishedOffer| {
                    o.open && o.offer.dataset == dataset.id && o.consumer.as_ref().is_none_or(|c| c == peer)
                };
                CatalogueItem {
                    offers: offers.iter().filter(of_set).map(|o| o.offer.clone()).collect(),
                    dataset: dataset.as_ref().clone(),
                }
            })
            .collect()
    }

    /// What another participant shows us.
    pub async fn catalogue_of(&self, peer: &ParticipantId, filter: &str) -> Result<Vec<CatalogueItem>> {
        self.in_force(peer)?;
        self.peers.catalogue(peer, filter).await
    }
}

/// Runs what blocks beside the tasks that must not wait.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Error::new(ErrorCode::Internal, "the work ended unexpectedly"))?
}

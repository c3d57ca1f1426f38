//! Extracts over the wire: the other party of an agreement asks for its chain, and gets it where the
//! agreement obliges to it or this organisation allows it.

use crate::connector::catalogue::blocking;
use crate::connector::node::Node;
use crate::connector::peers::{ExtractPart, ExtractPlace};
use crate::connector::state::KeptAgreement;
use crate::ledger::Rates;
use futures::StreamExt;
use futures::stream::BoxStream;
use perron_model::limits::{EXTRACT_LIFE_MS, EXTRACT_MESSAGE_BYTES, EXTRACTS_AT_ONCE_MAX, EXTRACTS_PER_HOUR};
use perron_model::partner::PartnerExtracts;
use perron_model::{AgreementId, Digest, Error, ErrorCode, ParticipantId, Result, canonical};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// As whom an extract's entry names who asked for it over the wire.
const BY_PARTNER: &str = "partner";

/// Each extract is an entry of our log and a look through it: how many there may be.
pub struct Extracts {
    rates: Rates,
    places: Arc<Semaphore>,
}

impl Default for Extracts {
    fn default() -> Extracts {
        Extracts {
            rates: Rates::by_the_hour(EXTRACTS_PER_HOUR),
            places: Arc::new(Semaphore::new(EXTRACTS_AT_ONCE_MAX)),
        }
    }
}

impl Node {
    /// The chain of an agreement for its other party, who the channel says asks: from its beginning,
    /// with the proof from the checkpoint of our log that it holds; or from a place of one that broke
    /// off.
    ///
    /// # Errors
    /// `not_found` for whoever isn't the other party, and for a place of no extract that was given
    /// lately; `extract_denied`; `overloaded` past the rate; `log_forked` where it holds a larger
    /// checkpoint than our log. Refusals are counted in the log.
    pub async fn extract_for(
        self: &Arc<Self>,
        peer: &ParticipantId,
        agreement: AgreementId,
        held_size: u64,
        resume: Option<ExtractPlace>,
    ) -> Result<BoxStream<'static, Result<ExtractPart>>> {
        let begun = self.begin_for(peer, &agreement, held_size, resume).await;
        let (first, next, place) = begun.inspect_err(|error| {
            let refused = Digest::of(agreement.as_bytes());
            perron_gate::Ledger::summarise(&self.ledger, peer, error.code, refused, self.now());
        })?;
        let rest = futures::stream::unfold((self.clone(), next, place), move |(node, next, place)| async move {
            let at = next?;
            let page = node.extract_part(agreement, at).await;
            let next = page.as_ref().ok().and_then(|part| part.next);
            Some((page, (node, next, place)))
        });
        Ok(futures::stream::iter(first.map(Ok)).chain(rest).boxed())
    }

    async fn begin_for(
        self: &Arc<Self>,
        peer: &ParticipantId,
        agreement: &AgreementId,
        held_size: u64,
        resume: Option<ExtractPlace>,
    ) -> Result<(Option<ExtractPart>, Option<ExtractPlace>, OwnedSemaphorePermit)> {
        self.require_open_chain(&*self.require_given(peer, agreement)?)?;
        let busy = |detail: &str| Error::new(ErrorCode::Overloaded, detail);
        if !self.extracts.rates.take(peer.as_str(), self.now()) {
            return Err(busy("too many extracts within the hour"));
        }
        let place = self.extracts.places.clone().try_acquire_owned();
        let place = place.map_err(|_| busy("as many extracts leave as may at a time"))?;
        if let Some(at) = resume {
            let given = self.require_extract(agreement, at.end, at.size)?;
            if self.now().millis().saturating_sub(given.time.millis()) > EXTRACT_LIFE_MS {
                return Err(Error::new(ErrorCode::NotFound, "that extract was given too long ago"));
            }
            return Ok((None, Some(at), place));
        }
        let own = self.ledger.reader().size();
        if held_size > own {
            let detail = format!("this log has {own} entries; a checkpoint of {held_size} is of another history");
            return Err(Error::new(ErrorCode::LogForked, detail));
        }
        let begun = self.begin_extract(BY_PARTNER, agreement).await?;
        let next = ExtractPlace { end: begun.end, size: begun.size, from: 0 };
        let consistency = if held_size == 0 {
            Vec::new()
        } else {
            let proof = self.ledger.reader().consistency_proof(held_size, begun.size);
            proof.map_err(|e| Error::new(ErrorCode::LogUnavailable, e.to_string()))?.into_iter().map(|h| h.0).collect()
        };
        let mut lines = canonical::to_bytes(&begun.head)?;
        lines.push(b'\n');
        Ok((Some(ExtractPart { lines, next: Some(next), consistency }), Some(next), place))
    }

    /// Lines from a place on.
    async fn extract_part(self: &Arc<Self>, agreement: AgreementId, at: ExtractPlace) -> Result<ExtractPart> {
        let node = self.clone();
        blocking(move || {
            let (leaves, next) = node.proven_page(&agreement, &at, EXTRACT_MESSAGE_BYTES)?;
            let mut lines = Vec::new();
            for leaf in &leaves {
                lines.extend_from_slice(&canonical::to_bytes(leaf)?);
                lines.push(b'\n');
            }
            let next = next.map(|from| ExtractPlace { from, ..at });
            Ok(ExtractPart { lines, next, consistency: Vec::new() })
        })
        .await
    }

    /// Refuses whoever isn't the agreement's other party as if there were no such agreement; and that
    /// one, unless the agreement obliges us or we allow it.
    fn require_given(&self, peer: &ParticipantId, agreement: &AgreementId) -> Result<Arc<KeptAgreement>> {
        let kept = self.state.agreement(agreement).filter(|kept| kept.counterparty() == *peer);
        let kept = kept.ok_or_else(|| Error::new(ErrorCode::NotFound, "no agreement of this name"))?;
        if self.state.gives_extracts_to(peer) || self.owes_extracts(&kept) {
            return Ok(kept);
        }
        Err(Error::new(ErrorCode::ExtractDenied, "this organisation gives you no extracts of its log"))
    }

    /// Gives a partner the extracts of its agreements over the wire, or none any more but where an
    /// agreement obliges to it.
    pub async fn set_extracts(&self, actor: &str, partner: ParticipantId, allowed: bool) -> Result<()> {
        self.require_partner(&partner)?;
        let document = canonical::to_bytes(&PartnerExtracts { partner, allowed })?;
        self.administer("partner.extracts", actor, document).await
    }
}

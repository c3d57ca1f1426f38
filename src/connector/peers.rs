//! What the use cases ask of other connectors; the wires implement it.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use perron_log::Submission;
use perron_model::agreement::Offer;
use perron_model::dataset::Dataset;
use perron_model::life::Standing;
use perron_model::negotiation::{NegotiationMessage, State};
use perron_model::{AgreementId, Digest, ParticipantId, Result};

/// A set in a provider's catalogue.
#[derive(Clone, Debug, serde::Serialize)]
pub struct CatalogueItem {
    /// Its description.
    pub dataset: Dataset,
    /// Its offers.
    pub offers: Vec<Offer>,
}

/// What the other side says of a negotiation after a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteState {
    /// Consumer's number.
    pub consumer_pid: String,
    /// Provider's number.
    pub provider_pid: String,
    /// State.
    pub state: State,
}

/// A plan at the provider: the view's schema and the nonce for its execution.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Arrow schema of the answer, as an IPC message.
    pub schema: Bytes,
    /// Nonce to sign.
    pub nonce: String,
}

/// One data message of an answer, as it was on the wire.
#[derive(Clone, Debug)]
pub struct WireMessage {
    /// Header (flatbuffer).
    pub header: Bytes,
    /// Body.
    pub body: Bytes,
}

impl WireMessage {
    /// Rows of the record batch that it carries; none in a schema or a dictionary.
    pub fn rows(&self) -> u64 {
        rows_of(&self.header).unwrap_or(0)
    }
}

/// Rows of the record batch that a message of this header carries, by the header alone; nothing
/// for a message of another kind.
pub fn rows_of(header: &[u8]) -> Option<u64> {
    let message = crate::query::arrow::ipc::root_as_message(header).ok()?;
    u64::try_from(message.header_as_record_batch()?.length()).ok()
}

/// Openings and proofs of a read, as its provider gave them.
#[derive(Clone, Debug, Default)]
pub struct ReceiptParts {
    /// The decision's leaf.
    pub decision: Vec<u8>,
    /// The outcome's leaf; empty while the read runs.
    pub outcome: Vec<u8>,
    /// tlog-proof of the decision.
    pub decision_proof: Vec<u8>,
    /// tlog-proof of the outcome.
    pub outcome_proof: Vec<u8>,
    /// Salt of the stream root.
    pub stream_salt: Vec<u8>,
}

/// What comes of a read.
#[derive(Clone, Debug)]
pub enum ReadEvent {
    /// A data message.
    Message(WireMessage),
    /// The end, with its receipt.
    Receipt(ReceiptParts),
}

/// A read that goes out.
#[derive(Clone, Debug)]
pub struct OutgoingRead {
    /// Compact JWS of the request.
    pub request: String,
    /// The statement.
    pub statement: String,
    /// Salt of its commitment.
    pub salt: [u8; 16],
    /// Leaf of the intent.
    pub intent: Vec<u8>,
    /// tlog-proof of the intent.
    pub intent_proof: Vec<u8>,
    /// Size that we hold of the provider's log.
    pub held_size: u64,
}

/// A checkpoint with the proof that it extends one held.
#[derive(Clone, Debug)]
pub struct Head {
    /// Signed note.
    pub note: Vec<u8>,
    /// Consistency proof from the size held.
    pub consistency: Vec<[u8; 32]>,
}

/// A place between two lines of an extract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtractPlace {
    /// Entry of the owner's log that says that it was given.
    pub end: u64,
    /// Entries of the tree that its proofs end in.
    pub size: u64,
    /// Entry of the owner's log from which on entries of the chain follow.
    pub from: u64,
}

/// Some lines of an extract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtractPart {
    /// Whole lines.
    pub lines: Vec<u8>,
    /// Where it goes on; none at the end.
    pub next: Option<ExtractPlace>,
    /// Where it begins: the proof from the checkpoint that the other side holds.
    pub consistency: Vec<[u8; 32]>,
}

/// Other connectors of the data space.
#[async_trait]
pub trait Peers: Send + Sync {
    /// What `peer` shows us.
    async fn catalogue(&self, peer: &ParticipantId, filter: &str) -> Result<Vec<CatalogueItem>>;
    /// Sends a message of a negotiation.
    async fn send(&self, peer: &ParticipantId, message: &NegotiationMessage) -> Result<RemoteState>;
    /// Plans a statement.
    async fn plan(&self, peer: &ParticipantId, agreement: &AgreementId, statement: &str) -> Result<Planned>;
    /// Executes it.
    async fn read(&self, peer: &ParticipantId, read: OutgoingRead) -> Result<BoxStream<'static, Result<ReadEvent>>>;
    /// The receipt of a request that was sent before. *Not found* is final: the peer takes the
    /// nonce out of use first.
    async fn receipt(
        &self,
        peer: &ParticipantId,
        request: &Digest,
        agreement: &AgreementId,
        nonce: &str,
    ) -> Result<ReceiptParts>;
    /// The newest receipt that the peer, as consumer, holds of our chain of an agreement.
    async fn held_receipt(&self, peer: &ParticipantId, agreement: &AgreementId) -> Result<Option<ReceiptParts>>;
    /// The peer's newest durable checkpoint.
    async fn head(&self, peer: &ParticipantId, held_size: u64) -> Result<Head>;
    /// The newest checkpoint of our log that the peer keeps.
    async fn kept(&self, peer: &ParticipantId) -> Result<Option<String>>;
    /// The peer's chain of an agreement, part by part: from its beginning, or from a place of one that
    /// broke off. `held_size` is that of the checkpoint of its log that we hold.
    async fn extract(
        &self,
        peer: &ParticipantId,
        agreement: &AgreementId,
        held_size: u64,
        resume: Option<ExtractPlace>,
    ) -> Result<BoxStream<'static, Result<ExtractPart>>>;
    /// Shows ours to the peer, as a witness; gives its cosignature lines, or the size it holds
    /// where that isn't `old_size`.
    async fn show(&self, peer: &ParticipantId, old_size: u64, head: Head) -> Result<std::result::Result<Vec<u8>, u64>>;
    /// Messages of a peer for us, who can't be dialled: those that wait, then each new one.
    async fn watch(&self, peer: &ParticipantId) -> Result<BoxStream<'static, Result<Watched>>>;
    /// Tells the peer what became of a watched message.
    async fn acknowledge(&self, peer: &ParticipantId, message_id: &str, taken: &Result<RemoteState>) -> Result<()>;
    /// Sends a signed notice about an agreement; gives the agreement's state there.
    async fn notify(&self, peer: &ParticipantId, notice: &str) -> Result<Standing>;
    /// Tells the peer what became of a watched notice.
    async fn acknowledge_notice(&self, peer: &ParticipantId, name: &Digest, taken: &Result<Standing>) -> Result<()>;
}

/// What a witness over HTTPS answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Witnessing {
    /// Cosignature lines.
    Cosigned(String),
    /// The size that it holds, which isn't the one that the proof begins at.
    Holds(u64),
    /// The proof doesn't lead from the checkpoint that it holds to this one, it says.
    Contradicts,
}

/// Witnesses over HTTPS that the configuration names, by their places in it.
#[async_trait]
pub trait Witnesses: Send + Sync {
    /// Submits a checkpoint to the witness of this place.
    async fn submit(&self, place: usize, submission: &Submission) -> Result<Witnessing>;
}

/// What is given to a watcher.
#[derive(Clone, Debug)]
pub enum ForWatcher {
    /// A message of a negotiation.
    Message(Box<NegotiationMessage>),
    /// A signed notice about an agreement (compact JWS).
    Notice(String),
}

/// What came over a watch.
#[derive(Clone, Debug)]
pub enum Watched {
    /// A message of a negotiation.
    Message(Box<WatchedMessage>),
    /// A signed notice about an agreement (compact JWS).
    Notice(String),
}

/// A message that came over a watch; which side sent a `terminate` its negotiation tells.
#[derive(Clone, Debug)]
pub struct WatchedMessage {
    /// The kind.
    pub message: perron_model::negotiation::Message,
    /// The sender's id of the message.
    pub message_id: String,
    /// The consumer's number of the negotiation.
    pub consumer_pid: String,
    /// The provider's number.
    pub provider_pid: String,
    /// The offer, in `request` and `offer`.
    pub offer: Option<Offer>,
    /// The signed agreement, in `agree` and `verify`.
    pub agreement: Option<perron_model::agreement::JwsJson>,
    /// Why, in `terminate`.
    pub reason: Option<String>,
}

//! Grants: the only keys to data. None has a public constructor.

use crate::ports::LogRequest;
use perron_model::dataset::{Dataset, Snapshot};
use perron_model::decision::{RequestFacts, StateFacts};
use perron_model::policy::{ReleaseSpec, RowView, View};
use perron_model::{AgreementId, Digest, ErrorCode, ParticipantId, Timestamp};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A signal that ends what a grant allowed. A stream looks at it before each batch.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicUsize>);

impl Stop {
    /// A signal not given yet.
    pub fn new() -> Stop {
        Stop::default()
    }
    /// Ends the grant for `reason`; the first reason given stays.
    pub fn stop(&self, reason: ErrorCode) {
        let number = ErrorCode::ALL.iter().position(|c| *c == reason).map_or(1, |i| i + 1);
        let _ = self.0.compare_exchange(0, number, Ordering::AcqRel, Ordering::Acquire);
    }
    /// Is `other` the same signal?
    pub fn is(&self, other: &Stop) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
    /// The reason, once the grant has ended.
    pub fn reason(&self) -> Option<ErrorCode> {
        let number = self.0.load(Ordering::Acquire);
        number.checked_sub(1).map(|i| ErrorCode::ALL.get(i).copied().unwrap_or(ErrorCode::Internal))
    }
}

/// What a running read was permitted on, to be looked at again. It allows nothing.
#[derive(Clone, Debug)]
pub struct Ground {
    pub(crate) agreement: AgreementId,
    pub(crate) request: RequestFacts,
    pub(crate) counters: StateFacts,
}

impl Ground {
    /// The agreement.
    pub fn agreement(&self) -> AgreementId {
        self.agreement
    }
}

/// Leave to run statements over one view of one snapshot, once. Its log entry is durable.
///
/// Only [`Gate::admit`](crate::Gate::admit) makes one (invariant 1): its fields are private, it
/// has no constructor, and it can't be copied.
///
/// ```compile_fail,E0451
/// fn forge(real: perron_gate::AccessGrant, other: perron_model::Digest) -> perron_gate::AccessGrant {
///     perron_gate::AccessGrant { decision: other, ..real }
/// }
/// ```
/// ```compile_fail,E0277
/// fn is_clone<T: Clone>() {}
/// is_clone::<perron_gate::AccessGrant>();
/// ```
/// ```compile_fail,E0277
/// fn is_default<T: Default>() {}
/// is_default::<perron_gate::AccessGrant>();
/// ```
#[derive(Debug)]
pub struct AccessGrant {
    pub(crate) agreement: AgreementId,
    pub(crate) consumer: ParticipantId,
    pub(crate) dataset: Arc<Dataset>,
    pub(crate) snapshot: Snapshot,
    pub(crate) view: Arc<View>,
    pub(crate) decision: Digest,
    pub(crate) reserved: Option<u64>,
    pub(crate) until: Option<Timestamp>,
    pub(crate) stop: Stop,
    pub(crate) ground: Option<Ground>,
}

impl AccessGrant {
    /// What to look at again while the read runs ([`Gate::recheck`](crate::Gate::recheck)), where
    /// the answer can change otherwise than at [`until`](AccessGrant::until).
    pub fn ground(&self) -> Option<&Ground> {
        self.ground.as_ref()
    }
    /// The agreement that is the ground.
    pub fn agreement(&self) -> AgreementId {
        self.agreement
    }
    /// Who reads.
    pub fn consumer(&self) -> &ParticipantId {
        &self.consumer
    }
    /// The set, with its description.
    pub fn dataset(&self) -> &Arc<Dataset> {
        &self.dataset
    }
    /// The snapshot that this read sees.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }
    /// What may be seen of it.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }
    /// Leaf hash of the durable decision.
    pub fn decision(&self) -> Digest {
        self.decision
    }
    /// Bytes reserved for this read: no more may leave. None where the policy counts no volume.
    pub fn reserved(&self) -> Option<u64> {
        self.reserved
    }
    /// End of the agreement's window: from then on nothing more leaves, whatever is running.
    pub fn until(&self) -> Option<Timestamp> {
        self.until
    }
    /// The signal that ends it.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }
    /// The row view, where the grant is for rows.
    pub fn row_view(&self) -> Option<&RowView> {
        match self.view.as_ref() {
            View::Rows(view) => Some(view),
            View::Aggregates(_) => None,
        }
    }
}

/// Leave to see a view's schema and to plan over it: no row.
///
/// ```compile_fail,E0451
/// fn forge(real: perron_gate::SchemaGrant, other: perron_model::Digest) -> perron_gate::SchemaGrant {
///     perron_gate::SchemaGrant { agreement: other, ..real }
/// }
/// ```
#[derive(Clone, Debug)]
pub struct SchemaGrant {
    pub(crate) agreement: AgreementId,
    pub(crate) dataset: Arc<Dataset>,
    pub(crate) view: Arc<View>,
}

impl SchemaGrant {
    /// The agreement that is the ground.
    pub fn agreement(&self) -> AgreementId {
        self.agreement
    }
    /// The set, with its description.
    pub fn dataset(&self) -> &Arc<Dataset> {
        &self.dataset
    }
    /// What may be seen of it.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }
}

/// Leave to run one statement over the entries of one's own log that were durable when it was given.
/// Its log entry is durable.
///
/// Only [`Gate::admit_log`](crate::Gate::admit_log) makes one (invariant 1).
///
/// ```compile_fail,E0451
/// fn forge(real: perron_gate::LogGrant) -> perron_gate::LogGrant {
///     perron_gate::LogGrant { entries: u64::MAX, ..real }
/// }
/// ```
/// ```compile_fail,E0277
/// fn is_clone<T: Clone>() {}
/// is_clone::<perron_gate::LogGrant>();
/// ```
/// ```compile_fail,E0277
/// fn is_default<T: Default>() {}
/// is_default::<perron_gate::LogGrant>();
/// ```
#[derive(Debug)]
pub struct LogGrant {
    pub(crate) decision: Digest,
    pub(crate) entries: u64,
    pub(crate) stop: Stop,
}

impl LogGrant {
    /// Leaf hash of the durable decision.
    pub fn decision(&self) -> Digest {
        self.decision
    }
    /// How many entries, from the first on, may be seen.
    pub fn entries(&self) -> u64 {
        self.entries
    }
    /// The signal that ends it.
    pub fn stop(&self) -> &Stop {
        &self.stop
    }
}

/// Leave to plan a statement over one's own log: no entry.
///
/// ```compile_fail,E0451
/// fn forge(real: perron_gate::LogSchemaGrant, input: Vec<u8>) -> perron_gate::LogSchemaGrant {
///     perron_gate::LogSchemaGrant { input, ..real }
/// }
/// ```
#[derive(Debug)]
pub struct LogSchemaGrant {
    pub(crate) request: LogRequest,
    pub(crate) input: Vec<u8>,
    pub(crate) module: Digest,
}

impl LogSchemaGrant {
    /// The statement.
    pub fn statement(&self) -> &str {
        &self.request.statement
    }
}

/// Leave to compute one released table from one snapshot.
///
/// ```compile_fail,E0451
/// use perron_model::policy::ReleaseSpec;
/// fn forge(real: perron_gate::ReleaseGrant, other: ReleaseSpec) -> perron_gate::ReleaseGrant {
///     perron_gate::ReleaseGrant { spec: other, ..real }
/// }
/// ```
/// ```compile_fail,E0277
/// fn is_clone<T: Clone>() {}
/// is_clone::<perron_gate::ReleaseGrant>();
/// ```
#[derive(Debug)]
pub struct ReleaseGrant {
    pub(crate) dataset: Arc<Dataset>,
    pub(crate) snapshot: Snapshot,
    pub(crate) spec: ReleaseSpec,
}

impl ReleaseGrant {
    /// The set, with its description.
    pub fn dataset(&self) -> &Arc<Dataset> {
        &self.dataset
    }
    /// The snapshot to compute from.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }
    /// What to compute.
    pub fn spec(&self) -> &ReleaseSpec {
        &self.spec
    }
}

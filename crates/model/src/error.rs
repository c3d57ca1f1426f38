//! The one table of errors: a stable code, its gRPC status and its HTTP status.

use std::fmt;

/// Result with the one error of the system.
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $grpc:literal, $http:literal;)*) => {
        /// A stable reason. Its text is what `google.rpc.ErrorInfo.reason` and `--json` carry.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum ErrorCode { $($(#[$doc])* $name,)* }
        impl ErrorCode {
            /// All codes, in the order of the reference page.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$name,)*];
            /// The stable text of the code.
            pub const fn as_str(self) -> &'static str { match self { $(ErrorCode::$name => $text,)* } }
            /// Status number of gRPC (grpc/grpc, statuscodes).
            pub const fn grpc(self) -> i32 { match self { $(ErrorCode::$name => $grpc,)* } }
            /// Status number of HTTP (RFC 9110).
            pub const fn http(self) -> u16 { match self { $(ErrorCode::$name => $http,)* } }
            /// The code of a stable text.
            pub fn parse(text: &str) -> Option<ErrorCode> { match text { $($text => Some(ErrorCode::$name),)* _ => None } }
        }
    };
}

codes! {
    /// The message, document or argument can't be read.
    Malformed = "malformed", 3, 400;
    /// A message or document is over its bound.
    TooLarge = "too_large", 8, 413;
    /// The configuration is not usable.
    ConfigInvalid = "config_invalid", 9, 400;
    /// The address is taken by another process.
    PortTaken = "port_taken", 14, 503;
    /// No process serves this directory.
    NotRunning = "not_running", 14, 503;
    /// Another process holds this directory.
    DirectoryLocked = "directory_locked", 9, 409;
    /// A key file can be read by others, or is not a key.
    KeyUnsafe = "key_unsafe", 9, 400;
    /// A key can't be read.
    KeyInvalid = "key_invalid", 3, 400;
    /// A certificate can't be read or doesn't belong to this data space.
    CertificateInvalid = "certificate_invalid", 3, 400;
    /// Nobody can be told from the channel, or no user matches.
    Unauthenticated = "unauthenticated", 16, 401;
    /// The caller's role doesn't allow this.
    RoleMissing = "role_missing", 7, 403;
    /// The participant isn't in the register.
    ParticipantUnknown = "participant_unknown", 7, 403;
    /// The participant is suspended.
    ParticipantSuspended = "participant_suspended", 7, 403;
    /// The participant is revoked.
    ParticipantRevoked = "participant_revoked", 7, 403;
    /// The register is past its time of use.
    RegisterStale = "register_stale", 9, 409;
    /// The register is not signed by the authority, or is older than one seen before.
    RegisterInvalid = "register_invalid", 9, 409;
    /// A signature doesn't verify, or isn't by who should have signed.
    SignatureInvalid = "signature_invalid", 7, 403;
    /// The issuer of a document isn't the channel's participant.
    IssuerMismatch = "issuer_mismatch", 7, 403;
    /// The thing named doesn't exist, or the caller may not know that it does.
    NotFound = "not_found", 5, 404;
    /// The entry was pruned by a retention rule: its hash is left.
    EntryPruned = "entry_pruned", 5, 410;
    /// A thing of that name exists.
    AlreadyExists = "already_exists", 6, 409;
    /// A data set's description lacks something required.
    DescriptionIncomplete = "description_incomplete", 3, 400;
    /// A source can't be read as described.
    SourceInvalid = "source_invalid", 3, 400;
    /// A policy holds a term that Perron doesn't enforce.
    TermUnsupported = "term_unsupported", 3, 400;
    /// A policy's term doesn't fit the data set.
    TermInvalid = "term_invalid", 3, 400;
    /// The transition isn't one of the protocol's.
    TransitionIllegal = "transition_illegal", 9, 409;
    /// The message was sent for another state of the negotiation.
    MessageConflict = "message_conflict", 10, 409;
    /// The agreement isn't known, or not in force.
    AgreementNotInForce = "agreement_not_in_force", 7, 403;
    /// The agreement's window hasn't begun.
    AgreementNotStarted = "agreement_not_started", 7, 403;
    /// The agreement's window has ended.
    AgreementExpired = "agreement_expired", 7, 403;
    /// The agreement was revoked or terminated.
    AgreementRevoked = "agreement_revoked", 7, 403;
    /// The agreement is suspended.
    AgreementSuspended = "agreement_suspended", 7, 403;
    /// The agreement was amended; another is in force in its place.
    AgreementAmended = "agreement_amended", 7, 403;
    /// A prohibition of the agreement's policy applies.
    Prohibited = "prohibited", 7, 403;
    /// No permission of the agreement's policy is about what is asked.
    PermissionMissing = "permission_missing", 7, 403;
    /// A duty isn't fulfilled, or an obligation is violated.
    DutyUnfulfilled = "duty_unfulfilled", 7, 403;
    /// A constraint of the permission doesn't hold.
    ConstraintUnsatisfied = "constraint_unsatisfied", 7, 403;
    /// What the policy asks for isn't known.
    StateUnknown = "state_unknown", 9, 409;
    /// The purpose isn't one of the agreement's.
    PurposeNotAllowed = "purpose_not_allowed", 7, 403;
    /// The user's grant doesn't hold the purpose.
    PurposeNotGranted = "purpose_not_granted", 7, 403;
    /// The user's grant doesn't hold the agreement.
    AgreementNotGranted = "agreement_not_granted", 7, 403;
    /// The action isn't one of the agreement's.
    ActionNotAllowed = "action_not_allowed", 7, 403;
    /// The caller isn't the agreement's assignee.
    AssigneeMismatch = "assignee_mismatch", 7, 403;
    /// The number of uses is reached.
    UsesExhausted = "uses_exhausted", 8, 429;
    /// The volume of data is reached.
    VolumeExhausted = "volume_exhausted", 8, 429;
    /// The number of uses in an hour is reached.
    RateExceeded = "rate_exceeded", 8, 429;
    /// A column isn't in the view, or doesn't exist.
    ColumnNotGranted = "column_not_granted", 7, 403;
    /// A table isn't in the view, or doesn't exist.
    TableNotGranted = "table_not_granted", 7, 403;
    /// The answer holds more rows than the agreement allows.
    RowsExceeded = "rows_exceeded", 8, 429;
    /// A period of this table was released before.
    ReleaseExists = "release_exists", 6, 409;
    /// No table has been released yet.
    ReleaseMissing = "release_missing", 9, 409;
    /// What other released tables gave of the same rows forbids this one.
    ReleaseOverlap = "release_overlap", 9, 409;
    /// The budget for noise of the set is spent.
    BudgetExhausted = "budget_exhausted", 8, 429;
    /// The statement isn't a query that Perron serves.
    StatementNotAllowed = "statement_not_allowed", 3, 400;
    /// The statement can't be read.
    StatementInvalid = "statement_invalid", 3, 400;
    /// A function isn't one that Perron serves.
    FunctionNotAllowed = "function_not_allowed", 3, 400;
    /// The query failed on the data.
    QueryFailed = "query_failed", 3, 400;
    /// The query took too long.
    DeadlineExceeded = "deadline_exceeded", 4, 504;
    /// A bound on work at a time is reached.
    Overloaded = "overloaded", 8, 429;
    /// The partner has as many reads at a time as the provider gives it.
    PartnerBusy = "partner_busy", 8, 429;
    /// The partner got the volume that the provider gives it in a day.
    PartnerVolumeReached = "partner_volume_reached", 8, 429;
    /// The organisation gives this partner no extracts of its log.
    ExtractDenied = "extract_denied", 7, 403;
    /// The ticket isn't known, was used, or is too old.
    TicketInvalid = "ticket_invalid", 3, 400;
    /// This request was answered before.
    RequestRepeated = "request_repeated", 6, 409;
    /// Too many reads are unacknowledged.
    AcknowledgementMissing = "acknowledgement_missing", 9, 409;
    /// The policy could not be evaluated.
    EvaluationFailed = "evaluation_failed", 13, 500;
    /// The log can't be written, so nothing leaves.
    LogUnavailable = "log_unavailable", 14, 503;
    /// The disk is full.
    DiskFull = "disk_full", 14, 503;
    /// The log lost entries that it had acknowledged.
    LogTailLost = "log_tail_lost", 15, 500;
    /// The log doesn't verify.
    LogDamaged = "log_damaged", 15, 500;
    /// Two pieces of evidence that have to say the same don't.
    EvidenceDiffers = "evidence_differs", 15, 500;
    /// A checkpoint shows another history than one kept.
    LogForked = "log_forked", 15, 500;
    /// A witness holds a longer or another history of our own log.
    OwnLogForked = "own_log_forked", 15, 500;
    /// A restore was begun in this directory and hasn't ended.
    RestoreUnfinished = "restore_unfinished", 9, 409;
    /// The witnesses that a policy asks for haven't cosigned.
    QuorumOpen = "quorum_open", 9, 409;
    /// A proof doesn't lead from the one checkpoint to the other.
    ProofInvalid = "proof_invalid", 3, 422;
    /// The clock went back.
    ClockJump = "clock_jump", 9, 409;
    /// The peer can't be reached.
    PeerUnavailable = "peer_unavailable", 14, 503;
    /// An answer broke off before its end.
    AnswerIncomplete = "answer_incomplete", 1, 499;
    /// The dialer has no leave to open this connection.
    DestinationDenied = "destination_denied", 7, 403;
    /// Something went wrong inside; the process's log explains the id.
    Internal = "internal", 13, 500;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error that a caller may see: a stable code and a detail for people.
///
/// The detail is lower-case, without a period, with the caller's own input in backticks; it
/// never holds a secret, a path or another organisation's data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Error {
    /// The stable code.
    pub code: ErrorCode,
    /// What exactly is wrong.
    pub detail: String,
}

impl Error {
    /// An error of `code` with what exactly is wrong.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Error {
        Error { code, detail: detail.into() }
    }
    /// The input can't be read.
    pub fn malformed(detail: impl Into<String>) -> Error {
        Error::new(ErrorCode::Malformed, detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_read_back() {
        let mut seen = std::collections::BTreeSet::new();
        for code in ErrorCode::ALL {
            assert!(seen.insert(code.as_str()));
            assert_eq!(ErrorCode::parse(code.as_str()), Some(*code));
            assert!((1..=16).contains(&code.grpc()));
            assert!((400..=504).contains(&code.http()));
        }
    }

    #[test]
    fn an_error_is_told_by_its_code_and_its_detail() {
        assert_eq!(ErrorCode::LogForked.to_string(), "log_forked");
        assert_eq!(Error::malformed("no JSON").to_string(), "malformed: no JSON");
        assert_eq!(ErrorCode::parse("sunshine"), None);
    }
}

//! Every bound of the system, named, with its unit (invariant 7: bounded).

/// Longest identifier of a space, participant, data set, column or user, in bytes.
pub const ID_BYTES_MAX: usize = 63;
/// Largest signed document (agreement envelope, register, offer), in bytes.
pub const DOCUMENT_BYTES_MAX: usize = 256 * 1024;
/// Largest ODRL policy, in bytes.
pub const POLICY_BYTES_MAX: usize = 64 * 1024;
/// Deepest JSON of a policy, in levels.
pub const POLICY_DEPTH_MAX: usize = 16;
/// Most rules in one policy.
pub const POLICY_RULES_MAX: usize = 100;
/// Most constraints, refinements and duties in one policy.
pub const POLICY_TERMS_MAX: usize = 200;
/// Deepest nesting of logical constraints, in levels (the Rego modules evaluate as many).
pub const POLICY_LOGIC_LEVELS_MAX: usize = 6;
/// Longest place in a policy, as a refusal names it, in bytes.
pub const PLACE_BYTES_MAX: usize = 255;
/// Most reasons of one refusal.
pub const REFUSALS_MAX: usize = 16;
/// Most columns of a published set.
pub const COLUMNS_MAX: usize = 512;
/// Longest name of a processing activity, in bytes: each entry about its reads carries it, and a
/// decision has to stay small.
pub const ACTIVITY_BYTES_MAX: usize = 32;
/// Most processing activities of a retention rule or of a configuration.
pub const ACTIVITIES_MAX: usize = 256;
/// Fewest days that a retention rule may keep entries about reads. The CNIL's recommendation on
/// logging (délibération 2021-122) has six months as the shortest.
pub const RETENTION_DAYS_MIN: u32 = 180;
/// Most days that a retention rule may name.
pub const RETENTION_DAYS_MAX: u32 = 36_500;
/// Largest signed retention rule (compact JWS), in bytes.
pub const RETENTION_RULE_BYTES_MAX: usize = 64 * 1024;
/// Entries after which one pruning goes no further through the log; the next goes on.
pub const PRUNED_LEAVES_MAX: usize = 2_000_000;
/// Most ranges of entries that one entry `pruned` tells of.
pub const PRUNED_RANGES_MAX: usize = 16_384;
/// Largest document of an entry `pruned`, in bytes.
pub const PRUNING_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Most participants in a register.
pub const PARTICIPANTS_MAX: usize = 10_000;
/// Largest notice about an agreement (its payload), in bytes.
pub const NOTICE_BYTES_MAX: usize = 32 * 1024;
/// Largest signed notice (compact JWS), in bytes.
pub const NOTICE_JWS_BYTES_MAX: usize = 48 * 1024;
/// How long an answer may go on unseen once its consumer knows that the agreement ended, until the
/// provider, who has to be told, says so itself, in milliseconds.
pub const END_KNOWN_MS_MAX: u64 = 1_000;
/// Longest reason in a notice, in bytes.
pub const REASON_BYTES_MAX: usize = 2_000;
/// Longest pseudonym of a user, in bytes: 128 bits in base64url have 22.
pub const PSEUDONYM_BYTES_MAX: usize = 100;
/// Most suspensions that one resumption names.
pub const LIFTED_MAX: usize = 64;
/// Most notices about one agreement and its amended versions; past it only a revocation is taken.
pub const NOTICES_MAX: usize = 1_000;
/// Longest text of a fact, in bytes.
pub const FACT_BYTES_MAX: usize = 200;
/// Most facts that an organisation declares, and that are told of one agreement.
pub const FACTS_MAX: usize = 256;
/// Most versions of one agreement: the first, and those that amended it.
pub const VERSIONS_MAX: usize = 1_000;
/// Longest title, description or reason, in bytes.
pub const TEXT_BYTES_MAX: usize = 8 * 1024;
/// Most roles of a user that a request states.
pub const ROLES_MAX: usize = 16;
/// Largest read request (compact JWS), in bytes.
pub const REQUEST_BYTES_MAX: usize = 32 * 1024;
/// Longest SQL statement, in bytes.
pub const STATEMENT_BYTES_MAX: usize = 16 * 1024;
/// Deepest nesting of parentheses in a SQL statement.
pub const STATEMENT_DEPTH_MAX: usize = 32;
/// Largest gRPC message of the control services, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// Largest answer of the local socket to the command line, in bytes.
pub const LOCAL_ANSWER_BYTES_MAX: usize = 24 * MESSAGE_BYTES_MAX;
/// Largest Flight message, in bytes.
pub const FLIGHT_MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How long a ticket may wait for its `DoGet`, in milliseconds.
pub const TICKET_LIFE_MS: i64 = 60_000;
/// Most tickets one caller may hold unspent.
pub const TICKETS_PER_CALLER_MAX: usize = 256;
/// Longest policy evaluation, in milliseconds of the clock: waiting for a processor counts. What an
/// evaluation itself may take is bounded by its instructions (`policy`).
pub const EVALUATION_MS_MAX: u64 = 2_000;
/// Largest memory of one policy instance, in bytes.
pub const EVALUATION_MEMORY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Policy instances kept warm.
pub const EVALUATION_POOL: usize = 4;
/// Longest query at the provider, in milliseconds.
pub const QUERY_MS_MAX: u64 = 120_000;
/// Memory that all queries of one organisation may reserve, in bytes.
pub const QUERY_MEMORY_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Decoded row groups of snapshots that are kept for the reads that come next, in bytes.
pub const DECODED_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Work after which a query lets others pass, in milliseconds.
pub const QUERY_QUICK_MS: u64 = 250;
/// Time after which a step of such a query lets others pass, in milliseconds.
pub const QUERY_STEP_MS: u64 = 5;
/// Queries that may run at a time.
pub const QUERIES_MAX: usize = 128;
/// Plans and reads of one partner at a time, where no other number is set: so that no partner takes
/// all places.
pub const PARTNER_CONCURRENCY_DEFAULT: u32 = 96;
/// Smallest bandwidth that a partner can be limited to, in bytes a second: a message of an answer
/// has to leave before its reader gives up.
pub const PARTNER_BANDWIDTH_BYTES_PER_S_MIN: u64 = 16 * 1024;
/// Largest bandwidth and largest volume a day that can be set, in bytes: what JSON numbers hold.
pub const PARTNER_VOLUME_BYTES_MAX: u64 = (1 << 53) - 1;
/// How long a read that ends today may have begun before today, in milliseconds.
pub const PARTNER_LOOK_BACK_MS: i64 = 2 * 3_600_000;
/// Rows in one batch on the wire.
pub const BATCH_ROWS: usize = 8192;
/// Entries that may wait for the log's writer.
pub const LEDGER_QUEUE_MAX: usize = 4096;
/// Entries that one batch of the log takes at the most.
pub const LEDGER_BATCH_MAX: usize = 1024;
/// Places of entries that an index of the store holds in memory before it writes them in runs, where
/// each has 24 bytes.
pub const PLACES_FRESH_MAX: usize = 32_768;
/// Longest that a batch of the log waits for more entries, in microseconds; where entries come one
/// by one it doesn't wait.
pub const LEDGER_GATHER_US_MAX: u64 = 200;
/// Bytes bound by its entries after which a batch of the log is closed; one entry alone binds so many
/// at the most. Two of it fit into a record.
pub const LEDGER_BATCH_BYTES_MAX: usize = 7 * MESSAGE_BYTES_MAX;
/// Batches that are durable and wait to be told to the state and to those who wait for them.
pub const LEDGER_BATCHES_TELLING_MAX: usize = 2;
/// Refusals of well-signed requests that are single entries, a second, by peer and user.
pub const REFUSALS_PER_SECOND: u32 = 50;
/// Refusals that may come in one burst before the rate above holds.
pub const REFUSALS_BURST: u32 = 200;
/// Reads that a consumer may leave unacknowledged.
pub const UNACKNOWLEDGED_MAX: u64 = 100;
/// How long a read may stay unacknowledged, in milliseconds.
pub const UNACKNOWLEDGED_MS_MAX: i64 = 24 * 3_600_000;
/// How long a register version serves by default, in seconds.
pub const REGISTER_LIFE_S: i64 = 24 * 3600;
/// How far a clock may be behind the time at which the register in use was signed, in
/// milliseconds; further, and nothing is decided by it.
pub const CLOCK_LAG_MS_MAX: i64 = 5 * 60_000;
/// How often an authority signs the register anew, in seconds.
pub const REGISTER_RESIGN_S: u64 = 3600;
/// Largest register (its JWS and all entries' together), in bytes.
pub const REGISTER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Largest protected header of a JWS, in bytes of base64url.
pub const JWS_HEADER_BYTES_MAX: usize = 512;
/// Largest key or certificate file, in bytes.
pub const KEY_FILE_BYTES_MAX: usize = 16 * 1024;
/// How long a participant's certificate is valid by default, in seconds.
pub const CERTIFICATE_LIFE_S: i64 = 30 * 24 * 3600;
/// How long the certificate of a data space's CA is valid, in seconds.
pub const CA_LIFE_S: i64 = 10 * 365 * 24 * 3600;
/// How far a certificate's begin lies before its issue, for clocks that lag, in seconds.
pub const CERTIFICATE_BACKDATE_S: i64 = 300;
/// Most certificates in a chain.
pub const CERTIFICATES_MAX: usize = 4;
/// How far a renewal's time may be from the authority's clock, in milliseconds.
pub const RENEWAL_AGE_MS_MAX: i64 = 10 * 60_000;
/// How long the old key stays in force beside a new one where nobody says otherwise, in seconds: who
/// can use a register at all has a newer one by then.
pub const KEY_OVERLAP_S_DEFAULT: i64 = 2 * REGISTER_LIFE_S;
/// Longest time for which it may, in seconds.
pub const KEY_OVERLAP_S_MAX: i64 = 30 * 24 * 3600;
/// How long a new key waits at the most before it signs alone, so that others learn of it, in
/// milliseconds: clocks lag by so much at the most.
pub const KEY_SETTLING_MS_MAX: i64 = CLOCK_LAG_MS_MAX;
/// How often it is looked at whether an old key's time is over, in milliseconds.
pub const KEY_RETIRE_CHECK_MS: u64 = 1_000;
/// Keys that a participant had for one use at the most.
pub const KEYS_PER_USE_MAX: usize = 48;
/// Logs of one participant that were closed at the most: its entry in the register, with as many keys as
/// it may have, stays a document, so that its standing can always be changed.
pub const CLOSED_LOGS_MAX: usize = 32;
/// How long after a participant's log was closed the next one may be, in milliseconds.
pub const CLOSED_LOGS_MS_MIN: i64 = 3_600_000;
/// Longest TLS handshake, in milliseconds.
pub const HANDSHAKE_MS_MAX: u64 = 10_000;
/// How long a request may take to arrive whole, in milliseconds.
pub const REQUEST_ARRIVAL_MS_MAX: u64 = 15_000;
/// Space on the disk that only what ends or explains something may use (outcomes, receipts,
/// recovery, start and stop), in bytes: below it no read begins.
pub const DISK_RESERVE_BYTES: u64 = 64 * 1024 * 1024;
/// Longest wait for a name to resolve and a connection to open, in milliseconds.
pub const CONNECT_MS_MAX: u64 = 5_000;
/// Addresses of one name that the dialer tries.
pub const CONNECT_ADDRESSES_MAX: usize = 4;
/// Longest wait between two tries of the outbox, in milliseconds.
pub const OUTBOX_BACKOFF_MS_MAX: u64 = 30_000;
/// First wait of the outbox after a failed try, in milliseconds.
pub const OUTBOX_BACKOFF_MS_MIN: u64 = 50;
/// Messages of negotiations that one member may send at once, and then in a second: each is an
/// entry of the log.
pub const NEGOTIATION_MESSAGES_BURST: u32 = 2_000;
/// See `NEGOTIATION_MESSAGES_BURST`.
pub const NEGOTIATION_MESSAGES_PER_SECOND: u32 = 20;
/// Checkpoints that one member may show at once, and then in a second.
pub const CHECKPOINTS_BURST: u32 = 500;
/// See `CHECKPOINTS_BURST`.
pub const CHECKPOINTS_PER_SECOND: u32 = 10;
/// Longest wait between two questions for the receipt of a broken read, in milliseconds.
pub const SETTLE_BACKOFF_MS_MAX: u64 = 5_000;
/// Broken reads whose receipt is asked for at a time.
pub const SETTLING_AT_ONCE_MAX: usize = 8;
/// Broken reads that are remembered outside the log.
pub const SETTLING_MAX: usize = 4096;
/// How long a provider may send nothing of an answer that is waited for before the read ends, in
/// milliseconds: longer than a query may take until its first row.
pub const ANSWER_SILENCE_MS_MAX: u64 = QUERY_MS_MAX + 30_000;
/// How long a consumer may take nothing of an answer before the read ends, in milliseconds.
pub const ANSWER_STALL_MS_MAX: u64 = 60_000;
/// How long a tool may take nothing of an answer before its own connector ends the read, in
/// milliseconds. The provider comes first, for it says what left.
pub const TOOL_STALL_MS_MAX: u64 = ANSWER_STALL_MS_MAX + 15_000;
/// How often it is looked at whether a running read is over, in milliseconds.
pub const END_CHECK_MS: u64 = 250;
/// Participants that are asked at a time what they keep of our log.
pub const HEADS_ASKED_MAX: usize = 64;
/// Largest document of a succession, in bytes: heads, and receipts of the agreements.
pub const SUCCESSION_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Largest receipt that a partner shows before a succession, in bytes: a larger one counts as none.
pub const SUCCESSION_RECEIPT_BYTES_MAX: usize = 32 * 1024;
/// Agreements whose partners are asked what they hold before a succession, at a time.
pub const SUCCESSION_ASKED_AT_ONCE_MAX: usize = 16;
/// Longest IRI in a policy, in bytes.
pub const IRI_BYTES_MAX: usize = 255;
/// Most collections of parties and sets that an organisation declares.
pub const COLLECTIONS_MAX: usize = 256;
/// Most members of one of them.
pub const COLLECTION_MEMBERS_MAX: usize = 1_000;
/// Window in which a policy's rate counts uses, in milliseconds.
pub const RATE_WINDOW_MS: i64 = 3_600_000;
/// A read under a policy that counts volume reserves this part of what remains (one in so many)…
pub const VOLUME_SHARES: u64 = 4;
/// …but this much at the least where it remains, in bytes.
pub const VOLUME_RESERVED_BYTES_MIN: u64 = 64 * 1024 * 1024;
/// Times that a head is asked for or shown in one exchange, while the other side holds a new one.
pub const HEADS_TRIES_MAX: usize = 4;
/// How long each of them has to answer, in milliseconds.
pub const HEADS_ASKED_MS_MAX: u64 = 5_000;
/// How long a start asks all of them at the most, in milliseconds.
pub const HEADS_ASKED_ALL_MS_MAX: u64 = 20_000;
/// Largest line of a CSV file, in bytes.
pub const CSV_LINE_BYTES_MAX: usize = 1024 * 1024;
/// Parts of one snapshot; past it a set is replaced instead of appended to. A manifest of so many
/// fits into a document.
pub const PARTS_MAX: usize = 4096;
/// Verified parts whose metadata are kept in memory.
pub const PARTS_OPEN_MAX: usize = 1024;
/// Deepest nesting of operators in a SQL statement, estimated in words and signs.
pub const STATEMENT_CHAIN_MAX: usize = 600;
/// Longest text literal in a SQL statement, in bytes.
pub const STATEMENT_LITERAL_BYTES_MAX: usize = 1024;
/// Tables that a SQL statement reads, each common table expression counted as often as it is used.
pub const STATEMENT_TABLES_MAX: usize = 32;
/// Words of a SQL statement's largest expression once each name stands for what it is made of.
pub const STATEMENT_EXPANSION_MAX: usize = 20_000;
/// The same for a statement that joins texts, so that no value grows without bound.
pub const STATEMENT_TEXT_EXPANSION_MAX: usize = 64;
/// Memory that one query may reserve, in bytes.
pub const QUERY_MEMORY_EACH_BYTES_MAX: usize = 128 * 1024 * 1024;
/// How often a running query looks whether it was stopped, in milliseconds.
pub const QUERY_STOP_CHECK_MS: u64 = 50;
/// Threads that run queries.
pub const QUERY_THREADS: usize = 2;
/// Stack of a thread that plans and runs queries, in bytes.
pub const QUERY_STACK_BYTES: usize = 32 * 1024 * 1024;
/// Largest list of an agreement's releases and their periods, in bytes.
pub const RELEASE_INDEX_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Groups that a released table may have at the most.
pub const RELEASE_GROUPS_MAX: usize = 1_000_000;
/// Pairs of a group and a data subject in it that one released table is computed over.
pub const RELEASE_PAIRS_MAX: usize = 4_000_000;
/// Rounds in which further groups are suppressed; what isn't safe by then isn't released.
pub const RELEASE_ROUNDS_MAX: usize = 10_000;
/// Tables that may be released of one set, by all its agreements.
pub const RELEASE_TABLES_MAX: usize = 64;
/// Largest base to which a measure is rounded, and largest bound on what one data subject brings
/// into a measure with noise, in units of the measure.
pub const RELEASE_BASE_MAX: u64 = 1_000_000_000_000;
/// Smallest ε of a measure with noise, in millionths.
pub const EPSILON_MICRO_MIN: u64 = 1_000;
/// Largest ε of a measure with noise, and largest budget of a set, in millionths.
pub const EPSILON_MICRO_MAX: u64 = 1_000_000_000;
/// Most agreements that are kept at hand beside the store.
pub const AGREEMENTS_AT_HAND_MAX: usize = 1_000;
/// Most agreements of which the gate keeps at hand what it decides by.
pub const TERMS_AT_HAND_MAX: usize = 10_000;
/// Rows that a printed answer shows of a table at the most.
pub const PRINTED_ROWS_MAX: usize = 10_000;

/// Largest policy module that recorded decisions are evaluated by again, in bytes.
pub const MODULE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Policy modules that one log's decisions are evaluated by again at the most.
pub const MODULES_MAX: usize = 256;

/// Entries of the largest chain that an extract gives.
pub const EXTRACT_LEAVES_MAX: usize = 1_000_000;
/// Extracts that one partner may ask for over the wire in an hour, each an entry of our log; one that
/// goes on where it broke off counts too.
pub const EXTRACTS_PER_HOUR: u32 = 60;
/// Extracts that leave over the wire at a time, to all partners.
pub const EXTRACTS_AT_ONCE_MAX: usize = 4;
/// Lines after which a message of an extract ends, in bytes; the last one may pass it.
pub const EXTRACT_MESSAGE_BYTES: usize = 512 * 1024;
/// Largest extract that is taken over the wire, in bytes.
pub const EXTRACT_BYTES_MAX: usize = 64 * MESSAGE_BYTES_MAX;
/// Times that one extract is asked for, or goes on where it broke off, before it has to wait.
pub const EXTRACT_TRIES_MAX: usize = 4;
/// How long one extract may take to arrive, in milliseconds.
pub const EXTRACT_MS_MAX: u64 = 600_000;
/// How long an extract may go on where it broke off, in milliseconds.
pub const EXTRACT_LIFE_MS: i64 = 3_600_000;
/// Extracts of partners that are kept, in files.
pub const EXTRACTS_KEPT_MAX: usize = 2_000;
/// Time between two reconciliations of an agreement where none is set, in seconds.
pub const RECONCILE_EVERY_S_DEFAULT: u64 = 86_400;
/// Shortest time that can be set, in seconds.
pub const RECONCILE_EVERY_S_MIN: u64 = 1;
/// Longest time that can be set, in seconds.
pub const RECONCILE_EVERY_S_MAX: u64 = 31 * 86_400;
/// Shortest time between two looks at what is due, in milliseconds.
pub const RECONCILE_LOOK_MS_MIN: u64 = 250;
/// Longest time between two looks at what is due, in milliseconds.
pub const RECONCILE_LOOK_MS_MAX: u64 = 600_000;
/// How long the same failure to have a partner's extract needs no further entry, in milliseconds.
pub const RECONCILE_FAILURE_MS: i64 = 7 * 24 * 3_600_000;
/// Differences between two pieces of evidence that are told one by one; others are counted.
pub const DIFFERENCES_TOLD_MAX: usize = 1_000;

/// Entries that one question of an auditor looks at before it says where it goes on.
pub const AUDIT_ENTRIES_LOOKED_AT_MAX: u64 = 10_000;
/// Entries that one page of an auditor's listing has at the most.
pub const AUDIT_ENTRIES_MAX: usize = 1_000;
/// Entries that a statement over the log takes in one step.
pub const LOG_ROWS_STEP: u64 = 1_024;
/// Reads without an end that are followed while reads are told out of the log.
pub const LOG_READS_OPEN_MAX: usize = 100_000;
/// Readers, each with a purpose, a ground and a set, that one answer to who read tells of.
pub const WHO_GROUPS_MAX: usize = 10_000;
/// Entries that such an answer names of each; others are counted.
pub const WHO_ENTRIES_MAX: usize = 100;
/// Entries that are looked at for such an answer at the most.
pub const WHO_LOOKED_AT_MAX: u64 = 10_000_000;
/// Places at which the clock went back that are followed; past it no time narrows a look at the log.
pub const CLOCK_JUMPS_FOLLOWED_MAX: usize = 1_000;
/// Entries of an agreement that the page of an auditor's folder has at the most.
pub const AUDIT_FOLDER_ENTRIES_MAX: usize = 2_000;
/// What these entries, their proofs and attachments have together at the most, in bytes.
pub const AUDIT_FOLDER_BYTES_MAX: usize = 6 * 1024 * 1024;
/// Entries of a log that is looked through for a folder at the most.
pub const AUDIT_FOLDER_LOOKED_AT_MAX: u64 = 10_000_000;
/// Files of the copy of a directory in a folder, but for the small ones.
pub const AUDIT_EVIDENCE_FILES_MAX: usize = 100_000;
/// One piece of a file of that copy, in bytes.
pub const AUDIT_EVIDENCE_PIECE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The register and the kept checkpoints of that copy together, in bytes.
pub const AUDIT_EVIDENCE_SMALL_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What the entries or agreements of one page of an export say, in bytes; the page ends with the
/// one that passes it.
pub const EXPORT_PAGE_BYTES_MAX: usize = 4 * MESSAGE_BYTES_MAX;
/// Agreements of one page of an export.
pub const EXPORT_AGREEMENTS_MAX: usize = 1_000;
/// How long pages of an export, or pieces of a folder's copy, are given after its entry, in
/// milliseconds.
pub const AUDIT_GIVEN_LIFE_MS: i64 = 24 * 3_600_000;
/// Time between two steps of the slow look at the log, in milliseconds.
pub const SCRUB_STEP_MS: u64 = 1_000;
/// Bytes of the log that one step looks at, about: some 86 GB a day.
pub const SCRUB_STEP_BYTES: u64 = 1024 * 1024;
/// Agreements and months that one log of the intermediation tells of.
pub const INTERMEDIATION_ROWS_MAX: usize = 1_000_000;
/// Entries that are sent to a collector before it has to say that it has them.
pub const STREAM_ENTRIES_MAX: u64 = 4_096;
/// How long entries are sent before a collector has to say that it has them, in milliseconds.
pub const STREAM_CONFIRM_MS: u64 = 2_000;
/// Messages that are made for a collector before they are sent, in bytes; the last may pass it.
pub const STREAM_BYTES_MAX: usize = 256 * 1024;
/// How long a collector may take nothing, or not answer the end of a channel, in milliseconds.
pub const STREAM_STALL_MS_MAX: u64 = 30_000;
/// Witnesses over HTTPS that a configuration names at the most.
pub const WITNESSES_MAX: usize = 32;
/// Logs outside of the data space that a configuration names at the most.
pub const OUTSIDE_LOGS_MAX: usize = 1_000;
/// Shortest time between two checkpoints that one witness is asked to cosign, in milliseconds.
pub const WITNESS_ASKED_MS_MIN: u64 = 5_000;
/// How long a witness has to answer one submission, in milliseconds.
pub const WITNESS_ANSWER_MS_MAX: u64 = 15_000;
/// Largest answer of a witness, in bytes: a few cosignature lines.
pub const WITNESS_ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Newest entries that are looked at for a reason to ask a witness, by one look.
pub const WITNESS_ENTRIES_LOOKED_AT_MAX: u64 = 10_000;
/// Largest file of certificates of those who may have issued a witness's, in bytes: a system's own
/// bundle fits.
pub const WITNESS_CA_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longest URL of a witness, in bytes.
pub const WITNESS_URL_BYTES_MAX: usize = 1_024;
/// Largest submission to our own witness, in bytes: proof lines, and a checkpoint with some
/// post-quantum signatures.
pub const SUBMISSION_BYTES_MAX: usize = 128 * 1024;
/// Connections of the HTTPS listener that are served at a time.
pub const HTTP_CONNECTIONS_MAX: usize = 256;
/// Longest life of one of them, in milliseconds: then certificates are looked at again.
pub const HTTP_CONNECTION_MS_MAX: u64 = 600_000;
/// Head of a request of HTTP, in bytes.
pub const HTTP_HEAD_BYTES_MAX: usize = 16 * 1024;
/// Values that are sealed by keys of one epoch at the most: so many keys are written anew where one
/// of them is erased.
pub const VAULT_EPOCH_VALUES_MAX: u64 = 16_384;
/// How often a vault that changes meanwhile is read again for a backup.
pub const VAULT_COPIES_MAX: usize = 16;
/// Largest file of the vault, in bytes: the keys of an epoch, or the secrets of a million epochs.
pub const VAULT_FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Epochs that one erasure writes anew.
pub const ERASED_EPOCHS_MAX: usize = 64;
/// Spans of entries that one erasure names: they fit into a leaf with what else it says.
pub const ERASED_SPANS_MAX: usize = 2_000;
/// Agreements that one erasure is about, so that each other party gets a notice.
pub const ERASED_AGREEMENTS_MAX: usize = 256;
/// Entries that one erasure is asked for by their numbers.
pub const ERASED_ENTRIES_ASKED_MAX: usize = 1_000;
/// Notices of erasure that the life of an agreement remembers; older ones are no news.
pub const ERASURES_TOLD_MAX: usize = 64;
/// Days for which a backup of the vault's key is kept, where the configuration says nothing.
pub const ERASURE_BACKUP_DAYS_DEFAULT: u16 = 30;
/// Most days that the configuration may say.
pub const ERASURE_BACKUP_DAYS_MAX: u16 = 3_650;
/// The fewest: an erasure is never told as one that can't be undone any more.
pub const ERASURE_BACKUP_DAYS_MIN: u16 = 1;

// Two numbers of at most nine bytes each and their heads; a digest and its head.
const _: () = assert!(ERASED_SPANS_MAX * 19 + ERASED_AGREEMENTS_MAX * 34 + 1_024 < 65_535);
const _: () = assert!(VAULT_EPOCH_VALUES_MAX * 64 < VAULT_FILE_BYTES_MAX);
// hyper takes no smaller buffer.
const _: () = assert!(RETENTION_DAYS_MIN < RETENTION_DAYS_MAX);
// A name with quotes, colon, days and comma; a range with brackets, comma and two numbers.
const _: () = assert!(ACTIVITIES_MAX * (ACTIVITY_BYTES_MAX + 9) / 3 * 4 + 1024 < RETENTION_RULE_BYTES_MAX);
const _: () = assert!(PRUNED_RANGES_MAX * 44 + ACTIVITIES_MAX * 512 < PRUNING_BYTES_MAX);
const _: () = assert!(HTTP_HEAD_BYTES_MAX >= 8 * 1024);
const _: () = assert!(HEADS_ASKED_MS_MAX < HEADS_ASKED_ALL_MS_MAX);
const _: () = assert!(SUCCESSION_RECEIPT_BYTES_MAX < SUCCESSION_BYTES_MAX);
const _: () = assert!(WITNESS_ASKED_MS_MIN < OUTBOX_BACKOFF_MS_MAX);
const _: () = assert!(REQUEST_BYTES_MAX < MESSAGE_BYTES_MAX);
// A message of an extract has one line beyond its bound at the most: a leaf and its proof.
const _: () = assert!(EXTRACT_MESSAGE_BYTES + 256 * 1024 <= MESSAGE_BYTES_MAX);
const _: () = assert!(RECONCILE_EVERY_S_MIN <= RECONCILE_EVERY_S_DEFAULT);
const _: () = assert!(RECONCILE_EVERY_S_DEFAULT <= RECONCILE_EVERY_S_MAX);
const _: () = assert!(STATEMENT_BYTES_MAX < REQUEST_BYTES_MAX);
const _: () = assert!(POLICY_BYTES_MAX < DOCUMENT_BYTES_MAX);
const _: () = assert!(DOCUMENT_BYTES_MAX < MESSAGE_BYTES_MAX);
const _: () = assert!(NOTICE_BYTES_MAX * 4 / 3 + 1024 <= NOTICE_JWS_BYTES_MAX);
const _: () = assert!(NOTICE_JWS_BYTES_MAX < DOCUMENT_BYTES_MAX);
const _: () = assert!(REASON_BYTES_MAX < NOTICE_BYTES_MAX);
const _: () = assert!(LIFTED_MAX * 48 < NOTICE_BYTES_MAX);
const _: () = assert!(DOCUMENT_BYTES_MAX < REGISTER_BYTES_MAX);
const _: () = assert!(CERTIFICATE_LIFE_S < CA_LIFE_S);
const _: () = assert!(LEDGER_BATCH_MAX <= LEDGER_QUEUE_MAX);
const _: () = assert!(STATEMENT_LITERAL_BYTES_MAX < STATEMENT_BYTES_MAX);
const _: () = assert!(QUERY_MEMORY_EACH_BYTES_MAX <= QUERY_MEMORY_BYTES_MAX);
const _: () = assert!((PARTNER_CONCURRENCY_DEFAULT as usize) < QUERIES_MAX);
const _: () = assert!(PARTS_MAX * 48 < DOCUMENT_BYTES_MAX);
const _: () = assert!(REFUSALS_PER_SECOND <= REFUSALS_BURST);
// A folder's material is one answer of the local socket.
const _: () = assert!(AUDIT_FOLDER_BYTES_MAX / 3 * 4 + 2 * AUDIT_EVIDENCE_SMALL_BYTES_MAX <= LOCAL_ANSWER_BYTES_MAX);
const _: () = assert!(AUDIT_EVIDENCE_PIECE_BYTES_MAX / 3 * 4 < LOCAL_ANSWER_BYTES_MAX);
// A page fits into what the command line takes, whatever passes its bound.
const _: () = assert!(EXPORT_PAGE_BYTES_MAX + 2 * DOCUMENT_BYTES_MAX <= 8 * MESSAGE_BYTES_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: usize = 1_024;
    const MIB: u64 = 1_048_576;

    /// What is computed above, as numbers that are read off at a glance.
    #[test]
    fn sizes_are_what_their_documentation_says() {
        let kib = [
            (DOCUMENT_BYTES_MAX, 256),
            (POLICY_BYTES_MAX, 64),
            (NOTICE_BYTES_MAX, 32),
            (NOTICE_JWS_BYTES_MAX, 48),
            (TEXT_BYTES_MAX, 8),
            (REQUEST_BYTES_MAX, 32),
            (STATEMENT_BYTES_MAX, 16),
            (MESSAGE_BYTES_MAX, 1_024),
            (FLIGHT_MESSAGE_BYTES_MAX, 4_096),
            (EVALUATION_MEMORY_BYTES_MAX, 32_768),
            (QUERY_MEMORY_BYTES_MAX, 524_288),
            (QUERY_MEMORY_EACH_BYTES_MAX, 131_072),
            (DECODED_BYTES_MAX, 131_072),
            (REGISTER_BYTES_MAX, 32_768),
            (KEY_FILE_BYTES_MAX, 16),
            (CSV_LINE_BYTES_MAX, 1_024),
            (QUERY_STACK_BYTES, 32_768),
            (RELEASE_INDEX_BYTES_MAX, 16_384),
        ];
        for (index, (bytes, expected)) in kib.into_iter().enumerate() {
            assert_eq!(bytes, expected * KIB, "the bound of number {index}");
        }
        assert_eq!((DISK_RESERVE_BYTES, VOLUME_RESERVED_BYTES_MIN), (64 * MIB, 64 * MIB));
        assert_eq!(PARTNER_BANDWIDTH_BYTES_PER_S_MIN, 16_384);
        assert_eq!(PARTNER_VOLUME_BYTES_MAX, 9_007_199_254_740_991);
    }

    #[test]
    fn times_are_what_their_documentation_says() {
        assert_eq!((UNACKNOWLEDGED_MS_MAX, PARTNER_LOOK_BACK_MS), (86_400_000, 7_200_000));
        assert_eq!((CLOCK_LAG_MS_MAX, RENEWAL_AGE_MS_MAX), (300_000, 600_000));
        assert_eq!((REGISTER_LIFE_S, CERTIFICATE_LIFE_S, CA_LIFE_S), (86_400, 2_592_000, 315_360_000));
        assert_eq!((ANSWER_SILENCE_MS_MAX, TOOL_STALL_MS_MAX), (150_000, 75_000));
    }
}

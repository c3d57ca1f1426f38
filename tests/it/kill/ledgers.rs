//! What a log says, read from its segments: all of it, or from where one was.

use perron_log::segment::{FileHeader, Record, RecordHead, parse_file_name};
use perron_model::entry::{AttachmentKind, Body, Entry, OutcomeStatus};
use perron_model::{Digest, request};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What an entry says, as far as the campaign looks at it.
#[derive(Clone, Debug)]
pub enum Fact {
    Intent { request: Digest, user: String, time: i64 },
    Received { request: Digest, decision: Option<Digest>, rows: u64, refused: Option<String> },
    Decision { leaf: Digest, agreement: Digest, request: Digest, permitted: bool, uses: u64, acknowledged: Vec<Digest> },
    Outcome { agreement: Digest, decision: Digest, status: OutcomeStatus, rows: u64, uses: u64 },
    Negotiation { id: String, state: String },
    Agreement { agreement: Digest },
    Recovery,
    Other,
}

/// A log read up to a point.
#[derive(Debug)]
pub struct Tail {
    segments: PathBuf,
    segment: Option<u64>,
    offset: u64,
    pub facts: Vec<Fact>,
}

/// A place to go back to.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    segment: Option<u64>,
    offset: u64,
    facts: usize,
}

impl Tail {
    /// The log of a directory, from its beginning.
    pub fn new(directory: &Path) -> Tail {
        Tail { segments: directory.join("log/segment"), segment: None, offset: 0, facts: Vec::new() }
    }

    /// Where it is now. Only what is durable may be marked: a process that was just started has
    /// synced all that it found, before it serves.
    pub fn mark(&self) -> Mark {
        Mark { segment: self.segment, offset: self.offset, facts: self.facts.len() }
    }

    /// Forgets what was read since; a kill may have taken it back.
    pub fn back_to(&mut self, mark: Mark) {
        (self.segment, self.offset) = (mark.segment, mark.offset);
        self.facts.truncate(mark.facts);
    }

    /// Reads what whole records there are.
    pub fn follow(&mut self) {
        let mut names: Vec<u64> = std::fs::read_dir(&self.segments)
            .unwrap()
            .filter_map(|e| parse_file_name(e.unwrap().file_name().to_str()?))
            .collect();
        names.sort_unstable();
        let from = self.segment;
        for name in names.into_iter().filter(|n| from.is_none_or(|at| *n >= at)) {
            if self.segment != Some(name) {
                (self.segment, self.offset) = (Some(name), 0);
            }
            let file = File::open(self.segments.join(perron_log::segment::file_name(name))).unwrap();
            let length = file.metadata().unwrap().len();
            let mut bytes = vec![0; usize::try_from(length.saturating_sub(self.offset)).unwrap()];
            let read = file.read_at(&mut bytes, self.offset).unwrap();
            bytes.truncate(read);
            self.take(&bytes);
        }
    }

    fn take(&mut self, mut bytes: &[u8]) {
        if self.offset == 0 {
            let Ok(header) = FileHeader::peek_length(bytes) else { return };
            self.offset = u64::try_from(header).unwrap();
            bytes = bytes.get(header..).unwrap_or_default();
        }
        while let Ok(head) = RecordHead::parse(bytes)
            && let Some(record) = bytes.get(..head.record_bytes())
            && let Ok(record) = Record::parse(record)
        {
            for (at, leaf) in (0_u32..).zip(&record.leaves) {
                let hash = Digest::from_bytes(leaf.hash().0);
                let entry = Entry::from_bytes(leaf.bytes().unwrap()).unwrap();
                let signed = record
                    .attachments
                    .iter()
                    .find(|a| a.leaf == at && a.kind == AttachmentKind::Request as u16)
                    .map(|a| std::str::from_utf8(a.bytes).unwrap());
                self.facts.push(fact(hash, entry, signed));
            }
            bytes = &bytes[head.record_bytes()..];
            self.offset += u64::try_from(head.record_bytes()).unwrap();
        }
    }
}

fn fact(leaf: Digest, entry: Entry, signed: Option<&str>) -> Fact {
    let chain = entry.chain.as_ref().map(|c| c.agreement);
    match entry.body {
        Body::Intent(b) => Fact::Intent { request: b.request, user: b.user, time: entry.time.millis() },
        Body::Received(b) => {
            Fact::Received { request: b.request, decision: b.decision, rows: b.rows, refused: b.refused }
        }
        Body::Decision(b) => {
            let claims = request::claims_of(signed.expect("a decision's request")).unwrap();
            Fact::Decision {
                leaf,
                agreement: chain.unwrap(),
                request: b.request,
                permitted: b.permitted,
                uses: b.uses,
                acknowledged: claims.acknowledged.iter().map(|a| a.decision).collect(),
            }
        }
        Body::Outcome(b) => Fact::Outcome {
            agreement: chain.unwrap(),
            decision: b.decision,
            status: b.status,
            rows: b.rows,
            uses: b.uses,
        },
        Body::Negotiation(b) => Fact::Negotiation { id: b.id, state: b.state },
        Body::Agreement(b) => Fact::Agreement { agreement: b.agreement },
        Body::Recovery(_) => Fact::Recovery,
        _ => Fact::Other,
    }
}

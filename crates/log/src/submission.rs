//! Submissions to a witness (C2SP tlog-witness, `add-checkpoint`): the size
//! that the witness holds, the proof from there, the checkpoint.

use std::fmt;

use crate::limits::{NOTE_BYTES_MAX, SUBMISSION_HASHES_MAX};
use crate::merkle::{Hash, decode_decimal};

/// Content type of the answer that tells the size held.
pub const SIZE_CONTENT_TYPE: &str = "text/x.tlog.size";

/// What is asked of a witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// Size that the witness is believed to hold.
    pub old_size: u64,
    /// Consistency proof from that size.
    pub proof: Vec<Hash>,
    /// The signed checkpoint, as it is; it is not parsed here.
    pub checkpoint: String,
}

/// Why a submission was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a submission to a witness: {0}")]
pub struct SubmissionError(&'static str);

impl Submission {
    /// Parses a submission strictly: what parses prints back byte for byte.
    ///
    /// # Errors
    /// [`SubmissionError`] saying what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, SubmissionError> {
        let text = std::str::from_utf8(bytes).map_err(|_| SubmissionError("not UTF-8"))?;
        let (head, checkpoint) = text.split_once("\n\n").ok_or(SubmissionError("no blank line"))?;
        if checkpoint.len() > NOTE_BYTES_MAX {
            return Err(SubmissionError("a checkpoint longer than a note may be"));
        }
        let mut lines = head.split('\n');
        let old_size = lines.next().and_then(|line| line.strip_prefix("old ")).and_then(decode_decimal);
        let old_size = old_size.ok_or(SubmissionError("no old size in canonical decimal"))?;
        let proof = lines
            .take(SUBMISSION_HASHES_MAX + 1)
            .map(Hash::from_base64)
            .collect::<Option<Vec<_>>>()
            .ok_or(SubmissionError("a hash is not canonical base64 of 32 bytes"))?;
        if proof.len() > SUBMISSION_HASHES_MAX {
            return Err(SubmissionError("more hashes than a proof may have"));
        }
        Ok(Self { old_size, proof, checkpoint: checkpoint.to_owned() })
    }

    /// The first line of the checkpoint: of which log it is, if it is one.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.checkpoint.split('\n').next().unwrap_or_default()
    }
}

impl fmt::Display for Submission {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "old {}", self.old_size)?;
        self.proof.iter().try_for_each(|hash| writeln!(out, "{}", hash.to_base64()))?;
        write!(out, "\n{}", self.checkpoint)
    }
}

/// Reads the size that a witness says it holds: a decimal and a newline.
#[must_use]
pub fn parse_size(body: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(body).ok()?;
    decode_decimal(text.strip_suffix('\n')?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_parses_is_printed_so() {
        let hash = Hash([7; 32]);
        for proof in [vec![], vec![hash], vec![hash; SUBMISSION_HASHES_MAX]] {
            let one = Submission { old_size: 5, proof, checkpoint: "o\n9\nx\n\n\u{2014} o AAAAAAA=\n".to_owned() };
            assert_eq!(Submission::parse(one.to_string().as_bytes()).unwrap(), one);
            assert_eq!(one.origin(), "o");
        }
    }

    #[test]
    fn other_forms_are_refused() {
        let hash = Hash([7; 32]).to_base64();
        let many = format!("old 5\n{}\no\n", format!("{hash}\n").repeat(SUBMISSION_HASHES_MAX + 1));
        for bad in [
            "",
            "old 5",
            "old 5\n",
            "old 05\n\no\n",
            "old +5\n\no\n",
            "old -1\n\no\n",
            "old  5\n\no\n",
            "old 5 \n\no\n",
            "Old 5\n\no\n",
            "old 5\r\n\r\no\n",
            "old 18446744073709551616\n\no\n",
            "\nold 5\n\no\n",
            "old 5\nAAAA\n\no\n",
            &format!("old 5\n {hash}\n\no\n"),
            &format!("old 5\n{hash} \n\no\n"),
            &many,
        ] {
            assert!(Submission::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(Submission::parse(b"old 5\n\n\xff").is_err());
        let long = format!("old 0\n\n{}", "x".repeat(NOTE_BYTES_MAX + 1));
        assert!(Submission::parse(long.as_bytes()).is_err());
    }

    #[test]
    fn a_size_is_a_decimal_and_a_newline() {
        assert_eq!(parse_size(b"0\n"), Some(0));
        assert_eq!(parse_size(b"20852014\n"), Some(20_852_014));
        for bad in [&b""[..], b"\n", b"5", b"05\n", b"5\n\n", b" 5\n", b"5\r\n", b"\xff\n"] {
            assert_eq!(parse_size(bad), None, "{bad:?}");
        }
    }
}

//! Submissions to a witness: each has one spelling; and policies of witnesses: what parses is judged,
//! and nobody is a quorum but where it asks for nobody.

#![no_main]

use libfuzzer_sys::fuzz_target;
use perron_log::{Cosigned, Policy, Submission, Verdict};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(submission) = Submission::parse(bytes) {
        assert_eq!(submission.to_string().as_bytes(), bytes);
    }
    if let Ok(policy) = Policy::parse(bytes) {
        let all: Vec<Cosigned> = (0..policy.witnesses().len())
            .map(|witness| Cosigned { witness, size: witness as u64 + 3, time_unix_s: 7 })
            .collect();
        match (policy.judge(&[]), policy.judge(&all)) {
            (Verdict::Unasked, Verdict::Unasked) => {}
            (Verdict::Open, Verdict::Final { size, at_unix_s: 7 }) => assert!(size >= 3),
            other => panic!("{other:?}"),
        }
    }
});

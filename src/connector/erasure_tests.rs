use super::*;
use perron_model::entry::{ChainPosition, Intent};
use proptest::prelude::*;

fn entry(index: u64, agreement: u64) -> Entry {
    let agreement = Digest::of(&agreement.to_be_bytes());
    Entry {
        version: 1,
        index,
        time: Timestamp::EPOCH,
        previous: None,
        blind: [0; 16].into(),
        chain: Some(ChainPosition { agreement, number: index, previous: None }),
        trace: None,
        on_behalf_of: None,
        processing_activity: None,
        body: Body::Intent(Intent {
            request: agreement,
            user: "x".to_owned(),
            purpose: "x".to_owned(),
            provider: "x".to_owned(),
            sealed: Some(agreement),
        }),
    }
}

fn header(index: u64, epoch: u64) -> SealedHeader {
    let mut value = [0; 16];
    value.iter_mut().zip(index.to_be_bytes()).for_each(|(to, from)| *to = from);
    SealedHeader { epoch: epoch.to_be_bytes(), value }
}

/// Takes what is chosen of the entries that seal a value, in their order.
fn found(sealed: &[(u64, bool)], epoch: impl Fn(u64) -> u64, agreement: impl Fn(u64) -> u64) -> Found {
    let mut found = Found::default();
    for (index, chosen) in sealed {
        if !chosen {
            found.is_run = false;
        } else if !found.take(&entry(*index, agreement(*index)), &header(*index, epoch(*index))) {
            break;
        }
    }
    found
}

proptest! {
    /// Of each span all sealed values are meant, so spans hold those that were chosen and no other.
    #[test]
    fn spans_hold_what_was_chosen(entries in prop::collection::vec((any::<bool>(), any::<bool>()), 0..200)) {
        let sealed: Vec<(u64, bool)> =
            (0_u64..).zip(&entries).filter(|(_, (is_sealed, _))| *is_sealed).map(|(i, (_, c))| (i, *c)).collect();
        let found = found(&sealed, |_| 0, |index| index % 3);
        let held = |index: u64| found.spans.iter().any(|s| s.first <= index && index <= s.last);
        for (index, chosen) in &sealed {
            prop_assert_eq!(held(*index), *chosen, "entry {}", index);
        }
        let chosen = sealed.iter().filter(|(_, chosen)| *chosen).count() as u64;
        prop_assert_eq!(found.values, chosen);
        prop_assert_eq!(found.agreements.values().map(|c| c.values).sum::<u64>(), chosen);
        prop_assert_eq!(found.erasing.erased.values().map(BTreeSet::len).sum::<usize>() as u64, chosen);
        prop_assert!(found.spans.windows(2).all(|pair| pair[0].last < pair[1].first) && !found.more);
    }
}

#[test]
fn one_erasure_is_bounded_and_the_rest_is_for_the_next() {
    let most = |count: usize| (0..2 * count as u64 + 4).collect::<Vec<_>>();
    // Every other one: a span each.
    let alternating: Vec<(u64, bool)> = most(ERASED_SPANS_MAX).into_iter().map(|i| (i, i % 2 == 0)).collect();
    let spans = found(&alternating, |_| 0, |_| 0);
    assert_eq!((spans.spans.len(), spans.more), (ERASED_SPANS_MAX, true));
    let all = |count: usize| most(count).into_iter().map(|i| (i, true)).collect::<Vec<_>>();
    let agreements = found(&all(ERASED_AGREEMENTS_MAX), |_| 0, |index| index);
    assert_eq!(
        (agreements.agreements.len(), agreements.spans.len(), agreements.more),
        (ERASED_AGREEMENTS_MAX, 1, true)
    );
    let epochs = found(&all(ERASED_EPOCHS_MAX), |index| index, |_| 0);
    assert_eq!((epochs.erasing.erased.len(), epochs.more), (ERASED_EPOCHS_MAX, true));
}

/// Whoever is on the list no longer is found by what the log has of them.
#[test]
fn a_user_goes_by_the_pseudonyms_that_the_log_tells() {
    let name = |text: &str| text.parse::<UserName>().unwrap();
    let of = |pairs: &[(&str, &str)]| pairs.iter().map(|(to, p)| ((*to).to_owned(), (*p).to_owned())).collect();
    let asked = |text: &str| Whom { pseudonyms: BTreeSet::from([text.to_owned()]), name: None, text: text.to_owned() };
    for text in ["anne", "own"] {
        let mut whom = asked(text);
        assert!(!whom.is(&name("paul"), of(&[("", "his"), ("a", "his at a")])));
        assert!(whom.is(&name("anne"), of(&[("", "own"), ("a", "hers at a")])), "{text}");
        assert!(whom.pseudonyms.contains("hers at a") && !whom.pseudonyms.contains("his at a"));
    }
    // One of the list by a pseudonym of theirs: what else the log has by their name is theirs too.
    let mut whom = Whom { name: Some(name("anne")), ..asked("own") };
    assert!(whom.is(&name("anne"), of(&[("b", "hers at b")])) && !whom.is(&name("own"), of(&[("", "x")])));
    assert!(whom.pseudonyms.contains("hers at b"));
}

/// Whatever is configured: the entry comes after the time was computed.
#[test]
fn what_could_be_undone_ends_after_the_entry() {
    let now = Timestamp::EPOCH;
    assert_eq!(undone_until(now, 0), now.plus_millis(DAY_MS));
    assert_eq!(undone_until(now, 1), now.plus_millis(DAY_MS));
    assert_eq!(undone_until(now, 30), now.plus_millis(30 * DAY_MS));
}

#[test]
fn an_erasure_says_of_what() {
    let nothing = EraseAsked {
        entries: Vec::new(),
        user: None,
        agreement: None,
        since: None,
        until: None,
        ground: Ground::Unlawful,
    };
    assert!(check(&nothing).is_err());
    assert!(check(&EraseAsked { entries: vec![1], ..nothing.clone() }).is_ok());
    assert!(check(&EraseAsked { entries: vec![1; ERASED_ENTRIES_ASKED_MAX + 1], ..nothing.clone() }).is_err());
    for user in [String::new(), "x".repeat(PSEUDONYM_BYTES_MAX + 1)] {
        assert!(check(&EraseAsked { user: Some(user), ..nothing.clone() }).is_err());
    }
    assert!(check(&EraseAsked { until: Some(Timestamp::EPOCH), ..nothing }).is_ok());
}

//! Notices as another program would send them.

use super::*;
use crate::world::SPACE;
use perron::api::pb;
use perron::api::pb::agreement_service_client::AgreementServiceClient;
use perron::trust::jws;
use perron::trust::keys::{KeySet, SigningKey};
use perron_model::life::{Act, NOTICE_TYP, Notice, NoticeKind};
use perron_model::participant::KeyUse;
use perron_model::{AgreementId, Digest, ParticipantId, SpaceId, Timestamp};
use tonic::transport::Channel;

fn notice(agreement: &str, from: &str, to: &str, act: Act) -> Notice {
    Notice {
        kind: NoticeKind::V1,
        space: SpaceId::parse(SPACE).unwrap(),
        id: uuid::Uuid::now_v7().to_string(),
        agreement: AgreementId::parse(agreement).unwrap(),
        from: ParticipantId::parse(from).unwrap(),
        to: ParticipantId::parse(to).unwrap(),
        time: Timestamp::from_millis(1_790_000_000_000).unwrap(),
        act,
    }
}

fn suspend() -> Act {
    Act::Suspend { reason: "essai".to_owned() }
}

fn sign(key: &SigningKey, typ: &str, notice: &Notice) -> String {
    jws::sign_compact(key, typ, &notice.bytes().unwrap()).unwrap()
}

fn send(runtime: &tokio::runtime::Runtime, channel: &Channel, notice: String) -> Result<String, String> {
    let mut client = AgreementServiceClient::new(channel.clone());
    let answer = runtime.block_on(client.notify(pb::NotifyRequest { notice }));
    answer.map(|a| a.into_inner().standing).map_err(|status| code_of(&status))
}

#[test]
fn what_is_wrong_with_a_notice_is_refused_by_its_code_and_leaves_no_entry() {
    let world = World::new();
    let agreement = world.agree(END);
    let runtime = channel::runtime();
    let _inside = runtime.enter();
    let (to_provider, _) = channel::peer_channel(&world, CONSUMER, PROVIDER);
    let keys = |name: &str| KeySet::load(&world.dir(name).join("keys")).unwrap();
    let (ours, theirs) = (keys(CONSUMER), keys(PROVIDER));
    let key = ours.signing_key(KeyUse::Agreement).unwrap();
    let good = notice(&agreement, CONSUMER, PROVIDER, suspend());
    let unknown = Digest::of(b"unknown").to_string();
    let entries = count(&world, PROVIDER, "notice");
    let proposal = Digest::of(b"no proposal");
    let mut forged = sign(key, NOTICE_TYP, &good);
    let last = forged.pop().unwrap();
    forged.push(if last == 'A' { 'Q' } else { 'A' });
    let bad: Vec<(String, &str)> = vec![
        (forged, "signature_invalid"),
        (sign(theirs.signing_key(KeyUse::Agreement).unwrap(), NOTICE_TYP, &good), "signature_invalid"),
        (sign(ours.signing_key(KeyUse::Request).unwrap(), NOTICE_TYP, &good), "signature_invalid"),
        (sign(key, "perron-read-request+jws", &good), "signature_invalid"),
        (sign(key, NOTICE_TYP, &notice(&agreement, PROVIDER, CONSUMER, suspend())), "issuer_mismatch"),
        (sign(key, NOTICE_TYP, &notice(&agreement, CONSUMER, AUTHORITY, suspend())), "issuer_mismatch"),
        (sign(key, NOTICE_TYP, &notice(&unknown, CONSUMER, PROVIDER, suspend())), "not_found"),
        (sign(key, NOTICE_TYP, &notice(&agreement, CONSUMER, PROVIDER, Act::Confirm { proposal })), "not_found"),
        (
            sign(key, NOTICE_TYP, &notice(&agreement, CONSUMER, PROVIDER, Act::Suspend { reason: String::new() })),
            "malformed",
        ),
        (
            sign(
                key,
                NOTICE_TYP,
                &notice(
                    &agreement,
                    CONSUMER,
                    PROVIDER,
                    Act::Fulfil { duty: "obligation[0]".to_owned(), evidence: "fait".to_owned(), file: None },
                ),
            ),
            "not_found",
        ),
        ("x.y".to_owned(), "malformed"),
        ("A".repeat(60_000), "too_large"),
    ];
    for (text, code) in bad {
        let shown: String = text.chars().take(60).collect();
        assert_eq!(send(&runtime, &to_provider, text), Err(code.to_owned()), "{shown}");
    }
    // Neither may others send or ask about it.
    let (stranger, _) = channel::peer_channel(&world, AUTHORITY, PROVIDER);
    let foreign = keys(AUTHORITY);
    let foreign = sign(
        foreign.signing_key(KeyUse::Agreement).unwrap(),
        NOTICE_TYP,
        &notice(&agreement, AUTHORITY, PROVIDER, suspend()),
    );
    assert_eq!(send(&runtime, &stranger, foreign), Err("not_found".to_owned()));
    let asked = |channel: &Channel, agreement: &str| {
        let mut client = AgreementServiceClient::new(channel.clone());
        let answer =
            runtime.block_on(client.get_agreement(pb::GetAgreementRequest { agreement: agreement.to_owned() }));
        answer.map(|a| a.into_inner().standing).map_err(|status| code_of(&status))
    };
    assert_eq!(asked(&stranger, &agreement), Err("not_found".to_owned()));
    assert_eq!(asked(&to_provider, &unknown), Err("not_found".to_owned()));
    assert_eq!(asked(&to_provider, &agreement), Ok("in-force".to_owned()));
    assert_eq!(count(&world, PROVIDER, "notice"), entries, "what was refused is in the log");
    // The same notice again is one entry, and gets the same answer.
    let text = sign(key, NOTICE_TYP, &good);
    for _ in 0..3 {
        assert_eq!(send(&runtime, &to_provider, text.clone()), Ok("suspended".to_owned()));
    }
    assert_eq!(count(&world, PROVIDER, "notice"), entries + 1);
    assert_eq!(asked(&to_provider, &agreement), Ok("suspended".to_owned()));
    verify_all(world);
}

/// What one member sends in a short time is bounded, also what is refused; then it may go on.
#[test]
fn a_member_that_floods_with_notices_is_told_to_wait() {
    use futures::StreamExt;
    let world = World::new();
    let agreement = world.agree(END);
    let runtime = channel::runtime();
    let _inside = runtime.enter();
    let (to_provider, _) = channel::peer_channel(&world, CONSUMER, PROVIDER);
    let keys = KeySet::load(&world.dir(CONSUMER).join("keys")).unwrap();
    let key = keys.signing_key(KeyUse::Agreement).unwrap();
    let burst = usize::try_from(perron_model::limits::NEGOTIATION_MESSAGES_BURST).unwrap();
    let proposal = Digest::of(b"no proposal");
    let mut flood = futures::stream::iter(0..20 * burst)
        .map(|_| {
            let act = Act::Confirm { proposal };
            let notice = sign(key, NOTICE_TYP, &notice(&agreement, CONSUMER, PROVIDER, act));
            let mut client = AgreementServiceClient::new(to_provider.clone());
            async move { code_of(&client.notify(pb::NotifyRequest { notice }).await.unwrap_err()) }
        })
        .buffer_unordered(32);
    let mut looked_at = 0;
    loop {
        match runtime.block_on(flood.next()).as_deref() {
            Some("not_found") => looked_at += 1,
            Some("overloaded") => break,
            other => panic!("{other:?} after {looked_at}"),
        }
    }
    drop(flood);
    assert!(looked_at >= burst - 100, "told to wait after {looked_at}");
    assert_eq!(count(&world, PROVIDER, "notice"), 0);
    let good = sign(key, NOTICE_TYP, &notice(&agreement, CONSUMER, PROVIDER, suspend()));
    wait_until("the member may go on", || send(&runtime, &to_provider, good.clone()).is_ok());
    verify_all(world);
}

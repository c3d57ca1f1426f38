//! Somebody with the partner's keys and certificate, who answers what they like.

use super::*;
use perron::api::errors::to_status;
use perron::api::grpc::channels::{self, PeerIdentity};
use perron::api::pb::ledger_service_server::{LedgerService, LedgerServiceServer};
use perron::trust::keys::KeySet;
use perron::trust::tls::{ReloadableTls, TlsIdentity, install_provider};
use perron_model::{Error, ErrorCode, SpaceId};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

type Parts = Vec<Result<pb::GetExtractResponse, Status>>;
type Stream<T> = std::pin::Pin<Box<dyn futures::Stream<Item = Result<T, Status>> + Send>>;

/// What is answered to each request for an extract, and what was asked.
#[derive(Clone, Default)]
struct Impostor {
    answers: Arc<Mutex<VecDeque<Parts>>>,
    asked: Arc<Mutex<Vec<pb::GetExtractRequest>>>,
}

fn away() -> Status {
    to_status(&Error::new(ErrorCode::PeerUnavailable, "not now"))
}

#[tonic::async_trait]
impl LedgerService for Impostor {
    async fn get_checkpoint(
        &self,
        _: Request<pb::GetCheckpointRequest>,
    ) -> Result<Response<pb::GetCheckpointResponse>, Status> {
        Err(away())
    }
    async fn get_kept(&self, _: Request<pb::GetKeptRequest>) -> Result<Response<pb::GetKeptResponse>, Status> {
        Err(away())
    }
    async fn add_checkpoint(
        &self,
        _: Request<pb::AddCheckpointRequest>,
    ) -> Result<Response<pb::AddCheckpointResponse>, Status> {
        Err(away())
    }
    async fn get_receipt(&self, _: Request<pb::GetReceiptRequest>) -> Result<Response<pb::GetReceiptResponse>, Status> {
        Err(away())
    }
    async fn get_held_receipt(
        &self,
        _: Request<pb::GetHeldReceiptRequest>,
    ) -> Result<Response<pb::GetHeldReceiptResponse>, Status> {
        Err(away())
    }
    type GetExtractStream = Stream<pb::GetExtractResponse>;
    async fn get_extract(
        &self,
        request: Request<pb::GetExtractRequest>,
    ) -> Result<Response<Self::GetExtractStream>, Status> {
        self.asked.lock().unwrap().push(request.into_inner());
        let parts = self.answers.lock().unwrap().pop_front().ok_or_else(away)?;
        Ok(Response::new(Box::pin(futures::stream::iter(parts))))
    }
}

/// Takes the place of a stopped organisation at its address.
async fn serve(world: &World, name: &str, stop: CancellationToken) -> Impostor {
    install_provider();
    let dir = world.dir(name);
    let config: toml::Table = toml::from_str(&std::fs::read_to_string(dir.join("perron.toml")).unwrap()).unwrap();
    let at = config["listen"]["peers"].as_str().unwrap().to_owned();
    let (trust, keys) = (dir.join("trust"), KeySet::load(&dir.join("keys")).unwrap());
    let space = SpaceId::parse(crate::world::SPACE).unwrap();
    let identity =
        TlsIdentity::load(&space, &trust.join("certificate.pem"), keys.tls(), &trust.join("ca.pem")).unwrap();
    let tls = Arc::new(ReloadableTls::new(identity));
    let listener = tokio::net::TcpListener::bind(&at).await.unwrap();
    let incoming = channels::accept(listener, stop.clone(), move |stream| {
        let tls = tls.clone();
        async move { tls.accept(stream).await.map(|(stream, peer)| (stream, PeerIdentity(peer))) }
    });
    let impostor = Impostor::default();
    let service = LedgerServiceServer::new(impostor.clone());
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming_shutdown(incoming, stop.cancelled_owned()),
    );
    impostor
}

fn part(lines: &[&str], next: Option<u64>) -> Result<pb::GetExtractResponse, Status> {
    let lines = lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect();
    let next = next.map(|from| pb::ExtractPlace { end: 9, size: 10, from });
    Ok(pb::GetExtractResponse { lines, next, consistency: Vec::new() })
}

#[test]
fn what_an_impostor_gives_is_found() {
    let mut world = World::new();
    let agreement = world.agree(END);
    let extract = |world: &World| {
        let out = output(&["audit", "extract", "--dir", &world.path(PROVIDER), &agreement], &[]);
        String::from_utf8(out.stdout).unwrap()
    };
    let old = extract(&world);
    world.query(&agreement, ONE).unwrap();
    world.of(CONSUMER, &["audit", "exchange"], &[PROVIDER]).unwrap();
    let fresh = extract(&world);
    let other = {
        let second = world.agree_again();
        // The newest head is kept, whatever was passed on by itself so far.
        world.of(CONSUMER, &["audit", "exchange"], &[PROVIDER]).unwrap();
        let out = output(&["audit", "extract", "--dir", &world.path(PROVIDER), &second], &[]);
        String::from_utf8(out.stdout).unwrap()
    };
    world.stop(PROVIDER);
    let runtime = channel::runtime();
    let stop = CancellationToken::new();
    let impostor = runtime.block_on(serve(&world, PROVIDER, stop.clone()));
    let ask = |answers: Vec<Parts>| {
        *impostor.answers.lock().unwrap() = answers.into();
        impostor.asked.lock().unwrap().clear();
        now(&world, CONSUMER, PROVIDER, &agreement).unwrap_or(Json::Null);
        known(&world, CONSUMER, &agreement)["newest"].clone()
    };
    let lines: Vec<&str> = fresh.lines().collect();
    let told =
        |newest: &Json| (newest["result"].as_str().unwrap().to_owned(), newest["reason"].as_str().map(str::to_owned));
    let invalid = |code: &str| ("invalid".to_owned(), Some(code.to_owned()));

    // An entry dropped out of its chain, another agreement's chain, no extract at all.
    let mut dropped = lines.clone();
    dropped.remove(lines.len() - 2);
    assert_eq!(told(&ask(vec![vec![part(&dropped, None)]])), invalid("log_damaged"));
    assert_eq!(told(&ask(vec![vec![part(&other.lines().collect::<Vec<_>>(), None)]])), invalid("signature_invalid"));
    assert_eq!(told(&ask(vec![vec![part(&["{}"], None)]])), invalid("malformed"));
    // One from before the read: the partner hides the newest.
    let replayed = ask(vec![vec![part(&old.lines().collect::<Vec<_>>(), None)]]);
    assert_eq!(replayed["differences"], serde_json::json!({"history-differs": 1}), "{replayed:#}");
    // Nothing came.
    assert_eq!(told(&ask(vec![])), ("unanswered".to_owned(), Some("peer_unavailable".to_owned())));
    // Larger than may be taken: lines without an end.
    let much = "x".repeat(900 * 1024);
    let endless: Parts = (0..80).map(|from| part(&[much.as_str()], Some(from))).collect();
    assert_eq!(told(&ask(vec![endless])), ("unanswered".to_owned(), Some("too_large".to_owned())));

    // What breaks off goes on where it did; where that is gone, it begins anew.
    let begun = || vec![part(&lines[..2], Some(5)), Err(away())];
    world.stop(CONSUMER);
    forget(&world, CONSUMER, PROVIDER);
    world.start(CONSUMER);
    let ask = |answers: Vec<Parts>| {
        *impostor.answers.lock().unwrap() = answers.into();
        impostor.asked.lock().unwrap().clear();
        now(&world, CONSUMER, PROVIDER, &agreement).unwrap_or(Json::Null)
    };
    let gone = || vec![Err(to_status(&Error::new(ErrorCode::NotFound, "too long ago")))];
    let resumed = ask(vec![begun(), vec![part(&lines[2..], None)]]);
    assert_eq!((&resumed["result"], &resumed["reconciled"]["reads"]), (&"same".into(), &1.into()), "{resumed:#}");
    let places: Vec<Option<u64>> = impostor.asked.lock().unwrap().iter().map(|a| a.resume.map(|r| r.from)).collect();
    assert_eq!(places, [None, Some(5)]);
    // From here on the consumer holds that checkpoint, and says so.
    let again = ask(vec![begun(), gone(), vec![part(&lines, None)]]);
    assert!(again.is_null(), "{again:#}");
    let newest = known(&world, CONSUMER, &agreement)["newest"].clone();
    assert_eq!(newest["differences"], serde_json::json!({"extract-older": 1}), "{newest:#}");
    let asked = impostor.asked.lock().unwrap().clone();
    let places: Vec<Option<u64>> = asked.iter().map(|a| a.resume.map(|r| r.from)).collect();
    assert_eq!(places, [None, Some(5), None]);
    assert!(asked.iter().all(|a| a.held_size > 0), "{asked:?}");
    stop.cancel();
    // Whatever came, our own log tells it as it was.
    world.stop(CONSUMER);
    let report = perron_verify::verify(&world.dir(CONSUMER), &[]).unwrap();
    assert_eq!(report.kinds(), ["older-state"], "the checkpoint that was thrown away above, and no more");
}

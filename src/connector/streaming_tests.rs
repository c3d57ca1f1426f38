use super::*;
use crate::settings::{Facility, StreamFormat};
use crate::trust::dialer::{Endpoint, Purpose};
use crate::trust::register::RegisterHandle;
use crate::trust::testing::{World, id};
use crate::trust::tls::ReloadableTls;
use std::collections::BTreeMap;

fn stream(directory: &Path) -> Stream {
    let world = World::new(&["huy"]);
    let tls = Arc::new(ReloadableTls::new(world.identity("huy")));
    let dialer = Dialer::new(tls, Arc::new(RegisterHandle::new(world.verified())), BTreeMap::new());
    let settings = Syslog {
        address: "127.0.0.1:6514".to_owned(),
        server_name: "siem".to_owned(),
        ca: PathBuf::from("ca.pem"),
        certificate: None,
        key: None,
        format: StreamFormat::Ocsf,
        facility: Facility::LogAudit,
        confirmation: Confirmation::CloseNotify,
    };
    Stream::open(directory, settings, Arc::new(dialer))
}

#[tokio::test]
async fn it_goes_on_from_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let streamed = stream(directory.path());
    assert_eq!(streamed.position("a/huy/1", 5).unwrap(), 0);
    streamed.confirm("a/huy/1", 3).await.unwrap();
    assert_eq!(streamed.status(5)["behind"], 2);
    assert_eq!(streamed.position("a/huy/1", 5).unwrap(), 3);
    // Another log, or one that lost its end: what it has now, the collector may not have.
    assert_eq!(streamed.position("a/huy/2", 5).unwrap(), 0);
    assert_eq!(streamed.position("a/huy/1", 2).unwrap(), 0);
    std::fs::write(directory.path().join(POSITION), "{}").unwrap();
    assert_eq!(streamed.position("a/huy/1", 5).unwrap_err().code, ErrorCode::ConfigInvalid);
}

/// What a collector does at the end of the channel, once it has read to our close_notify.
async fn ended(answers: bool, confirmation: Confirmation) -> Result<()> {
    let world = World::new(&["huy", "seraing"]);
    let (tls, ours) = (ReloadableTls::new(world.identity("huy")), ReloadableTls::new(world.identity("seraing")));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = Endpoint::parse(&listener.local_addr().unwrap().to_string()).unwrap();
    let collector = tokio::spawn(async move {
        let (mut channel, _) = tls.accept(listener.accept().await.unwrap().0).await.unwrap();
        let mut all = Vec::new();
        channel.read_to_end(&mut all).await.unwrap();
        if answers {
            channel.shutdown().await.unwrap();
        }
        all
    });
    let register = Arc::new(RegisterHandle::new(world.verified()));
    let dialer = Dialer::new(Arc::new(ours), register, BTreeMap::from([(id("huy"), endpoint)]));
    let mut channel = dialer.dial(&id("huy"), Purpose::Syslog).await.unwrap().stream;
    channel.write_all(b"5 <1>1 ").await.unwrap();
    let done = end(&mut channel, confirmation).await;
    assert_eq!(collector.await.unwrap(), b"5 <1>1 ");
    done
}

#[tokio::test]
async fn only_the_answer_to_the_end_says_that_all_was_taken() {
    ended(true, Confirmation::CloseNotify).await.unwrap();
    ended(true, Confirmation::EndOfStream).await.unwrap();
    ended(false, Confirmation::EndOfStream).await.unwrap();
    assert_eq!(ended(false, Confirmation::CloseNotify).await.unwrap_err().code, ErrorCode::PeerUnavailable);
}

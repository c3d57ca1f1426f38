//! The auditor's folder: made by who may, with a copy of the evidence that verifies, and no secret.

use crate::played::files;
use crate::world::{CONSUMER, PROVIDER, World};
use perron::api::errors::from_status;
use perron::api::grpc::admin::Command;
use perron::api::pb;
use perron::api::pb::admin_service_client::AdminServiceClient;
use perron::connector::FolderScope;
use perron_model::limits::LOCAL_ANSWER_BYTES_MAX;
use serde_json::Value as Json;
use std::path::Path;
use std::process;

fn folder(world: &World, name: &str, args: &[&str], out: &str) -> Result<Json, crate::world::Refused> {
    let out = world.dir(out).display().to_string();
    world.of(name, &["audit", "folder"], &[args, &[out.as_str()]].concat())
}

/// The auditor's program over a directory, as JSON; whether nothing was found.
fn verified(directory: &Path, against: &[&Path]) -> (Json, bool) {
    let program = Path::new(env!("CARGO_BIN_EXE_perron")).with_file_name("perron-verify");
    let mut command = process::Command::new(program);
    command.arg("--json").arg(directory);
    for other in against {
        command.arg("--against").arg(other);
    }
    let out = command.output().unwrap();
    (serde_json::from_slice(&out.stdout).unwrap_or(Json::Null), out.status.success())
}

fn page(world: &World, out: &str) -> String {
    std::fs::read_to_string(world.dir(out).join("index.html")).unwrap()
}

/// What the page shows at an element of this mark.
fn shown<'a>(page: &'a str, mark: &str) -> &'a str {
    let (_, rest) = page.split_once(mark).unwrap_or_else(|| panic!("no `{mark}`"));
    let (_, rest) = rest.split_once('>').unwrap();
    rest.split_once('<').unwrap().0
}

#[test]
fn a_folder_has_a_page_and_a_copy_that_verifies() {
    let mut world = World::new();
    let agreement = world.agree("2099-01-01T00:00:00Z");
    world.query(&agreement, "SELECT n FROM data ORDER BY n LIMIT 7").unwrap();
    world.query(&agreement, "SELECT count(*) FROM data").unwrap();
    assert!(world.query(&agreement, "SELECT nothing_of_this_name FROM data").is_err());
    world.of(PROVIDER, &["agreement", "suspend"], &[&agreement, "--reason", "a <b> & \"c\""]).unwrap();

    for (name, out) in [(PROVIDER, "of-provider"), (CONSUMER, "of-consumer")] {
        let made = folder(&world, name, &["--agreement", &agreement, "--with-verifier"], out).unwrap();
        assert!(made["entries"].as_u64().unwrap() >= 5, "{made}");
        // The other party, and the authority where it was shown the log meanwhile.
        assert!(made["witnesses"].as_u64().unwrap() >= 1 && made["verifier"] == Json::Bool(true), "{made}");
    }
    let (given, got) = (world.dir("of-provider"), world.dir("of-consumer"));
    // The consumer's was made later: the provider's folder knows nothing newer of its log.
    for (own, other) in [(&given, None), (&got, Some(given.join("evidence")))] {
        let (report, is_ok) = verified(&own.join("evidence"), other.as_deref().as_slice());
        assert!(is_ok && report["findings"].as_array().is_some_and(Vec::is_empty), "{report}");
    }

    // The numbers are those of the entries.
    let of_provider = page(&world, "of-provider");
    assert_eq!(shown(&of_provider, "data-total=\"permitted\""), "2");
    assert_eq!(shown(&of_provider, "data-total=\"refused\""), "1");
    assert_eq!(shown(&of_provider, "data-total=\"rows\""), "8");
    assert_eq!(shown(&page(&world, "of-consumer"), "data-total=\"rows\""), "8");
    assert!(of_provider.contains("a &lt;b&gt; &amp; &quot;c&quot;"), "the reason of the suspension");
    assert!(!of_provider.contains("a <b>"), "a text of somebody else's is markup");

    // No key, no user, no data; nothing of the page is fetched.
    for file in files(&given) {
        let name = file.strip_prefix(&given).unwrap().display().to_string();
        let is_known = ["index.html", "README.txt", "LISEZMOI.txt", "perron-verify"].contains(&name.as_str())
            || [
                "evidence/log/",
                "evidence/documents/",
                "evidence/trust/kept/",
                "evidence/trust/cosigned/",
                "evidence/trust/dated/",
            ]
            .iter()
            .any(|folder| name.starts_with(folder))
            || ["evidence/perron.toml", "evidence/trust/authority.key", "evidence/trust/register.json"]
                .contains(&name.as_str());
        assert!(is_known, "{name}");
        let bytes = std::fs::read(&file).unwrap();
        let is_secret = |bytes: &[u8]| bytes.windows(11).any(|w| w == b"PRIVATE KEY");
        assert!(name == "perron-verify" || !is_secret(&bytes), "{name}");
    }
    assert!(of_provider.contains("default-src &#x27;none&#x27;"), "no policy of content");

    // What is there already isn't written over.
    let again = folder(&world, PROVIDER, &["--agreement", &agreement], "of-provider").unwrap_err();
    assert_eq!(again.code, "already_exists", "{again:?}");
    world.stop(PROVIDER);
    world.verify(PROVIDER);
}

#[test]
fn a_folder_tells_of_a_period_and_is_an_entry() {
    let mut world = World::new();
    let agreement = world.agree("2099-01-01T00:00:00Z");
    world.query(&agreement, "SELECT count(*) FROM data").unwrap();
    let entries = world.entries(PROVIDER);
    let permit = entries.iter().find(|e| e["kind"] == "permit").unwrap();
    let at = permit["time"].as_str().unwrap();
    let made = folder(&world, PROVIDER, &["--agreement", &agreement, "--until", at], "before").unwrap();
    let before = made["entries"].as_u64().unwrap();
    assert_eq!(before, permit["chain"]["number"].as_u64().unwrap(), "{made}");
    assert_eq!(shown(&page(&world, "before"), "data-total=\"permitted\""), "0");
    let made = folder(&world, PROVIDER, &["--agreement", &agreement, "--since", at], "since").unwrap();
    assert!(made["entries"].as_u64().unwrap() >= 2, "{made}");
    let acts = world.of(PROVIDER, &["audit", "list"], &["--kind", "administration"]).unwrap();
    let acts = acts.as_array().unwrap().iter().filter(|e| e["facts"]["action"] == "audit.folder").count();
    assert_eq!(acts, 2);

    let none = folder(&world, PROVIDER, &["--agreement", &agreement, "--until", "2020-01-01T00:00:00Z"], "no");
    assert_eq!(none.unwrap_err().code, "not_found");
    let unknown = "A".repeat(43);
    assert_eq!(folder(&world, PROVIDER, &["--agreement", &unknown], "no").unwrap_err().code, "not_found");
    assert!(!world.dir("no").exists(), "a refused folder leaves nothing");

    // A copy is as of when it was made: the log goes on.
    world.query(&agreement, "SELECT count(*) FROM data").unwrap();
    let (report, is_ok) = verified(&world.dir("before").join("evidence"), &[]);
    assert!(is_ok, "{report}");
    // Whoever verifies the folder instead of the copy is told where it is.
    let program = Path::new(env!("CARGO_BIN_EXE_perron")).with_file_name("perron-verify");
    let out = process::Command::new(program).arg(world.dir("before")).output().unwrap();
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.code() == Some(64) && told.contains("evidence"), "{told}");
    world.stop(PROVIDER);
}

/// Gives a command over the local socket, as the user of a token; the code of a refusal.
pub fn told_as(world: &World, token: &str, command: &Command) -> Result<Json, String> {
    let socket = world.dir(PROVIDER).join("perron.sock");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let connector = tower::service_fn(move |_: http::Uri| {
            let socket = socket.clone();
            async move { tokio::net::UnixStream::connect(socket).await.map(hyper_util::rt::TokioIo::new) }
        });
        let channel = tonic::transport::Endpoint::from_static("http://local.perron.internal")
            .connect_with_connector(connector)
            .await
            .unwrap();
        let mut client = AdminServiceClient::new(channel).max_decoding_message_size(LOCAL_ANSWER_BYTES_MAX);
        let command = serde_json::to_vec(command).unwrap();
        let mut request = tonic::Request::new(pb::ExecuteRequest { command, language: String::new() });
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        match client.execute(request).await {
            Ok(answer) => Ok(serde_json::from_slice(&answer.into_inner().answer).unwrap()),
            Err(status) => Err(from_status(&status).code.to_string()),
        }
    })
}

#[test]
fn a_folder_is_for_auditors() {
    let mut world = World::new();
    let agreement = world.agree("2099-01-01T00:00:00Z");
    let token = |user: &str, role: &str| {
        let added = world.of(PROVIDER, &["user", "add"], &[user, "--role", role, "--token"]).unwrap();
        added["token"].as_str().unwrap().to_owned()
    };
    let (lea, tom) = (token("lea", "auditor"), token("tom", "analyst"));
    let scope = FolderScope { agreement: agreement.parse().unwrap(), since: None, until: None };
    let folder = Command::AuditFolder { scope };
    let piece = |given: u64, path: &str| Command::AuditEvidence { given, path: path.to_owned(), offset: 0, length: 8 };
    const SEGMENT: &str = "log/segment/00000000000000000000";
    for command in [&folder, &piece(0, SEGMENT)] {
        assert_eq!(told_as(&world, &tom, command).unwrap_err(), "role_missing");
    }
    // Before an entry says that something is given, nothing is: neither of a folder nor of an export.
    let read = |user: &str, given: u64, path: &str| told_as(&world, user, &piece(given, path));
    for entry in [0, 1, 1_000_000] {
        assert_eq!(read(&lea, entry, SEGMENT).unwrap_err(), "not_found", "{entry}");
        let page = Command::AuditExportPage { entry, from: 0 };
        assert_eq!(told_as(&world, &lea, &page).unwrap_err(), "not_found", "{entry}");
    }
    let given = told_as(&world, &lea, &folder).unwrap();
    assert_eq!(given["folder"]["participant"], PROVIDER, "{given}");
    let entry = given["folder"]["given"]["index"].as_u64().unwrap();
    assert_eq!(read(&lea, entry, SEGMENT).unwrap()["bytes"], "UEVSUk9Oc2c=", "PERRONsg");
    for path in ["users.json", "keys/log.pem", "log/segment/../../users.json", "perron.toml"] {
        assert_eq!(read(&lea, entry, path).unwrap_err(), "not_found", "{path}");
    }
    // What one auditor was given isn't another's, and a folder is no export.
    let max = token("max", "auditor");
    assert_eq!(read(&max, entry, SEGMENT).unwrap_err(), "not_found");
    let page = Command::AuditExportPage { entry, from: 0 };
    assert_eq!(told_as(&world, &lea, &page).unwrap_err(), "not_found");
    world.stop(PROVIDER);
}

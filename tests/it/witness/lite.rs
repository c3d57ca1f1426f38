//! `litewitness` as a process of ours, with its key in an agent and its logs in a database.

use super::program;
use crate::world::{World, address, wait_until};
use perron_log::Verifier;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

pub struct Lite {
    program: OsString,
    python: OsString,
    folder: PathBuf,
    fingerprint: String,
    agent: Child,
    running: Option<Child>,
    pub listens: SocketAddr,
    pub verifier: Verifier,
}

impl Lite {
    /// A witness that knows no log yet.
    pub fn start(world: &World) -> Option<Lite> {
        let (program, python) = (program("PERRON_LITEWITNESS")?, program("PERRON_PYTHON")?);
        let folder = world.dir("lite");
        std::fs::create_dir_all(&folder).unwrap();
        let (key, socket) = (folder.join("key"), folder.join("agent"));
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
        assert!(made.unwrap().success());
        let agent = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
        wait_until("the agent listens", || socket.exists());
        let added = Command::new("ssh-add").arg(&key).env("SSH_AUTH_SOCK", &socket).stderr(Stdio::null()).status();
        assert!(added.unwrap().success());
        let said = Command::new("ssh-keygen").arg("-lf").arg(key.with_extension("pub")).output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        let fingerprint = said.split(' ').nth(1).unwrap().to_owned();
        let verifier = verifier_of(&std::fs::read_to_string(key.with_extension("pub")).unwrap());
        let listens = address();
        let mut lite = Lite { program, python, folder, fingerprint, agent, running: None, listens, verifier };
        lite.again();
        Some(lite)
    }

    /// Starts it, or starts it again.
    pub fn again(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.join("stderr")).unwrap();
        let before = self.said().len();
        let child = Command::new(&self.program)
            .current_dir(&self.folder)
            .args(["-name", NAME, "-db", "lite.db", "-ssh-agent", "agent", "-key", &self.fingerprint, "-listen"])
            .arg(self.listens.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.running = Some(child);
        wait_until("the witness listens", || {
            let said = self.said();
            said.get(before..).is_some_and(|new| new.contains("msg=listening"))
                && std::net::TcpStream::connect(self.listens).is_ok()
        });
        // Its own word for its key.
        assert!(self.said().contains(&self.verifier.to_vkey()), "{}", self.said());
    }

    pub fn stop(&mut self) {
        let mut child = self.running.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.folder.join("stderr")).unwrap_or_default()
    }

    /// Enters a log, as its own tool does: that one can't be built from the registry.
    pub fn add_log(&self, log: &Verifier) {
        let script = "import sqlite3, sys\n\
            db = sqlite3.connect(sys.argv[1], timeout=20)\n\
            db.execute('INSERT INTO log (origin, tree_size, tree_hash) VALUES (?, 0, ?)', (sys.argv[2], sys.argv[4]))\n\
            db.execute('INSERT INTO key (origin, key) VALUES (?, ?)', (sys.argv[2], sys.argv[3]))\n\
            db.commit()\n";
        let entered = Command::new(&self.python)
            .args(["-c", script])
            .arg(self.folder.join("lite.db"))
            .args([log.name(), &log.to_vkey(), &perron_log::merkle::empty_root().to_base64()])
            .status();
        assert!(entered.unwrap().success());
    }
}

const NAME: &str = "witness.test/lite";

/// The key that OpenSSH wrote, as a witness's.
fn verifier_of(public: &str) -> Verifier {
    use base64::Engine;
    let blob = public.split(' ').nth(1).unwrap();
    let bytes = base64::engine::general_purpose::STANDARD.decode(blob).unwrap();
    let key: [u8; 32] = bytes[bytes.len() - 32..].try_into().unwrap();
    Verifier::new(NAME, perron_log::KeyKind::CosignatureV1, &key).unwrap()
}

impl Drop for Lite {
    fn drop(&mut self) {
        for child in self.running.iter_mut().chain([&mut self.agent]) {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.said());
        }
    }
}

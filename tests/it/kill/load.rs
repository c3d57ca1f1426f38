//! The load: readers at the consumer's Flight SQL endpoint, negotiations beside them, and a note
//! of everything that either was told.

use crate::kill::world::{PURPOSE, ROWS, Reader, TABLE, World};
use arrow_flight::sql::client::FlightSqlServiceClient;
use futures::TryStreamExt;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tonic::transport::{Channel, Endpoint};

/// Connections of all readers together.
const CONNECTIONS: usize = 8;
/// Rows of the longest answers: more than one batch holds.
const ROWS_MAX: u64 = 6 * ROWS;
/// Longest time of one read, as its reader waits for it.
const READ_S_MAX: u64 = 60;
/// Pause of a reader that was refused, in milliseconds: a load, not a storm.
const REFUSED_PAUSE_MS: u64 = 20;

/// One read, as its reader saw it.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Number of the reader.
    pub reader: usize,
    /// When it began and ended, in milliseconds of the clock that the logs use too.
    pub began: i64,
    pub ended: i64,
    /// Rows asked for.
    pub wanted: u64,
    /// Rows that came.
    pub rows: u64,
    /// What went wrong; none for an answer that came to its end.
    pub error: Option<String>,
}

/// A negotiation that the consumer's command line acknowledged.
#[derive(Clone, Debug)]
pub struct Asked {
    pub negotiation: String,
    /// The agreement, once the command line told it.
    pub agreement: Option<String>,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Seen {
    pub attempts: Mutex<Vec<Attempt>>,
    pub asked: Mutex<BTreeMap<String, Asked>>,
    pub in_flight: Arc<AtomicUsize>,
    /// Set by a kill: nothing new begins.
    pub fired: Arc<AtomicBool>,
    /// Readers and negotiators at work.
    busy: AtomicUsize,
    completed: AtomicUsize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Go {
    Pause,
    Run,
    End,
}

/// The running load.
pub struct Load {
    pub seen: Arc<Seen>,
    pub readers: Vec<Reader>,
    clients: Vec<FlightSqlServiceClient<Channel>>,
    go: watch::Sender<Go>,
    runtime: Option<tokio::runtime::Runtime>,
    negotiators: Vec<std::thread::JoinHandle<()>>,
}

/// Milliseconds of the system's clock.
pub fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

impl Load {
    /// Makes readers and negotiators; they wait for `resume`.
    pub fn new(world: &World, readers: Vec<Reader>, negotiators: usize) -> Load {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let seen = Arc::new(Seen::default());
        let (go, _) = watch::channel(Go::Pause);
        let clients = {
            let _entered = runtime.enter();
            let endpoint = Endpoint::from_shared(format!("http://{}", world.flight)).unwrap();
            let channels: Vec<Channel> = (0..CONNECTIONS).map(|_| endpoint.connect_lazy()).collect();
            let client = |(at, reader): (usize, &Reader)| {
                let mut client = FlightSqlServiceClient::new(channels[at % CONNECTIONS].clone());
                client.set_token(reader.token.clone());
                client.set_header("perron-agreement", reader.agreement.clone());
                client.set_header("perron-purpose", PURPOSE);
                client
            };
            readers.iter().enumerate().map(client).collect::<Vec<_>>()
        };
        for (reader, client) in clients.iter().enumerate() {
            runtime.spawn(read_on(reader, client.clone(), seen.clone(), go.subscribe()));
        }
        let negotiators = (0..negotiators)
            .map(|_| {
                let (world, seen, go) = (world.clone(), seen.clone(), go.subscribe());
                std::thread::spawn(move || negotiate_on(&world, &seen, go))
            })
            .collect();
        Load { seen, readers, clients, go, runtime: Some(runtime), negotiators }
    }

    pub fn resume(&self) {
        self.seen.fired.store(false, Ordering::SeqCst);
        self.seen.completed.store(0, Ordering::SeqCst);
        self.go.send_replace(Go::Run);
    }

    /// Lets nothing new begin, and waits until everything under way has ended.
    pub fn pause(&self) -> Result<(), String> {
        self.go.send_replace(Go::Pause);
        crate::kill::process::until(Duration::from_secs(READ_S_MAX + 60), || {
            match self.seen.busy.load(Ordering::SeqCst) {
                0 => Ok(()),
                busy => Err(format!("{busy} requests of the load don't end")),
            }
        })
    }

    /// Reads that came to their end since the load was resumed.
    pub fn completed(&self) -> usize {
        self.seen.completed.load(Ordering::SeqCst)
    }

    /// Requests that their readers wait for.
    pub fn in_flight(&self) -> usize {
        self.seen.in_flight.load(Ordering::SeqCst)
    }

    /// The newest errors that readers were told.
    pub fn errors(&self, count: usize) -> Vec<String> {
        let attempts = self.seen.attempts.lock().unwrap();
        attempts.iter().rev().filter_map(|a| a.error.clone()).take(count).collect()
    }

    /// One read under each agreement: it carries what is still to be acknowledged.
    pub fn read_once_each(&self) -> Vec<Attempt> {
        let runtime = self.runtime.as_ref().expect("a running load");
        let mut done = Vec::new();
        let mut agreements = std::collections::BTreeSet::new();
        for (at, reader) in self.readers.iter().enumerate() {
            if agreements.insert(reader.agreement.clone()) {
                let attempt = runtime.block_on(read(at, self.clients[at].clone(), 1, &self.seen));
                self.seen.attempts.lock().unwrap().push(attempt.clone());
                done.push(attempt);
            }
        }
        done
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.go.send_replace(Go::End);
        for negotiator in self.negotiators.drain(..) {
            let _ = negotiator.join();
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn read_on(reader: usize, client: FlightSqlServiceClient<Channel>, seen: Arc<Seen>, mut go: watch::Receiver<Go>) {
    let mut number = 0_u64;
    loop {
        let told = *go.borrow_and_update();
        if told == Go::End {
            return;
        }
        if told == Go::Pause || seen.fired.load(Ordering::SeqCst) {
            if go.changed().await.is_err() {
                return;
            }
            continue;
        }
        number += 1;
        // Every number of rows up to the bound, in an order of the reader's own; now and then an
        // answer of several batches.
        let most = if (number + u64::try_from(reader).unwrap()).is_multiple_of(4) { ROWS_MAX } else { ROWS };
        let wanted = 1 + (number.wrapping_mul(1_117) + u64::try_from(reader).unwrap() * 389) % most;
        seen.busy.fetch_add(1, Ordering::SeqCst);
        let attempt = read(reader, client.clone(), wanted, &seen).await;
        let refused = attempt.error.is_some();
        seen.attempts.lock().unwrap().push(attempt);
        seen.busy.fetch_sub(1, Ordering::SeqCst);
        if refused {
            tokio::time::sleep(Duration::from_millis(REFUSED_PAUSE_MS)).await;
        } else {
            seen.completed.fetch_add(1, Ordering::SeqCst);
        }
    }
}

async fn read(reader: usize, mut client: FlightSqlServiceClient<Channel>, wanted: u64, seen: &Seen) -> Attempt {
    let began = now_ms();
    let mut rows = 0;
    seen.in_flight.fetch_add(1, Ordering::SeqCst);
    let answer = async {
        let statement = statement(wanted);
        let info = client.execute(statement, None).await.map_err(|e| e.to_string())?;
        let ticket = info.endpoint.first().and_then(|e| e.ticket.clone()).ok_or("no ticket")?;
        let mut batches = client.do_get(ticket).await.map_err(|e| e.to_string())?;
        while let Some(batch) = batches.try_next().await.map_err(|e| e.to_string())? {
            rows += u64::try_from(batch.num_rows()).unwrap();
        }
        Ok::<(), String>(())
    };
    let error = match tokio::time::timeout(Duration::from_secs(READ_S_MAX), answer).await {
        Ok(ended) => ended.err(),
        Err(_) => Some(HUNG.to_owned()),
    };
    seen.in_flight.fetch_sub(1, Ordering::SeqCst);
    Attempt { reader, began, ended: now_ms(), wanted, rows, error }
}

/// The set as often as it takes, up to so many rows.
fn statement(wanted: u64) -> String {
    let one = format!("SELECT building, meter, start_local, litres FROM {TABLE}");
    let times = usize::try_from(wanted.div_ceil(ROWS)).unwrap();
    format!("SELECT * FROM ({}) AS t LIMIT {wanted}", vec![one; times].join(" UNION ALL "))
}

/// What is noted of a read that neither came nor failed.
pub const HUNG: &str = "no end within the deadline";

fn negotiate_on(world: &World, seen: &Seen, mut go: watch::Receiver<Go>) {
    loop {
        let told = *go.borrow_and_update();
        if told == Go::End {
            return;
        }
        if told == Go::Pause || seen.fired.load(Ordering::SeqCst) {
            if futures::executor::block_on(go.changed()).is_err() {
                return;
            }
            continue;
        }
        seen.busy.fetch_add(1, Ordering::SeqCst);
        if let Ok(negotiation) = world.ask() {
            let mut asked = Asked { negotiation: negotiation.clone(), agreement: None };
            seen.asked.lock().unwrap().insert(negotiation.clone(), asked.clone());
            if let Ok(agreement) = world.agreed(&negotiation) {
                asked.agreement = Some(agreement);
                seen.asked.lock().unwrap().insert(negotiation, asked);
            }
        }
        seen.busy.fetch_sub(1, Ordering::SeqCst);
    }
}

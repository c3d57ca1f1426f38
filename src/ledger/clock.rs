//! The only place of the program that reads the wall clock.

use perron_gate::Clock;
use perron_model::Timestamp;

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::EPOCH.plus_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

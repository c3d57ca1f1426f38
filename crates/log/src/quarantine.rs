//! What was moved away from a torn end of the log, and is to be told of.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::LogError;
use crate::files::{EntryKind, read_file};
use crate::limits::{QUARANTINED_MAX, RECORD_BYTES_MAX};
use crate::merkle::Hash;
use crate::reader::Shared;
use crate::recover::TornTail;
use crate::segment::FILE_HEADER_BYTES_MAX;

/// Torn bytes that were moved there whole, the newest by where they were: so
/// many at the most.
pub(crate) fn quarantined(shared: &Shared) -> Result<Vec<TornTail>, LogError> {
    let dir = shared.layout.quarantine_dir();
    let mut named: Vec<(u64, u64, PathBuf)> = Vec::new();
    for entry in shared.files.list(dir).map_err(LogError::io(dir))? {
        let place = entry.name.to_str().filter(|_| entry.kind == EntryKind::File).and_then(place_of);
        named.extend(place.map(|(segment, offset)| (segment, offset, dir.join(&entry.name))));
    }
    named.sort_unstable();
    let passed_over = named.len().saturating_sub(QUARANTINED_MAX);
    let mut torn = Vec::new();
    for (segment, offset, quarantined) in named.into_iter().skip(passed_over) {
        let bytes = match read_file(&*shared.files, &quarantined, RECORD_BYTES_MAX.max(FILE_HEADER_BYTES_MAX)) {
            // Longer than what is moved there: it is another's.
            Err(error) if error.kind() == ErrorKind::FileTooLarge => continue,
            read => read.map_err(LogError::io(&quarantined))?,
        };
        let (segment, digest, length) = (shared.layout.segment(segment), Hash::of(&bytes), bytes.len() as u64);
        // A copy that is not whole is of a life that cut nothing off.
        if quarantined.file_name().is_some_and(|name| *name == *quarantine_name(&segment, offset, &digest)) {
            torn.push(TornTail { segment, offset, length, digest, quarantined });
        }
    }
    Ok(torn)
}

/// Where torn bytes lie: by where they were, and the beginning of their digest.
pub(crate) fn quarantine_name(segment: &Path, offset: u64, digest: &Hash) -> String {
    let segment = segment.file_name().unwrap_or_default().to_string_lossy();
    let short: String = digest.to_string().chars().take(16).collect();
    format!("segment-{segment}-{offset}-{short}")
}

/// First leaf of the segment, and the offset, of such a name.
fn place_of(name: &str) -> Option<(u64, u64)> {
    let (segment, rest) = name.strip_prefix("segment-")?.split_once('-')?;
    Some((segment.parse().ok()?, rest.split_once('-')?.0.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_where_the_bytes_were() {
        let name = quarantine_name(Path::new("data/log/segment/00000000000000000070"), 512, &Hash::of(b"torn"));
        assert_eq!(place_of(&name), Some((70, 512)));
        for other in ["", "segment-", "segment-7", "segment-7-8", "segment-x-8-ab", "tile-7-8-ab"] {
            assert_eq!(place_of(other), None, "{other}");
        }
    }
}

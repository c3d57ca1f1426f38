//! What left, as one digest that proofs can speak of.
//!
//! RFC 6962 tree over the Flight messages in the order sent; a leaf is the 16 bytes of salt, then
//! the SHA-256 of the message. So a consumer that got k of m messages can be matched.

use perron_log::merkle::{Frontier, Hash, leaf_hash};
use perron_model::Digest;
use sha2::{Digest as _, Sha256};

/// Digest of one Flight message: its header's length (u32, big-endian), header, body.
pub fn message_digest(header: &[u8], body: &[u8]) -> [u8; 32] {
    let length = u32::try_from(header.len()).unwrap_or(u32::MAX);
    Sha256::new().chain_update(length.to_be_bytes()).chain_update(header).chain_update(body).finalize().into()
}

/// The root over messages of these digests.
pub fn stream_root(salt: &[u8; 16], messages: &[[u8; 32]]) -> Digest {
    let mut frontier = Frontier::new();
    for message in messages {
        let mut leaf = salt.to_vec();
        leaf.extend_from_slice(message);
        frontier.append(leaf_hash(&leaf));
    }
    let Hash(root) = frontier.root();
    Digest::from_bytes(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_depends_on_salt_order_and_bytes() {
        let a = message_digest(b"h", b"b");
        let b = message_digest(b"hb", b"");
        assert_ne!(a, b);
        let root = stream_root(&[1; 16], &[a, b]);
        assert_ne!(root, stream_root(&[2; 16], &[a, b]));
        assert_ne!(root, stream_root(&[1; 16], &[b, a]));
    }
}

//! A member follows the authority's register: each version is on disk before it is in use.

use crate::api::grpc::client::GrpcPeers;
use crate::connector::Node;
use crate::connector::catalogue::blocking;
use crate::connector::rotation::Registrar;
use crate::files::write_file;
use crate::trust::register::{RegisterHandle, VerifiedRegister};
use async_trait::async_trait;
use futures::StreamExt;
use perron_model::limits::{OUTBOX_BACKOFF_MS_MAX, OUTBOX_BACKOFF_MS_MIN, REGISTER_BYTES_MAX};
use perron_model::register::SignedRegister;
use perron_model::{ParticipantId, Result, canonical};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The register of a member, and whom it has it from.
pub(super) struct Follower {
    peers: Arc<GrpcPeers>,
    authority: ParticipantId,
    register: Arc<RegisterHandle>,
    file: PathBuf,
    // File and use are one step: versions come over the watch, and as answers.
    taking: Mutex<()>,
}

impl Follower {
    pub(super) fn new(
        peers: Arc<GrpcPeers>,
        authority: ParticipantId,
        register: Arc<RegisterHandle>,
        file: PathBuf,
    ) -> Follower {
        Follower { peers, authority, register, file, taking: Mutex::default() }
    }

    /// Follows until the task is dropped; a register that names another log than the one that is written
    /// stops its writer.
    pub(super) async fn follow(&self, node: &Node) {
        let mut wait_ms = OUTBOX_BACKOFF_MS_MIN;
        loop {
            if let Ok(mut versions) = self.peers.watch_register(&self.authority).await {
                while let Some(Ok(bytes)) = versions.next().await {
                    match self.take(&bytes) {
                        Ok(()) => {
                            wait_ms = OUTBOX_BACKOFF_MS_MIN;
                            node.stop_if_closed().await;
                        }
                        Err(error) => {
                            tracing::error!(
                                code = error.code.as_str(),
                                "a register version was refused: {}",
                                error.detail
                            );
                        }
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            wait_ms = wait_ms.saturating_mul(2).min(OUTBOX_BACKOFF_MS_MAX);
        }
    }

    fn take(&self, bytes: &[u8]) -> Result<()> {
        let _alone = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        let signed: SignedRegister = canonical::from_bytes(bytes, REGISTER_BYTES_MAX)?;
        let current = self.register.load();
        let verified = VerifiedRegister::verify(&signed, current.authority(), Some(&current))?;
        write_file(&self.file, bytes)?;
        self.register.replace(verified).map(|_| ())
    }

    async fn take_apart(self: Arc<Self>, bytes: Vec<u8>) -> Result<()> {
        blocking(move || self.take(&bytes)).await
    }
}

/// A member's way to its authority.
pub(super) struct Member(pub(super) Arc<Follower>);

#[async_trait]
impl Registrar for Member {
    async fn change_key(&self, change: String) -> Result<()> {
        let bytes = self.0.peers.change_key(&self.0.authority, change).await?;
        self.0.clone().take_apart(bytes).await
    }

    async fn refresh(&self) -> Result<()> {
        let bytes = self.0.peers.register(&self.0.authority).await?;
        self.0.clone().take_apart(bytes).await
    }
}

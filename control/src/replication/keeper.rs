//! Keeps a connection with each backup: one task for each possible member.

use tokio::sync::watch;

use super::{Addresses, address_of};
use crate::link::Dialer;

/// Runs until replication ends.
pub(super) async fn run(mut dialer: Dialer, mut backups: watch::Receiver<Addresses>) {
    let member = dialer.member();
    loop {
        let wanted = |all: &Addresses| address_of(all, member);
        let Ok(address) = backups.wait_for(|all| wanted(all).is_some()).await.map(|all| wanted(&all)) else { return };
        let Some(address) = address else { continue };
        let kept = async {
            if let Some(connection) = dialer.connection(address).await {
                connection.closed().await;
            }
        };
        tokio::select! {
            () = kept => {}
            // Another address, or none: a connection that stands is left to those who use it.
            changed = backups.wait_for(|all| wanted(all) != Some(address)) => if changed.is_err() { return },
        }
    }
}

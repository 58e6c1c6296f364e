//! What has begun and ended in a store, for apps that act on what others own.

use std::collections::VecDeque;

use crate::replica::SessionKey;
use crate::unit::Unit;

/// See [`super::Store::watch`].
#[derive(Default)]
pub(super) struct Watch {
    apps: Vec<u8>,
    changed: VecDeque<(u8, Unit, SessionKey)>,
}

impl Watch {
    pub(super) fn watch(&mut self, app: u8) {
        self.apps.push(app);
    }

    pub(super) fn note(&mut self, app: u8, unit: Unit, session: SessionKey) {
        if self.apps.contains(&app) {
            self.changed.push_back((app, unit, session));
        }
    }

    pub(super) fn next(&mut self) -> Option<(u8, Unit, SessionKey)> {
        self.changed.pop_front()
    }
}

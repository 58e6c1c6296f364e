//! The apps that a newcomer must suit (patent Figure 8F), and that hear who came and went (Figure 8G).
//!
//! The only one so far is the router: members whose ports play different roles cannot stand in for one another. An app
//! answers at once; one that has to think will be asked through a channel and hold the candidate at "operation in
//! progress" meanwhile, which the cluster core is made for.

use phalanx_dataplane::unit::MemberId;

use crate::cluster::JoinRequest;

/// A protocol handler, as the cluster sees it.
pub(super) trait App: Send {
    /// Its name in the log.
    fn name(&self) -> &'static str;
    /// Whether it can work with this candidate; the reason if not.
    fn accepts(&mut self, candidate: MemberId, request: &JoinRequest) -> Result<(), String>;
    /// A member came (true) or went.
    fn member(&mut self, member: MemberId, came: bool);
}

/// An app does not want a candidate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct AppRefusal {
    /// Which app.
    pub(super) app: &'static str,
    /// Why.
    pub(super) why: String,
}

/// All apps of this member.
pub(super) struct Apps(Vec<Box<dyn App>>);

impl Apps {
    pub(super) fn new(apps: Vec<Box<dyn App>>) -> Self {
        Self(apps)
    }

    /// Asks all of them. The refused candidate asks again and again: how often that is written down is for the caller.
    pub(super) fn judge(&mut self, candidate: MemberId, request: &JoinRequest) -> Result<(), AppRefusal> {
        let refuse = |app: &mut Box<dyn App>| {
            let why = app.accepts(candidate, request).err()?;
            Some(AppRefusal { app: app.name(), why })
        };
        self.0.iter_mut().find_map(refuse).map_or(Ok(()), Err)
    }

    /// Tells all of them.
    pub(super) fn tell(&mut self, member: MemberId, came: bool) {
        self.0.iter_mut().for_each(|app| app.member(member, came));
    }
}

/// The router: all members must have the same ports in the same order.
pub(super) struct Router {
    roles: Vec<u8>,
}

impl Router {
    pub(super) fn new(roles: Vec<u8>) -> Self {
        Self { roles }
    }
}

impl App for Router {
    fn name(&self) -> &'static str {
        "router"
    }

    fn accepts(&mut self, _candidate: MemberId, request: &JoinRequest) -> Result<(), String> {
        if request.roles == self.roles {
            return Ok(());
        }
        Err(format!("its ports' roles are {:?}, ours {:?} (1 outside, 2 inside)", request.roles, self.roles))
    }

    fn member(&mut self, _member: MemberId, _came: bool) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Contact, PROTOCOL_VERSION};

    #[test]
    fn the_router_wants_equal_roles() {
        let request = |roles: &[u8]| JoinRequest {
            protocol: PROTOCOL_VERSION,
            config_digest: [0; 32],
            roles: roles.to_vec(),
            incarnation: 0,
            contact: Contact { address: "10.9.0.2:7400".parse().unwrap(), macs: vec![] },
            term: 0,
        };
        let mut apps = Apps::new(vec![Box::new(Router::new(vec![1, 2]))]);
        let candidate = MemberId::new(2).unwrap();
        assert_eq!(apps.judge(candidate, &request(&[1, 2])), Ok(()));
        let why = "its ports' roles are [2, 1], ours [1, 2] (1 outside, 2 inside)".to_owned();
        assert_eq!(apps.judge(candidate, &request(&[2, 1])), Err(AppRefusal { app: "router", why }));
        apps.tell(candidate, true);
    }
}

//! SIGHUP: the configuration and the revocation list are read again.
//!
//! The two have nothing to do with one another: an operator who has to shut a stolen certificate out at once must not fail
//! because of a typing error in the configuration. What the cluster thread did not take counts as not done, and is tried
//! again at the next SIGHUP.

use std::path::PathBuf;
use std::sync::Arc;

use phalanx_config::{Config, Level, LiveChanges, LogFormat, reload_diff};

use super::desk::Desk;
use super::member::Command;
use super::{RunError, settings};
use crate::pki::{Admission, WallTime};

/// Whoever carries out what a reload changes.
pub(super) trait Orders {
    /// Gives the cluster thread a command; false if it takes none.
    fn command(&self, command: Command) -> bool;
    /// Changes the log.
    fn log(&self, level: Option<Level>, format: Option<LogFormat>);
}

impl Orders for Arc<Desk> {
    fn command(&self, command: Command) -> bool {
        Desk::command(self, command)
    }

    fn log(&self, level: Option<Level>, format: Option<LogFormat>) {
        if let Some(level) = level {
            self.on_it.logging.set_level(level);
        }
        if let Some(format) = format {
            self.on_it.logging.set_format(format);
        }
    }
}

/// What can be read again.
pub(super) struct Reload<O> {
    pub(super) orders: O,
    /// What runs, as last reloaded.
    pub(super) config: Config,
    pub(super) path: PathBuf,
    /// The rules of admission without any revocation list.
    pub(super) admission: Admission,
    /// This member's own certificate.
    pub(super) certificate: Vec<u8>,
}

impl<O: Orders> Reload<O> {
    /// Does it.
    pub(super) fn run(&mut self) {
        self.configuration();
        self.revocations();
    }

    fn configuration(&mut self) {
        let new = match Config::load(&self.path) {
            Ok(new) => new,
            Err(errors) => return tracing::error!("reload refused, the configuration stays as it was: {errors}"),
        };
        let changes = match reload_diff(&self.config, &new) {
            Ok(changes) => changes,
            Err(refusals) => {
                for refusal in refusals {
                    tracing::error!("reload refused, the configuration stays as it was: {refusal}");
                }
                return;
            }
        };
        if !self.take_over(&changes) {
            return tracing::error!("not reloaded: the cluster thread takes no orders; send SIGHUP again");
        }
        self.config = new;
        if changes.is_empty() {
            tracing::info!("reloaded: nothing changed");
        } else {
            tracing::info!("reloaded: {changes:?}");
        }
    }

    /// Whether all changes were taken.
    fn take_over(&self, changes: &LiveChanges) -> bool {
        self.orders.log(changes.log_level, changes.log_format);
        let interval = changes.balance_interval.map(Command::BalanceInterval);
        let routes = changes.routes.as_ref().map(|routes| Command::Routes(settings::routes(routes)));
        [interval, routes].into_iter().flatten().all(|command| self.orders.command(command))
    }

    fn revocations(&self) {
        let mut admission = self.admission.clone();
        match load_crl(&mut admission, &self.config) {
            Ok(false) => {}
            Ok(true) => {
                // A member that nobody lets in must not go on by itself, answering for addresses that are others'.
                let shut_out = admission.check(&self.certificate, WallTime::read_clock()).err();
                let mut taken = self.orders.command(Command::Admission(Box::new(admission)));
                if let Some(error) = shut_out {
                    tracing::error!("this member is shut out, leaving: {error}");
                    taken &= self.orders.command(Command::Drain { hurry: true });
                }
                if taken {
                    tracing::info!("revocation list read again");
                } else {
                    tracing::error!(
                        "the new revocation list is NOT in force: the cluster thread takes no orders; send SIGHUP again"
                    );
                }
            }
            Err(error) => tracing::error!("the old revocation list stays in force: {error}"),
        }
    }
}

/// Reads `crl.pem` beside the identity, if there is one; says whether there is.
pub(super) fn load_crl(admission: &mut Admission, config: &Config) -> Result<bool, RunError> {
    let path = config.member.identity.with_file_name("crl.pem");
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(RunError::Management { what: path.display().to_string(), source }),
    };
    admission.load_crl(&bytes).map_err(|error| RunError::Crl { path, error })?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use phalanx_dataplane::unit::MemberId;

    use super::*;
    use crate::pki::{Authority, Identity};
    use crate::runtime::settings::tests::example_text;

    /// Takes commands, or does not.
    struct Clerk {
        takes: Cell<bool>,
        taken: RefCell<Vec<Command>>,
    }

    impl Orders for Clerk {
        fn command(&self, command: Command) -> bool {
            if self.takes.get() {
                self.taken.borrow_mut().push(command);
            }
            self.takes.get()
        }

        fn log(&self, _level: Option<Level>, _format: Option<LogFormat>) {}
    }

    /// A member's folder, its CA, and its reload.
    struct Scene {
        folder: tempfile::TempDir,
        authority: Authority,
        reload: Reload<Clerk>,
    }

    impl Scene {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let now = WallTime::read_clock();
            let mut authority = Authority::init(folder.path(), &"edge".parse().unwrap(), now).unwrap();
            let mut issue = |number: u8| {
                let (name, id) = (format!("m{number}").parse().unwrap(), MemberId::new(number).unwrap());
                Identity::parse(authority.issue(&name, id, 30, now).unwrap().bundle.as_bytes(), now).unwrap()
            };
            let (me, _other) = (issue(2), issue(3));
            let path = folder.path().join("m2.toml");
            std::fs::write(&path, example_text("forward")).unwrap();
            let reload = Reload {
                orders: Clerk { takes: Cell::new(true), taken: RefCell::default() },
                config: Config::load(&path).unwrap(),
                path,
                admission: Admission::new(me.ca().clone()),
                certificate: me.certificate().to_vec(),
            };
            Self { folder, authority, reload }
        }

        fn revoke(&mut self, name: &str) {
            // The CA's folder is the member's own here, so that its crl.pem is the one that is read.
            self.authority.revoke(name, WallTime::read_clock()).unwrap();
        }

        fn write(&self, text: &str) {
            std::fs::write(self.folder.path().join("m2.toml"), text).unwrap();
        }

        /// What was ordered since the last time, in one word each.
        fn ordered(&self) -> Vec<&'static str> {
            let word = |command: Command| match command {
                Command::Admission(_) => "admission",
                Command::Drain { .. } => "drain",
                Command::Routes(_) => "routes",
                Command::BalanceInterval(_) => "balance",
                Command::Stop | Command::WorkerEnded(_) => "other",
            };
            self.reload.orders.taken.take().into_iter().map(word).collect()
        }
    }

    #[test]
    fn a_revocation_is_in_force_though_the_configuration_is_refused() {
        let mut scene = Scene::new();
        scene.revoke("m3");
        scene.write("[cluster]\nname = 7\n");
        scene.reload.run();
        assert_eq!(scene.ordered(), ["admission"]);
        // Sound, but not to be changed while running.
        scene.write(&example_text("unicast"));
        scene.reload.run();
        assert_eq!(scene.ordered(), ["admission"]);
        std::fs::remove_file(scene.folder.path().join("m2.toml")).unwrap();
        scene.reload.run();
        assert_eq!(scene.ordered(), ["admission"]);
    }

    #[test]
    fn a_member_that_is_revoked_itself_leaves() {
        let mut scene = Scene::new();
        scene.revoke("m2");
        scene.reload.run();
        assert_eq!(scene.ordered(), ["admission", "drain"]);
    }

    #[test]
    fn what_was_not_taken_is_tried_again() {
        let mut scene = Scene::new();
        let changed = example_text("forward").replace("10.2.0.254", "10.2.0.253");
        scene.write(&changed);
        scene.reload.orders.takes.set(false);
        scene.reload.run();
        assert_eq!(scene.ordered(), [""; 0]);
        scene.reload.orders.takes.set(true);
        scene.reload.run();
        assert_eq!(scene.ordered(), ["routes", "admission"]);
        scene.reload.run();
        assert_eq!(scene.ordered(), ["admission"], "the routes are as they should be by now");
    }
}

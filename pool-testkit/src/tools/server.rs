//! A program that serves, from its start to its end.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::client::send;
use super::find::find;
use crate::postgres::EphemeralError;
use crate::postgres::cache::Cache;
use crate::postgres::error::During;
use crate::postgres::program::{Program, Wanted};
use crate::postgres::server::{PORT_ATTEMPTS, START_LIMIT, free_port, make_folder};
use crate::postgres::warden::Warden;

/// A program with a folder and a port of its own. Dropping it ends it and removes its files.
#[derive(Debug)]
pub(super) struct Server {
    warden: Warden,
    pub(super) folder: PathBuf,
    pub(super) port: u16,
    pub(super) program: Program,
}

/// How a program is started.
pub(super) struct Start<'a> {
    pub(super) wanted: &'a Wanted,
    /// What is written into its folder.
    pub(super) files: &'a [(&'a str, &'a str)],
    /// Its arguments, given its folder and its port.
    pub(super) arguments: &'a dyn Fn(&Path, u16) -> Vec<String>,
    /// What answers 200 when it is ready.
    pub(super) ready: &'a str,
}

impl Start<'_> {
    /// Starts it and waits until it is ready, for a minute at most.
    pub(super) fn start(&self) -> Result<Server, EphemeralError> {
        let (cache, program) = find(self.wanted)?;
        for attempt in 1.. {
            match self.attempt(&cache, &program) {
                Err(error) if attempt < PORT_ATTEMPTS && error.to_string().contains("address already in use") => {}
                outcome => return outcome,
            }
        }
        unreachable!("the loop above returns")
    }

    fn attempt(&self, cache: &Cache, program: &Program) -> Result<Server, EphemeralError> {
        let folder = make_folder(cache)?;
        let port = free_port()?;
        // The home of whoever runs the tests is not that of the user whom it runs as.
        let own = [
            "env".to_owned(),
            "-C".to_owned(),
            folder.display().to_string(),
            format!("HOME={}", folder.display()),
            program.path.display().to_string(),
        ];
        let line: Vec<String> = own.into_iter().chain((self.arguments)(&folder, port)).collect();
        // From here on the warden owns the folder.
        let warden = Warden::new(cache.account, &folder, &line, program.libraries.as_deref())?;
        let mut server = Server { warden, folder, port, program: program.clone() };
        for (name, text) in self.files {
            server.write(cache, name, text)?;
        }
        server.copy_templates(cache)?;
        server.launch(self.ready)?;
        Ok(server)
    }
}

impl Server {
    /// A fetched Alertmanager looks for its templates in the current folder.
    fn copy_templates(&self, cache: &Cache) -> Result<(), EphemeralError> {
        let shared =
            self.program.path.parent().and_then(Path::parent).map(|usr| usr.join("share/prometheus/alertmanager"));
        for name in ["default.tmpl", "email.tmpl"] {
            let text = shared.as_ref().and_then(|folder| fs::read_to_string(folder.join(name)).ok());
            text.map(|text| self.write(cache, name, &text)).transpose()?;
        }
        Ok(())
    }

    fn write(&self, cache: &Cache, name: &str, text: &str) -> Result<(), EphemeralError> {
        let path = self.folder.join(name);
        let step = || format!("writing {}", path.display());
        fs::write(&path, text).during(step)?;
        fs::set_permissions(&path, Permissions::from_mode(0o600)).during(step)?;
        cache.account.own(&path)
    }

    fn launch(&mut self, ready: &str) -> Result<(), EphemeralError> {
        let deadline = Instant::now() + START_LIMIT;
        self.warden.order("start")?;
        while !matches!(send(self.port, "GET", ready, ""), Ok((200, _))) {
            if self.warden.order("alive")? != "yes" || Instant::now() > deadline {
                let problem = format!("it is not ready; its log:\n{}", self.log());
                return Err(EphemeralError::step(format!("starting {}", self.program.version), problem));
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ok(())
    }

    /// What it has said.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// An error of a request, with what the server has said.
    pub(super) fn failed(&self, problem: impl std::fmt::Display) -> EphemeralError {
        let step = format!("asking {}", self.program.version);
        EphemeralError::step(step, format!("{problem}; its log:\n{}", self.log()))
    }
}

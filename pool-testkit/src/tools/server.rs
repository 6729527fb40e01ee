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
    /// The folder of its package below /usr/share in which alone it looks for what it needs.
    pub(super) shared: Option<&'a str>,
}

/// Has a mount namespace see nothing in /usr/share but the folder `$0` as `$1`, and becomes what is left of the line.
const WITH_SHARED: &str = r#"
set -e
mount -t tmpfs none /usr/share
wanted=/usr/share/$1; shift
mkdir -p "$(dirname "$wanted")"; ln -s "$0" "$wanted"
exec "$@"
"#;

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
        let own =
            ["env", "-C", &folder.display().to_string(), &format!("HOME={}", folder.display())].map(str::to_owned);
        let mut line = Vec::from(own);
        line.extend(self.where_it_finds_its_own(program));
        line.push(program.path.display().to_string());
        line.extend((self.arguments)(&folder, port));
        // From here on the warden owns the folder.
        let warden = Warden::new(cache.account, &folder, &line, program.libraries.as_deref())?;
        let mut server = Server { warden, folder, port, program: program.clone() };
        for (name, text) in self.files {
            server.write(cache, name, text)?;
        }
        server.launch(self.ready)?;
        Ok(server)
    }

    /// What has to stand before a program that was fetched: it becomes the owner of a namespace of users, in which it may mount for itself what
    /// an installed one has. It keeps the id of the process.
    fn where_it_finds_its_own(&self, program: &Program) -> Vec<String> {
        let usr = program.path.parent().and_then(Path::parent);
        let Some((usr, shared)) = usr.filter(|usr| *usr != Path::new("/usr")).zip(self.shared) else {
            return Vec::new();
        };
        let folder = usr.join("share").join(shared);
        if !folder.is_dir() {
            return Vec::new();
        }
        let unshare = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", WITH_SHARED];
        let mut line = unshare.map(str::to_owned).to_vec();
        line.extend([folder.display().to_string(), shared.to_owned()]);
        line
    }
}

impl Server {
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

//! libpq itself, asked in a process of its own that has no network.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::ORACLE;
use crate::library::library;
use crate::results::Question;

thread_local! {
    /// Who runs this.
    pub(crate) static SYSTEM_USER: String = {
        let output = Command::new("id").arg("-un").output().expect("id says who runs this");
        String::from_utf8(output.stdout).expect("a name").trim().to_owned()
    };
}

/// What libpq says.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Answer {
    bad: bool,
    error: String,
    pub(crate) user: Option<String>,
    pub(crate) database: Option<String>,
    values: BTreeMap<String, Option<String>>,
}

impl Answer {
    /// What it makes of a keyword; nothing if it has no value.
    pub(crate) fn of(&self, keyword: &str) -> String {
        self.values.get(keyword).cloned().flatten().unwrap_or_default()
    }

    /// What it does not like about the string; that nobody can be reached is not the string's fault.
    pub(crate) fn refusal(&self) -> Option<String> {
        let is_network = |line: &&str| {
            let starts = ["connection to server", "could not translate host name", "Unix-domain socket path", "\t"];
            starts.iter().any(|start| line.starts_with(start))
        };
        // A name may have several lines, and so may a port.
        let names = ["host", "hostaddr", "port"].map(|keyword| self.of(keyword)).join(",");
        let mut names: Vec<_> = names.split(',').filter(|name| name.contains('\n')).collect();
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        let without = |error: String, name: &str| match name.trim() {
            "" => error.replace(&format!("\"{name}\""), "a name"),
            _ => error.replace(name, "a name"),
        };
        let error = names.into_iter().fold(self.error.clone(), without);
        let problems: Vec<_> = error.lines().filter(|line| !is_network(line)).collect();
        (self.bad && !problems.is_empty()).then(|| problems.join("; "))
    }
}

pub(crate) struct Judge {
    process: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Judge {
    /// In a network of its own, in which nobody is to be reached.
    pub(crate) fn start() -> Self {
        let mut command = Command::new("unshare");
        // A user's own namespace, where one is needed to have a network's.
        command.args(["--map-current-user", "--net", "python3"]);
        Self::by(command)
    }

    /// By a Python.
    pub(crate) fn by(mut command: Command) -> Self {
        let mut process = command
            .arg(ORACLE)
            .arg(library())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare and python3 are there (apt-get install util-linux python3)");
        let questions = process.stdin.take().unwrap();
        let mut answers = BufReader::new(process.stdout.take().unwrap());
        let mut version = String::new();
        answers.read_line(&mut version).unwrap();
        assert!(version.contains("180"), "libpq 18 is the judge: {version:?}");
        Self { process, questions, answers }
    }

    pub(crate) fn ask(&mut self, question: &Question) -> Answer {
        self.answer(question)
    }

    /// Of its own process, to anything.
    pub(crate) fn answer<T: serde::de::DeserializeOwned>(
        &mut self,
        question: &(impl serde::Serialize + std::fmt::Debug),
    ) -> T {
        serde_json::to_writer(&mut self.questions, question).unwrap();
        writeln!(self.questions).unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer:?}, to {question:?}"))
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

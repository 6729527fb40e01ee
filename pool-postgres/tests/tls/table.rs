//! Every `sslmode` with every certificate that a server may have: what becomes of it here is what becomes of it with libpq.

use crate::judge::{self, Judge, Outcome};
use crate::world::{NAME, ROLES, Server, Trust, World};

const MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];
/// So many kinds of trust are in the table of `docs/libpq.md`, and compared for every role.
const SHOWN: usize = 3;

/// Different on purpose: the lines of `docs/libpq.md` that say so are about files, and let in fewer.
const ON_PURPOSE: [&str; 6] = [
    "a root that is not there",
    "a CRL that is damaged",
    "a CRL that is empty",
    "a certificate as a CRL",
    "CRLs of one day",
    "no CRL, and a folder with one",
];

/// As the documentation shows it: a line for each mode and kind of trust, a column for each server.
fn show(rows: &[(String, Vec<Outcome>)], servers: &[Server]) -> String {
    let line = |cells: &mut dyn Iterator<Item = String>| format!("| {} |", cells.collect::<Vec<_>>().join(" | "));
    let names = servers.iter().map(|server| server.name.to_owned());
    let head = line(&mut std::iter::once("`sslmode`, and what the client has".to_owned()).chain(names));
    let rule = line(&mut std::iter::repeat_n("---".to_owned(), servers.len() + 1));
    let rows = rows.iter().map(|(name, outcomes)| {
        line(&mut std::iter::once(name.clone()).chain(outcomes.iter().map(ToString::to_string)))
    });
    [head, rule].into_iter().chain(rows).collect::<Vec<_>>().join("\n")
}

/// What has been compared so far.
#[derive(Default)]
struct Findings {
    cells: usize,
    wrong: Vec<String>,
}

impl Findings {
    /// What comes of one cell for us.
    async fn compare(&mut self, judge: &mut Judge, trust: &Trust, mode: &str, server: &Server, role: &str) -> Outcome {
        let port = server.port;
        let text = format!(
            "host={NAME} port={port} user={role} dbname=postgres gssencmode=disable sslmode={mode} {}",
            trust.settings
        );
        let (theirs, ours) = (judge.connect(&text), judge::connect(&text).await);
        self.cells += 1;
        let is_on_purpose = ON_PURPOSE.contains(&trust.name) && mode != "disable";
        let is_stricter = is_on_purpose && !matches!(ours, Outcome::Encrypted);
        if !ours.is_like(&theirs) && !is_stricter {
            let cell = format!("{mode}, {}, {}, {role}", trust.name, server.name);
            self.wrong.push(format!(
                "{cell}:\n    {ours} here: {}\n    {theirs} with libpq: {}",
                ours.reason(),
                theirs.reason()
            ));
        }
        ours
    }
}

#[tokio::test]
async fn every_sslmode_comes_to_what_it_comes_to_with_libpq() {
    let world = World::new();
    let (servers, trusts, mut judge) = (world.servers().await, world.trusts(), Judge::start(world.folder.path()));
    let (mut rows, mut findings) = (Vec::new(), Findings::default());
    for (at, trust) in trusts.iter().enumerate() {
        // Of those that follow, what is not verified has nothing to say.
        let is_first = at < SHOWN;
        for mode in if is_first { &MODES[..] } else { &MODES[2..] } {
            let mut row = Vec::new();
            for server in &servers {
                row.push(findings.compare(&mut judge, trust, mode, server, ROLES[0]).await);
                for role in ROLES[1..].iter().filter(|_| is_first) {
                    findings.compare(&mut judge, trust, mode, server, role).await;
                }
            }
            rows.push((format!("`{mode}`, {}", trust.name), row));
        }
    }
    println!("{} cells; as a role that may come either way:\n{}", findings.cells, show(&rows, &servers));
    let Findings { wrong, .. } = findings;
    assert!(wrong.is_empty(), "{} cells are different:\n{}", wrong.len(), wrong.join("\n"));
    let documented = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/libpq.md");
    let table = show(&rows[..SHOWN * MODES.len()], &servers);
    assert!(std::fs::read_to_string(documented).unwrap().contains(&table), "docs/libpq.md has another table:\n{table}");
}

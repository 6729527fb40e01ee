//! Servers with certificates of every kind, and clients that trust in every way.

use pool_postgres::PostgresPool;
use pool_testkit::postgres::EphemeralPostgres;
use pool_testkit::secrets::literal;
use rcgen::{BasicConstraints, DnType, ExtendedKeyUsagePurpose, IsCa, date_time_ymd};

use crate::lists;
use crate::paper::{self, Authority, Folder, Paper, openssl};

pub(crate) const NAME: &str = "127.0.0.1";
/// One that the server lets in however it comes, and two that are let in with encryption or without alone.
pub(crate) const ROLES: [&str; 3] = ["postgres", "ciphered", "clear"];
const HBA: &str = "local all all trust\nhost all postgres 127.0.0.1/32 trust\nhostssl all ciphered 127.0.0.1/32 trust\nhostnossl all clear 127.0.0.1/32 trust\n";

/// A server, by what is special about its certificate.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) port: u16,
    _running: EphemeralPostgres,
}

/// What a client is told of authorities: nothing, or by files.
pub(crate) struct Trust {
    pub(crate) name: &'static str,
    pub(crate) settings: String,
}

pub(crate) struct World {
    pub(crate) folder: Folder,
    pub(crate) authority: Authority,
    pub(crate) other: Authority,
    pub(crate) between: Authority,
    /// Signed by itself.
    own: Paper,
    /// The same, of an authority.
    own_authority: Paper,
    /// By the right authority.
    right: Paper,
    pub(crate) revoked: rcgen::CertificateParams,
}

/// A server with a certificate, and a role that logs in with a password, by entries of this kind.
pub(crate) async fn server_with_role(entry: &str, paper: &Paper) -> EphemeralPostgres {
    let hba = format!(
        "local all all trust\nhost all postgres 127.0.0.1/32 trust\n{entry} all app 127.0.0.1/32 scram-sha-256\n"
    );
    let server = EphemeralPostgres::builder().tls(&paper.certificate, &paper.key).hba(&hba).start().unwrap();
    let pool = PostgresPool::connect(server.url().parse().unwrap()).await.unwrap();
    let create = format!("CREATE ROLE app LOGIN PASSWORD {}", literal("s3cr3t-battery"));
    pool.acquire().await.unwrap().batch_execute(&create).await.unwrap();
    pool.disconnect().await;
    server
}

/// As the manual of PostgreSQL makes one, in two steps. OpenSSL 3.0 makes it of version 1, without any extension.
pub(crate) fn of_the_manual(folder: &Folder, authority: &Authority) -> Paper {
    folder.write("manual.crt", &authority.certificate);
    folder.write("manual.key", &authority.key);
    openssl(folder, "req -new -nodes -text -newkey rsa:2048 -out old.csr -keyout old.key -subj /CN=127.0.0.1");
    // Later ones make it of version 3, which everybody takes.
    openssl(folder, "x509 -req -in old.csr -days 3650 -CA manual.crt -CAkey manual.key -set_serial 99 -out old.crt");
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    Paper { certificate: read("old.crt"), key: read("old.key") }
}

async fn start(name: &'static str, paper: Option<&Paper>) -> Server {
    let builder = EphemeralPostgres::builder().hba(HBA);
    let builder = match paper {
        Some(paper) => builder.tls(&paper.certificate, &paper.key),
        None => builder,
    };
    let server = builder.start().unwrap();
    let pool = PostgresPool::connect(server.url().parse().unwrap()).await.unwrap();
    for role in &ROLES[1..] {
        pool.acquire().await.unwrap().batch_execute(&format!("CREATE ROLE {role} LOGIN")).await.unwrap();
    }
    pool.disconnect().await;
    Server { name, port: server.port(), _running: server }
}

/// Of an authority.
fn authoritative() -> rcgen::CertificateParams {
    let mut params = paper::draft(NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// Valid from one year to another.
fn between_years(from: i32, to: i32) -> rcgen::CertificateParams {
    let mut params = paper::draft(NAME);
    (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
    params
}

impl World {
    pub(crate) fn new() -> Self {
        let (authority, other) = (Authority::new("the right one"), Authority::new("another one"));
        let mut alone = authoritative();
        alone.distinguished_name.push(DnType::CommonName, "nobody else");
        Self {
            folder: Folder::new(),
            between: authority.delegate("in between"),
            own: paper::self_signed(&paper::draft(NAME)),
            own_authority: paper::self_signed(&alone),
            right: authority.issue(NAME),
            revoked: paper::draft(NAME),
            authority,
            other,
        }
    }

    pub(crate) async fn servers(&self) -> Vec<Server> {
        let Self { authority, .. } = self;
        let mut common = paper::draft(NAME);
        common.subject_alt_names.clear();
        let mut for_clients = paper::draft(NAME);
        for_clients.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let mut for_signing = authoritative();
        for_signing.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        let below = self.between.issue(NAME);
        let chain = Paper { certificate: format!("{}{}", below.certificate, self.between.certificate), ..below };
        let kinds = [
            ("self-signed", &self.own),
            ("right CA", &self.right),
            ("wrong CA", &self.other.issue(NAME)),
            ("wrong name", &authority.issue("db.example")),
            ("expired", &authority.sign(&between_years(2020, 2021))),
            ("revoked", &authority.sign(&self.revoked)),
            ("not yet valid", &authority.sign(&between_years(2200, 2201))),
            ("common name alone", &authority.sign(&common)),
            ("version 1", &of_the_manual(&self.folder, authority)),
            ("an authority's", &authority.sign(&authoritative())),
            ("for clients alone", &authority.sign(&for_clients)),
            ("for signing alone", &authority.sign(&for_signing)),
            ("its own authority", &self.own_authority),
            ("intermediate CA", &chain),
        ];
        let mut servers = vec![start("no TLS", None).await];
        for (name, paper) in kinds {
            servers.push(start(name, Some(paper)).await);
        }
        servers
    }

    /// The first ones are those of the table.
    pub(crate) fn trusts(&self) -> Vec<Trust> {
        let trust = |name, settings: String| Trust { name, settings };
        let root = format!("sslrootcert={}", self.file("root.crt", &[&self.authority.certificate]));
        let mut trusts = vec![
            trust("no root", String::new()),
            trust("a root", root.clone()),
            trust("a root and a CRL", format!("{root} sslcrl={}", self.file("root.crl", &[&self.list(2100)]))),
        ];
        trusts.extend(lists::all(self).into_iter().map(|(name, lists)| trust(name, format!("{root} {lists}"))));
        trusts.extend(self.roots().into_iter().map(|(name, root)| trust(name, format!("sslrootcert={root}"))));
        let list = self.file("alone.crl", &[&self.list(2100)]);
        let own = self.file("own.crt", &[&self.own.certificate, &self.own_authority.certificate]);
        trusts.push(trust("a CRL alone", format!("sslcrl={list}")));
        trusts.push(trust("the self-signed ones and a CRL", format!("sslrootcert={own} sslcrl={list}")));
        trusts
    }

    /// The authority's, which is good until a year.
    pub(crate) fn list(&self, until: i32) -> String {
        self.authority.revoke(&[self.revoked.serial_number.as_ref().unwrap()], until)
    }

    pub(crate) fn file(&self, name: &str, parts: &[&str]) -> String {
        self.folder.write(name, &parts.concat()).display().to_string()
    }

    fn roots(&self) -> Vec<(&'static str, String)> {
        let (root, between) = (&self.authority.certificate, &self.between.certificate);
        let old = self.authority.expired("the right one");
        vec![
            ("a root that is not there", "/nonexistent".to_owned()),
            (
                "the self-signed ones as roots",
                self.file("selves.crt", &[&self.own.certificate, &self.own_authority.certificate]),
            ),
            ("the server's own as root", self.file("right.crt", &[&self.right.certificate])),
            ("the intermediate CA alone", self.file("between.crt", &[between])),
            ("the intermediate CA and its root", self.file("both.crt", &[between, root])),
            ("a root that has expired", self.file("expired.crt", &[&old])),
            ("the same root, expired and not", self.file("two.crt", &[&old, root])),
        ]
    }
}

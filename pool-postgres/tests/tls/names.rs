//! Names in certificates: whoever is called so here is called so by libpq.

use pool_postgres::PostgresPool;
use pool_testkit::postgres::EphemeralPostgres;
use rcgen::{CertificateParams, DnType, SanType};

use crate::judge::{self, Judge};
use crate::paper::{self, Authority, Folder};

/// Common names, and alternative names: of hosts, and of addresses.
const CERTIFICATES: [(&str, &[&str], &[&str]); 18] = [
    ("db.example.org", &[], &[]),
    ("DB.Example.org", &["other.example.org"], &[]),
    ("db.example.org", &[], &["127.0.0.1"]),
    ("127.0.0.1", &["db.example.org"], &[]),
    ("127.0.0.1", &[], &["127.0.0.2"]),
    ("127.0.0.1", &[], &[]),
    ("*.example.org", &[], &[]),
    ("nobody", &["*.example.org"], &[]),
    ("nobody", &["*.org", "*"], &[]),
    ("nobody", &["d*.example.org"], &[]),
    ("nobody", &["127.0.0.1"], &[]),
    ("nobody", &["DB.EXAMPLE.ORG"], &["127.0.0.1"]),
    ("nobody,127.0.0.1", &[], &[]),
    ("db.example.org,localhost", &[], &[]),
    ("nobody", &["localhost"], &["::1"]),
    ("localhost.", &[], &["10.1.1.2"]),
    ("127.1", &[], &[]),
    ("fe80::1%eth0", &[], &["fe80::1"]),
];

/// All of this machine. The last one has an address alone.
const HOSTS: [&str; 17] = [
    "db.example.org",
    "DB.example.ORG",
    "a.db.example.org",
    "example.org",
    "127.0.0.1",
    "other.example.org",
    "localhost",
    "localhost.",
    "db.example.org.",
    "127.1",
    "0x7f.0.0.01",
    "2130706433",
    "10.1.258",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "",
];

/// Names that are none for rustls, which has nothing to do with what is verified.
const ODD: [&str; 5] = ["127.1", "fe80::1%eth0", "a..b", "-", "under scored"];

fn params((common, names, addresses): (&str, &[&str], &[&str])) -> CertificateParams {
    let mut params = paper::draft(common);
    // A second one by its number, or it would take the place of the first.
    let kinds = [DnType::CommonName, DnType::CustomDnType(vec![2, 5, 4, 3])];
    for (kind, name) in kinds.into_iter().zip(common.split(',')) {
        params.distinguished_name.push(kind, name);
    }
    let names = names.iter().map(|name| SanType::DnsName((*name).try_into().unwrap()));
    let addresses = addresses.iter().map(|address| SanType::IpAddress(address.parse().unwrap()));
    params.subject_alt_names = names.chain(addresses).collect();
    params
}

#[tokio::test]
async fn a_host_whose_name_is_none_for_rustls_is_reached_by_tls_as_any_other() {
    let (folder, authority) = (Folder::new(), Authority::new("the authority"));
    let root = folder.write("root.crt", &authority.certificate);
    let paper = authority.issue("127.0.0.1");
    let hba = "local all all trust\nhost all postgres 127.0.0.1/32 trust\nhostssl all app 127.0.0.1/32 trust\n";
    let server = EphemeralPostgres::builder().tls(&paper.certificate, &paper.key).hba(hba).start().unwrap();
    let pool = PostgresPool::connect(server.url().parse().unwrap()).await.unwrap();
    pool.acquire().await.unwrap().batch_execute("CREATE ROLE app LOGIN").await.unwrap();
    pool.disconnect().await;
    let mut judge = Judge::start(folder.path());
    for host in ODD {
        for mode in ["allow", "prefer", "require", "verify-ca"] {
            let text = format!(
                "host='{host}' hostaddr=127.0.0.1 port={} user=app dbname=postgres gssencmode=disable \
                 sslmode={mode} sslrootcert={}",
                server.port(),
                root.display()
            );
            for outcome in [judge.connect(&text), judge::connect(&text).await] {
                assert_eq!(outcome.to_string(), "TLS", "{mode} {host}: {}", outcome.reason());
            }
        }
    }
}

#[tokio::test]
async fn a_server_is_called_by_the_names_by_which_libpq_calls_it() {
    let (folder, authority) = (Folder::new(), Authority::new("the authority"));
    let root = folder.write("root.crt", &authority.certificate);
    let (mut judge, mut wrong, mut encrypted) = (Judge::start(folder.path()), Vec::new(), 0);
    for certificate in CERTIFICATES {
        let paper = authority.sign(&params(certificate));
        let server = EphemeralPostgres::builder().tls(&paper.certificate, &paper.key).start().unwrap();
        for host in HOSTS {
            let text = format!(
                "host='{host}' hostaddr=127.0.0.1 port={} user=postgres dbname=postgres gssencmode=disable \
                 sslmode=verify-full sslrootcert={}",
                server.port(),
                root.display()
            );
            let (theirs, ours) = (judge.connect(&text), judge::connect(&text).await);
            encrypted += usize::from(theirs.to_string() == "TLS");
            if !ours.is_like(&theirs) {
                wrong.push(format!("{certificate:?} {host}: {ours} here: {}, {theirs} with libpq", ours.reason()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!((10..CERTIFICATES.len() * HOSTS.len() / 2).contains(&encrypted), "{encrypted}: some of each kind");
}

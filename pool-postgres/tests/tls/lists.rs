//! Lists of revoked certificates, in files and folders.

use std::fs;

use crate::paper::{Folder, openssl};
use crate::world::World;

/// A folder with lists, each under the name by which OpenSSL finds it, and with what is none.
pub(crate) fn folder(folder: &Folder, name: &str, lists: &[&str]) -> String {
    let path = folder.path().join(name);
    fs::create_dir_all(path.join("below")).unwrap();
    fs::write(path.join("README"), "This is no list.").unwrap();
    for (count, list) in lists.iter().enumerate() {
        fs::write(folder.path().join("one.crl"), list).unwrap();
        let hash = openssl(folder, "crl -in one.crl -hash -noout");
        // Those of one authority are told apart by a number.
        let number = (0..=count).find(|number| !path.join(format!("{}.r{number}", hash.trim())).exists()).unwrap();
        fs::write(path.join(format!("{}.r{number}", hash.trim())), list).unwrap();
    }
    format!("sslcrldir={}", path.display())
}

/// What a client is told of them.
pub(crate) fn all(world: &World) -> Vec<(&'static str, String)> {
    let revoked = world.revoked.serial_number.as_ref().unwrap();
    let by = |serials: &[_], years, number| world.authority.revoke_between(serials, years, number);
    let (list, betweens) = (world.list(2100), world.between.revoke(&[], 2100));
    let without_between = world.authority.revoke(&[&world.between.serial], 2100);
    let damaged = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    // Each says something else of one certificate.
    let (before, after) = (by(&[], [2019, 2100], 1), by(&[revoked], [2021, 2100], 2));
    let (taken_back, same) = (by(&[], [2022, 2100], 3), by(&[revoked], [2019, 2100], 2));
    let (old, to_come) = (by(&[], [2022, 2023], 3), by(&[], [2200, 2201], 4));
    let (right, other) = (&world.authority.certificate, world.other.revoke(&[], 2100));
    let file = |name: &str, parts: &[&str]| format!("sslcrl={}", world.file(name, parts));
    let folder = |name: &str, lists: &[&str]| folder(&world.folder, name, lists);
    vec![
        ("a CRL that is too old", file("old.crl", &[&world.list(2021)])),
        ("a CRL of later", file("later.crl", &[&to_come])),
        ("a CRL of another authority", file("other.crl", &[&other])),
        ("a CRL that is not there", "sslcrl=/nonexistent".to_owned()),
        ("a CRL that is damaged", file("none.crl", &[damaged])),
        ("a CRL that is empty", file("empty.crl", &[])),
        ("a certificate as a CRL", file("certificate.crl", &[right])),
        ("CRLs of all authorities", file("all.crl", &[&list, &betweens])),
        ("a CRL with the intermediate CA", file("between.crl", &[&without_between, &betweens])),
        ("an old CRL, and a new one", file("rising.crl", &[&before, &after])),
        ("a new CRL, and an old one", file("falling.crl", &[&after, &before])),
        ("a CRL that takes back another one", file("back.crl", &[&after, &taken_back])),
        ("CRLs of one day", file("day.crl", &[&before, &same])),
        ("a new CRL that has expired, and an old one", file("gone.crl", &[&old, &after])),
        ("a CRL of later, and one of now", file("soon.crl", &[&to_come, &after])),
        ("a folder that is not there", "sslcrldir=/nonexistent".to_owned()),
        ("a folder without a CRL", folder("empty.d", &[])),
        ("a folder with a CRL", folder("one.d", &[&list])),
        ("a folder with CRLs of all authorities", folder("all.d", &[&list, &betweens])),
        ("a folder with a CRL of another authority", folder("other.d", &[&other])),
        ("a folder with an old CRL and a new one", folder("rising.d", &[&before, &after])),
        ("a folder with a new CRL and an old one", folder("falling.d", &[&after, &before])),
        ("a CRL, and a folder without one", format!("{} {}", file("with.crl", &[&list]), folder("empty.d", &[]))),
        (
            "a CRL, and a folder with a newer one",
            format!("{} {}", file("first.crl", &[&before]), folder("new.d", &[&after])),
        ),
        ("no CRL, and a folder with one", format!("sslcrl=/nonexistent {}", folder("only.d", &[&list]))),
    ]
}

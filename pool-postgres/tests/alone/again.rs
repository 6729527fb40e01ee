//! A test runs once more, alone, in a process of its own.

use std::any::type_name;
use std::process::{Command, Output};

/// The name of the test that a closure was written in, as the program knows it.
pub(crate) fn name_of<F>() -> &'static str {
    let path = type_name::<F>().split("::{{closure}}").next().unwrap_or_default();
    path.split_once("::").expect("a crate and a path in it").1
}

/// Runs one test of this program by a command that takes a program and its arguments. Fails if it fails, or is not there.
pub(crate) fn again(command: &mut Command, test: &str) {
    command.arg(std::env::current_exe().unwrap()).args(["--exact", test, "--nocapture"]);
    let Output { status, stdout, stderr } = command.output().expect("it starts");
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    let passed = status.success() && stdout.contains("test result: ok. 1 passed");
    assert!(passed, "{}: {status}\n{stdout}\n{stderr}", command.get_program().display());
    // Figures are for whoever wants to see them.
    stderr.lines().filter(|line| line.starts_with("measured: ")).for_each(|line| eprintln!("{line}"));
}

//! What this process has of the machine's memory.

/// Resident now (`VmRSS`), in MiB; not a number where the system does not say it as Linux does.
pub(crate) fn resident() -> f64 {
    status("VmRSS:")
}

/// The most that ever was (`VmHWM`), in MiB.
pub(crate) fn most_resident() -> f64 {
    status("VmHWM:")
}

fn status(name: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kilobytes.map_or(f64::NAN, |kilobytes| kilobytes / 1024.0)
}

//! As much HTTP as these programs need: one request, one answer, one connection.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Longer than anything asked for here takes on a busy machine.
const LIMIT: Duration = Duration::from_mins(1);

/// Sends a request to a port of this machine and reads the answer: its status and its body.
pub(super) fn send(port: u16, method: &str, path: &str, body: &str) -> Result<(u16, String), String> {
    exchange(port, method, path, body).map_err(|error| format!("{method} http://127.0.0.1:{port}{path}: {error}"))
}

fn exchange(port: u16, method: &str, path: &str, body: &str) -> Result<(u16, String), std::io::Error> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes())?;
    let (head, begun) = head(&mut stream)?;
    let body = body_of(stream, &head, begun)?;
    let status = head.split_ascii_whitespace().nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| std::io::Error::other(format!("no HTTP: {head:?}")))?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// The rest of an answer that has begun so.
fn body_of(mut stream: TcpStream, head: &str, mut body: Vec<u8>) -> Result<Vec<u8>, std::io::Error> {
    if let Some(length) = field(head, "content-length").and_then(|length| length.parse::<usize>().ok()) {
        // Who keeps the connection open for all that ends the answer by its length.
        let missing = length.saturating_sub(body.len());
        stream.take(missing as u64).read_to_end(&mut body)?;
    } else {
        stream.read_to_end(&mut body)?;
    }
    if field(head, "transfer-encoding") == Some("chunked") {
        return joined(&body).ok_or_else(|| std::io::Error::other("it has broken off"));
    }
    Ok(body)
}

/// What comes before the empty line, and what has come after it.
fn head(stream: &mut TcpStream) -> Result<(String, Vec<u8>), std::io::Error> {
    let (mut read, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = read.split_off(end + 4);
            return Ok((String::from_utf8_lossy(&read).into_owned(), rest));
        }
        match stream.read(&mut chunk)? {
            0 => return Err(std::io::Error::other("it has hung up")),
            count => read.extend_from_slice(&chunk[..count]),
        }
    }
}

fn field<'a>(head: &'a str, wanted: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
}

/// What has come in chunks, each after its length; `None` if the last one is not there.
fn joined(mut chunks: &[u8]) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let end = chunks.windows(2).position(|two| two == b"\r\n")?;
        let length = std::str::from_utf8(&chunks[..end]).ok()?.split(';').next()?;
        let length = usize::from_str_radix(length.trim(), 16).ok()?;
        if length == 0 {
            return Some(all);
        }
        all.extend_from_slice(chunks.get(end + 2..end + 2 + length)?);
        chunks = chunks.get(end + 4 + length..)?;
    }
}

/// Reads a body as JSON; any status but 2xx is an error that has the body in it.
pub(super) fn json((status, body): (u16, String)) -> Result<Value, String> {
    if !(200..300).contains(&status) {
        return Err(format!("{status}: {body}"));
    }
    serde_json::from_str(&body).map_err(|error| format!("{error} in {body:?}"))
}

/// Escapes text for a query in a URL.
pub(super) fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_escaped() {
        assert_eq!(escaped("up{a=\"ü\"} > 1"), "up%7Ba%3D%22%C3%BC%22%7D%20%3E%201");
    }

    #[test]
    fn fields_are_found() {
        assert_eq!(field("HTTP/1.1 200 OK\r\ncontent-LENGTH:  12\r\n\r\n", "content-length"), Some("12"));
        assert_eq!(field("HTTP/1.1 200 OK\r\n\r\n", "content-length"), None);
    }

    #[test]
    fn chunks_are_joined() {
        assert_eq!(joined(b"3\r\nabc\r\nA;x\r\n0123456789\r\n0\r\n\r\n"), Some(b"abc0123456789".to_vec()));
        assert_eq!(joined(b"3\r\nabc\r\n"), None);
        assert_eq!(joined(b"9\r\nabc\r\n"), None);
    }

    #[test]
    fn what_is_no_success_is_an_error() {
        assert_eq!(json((404, "none".to_owned())), Err("404: none".to_owned()));
        assert_eq!(json((200, "[1]".to_owned())), Ok(serde_json::json!([1])));
    }
}

//! Just enough of the protocol to run a statement on a server that trusts us.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Connects, runs one statement, and returns the first column of its rows.
pub(super) fn query(port: u16, database: &str, statement: &str) -> Result<Vec<String>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    let limit = Some(Duration::from_mins(1));
    stream.set_read_timeout(limit)?;
    stream.set_write_timeout(limit)?;
    stream.write_all(&startup(database)?)?;
    read_until_ready(&mut stream)?;
    stream.write_all(&framed(Some(b'Q'), &[statement.as_bytes(), &[0]].concat())?)?;
    read_until_ready(&mut stream)
}

fn startup(database: &str) -> Result<Vec<u8>> {
    let mut body = 196_608_i32.to_be_bytes().to_vec();
    for word in ["user", "postgres", "database", database, ""] {
        body.extend_from_slice(word.as_bytes());
        body.push(0);
    }
    framed(None, &body)
}

fn framed(kind: Option<u8>, body: &[u8]) -> Result<Vec<u8>> {
    let length = i32::try_from(body.len() + 4).map_err(Error::other)?;
    let mut message: Vec<u8> = kind.into_iter().collect();
    message.extend_from_slice(&length.to_be_bytes());
    message.extend_from_slice(body);
    Ok(message)
}

/// The kind and the body of the next message.
fn read_message(stream: &mut TcpStream) -> Result<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    stream.read_exact(&mut head)?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]).saturating_sub(4);
    let mut body = vec![0; usize::try_from(length).map_err(Error::other)?];
    stream.read_exact(&mut body)?;
    Ok((head[0], body))
}

fn read_until_ready(stream: &mut TcpStream) -> Result<Vec<String>> {
    let (mut rows, mut failure) = (Vec::new(), None);
    loop {
        let (kind, body) = read_message(stream)?;
        match kind {
            b'D' => rows.extend(first_column(&body)),
            b'E' => failure = Some(String::from_utf8_lossy(&body).replace('\0', " ")),
            b'R' if body != [0; 4] => return Err(Error::other("the server asks for a password")),
            b'Z' => return failure.map_or(Ok(rows), |text| Err(Error::other(text))),
            _ => {}
        }
        if let (b'E', Some(text)) = (kind, &failure)
            && text.starts_with("SFATAL")
        {
            return Err(Error::new(ErrorKind::ConnectionRefused, text.clone()));
        }
    }
}

/// The text of the first column of a data row: a count, then a length and that many bytes for each column.
fn first_column(row: &[u8]) -> Option<String> {
    let length = u32::from_be_bytes(row.get(2..6)?.try_into().ok()?);
    let value = row.get(6..6 + usize::try_from(length).ok()?)?;
    Some(String::from_utf8_lossy(value).into_owned())
}

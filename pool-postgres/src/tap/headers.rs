//! Where one message ends and the next begins.

/// Finds the headers in a stream of messages: a type of one byte, and a length of four that counts itself.
#[derive(Debug, Default)]
pub(super) struct Headers {
    header: Vec<u8>,
    /// Bytes of the body still to come.
    body_left: u64,
}

impl Headers {
    /// Calls `on_message` with the type and the first byte of the body of each message, if it has one, that begins in `bytes`.
    pub(super) fn scan(&mut self, mut bytes: &[u8], mut on_message: impl FnMut(u8, u8)) {
        while !bytes.is_empty() {
            if self.body_left > 0 && self.header.is_empty() {
                let skip = usize::try_from(self.body_left).unwrap_or(usize::MAX).min(bytes.len());
                self.body_left -= skip as u64;
                bytes = &bytes[skip..];
                continue;
            }
            self.header.push(bytes[0]);
            bytes = &bytes[1..];
            if self.header.len() < 5 {
                continue;
            }
            let length = u32::from_be_bytes([self.header[1], self.header[2], self.header[3], self.header[4]]);
            let body = u64::from(length.saturating_sub(4));
            if body > 0 && self.header.len() == 5 {
                continue;
            }
            on_message(self.header[0], self.header.get(5).copied().unwrap_or(0));
            self.body_left = body.saturating_sub(1);
            self.header.clear();
        }
    }
}

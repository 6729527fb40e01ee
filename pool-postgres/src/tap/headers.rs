//! Where one message ends and the next begins.

/// Finds the headers in a stream of messages: a type of one byte, and a length of four that counts itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Headers {
    /// The header of a message and what is kept of its body.
    begun: Vec<u8>,
    /// Bytes of the body still to come.
    body_left: u64,
    /// The types of the messages that are looked into, and how much is kept of each. Of the others one byte is.
    looked_into: &'static [(u8, u64)],
}

impl Headers {
    /// Keeps the beginnings of messages of these types.
    pub(super) fn looking_into(looked_into: &'static [(u8, u64)]) -> Self {
        Self { looked_into, ..Self::default() }
    }

    /// How many bytes are to come of the message that has begun, as far as that is known.
    pub(super) fn outstanding(&self) -> u64 {
        match self.begun[..] {
            [_, a, b, c, d, ..] => u64::from(u32::from_be_bytes([a, b, c, d])),
            _ => self.body_left,
        }
    }

    /// Whether the next byte begins a message.
    fn is_at_border(&self) -> bool {
        self.begun.is_empty() && self.body_left == 0
    }

    /// Where in these bytes the first message begins.
    pub(super) fn border(&self, bytes: &[u8]) -> usize {
        let mut ahead = self.clone();
        let inside = |byte: &&u8| {
            let inside = !ahead.is_at_border();
            ahead.scan(std::slice::from_ref(byte), |_, _| {});
            inside
        };
        bytes.iter().take_while(inside).count()
    }

    /// Calls `on_message` with the type and the beginning of the body of each message once that is there: its first byte, if it has one, or more if it is looked into.
    pub(super) fn scan(&mut self, mut bytes: &[u8], mut on_message: impl FnMut(u8, &[u8])) {
        while !bytes.is_empty() {
            if self.body_left > 0 && self.begun.is_empty() {
                let skip = usize::try_from(self.body_left).unwrap_or(usize::MAX).min(bytes.len());
                self.body_left -= skip as u64;
                bytes = &bytes[skip..];
                continue;
            }
            self.begun.push(bytes[0]);
            bytes = &bytes[1..];
            let [kind, a, b, c, d, beginning @ ..] = &self.begun[..] else { continue };
            let body = u64::from(u32::from_be_bytes([*a, *b, *c, *d]).saturating_sub(4));
            let kept =
                self.looked_into.iter().find(|(looked_into, _)| looked_into == kind).map_or(1, |(_, kept)| *kept);
            let wanted = body.min(kept);
            if (beginning.len() as u64) < wanted {
                continue;
            }
            on_message(*kind, beginning);
            self.body_left = body - wanted;
            self.begun.clear();
        }
    }
}

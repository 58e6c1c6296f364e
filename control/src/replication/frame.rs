//! Messages out of a stream of bytes, whatever the pieces that it comes in.

use super::limits::MESSAGE_BYTES_MAX;
use super::message::MessageError;

/// Bytes that were received, and how much of them is done with.
#[derive(Debug, Default)]
pub struct FrameBuffer {
    bytes: Vec<u8>,
    done: usize,
}

impl FrameBuffer {
    /// Takes in what was received. The caller takes out all messages before it receives more.
    pub fn push(&mut self, received: &[u8]) {
        if self.done > 0 {
            self.bytes.drain(..self.done);
            self.done = 0;
        }
        self.bytes.extend_from_slice(received);
    }

    /// The next whole message, without its length; `None`: more has to come first.
    pub fn next_message(&mut self) -> Result<Option<&[u8]>, MessageError> {
        let left = self.bytes.get(self.done..).unwrap_or(&[]);
        let Some((head, rest)) = left.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*head) as usize;
        if length > MESSAGE_BYTES_MAX {
            return Err(MessageError::TooLong);
        }
        let message = rest.get(..length);
        if message.is_some() {
            self.done += 4 + length;
        }
        Ok(message)
    }
}

//! Chunks of memory for streams: all taken once, handed out by index.

/// Bytes of a chunk.
pub const CHUNK_LEN: usize = 4096;
/// No chunk.
pub(super) const NIL: u32 = u32::MAX;

/// The pool. What a [`super::Stream`] holds of it must be given back with `Stream::free`.
#[derive(Debug)]
pub struct ChunkPool {
    memory: Box<[[u8; CHUNK_LEN]]>,
    /// Each chunk's successor: in its stream's chain, or in the free list.
    next: Box<[u32]>,
    free: u32,
    free_count: usize,
}

impl ChunkPool {
    /// A pool of this many chunks. (Untouched memory costs nothing until it is used.)
    pub fn new(chunks: usize) -> Self {
        let chunks = chunks.min(NIL as usize - 1);
        let next = (1..=chunks).map(|i| if i < chunks { i as u32 } else { NIL }).collect();
        Self {
            memory: vec![[0; CHUNK_LEN]; chunks].into_boxed_slice(),
            next,
            free: if chunks > 0 { 0 } else { NIL },
            free_count: chunks,
        }
    }

    /// All chunks.
    pub fn capacity(&self) -> usize {
        self.memory.len()
    }

    /// Chunks that nobody holds.
    pub fn free_chunks(&self) -> usize {
        self.free_count
    }

    /// Less than an eighth is free: windows open no further, and data out of order is not kept.
    pub fn is_tight(&self) -> bool {
        self.free_count <= self.memory.len() / 8
    }

    pub(super) fn take(&mut self) -> Option<u32> {
        let index = self.free;
        let next = self.next.get_mut(index as usize)?;
        self.free = std::mem::replace(next, NIL);
        self.free_count -= 1;
        Some(index)
    }

    pub(super) fn give(&mut self, index: u32) {
        if let Some(next) = self.next.get_mut(index as usize) {
            *next = self.free;
            self.free = index;
            self.free_count += 1;
        }
    }

    pub(super) fn next(&self, index: u32) -> u32 {
        self.next.get(index as usize).copied().unwrap_or(NIL)
    }

    pub(super) fn link(&mut self, index: u32, to: u32) {
        if let Some(next) = self.next.get_mut(index as usize) {
            *next = to;
        }
    }

    pub(super) fn chunk(&self, index: u32) -> &[u8] {
        self.memory.get(index as usize).map_or(&[], |chunk| chunk)
    }

    pub(super) fn chunk_mut(&mut self, index: u32) -> &mut [u8] {
        self.memory.get_mut(index as usize).map_or(&mut [], |chunk| chunk)
    }
}

//! What a compressed payload stands for, by flate2 on miniz_oxide: another implementation than the gateway's. For tests and the fuzz target
//! `deflate`.

use flate2::{Decompress, FlushDecompress, Status};

/// Most bytes that are inflated.
const BYTES_MAX: usize = 1 << 20;

/// What another implementation reads: behind a final block a new stream may begin, and a message that is cut off is none.
pub(crate) fn inflated(payload: &[u8]) -> Option<Vec<u8>> {
    const END: [u8; 9] = [0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff];
    let mut out = Vec::with_capacity(BYTES_MAX);
    let mut state = Decompress::new(false);
    let mut rest = payload;
    loop {
        let before = state.total_in();
        let status = state.decompress_vec(rest, &mut out, FlushDecompress::Sync).ok()?;
        rest = &rest[(state.total_in() - before) as usize..];
        if rest.is_empty() && (status == Status::StreamEnd || payload.is_empty()) {
            return Some(out);
        }
        if status != Status::StreamEnd {
            break;
        }
        state = Decompress::new(false);
    }
    let before = state.total_in();
    let status = state.decompress_vec(&END, &mut out, FlushDecompress::Sync).ok()?;
    (status == Status::StreamEnd && state.total_in() - before == END.len() as u64).then_some(out)
}

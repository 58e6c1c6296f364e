//! The state table, cell by cell (RFC 9293 figure 5).

use crate::tcp::{Event, State};

const EVENTS: [Event; 7] =
    [Event::Syn, Event::SynAcked, Event::FinSent, Event::FinAcked, Event::FinReceived, Event::Expired, Event::Aborted];

#[test]
fn every_cell_is_what_the_rfc_says() {
    use State::*;
    let none = None;
    // Columns as in EVENTS.
    let table: [(State, [Option<State>; 7]); 10] = [
        (SynSent, [Some(SynReceived), Some(Established), none, none, none, none, Some(Closed)]),
        (SynReceived, [none, Some(Established), none, none, none, none, Some(Closed)]),
        (Established, [none, none, Some(FinWait1), none, Some(CloseWait), none, Some(Closed)]),
        (FinWait1, [none, none, none, Some(FinWait2), Some(Closing), none, Some(Closed)]),
        (FinWait2, [none, none, none, none, Some(TimeWait), none, Some(Closed)]),
        (CloseWait, [none, none, Some(LastAck), none, none, none, Some(Closed)]),
        (Closing, [none, none, none, Some(TimeWait), none, none, Some(Closed)]),
        (LastAck, [none, none, none, Some(Closed), none, none, Some(Closed)]),
        (TimeWait, [none, none, none, none, none, Some(Closed), Some(Closed)]),
        (Closed, [none; 7]),
    ];
    for (state, row) in table {
        for (event, expected) in EVENTS.into_iter().zip(row) {
            assert_eq!(state.after(event), expected, "{state:?} {event:?}");
        }
    }
    assert_eq!(table.map(|(state, _)| state), State::ALL);
}

#[test]
fn a_state_is_known_by_its_place() {
    for (place, state) in State::ALL.into_iter().enumerate() {
        assert_eq!(state as usize, place);
    }
}

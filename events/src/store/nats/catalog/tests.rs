use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    super::{super::backend::Change, message::Content, message::Plan},
    *,
};

const TABLES: [Rows; 3] = [Rows::Invocations, Rows::Calls, Rows::Answers];

/// A stream as the server has it: one message on each subject, until it is removed or its time is over.
#[derive(Default)]
struct Stream {
    last: u64,
    messages: BTreeMap<u64, (Id, u16, Content, bool)>,
}

/// What is done.
#[derive(Clone, Copy, Debug, bolero::generator::TypeGenerator)]
enum Step {
    /// Which rows of which call are written (in how many messages), or removed.
    Write {
        call: u8,
        put: u8,
        gone: u8,
        large: bool,
    },
    /// So many messages that are of no use are removed.
    Remove { most: u8, lost: bool },
    /// The time of a message is over.
    Expire,
    /// The process ends, and another one begins.
    Restart,
}

impl Stream {
    fn publish(&mut self, plan: &Plan) -> u64 {
        let first = self.last + 1;
        for message in &plan.messages {
            self.last += 1;
            let (id, slot) = message.subject.split_once('.').unwrap();
            let (id, slot) = (id.parse().unwrap(), slot.parse().unwrap());
            let expires = message.headers.get("Nats-TTL").is_some();
            let content = Content::of(&message.headers).unwrap();
            self.messages
                .retain(|_, (other, taken, ..)| (*other, *taken) != (id, slot));
            self.messages
                .insert(self.last, (id, slot, content, expires));
        }
        first
    }

    fn load(&self) -> Catalog {
        let mut catalog = Catalog::default();
        for (sequence, (id, slot, content, _)) in &self.messages {
            let piece = Piece {
                sequence: *sequence,
                slot: *slot,
                rows: content.rows(),
            };
            catalog.load(*id, piece, content.touched());
        }
        catalog.loaded();
        catalog
    }
}

/// Which rows there are of each call, whole or in parts, and where.
fn rows(catalog: &Catalog, ids: &[Id]) -> Vec<Vec<Vec<u64>>> {
    let of_call = |id: &Id| TABLES.map(|table| catalog.row(*id, table)).to_vec();
    ids.iter().map(of_call).collect()
}

#[test]
fn what_is_found_in_the_stream_is_what_was_written_whatever_was_removed_of_it() {
    let ids: Vec<Id> = (0..3).map(|_| Id::new(Timestamp::now()).unwrap()).collect();
    bolero::check!()
        .with_iterations(300)
        .with_type::<Vec<Step>>()
        .for_each(|steps: &Vec<Step>| {
            let (mut stream, mut catalog) = (Stream::default(), Catalog::default());
            let mut model = vec![RowSet::NONE; ids.len()];
            for step in steps {
                match *step {
                    Step::Write {
                        call,
                        put,
                        gone,
                        large,
                    } => {
                        let which = usize::from(call) % ids.len();
                        let id = ids[which];
                        let mut changes = Vec::new();
                        for (bit, table) in TABLES.into_iter().enumerate() {
                            let size = if large { 3000 } else { 10 };
                            let row = if put >> bit & 1 == 1 {
                                Some(vec![b'x'; size])
                            } else if gone >> bit & 1 == 1 {
                                None
                            } else {
                                continue;
                            };
                            changes.push(Change { table, id, row });
                        }
                        // What is sent and answered is there with what is known alone.
                        let known = model[which].has(Rows::Invocations);
                        let (put_it, gone_it) = (put & 1 == 1, put & 1 == 0 && gone & 1 == 1);
                        if (!known && !put_it) || gone_it {
                            changes = TABLES
                                .map(|table| Change {
                                    table,
                                    id,
                                    row: None,
                                })
                                .to_vec();
                        }
                        let changes: Vec<&Change> = changes.iter().collect();
                        for change in &changes {
                            let one = RowSet::one(change.table);
                            model[which] = match change.row {
                                Some(_) => model[which].and(one),
                                None => model[which].without(one),
                            };
                        }
                        if let Some(plan) = Plan::of(&catalog, id, &changes, 2000) {
                            let first = stream.publish(&plan);
                            let next = catalog.apply(&plan.effect, first);
                            assert_eq!(next, stream.last + 1);
                        }
                    }
                    Step::Remove { most, lost } => {
                        for (id, sequence) in catalog.take_dead(usize::from(most % 8)) {
                            if lost {
                                catalog.put_back(vec![(id, sequence)]);
                            } else {
                                stream.messages.remove(&sequence);
                                catalog.removed(id, sequence);
                            }
                        }
                    }
                    Step::Expire => {
                        let expired = stream.messages.iter();
                        let mut expired = expired.filter(|(_, message)| message.3);
                        let expired = expired.next().map(|(sequence, _)| *sequence);
                        expired.map(|sequence| stream.messages.remove(&sequence));
                    }
                    Step::Restart => catalog = stream.load(),
                }
                for (id, expected) in ids.iter().zip(&model) {
                    assert_eq!(catalog.rows(*id), *expected, "{id}");
                }
                assert_eq!(rows(&stream.load(), &ids), rows(&catalog, &ids));
            }
            // Nothing stays of what is gone.
            for id in &ids {
                let changes = TABLES.map(|table| Change {
                    table,
                    id: *id,
                    row: None,
                });
                let changes: Vec<&Change> = changes.iter().collect();
                if let Some(plan) = Plan::of(&catalog, *id, &changes, 2000) {
                    let first = stream.publish(&plan);
                    catalog.apply(&plan.effect, first);
                }
            }
            loop {
                let dead = catalog.take_dead(1);
                let Some((id, sequence)) = dead.first().copied() else {
                    break;
                };
                stream.messages.remove(&sequence);
                catalog.removed(id, sequence);
            }
            assert!(stream.messages.values().all(|message| message.3));
            assert!(catalog.pieces.is_empty());
        });
}

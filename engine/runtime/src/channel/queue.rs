//! The queue of one channel: bounded by whoever sends into it, which waits before it makes more, never in the middle.
//!
//! A barrier that may overtake stays in its place. What makes it fast is that everything ahead of it goes on without waiting: on the
//! sending side past the credit ([`Receiver::poll_within_credit`]), on the receiving side by being told of it while it is still behind
//! data ([`Receiver::poll_announced`]) and by logging that data ([`Receiver::log`]) as a part of the checkpoint.

use super::{ChannelError, CHANNEL_CAPACITY};
use crate::record::{Element, SnapshotRequest};
use cofferdam_protocol::CheckpointId;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Appends one record in its stored form. An error is for people.
pub type WriteRecord<T> = fn(&T, &mut Vec<u8>) -> Result<(), String>;

/// The records of a channel that belong to a checkpoint though no state shows them yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logged {
    /// Each in its stored form, in order.
    pub bytes: Vec<u8>,
    /// How many.
    pub records: u64,
}

struct Log<T> {
    checkpoint: CheckpointId,
    write: WriteRecord<T>,
    logged: Result<Logged, String>,
    /// The barrier has arrived: nothing behind it counts.
    whole: bool,
}

impl<T> Log<T> {
    fn take(&mut self, element: &Element<T>) {
        if self.whole {
            return;
        }
        match element {
            Element::Batch(records) => {
                for record in records {
                    let Ok(logged) = &mut self.logged else { return };
                    match (self.write)(record, &mut logged.bytes) {
                        Ok(()) => logged.records += 1,
                        Err(error) => self.logged = Err(error),
                    }
                }
            }
            Element::Barrier(checkpoint, _) => self.whole = *checkpoint >= self.checkpoint,
            Element::Ended => self.whole = true,
            // Watermarks begin anew after a restore, and the end of the input comes again.
            Element::Watermark(_) | Element::Status(_) | Element::Cancel(_) | Element::Drained => {}
        }
    }
}

/// What has arrived, and is heard of before what is ahead of it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Announced {
    /// A barrier that overtakes, or may.
    Barrier(CheckpointId, SnapshotRequest),
    /// The end of the channel.
    End,
}

struct State<T> {
    elements: VecDeque<Element<T>>,
    /// So many at the front came out of a checkpoint.
    recovered: usize,
    /// So many at the front go whatever the credit is.
    ahead: usize,
    /// How many elements the other end of a connection has room for; `None`: there is no connection.
    credit: Option<i64>,
    /// Taken out since the sender was last told.
    consumed: usize,
    announced: VecDeque<Announced>,
    log: Option<Log<T>>,
    sender_gone: bool,
    receiver_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl<T> State<T> {
    fn take(&mut self) -> Option<Element<T>> {
        let element = self.elements.pop_front()?;
        self.ahead = self.ahead.saturating_sub(1);
        if self.recovered > 0 {
            self.recovered -= 1;
        } else {
            self.consumed += 1;
        }
        if let Some(credit) = &mut self.credit {
            *credit -= 1;
        }
        Some(element)
    }

    /// The barrier at this place overtakes, or may. Only a gate is told: a connection carries it on.
    fn barrier(&mut self, position: usize, checkpoint: CheckpointId, request: SnapshotRequest) {
        if request.overtakes() {
            self.ahead = self.ahead.max(position + 1);
        }
        if self.credit.is_none() {
            self.announced.push_back(Announced::Barrier(checkpoint, request));
        }
    }

    /// The end at this place lets all that is before it go: nobody is there any more who could wait for room.
    fn end(&mut self, position: usize) {
        self.ahead = position + 1;
        if self.credit.is_none() {
            self.announced.push_back(Announced::End);
        }
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn lock<T>(shared: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The sending end. Closes the queue when dropped.
pub struct Sender<T> {
    shared: Arc<Mutex<State<T>>>,
}

/// The receiving end. What is left is lost when it is dropped.
pub struct Receiver<T> {
    shared: Arc<Mutex<State<T>>>,
}

/// An empty queue.
#[must_use]
pub fn queue<T>() -> (Sender<T>, Receiver<T>) {
    let state = State {
        elements: VecDeque::with_capacity(CHANNEL_CAPACITY),
        recovered: 0,
        ahead: 0,
        credit: None,
        consumed: 0,
        announced: VecDeque::new(),
        log: None,
        sender_gone: false,
        receiver_gone: false,
        reader: None,
        writer: None,
    };
    let shared = Arc::new(Mutex::new(state));
    (Sender { shared: shared.clone() }, Receiver { shared })
}

impl<T> Sender<T> {
    /// Appends, also where the queue is full: its sender asks [`poll_room`](Self::poll_room) before it makes more.
    ///
    /// # Errors
    /// The receiver is gone.
    pub fn push(&self, element: Element<T>) -> Result<(), ChannelError> {
        let mut state = lock(&self.shared);
        if state.receiver_gone {
            return Err(ChannelError::Closed("an output".into()));
        }
        if let Some(log) = &mut state.log {
            log.take(&element);
        }
        let barrier = match &element {
            Element::Barrier(checkpoint, request) if request.may_overtake() => Some((*checkpoint, request.clone())),
            Element::Batch(_)
            | Element::Watermark(_)
            | Element::Status(_)
            | Element::Barrier(..)
            | Element::Cancel(_)
            | Element::Drained
            | Element::Ended => None,
        };
        let ended = matches!(element, Element::Ended);
        state.elements.push_back(element);
        let last = state.elements.len() - 1;
        if let Some((checkpoint, request)) = barrier {
            state.barrier(last, checkpoint, request);
        } else if ended {
            state.end(last);
        }
        let reader = state.reader.take();
        drop(state);
        wake(reader);
        Ok(())
    }

    /// Whether the sender may make more.
    ///
    /// # Errors
    /// The receiver is gone.
    pub fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Result<(), ChannelError>> {
        let mut state = lock(&self.shared);
        if state.receiver_gone {
            Poll::Ready(Err(ChannelError::Closed("an output".into())))
        } else if state.elements.len() < CHANNEL_CAPACITY {
            Poll::Ready(Ok(()))
        } else {
            state.writer = Some(cx.waker().clone());
            Poll::Pending
        }
    }

    /// If the barrier of this checkpoint is still in here, it overtakes from now on.
    pub fn hasten(&self, barrier: CheckpointId) {
        let mut state = lock(&self.shared);
        let found = state.elements.iter_mut().enumerate().find_map(|(position, element)| match element {
            Element::Barrier(checkpoint, request) if *checkpoint == barrier => {
                request.overtake();
                Some((position, request.clone()))
            }
            Element::Batch(_)
            | Element::Watermark(_)
            | Element::Status(_)
            | Element::Barrier(..)
            | Element::Cancel(_)
            | Element::Drained
            | Element::Ended => None,
        });
        let Some((position, request)) = found else { return };
        state.barrier(position, barrier, request);
        let reader = state.reader.take();
        drop(state);
        wake(reader);
    }

    /// For the receiving side of a connection: how many elements were taken out since the last time. Told when it is worth a frame.
    /// `None`: the receiver is gone.
    pub fn poll_consumed(&self, cx: &mut Context<'_>) -> Poll<Option<u32>> {
        let mut state = lock(&self.shared);
        if state.receiver_gone {
            return Poll::Ready(None);
        }
        let worth = state.consumed >= CHANNEL_CAPACITY / 2 || (state.consumed > 0 && state.elements.is_empty());
        if worth {
            let consumed = u32::try_from(std::mem::take(&mut state.consumed)).unwrap_or(u32::MAX);
            return Poll::Ready(Some(consumed));
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.shared);
        state.sender_gone = true;
        let reader = state.reader.take();
        drop(state);
        wake(reader);
    }
}

impl<T> Receiver<T> {
    /// The next element; `None` when all are read and the sender is gone.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Element<T>>> {
        self.poll(cx, |_| true)
    }

    /// For the sending side of a connection: as [`poll_next`](Self::poll_next), as far as the other side has room, or further if a
    /// barrier behind it overtakes.
    pub fn poll_within_credit(&self, cx: &mut Context<'_>) -> Poll<Option<Element<T>>> {
        self.poll(cx, |state| state.ahead > 0 || state.credit.is_none_or(|credit| credit > 0))
    }

    fn poll(&self, cx: &mut Context<'_>, may: impl Fn(&State<T>) -> bool) -> Poll<Option<Element<T>>> {
        let mut state = lock(&self.shared);
        if may(&state) {
            if let Some(element) = state.take() {
                let writer = state.writer.take();
                drop(state);
                wake(writer);
                return Poll::Ready(Some(element));
            }
        }
        if state.sender_gone && state.elements.is_empty() {
            return Poll::Ready(None);
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Takes no more than the other side of a connection has room for.
    pub fn limit(&self) {
        let mut state = lock(&self.shared);
        state.credit = Some(i64::try_from(CHANNEL_CAPACITY).unwrap_or(i64::MAX));
        state.announced.clear();
    }

    /// The other side has room for so many more.
    pub fn grant(&self, more: u32) {
        let mut state = lock(&self.shared);
        if let Some(credit) = &mut state.credit {
            *credit = credit.saturating_add(i64::from(more));
        }
        let reader = state.reader.take();
        drop(state);
        wake(reader);
    }

    /// A barrier that may overtake, or the end, has arrived; data may be ahead of it. Told once, and a barrier once more when it is
    /// hastened.
    pub fn poll_announced(&mut self, cx: &mut Context<'_>) -> Poll<Announced> {
        let mut state = lock(&self.shared);
        if let Some(announced) = state.announced.pop_front() {
            return Poll::Ready(announced);
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// From now on what stands ahead of the barrier of this checkpoint, or comes before it, is logged as well.
    pub fn log(&mut self, checkpoint: CheckpointId, write: WriteRecord<T>) {
        let mut state = lock(&self.shared);
        let mut log = Log { checkpoint, write, logged: Ok(Logged::default()), whole: false };
        for element in &state.elements {
            log.take(element);
        }
        state.log = Some(log);
    }

    /// What was logged for this checkpoint, if it was to be; an error if a record could not be written.
    ///
    /// # Errors
    /// For people: which record, and why.
    pub fn take_log(&mut self, checkpoint: CheckpointId) -> Result<Logged, String> {
        let mut state = lock(&self.shared);
        match state.log.take_if(|log| log.checkpoint == checkpoint) {
            None => Ok(Logged::default()),
            Some(log) => {
                // Why: whoever asks has heard of the barrier's arrival from this very queue.
                assert!(log.whole, "a log is only taken when its barrier has arrived");
                log.logged
            }
        }
    }

    /// Logs nothing more.
    pub fn drop_log(&mut self) {
        lock(&self.shared).log = None;
    }

    /// Puts records of a checkpoint in front of everything.
    pub fn recover(&mut self, records: Vec<T>) {
        let mut state = lock(&self.shared);
        state.elements.push_front(Element::Batch(records));
        state.recovered += 1;
        state.ahead += usize::from(state.ahead > 0);
    }

    /// Whether records of a checkpoint are still to be read.
    #[must_use]
    pub fn is_recovering(&self) -> bool {
        lock(&self.shared).recovered > 0
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.shared);
        state.receiver_gone = true;
        let (left, writer) = (std::mem::take(&mut state.elements), state.writer.take());
        drop(state);
        drop(left);
        wake(writer);
    }
}

#[cfg(test)]
mod tests {
    use super::super::in_flight;
    use super::*;
    use crate::record::Alignment;
    use std::task::Waker;

    fn within(timeout_ms: u64) -> SnapshotRequest {
        SnapshotRequest::Checkpoint { full: false, triggered_ms: 0, alignment: Alignment::Within { timeout_ms } }
    }

    fn overtaking() -> SnapshotRequest {
        SnapshotRequest::Checkpoint { full: false, triggered_ms: 0, alignment: Alignment::Overtaking }
    }

    fn drained(receiver: &Receiver<u32>) -> Vec<Element<u32>> {
        let mut cx = Context::from_waker(Waker::noop());
        std::iter::from_fn(|| match receiver.poll_within_credit(&mut cx) {
            Poll::Ready(element) => element,
            Poll::Pending => None,
        })
        .collect()
    }

    #[test]
    fn a_full_queue_takes_what_was_made_but_says_that_there_is_no_room() {
        let (sender, receiver) = queue();
        let mut cx = Context::from_waker(Waker::noop());
        for number in 0..CHANNEL_CAPACITY + 2 {
            assert_eq!(sender.poll_room(&mut cx).is_ready(), number < CHANNEL_CAPACITY);
            sender.push(Element::Batch(vec![number as u32])).expect("open");
        }
        assert_eq!(drained(&receiver).len(), CHANNEL_CAPACITY + 2);
    }

    #[test]
    fn nothing_goes_beyond_the_credit_but_what_is_ahead_of_a_barrier_that_overtakes() {
        let (sender, receiver) = queue();
        receiver.limit();
        for number in 0..7 {
            sender.push(Element::Batch(vec![number])).expect("open");
        }
        assert_eq!(drained(&receiver).len(), CHANNEL_CAPACITY);
        receiver.grant(1);
        assert_eq!(drained(&receiver).len(), 1);
        sender.push(Element::Barrier(CheckpointId(1), overtaking())).expect("open");
        sender.push(Element::Batch(vec![7])).expect("open");
        let expected = [Element::Batch(vec![5]), Element::Batch(vec![6]), Element::Barrier(CheckpointId(1), overtaking())];
        assert_eq!(drained(&receiver), expected, "the batch behind the barrier waits");
        receiver.grant(3);
        assert!(drained(&receiver).is_empty(), "what went beyond the credit is owed");
        receiver.grant(1);
        assert_eq!(drained(&receiver).len(), 1);
    }

    #[test]
    fn a_barrier_that_waits_is_hastened_where_it_stands() {
        let (sender, receiver) = queue();
        receiver.limit();
        for number in 0..5 {
            sender.push(Element::Batch(vec![number])).expect("open");
        }
        sender.push(Element::Barrier(CheckpointId(3), within(50))).expect("open");
        assert_eq!(drained(&receiver).len(), CHANNEL_CAPACITY);
        sender.hasten(CheckpointId(2));
        assert!(drained(&receiver).is_empty(), "another checkpoint's");
        sender.hasten(CheckpointId(3));
        assert_eq!(drained(&receiver), [Element::Batch(vec![4]), Element::Barrier(CheckpointId(3), overtaking())]);
    }

    #[test]
    fn a_log_has_what_is_ahead_of_the_barrier_and_nothing_behind_it() {
        let (sender, mut receiver) = queue();
        sender.push(Element::Batch(vec![1, 2])).expect("open");
        receiver.recover(vec![0]);
        receiver.log(CheckpointId(4), in_flight::write);
        sender.push(Element::Watermark(9)).expect("open");
        sender.push(Element::Batch(vec![3])).expect("open");
        assert_eq!(drained(&receiver).len(), 4, "reading on changes nothing");
        sender.push(Element::Barrier(CheckpointId(4), overtaking())).expect("open");
        sender.push(Element::Batch(vec![4])).expect("open");
        let logged = receiver.take_log(CheckpointId(4)).expect("numbers can be written");
        assert_eq!(in_flight::read::<u32>(&logged.bytes), Ok(vec![0, 1, 2, 3]));
        assert_eq!(logged.records, 4);
        assert_eq!(receiver.take_log(CheckpointId(4)), Ok(Logged::default()), "it is given once");
    }

    #[test]
    fn a_barrier_is_announced_while_it_is_behind_data() {
        let (sender, mut receiver) = queue();
        let mut cx = Context::from_waker(Waker::noop());
        sender.push(Element::Batch(vec![1])).expect("open");
        sender.push(Element::Barrier(CheckpointId(5), within(50))).expect("open");
        assert_eq!(receiver.poll_announced(&mut cx), Poll::Ready(Announced::Barrier(CheckpointId(5), within(50))));
        assert_eq!(receiver.poll_announced(&mut cx), Poll::Pending);
        sender.hasten(CheckpointId(5));
        assert_eq!(receiver.poll_announced(&mut cx), Poll::Ready(Announced::Barrier(CheckpointId(5), overtaking())));
    }

    #[test]
    fn the_end_goes_whatever_the_credit_is_and_makes_logs_whole() {
        let (sender, receiver) = queue();
        receiver.limit();
        for number in 0..7 {
            sender.push(Element::Batch(vec![number])).expect("open");
        }
        sender.push(Element::Ended).expect("open");
        assert_eq!(drained(&receiver).len(), 8);
        let (sender, mut receiver) = queue();
        let mut cx = Context::from_waker(Waker::noop());
        receiver.log(CheckpointId(4), in_flight::write);
        sender.push(Element::Batch(vec![1])).expect("open");
        sender.push(Element::Ended).expect("open");
        assert_eq!(receiver.poll_announced(&mut cx), Poll::Ready(Announced::End));
        assert_eq!(receiver.take_log(CheckpointId(4)).map(|logged| logged.records), Ok(1));
    }

    #[test]
    fn credit_is_given_back_when_it_is_worth_a_frame_or_nothing_is_left() {
        let (sender, mut receiver) = queue();
        let mut cx = Context::from_waker(Waker::noop());
        for number in 0..3 {
            sender.push(Element::Batch(vec![number])).expect("open");
        }
        receiver.recover(vec![9]);
        for (left, told) in [(3, None), (2, None), (1, Some(2)), (0, Some(1))] {
            assert!(receiver.poll_next(&mut cx).is_ready());
            let consumed = match sender.poll_consumed(&mut cx) {
                Poll::Ready(consumed) => consumed,
                Poll::Pending => None,
            };
            assert_eq!(consumed, told, "{left} left; what was recovered came without credit");
        }
    }

    #[test]
    fn both_ends_notice_that_the_other_is_gone() {
        let mut cx = Context::from_waker(Waker::noop());
        let (sender, mut receiver) = queue();
        sender.push(Element::Batch(vec![1])).expect("open");
        drop(sender);
        assert!(matches!(receiver.poll_next(&mut cx), Poll::Ready(Some(Element::Batch(_)))), "what was sent is read first");
        assert_eq!(receiver.poll_next(&mut cx), Poll::Ready(None));
        let (sender, receiver) = queue::<u32>();
        drop(receiver);
        assert!(sender.push(Element::Drained).is_err());
        assert!(matches!(sender.poll_room(&mut cx), Poll::Ready(Err(ChannelError::Closed(_)))));
        assert_eq!(sender.poll_consumed(&mut cx), Poll::Ready(None));
    }
}

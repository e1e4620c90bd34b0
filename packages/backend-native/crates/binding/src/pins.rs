//! Buffers that JavaScript looks at without a copy. What it looks at stays where it is, whatever happens to the buffer and
//! its engine.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nanoflux_kernels::Block;

#[derive(Default)]
struct State {
    looks: usize,
    /// The memory, once its engine has ended.
    block: Option<Block>,
}

/// All looks at one buffer.
#[derive(Default)]
struct Pin(Mutex<State>);

impl Pin {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_held(&self) -> bool {
        self.lock().looks > 0
    }

    /// Takes the memory over, for as long as somebody looks at it.
    fn keep(&self, block: Block) {
        let mut state = self.lock();
        if state.looks > 0 {
            state.block = Some(block);
        }
    }
}

/// One look: an array of JavaScript's over a buffer. It ends when it is let go or collected, whichever comes first.
pub struct Look {
    number: u32,
    pin: Mutex<Option<Arc<Pin>>>,
    /// Where its number goes once it was collected.
    ended: Arc<Ended>,
}

/// Numbers of looks that were collected, of which their engine has not heard yet.
type Ended = Mutex<Vec<u32>>;

impl Look {
    /// Ends it where its array was collected.
    pub fn end(&self) {
        if self.close() {
            self.ended.lock().unwrap_or_else(PoisonError::into_inner).push(self.number);
        }
    }

    /// Whether it had not ended before.
    fn close(&self) -> bool {
        let pin = self.pin.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(pin) = &pin {
            let mut state = pin.lock();
            state.looks -= 1;
            if state.looks == 0 {
                state.block = None;
            }
        }
        pin.is_some()
    }
}

/// The pinned buffers of an engine.
#[derive(Default)]
pub struct Pins {
    pins: HashMap<u32, Arc<Pin>>,
    /// By the numbers that JavaScript gave them, each with its buffer.
    looks: HashMap<u32, (u32, Arc<Look>)>,
    /// Buffers that were given back while somebody looked at them.
    freed: HashSet<u32>,
    ended: Arc<Ended>,
}

impl Pins {
    pub fn is_empty(&self) -> bool {
        self.pins.is_empty() && self.looks.is_empty()
    }

    /// Whether somebody looks at a buffer.
    pub fn holds(&self, handle: u32) -> bool {
        self.pins.get(&handle).is_some_and(|pin| pin.is_held())
    }

    pub fn look(&mut self, handle: u32, number: u32) -> Arc<Look> {
        let pin = self.pins.entry(handle).or_default().clone();
        pin.lock().looks += 1;
        let look = Arc::new(Look { number, pin: Mutex::new(Some(pin)), ended: self.ended.clone() });
        self.looks.insert(number, (handle, look.clone()));
        look
    }

    /// Ends a look that JavaScript let go, or that was collected; the buffer that waited for it and needs to no longer.
    pub fn end(&mut self, number: u32) -> Option<u32> {
        let (handle, look) = self.looks.remove(&number)?;
        look.close();
        if self.holds(handle) {
            return None;
        }
        self.pins.remove(&handle);
        self.freed.remove(&handle).then_some(handle)
    }

    /// Whether a buffer must wait to be given back; it is remembered then.
    pub fn hold(&mut self, handle: u32) -> Result<bool, String> {
        if self.freed.contains(&handle) {
            return Err(format!("there is no buffer {handle}"));
        }
        let held = self.holds(handle);
        if held {
            self.freed.insert(handle);
        } else {
            self.pins.remove(&handle);
        }
        Ok(held)
    }

    /// Buffers that waited for looks that were collected since, and need to no longer.
    pub fn sweep(&mut self) -> Vec<u32> {
        let ended = std::mem::take(&mut *self.ended.lock().unwrap_or_else(PoisonError::into_inner));
        ended.into_iter().filter_map(|number| self.end(number)).collect()
    }

    /// What has to be done with the memory of the buffers that are looked at, where the engine ends: `take` gives it.
    pub fn part(&mut self, take: &mut dyn FnMut(u32) -> Option<Block>) -> impl FnOnce() + Send {
        let held = self.pins.drain().filter(|(_, pin)| pin.is_held());
        let kept: Vec<_> = held.filter_map(|(handle, pin)| Some((pin, take(handle)?))).collect();
        (self.looks, self.freed) = Default::default();
        move || kept.into_iter().for_each(|(pin, block)| pin.keep(block))
    }
}

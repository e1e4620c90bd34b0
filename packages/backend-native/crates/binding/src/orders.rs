//! Which buffers hold a quantised weight in panels, where its products read it fastest. Nobody else ever sees it so: whoever
//! wants its bytes gets them as they were written.
//!
//! A buffer has one stretch in panels: two weights that are parts of it in other ways lay each other back, until both stay as
//! they were written.

use std::ops::Range;
use std::sync::Arc;

use nanoflux_kernels::{Call, Kernel, Laying, Panels, Queue, Room, View};

use crate::pins::Pins;

/// How often a weight is laid back for others before it stays as it was: they may want it at each step.
const PATIENCE: u8 = 2;

#[derive(Default)]
struct Order {
    /// The weight that lies in panels, or did last.
    panels: Option<Panels>,
    laid: bool,
    /// How often others wanted its bytes.
    wanted: u8,
}

/// Attributes that a call has instead of its own, where it reads panels.
pub struct Laid {
    attributes: [f64; 3],
    count: usize,
}

impl Laid {
    pub fn attributes(&self) -> &[f64] {
        &self.attributes[..self.count]
    }
}

/// The orders of an engine's buffers, by handle.
#[derive(Default)]
pub struct Orders {
    orders: Vec<Order>,
    /// How many have had panels.
    known: usize,
    /// How many are in panels.
    laid: usize,
    /// What lays them back: there is enough while one is in panels. Layings of an engine go one after the other.
    room: Option<Arc<Room>>,
}

impl Orders {
    /// Prepares the buffers of a call: views' handles are those of its inputs and then of its outputs. What the call says
    /// instead of its attributes where it reads panels.
    ///
    /// # Safety
    /// All views lie in live blocks, which go back through the queue if there is one.
    pub unsafe fn prepare(
        &mut self,
        kernel: Kernel,
        call: &Call,
        handles: &[u32],
        pins: &Pins,
        queue: Option<&Queue>,
    ) -> Option<Laid> {
        if kernel != Kernel::QuantizedMatmul && self.known == 0 {
            return None;
        }
        let mut weight = None;
        let mut found = None;
        if let Some(panels) = Panels::of(kernel, call) {
            // A call that the kernel takes has three views.
            let alone = handles[0] != handles[1] && handles[2] != handles[1];
            weight = (alone && self.may_lie(handles[1], &panels, pins)).then_some((1, panels));
        } else if let Some((panels, attributes)) = self.rows_of(kernel, call, handles) {
            weight = Some((0, panels));
            found = Some(Laid { attributes, count: 3 });
        }
        let views = call.inputs.iter().chain(call.outputs);
        for (index, (&handle, view)) in handles.iter().zip(views).enumerate() {
            match weight {
                // Rows are taken from there alone, which is in panels.
                Some((0, _)) if index == 0 => {}
                Some((place, panels)) if index == place => {
                    if self.lay(handle, panels, call.threads, queue) {
                        let format = call.attribute(0) as f64 + 2.0;
                        found = Some(Laid { attributes: [format, 0.0, 0.0], count: 1 });
                    }
                }
                // A call may yet fail, and leave what it found.
                _ if index >= call.inputs.len() && !kernel.keeps_outputs() => {
                    self.overwrite(handle, bytes_of(view), false, call.threads, queue);
                }
                _ => self.settle(handle, call.threads, queue),
            }
        }
        found
    }

    /// Whether a weight is in panels, or may be laid so. Where somebody looks at its bytes, it may not.
    fn may_lie(&self, handle: u32, panels: &Panels, pins: &Pins) -> bool {
        match self.orders.get(handle as usize) {
            Some(Order { laid: true, panels: Some(all), .. }) => all.have(panels),
            order => order.is_none_or(|order| order.wanted < PATIENCE) && !pins.holds(handle),
        }
    }

    /// The weight that a call takes rows from where they lie in panels, and what it says then.
    fn rows_of(&self, kernel: Kernel, call: &Call, handles: &[u32]) -> Option<(Panels, [f64; 3])> {
        let [source, index, output] = *handles else { return None };
        let order = self.orders.get(source as usize).filter(|order| order.laid)?;
        let panels = order.panels.filter(|_| source != index && source != output && index != output)?;
        Some((panels, panels.rows_of(kernel, call)?))
    }

    /// A buffer's order, if there is room for it.
    fn entry(&mut self, handle: u32) -> Option<&mut Order> {
        let index = handle as usize;
        if self.orders.len() <= index {
            self.orders.try_reserve(index + 1 - self.orders.len()).ok()?;
            self.orders.resize_with(index + 1, Order::default);
        }
        self.orders.get_mut(index)
    }

    /// Whether the weight lies in panels now: there may be no room for laying it out.
    unsafe fn lay(&mut self, handle: u32, panels: Panels, threads: usize, queue: Option<&Queue>) -> bool {
        let Some(order) = self.entry(handle) else {
            return false;
        };
        if order.laid {
            return true;
        }
        let is_new = order.panels.is_none();
        let Some(room) = self.room_for(&panels) else {
            return false;
        };
        if let Some(order) = self.entry(handle) {
            (order.panels, order.laid) = (Some(panels), true);
        }
        self.known += is_new as usize;
        self.laid += 1;
        run(Laying::new(panels, false, threads, room), queue);
        true
    }

    /// Room for a weight and all that are in panels.
    fn room_for(&mut self, panels: &Panels) -> Option<Arc<Room>> {
        if !self.room.as_ref().is_some_and(|room| room.is_ample(panels)) {
            let fresh = Room::new(panels).ok();
            let most = |room: &Room| room.panels(panels);
            if fresh.as_ref().map_or(0, most) > self.room.as_deref().map_or(0, most) {
                self.room = fresh.map(Arc::new);
            }
        }
        self.room.clone().filter(|room| room.panels(panels) > 0)
    }

    /// Lays a buffer as it was written, if it is not.
    ///
    /// # Safety
    /// As for [`Orders::prepare`].
    pub unsafe fn settle(&mut self, handle: u32, threads: usize, queue: Option<&Queue>) {
        let Some(order) = self.orders.get_mut(handle as usize) else {
            return;
        };
        if let (true, Some(panels), Some(room)) = (order.laid, order.panels, &self.room) {
            run(Laying::new(panels, true, threads, room.clone()), queue);
            order.laid = false;
            order.wanted = order.wanted.saturating_add(1);
            self.lie_no_more();
        }
    }

    /// The same before bytes, by address, are written: all of them `surely`, or some. From the beginning of a weight on that
    /// is another one, and others may want its bytes as often again.
    ///
    /// # Safety
    /// As for [`Orders::prepare`].
    pub unsafe fn overwrite(
        &mut self,
        handle: u32,
        bytes: Range<usize>,
        surely: bool,
        threads: usize,
        queue: Option<&Queue>,
    ) {
        let order = self.orders.get(handle as usize);
        let Some(range) = order.and_then(|order| order.panels).map(|panels| panels.range()) else {
            return;
        };
        let anew = bytes.start <= range.start && range.start < bytes.end;
        if anew && surely && range.end <= bytes.end {
            return self.forget(handle);
        }
        self.settle(handle, threads, queue);
        if anew {
            self.forget(handle);
        }
    }

    /// The buffer was given back, or is written anew.
    pub fn forget(&mut self, handle: u32) {
        if let Some(order) = self.orders.get_mut(handle as usize) {
            let order = std::mem::take(order);
            self.known -= order.panels.is_some() as usize;
            if order.laid {
                self.lie_no_more();
            }
        }
    }

    /// One less is in panels.
    fn lie_no_more(&mut self) {
        self.laid -= 1;
        if self.laid == 0 {
            self.room = None;
        }
    }
}

/// What a view surely covers, by address.
fn bytes_of(view: &View) -> Range<usize> {
    let start = view.data as usize;
    let bytes = if view.contiguous { view.size * view.dtype.bytes() } else { 0 };
    start..start + bytes
}

/// # Safety
/// As for [`Orders::prepare`].
unsafe fn run(laying: Laying, queue: Option<&Queue>) {
    match queue {
        Some(queue) => queue.lay(laying),
        None => laying.run(),
    }
}

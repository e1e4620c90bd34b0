use std::sync::mpsc::{channel, Receiver};

use super::*;
use crate::dtype::DType;
use crate::threads::start_pool;

/// A pool with its queue, as an engine has them.
struct Engine {
    pool: Pool,
    queue: Queue,
}

impl Engine {
    fn new() -> Engine {
        start_pool(2, false);
        Engine { pool: Pool::new(1 << 30), queue: Queue::new().unwrap() }
    }

    fn buffer(&mut self, elements: usize) -> u32 {
        self.pool.allocate(elements * 4).unwrap()
    }

    fn with(&mut self, values: &[f32]) -> u32 {
        let handle = self.buffer(values.len());
        self.write(handle, values);
        handle
    }

    fn data(&self, handle: u32) -> *mut u8 {
        self.pool.block(handle as usize).unwrap().data()
    }

    fn write(&self, handle: u32, values: &[f32]) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_ne_bytes()).collect();
        // SAFETY: blocks go back through `free` alone.
        unsafe { self.queue.write(self.data(handle), &bytes) };
    }

    fn view(&self, handle: u32, dtype: DType, elements: usize) -> View {
        View::dense(dtype, self.data(handle), &[elements])
    }

    /// Running totals of one buffer in another.
    fn sum(&self, from: u32, to: u32, elements: usize) {
        let views = [self.view(from, DType::F32, elements), self.view(to, DType::F32, elements)];
        self.call(Kernel::Scan, &views[..1], &views[1..], &[0.0, 0.0, 0.0]).unwrap();
    }

    /// Elements of one buffer, by indices in another.
    fn pick(&self, from: u32, index: u32, to: u32, elements: usize) {
        let inputs = [self.view(from, DType::F32, elements), self.view(index, DType::I32, elements)];
        let outputs = [self.view(to, DType::F32, elements)];
        self.call(Kernel::Gather, &inputs, &outputs, &[0.0]).unwrap();
    }

    fn call(&self, kernel: Kernel, inputs: &[View], outputs: &[View], attributes: &[f64]) -> Result<(), Error> {
        let call = Call { inputs, outputs, attributes, params: &[], program: None, threads: 2 };
        // SAFETY: blocks go back through `free` alone, and no call of a test writes where another view reads.
        unsafe { self.queue.run(kernel, &call, None) }
    }

    fn free(&mut self, handle: u32) {
        self.queue.give_back(self.pool.take(handle).unwrap());
    }

    fn read(&self, handle: u32, elements: usize) -> Receiver<Result<Vec<f32>, Failure>> {
        let (reply, answer) = channel();
        let numbers =
            |bytes: Vec<u8>| bytes.chunks_exact(4).map(|four| f32::from_ne_bytes(four.try_into().unwrap())).collect();
        // SAFETY: blocks go back through `free` alone.
        unsafe {
            let reply: Reply = Box::new(move |result| reply.send(result.map(numbers)).unwrap_or(()));
            self.queue.read(self.data(handle), elements * 4, reply);
        }
        answer
    }

    fn finish(&self) -> Result<(), Failure> {
        let (reply, answer) = channel();
        self.queue.finish(Box::new(move |result| reply.send(result.map(|_| ())).unwrap()));
        answer.recv().unwrap()
    }

    fn close(self) {
        let (reply, answer) = channel();
        self.queue.close(self.pool, Box::new(move |result| reply.send(result).unwrap()));
        answer.recv().unwrap().unwrap();
    }
}

const OUT_OF_RANGE: Failure =
    Failure::Call { kernel: Kernel::Gather, program: None, error: Error::Check(crate::call::CHECK_INDEX) };

/// Bits of an index, as a float of the same bits.
fn index(value: i32) -> f32 {
    f32::from_bits(value as u32)
}

#[test]
fn commands_are_done_in_order() {
    let mut engine = Engine::new();
    let ones = vec![1.0; 20_000];
    let x = engine.with(&ones);
    let mut answers = Vec::new();
    for round in 0..200 {
        let y = engine.buffer(20_000);
        engine.sum(x, y, 20_000);
        answers.push((round as f32, engine.read(y, 20_000)));
        // What comes later changes nothing of what was asked for before.
        engine.write(y, &[-1.0; 100]);
        engine.free(y);
        engine.write(x, &[round as f32 + 2.0]);
    }
    for (round, answer) in answers {
        let sums = answer.recv().unwrap().unwrap();
        assert_eq!((sums[0], sums[19_999]), (round + 1.0, round + 20_000.0));
    }
    assert_eq!(engine.finish(), Ok(()));
    engine.queue.wait();
    assert!(!engine.queue.busy());
    assert_eq!(engine.queue.freed(), 0);
    engine.close();
}

#[test]
fn a_failure_goes_with_what_was_computed_from_it() {
    let mut engine = Engine::new();
    let x = engine.with(&[1.0, 2.0, 3.0, 4.0]);
    let good = engine.with(&[index(3), index(2), index(1), index(0)]);
    let bad = engine.with(&[index(3), index(9), index(1), index(0)]);
    let [a, b, c, d] = [0; 4].map(|_| engine.buffer(4));
    engine.pick(x, bad, a, 4);
    engine.sum(a, b, 4);
    engine.pick(x, good, c, 4);
    engine.sum(c, d, 4);
    let answers = [a, b, c, d].map(|handle| engine.read(handle, 4));
    let [a_is, b_is, c_is, d_is] = answers.map(|answer| answer.recv().unwrap());
    assert_eq!((a_is, b_is), (Err(OUT_OF_RANGE), Err(OUT_OF_RANGE)));
    assert_eq!((c_is, d_is), (Ok(vec![4.0, 3.0, 2.0, 1.0]), Ok(vec![4.0, 7.0, 9.0, 10.0])));
    // Whoever read was told.
    assert_eq!(engine.finish(), Ok(()));
    // A new result takes the place of one that was never made.
    engine.sum(x, b, 4);
    let mut now = [0; 16];
    // SAFETY: blocks go back through `free` alone.
    unsafe {
        assert_eq!(engine.queue.read_now(engine.data(a), &mut now), Err(OUT_OF_RANGE));
        assert_eq!(engine.queue.read_now(engine.data(b), &mut now), Ok(()));
    }
    assert_eq!(now[12..], 10f32.to_ne_bytes());
    engine.write(a, &[5.0; 4]);
    assert_eq!(engine.read(a, 4).recv().unwrap(), Ok(vec![5.0; 4]));
    engine.close();
}

#[test]
fn a_failure_that_nobody_read_comes_out_at_the_end_once() {
    let mut engine = Engine::new();
    let (x, bad) = (engine.with(&[1.0]), engine.with(&[index(-1)]));
    let y = engine.buffer(1);
    engine.pick(x, bad, y, 1);
    assert_eq!(engine.finish(), Err(OUT_OF_RANGE));
    assert_eq!(engine.finish(), Ok(()));
    engine.free(y);
    let again = engine.buffer(1);
    engine.sum(x, again, 1);
    assert_eq!(engine.read(again, 1).recv().unwrap(), Ok(vec![1.0]));
    engine.close();
}

#[test]
fn who_reads_one_failure_does_not_silence_another() {
    let mut engine = Engine::new();
    let x = engine.with(&[1.0, 2.0]);
    let [bad, worse] = [engine.with(&[index(-1), index(0)]), engine.with(&[index(0), index(7)])];
    let [a, b, both] = [0; 3].map(|_| engine.buffer(2));
    engine.pick(x, bad, a, 2);
    engine.pick(x, worse, b, 2);
    assert_eq!(engine.read(a, 2).recv().unwrap(), Err(OUT_OF_RANGE));
    assert_eq!(engine.finish(), Err(OUT_OF_RANGE));
    assert_eq!(engine.finish(), Ok(()));
    // What comes from two failures tells of both.
    engine.pick(x, bad, a, 2);
    engine.pick(x, worse, b, 2);
    engine.pick(a, b, both, 2);
    assert_eq!(engine.read(both, 2).recv().unwrap(), Err(OUT_OF_RANGE));
    assert_eq!(engine.finish(), Ok(()));
    engine.close();
}

#[test]
fn what_fails_twice_at_the_same_numbers_is_one_failure() {
    let mut engine = Engine::new();
    let (x, bad) = (engine.with(&[1.0, 2.0]), engine.with(&[index(-1), index(0)]));
    let [a, b] = [0; 2].map(|_| engine.buffer(2));
    engine.pick(x, bad, a, 2);
    engine.pick(x, bad, b, 2);
    assert_eq!(engine.read(b, 2).recv().unwrap(), Err(OUT_OF_RANGE));
    assert_eq!(engine.finish(), Ok(()));
    // The same place with other numbers is another.
    engine.pick(x, bad, a, 2);
    engine.write(bad, &[index(9), index(9)]);
    engine.pick(x, bad, b, 2);
    assert_eq!(engine.read(b, 2).recv().unwrap(), Err(OUT_OF_RANGE));
    assert_eq!(engine.finish(), Err(OUT_OF_RANGE));
    engine.close();
}

#[test]
fn a_failure_spoils_the_elements_of_a_view_alone() {
    let mut engine = Engine::new();
    let n = 1000;
    let x = engine.with(&vec![1.0; n]);
    let bad = engine.with(&vec![index(-1); n]);
    let table = engine.with(&vec![5.0; 2 * n]);
    let mut column = engine.view(table, DType::F32, 2 * n);
    (column.shape[0], column.strides[0], column.size) = (n, 2, n);
    column.update();
    let inputs = [engine.view(x, DType::F32, n), engine.view(bad, DType::I32, n)];
    engine.call(Kernel::Gather, &inputs, &[column], &[0.0]).unwrap();
    let mut other = column;
    other.data = column.data.wrapping_add(4);
    let sums = engine.buffer(n);
    let to = [engine.view(sums, DType::F32, n)];
    engine.call(Kernel::Scan, &[other], &to, &[0.0, 0.0, 0.0]).unwrap();
    assert_eq!(engine.read(sums, n).recv().unwrap().unwrap()[n - 1], 5000.0);
    engine.call(Kernel::Scan, &[column], &to, &[0.0, 0.0, 0.0]).unwrap();
    assert_eq!(engine.read(sums, n).recv().unwrap(), Err(OUT_OF_RANGE));
    // The column is written anew.
    engine.call(Kernel::Scan, &[other], &[column], &[0.0, 0.0, 0.0]).unwrap();
    assert_eq!(engine.read(table, 2 * n).recv().unwrap().unwrap()[2 * n - 2..], [5000.0, 5.0]);
    engine.close();
}

#[test]
fn a_scatter_onto_what_was_not_made_fails_with_it() {
    let mut engine = Engine::new();
    let (x, bad, good) = (engine.with(&[1.0]), engine.with(&[index(7)]), engine.with(&[index(0)]));
    let y = engine.buffer(1);
    engine.pick(x, bad, y, 1);
    let inputs = [engine.view(x, DType::F32, 1), engine.view(good, DType::I32, 1)];
    engine.call(Kernel::Scatter, &inputs, &[engine.view(y, DType::F32, 1)], &[0.0, 0.0]).unwrap();
    assert_eq!(engine.read(y, 1).recv().unwrap(), Err(OUT_OF_RANGE));
    engine.close();
}

#[test]
fn calls_that_no_kernel_takes_are_refused_at_once() {
    let mut engine = Engine::new();
    let x = engine.with(&[1.0, 2.0]);
    let [one, two] = [engine.view(x, DType::F32, 1), engine.view(x, DType::F32, 2)];
    let refused = engine.call(Kernel::Scan, &[two], &[one], &[0.0, 0.0, 0.0]);
    assert!(matches!(refused, Err(Error::Invalid(_))));
    assert_eq!(engine.finish(), Ok(()));
    engine.close();
}

#[test]
fn what_waits_when_a_queue_is_closed_is_answered() {
    let mut engine = Engine::new();
    let n = 1 << 20;
    let x = engine.with(&vec![1.0; n]);
    let y = engine.buffer(n);
    for _ in 0..200 {
        engine.sum(x, y, n);
    }
    let answer = engine.read(y, n);
    engine.free(x);
    engine.close();
    // Two hundred of them take far longer than closing does.
    assert_eq!(answer.recv().unwrap(), Err(Failure::Closed));
}

#[test]
fn who_is_answered_finds_the_work_done() {
    let mut engine = Engine::new();
    let handle = engine.buffer(4);
    let (send, answers) = channel();
    let looking = |shared: Arc<Shared>| -> Reply {
        let send = send.clone();
        Box::new(move |_| send.send(shared.lock().open).unwrap())
    };
    engine.queue.finish(looking(engine.queue.shared.clone()));
    assert_eq!(answers.recv(), Ok(0));
    // SAFETY: the block is the pool's until the engine closes.
    unsafe { engine.queue.read(engine.data(handle), 16, looking(engine.queue.shared.clone())) };
    assert_eq!(answers.recv(), Ok(0));
    engine.close();
}

#[test]
fn more_than_may_wait_waits() {
    let mut engine = Engine::new();
    let x = engine.with(&[1.0; 8]);
    let y = engine.buffer(8);
    for _ in 0..3 * MOST_WAITING {
        engine.sum(x, y, 8);
        assert!(engine.queue.shared.lock().open <= MOST_WAITING + 1);
    }
    engine.queue.wait();
    assert!(!engine.queue.busy());
    engine.close();
}

#[test]
fn a_panic_while_a_weight_is_laid_is_told_to_who_reads_it() {
    use crate::quantized::{Panels, Room};
    let mut engine = Engine::new();
    // 16 rows of 17 blocks, and room for rows of one: not enough for a single panel.
    let n = 17 * 16 * 34 / 4;
    let weight = engine.with(&vec![1.0; n]);
    let [small, large] = [1, 17].map(|blocks| Panels::at(engine.data(weight), false, 16, blocks));
    let room = Arc::new(Room::new(&small).unwrap());
    // SAFETY: the block is the pool's until the engine closes.
    unsafe { engine.queue.lay(Laying::new(large, false, 2, room)) };
    let sum = engine.buffer(n);
    engine.sum(weight, sum, n);
    for handle in [weight, sum] {
        match engine.read(handle, n).recv().unwrap() {
            Err(Failure::Call { kernel: Kernel::QuantizedMatmul, error: Error::Invalid(text), .. }) => {
                assert!(text.contains("no room for a panel"), "{text}");
            }
            other => panic!("{other:?}"),
        }
    }
    // What is written anew is whole again.
    engine.write(weight, &vec![2.0; n]);
    assert_eq!(engine.read(weight, n).recv().unwrap().unwrap()[n - 1], 2.0);
    assert_eq!(engine.finish(), Ok(()));
    engine.close();
}

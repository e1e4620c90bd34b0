// The thread pool: one word that parts are claimed from, spinning before sleeping, and a watch over lost workers.
#include "nf.h"

// How long to spin, in tries of about 4 ns, before a worker sleeps.
#define SPINS 20000
// Below this much work a job is not worth handing out to threads that spin, and not worth waking those that sleep.
#define SHORT_NS 6000.0
#define WAKE_NS 50000.0
// Work done alone that says that more is coming: then the others are woken by a shorter job too.
#define BUSY_NS 100000.0

enum { FAULT_NONE, FAULT_LOST = 1 };

typedef struct Pool {
  // Number of the job (upper half) and parts not yet claimed (lower half). Whoever lowers it by compare-and-swap owns
  // a part of the job that is current then; the job cannot end before that part is done.
  _Alignas(64) u32 word;
  _Alignas(64) u32 done;
  _Alignas(64) u32 sleepers;
  u32 quit;
  u32 lost;     // a worker trapped or went missing; the pool is of no more use
  u32 may_wait; // whether the main thread may sleep (not in a browser's main thread)
  u32 waiting;  // whether it does
  u32 fault;    // check code + 1
  Part function;
  void *arg;
  u32 threads;
  u32 ready; // workers that have arrived
} Pool;

static Pool pool;

__attribute__((import_module("env"), import_name("now"))) f64 now_ms(void);
__attribute__((import_module("env"), import_name("worker_lost"), noreturn)) void worker_lost(void);

INLINE u32 load(u32 *p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
INLINE void store(u32 *p, u32 value) { __atomic_store_n(p, value, __ATOMIC_SEQ_CST); }

// Claims a part of the current job; returns its number + 1, or 0.
INLINE u32 claim(void) {
  u32 word = load(&pool.word);
  while ((word & 0xffff) != 0) {
    if (__atomic_compare_exchange_n(&pool.word, &word, word - 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
      return word & 0xffff;
  }
  return 0;
}

__attribute__((export_name("pool_address"))) u32 pool_address(void) { return (u32)&pool; }

__attribute__((export_name("pool_init"))) void pool_init(u32 threads, u32 may_wait) {
  pool.threads = threads;
  pool.may_wait = may_wait;
}

__attribute__((export_name("pool_ready"))) u32 pool_ready(void) { return load(&pool.ready); }

// Tells workers to return.
__attribute__((export_name("pool_quit"))) void pool_quit(void) {
  store(&pool.quit, 1);
  __atomic_fetch_add(&pool.word, 0x10000, __ATOMIC_SEQ_CST);
  __builtin_wasm_memory_atomic_notify((int *)&pool.word, 0xffffffff);
}

// A worker's life, from its first to its last moment.
__attribute__((export_name("pool_worker"))) void pool_worker(u32 thread) {
  __atomic_fetch_add(&pool.ready, 1, __ATOMIC_SEQ_CST);
  u32 idle = 0;
  while (!load(&pool.quit)) {
    u32 part = claim();
    if (part != 0) {
      pool.function(pool.arg, part - 1, thread);
      __atomic_fetch_add(&pool.done, 1, __ATOMIC_SEQ_CST);
      if (load(&pool.waiting)) __builtin_wasm_memory_atomic_notify((int *)&pool.done, 1);
      idle = 0;
      continue;
    }
    if (++idle < SPINS) continue;
    u32 word = load(&pool.word);
    if ((word & 0xffff) != 0) continue;
    __atomic_fetch_add(&pool.sleepers, 1, __ATOMIC_SEQ_CST);
    __builtin_wasm_memory_atomic_wait32((int *)&pool.word, (int)word, -1);
    __atomic_fetch_sub(&pool.sleepers, 1, __ATOMIC_SEQ_CST);
    idle = 0;
  }
}

// Called by a worker's JavaScript when its WASM trapped.
__attribute__((export_name("pool_lost"))) void pool_lost(void) {
  store(&pool.lost, 1);
  __builtin_wasm_memory_atomic_notify((int *)&pool.done, 1);
}

// Waits until `parts` parts are done. A worker that does not finish one part while this thread could have done twenty
// of them (and at least 1.5 s) is taken for dead.
static void await_parts(u32 parts, f64 slowest_ms) {
  for (u32 tries = 0; tries < SPINS; tries++)
    if (load(&pool.done) == parts) return;
  f64 patience = MAX(1500.0, 20 * slowest_ms);
  f64 since = now_ms();
  u32 seen = load(&pool.done);
  // Time alone does not tell: it goes on while a laptop sleeps, and with it the worker.
  u32 looks = 0, enough = pool.may_wait ? 50 : 5000;
  while (seen != parts) {
    if (pool.may_wait) {
      store(&pool.waiting, 1);
      if (load(&pool.done) == seen) __builtin_wasm_memory_atomic_wait32((int *)&pool.done, (int)seen, 20000000);
      store(&pool.waiting, 0);
    } else {
      for (u32 tries = 0; tries < SPINS; tries++)
        if (load(&pool.done) != seen) break;
    }
    u32 done = load(&pool.done);
    f64 time = now_ms();
    if (done != seen) {
      seen = done;
      since = time;
      looks = 0;
    } else if (load(&pool.lost) || (++looks > enough && time - since > patience)) {
      store(&pool.lost, 1);
      worker_lost();
    }
  }
}

void parallel(Part function, void *arg, u32 parts, f64 nanoseconds) {
  static f64 done_alone;
  u32 helpers = pool.threads - 1;
  u32 alone = helpers == 0 || parts < 2 || parts > 0xffff || nanoseconds < SHORT_NS;
  if (!alone && nanoseconds < WAKE_NS && load(&pool.sleepers) == helpers) {
    done_alone += nanoseconds;
    alone = done_alone < BUSY_NS;
  }
  if (alone) {
    for (u32 part = 0; part < parts; part++) function(arg, part, 0);
    return;
  }
  if (load(&pool.lost)) worker_lost();
  done_alone = 0;
  pool.function = function;
  pool.arg = arg;
  store(&pool.done, 0);
  // The last part is this thread's own from the start, so that it knows how long a part takes.
  u32 epoch = (load(&pool.word) & 0xffff0000) + 0x10000;
  store(&pool.word, epoch | (parts - 1));
  u32 asleep = load(&pool.sleepers);
  if (asleep != 0) __builtin_wasm_memory_atomic_notify((int *)&pool.word, MIN(asleep, parts - 1));
  u32 timed = nanoseconds > 1e6 * parts;
  f64 start = timed ? now_ms() : 0;
  function(arg, parts - 1, 0);
  f64 slowest = timed ? now_ms() - start : 0;
  __atomic_fetch_add(&pool.done, 1, __ATOMIC_SEQ_CST);
  for (u32 part = claim(); part != 0; part = claim()) {
    function(arg, part - 1, 0);
    __atomic_fetch_add(&pool.done, 1, __ATOMIC_SEQ_CST);
  }
  if (load(&pool.done) != parts) await_parts(parts, slowest);
}

u32 thread_count(void) { return pool.threads; }

void set_fault(u32 code) { store(&pool.fault, code + 1); }

u32 take_fault(void) {
  u32 fault = load(&pool.fault);
  if (fault != 0) store(&pool.fault, 0);
  return fault;
}

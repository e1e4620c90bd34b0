import { createInterface } from "node:readline";

/**
 * The side of a process that takes part: answers requests on the standard input, one JSON object a line, by lines that
 * begin with "@". `kinds` has a function for each kind of work; it takes the work and the number of threads, and gives
 * `{ run, check, note? }`, or `{ cannot }` with the reason.
 */
export async function serve(kinds) {
  let run;
  const requests = {
    async prepare({ work, threads }) {
      const make = kinds[work.kind];
      if (make === undefined) return { cannot: kinds.otherwise };
      const { cannot, note, check, ...made } = await make(work, threads);
      run = made.run;
      return { cannot, note, check };
    },
    /** Runs until the time is over, at least three times; the median milliseconds of the later half of the runs. */
    async warm({ milliseconds }) {
      const times = [];
      const end = performance.now() + milliseconds;
      while (times.length < 3 || performance.now() < end) times.push(await time(1));
      const later = times.slice(times.length >> 1).sort((a, b) => a - b);
      return { milliseconds: later[later.length >> 1] };
    },
    /** Milliseconds of one run, the mean of `repeats`, after one that does not count. */
    async time({ repeats }) {
      await time(1);
      return { milliseconds: await time(repeats) };
    },
  };
  async function time(repeats) {
    const start = performance.now();
    for (let i = 0; i < repeats; i++) {
      const result = run();
      if (result instanceof Promise) await result;
    }
    return (performance.now() - start) / repeats;
  }
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    let answer;
    try {
      answer = await requests[request.type](request);
    } catch (error) {
      answer = { cannot: String(error?.message ?? error).split("\n")[0] };
    }
    process.stdout.write(`@${JSON.stringify(answer)}\n`);
  }
  process.exit(0);
}

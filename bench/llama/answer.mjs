import { createInterface } from "node:readline";

/** Answers requests on the standard input, one JSON object a line, by lines that begin with "@". */
export async function answer(requests) {
  for await (const line of createInterface({ input: process.stdin })) {
    const { type, ...request } = JSON.parse(line);
    let result;
    try {
      result = await requests[type](request);
    } catch (error) {
      result = { cannot: String(error?.message ?? error).split("\n")[0] };
    }
    process.stdout.write(`@${JSON.stringify(result)}\n`);
  }
  process.exit(0);
}

export const megabytes = () => Math.round(process.memoryUsage().rss / 1e6);

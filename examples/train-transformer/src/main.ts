#!/usr/bin/env node
import { run } from "./run.ts";

process.exitCode = await run(process.argv.slice(2), {
  out: (line) => console.log(line),
  progress: (line) => console.error(line),
});

/**
 * A stream for vitest's output that passes on all lines but those of passed tests: where nobody watches, these would only
 * bury what failed.
 *
 * @param write takes text, line by line.
 * @returns `write(chunk)` for the output as it comes, `end()` for a last line without an end of its own.
 */
export function failuresOnly(write) {
  let rest = "";
  const pass = (line) => {
    if (!/^ +✓ /.test(line)) write(`${line}\n`);
  };
  return {
    write(chunk) {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop();
      for (const line of lines) pass(line);
    },
    end() {
      if (rest !== "") pass(rest);
      rest = "";
    },
  };
}

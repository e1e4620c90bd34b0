/**
 * The command line of a benchmark: `--name value` for each name of `values`, `--name` for each of `flags`, and up to
 * `words` other words. `--help` prints `help` and ends; what is not known is refused.
 */
export function options({ help, values = [], flags = [], words = 0 }) {
  const result = { words: [] };
  const given = process.argv.slice(2);
  if (given.includes("--help") || given.includes("-h")) {
    console.log(help.trim());
    process.exit(0);
  }
  const refuse = (what) => {
    console.error(`${what}\n\n${help.trim()}`);
    process.exit(2);
  };
  for (let i = 0; i < given.length; i++) {
    const word = given[i];
    const name = word.replace(/^--/, "");
    if (!word.startsWith("-")) {
      result.words.push(word);
    } else if (word === `--${name}` && flags.includes(name)) {
      result[name] = true;
    } else if (word === `--${name}` && values.includes(name)) {
      i++;
      if (given[i] === undefined || given[i].startsWith("--")) refuse(`${word} needs a value.`);
      result[name] = given[i];
    } else {
      refuse(`Unknown option ${word}.`);
    }
  }
  if (result.words.length > words) refuse(`Unexpected "${result.words[words]}".`);
  return result;
}

function refuseValue(message) {
  console.error(`${message} See --help.`);
  process.exit(2);
}

/** The value of an option as a whole number of at least `least`; anything else is refused. */
export function wholeNumber(name, text, least) {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value >= least) return value;
  return refuseValue(`--${name}: expected a whole number of at least ${least}, got "${text}".`);
}

/** The value of an option as a regular expression; anything else is refused. */
export function pattern(name, text) {
  try {
    return new RegExp(text);
  } catch (error) {
    return refuseValue(`--${name}: ${error.message}.`);
  }
}

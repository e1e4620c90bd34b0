/** Tokens kept as context of the next: more than the bytes of a character. */
const CONTEXT = 8;
/** Tokens after which old ones are let go. */
const WINDOW = 32;
/** What the bytes of an unfinished character decode to. */
const UNFINISHED = "\ufffd";

/**
 * Decodes ids one by one. A character whose bytes are spread over several tokens is given out with the last of them.
 * The cost of a token does not grow with the text.
 */
export class DecodeStream {
  readonly #decode: (ids: readonly number[]) => string;
  #ids: number[] = [];
  /** Length of the window's text that was given out. */
  #given = 0;

  constructor(decode: (ids: readonly number[]) => string) {
    this.#decode = decode;
  }

  /** The text that one more id brings; empty if it ends inside a character. */
  push(id: number): string {
    const text = this.#decode([...this.#ids, id]);
    this.#ids.push(id);
    const finished = finishedLength(text);
    const piece = text.slice(this.#given, Math.max(this.#given, finished));
    this.#given = Math.max(this.#given, finished);
    if (this.#ids.length > WINDOW) this.#shorten();
    return piece;
  }

  /** What was held back, if the ids end inside a character. The stream can then be used for another text. */
  end(): string {
    const rest = this.#decode(this.#ids).slice(this.#given);
    this.#ids = [];
    this.#given = 0;
    return rest;
  }

  #shorten(): void {
    const ids = this.#ids.slice(-CONTEXT);
    const text = this.#decode(ids);
    // A window without text would take the next token for the first, whose leading blank some decoders drop.
    if (text === "") return;
    this.#ids = ids;
    this.#given = finishedLength(text);
  }
}

function finishedLength(text: string): number {
  return text.endsWith(UNFINISHED) ? text.length - 1 : text.length;
}

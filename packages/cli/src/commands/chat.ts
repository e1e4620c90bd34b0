import { createInterface } from "node:readline";
import type { ChatMessage } from "@nf/io";
import { CliError, UsageError } from "../errors.ts";
import { EXIT, type Io, say, stopCode } from "../io.ts";
import { asUsage, checkSampling, generateOptions, rate, type TextModel, withModel } from "../text/open.ts";
import type { ChatCommandOptions } from "../text-options.ts";

const COMMANDS = "/clear, /exit";

/** `nf chat`: a conversation, lines of standard input against answers on standard output. */
export async function runChat(io: Io, path: string, options: ChatCommandOptions): Promise<number> {
  await checkSampling(generateOptions(options, io.signal));
  const { stdin } = io;
  if (stdin === undefined) throw new CliError("There is no standard input to talk on. Use nf generate.");
  return withModel(io, path, options, async (llama, backend) => {
    const settings = generateOptions(options, io.signal, llama.defaults);
    if (llama.tokenizer.chatTemplate === undefined) {
      throw new UsageError(
        `The model in ${path} has no chat template: it only goes on texts. Use nf generate ${path} --prompt "…".`,
      );
    }
    say(io.stderr, `On ${backend.name}. ${COMMANDS}; the end of the input ends the conversation.`);
    const start: readonly ChatMessage[] =
      options.system === undefined ? [] : [{ role: "system", content: options.system }];
    let messages = [...start];
    // The lines are listened for before anything else is done, or an end that comes in between would be missed.
    const lines = createInterface({ input: stdin, signal: io.signal })[Symbol.asyncIterator]();
    io.stderr.write("> ");
    for await (const line of lines) {
      const said = line.trim();
      if (said === "/exit") break;
      if (said === "/clear") messages = [...start];
      else if (said.startsWith("/")) say(io.stderr, `There is no ${said}. Commands: ${COMMANDS}.`);
      else if (said !== "") {
        messages.push({ role: "user", content: said });
        const answer = await reply(io, llama, messages, settings);
        if (answer === undefined) return stopCode(io.signal);
        messages.push({ role: "assistant", content: answer });
      }
      io.stderr.write("> ");
    }
    say(io.stderr);
    return io.signal.aborted ? stopCode(io.signal) : EXIT.done;
  });
}

/** Writes the answer as it comes, and gives it; undefined where it was cut off. */
async function reply(
  io: Io,
  llama: TextModel,
  messages: readonly ChatMessage[],
  settings: ReturnType<typeof generateOptions>,
): Promise<string | undefined> {
  const generation = await asUsage(() => llama.chat(messages, settings));
  try {
    await asUsage(async () => {
      for await (const piece of generation) io.stdout.write(piece);
    });
  } catch (error) {
    if (!io.signal.aborted) throw error;
  }
  say(io.stdout);
  if (generation.finish === "aborted") return undefined;
  say(io.stderr, `(${generation.tokens.length} tokens at ${rate(generation.timing.tokensPerSecond)})`);
  return generation.text;
}

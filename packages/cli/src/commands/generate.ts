import { EXIT, type Io, say, stopCode } from "../io.ts";
import { asUsage, checkSampling, generateOptions, rate, withModel } from "../text/open.ts";
import type { GenerateCommandOptions } from "../text-options.ts";

/** `nf generate`: a text on standard output, and how fast it came on standard error. */
export async function runGenerate(io: Io, path: string, options: GenerateCommandOptions): Promise<number> {
  const { prompt, json = false } = options;
  await checkSampling(generateOptions(options, io.signal));
  return withModel(io, path, options, async (llama, backend) => {
    const settings = generateOptions(options, io.signal, llama.defaults);
    const generation = await asUsage(() => llama.generate(prompt, settings));
    try {
      await asUsage(async () => {
        for await (const piece of generation) if (!json) io.stdout.write(piece);
      });
    } catch (error) {
      // What there is was written.
      if (!io.signal.aborted) throw error;
    }
    const { text, tokens, promptTokens, finish } = generation;
    const { prefillTokensPerSecond, tokensPerSecond, prefillSeconds, decodeSeconds } = generation.timing;
    if (json) {
      say(
        io.stdout,
        JSON.stringify({
          model: path,
          backend: backend.name,
          threads: backend.capabilities.threads,
          weights: options.weights,
          prompt,
          promptTokens,
          text,
          tokens,
          finish,
          stopped: finish === "aborted",
          seed: settings.seed ?? null,
          tokensPerSecond,
          prefillTokensPerSecond,
          prefillSeconds,
          decodeSeconds,
        }),
      );
    } else {
      if (!text.endsWith("\n")) say(io.stdout);
      say(
        io.stderr,
        `${tokens.length} tokens at ${rate(tokensPerSecond)}, the prompt's ${promptTokens.length} at ${rate(prefillTokensPerSecond)}, on ${backend.name}` +
          (settings.seed === undefined ? "" : `, seed ${settings.seed}`),
      );
    }
    return finish === "aborted" ? stopCode(io.signal) : EXIT.done;
  });
}

/** Sizes of models of the Llama family. */
export const SHAPES = {
  tinyllama: sizes("TinyLlama-1.1B", 32000, 2048, 5632, 22, 32, 4),
  "135m": { ...sizes("SmolLM-135M", 49152, 576, 1536, 30, 9, 3), tied: true },
  "42m": { ...sizes("stories42M", 32000, 512, 1376, 8, 8, 8), tied: true },
};

function sizes(like, vocabulary, hidden, inner, layers, heads, kvHeads) {
  return { like, vocabulary, hidden, inner, layers, heads, kvHeads, positions: 2048, tied: false };
}

/** Positions of a context that has room for a prompt or for tokens after a position. */
export function room({ prompt, positions, tokens }) {
  return Math.max(prompt, ...positions) + tokens + 1;
}

/** Tokens that say nothing, the same for all: beyond those with a meaning of their own. */
export function promptOf(count, vocabulary) {
  return Array.from({ length: count }, (_, i) => 300 + ((i * 7919) % (vocabulary - 300)));
}

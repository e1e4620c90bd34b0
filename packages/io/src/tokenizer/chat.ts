import { Template } from "@huggingface/jinja";
import { checkOptions } from "@nf/core";
import { reasonOf, TokenizerError } from "../errors.ts";

/** A message of a conversation. Templates may look at further entries, such as `tool_calls`. */
export interface ChatMessage {
  /** Usually `"system"`, `"user"` or `"assistant"`. */
  readonly role: string;
  readonly content: string;
  readonly [entry: string]: unknown;
}

/** Options of {@link Tokenizer.applyChatTemplate}. */
export interface ChatOptions {
  /** End with the beginning of the assistant's answer; default true. */
  readonly addGenerationPrompt?: boolean;
  /** Further variables that the template knows, such as `tools`. */
  readonly variables?: Readonly<Record<string, unknown>>;
}

/** Renders a template with the variables that Hugging Face's templates expect. */
export function renderChat(
  name: string,
  template: string | undefined,
  messages: readonly ChatMessage[],
  options: ChatOptions,
  tokens: Readonly<Record<string, string>>,
): string {
  checkOptions("applyChatTemplate", options, ["addGenerationPrompt", "variables"]);
  if (template === undefined) {
    throw new TokenizerError(
      `${name}: has no chat template. Write the prompt yourself, or use a model tuned for chat.`,
    );
  }
  try {
    return new Template(template).render({
      ...tokens,
      ...options.variables,
      messages,
      add_generation_prompt: options.addGenerationPrompt ?? true,
    });
  } catch (error) {
    throw new TokenizerError(`${name}: its chat template fails: ${reasonOf(error)}.`, { cause: error });
  }
}

import type { Scorecard } from "@nf/conformance";
import { type Run, score } from "./score.ts";

declare function postMessage(card: Scorecard): void;

Reflect.set(globalThis, "onmessage", ({ data }: { readonly data: Run }) => {
  score(data).then(postMessage, (error: unknown) => {
    // An error outside of promises reaches the page.
    setTimeout(() => {
      throw error;
    });
  });
});

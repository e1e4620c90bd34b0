import { type Report, work } from "./work.ts";

declare function postMessage(report: Report): void;

const report = work();
report.then(postMessage, (error: unknown) => {
  // An error outside of promises reaches the page.
  setTimeout(() => {
    throw error;
  });
});

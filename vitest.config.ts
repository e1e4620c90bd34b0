import { defineConfig } from "vitest/config";

const nightly = process.env["NF_NIGHTLY"] === "1";
const conditions = ["nf-source", "module", "node", "import", "default"];

export default defineConfig({
  // Tests run the TypeScript sources of every package: no build is needed for them.
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions } },
  test: {
    include: ["packages/*/tests/**/*.test.ts", "examples/*/tests/**/*.test.ts"],
    exclude: ["**/node_modules/**", "**/dist/**"],
    pool: "forks",
    // Leaks are told from garbage by collecting first.
    execArgv: ["--expose-gc"],
    maxWorkers: 2,
    // A busy machine is slow, and being slow is no failure: what hangs is what these are for.
    testTimeout: nightly ? 900_000 : 120_000,
    hookTimeout: nightly ? 300_000 : 120_000,
    teardownTimeout: 10_000,
    passWithNoTests: false,
    restoreMocks: true,
    unstubEnvs: true,
  },
});

// Empties `dist` of the package it runs in: what a deleted source once compiled to must not be published.
import { rmSync } from "node:fs";
import { join } from "node:path";

rmSync(join(process.cwd(), "dist"), { recursive: true, force: true });

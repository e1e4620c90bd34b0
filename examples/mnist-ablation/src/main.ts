#!/usr/bin/env node
import { main } from "@nf-examples/shared";
import { example } from "./example.ts";

await main(example);

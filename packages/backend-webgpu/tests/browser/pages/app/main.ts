import { learn } from "./learn.ts";
import { lose } from "./lose.ts";

Reflect.set(globalThis, "run", { learn, lose });

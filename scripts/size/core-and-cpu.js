// Everything that core and the cpu backend export, kept: the most that a bundle with both can weigh.
import * as cpu from "@nf/backend-cpu";
import * as core from "@nf/core";

globalThis.nf = { core, cpu };

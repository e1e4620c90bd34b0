// Everything that core and the cpu backend export, kept: more than any application bundles.
import * as cpu from "@nf/backend-cpu";
import * as core from "@nf/core";

globalThis.nf = { core, cpu };

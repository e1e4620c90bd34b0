export { type Audit, type AuditOptions, type AuditRow, audit } from "./monitor/audit.ts";
export {
  CARBON_INTENSITY,
  type CarbonOptions,
  carbon,
  type Region,
} from "./monitor/carbon.ts";
export { type Measured, type MeasureOptions, measureEnergy } from "./monitor/measure.ts";
export { activationSparsity, type SparsityOptions, type SparsityRow } from "./monitor/sparsity.ts";
export { CHIP_45NM, type EnergyTable } from "./monitor/table.ts";
export { type Activation, type Observed, observe } from "./observe.ts";
export { type FlopShareOptions, flopShare, neuronPower } from "./regularise/activity.ts";
export { l1, l2 } from "./regularise/norms.ts";

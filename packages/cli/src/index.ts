export {
  type CurvePoint,
  type CurveStep,
  type CurvesData,
  type CurveWords,
  curvesSvg,
  toPng,
} from "@nf/train/curves";
export { type BackendReport, importerFrom } from "./backends.ts";
export { EXIT, type ImportModule, type Io, type OutputStream, type StopReason } from "./io.ts";
export { main } from "./main.ts";
export { type Prediction, type PredictionsData, predictionsSvg } from "./plots/predictions.ts";

export { type BackendReport, importerFrom } from "./backends.ts";
export { EXIT, type ImportModule, type Io, type OutputStream, type StopReason } from "./io.ts";
export { main } from "./main.ts";
export {
  type CurvePoint,
  type CurveStep,
  type CurvesData,
  type CurveWords,
  curvesSvg,
} from "./plots/curves.ts";
export { toPng } from "./plots/png.ts";
export { type Prediction, type PredictionsData, predictionsSvg } from "./plots/predictions.ts";

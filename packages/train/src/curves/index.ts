/** Pictures of a training as SVG and PNG, and what other pictures are drawn with. */
export { type CurvePoint, type CurveStep, type CurvesData, type CurveWords, curvesSvg } from "./curves.ts";
export { type CurvesOptions, curves, historySvg } from "./history.ts";
export { toPng } from "./png.ts";
export { type Bucket, bucketMeans, smooth } from "./smooth.ts";
export {
  type AttributeValue,
  BLUE,
  element,
  escapeXml,
  FONT,
  GREEN,
  heading,
  INK,
  MUTED,
  ORANGE,
  picture,
  RED,
  RULE,
  text,
} from "./svg.ts";

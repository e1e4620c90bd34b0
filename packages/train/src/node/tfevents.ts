import { PbfWriter } from "pbf";
import { crc32c } from "./crc32c.ts";

/**
 * What TensorBoard reads, field by field as in its `event.proto`, `summary.proto` and `tensor.proto`. The wire format is
 * pbf's; the few messages are written out here, so that no generated code of TensorFlow's has to be kept.
 */
export type EventContent =
  | { readonly kind: "version" }
  /** Events of this step and later ones that an earlier file has are left out from now on. */
  | { readonly kind: "restart" }
  | { readonly kind: "scalar"; readonly tag: string; readonly value: number }
  | { readonly kind: "histogram"; readonly tag: string; readonly values: ArrayLike<number> }
  | { readonly kind: "text"; readonly tag: string; readonly text: string }
  | {
      readonly kind: "image";
      readonly tag: string;
      readonly png: Uint8Array;
      readonly width: number;
      readonly height: number;
    };

type Value = Exclude<EventContent, { kind: "version" | "restart" }>;

/** Types of tensors in `types.proto`. */
const DT_STRING = 7;
/** `SessionLog.START`. */
const START = 1;
/** Colours of an image: red, green, blue, alpha. */
const RGBA = 4;
const BUCKETS = 30;

/** An event as the record that a file holds: length, its checksum, the message, its checksum. */
export function eventRecord(content: EventContent, step: number, seconds: number): Uint8Array {
  const pbf = new PbfWriter();
  pbf.writeDoubleField(1, seconds);
  pbf.writeVarintField(2, step);
  if (content.kind === "version") pbf.writeStringField(3, "brain.Event:2");
  else if (content.kind === "restart") pbf.writeMessage(7, () => pbf.writeVarintField(1, START), undefined);
  else pbf.writeMessage(5, () => pbf.writeMessage(1, writeValue, content), undefined);
  return record(pbf.finish());
}

function writeValue(value: Value, pbf: PbfWriter): void {
  pbf.writeStringField(1, value.tag);
  if (value.kind === "scalar") pbf.writeFloatField(2, value.value);
  else if (value.kind === "image") {
    pbf.writeMessage(
      4,
      ({ png, width, height }) => {
        pbf.writeVarintField(1, height);
        pbf.writeVarintField(2, width);
        pbf.writeVarintField(3, RGBA);
        pbf.writeBytesField(4, png);
      },
      value,
    );
  } else if (value.kind === "histogram") pbf.writeMessage(5, writeHistogram, value.values);
  else {
    pbf.writeMessage(
      8,
      ({ text }) => {
        pbf.writeVarintField(1, DT_STRING);
        // A shape of one dimension: `dim { size: 1 }`.
        pbf.writeMessage(
          2,
          () => pbf.writeMessage(2, () => pbf.writeVarintField(1, 1), undefined),
          undefined,
        );
        pbf.writeStringField(8, text);
      },
      value,
    );
    pbf.writeMessage(
      9,
      () => pbf.writeMessage(1, () => pbf.writeStringField(1, "text"), undefined),
      undefined,
    );
  }
}

/** Equal widths from the least value to the greatest; values that are no numbers are in none of them. */
function writeHistogram(values: ArrayLike<number>, pbf: PbfWriter): void {
  const finite = Array.from(values).filter(Number.isFinite);
  let [least, greatest, sum, squares] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, 0];
  for (const value of finite) {
    least = Math.min(least, value);
    greatest = Math.max(greatest, value);
    sum += value;
    squares += value * value;
  }
  if (finite.length === 0) [least, greatest] = [0, 0];
  const width = (greatest - least) / BUCKETS;
  const count = width > 0 ? BUCKETS : 1;
  const limits = Array.from({ length: count }, (_, i) =>
    i === count - 1 ? greatest : least + (i + 1) * width,
  );
  const buckets = new Array<number>(count).fill(0);
  for (const value of finite) {
    const place = width > 0 ? Math.min(count - 1, Math.floor((value - least) / width)) : 0;
    buckets[place] = (buckets[place] as number) + 1;
  }
  for (const [field, value] of [least, greatest, finite.length, sum, squares].entries())
    pbf.writeDoubleField(field + 1, value);
  pbf.writePackedDouble(6, limits);
  pbf.writePackedDouble(7, buckets);
}

/** TFRecord: CRCs are rotated and moved, so that one over data that hold CRCs is sound. */
function record(data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(data.length + 16);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, masked(bytes.subarray(0, 8)), true);
  bytes.set(data, 12);
  view.setUint32(12 + data.length, masked(data), true);
  return bytes;
}

function masked(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

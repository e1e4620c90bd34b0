import type { UpsampleOptions } from "@nf/core";
import * as nf from "@nf/core";
import fc from "fast-check";
import type { Instance, Row } from "../model.ts";
import * as reference from "../reference/nd.ts";
import { perAxis } from "../reference/windows.ts";
import { between, data, optionsText, row, shapesText } from "./define.ts";

/** Places of x that an element of an upsampled dimension lies between, and how near it is to the second. */
function placeOf(
  i: number,
  from: number,
  to: number,
  step: number,
  { mode, alignCorners }: UpsampleOptions,
): readonly [number, number, number] {
  if (mode === undefined || mode === "nearest") {
    const near = Math.min(Math.floor(i * step), from - 1);
    return [near, near, 0];
  }
  const place =
    alignCorners === true
      ? to === 1
        ? 0
        : (i * (from - 1)) / (to - 1)
      : Math.max(0, (i + 0.5) * step - 0.5);
  const low = Math.min(Math.floor(place), from - 1);
  return [low, Math.min(low + 1, from - 1), place - low];
}

function upsampleRow(
  variant: string,
  fixed: readonly (readonly [readonly number[], UpsampleOptions])[],
  any: fc.Arbitrary<readonly [readonly number[], UpsampleOptions]>,
): Row {
  const instance = ([x, options]: readonly [readonly number[], UpsampleOptions]): Instance => ({
    label: shapesText(x) + optionsText(options),
    operands: [data(x)],
    // A weight is the fraction of a place, which is a number of several.
    ...(variant !== "nearest" && { roundings: 2 }),
    run: ([input]) => nf.upsample(input!, options),
    reference: ([input]) => {
      const spatial = x.slice(2);
      const factors =
        options.scaleFactor === undefined ? undefined : perAxis(options.scaleFactor, spatial.length, 1);
      const sizes =
        factors === undefined
          ? perAxis(options.size, spatial.length, 1)
          : spatial.map((size, i) => Math.floor(size * factors[i]!));
      return reference.build([...x.slice(0, 2), ...sizes], ([n, c, ...index]) => {
        const places = index.map((i, axis) => {
          const step = factors === undefined ? spatial[axis]! / sizes[axis]! : 1 / factors[axis]!;
          return placeOf(i, spatial[axis]!, sizes[axis]!, step, options);
        });
        // The one zero that leaves the sign of what is added to it.
        let total = -0;
        for (let corner = 0; corner < 2 ** places.length; corner++) {
          const weight = places.reduce(
            (product, [, , share], axis) => product * ((corner >> axis) & 1 ? share : 1 - share),
            1,
          );
          if (weight !== 0)
            total +=
              weight *
              reference.at(input!, [
                n!,
                c!,
                ...places.map(([low, high], axis) => ((corner >> axis) & 1 ? high : low)),
              ]);
        }
        return total;
      });
    },
  });
  return row("pooling", {
    op: "upsample",
    variant,
    kernels: ["gather", "scatter"],
    tolerance: variant === "nearest" ? "exact" : "composed",
    instances: fixed.map(instance),
    arbitrary: any.map(instance),
  });
}

/** Upsampling, which is pooling reversed. */
export function upsampleRows(): readonly Row[] {
  const size = between(1, 4);
  const scales = fc.constantFrom(1, 2, 3, 1.5, 0.5);
  const linear = fc.tuple(size, size, between(2, 5), between(1, 8), fc.boolean());
  const bilinear = fc.tuple(size, between(2, 4), between(2, 4), between(1, 6), between(1, 6), fc.boolean());
  return [
    upsampleRow(
      "nearest",
      [
        [[1, 2, 3], { scaleFactor: 2 }],
        [[1, 1, 2, 3], { size: [5, 4] }],
        [[2, 1, 4, 4], { scaleFactor: [0.5, 1.5] }],
        [[1, 1, 2, 2, 2], { scaleFactor: 2 }],
      ],
      fc
        .tuple(size, fc.array(between(2, 4), { minLength: 1, maxLength: 2 }), scales)
        .map(([c, spatial, scaleFactor]) => [[1, c, ...spatial], { scaleFactor }] as const),
    ),
    upsampleRow(
      "linear",
      [
        [[1, 2, 3], { scaleFactor: 2, mode: "linear" }],
        [[1, 1, 4], { size: 7, mode: "linear", alignCorners: true }],
      ],
      linear.map(
        ([n, c, length, to, alignCorners]) =>
          [[n, c, length], { size: to, mode: "linear", alignCorners }] as const,
      ),
    ),
    upsampleRow(
      "bilinear",
      [
        [[1, 2, 3, 2], { scaleFactor: 2, mode: "bilinear" }],
        [[1, 1, 3, 4], { size: [5, 3], mode: "bilinear", alignCorners: true }],
      ],
      bilinear.map(
        ([c, h, w, toH, toW, alignCorners]) =>
          [[1, c, h, w], { size: [toH, toW], mode: "bilinear", alignCorners }] as const,
      ),
    ),
  ];
}

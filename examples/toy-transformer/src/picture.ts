import { BLUE, element, heading, INK, MUTED, picture, RULE, text } from "@nf/train/curves";

/** What {@link attentionSvg} draws. */
export interface AttentionPicture {
  readonly title: string;
  readonly subtitle: string;
  /** What the rows and columns stand for. */
  readonly tokens: readonly string[];
  /** Of each block a matrix, row by row: how much a query (row) takes of each key (column). */
  readonly matrices: readonly ArrayLike<number>[];
}

const CELL = 30;
const LEFT = 64;
const TOP = 122;
const GAP = 44;

/** Attention as squares, the darker the more, a matrix for each block; what a query takes above a tenth is written out. */
export function attentionSvg({ title, subtitle, tokens, matrices }: AttentionPicture): string {
  const side = tokens.length * CELL;
  const width = LEFT + matrices.length * (side + GAP);
  const label = { "text-anchor": "middle", fill: INK, "font-weight": 600 };
  const panels = matrices.map((matrix, block) => {
    const left = LEFT + block * (side + GAP);
    const middle = (place: number): number => place * CELL + CELL / 2;
    const cells = Array.from(matrix, (weight, place) => {
      const [row, column] = [Math.floor(place / tokens.length), place % tokens.length];
      const [x, y] = [left + column * CELL, TOP + row * CELL];
      const share = Math.round(weight * 100);
      const square = { x, y, width: CELL, height: CELL, stroke: RULE };
      const written = { "text-anchor": "middle", "font-size": 10, fill: weight > 0.5 ? "#ffffff" : INK };
      return (
        element("rect", { ...square, fill: BLUE, "fill-opacity": weight }) +
        (share >= 10 ? text(x + CELL / 2, y + CELL / 2 + 4, String(share), written) : "")
      );
    });
    return [
      text(left, TOP - 32, matrices.length > 1 ? `Block ${block + 1}` : "", { fill: MUTED }),
      ...tokens.map((token, column) => text(left + middle(column), TOP - 10, token, label)),
      ...tokens.map((token, row) => text(left - 14, TOP + middle(row) + 4, token, label)),
      ...cells,
    ].join("");
  });
  const note = "Rows ask, columns are attended to; percent of a row where it is 10 or more.";
  const height = TOP + side + 44;
  const foot = text(LEFT - 24, height - 16, note, { fill: MUTED, "font-size": 12 });
  return picture(Math.max(width, 560), height, title, heading(LEFT - 24, title, subtitle), ...panels, foot);
}

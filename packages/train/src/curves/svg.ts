/** What an SVG attribute may hold; `undefined` leaves it out. */
export type AttributeValue = string | number | undefined;

const ESCAPES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

/** Text made safe for the content and the attributes of an XML document. */
export function escapeXml(text: string): string {
  return text.replace(/[&<>"]/g, (character) => ESCAPES[character] ?? character);
}

/** Two decimals are below what a screen shows, and keep files small. */
const format = (value: string | number): string =>
  typeof value === "number" ? String(Math.round(value * 100) / 100) : escapeXml(value);

/**
 * One SVG element as text.
 *
 * @param name element name
 * @param attributes numbers are written with at most two decimals, strings escaped
 * @param children markup that is already SVG; text goes through {@link escapeXml} first
 */
export function element(
  name: string,
  attributes: Readonly<Record<string, AttributeValue>>,
  ...children: readonly string[]
): string {
  let opening = `<${name}`;
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined) opening += ` ${key}="${format(value)}"`;
  }
  return children.length === 0 ? `${opening}/>` : `${opening}>${children.join("")}</${name}>`;
}

/** A line of text: `x`, `y` of its baseline in pixels. */
export function text(
  x: number,
  y: number,
  content: string,
  attributes: Readonly<Record<string, AttributeValue>> = {},
): string {
  return element("text", { x, y, fill: INK, "font-size": 13, ...attributes }, escapeXml(content));
}

/** Family of all text. The PNG renderer brings Inter along; viewers of the SVG without it take their own. */
export const FONT = "Inter, system-ui, sans-serif";
/** Main text and drawn digits. */
export const INK = "#111827";
/** Secondary text: subtitles, axes. */
export const MUTED = "#6b7280";
/** Grid lines and borders. */
export const RULE = "#e5e7eb";
/** Training curves. */
export const BLUE = "#2563eb";
/** Test points. */
export const ORANGE = "#ea580c";
/** Right predictions. */
export const GREEN = "#15803d";
/** Wrong predictions. */
export const RED = "#dc2626";

/**
 * A whole picture on a white ground, so that it reads the same on dark pages.
 *
 * @param width in pixels
 * @param height in pixels
 * @param title read out by screen readers; not drawn
 */
export function picture(
  width: number,
  height: number,
  title: string,
  ...children: readonly string[]
): string {
  const attributes = {
    xmlns: "http://www.w3.org/2000/svg",
    width,
    height,
    viewBox: `0 0 ${width} ${height}`,
    "font-family": FONT,
    role: "img",
  };
  const ground = element("rect", { width, height, fill: "#ffffff" });
  return `${element("svg", attributes, element("title", {}, escapeXml(title)), ground, ...children)}\n`;
}

/** Title and subtitle at the top left of a picture. */
export function heading(x: number, title: string, subtitle: string): string {
  return text(x, 36, title, { "font-size": 20, "font-weight": 600 }) + text(x, 58, subtitle, { fill: MUTED });
}

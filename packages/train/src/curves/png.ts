import { createRequire } from "node:module";

/** Cuts of the font that the pictures use; shipped as TrueType files by an npm package. */
const FONT_FILES = [
  "@expo-google-fonts/inter/400Regular/Inter_400Regular.ttf",
  "@expo-google-fonts/inter/600SemiBold/Inter_600SemiBold.ttf",
];

/**
 * Draws an SVG document into a PNG file's bytes. Text is set in Inter, whatever fonts the machine has, so that the
 * same document gives the same picture everywhere.
 *
 * @param svg a whole SVG document
 * @param scale pixels of the PNG for one of the SVG
 * @throws whatever the renderer does where it has no binary for the machine
 */
export async function toPng(svg: string, scale = 2): Promise<Uint8Array> {
  // Loaded when it is needed: it is a native module, which not every machine can load.
  const { Resvg } = await import("@resvg/resvg-js");
  const { resolve } = createRequire(import.meta.url);
  const drawing = new Resvg(svg, {
    fitTo: { mode: "zoom", value: scale },
    font: {
      fontFiles: FONT_FILES.map((file) => resolve(file)),
      loadSystemFonts: false,
      defaultFontFamily: "Inter",
      sansSerifFamily: "Inter",
    },
    logLevel: "off",
  });
  return drawing.render().asPng();
}

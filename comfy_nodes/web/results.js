/** Saved pictures: enlarged, with size and seed, and a way to make the same again. */
import { app } from "../../scripts/app.js";
import { address, enlarged, make } from "./panel.js";
import { seedOf, textsOf } from "./png.js";
import { words } from "./words.js";

/** px; the least side of a picture where several are shown side by side. */
const LEAST = 96;
/** px; what is written under a picture: a line where there is one picture, else up to three. */
const LINE = 26;
const LINES = 44;
/** px between pictures; that of the style (panel.js). */
const GAP = 6;

export function showResults(panel, images) {
  panel.show((width, height) => {
    const across = Math.max(1, Math.min(images.length, Math.floor(width / LEAST)));
    const down = Math.ceil(images.length / across);
    const caption = images.length > 1 ? LINES : LINE;
    const side = [
      Math.floor(width / across) - GAP,
      Math.max(Math.min(LEAST, height - caption), Math.floor(height / down) - GAP - caption),
    ];
    const figures = images.map((image, index) => figure(panel, image, index, images.length, side));
    // As many beside each other as there is room for: what is written under them is as wide.
    for (const one of figures) one.style.width = images.length > 1 ? `${side[0]}px` : "";
    return [make("div", { class: "sw-pictures sw-results" }, ...figures)];
  });
}

function figure(panel, image, index, count, space) {
  const text = words().picture(index + 1, count);
  const caption = make("figcaption");
  const source = address(image);
  const picture = enlarged(source, text, space, (loaded) => {
    caption.prepend(`${loaded.naturalWidth} × ${loaded.naturalHeight}`);
    loaded.alt = `${text}, ${loaded.naturalWidth} × ${loaded.naturalHeight}`;
    // The editor's menu offers to save, copy and open what stands here.
    panel.node.imgs = [...panel.root.querySelectorAll("img")];
  });
  tellSeed(panel.node, caption, source, index, count);
  return make("figure", {}, picture, caption);
}

/** The picture itself says from which seed it came: it carries its graph. */
async function tellSeed(node, caption, source, index, count) {
  let found;
  try {
    const bytes = await (await fetch(source)).arrayBuffer();
    const graph = JSON.parse(textsOf(bytes).prompt ?? "null");
    found = seedOf(graph, String(node.id), index, count);
  } catch (error) {
    console.warn("Spriteworks: a picture's seed could not be read", error);
    return;
  }
  if (!found) return;
  const use = make("button", { type: "button", onclick: () => useSeed(found) }, words().useSeed);
  use.title = words().useSeedHelp;
  caption.append(` · ${words().seed} ${found.seed} `, use);
}

/** Set that seed where it came from, and let it stay. */
function useSeed({ node: id, input, seed }) {
  const node = app.graph.getNodeById(Number(id)) ?? app.graph.getNodeById(id);
  const widgets = node?.widgets ?? [];
  const at = widgets.findIndex((widget) => widget.name === input);
  if (at < 0) return;
  widgets[at].value = seed;
  widgets[at].callback?.(seed);
  const after = widgets.find((widget) => widget.name === "control_after_generate");
  if (after) after.value = "fixed";
  app.graph.setDirtyCanvas(true, true);
}

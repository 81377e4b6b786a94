/** Saved pictures: enlarged, with size and seed, and a way to make the same again. */
import { app } from "../../scripts/app.js";
import { address, enlarged, make } from "./panel.js";
import { seedOf, textsOf } from "./png.js";
import { words } from "./words.js";

/** px; the least side of a picture where several are shown side by side. */
const LEAST = 96;
/** px; the line under a picture. */
const CAPTION = 26;

export function showResults(panel, images) {
  panel.show((width, height) => {
    const across = Math.max(1, Math.min(images.length, Math.floor(width / LEAST)));
    const down = Math.ceil(images.length / across);
    const side = [
      Math.floor(width / across) - 6,
      Math.max(Math.min(LEAST, height - CAPTION), Math.floor(height / down) - CAPTION),
    ];
    const figures = images.map((image, index) => figure(panel, image, index, images.length, side));
    return [make("div", { class: "sw-pictures" }, ...figures)];
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

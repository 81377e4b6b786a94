/**
 * The pack's templates, when they are opened: their example pictures, and a view of all of it.
 *
 * A template names the pictures that it opens with. They are copied to the server's input folder
 * when it is opened, before its nodes look for them; never over a file: where the name is taken by
 * another picture, the server answers with a new one, which the nodes take.
 */
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";

/** px of the window that the editor's own bars take, from its left, top, right and lower edge. */
const BARS = [80, 100, 20, 20];
/** Larger, nodes would be under the map of the canvas in its lower right corner. */
const LARGEST = 0.8;
/** px; the title bar of a node, which is above its place. */
const TITLE = 30;

/** The folder under which this pack is installed, which may have any name. */
const PACK = new URL(import.meta.url).pathname.split("/").at(-2);

/** Names that were copied; the lists of files that nodes offer are older than these. */
const copied = new Set();

/** Copy a picture; the name under which the server has it. */
async function copy(name) {
  const source = api.apiURL(`/workflow_templates/${PACK}/inputs/${encodeURIComponent(name)}`);
  const found = await fetch(source);
  if (!found.ok) throw new Error(`${source}: ${found.status}`);
  const body = new FormData();
  body.append("image", await found.blob(), name);
  const sent = await api.fetchApi("/upload/image", { method: "POST", body });
  if (!sent.ok) throw new Error(`/upload/image: ${sent.status}`);
  const kept = await sent.json();
  return kept.subfolder ? `${kept.subfolder}/${kept.name}` : kept.name;
}

/**
 * Show all of it, as large as it reads well and free of the editor's bars, from the upper left: the editor
 * itself leaves a quarter of the window empty, and texts too small to be drawn.
 */
function fit() {
  const nodes = app.graph.nodes.map(({ pos, size }) => [pos[0], pos[1] - TITLE, size[0], size[1] + TITLE]);
  const groups = app.graph.groups.map(({ pos, size }) => [...pos, ...size]);
  const boxes = [...nodes, ...groups];
  const left = Math.min(...boxes.map((box) => box[0]));
  const top = Math.min(...boxes.map((box) => box[1]));
  const right = Math.max(...boxes.map((box) => box[0] + box[2]));
  const bottom = Math.max(...boxes.map((box) => box[1] + box[3]));
  const { ds, canvas } = app.canvas;
  const origin = canvas.getBoundingClientRect();
  const width = window.innerWidth - BARS[0] - BARS[2];
  const height = window.innerHeight - BARS[1] - BARS[3];
  ds.scale = Math.min(width / (right - left), height / (bottom - top), LARGEST);
  ds.offset[0] = (BARS[0] - origin.left) / ds.scale - left;
  ds.offset[1] = (BARS[1] - origin.top) / ds.scale - top;
  app.canvas.setDirty(true, true);
}

/** Whether a template is being opened. */
let opening = false;

/** What the extension does with a workflow that is being opened. */
export const templates = {
  async beforeConfigureGraph(workflow) {
    const about = workflow?.extra?.spriteworks;
    if (!Array.isArray(about?.pictures)) return;
    opening = true;
    const wanted = about.pictures;
    // What an artist saves of it is theirs: nothing is copied when that is opened.
    delete about.pictures;
    const names = new Map();
    for (const name of wanted) {
      try {
        names.set(name, await copy(name));
        copied.add(names.get(name));
      } catch (error) {
        console.warn(`Spriteworks: the example picture ${name} could not be copied`, error);
      }
    }
    for (const node of workflow.nodes ?? [])
      if (Array.isArray(node.widgets_values))
        node.widgets_values = node.widgets_values.map((value) => names.get(value) ?? value);
  },
  loadedGraphNode(node) {
    for (const { value, options } of node.widgets ?? [])
      if (copied.has(value) && Array.isArray(options?.values) && !options.values.includes(value))
        options.values.push(value);
  },
  afterConfigureGraph() {
    // The editor's own view of it may come in the next frame.
    if (opening) requestAnimationFrame(() => requestAnimationFrame(fit));
    opening = false;
  },
};

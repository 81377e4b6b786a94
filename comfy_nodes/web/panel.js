/**
 * The part of a node that is drawn by the pack: one DOM widget at its end.
 *
 * It takes the place of the editor's own preview, which smooths small pictures.
 */
import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { words } from "./words.js";

/** px between things, and around them. */
const GAP = 6;
const NAME = "spriteworks";

const STYLE = `
.spriteworks { box-sizing: border-box; padding: ${GAP}px; overflow: auto; font: 11px sans-serif;
  color: var(--input-text, #ddd); }
.spriteworks .sw-pictures { display: flex; flex-wrap: wrap; gap: ${GAP}px; align-items: flex-end; }
.spriteworks figure { margin: 0; }
.spriteworks figcaption { margin-top: 2px; white-space: nowrap; }
.spriteworks img, .spriteworks canvas { display: block; image-rendering: pixelated;
  background: repeating-conic-gradient(#808080 0% 25%, #a0a0a0 0% 50%) 0 0 / 16px 16px; }
.spriteworks button, .spriteworks select, .spriteworks input { font: inherit;
  color: var(--input-text, #ddd); background: var(--comfy-input-bg, #222);
  border: 1px solid var(--border-color, #4e4e4e); border-radius: 4px; padding: 1px 6px; }
.spriteworks button:focus-visible, .spriteworks select:focus-visible,
.spriteworks input:focus-visible { outline: 2px solid #4a9eff; outline-offset: 1px; }
.spriteworks .sw-row { display: flex; flex-wrap: wrap; gap: ${GAP}px; align-items: center;
  margin-bottom: ${GAP}px; }
.spriteworks .sw-unsure, .spriteworks .sw-failed { color: var(--error-text, #ff6b6b); }
.spriteworks table { border-collapse: collapse; width: 100%; }
.spriteworks th, .spriteworks td { text-align: left; padding: 1px 6px 1px 0;
  border-bottom: 1px solid var(--border-color, #4e4e4e); vertical-align: top; }
.spriteworks .sw-swatch { width: 18px; height: 18px; padding: 0; border-radius: 2px; }
`;

let styled = false;

/** Bring the style of the panels into the page, once. */
export function addStyle() {
  if (styled) return;
  styled = true;
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(STYLE);
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
}

/** An element with attributes, and what is in it. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Where the server gives a picture: one of ComfyUI's, or one of ours, which has a "name". */
export function address(picture) {
  const asked = new URLSearchParams({
    filename: picture.filename ?? picture.name,
    subfolder: picture.subfolder ?? "",
    type: picture.type ?? "output",
  });
  return api.apiURL(`/view?${asked}`);
}

/** The largest whole number by which something of that width can be enlarged into a space, in px. */
export function wholeScale(width, space) {
  return Math.max(1, Math.floor(space / Math.max(1, width)));
}

/** A picture that is enlarged by a whole number into a space of that width, in px. */
export function enlarged(source, text, space, loaded = () => {}) {
  const image = make("img", { alt: text, draggable: "false" });
  image.addEventListener("load", () => {
    image.width = image.naturalWidth * wholeScale(image.naturalWidth, space);
    if (image.naturalWidth > space) image.width = space;
    loaded(image);
  });
  image.src = source;
  return image;
}

/** What a panel may do with its node. */
class Panel {
  constructor(node) {
    this.node = node;
    this.root = make("div", { class: "spriteworks", role: "region" });
    this.root.setAttribute("aria-label", words().results);
    // The canvas would take these for its own.
    for (const name of ["pointerdown", "wheel", "dblclick", "contextmenu"])
      this.root.addEventListener(name, (event) => {
        if (name !== "wheel" || this.root.scrollHeight > this.root.clientHeight + 1)
          event.stopPropagation();
      });
    this.height = 0;
    this.stops = [];
  }

  /** The width in px that pictures may take. */
  get space() {
    return Math.max(120, this.node.size[0] - 40);
  }

  /** Show something else; what played before ends. */
  fill(...children) {
    for (const stop of this.stops.splice(0)) stop();
    this.root.replaceChildren(...children);
  }

  /** Do something when what is shown now goes. */
  atEnd(stop) {
    this.stops.push(stop);
  }

  /** Make room on the node for what the panel shows, once it is there. */
  shown() {
    const measure = () => {
      const wanted = Math.min(this.root.scrollHeight, 900);
      const inner = [...this.root.children].reduce((sum, one) => sum + one.offsetHeight + GAP, GAP);
      const height = Math.min(Math.max(inner, 40), Math.max(wanted, 40));
      if (height === this.height) return;
      this.height = height;
      const [width, old] = this.node.size;
      const needed = this.node.computeSize()[1];
      if (needed > old) this.node.setSize([width, needed]);
      app.graph?.setDirtyCanvas(true, true);
    };
    requestAnimationFrame(measure);
    if (!this.watcher) {
      this.watcher = new ResizeObserver(() => requestAnimationFrame(measure));
      this.watcher.observe(this.root);
    }
    for (const image of this.root.querySelectorAll("img")) image.addEventListener("load", measure);
  }

  /** Nothing may stay of a node that is gone. */
  close() {
    this.fill();
    this.watcher?.disconnect();
  }
}

/** The panel of a node; made where it has none yet. */
export function attachPanel(node) {
  const there = node.widgets?.find((widget) => widget.name === NAME);
  if (there) return there.panel;
  addStyle();
  const panel = new Panel(node);
  const widget = node.addDOMWidget(NAME, NAME, panel.root, {
    serialize: false,
    hideOnZoom: false,
    getMinHeight: () => Math.max(40, panel.height),
  });
  widget.serialize = false;
  widget.panel = panel;
  // Both renderers: Nodes 2.0 asks the flag, the classic canvas draws pictures with this method.
  node.hideOutputImages = true;
  node.onDrawBackground = function () {};
  const removed = node.onRemoved;
  node.onRemoved = function () {
    removed?.call(this);
    panel.close();
  };
  return panel;
}

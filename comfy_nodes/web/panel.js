/**
 * The part of a node that is drawn by the pack: one DOM widget at its end.
 *
 * It takes the place of the editor's own preview, which smooths small pictures.
 */
import { api } from "../../scripts/api.js";
import { words } from "./words.js";

/** px between things, and around them. */
const GAP = 6;
const NAME = "spriteworks";

const STYLE = `
.spriteworks { box-sizing: border-box; padding: ${GAP}px; height: 100%; overflow: auto; font: 11px sans-serif;
  color: var(--input-text, #ddd); }
.spriteworks .sw-pictures { display: flex; flex-wrap: wrap; gap: ${GAP}px; align-items: flex-end; }
.spriteworks figure { margin: 0; }
.spriteworks .sw-empty { opacity: 0.6; }
.spriteworks figcaption { margin-top: 2px; white-space: nowrap; }
.spriteworks .sw-results { align-items: flex-start; }
.spriteworks .sw-results figcaption { white-space: normal; overflow-wrap: anywhere; }
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

/** The size in px at which something of that size is shown in a space: enlarged by whole numbers. */
export function shownSize(width, height, [across, down]) {
  const whole = Math.floor(Math.min(across / width, down / height));
  const scale = whole >= 1 ? whole : Math.min(across / width, down / height);
  return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
}

/** A picture in a space of [width, height] px. */
export function enlarged(source, text, space, loaded = () => {}) {
  const image = make("img", { alt: text, draggable: "false" });
  image.addEventListener("load", () => {
    [image.width, image.height] = shownSize(image.naturalWidth, image.naturalHeight, space);
    loaded(image);
  });
  image.src = source;
  return image;
}

/** What /object_info says under that name at an input of a node, or undefined. */
export function toldByInputs(node, name) {
  const { required, optional } = node.constructor?.nodeData?.input ?? {};
  const specs = Object.values({ ...required, ...optional });
  return specs.map((spec) => spec?.[1]?.[name]).find((told) => told !== undefined);
}

/** Where a node shows something; its size is the node's affair, and what is shown fits into it. */
class Panel {
  constructor(node) {
    this.node = node;
    this.root = make("div", { class: "spriteworks", role: "region", tabindex: 0 });
    this.root.setAttribute("aria-label", words().results);
    this.isEmpty = true;
    this.draw = () => [make("div", { class: "sw-empty" }, words().empty)];
    this.stops = [];
    this.size = "";
    this.watcher = new ResizeObserver(() => this.fit());
    this.watcher.observe(this.root);
    // The canvas would take these for its own.
    for (const name of ["pointerdown", "dblclick", "contextmenu"])
      this.root.addEventListener(name, (event) => event.stopPropagation());
  }

  /** px for what is shown: width and height. */
  get space() {
    const { clientWidth: width, clientHeight: height } = this.root;
    return [Math.max(80, width - 2 * GAP), Math.max(40, height - 2 * GAP)];
  }

  /** Show what that gives, an array of elements; it is asked again when there is more room. */
  show(draw) {
    this.isEmpty = false;
    this.draw = draw;
    this.redraw();
  }

  redraw() {
    for (const stop of this.stops.splice(0)) stop();
    this.root.replaceChildren(...this.draw(...this.space));
  }

  fit() {
    const size = this.space.join();
    if (size === this.size) return;
    this.size = size;
    this.redraw();
  }

  /** Do something when what is shown now goes. */
  atEnd(stop) {
    this.stops.push(stop);
  }

  /** Nothing may stay of a node that is gone. */
  close() {
    this.watcher.disconnect();
    for (const stop of this.stops.splice(0)) stop();
  }
}

/** The panel of a node, of at least that height in px; `gone` is called when the node is removed. */
export function attachPanel(node, height, gone) {
  addStyle();
  const panel = new Panel(node);
  panel.root.style.minHeight = `${height}px`;
  const widget = node.addDOMWidget(NAME, NAME, panel.root, {
    serialize: false,
    hideOnZoom: false,
    getMinHeight: () => height,
  });
  widget.serialize = false;
  // Both renderers: Nodes 2.0 asks the flag, the classic canvas draws pictures with this method.
  node.hideOutputImages = true;
  node.onDrawBackground = function () {};
  const removed = node.onRemoved;
  node.onRemoved = function () {
    removed?.call(this);
    panel.close();
    gone();
  };
  return panel;
}

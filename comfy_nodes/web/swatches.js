/**
 * The colours of a palette's text, to be seen and changed.
 *
 * A node that takes a palette says so in /object_info, at its first input:
 * {"swatches": {"input": name, "presets": {name: [colour, ...]}}}.
 */
import { app } from "../../scripts/app.js";
import { addStyle, make, toldByInputs } from "./panel.js";
import { words } from "./words.js";

/** As many as the node takes. */
const MOST = 256;
const HEX = /^#?([0-9a-f]{6}|[0-9a-f]{3})$/i;
/** A line of a palette file: three numbers, perhaps a name. */
const LINE = /^[ \t]*(\d{1,3})[ \t]+(\d{1,3})[ \t]+(\d{1,3})\b/gm;
const PICTURE = /^image\//;

export function attachSwatches(node) {
  const told = toldByInputs(node, "swatches");
  const widget = told && node.widgets?.find((one) => one.name === told.input);
  if (widget) new Swatches(node, widget, told.presets);
}

/** The colours of a text: hex ones, those of a name, or those in a .gpl or JASC .pal file. */
export function coloursOf(text, presets) {
  const typed = text.trim().replace(/^\ufeff/, "");
  if (/^(GIMP Palette|JASC-PAL)/.test(typed))
    return [...typed.matchAll(LINE)].map(([, ...rgb]) => hex(rgb.map(Number)));
  const named = Object.keys(presets).find((name) => letters(name) === letters(typed));
  if (named) return presets[named];
  const digits = typed.split(/[\s,;]+/).map((part) => HEX.exec(part)?.[1].toLowerCase());
  return digits
    .filter((one) => one !== undefined)
    .map((one) => `#${one.length === 3 ? one.replace(/./g, "$&$&") : one}`);
}

/** Names are known however they are spaced: Game Boy, game-boy. */
function letters(name) {
  return name.toLowerCase().replace(/[\s_-]/g, "");
}

function hex(rgb) {
  return `#${rgb.map((value) => Math.min(255, value).toString(16).padStart(2, "0")).join("")}`;
}

class Swatches {
  constructor(node, widget, presets) {
    addStyle();
    this.widget = widget;
    this.presets = presets;
    this.row = make("div", { class: "sw-row", role: "list", "aria-label": words().palette });
    this.status = make("div", { role: "status" });
    this.file = make("input", { type: "file", hidden: true, accept: "image/*,.hex,.gpl,.pal,.txt" });
    this.file.addEventListener("change", () => this.open(this.file.files[0]));
    const root = make("div", { class: "spriteworks" }, this.tools(), this.row, this.status);
    this.dom = node.addDOMWidget("spriteworks_palette", "spriteworks", root, {
      serialize: false,
      hideOnZoom: false,
      getMinHeight: () => this.heightFor(node.size[0]),
    });
    this.dom.serialize = false;
    const changed = widget.callback;
    widget.callback = (...values) => {
      changed?.apply(widget, values);
      this.draw();
    };
    const configured = node.onConfigure;
    node.onConfigure = (...values) => {
      configured?.apply(node, values);
      this.draw();
    };
    widget.inputEl?.addEventListener("input", () => this.draw());
    this.draw();
  }

  get colours() {
    return coloursOf(String(this.widget.value ?? ""), this.presets);
  }

  heightFor(width) {
    const across = Math.max(1, Math.floor((width - 32) / 24));
    return 48 + 24 * Math.min(4, Math.ceil((this.colours.length + 1) / across));
  }

  tools() {
    const names = ["", ...Object.keys(this.presets)];
    const options = names.map((name) => make("option", { value: name }, name || words().preset));
    const chosen = (event) => {
      if (event.target.value) this.set(event.target.value);
      event.target.value = "";
    };
    const open = () => this.file.click();
    return make(
      "div",
      { class: "sw-row" },
      make("select", { "aria-label": words().preset, onchange: chosen }, ...options),
      make("button", { type: "button", onclick: open, title: words().fromFileHelp }, words().fromFile),
      this.file,
    );
  }

  set(text) {
    this.widget.value = text;
    this.widget.callback?.(text);
    app.graph?.setDirtyCanvas(true, true);
    this.draw();
  }

  async open(file) {
    if (!file) return;
    this.file.value = "";
    try {
      if (PICTURE.test(file.type)) this.set((await coloursIn(file)).join(" "));
      else this.set(await file.text());
      this.status.textContent = "";
    } catch (error) {
      this.status.textContent = error.message;
    }
  }

  draw() {
    const colours = this.colours;
    const swatches = colours.slice(0, MOST).map((colour, index) => this.swatch(colours, index));
    const add = { type: "button", "aria-label": words().addColour, onclick: () => this.add() };
    this.row.replaceChildren(...swatches, make("button", add, "+"));
  }

  add() {
    this.set([...this.colours, this.colours.at(-1) ?? "#000000"].join(" "));
    this.row.querySelectorAll("input").item(this.colours.length - 1)?.focus();
  }

  swatch(colours, index) {
    const colour = colours[index];
    const input = make("input", {
      type: "color",
      class: "sw-swatch",
      value: colour,
      title: `${colour}. ${words().removeColour}`,
      "aria-label": `${words().colour} ${index + 1}: ${colour}`,
    });
    input.addEventListener("change", () => this.replace(index, [input.value]));
    input.addEventListener("keydown", (event) => {
      if (event.key !== "Delete" && event.key !== "Backspace") return;
      event.preventDefault();
      event.stopPropagation();
      this.replace(index, []);
    });
    return make("span", { role: "listitem" }, input);
  }

  replace(index, colours) {
    const changed = [...this.colours];
    changed.splice(index, 1, ...colours);
    this.set(changed.join(" "));
    this.row.querySelectorAll("input").item(Math.min(index, changed.length - 1))?.focus();
  }
}

/** The colours that can be seen in a picture, from the most to the least common. */
async function coloursIn(file) {
  const picture = await createImageBitmap(file, { colorSpaceConversion: "none" });
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  const place = canvas.getContext("2d");
  place.drawImage(picture, 0, 0);
  const { data } = place.getImageData(0, 0, picture.width, picture.height);
  const counts = new Map();
  for (let at = 0; at < data.length; at += 4) {
    if (data[at + 3] < 128) continue;
    const colour = (data[at] << 16) | (data[at + 1] << 8) | data[at + 2];
    counts.set(colour, (counts.get(colour) ?? 0) + 1);
  }
  if (!counts.size || counts.size > MOST) throw new Error(words().tooManyColours(counts.size, MOST));
  const ordered = [...counts.entries()].sort((one, other) => other[1] - one[1]);
  return ordered.map(([colour]) => `#${colour.toString(16).padStart(6, "0")}`);
}

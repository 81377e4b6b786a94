/** Before and after of a node that changes pictures, and what it found in them. */
import { address, make, shownSize } from "./panel.js";
import { words } from "./words.js";

/** px; a line of text. */
const LINE = 18;

export function showComparison(panel, entries) {
  const before = entries.flatMap((one) => one.before);
  const after = entries.flatMap((one) => one.after);
  const found = entries.flatMap((one) => one.found);
  const count = entries.reduce((sum, one) => sum + one.count, 0);
  let at = 0;
  const draw = (width, height) => {
    const rows = [];
    if (after.length > 1) rows.unshift(chooser());
    if (found[at]) rows.push(make("div", { role: "status" }, ...told(found[at])));
    if (count > after.length) rows.push(make("div", {}, words().more(count - after.length)));
    const half = [Math.floor((width - 6) / 2), Math.max(40, height - LINE * (1 + 1.5 * rows.length))];
    // Both as large as the true pixels are shown, so that they can be compared.
    const size = after[at] ? shownSize(after[at].width, after[at].height, half) : half;
    const pictures = make(
      "div",
      { class: "sw-pictures" },
      side(before[at], words().before, size),
      side(after[at], words().after, size),
    );
    rows.splice(after.length > 1 ? 1 : 0, 0, pictures);
    return rows;
  };
  const chooser = () => {
    const go = (step) => () => {
      at = (at + step + after.length) % after.length;
      panel.redraw();
      panel.root.querySelector(step < 0 ? ".sw-back" : ".sw-on")?.focus();
    };
    const back = { type: "button", class: "sw-back", "aria-label": words().previous };
    const on = { type: "button", class: "sw-on", "aria-label": words().next };
    return make(
      "div",
      { class: "sw-row" },
      make("button", { ...back, onclick: go(-1) }, "◀"),
      make("span", { "aria-live": "polite" }, words().picture(at + 1, after.length)),
      make("button", { ...on, onclick: go(1) }, "▶"),
    );
  };
  panel.show(draw);
}

function side(picture, title, [width, height]) {
  if (!picture) return make("span");
  const size = `${picture.width} × ${picture.height}`;
  const image = { src: address(picture), alt: `${title}, ${size}`, width, height, draggable: "false" };
  return make("figure", {}, make("img", image), make("figcaption", {}, `${title} ${size}`));
}

/** What Snap says of a grid; other nodes say nothing yet. */
function told(found) {
  if (!("pitch" in found)) return [];
  const [x, y] = found.pitch.map((value) => Number(value.toFixed(2)));
  const confidence = Math.round(100 * found.confidence);
  const said = words().grid(x, y, found.width, found.height, found.colours, confidence);
  if (found.sure) return [said];
  return [said, " ", make("strong", { class: "sw-unsure" }, words().unsure)];
}

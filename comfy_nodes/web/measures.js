/** What a node measured of pictures, as a table, with what mends each fault. */
import { make } from "./panel.js";
import { words } from "./words.js";

export function showMeasures(panel, entries) {
  const pictures = entries.flatMap((one) => one.pictures);
  const passed = pictures.filter((one) => one.passed).length;
  panel.show(() => [
    make("div", { role: "status" }, words().passed(passed, pictures.length)),
    ...pictures.map((one, index) => table(one, index, pictures.length)),
  ]);
}

function table(picture, index, count) {
  const rows = [...picture.measures]
    .sort((one, other) => Number(one.passed) - Number(other.passed))
    .filter((one) => one.value !== null);
  const caption = words().picture(index + 1, count);
  const details = make("details", { open: count === 1 || !picture.passed });
  details.append(
    make("summary", {}, `${picture.passed ? "✓" : "✗"} ${caption}`),
    make(
      "table",
      { "aria-label": caption },
      make("thead", {}, row("th", words().measure, words().value, words().bound, words().mend)),
      make("tbody", {}, ...rows.map(measure)),
    ),
  );
  return details;
}

function measure(one) {
  const made = row("td", one.name.replaceAll("_", " "), number(one.value), bound(one), one.mend ?? "");
  if (!one.passed) made.className = "sw-failed";
  return made;
}

function row(tag, ...texts) {
  return make("tr", {}, ...texts.map((text) => make(tag, {}, text)));
}

function number(value) {
  return String(Number(value.toPrecision(4)));
}

function bound({ min, max }) {
  if (min != null && max != null) return min === max ? `= ${min}` : `${min} – ${max}`;
  if (min != null) return `≥ ${min}`;
  return max == null ? "" : `≤ ${max}`;
}

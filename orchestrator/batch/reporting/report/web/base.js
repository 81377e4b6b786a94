// The page's data, and what every part of it uses. Works on the JSON that report/data.py writes;
// texts go in as text only, never as HTML. The files of this folder are one script, see page.py.
const PAGE = 200;
const data = JSON.parse(document.getElementById("data").textContent);
const { words } = data;
const at = id => document.getElementById(id);

const pictures = data.pictures.map(one => {
  const [name, item, state, seed, values, files, attempts, reason, roll] = one;
  return { name, item, state: words[state], seed, values, files, attempts,
    reason: words[reason], roll, hay: "" };
});
const attempts = data.attempts.map(one => {
  const [server, outcome, began, ms, failure, error, degraded, size, spans] = one;
  return { server: words[server], outcome: words[outcome], began, ms, size, spans,
    failure: words[failure], error: words[error], degraded: words[degraded] };
});
const shared = Object.entries(data.shared);
const sharedHay = shared.map(([name, value]) => `${name}=${value}`).join("\n").toLowerCase();

function parameters(picture) {
  const own = data.parameters.map((name, index) => [name, picture.values[index]]);
  return [...own.filter(([, value]) => value !== null), ...shared];
}

function make(tag, options = {}, ...children) {
  const made = Object.assign(document.createElement(tag), options);
  made.append(...children);
  return made;
}

const link = path => path.split("/").map(encodeURIComponent).join("/");
const count = number => number.toLocaleString("en");

function duration(ms) {
  if (ms === null) return "";
  if (ms < 1000) return `${ms} ms`;
  const seconds = ms / 1000;
  if (seconds < 100) return `${Number(seconds.toPrecision(3))} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

function promptOf(picture) {
  const found = parameters(picture).find(([name]) => name === "prompt");
  return found ? String(found[1]) : "";
}

function described(picture) {
  const prompt = promptOf(picture);
  return prompt ? `${picture.name}: ${prompt}` : picture.name;
}

// The prompt without what all prompts of the batch have in common, as report/captions.py says.
function captionOf(picture) {
  const prompt = promptOf(picture), [before, after] = data.caption;
  if (!before && !after) return prompt;
  const own = prompt.slice(before, prompt.length - after).replace(/^[ ,]+|[ ,]+$/g, "");
  return before && prompt ? `… ${own}` : own;
}

function seedOf(picture) {
  return picture.seed === null ? "" : `seed ${picture.seed}`;
}

// One pixel of a picture in CSS pixels, so that it is a whole number of the screen's own.
const unit = () => Math.max(1, Math.round(devicePixelRatio)) / devicePixelRatio;

// "fit": enlarged by a whole number, or shrunk smoothly; a number: so many times as large.
function scale(image, width, height, roomX, roomY, times = "fit") {
  const whole = Math.floor(Math.min(roomX / width, roomY / height) / unit());
  const fitting = whole >= 1 ? whole * unit() : Math.min(roomX / width, roomY / height);
  const factor = times === "fit" ? fitting : times * unit();
  image.classList.toggle("enlarged", factor >= unit());
  image.classList.toggle("exact", times !== "fit");
  image.style.width = `${Math.max(1, width * factor)}px`;
  image.style.height = `${Math.max(1, height * factor)}px`;
}

// Radio buttons for how large pixels are; `changed` gets "fit" or a number.
function scales(fieldset, chosen, changed) {
  for (const [value, text] of [["fit", "fit"], [1, "true size"], [4, "4×"]]) {
    const input = make("input", { type: "radio", name: fieldset.id, value: String(value),
      checked: value === chosen });
    input.addEventListener("change", () => changed(value));
    fieldset.append(make("label", {}, input, text));
  }
}

// Buttons of which one is pressed: [value, text, class of its dot or ""].
function choices(group, options, chosen, changed) {
  group.replaceChildren(...options.map(([value, text, dot]) => {
    const button = make("button", { type: "button" });
    if (dot) button.append(make("i", { className: `dot ${dot}` }));
    button.append(text);
    button.setAttribute("aria-pressed", value === chosen);
    button.dataset.value = value;
    button.addEventListener("click", () => {
      for (const other of group.children) other.setAttribute("aria-pressed", other === button);
      changed(value);
    });
    return button;
  }));
}

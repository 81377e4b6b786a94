// Two pictures side by side: two seeds of one text, or any two.
const MOST = 300;
let against = null, held = null;

function compareButton(picture) {
  const button = make("button", { type: "button", title: "Compare (C)" }, "⇄");
  button.dataset.compare = picture.name;
  button.setAttribute("aria-label", `Compare ${picture.name}`);
  button.setAttribute("aria-pressed", held === picture);
  button.addEventListener("click", () => hold(picture));
  return button;
}

// The first picture of two is held until the second is chosen.
function hold(picture) {
  if (!picture.files.length) return;
  const first = held;
  held = first ? null : picture;
  for (const button of sheet.querySelectorAll("[data-compare]")) {
    button.setAttribute("aria-pressed", held !== null && button.dataset.compare === held.name);
  }
  at("held").value = held ? `${held.name} is held: choose the picture to compare it with.` : "";
  if (first && first !== picture) {
    if (!chosen.includes(first)) chosen = pictures;
    show(chosen.indexOf(first));
    compare(picture);
  }
}

// Pictures with the same text and parameters, whose seeds differ; else those that are on the sheet.
function others(picture) {
  const values = JSON.stringify(picture.values);
  const there = one => one !== picture && one.files.length > 0;
  const seeds = pictures.filter(one => there(one) && one.item === picture.item
    && JSON.stringify(one.values) === values);
  if (seeds.length) return seeds;
  const first = Math.max(0, Math.min(open - MOST / 2, chosen.length - MOST));
  return chosen.slice(first, first + MOST).filter(there);
}

function compareWith(by) {
  const all = others(chosen[open]);
  const place = all.indexOf(against);
  if (all.length) compare(all[(place + by + all.length) % all.length]);
}

function toggleComparing() {
  if (against) {
    show(open);
    at("compare").focus();
    return;
  }
  const all = others(chosen[open]);
  // The seed after this one.
  const after = all.find(one => pictures.indexOf(one) > pictures.indexOf(chosen[open]));
  if (all.length) compare(after || all[0]);
  else at("zoom-name").textContent = `${chosen[open].name}: there is no other picture`;
}

function compare(second) {
  const first = chosen[open];
  against = second;
  at("compare").setAttribute("aria-pressed", "true");
  at("zoom-name").textContent = `${first.name} and ${second.name}`;
  at("zoom-marks").replaceChildren();
  at("earlier").disabled = at("later").disabled = false;
  at("zoom-facts").replaceChildren(make("h3", {}, "What differs"), differences(first, second),
    make("p", { className: "quiet" }, "← and → show the next seed on the right."));
  compareStage(first, second);
}

function compareStage(first, second) {
  const stage = at("zoom-stage");
  stage.classList.remove("without");
  stage.classList.add("two");
  const choice = whichSecond(first, second);
  const height = Math.max(80, stage.clientHeight - 110);
  stage.replaceChildren(...[first, second].map((picture, index) => {
    const [path, wide, high] = picture.files[0];
    const image = make("img", { alt: described(picture), src: link(path) });
    scale(image, wide, high, stage.clientWidth / 2 - 24, height, zoomTimes);
    const figure = make("figure", {}, make("div", { className: "side" }, image),
      make("figcaption", {}, make("span", { className: "prompt" }, captionOf(picture)),
        index ? choice : make("span", { className: "name" }, picture.name),
        make("span", { className: "name" }, seedOf(picture))));
    if (canMark(picture)) {
      figure.append(make("span", { className: "choices" }, ...markButtons(picture, figure)));
    }
    return figure;
  }));
}

function whichSecond(first, second) {
  const all = others(first);
  const select = make("select", { id: "second" });
  select.setAttribute("aria-label", "Compare with");
  for (const one of all.includes(second) ? all : [second, ...all]) {
    select.append(new Option(one.name, one.name, false, one === second));
  }
  select.addEventListener("change", () => {
    compare(pictures.find(one => one.name === select.value));
    at("second").focus();
  });
  return select;
}

function differences(first, second) {
  const facts = picture => new Map([["seed", picture.seed], ...parameters(picture),
    ["rolled again", picture.roll || ""],
    ["size", picture.files[0].slice(1, 3).join(" × ")], ...measuredOf(picture)]);
  const ours = facts(first), theirs = facts(second);
  const rows = [...new Set([...ours.keys(), ...theirs.keys()])]
    .filter(name => ours.get(name) !== theirs.get(name))
    .map(name => make("tr", {}, make("th", { scope: "row" }, name),
      ...[ours, theirs].map(one => make("td", {}, String(one.get(name) ?? "–")))));
  if (!rows.length) return make("p", {}, "Nothing that is known of them.");
  const head = make("tr", {}, ...["", first.name, second.name].map(text =>
    make("th", { scope: "col" }, text)));
  return make("table", { className: "differences" }, make("thead", {}, head),
    make("tbody", {}, ...rows));
}

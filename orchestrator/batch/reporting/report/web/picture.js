// One picture, large, with how it was made; or two of them side by side.
const zoom = at("zoom");
let open = -1, zoomTimes = "fit";

function list(rows) {
  return make("dl", { className: "parameters" }, ...rows
    .filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, String(value)))));
}

function stageOf(picture) {
  const stage = at("zoom-stage");
  stage.classList.toggle("without", !picture.files.length);
  stage.classList.remove("two");
  if (!picture.files.length) {
    stage.replaceChildren(`This picture is not there: it is ${picture.state}.`);
    return;
  }
  const many = picture.files.length;
  stage.replaceChildren(...picture.files.map(([path, width, height]) => {
    const image = make("img", { alt: described(picture), src: link(path) });
    scale(image, width, height, stage.clientWidth / Math.min(many, 2) - 16,
      stage.clientHeight - 16, zoomTimes);
    return image;
  }));
}

function tryOf(number, index) {
  const one = attempts[number];
  const began = new Date(one.began * 1000).toLocaleString();
  const parts = [`${index + 1}. ${one.outcome}`, one.failure, duration(one.ms),
    one.size > 1 ? `one graph for ${one.size} pictures` : ""].filter(Boolean);
  const made = make("div", { className: "try" }, make("p", {}, parts.join(" · ")),
    make("p", { className: "quiet" }, `${one.server}, ${began}`));
  if (one.degraded) made.append(make("p", {}, `made easier: ${one.degraded}`));
  if (one.error) made.append(make("p", { className: "error" }, one.error));
  return made;
}

function timingsOf(picture) {
  const last = [...picture.attempts].reverse().find(one => attempts[one].spans.length);
  if (last === undefined) return [];
  const { spans } = attempts[last];
  const pairs = [];
  for (let index = 0; index < spans.length; index += 2) {
    pairs.push([words[spans[index]], spans[index + 1]]);
  }
  const most = Math.max(1, ...pairs.map(([, ms]) => ms));
  const rows = pairs.map(([name, ms]) => {
    const bar = make("b");
    bar.style.width = `${ms / most * 100}%`;
    return make("div", { className: "share" }, make("span", { title: name }, name),
      make("span", {}, bar), make("span", {}, duration(ms)));
  });
  return [make("h3", {}, "Timings"), ...rows];
}

const measuredOf = picture => picture.files.flatMap(([, , , , values]) => Object.entries(values)
  .map(([name, value]) => [name, Number(value.toPrecision(4))]));

function factsOf(picture) {
  const files = picture.files.map(([path, width, height, bytes]) =>
    [path, `${width} × ${height} pixels, ${count(bytes)} bytes`]);
  const facts = [
    make("h3", {}, "Parameters"),
    list([["seed", picture.seed], ...parameters(picture)]),
    make("h3", {}, "Picture"),
    list([["state", picture.state], ["reason", picture.reason], ["item", picture.item],
      ["rolled again", picture.roll || ""], ...files, ...measuredOf(picture)]),
  ];
  if (picture.attempts.length) {
    facts.push(make("h3", {}, picture.attempts.length > 1 ? "Attempts" : "Attempt"),
      ...picture.attempts.map(tryOf));
  }
  return [...facts, ...timingsOf(picture)];
}

function show(index) {
  const picture = chosen[index];
  if (!picture) return;
  open = index;
  against = null;
  at("zoom-name").textContent = picture.name;
  at("zoom-marks").replaceChildren(
    ...(canMark(picture) ? markButtons(picture, at("zoom-marks")) : []));
  at("compare").hidden = !picture.files.length;
  at("compare").setAttribute("aria-pressed", "false");
  at("zoom-facts").replaceChildren(...factsOf(picture));
  at("zoom-facts").scrollTop = 0;
  at("earlier").disabled = index === 0;
  at("later").disabled = index === chosen.length - 1;
  if (!zoom.open) zoom.showModal();
  stageOf(picture);
  at("zoom-name").focus();
  history.replaceState(null, "", `#/${encodeURIComponent(picture.name)}`);
}

function redraw() {
  if (!zoom.open) return;
  if (against) compareStage(chosen[open], against);
  else stageOf(chosen[open]);
}

function closed() {
  history.replaceState(null, "", location.pathname + location.search);
  const wanted = Math.floor(open / PAGE);
  if (wanted !== page) turn(wanted);
  const tileOpen = sheet.querySelector(`[data-index="${open}"]`);
  if (tileOpen) tileOpen.focus();
}

function keyOnPicture(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select")) return;
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const marked = event.target.closest("[data-name]");
  // Of two pictures the one that the focus is at.
  const name = against ? marked && marked.dataset.name : chosen[open].name;
  if (by && against) compareWith(by);
  else if (by) show(open + by);
  else if (byKey(event) && name) mark(pictures.find(one => one.name === name), byKey(event));
  else if (event.key.toUpperCase() === "C" && !at("compare").hidden) toggleComparing();
  else return;
  event.preventDefault();
}

// A link to one picture: report.html#/potion-red-100
function follow() {
  if (!location.hash.startsWith("#/")) return;
  let name = location.hash.slice(2);
  try {
    name = decodeURIComponent(name);
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
  }
  const is = picture => picture.name === name;
  if (!pictures.some(is)) return;
  if (!chosen.some(is)) chosen = pictures;
  const index = chosen.findIndex(is);
  turn(Math.floor(index / PAGE));
  show(index);
}

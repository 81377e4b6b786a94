// The pictures, 200 on a page.
const sheet = at("sheet");
let chosen = pictures, page = 0, state = "", opinion = "", cell = 128, times = "fit";

function haystack(picture) {
  if (!picture.hay) {
    const set = data.parameters.map((name, index) => `${name}=${picture.values[index]}`);
    picture.hay = [picture.name, picture.item, `seed=${picture.seed}`, picture.state,
      picture.reason, ...set].join("\n").toLowerCase();
  }
  return picture.hay;
}

function hasOpinion(picture) {
  if (!opinion) return true;
  const verdict = opinions.get(picture.name);
  return opinion === "none" ? !verdict && canMark(picture) : verdict === opinion;
}

function choose() {
  const terms = at("text").value.toLowerCase().split(/\s+/).filter(Boolean)
    .filter(term => !sharedHay.includes(term));
  chosen = pictures.filter(picture => (!state || picture.state === state) && hasOpinion(picture)
    && terms.every(term => haystack(picture).includes(term)));
  page = 0;
  draw();
}

function stageOfTile(picture, room) {
  const [file] = picture.files;
  if (!file) {
    const button = make("button", { type: "button", className: `stage state-${picture.state}` },
      picture.state);
    button.setAttribute("aria-label", `${described(picture)}, ${picture.state}`);
    return button;
  }
  const [path, width, height] = file;
  const image = make("img", { loading: "lazy", decoding: "async", alt: described(picture) });
  scale(image, width, height, room, room, times);
  const stage = make("a",
    { className: `stage has-picture state-${picture.state}`, href: link(path) }, image);
  image.addEventListener("error", () => {
    image.classList.add("lost");
    stage.append("file is missing");
  });
  image.src = link(path);
  return stage;
}

function caption(picture) {
  const prompt = captionOf(picture);
  const made = make("figcaption", { title: described(picture) });
  if (prompt) made.append(make("span", { className: "prompt" }, prompt));
  // The name mostly ends in the seed already.
  const seed = picture.seed !== null && picture.name.includes(picture.seed) ? "" : seedOf(picture);
  made.append(make("span", { className: "name" }, [picture.name, seed].filter(Boolean).join(" · ")));
  return made;
}

function tile(picture, index, room) {
  const figure = make("figure");
  const stage = stageOfTile(picture, room);
  stage.dataset.index = index;
  stage.title = described(picture);
  figure.append(stage, caption(picture));
  if (canMark(picture)) {
    figure.append(make("span", { className: "marks" }, ...markButtons(picture, figure),
      compareButton(picture)));
  }
  return figure;
}

// In CSS pixels: the slider's, or what the largest picture here needs.
function room(here) {
  if (times === "fit") return cell;
  const sides = here.flatMap(({ files }) => files.slice(0, 1).flatMap(([, w, h]) => [w, h]));
  const largest = sides.reduce((most, side) => Math.max(most, side), 0) * times * unit();
  return Math.ceil(Math.min(Math.max(largest, 64), sheet.clientWidth - 2));
}

function draw() {
  const pages = Math.max(1, Math.ceil(chosen.length / PAGE));
  page = Math.min(Math.max(page, 0), pages - 1);
  const first = page * PAGE, here = chosen.slice(first, first + PAGE);
  const size = room(here);
  sheet.style.setProperty("--cell", `${size}px`);
  sheet.replaceChildren(...here.map((picture, index) => tile(picture, first + index, size)));
  if (!here.length) sheet.append(make("p", { className: "empty" }, "No picture fits this filter."));
  at("shown").value = here.length
    ? `${count(first + 1)}–${count(first + here.length)} of ${count(chosen.length)}`
      + (chosen.length < pictures.length ? ` (${count(pictures.length)} in all)` : "")
    : `0 of ${count(pictures.length)}`;
  at("page").value = page + 1;
  at("page").max = pages;
  at("pages").textContent = `of ${count(pages)}`;
  at("previous").disabled = page === 0;
  at("next").disabled = page === pages - 1;
}

function turn(to) {
  page = to;
  draw();
}

function listStates() {
  const counts = new Map();
  for (const picture of pictures) counts.set(picture.state, (counts.get(picture.state) || 0) + 1);
  const options = [["", pictures.length], ...counts].map(([name, number]) =>
    [name, `${name || "all"} ${count(number)}`, name ? `state-${name}` : ""]);
  choices(at("states"), options, state, value => { state = value; choose(); });
  choices(at("opinions"), ["", "pick", "reject", "none"].map(value => [value, "", ""]), opinion,
    value => { opinion = value; choose(); });
}

// Arrow keys go from picture to picture; letters say what is thought of it.
function keyOnSheet(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const tiles = [...sheet.querySelectorAll(".stage")];
  const here = tiles.indexOf(event.target.closest("figure")?.querySelector(".stage"));
  if (here < 0) return;
  const columns = tiles.filter(one => one.offsetTop === tiles[0].offsetTop).length;
  const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
  const target = by && tiles[here + by];
  const picture = chosen[Number(tiles[here].dataset.index)];
  if (target) target.focus();
  else if (byKey(event)) mark(picture, byKey(event));
  else if (event.key.toUpperCase() === "C") hold(picture);
  else return;
  event.preventDefault();
}

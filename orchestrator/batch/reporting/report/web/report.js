"use strict";
// Works on the JSON that report_data.py writes. Texts go in as text only, never as HTML.
(() => {
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

  // ------------------------------------------------------------------ small things

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

  // Whole pixels stay whole: enlarged by a whole number, or shrunk smoothly.
  function scale(image, width, height, roomX, roomY) {
    const times = Math.floor(Math.min(roomX / width, roomY / height));
    const factor = times >= 1 ? times : Math.min(roomX / width, roomY / height);
    image.classList.toggle("enlarged", times >= 1);
    image.width = Math.max(1, Math.round(width * factor));
    image.height = Math.max(1, Math.round(height * factor));
  }

  // ------------------------------------------------------------------ the sheet

  const sheet = at("sheet");
  let chosen = pictures, page = 0, state = "", cell = 128;

  function haystack(picture) {
    if (!picture.hay) {
      const set = data.parameters.map((name, index) => `${name}=${picture.values[index]}`);
      picture.hay = [picture.name, picture.item, `seed=${picture.seed}`, picture.state,
        picture.reason, ...set].join("\n").toLowerCase();
    }
    return picture.hay;
  }

  function choose() {
    const terms = at("text").value.toLowerCase().split(/\s+/).filter(Boolean)
      .filter(term => !sharedHay.includes(term));
    chosen = pictures.filter(picture => (!state || picture.state === state)
      && terms.every(term => haystack(picture).includes(term)));
    page = 0;
    draw();
  }

  function tile(picture, index) {
    const [file] = picture.files;
    let stage;
    if (file) {
      const [path, width, height] = file;
      const image = make("img", { loading: "lazy", decoding: "async", alt: described(picture) });
      scale(image, width, height, cell, cell);
      image.addEventListener("error", () => {
        image.classList.add("lost");
        stage.append("file is missing");
      });
      image.src = link(path);
      stage = make("a", { className: `stage has-picture state-${picture.state}`, href: link(path) },
        image);
    } else {
      stage = make("button", { type: "button", className: `stage state-${picture.state}` },
        picture.state);
      stage.setAttribute("aria-label", `${described(picture)}, ${picture.state}`);
    }
    stage.dataset.index = index;
    stage.title = described(picture);
    return make("figure", {}, stage, make("figcaption", {}, picture.name));
  }

  function draw() {
    const pages = Math.max(1, Math.ceil(chosen.length / PAGE));
    page = Math.min(Math.max(page, 0), pages - 1);
    const first = page * PAGE, here = chosen.slice(first, first + PAGE);
    sheet.style.setProperty("--cell", `${cell}px`);
    sheet.replaceChildren(...here.map((picture, index) => tile(picture, first + index)));
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
    for (const [name, number] of [["", pictures.length], ...counts]) {
      const button = make("button", { type: "button" });
      if (name) button.append(make("i", { className: `dot state-${name}` }));
      button.append(`${name || "all"} ${count(number)}`);
      button.setAttribute("aria-pressed", name === state);
      button.addEventListener("click", () => {
        state = name;
        for (const other of at("states").children) {
          other.setAttribute("aria-pressed", other === button);
        }
        choose();
      });
      at("states").append(button);
    }
  }

  // Arrow keys go from picture to picture.
  function step(event) {
    const tiles = [...sheet.querySelectorAll(".stage")];
    const here = tiles.indexOf(document.activeElement);
    if (here < 0) return;
    const columns = tiles.filter(one => one.offsetTop === tiles[0].offsetTop).length;
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
    const target = by && tiles[here + by];
    if (target) {
      event.preventDefault();
      target.focus();
    }
  }

  // ------------------------------------------------------------------ one picture

  const zoom = at("zoom");
  let open = -1;

  function list(rows) {
    return make("dl", { className: "parameters" }, ...rows
      .filter(([, value]) => value !== null && value !== undefined && value !== "")
      .map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, String(value)))));
  }

  function stageOf(picture) {
    const stage = at("zoom-stage");
    stage.classList.toggle("without", !picture.files.length);
    if (!picture.files.length) {
      stage.replaceChildren(`This picture is not there: it is ${picture.state}.`);
      return;
    }
    const room = picture.files.length;
    stage.replaceChildren(...picture.files.map(([path, width, height]) => {
      const image = make("img", { alt: described(picture), src: link(path) });
      scale(image, width, height, stage.clientWidth / Math.min(room, 2) - 16,
        stage.clientHeight - 16);
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

  function show(index) {
    const picture = chosen[index];
    if (!picture) return;
    open = index;
    at("zoom-name").textContent = picture.name;
    const files = picture.files.map(([path, width, height, bytes]) =>
      [path, `${width} × ${height} pixels, ${count(bytes)} bytes`]);
    const measured = picture.files.flatMap(([, , , , values]) => Object.entries(values)
      .map(([name, value]) => [name, Number(value.toPrecision(4))]));
    const facts = [
      make("h3", {}, "Parameters"),
      list([["seed", picture.seed], ...parameters(picture)]),
      make("h3", {}, "Picture"),
      list([["state", picture.state], ["reason", picture.reason], ["item", picture.item],
        ["rolled again", picture.roll || ""], ...files, ...measured]),
    ];
    if (picture.attempts.length) {
      facts.push(make("h3", {}, picture.attempts.length > 1 ? "Attempts" : "Attempt"),
        ...picture.attempts.map(tryOf));
    }
    at("zoom-facts").replaceChildren(...facts, ...timingsOf(picture));
    at("zoom-facts").scrollTop = 0;
    at("earlier").disabled = index === 0;
    at("later").disabled = index === chosen.length - 1;
    if (!zoom.open) zoom.showModal();
    stageOf(picture);
    at("zoom-name").focus();
    history.replaceState(null, "", `#/${encodeURIComponent(picture.name)}`);
  }

  function closed() {
    history.replaceState(null, "", location.pathname + location.search);
    const wanted = Math.floor(open / PAGE);
    if (wanted !== page) turn(wanted);
    const tileOpen = sheet.querySelector(`[data-index="${open}"]`);
    if (tileOpen) tileOpen.focus();
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

  // ------------------------------------------------------------------ wiring

  cell = Math.min(384, Math.max(64, Math.round(data.cell / 32) * 32));
  if (matchMedia("(max-width: 760px)").matches) cell = Math.min(cell, 96);
  at("size").value = cell;
  at("size").addEventListener("input", () => { cell = Number(at("size").value); draw(); });
  at("filters").addEventListener("submit", event => event.preventDefault());
  at("text").addEventListener("input", choose);
  at("previous").addEventListener("click", () => turn(page - 1));
  at("next").addEventListener("click", () => turn(page + 1));
  at("page").addEventListener("change", () => turn(Number(at("page").value) - 1));
  sheet.addEventListener("keydown", step);
  sheet.addEventListener("click", event => {
    const stage = event.target.closest(".stage");
    // With a modifier key the link does what the browser does: a new tab, a download.
    if (!stage || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    show(Number(stage.dataset.index));
  });
  at("earlier").addEventListener("click", () => show(open - 1));
  at("later").addEventListener("click", () => show(open + 1));
  at("close").addEventListener("click", () => zoom.close());
  zoom.addEventListener("close", closed);
  zoom.addEventListener("click", event => { if (event.target === zoom) zoom.close(); });
  zoom.addEventListener("keydown", event => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by) {
      event.preventDefault();
      show(open + by);
    }
  });
  document.addEventListener("keydown", event => {
    if (event.key !== "/" || zoom.open || event.target.matches("input")) return;
    event.preventDefault();
    at("text").focus();
  });
  addEventListener("hashchange", follow);
  addEventListener("resize", () => { if (zoom.open) stageOf(chosen[open]); });
  for (const id of ["filters", "pager", "sheet"]) at(id).hidden = false;
  listStates();
  draw();
  follow();
})();

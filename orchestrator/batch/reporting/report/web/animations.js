// Frames played, 12 animations on a page. Files that are animated themselves, such as GIFs, the
// browser plays.
const PLAYERS = 12;
const animations = data.animations.map(([name, frames, ms, pingpong, loop]) =>
  ({ name, frames, ms, pingpong, loop }));
const still = matchMedia("(prefers-reduced-motion: reduce)");
let players = [], firstPlayer = 0, playing = !still.matches, ticking = 0;

class Player {
  constructor(animation) {
    const { frames, name } = animation;
    this.animation = animation;
    this.width = Math.max(...frames.map(([, width]) => width));
    this.height = Math.max(...frames.map(([, , height]) => height));
    const back = animation.pingpong ? [...frames.keys()].slice(1, -1).reverse() : [];
    this.order = [...frames.keys(), ...back];
    this.at = 0;
    this.since = 0;
    this.plays = playing;
    this.seen = false;
    this.images = null;
    this.canvas = make("canvas", { width: this.width, height: this.height });
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", `${name}: ${frames.length} frames`);
    this.button = make("button", { type: "button" });
    this.button.addEventListener("click", () => this.set(!this.plays));
    this.slider = make("input", { type: "range", min: 0, max: frames.length - 1, value: 0 });
    this.slider.setAttribute("aria-label", `Frame of ${name}`);
    this.slider.addEventListener("input", () => {
      this.set(false);
      this.at = Number(this.slider.value);
      this.paint();
    });
    this.text = make("span", { className: "name" });
    this.element = make("figure", {}, make("div", { className: "stage has-picture" }, this.canvas),
      make("figcaption", {}, make("span", { className: "prompt" }, name), this.text),
      make("span", { className: "controls" }, this.button, this.slider));
    this.element.player = this;
    this.size();
    this.set(this.plays);
  }

  size() {
    scale(this.canvas, this.width, this.height, 192, 192, times);
  }

  set(plays) {
    this.plays = plays;
    this.since = 0;
    // One that stopped at its end begins anew.
    if (plays && this.at === this.order.length - 1 && !this.animation.loop) this.at = 0;
    this.button.textContent = plays ? "Pause" : "Play";
    this.button.setAttribute("aria-label", `${plays ? "Pause" : "Play"} ${this.animation.name}`);
    tick();
  }

  // Frames are loaded once the animation is on the screen.
  see(seen) {
    this.seen = seen;
    if (seen && !this.images) {
      this.images = this.animation.frames.map(([path]) => {
        const image = make("img", { src: link(path) });
        image.addEventListener("load", () => this.paint());
        return image;
      });
    }
    this.since = 0;
    tick();
  }

  paint() {
    const frame = this.order[this.at], image = this.images && this.images[frame];
    const pen = this.canvas.getContext("2d");
    pen.clearRect(0, 0, this.width, this.height);
    if (image && image.complete && image.naturalWidth) {
      // All stand on one ground, as on the sheet.
      pen.drawImage(image, Math.floor((this.width - image.naturalWidth) / 2),
        this.height - image.naturalHeight);
    }
    this.slider.value = frame;
    this.text.textContent = `frame ${frame + 1} of ${this.animation.frames.length}, `
      + `${Number((1000 / this.animation.ms).toPrecision(3))} a second`;
  }

  // Goes on to the frame of the moment `now`, in ms.
  advance(now) {
    if (!this.since) this.since = now;
    const steps = Math.floor((now - this.since) / this.animation.ms);
    if (!steps) return;
    this.since += steps * this.animation.ms;
    const to = this.at + steps, last = this.order.length - 1;
    this.at = this.animation.loop ? to % this.order.length : Math.min(to, last);
    this.paint();
    if (!this.animation.loop && to >= last) this.set(false);
  }
}

function tick() {
  if (ticking || !players.some(one => one.plays && one.seen)) return;
  ticking = requestAnimationFrame(now => {
    ticking = 0;
    for (const one of players) if (one.plays && one.seen) one.advance(now);
    tick();
  });
}

const watcher = new IntersectionObserver(entries => {
  for (const entry of entries) entry.target.player.see(entry.isIntersecting);
});

function drawPlayers() {
  watcher.disconnect();
  players = animations.slice(firstPlayer, firstPlayer + PLAYERS).map(one => new Player(one));
  at("players").replaceChildren(...players.map(one => one.element));
  for (const one of players) {
    one.paint();
    watcher.observe(one.element);
  }
  const last = firstPlayer + players.length;
  at("animations-shown").value = `${firstPlayer + 1}–${last} of ${count(animations.length)}`;
  at("animations-previous").disabled = firstPlayer === 0;
  at("animations-next").disabled = last === animations.length;
  showPlaying();
}

function showPlaying() {
  at("play-all").textContent = playing ? "Pause all" : "Play all";
}

function startAnimations() {
  if (!animations.length) return;
  at("animation-pager").hidden = false;
  for (const [id, by] of [["animations-previous", -PLAYERS], ["animations-next", PLAYERS]]) {
    at(id).addEventListener("click", () => { firstPlayer += by; drawPlayers(); });
  }
  at("play-all").addEventListener("click", () => {
    playing = !playing;
    for (const one of players) one.set(playing);
    showPlaying();
  });
  drawPlayers();
}

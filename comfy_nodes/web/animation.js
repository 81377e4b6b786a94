/** A player for frames: tags, speed, frame numbers. */
import { address, make, shownSize } from "./panel.js";
import { words } from "./words.js";

const SPEEDS = [0.25, 0.5, 1, 2];
/** px; the two rows of controls. */
const ROWS = 64;

export function showAnimation(panel, entries, images) {
  const [entry] = entries;
  const player = new Player(entry, entry.pages ?? images);
  panel.show((...space) => {
    panel.atEnd(() => player.stop());
    return player.parts(space);
  });
}

class Player {
  constructor(entry, pages) {
    this.frames = entry.frames;
    const all = { name: words().allFrames, frames: entry.frames.map((_, index) => index), loop: true };
    this.tags = entry.tags.length ? [...entry.tags, all] : [all];
    this.tag = this.tags[0];
    this.speed = 1;
    this.at = 0;
    // Who asked the system for less motion begins with a picture that stands still.
    this.playing = !matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.width = Math.max(...this.frames.map((frame) => frame.size[0]));
    this.height = Math.max(...this.frames.map((frame) => frame.size[1]));
    this.pages = pages.map((page) => {
      const image = new Image();
      image.src = address(page);
      image.addEventListener("load", () => this.canvas && this.draw());
      return image;
    });
  }

  /** The player's elements, for a space of [width, height] px. */
  parts([across, down]) {
    const [width, height] = shownSize(this.width, this.height, [across, Math.max(40, down - ROWS)]);
    this.canvas = make("canvas", {
      width: this.width,
      height: this.height,
      role: "img",
      style: `width:${width}px;height:${height}px`,
    });
    this.number = make("span", { class: "sw-number" });
    this.play = make("button", { type: "button", onclick: () => this.toggle() });
    const step = (by, text, label) =>
      make("button", { type: "button", "aria-label": label, onclick: () => this.step(by) }, text);
    const parts = [
      make("div", { class: "sw-row" }, this.chooseTag(), this.chooseSpeed()),
      this.canvas,
      make(
        "div",
        { class: "sw-row" },
        step(-1, "◀", words().previous),
        this.play,
        step(1, "▶", words().next),
        this.number,
      ),
    ];
    this.draw();
    this.wait();
    return parts;
  }

  chooseTag() {
    const options = this.tags.map((tag, index) =>
      make("option", { value: index, selected: tag === this.tag }, tag.name),
    );
    const changed = (event) => {
      this.tag = this.tags[Number(event.target.value)];
      this.at = 0;
      this.draw();
    };
    return make("select", { "aria-label": words().animation, onchange: changed }, ...options);
  }

  chooseSpeed() {
    const options = SPEEDS.map((one) =>
      make("option", { value: one, selected: one === this.speed }, `${one}×`),
    );
    const changed = (event) => {
      this.speed = Number(event.target.value);
    };
    return make("select", { "aria-label": words().speed, onchange: changed }, ...options);
  }

  toggle() {
    this.playing = !this.playing;
    const ended = !this.tag.loop && this.at === this.tag.frames.length - 1;
    if (this.playing && ended) this.at = 0;
    this.draw();
    this.wait();
  }

  step(by) {
    this.playing = false;
    const { length } = this.tag.frames;
    this.at = (this.at + by + length) % length;
    this.draw();
  }

  wait() {
    clearTimeout(this.timer);
    if (!this.playing) return;
    const frame = this.frames[this.tag.frames[this.at]];
    this.timer = setTimeout(() => {
      const last = this.at === this.tag.frames.length - 1;
      if (last && !this.tag.loop) {
        this.playing = false;
        this.draw();
        return;
      }
      this.at = last ? 0 : this.at + 1;
      this.draw();
      this.wait();
    }, Math.max(16, frame.ms / this.speed));
  }

  stop() {
    clearTimeout(this.timer);
  }

  draw() {
    const frame = this.frames[this.tag.frames[this.at]];
    const image = this.pages[frame.page];
    const place = this.canvas.getContext("2d");
    place.imageSmoothingEnabled = false;
    place.clearRect(0, 0, this.width, this.height);
    if (image?.complete && image.naturalWidth) blit(place, image, frame);
    const told = words().frame(this.at + 1, this.tag.frames.length, frame.ms);
    this.number.textContent = told;
    this.canvas.setAttribute("aria-label", `${this.tag.name}, ${told}`);
    this.play.textContent = this.playing ? "❚❚" : "▶";
    this.play.setAttribute("aria-label", this.playing ? words().pause : words().play);
  }
}

/** One frame at its place in the untrimmed picture; a rotated one is turned back. */
function blit(place, image, { at: [x, y, width, height], offset: [left, top], rotated }) {
  if (!rotated) {
    place.drawImage(image, x, y, width, height, left, top, width, height);
    return;
  }
  place.save();
  place.translate(left, top + height);
  place.rotate(-Math.PI / 2);
  place.drawImage(image, x, y, height, width, 0, 0, height, width);
  place.restore();
}

// Painting a mask over the chosen picture. The mask is a PNG of the picture's own size, white where
// it shall be made anew, and goes into the form's file field like one that was chosen.

// no sprite's own colour, most of the time
const COLOUR = [255, 0, 255, 190];
const MOST_UNDO = 20;

class Painter {
  constructor(box, source) {
    this.box = box;
    this.panel = box.querySelector('.painter');
    this.canvas = box.querySelector('canvas');
    this.field = box.querySelector('input[type=file]');
    this.told = box.querySelector('[data-painted]');
    this.size = box.querySelector('[data-brush]');
    this.eraser = box.querySelector('[data-erase]');
    this.undone = [];
    this.last = null;
    this.listen(source);
    this.shown = source.querySelector('.shown');
    const known = this.shown.querySelector('img');
    if (known.getAttribute('src')) this.open(known.src);
  }

  listen(source) {
    source.querySelector('input[type=file]').addEventListener('change', event => {
      const file = event.target.files[0];
      if (file) this.open(URL.createObjectURL(file));
      else this.panel.hidden = true;
    });
    this.canvas.addEventListener('pointerdown', event => {
      if (event.button) return;
      event.preventDefault();
      this.canvas.focus();
      this.canvas.setPointerCapture(event.pointerId);
      this.keep();
      this.last = null;
      this.stroke(this.at(event));
    });
    this.canvas.addEventListener('pointermove', event => {
      if (this.canvas.hasPointerCapture(event.pointerId)) this.stroke(this.at(event));
      else this.point(this.at(event));
    });
    this.canvas.addEventListener('pointerup', () => { this.last = null; this.give(); });
    this.canvas.addEventListener('pointerleave', () => this.point(null));
    this.canvas.addEventListener('keydown', event => this.key(event));
    this.eraser.addEventListener('click', () => this.toggle());
    this.box.querySelector('[data-undo]').addEventListener('click', () => this.undo());
    this.box.querySelector('[data-clear]').addEventListener('click', () => {
      this.keep();
      this.mask.fill(0);
      this.give();
    });
  }

  async open(url) {
    const picture = new Image();
    picture.src = url;
    try {
      await picture.decode();
    } catch {
      this.panel.hidden = true;
      return;
    }
    this.picture = picture;
    const [width, height] = [picture.naturalWidth, picture.naturalHeight];
    Object.assign(this.canvas, {width, height});
    this.mask = new Uint8Array(width * height);
    this.undone = [];
    this.cursor = {x: width / 2, y: height / 2};
    this.size.max = Math.max(8, Math.round(Math.max(width, height) / 4));
    this.size.value = Math.max(1, Math.round(Math.max(width, height) / 16));
    this.panel.hidden = false;
    // It is there once, and larger.
    this.shown.hidden = true;
    this.draw();
    this.tell();
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return {
      x: (event.clientX - box.left) * this.canvas.width / box.width,
      y: (event.clientY - box.top) * this.canvas.height / box.height,
    };
  }

  key(event) {
    const step = Math.max(1, Math.round(this.size.value / 2));
    const moves = {ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step]};
    if (moves[event.key]) {
      const [x, y] = moves[event.key];
      const limit = (value, most) => Math.min(most, Math.max(0, value));
      this.cursor = {
        x: limit(this.cursor.x + x, this.canvas.width),
        y: limit(this.cursor.y + y, this.canvas.height),
      };
      this.draw();
    } else if (event.key === ' ') {
      this.keep();
      this.last = null;
      this.stroke(this.cursor);
      this.last = null;
      this.give();
    } else if (event.key.toLowerCase() === 'e') {
      this.toggle();
    } else if (event.key.toLowerCase() === 'z') {
      this.undo();
    } else {
      return;
    }
    event.preventDefault();
  }

  toggle() {
    this.eraser.setAttribute('aria-pressed', String(!this.erases()));
  }

  erases() {
    return this.eraser.getAttribute('aria-pressed') === 'true';
  }

  keep() {
    this.undone.push(this.mask.slice());
    if (this.undone.length > MOST_UNDO) this.undone.shift();
  }

  undo() {
    if (!this.undone.length) return;
    this.mask = this.undone.pop();
    this.give();
  }

  point(spot) {
    if (spot) this.cursor = spot;
    this.draw(Boolean(spot));
  }

  // A dot at each place between the last one and this, so that a quick hand leaves no gaps.
  stroke(spot) {
    const from = this.last ?? spot;
    const radius = this.size.value / 2;
    const length = Math.hypot(spot.x - from.x, spot.y - from.y);
    const count = Math.max(1, Math.ceil(length / Math.max(0.5, radius / 2)));
    for (let step = 1; step <= count; step += 1) {
      const part = step / count;
      this.dot(from.x + (spot.x - from.x) * part, from.y + (spot.y - from.y) * part, radius);
    }
    this.last = this.cursor = spot;
    this.draw();
  }

  dot(x, y, radius) {
    const {width, height} = this.canvas;
    const value = this.erases() ? 0 : 255;
    const reach = Math.max(radius, 0.71);
    for (let row = Math.max(0, Math.floor(y - reach)); row < Math.min(height, y + reach); row += 1) {
      for (let column = Math.max(0, Math.floor(x - reach)); column < Math.min(width, x + reach); column += 1) {
        if (Math.hypot(column + 0.5 - x, row + 0.5 - y) <= reach) this.mask[row * width + column] = value;
      }
    }
  }

  draw(brush = document.activeElement === this.canvas) {
    const pen = this.canvas.getContext('2d', {willReadFrequently: true});
    pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    pen.drawImage(this.picture, 0, 0);
    const seen = pen.getImageData(0, 0, this.canvas.width, this.canvas.height);
    const [red, green, blue, strength] = COLOUR;
    for (let at = 0; at < this.mask.length; at += 1) {
      if (!this.mask[at]) continue;
      const to = at * 4;
      const share = strength / 255;
      [red, green, blue].forEach((value, index) => {
        seen.data[to + index] = seen.data[to + index] * (1 - share) + value * share;
      });
      seen.data[to + 3] = Math.max(seen.data[to + 3], strength);
    }
    pen.putImageData(seen, 0, 0);
    if (!brush) return;
    pen.strokeStyle = '#fff';
    pen.lineWidth = Math.max(1, this.canvas.width / 256);
    pen.beginPath();
    pen.arc(this.cursor.x, this.cursor.y, Math.max(1, this.size.value / 2), 0, 2 * Math.PI);
    pen.stroke();
  }

  tell() {
    const painted = this.mask.reduce((sum, value) => sum + (value ? 1 : 0), 0);
    const share = (100 * painted / this.mask.length).toFixed(1);
    this.told.textContent = painted ? `${share} % of the picture will be made anew.` : 'Nothing is painted yet.';
    return painted;
  }

  async give() {
    this.draw();
    this.box.querySelector('input[name=mask_asset]')?.remove();
    const chosen = new DataTransfer();
    if (this.tell()) chosen.items.add(new File([await this.png()], 'mask.png', {type: 'image/png'}));
    this.field.files = chosen.files;
  }

  png() {
    const sheet = document.createElement('canvas');
    Object.assign(sheet, {width: this.canvas.width, height: this.canvas.height});
    const pen = sheet.getContext('2d');
    const made = pen.createImageData(sheet.width, sheet.height);
    this.mask.forEach((value, at) => made.data.set([value, value, value, 255], at * 4));
    pen.putImageData(made, 0, 0);
    return new Promise(done => { sheet.toBlob(done, 'image/png'); });
  }
}

const box = document.querySelector('[data-mask]');
const source = document.querySelector('#file-image')?.closest('[data-drop]');
if (box && source) new Painter(box, source);

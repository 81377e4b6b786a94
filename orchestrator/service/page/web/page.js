// What HTML and htmx leave: dropping files, keys, times of the reader's own, true and whole sizes.

const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// ------------------------------------------------------------------ files that are dropped

function show(box, file) {
  const stage = box.querySelector('.shown');
  if (!stage) return;
  const picture = stage.querySelector('img');
  if (picture.src.startsWith('blob:')) URL.revokeObjectURL(picture.src);
  stage.hidden = !file;
  if (file) picture.src = URL.createObjectURL(file);
  // The file that is chosen now counts, not one of an earlier job.
  box.querySelector('input[type=hidden]')?.remove();
}

for (const box of all('[data-drop]')) {
  const input = box.querySelector('input[type=file]');
  input.addEventListener('change', () => show(box, input.files[0]));
  box.addEventListener('dragover', event => {
    if (!event.dataTransfer.types.includes('Files')) return;
    event.preventDefault();
    box.classList.add('over');
  });
  box.addEventListener('dragleave', () => box.classList.remove('over'));
  box.addEventListener('drop', event => {
    box.classList.remove('over');
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    const chosen = new DataTransfer();
    chosen.items.add(event.dataTransfer.files[0]);
    input.files = chosen.files;
    input.dispatchEvent(new Event('change', {bubbles: true}));
  });
}
// A file that misses its place must not take the page away.
for (const kind of ['dragover', 'drop']) {
  addEventListener(kind, event => event.preventDefault());
}

// ------------------------------------------------------------------ keys

const isTyping = target => target.matches('input, textarea, select, canvas, [contenteditable]');

function beside(card, key) {
  const cards = all('.picture');
  const at = cards.indexOf(card);
  if (key === 'ArrowRight') return cards[at + 1];
  if (key === 'ArrowLeft') return cards[at - 1];
  const left = card.offsetLeft;
  const down = key === 'ArrowDown';
  const order = down ? cards.slice(at + 1) : cards.slice(0, at).reverse();
  return order.find(other => other.offsetLeft === left);
}

addEventListener('keydown', event => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) {
    event.target.closest('form')?.requestSubmit();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  if (event.key === 'Escape') document.querySelector('#notice').replaceChildren();
  const card = event.target.closest('.picture');
  if (event.key.startsWith('Arrow')) {
    const first = document.querySelector('.pictures .picture');
    const next = card ? beside(card, event.key) : event.key === 'ArrowRight' && first;
    if (!next) return;
    event.preventDefault();
    next.querySelector('a').focus();
    return;
  }
  const place = card ?? document.querySelector('.actions.big');
  const button = place?.querySelector(`[data-key="${CSS.escape(event.key.toLowerCase())}"]`);
  if (!button) return;
  event.preventDefault();
  button.click();
});

addEventListener('click', event => {
  if (event.target.closest('[data-close]')) document.querySelector('#notice').replaceChildren();
});

// What went well needs no answer; what went wrong stays until it is closed.
const READING = 6000;
let leaving;
document.addEventListener('htmx:after:swap', () => {
  const told = document.querySelector('#notice .notice');
  if (!told || told.dataset.seen) return;
  told.dataset.seen = 'yes';
  clearTimeout(leaving);
  if (told.matches('.done') && !told.querySelector('.warning')) {
    leaving = setTimeout(() => told.remove(), READING);
  }
});

// ------------------------------------------------------------------ times and sizes

const moment = new Intl.DateTimeFormat(undefined, {dateStyle: 'medium', timeStyle: 'short'});

function tellTimes(root = document) {
  for (const time of all('time[datetime]', root)) {
    if (!time.dateTime || time.dataset.told === time.dateTime) continue;
    time.textContent = moment.format(new Date(time.dateTime));
    time.dataset.told = time.dateTime;
  }
}
tellTimes();
document.addEventListener('htmx:after:swap', () => tellTimes());

// An enlarged pixel is a whole number of the screen's: no row is thicker than another.
function enlarge(picture) {
  const room = picture.closest('.stage').clientWidth;
  const times = Math.max(1, Math.floor(room / picture.naturalWidth));
  picture.style.width = `${Math.min(room, times * picture.naturalWidth)}px`;
  document.querySelector('[data-times]').textContent = `, ${times} times`;
}
for (const picture of all('[data-enlarge]')) {
  const again = () => picture.naturalWidth && enlarge(picture);
  picture.addEventListener('load', again);
  new ResizeObserver(again).observe(picture.closest('.stage'));
}
for (const picture of all('[data-true]')) {
  const told = document.querySelector('[data-size]');
  const tell = () => { told.textContent = `, ${picture.naturalWidth} × ${picture.naturalHeight}`; };
  picture.addEventListener('load', tell);
  if (picture.complete && picture.naturalWidth) tell();
}

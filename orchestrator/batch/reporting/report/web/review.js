// What a person thinks of the pictures: kept by the browser, saved as a file that
// `spriteworks batch retry --rejected` reads.
const KEPT = `spriteworks review of ${location.pathname}`;
const VERDICTS = [["pick", "Pick", "✓", "P"], ["reject", "Reject", "✕", "X"]];
const WORDS = { pick: "picked", reject: "rejected" };
const opinions = new Map(); // name -> "pick" or "reject"
let changedAt = new Date();

// A picture that is not there cannot be judged, nor one that is made anew.
const canMark = picture => picture.state === "done" && picture.files.length > 0;
const digits = picture => picture.files[0][5];

function recallReview() {
  let kept = {};
  try {
    kept = JSON.parse(localStorage.getItem(KEPT) || "{}");
  } catch (error) {
    // Browsers may refuse storage to files, and a person may have changed what is in it.
    if (!(error instanceof DOMException || error instanceof SyntaxError)) throw error;
    at("review-note").hidden = false;
  }
  const entries = kept && typeof kept === "object" ? kept : {};
  for (const picture of pictures) {
    if (!canMark(picture) || !Object.hasOwn(entries, picture.name)) continue;
    const [verdict, was] = entries[picture.name] || [];
    // What was said of a picture is not said of the one that took its place.
    if (verdict in WORDS && was === digits(picture)) opinions.set(picture.name, verdict);
  }
}

function keepReview() {
  const entries = {};
  for (const picture of pictures) {
    const verdict = opinions.get(picture.name);
    if (verdict) entries[picture.name] = [verdict, digits(picture)];
  }
  try {
    localStorage.setItem(KEPT, JSON.stringify(entries));
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    at("review-note").hidden = false;
  }
}

function mark(picture, verdict) {
  if (!canMark(picture)) return;
  if (opinions.get(picture.name) === verdict) opinions.delete(picture.name);
  else opinions.set(picture.name, verdict);
  changedAt = new Date();
  keepReview();
  showOpinions(picture);
}

// Everything that shows what is thought of a picture; of all where none is given.
function showOpinions(picture) {
  for (const shown of document.querySelectorAll("[data-name]")) {
    if (picture && shown.dataset.name !== picture.name) continue;
    const verdict = opinions.get(shown.dataset.name);
    for (const [name] of VERDICTS) shown.classList.toggle(WORDS[name], verdict === name);
    for (const button of shown.querySelectorAll("[data-verdict]")) {
      button.setAttribute("aria-pressed", button.dataset.verdict === verdict);
    }
  }
  showReview();
}

const withVerdict = verdict => pictures.filter(one => opinions.get(one.name) === verdict);

function showReview() {
  const picked = withVerdict("pick").length, rejected = withVerdict("reject").length;
  at("review").hidden = !picked && !rejected;
  at("review-count").value = picked || rejected
    ? `${count(picked)} picked, ${count(rejected)} rejected` : "";
  document.querySelector("#review .command").hidden = !rejected;
  at("copy-command").hidden = !rejected;
  at("copy-command").textContent = "Copy the command";
  at("command").value = command();
  const left = pictures.filter(canMark).length - picked - rejected;
  const numbers = { "": pictures.length, pick: picked, reject: rejected, none: left };
  const names = { "": "any", pick: "picked", reject: "rejected", none: "not judged" };
  for (const button of at("opinions").children) {
    const { value } = button.dataset;
    button.textContent = value ? `${names[value]} ${count(numbers[value])}` : names[value];
  }
}

// The buttons of a picture. `owner` is what shows it, and is marked as the picture is.
function markButtons(picture, owner) {
  owner.dataset.name = picture.name;
  const verdict = opinions.get(picture.name);
  for (const [name] of VERDICTS) owner.classList.toggle(WORDS[name], verdict === name);
  return VERDICTS.map(([name, text, sign, key]) => {
    const button = make("button", { type: "button", title: `${text} (${key})` }, sign);
    button.dataset.verdict = name;
    button.setAttribute("aria-label", `${text} ${picture.name}`);
    button.setAttribute("aria-pressed", verdict === name);
    button.addEventListener("click", () => mark(picture, name));
    return button;
  });
}

const byKey = event => (VERDICTS.find(([, , , key]) => key === event.key.toUpperCase()) || [])[0];

// ------------------------------------------------------------------ the file

function reviewName() {
  const name = data.name.replace(/[^\p{L}\p{N}_]+/gu, "-").replace(/^-+|-+$/g, "") || "batch";
  const two = number => String(number).padStart(2, "0");
  const day = [changedAt.getFullYear(), changedAt.getMonth() + 1, changedAt.getDate()];
  const time = [changedAt.getHours(), changedAt.getMinutes(), changedAt.getSeconds()];
  return `${name}-review-${day.map(two).join("")}-${time.map(two).join("")}.json`;
}

function saveReview() {
  const listed = verdict => withVerdict(verdict).map(picture => (
    { name: picture.name, file: picture.files[0][0], seed: picture.seed, sha256: digits(picture) }
  ));
  const review = { batch: data.name, picked: listed("pick"), rejected: listed("reject") };
  const blob = new Blob([`${JSON.stringify(review, null, 1)}\n`], { type: "application/json" });
  const url = URL.createObjectURL(blob);
  make("a", { href: url, download: reviewName() }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

// The batch's folder where this page was opened, as its own system writes it.
function folder() {
  if (location.protocol !== "file:") return { path: "DIR", windows: false };
  const path = decodeURIComponent(location.pathname).replace(/\/[^/]*$/, "");
  const drive = /^\/[A-Za-z]:/.test(path);
  if (!drive && !location.host) return { path: path || "/", windows: false };
  const there = drive ? path.slice(1) : `//${location.host}${path}`;
  return { path: there.replaceAll("/", "\\"), windows: true };
}

function quoted(text, windows) {
  if (windows) return /^[\p{L}\p{N}_.:\\-]+$/u.test(text) ? text : `"${text}"`;
  return /^[\p{L}\p{N}_./-]+$/u.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

function command() {
  const { path, windows } = folder();
  return `spriteworks batch retry ${quoted(path, windows)} --rejected ${reviewName()}`;
}

async function copyCommand() {
  at("command").select();
  let copied = true;
  try {
    await navigator.clipboard.writeText(at("command").value);
  } catch (error) {
    // Not every browser lets a file write there, and a person may forbid it.
    if (!(error instanceof DOMException || error instanceof TypeError)) throw error;
    copied = false;
  }
  at("copy-command").textContent = copied ? "Copied" : "Selected: copy it with Ctrl+C";
}

function clearReview() {
  opinions.clear();
  keepReview();
  showOpinions();
  at("shown").focus();
}

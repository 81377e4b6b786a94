/** What a PNG carries in its text chunks (PNG specification, 11.3.3), and the seed in its graph. */

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const SEEDS = ["seed", "noise_seed"];
/** On a sampler's model it gives picture i its seed + i, and the sampler's own is not used. */
const SEED_BATCH = "SpriteworksSeedBatch";

/** {keyword: text} of the chunks tEXt and uncompressed iTXt; empty for what is no PNG. */
export function textsOf(buffer) {
  const bytes = new Uint8Array(buffer);
  const texts = {};
  if (SIGNATURE.some((value, index) => bytes[index] !== value)) return texts;
  const view = new DataView(buffer);
  for (let at = 8; at + 8 <= bytes.length; ) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const body = bytes.subarray(at + 8, at + 8 + length);
    const found = kind === "tEXt" ? plain(body) : kind === "iTXt" ? international(body) : null;
    if (found) texts[found[0]] = found[1];
    at += length + 12;
  }
  return texts;
}

function plain(body) {
  const end = body.indexOf(0);
  const latin = new TextDecoder("latin1");
  return end < 0 ? null : [latin.decode(body.subarray(0, end)), latin.decode(body.subarray(end + 1))];
}

function international(body) {
  const end = body.indexOf(0);
  if (end < 0 || body[end + 1] !== 0) return null;
  const language = body.indexOf(0, end + 3);
  const translated = body.indexOf(0, language + 1);
  if (language < 0 || translated < 0) return null;
  const latin = new TextDecoder("latin1");
  return [latin.decode(body.subarray(0, end)), new TextDecoder().decode(body.subarray(translated + 1))];
}

/**
 * The seed of picture `index` of `count` at a node of a graph in API format, or null.
 *
 * It is {node, input, seed}: the nearest one before that node. A seed that comes over a link is that
 * of the node which holds the number. Of a seed batch all pictures must be there to be told apart.
 */
export function seedOf(graph, from, index = 0, count = 1) {
  const seen = new Set();
  const waiting = [from];
  while (waiting.length) {
    const id = waiting.shift();
    const inputs = graph?.[id]?.inputs;
    if (!inputs || seen.has(id)) continue;
    seen.add(id);
    const batch = seedBatchOf(graph, inputs.model);
    if (batch) return ofBatch(graph, batch, index, count);
    for (const name of SEEDS) if (name in inputs) return heldBy(graph, id, name, seen);
    for (const value of Object.values(inputs)) if (isLink(value)) waiting.push(String(value[0]));
  }
  return null;
}

/** The seed batch on a model, by what stands between; the id, or null. */
function seedBatchOf(graph, link) {
  const seen = new Set();
  while (isLink(link) && !seen.has(String(link[0]))) {
    const id = String(link[0]);
    if (graph[id]?.class_type === SEED_BATCH) return id;
    seen.add(id);
    link = graph[id]?.inputs?.model;
  }
  return null;
}

function ofBatch(graph, id, index, count) {
  const size = heldBy(graph, id, "batch_size", new Set());
  const first = heldBy(graph, id, "seed", new Set());
  return first && size?.seed === count ? { ...first, seed: first.seed + index } : null;
}

function heldBy(graph, id, input, seen) {
  const value = graph[id].inputs[input];
  if (typeof value === "number") return { node: id, input, seed: value };
  if (!isLink(value) || seen.has(`seed ${value[0]}`)) return null;
  seen.add(`seed ${value[0]}`);
  const source = String(value[0]);
  const numbers = Object.entries(graph[source]?.inputs ?? {});
  const name = numbers.find(([, one]) => typeof one === "number" || isLink(one))?.[0];
  return name === undefined ? null : heldBy(graph, source, name, seen);
}

function isLink(value) {
  return Array.isArray(value) && value.length === 2 && typeof value[1] === "number";
}

/**
 * Tells what is wrong with a node of the pack: at the node, and on a toast, in one sentence.
 *
 * The editor marks the node, and shows a text of its own with what went wrong behind a button.
 */
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { addStyle, make } from "./panel.js";

const NAME = "spriteworks_error";
/** px: a line, an average letter, and what is around the text. */
const LINE = 14;
const LETTER = 5.5;
const AROUND = 20;
/** The pack's own errors, by the name of their class (errors.py). */
const OURS = /^spriteworks/;
/** How hosts tell that a node's own check refused: what it says is in the details. */
const REFUSED = "exception_during_inner_validation";
const REFUSED_OUTER = "exception_during_validation";

/** What is shown now: a function for each that takes it away. */
const shown = [];

function isOurs(node) {
  return String(node?.type ?? "").startsWith("Spriteworks");
}

/** The node of an id, which for one in a subgraph has those of the nodes that it lies in before. */
function nodeOf(id) {
  let graph = app.rootGraph ?? app.graph;
  let node = null;
  for (const part of String(id).split(":")) {
    node = graph?.getNodeById(part) ?? graph?.getNodeById(Number(part));
    graph = node?.subgraph;
  }
  return node ?? null;
}

/** The sentence of an entry of a server's `node_errors`. */
function sentenceOf({ message, details, extra_info: info }) {
  const detail = String(details ?? "").trim();
  if (!detail) return String(message ?? "");
  return detail === info?.input_name ? `${detail}: ${message}` : detail;
}

/** Write a text at the end of a node, until the next run. */
function writeAt(node, text) {
  addStyle();
  const before = node.size[1];
  const element = make("div", { class: "spriteworks", role: "alert" },
    make("div", { class: "sw-failed" }, text));
  const height = () => AROUND + LINE * Math.ceil((text.length * LETTER) / (node.size[0] - AROUND));
  const widget = node.addDOMWidget(NAME, NAME, element, {
    serialize: false,
    hideOnZoom: false,
    getMinHeight: height,
  });
  widget.serialize = false;
  node.setSize([node.size[0], Math.max(before, node.computeSize()[1])]);
  shown.push(() => {
    const place = node.widgets?.indexOf(widget) ?? -1;
    if (place >= 0) node.widgets.splice(place, 1);
    widget.onRemove?.();
    element.remove();
    if (node.graph) node.setSize([node.size[0], Math.max(before, node.computeSize()[1])]);
  });
}

function toast(node, text) {
  const shelf = app.extensionManager?.toast;
  if (!shelf) return;
  // Newer editors give each toast an id, and have no way to take one away without it.
  if (shelf.dismiss && shelf.error) {
    const id = shelf.error(node.title, { description: text });
    shown.push(() => shelf.dismiss(id));
    return;
  }
  const message = { severity: "error", summary: node.title, detail: text };
  shelf.add(message);
  shown.push(() => shelf.remove?.(message));
}

function clear() {
  for (const takeAway of shown.splice(0)) takeAway();
  app.graph?.setDirtyCanvas(true, true);
}

/** Tell what a server refused. The editor, too, shows then what the nodes' own checks say. */
function tellRefused(errorsById) {
  for (const [id, { errors }] of Object.entries(errorsById ?? {})) {
    const node = nodeOf(id);
    if (!isOurs(node) || !Array.isArray(errors)) continue;
    for (const error of errors.filter(({ type }) => type === REFUSED)) {
      error.type = REFUSED_OUTER;
      // It is that of the node behind this one.
      delete error.extra_info?.input_name;
    }
    const text = [...new Set(errors.map(sentenceOf))].join(" ");
    writeAt(node, text);
    toast(node, text);
  }
}

function tellFailed({ detail }) {
  const node = nodeOf(detail?.node_id);
  if (!node || !(isOurs(node) || OURS.test(detail.exception_type ?? ""))) return;
  const text = String(detail.exception_message ?? "").trim();
  writeAt(node, text);
  toast(node, text);
}

/** Listen to what the server says of runs. */
export function tellErrors() {
  const queue = api.queuePrompt;
  api.queuePrompt = async function (...given) {
    clear();
    try {
      const answer = await queue.apply(this, given);
      tellRefused(answer?.node_errors);
      return answer;
    } catch (error) {
      tellRefused(error?.response?.node_errors);
      throw error;
    }
  };
  api.addEventListener("execution_error", tellFailed);
}

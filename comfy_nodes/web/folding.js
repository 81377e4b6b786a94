/**
 * Folds a node's advanced settings away on the classic canvas.
 *
 * Nodes 2.0 does so by itself, with a button below the node. The classic canvas can fold, too, but
 * is not told by the schema which settings, and offers it only in a node's menu.
 */
import { app } from "../../scripts/app.js";
import { words } from "./words.js";

const BUTTON = "spriteworks_advanced";

/** The names of the settings that the schema calls advanced. */
function advancedOf(node) {
  const { required, optional } = node.constructor?.nodeData?.input ?? {};
  const specs = Object.entries({ ...required, ...optional });
  return new Set(specs.filter(([, spec]) => spec?.[1]?.advanced).map(([name]) => name));
}

/** Whether a setting comes from another node; such a one stays open, as in Nodes 2.0. */
function isLinked(node, widget) {
  return (node.inputs ?? []).some((slot) => slot.widget?.name === widget.name && slot.link != null);
}

/** Let a setting fold. The canvas draws by the one property, and makes room by the other. */
function makeFold(node, widget) {
  let hidden = widget.hidden;
  const isFolded = () => !LiteGraph.vueNodesMode && !node.showAdvanced && !isLinked(node, widget);
  Object.defineProperties(widget, {
    advanced: { configurable: true, get: () => !isLinked(node, widget), set() {} },
    hidden: {
      configurable: true,
      get: () => hidden || isFolded(),
      set: (value) => (hidden = value),
    },
  });
}

/** Fold what is advanced, and add a button that shows it; for a node that is being made. */
export function foldAdvanced(node) {
  const names = advancedOf(node);
  const folded = (node.widgets ?? []).filter((widget) => names.has(widget.name));
  if (!folded.length || typeof node.toggleAdvanced !== "function") return;
  for (const widget of folded) makeFold(node, widget);
  let grown = 0;
  const button = node.addWidget("button", BUTTON, null, () => toggle(), {
    serialize: false,
    canvasOnly: true,
  });
  button.serialize = false;
  // Asked for when it is drawn: the editor keeps labels that are set by the id of the node, and
  // gives them to another node that gets this id later.
  Object.defineProperty(button, "label", {
    configurable: true,
    get: () => words().advanced(folded.length, Boolean(node.showAdvanced)),
    set() {},
  });

  function toggle() {
    const before = node.size[1];
    node.toggleAdvanced();
    if (node.showAdvanced) grown = node.size[1] - before;
    else node.setSize([node.size[0], Math.max(node.size[1] - grown, node.computeSize()[1])]);
    app.graph.setDirtyCanvas(true, true);
  }
  // The editor gave it room for all of them.
  node.setSize([node.size[0], node.computeSize()[1]]);
}

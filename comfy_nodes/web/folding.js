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

/** px that editors put between widgets, by which one without height takes no room at all. */
const BETWEEN = 4;

/** Whether the canvas folds a setting away now. */
function isFolded(node, widget) {
  return !LiteGraph.vueNodesMode && !node.showAdvanced && !isLinked(node, widget);
}

/** Let a setting fold: not drawn while it is advanced, and without room while it is not drawn. */
function makeFold(node, widget) {
  // Newer editors keep by themselves what is linked; older ones would fold it away.
  if ("visibility" in widget) widget.advanced = true;
  else
    Object.defineProperty(widget, "advanced", {
      configurable: true,
      get: () => !isLinked(node, widget),
      set() {},
    });
  const size = widget.computeSize;
  Object.defineProperty(widget, "computeSize", {
    configurable: true,
    get: () => (isFolded(node, widget) ? () => [0, -BETWEEN] : size),
    set() {},
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

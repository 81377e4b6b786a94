/**
 * The one extension of the pack: results, players, tables and swatches on its nodes.
 *
 * Nodes tell what there is to show under the key "spriteworks" of their `ui` (showing.py). The
 * classic canvas and Nodes 2.0 both show a DOM widget as it is, so each panel is one.
 */
import { app } from "../../scripts/app.js";
import { showAnimation } from "./animation.js";
import { showComparison } from "./comparison.js";
import { attachPanel, toldByInputs } from "./panel.js";
import { attachSwatches } from "./swatches.js";
import { showMeasures } from "./measures.js";
import { showResults } from "./results.js";

/** What draws an entry of a node's `ui`, by its kind. */
const VIEWS = { compare: showComparison, animation: showAnimation, quality: showMeasures };
/** px; the least height of what a node shows, which its place on the canvas must leave room for. */
const HEIGHTS = { comparison: 150, results: 220, animation: 260, measures: 120 };

/** The entries that a node told, those of all its runs on a list together. */
function entriesOf(output) {
  const told = output?.spriteworks;
  return Array.isArray(told) ? told.filter((one) => one && one.kind in VIEWS) : [];
}

function show(panel, output) {
  const entries = entriesOf(output);
  const images = Array.isArray(output?.images) ? output.images : [];
  if (entries.length) VIEWS[entries[0].kind](panel, entries, images);
  else if (images.length) showResults(panel, images);
}

app.registerExtension({
  name: "Spriteworks",
  nodeCreated(node) {
    attachSwatches(node);
    const height = HEIGHTS[toldByInputs(node, "shows")?.value];
    if (!height) return;
    const panel = attachPanel(node, height);
    const told = node.onExecuted;
    node.onExecuted = function (output) {
      told?.call(this, output);
      show(panel, output);
    };
  },
});

/**
 * The one extension of the pack: results, players, tables and swatches on its nodes.
 *
 * Nodes tell what there is to show under the key "spriteworks" of their `ui` (showing.py). The
 * classic canvas and Nodes 2.0 both show a DOM widget as it is, so each panel is one.
 */
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { showAnimation } from "./animation.js";
import { showComparison } from "./comparison.js";
import { tellErrors } from "./errors.js";
import { foldAdvanced } from "./folding.js";
import { attachPanel, toldByInputs } from "./panel.js";
import { attachSwatches } from "./swatches.js";
import { showMeasures } from "./measures.js";
import { showResults } from "./results.js";
import { templates } from "./templates.js";

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

/** Whether the class of a node is of this pack. */
function isOurs(node) {
  return String(node.constructor?.nodeData?.name ?? "").startsWith("Spriteworks");
}

/** The panels of the nodes that are on the canvas. */
const panels = new Map();

/** Show what a run gave to nodes that did not run, because the server had their results. */
async function showKept({ detail }) {
  const waiting = [...panels].filter(([, panel]) => panel.isEmpty);
  if (!waiting.length || !detail?.prompt_id) return;
  const answer = await api.fetchApi(`/history/${detail.prompt_id}`);
  const outputs = (await answer.json())[detail.prompt_id]?.outputs ?? {};
  for (const [node, panel] of waiting) show(panel, outputs[node.id]);
}

/** What tells the server that pictures to look at are worth making (native/showing.py). */
const FEATURE = "shows_spriteworks";
// Editors name their features when they connect, which is after extensions are loaded.
const features = api.getClientFeatureFlags?.bind(api) ?? (() => ({}));
api.getClientFeatureFlags = () => ({ ...features(), [FEATURE]: true });

app.registerExtension({
  name: "Spriteworks",
  ...templates,
  setup() {
    tellErrors();
    api.addEventListener("execution_success", showKept);
  },
  afterConfigureGraph() {
    templates.afterConfigureGraph();
    // Whoever comes back to a workflow finds what its last run gave.
    for (const [node, panel] of panels) show(panel, app.nodeOutputs?.[node.id]);
  },
  nodeCreated(node) {
    if (isOurs(node)) foldAdvanced(node);
    attachSwatches(node);
    const height = HEIGHTS[toldByInputs(node, "shows")];
    if (!height) return;
    const panel = attachPanel(node, height, () => panels.delete(node));
    panels.set(node, panel);
    const told = node.onExecuted;
    node.onExecuted = function (output) {
      told?.call(this, output);
      show(panel, output);
    };
  },
});

/**
 * The example pictures of the pack's templates.
 *
 * A template names the pictures that it opens with. They are copied to the server's input folder
 * when it is opened, before its nodes look for them; never over a file: where the name is taken by
 * another picture, the server answers with a new one, which the nodes take.
 */
import { api } from "../../scripts/api.js";

/** The folder under which this pack is installed, which may have any name. */
const PACK = new URL(import.meta.url).pathname.split("/").at(-2);

/** Names that were copied; the lists of files that nodes offer are older than these. */
const copied = new Set();

/** Copy a picture; the name under which the server has it. */
async function copy(name) {
  const source = api.apiURL(`/workflow_templates/${PACK}/inputs/${encodeURIComponent(name)}`);
  const found = await fetch(source);
  if (!found.ok) throw new Error(`${source}: ${found.status}`);
  const body = new FormData();
  body.append("image", await found.blob(), name);
  const sent = await api.fetchApi("/upload/image", { method: "POST", body });
  if (!sent.ok) throw new Error(`/upload/image: ${sent.status}`);
  const kept = await sent.json();
  return kept.subfolder ? `${kept.subfolder}/${kept.name}` : kept.name;
}

/** What the extension does with a workflow that is being opened. */
export const examplePictures = {
  async beforeConfigureGraph(workflow) {
    const about = workflow?.extra?.spriteworks;
    if (!Array.isArray(about?.pictures)) return;
    const wanted = about.pictures;
    // What an artist saves of it is theirs: nothing is copied when that is opened.
    delete about.pictures;
    const names = new Map();
    for (const name of wanted) {
      try {
        names.set(name, await copy(name));
        copied.add(names.get(name));
      } catch (error) {
        console.warn(`Spriteworks: the example picture ${name} could not be copied`, error);
      }
    }
    for (const node of workflow.nodes ?? [])
      if (Array.isArray(node.widgets_values))
        node.widgets_values = node.widgets_values.map((value) => names.get(value) ?? value);
  },
  loadedGraphNode(node) {
    for (const { value, options } of node.widgets ?? [])
      if (copied.has(value) && Array.isArray(options?.values) && !options.values.includes(value))
        options.values.push(value);
  },
};

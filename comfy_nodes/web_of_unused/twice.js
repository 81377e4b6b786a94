/**
 * Says on the canvas that this copy of the pack is not used: another one was loaded before it.
 */
import { app } from "../../scripts/app.js";

/** The folder in custom_nodes, by which ComfyUI serves this file. */
const folder = decodeURIComponent(new URL(".", import.meta.url).pathname.split("/").at(-2));

app.registerExtension({
  name: `Spriteworks.installedTwice.${folder}`,
  setup() {
    app.extensionManager.toast.add({
      severity: "warn",
      summary: "Spriteworks is installed twice",
      detail: `The copy in custom_nodes/${folder} is not used. Remove one of the two folders and `
        + "start ComfyUI again.",
    });
  },
});

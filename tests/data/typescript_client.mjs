// Runs, watches and cancels jobs with @comfyorg/sdk; prints what it saw as one line of JSON.
import { Comfy } from "@comfyorg/sdk";

const graph = (color) => ({
  1: { class_type: "EmptyImage", inputs: { width: 32, height: 32, batch_size: 1, color } },
  2: { class_type: "SaveImage", inputs: { images: ["1", 0], filename_prefix: "ts" } },
});
const client = new Comfy();
const watched = await client.submit(client.workflows.fromJson(graph(1)));
const statuses = [];
for await (const event of watched.events()) if (event.status) statuses.push(event.status);
await watched.wait();
const bytes = await watched.outputs[0].toBytes();
const ran = await client.run(client.workflows.fromJson(graph(2)));
const cancelled = await client.submit(client.workflows.fromJson(graph(3)));
await cancelled.cancel();
await cancelled.wait();
const told = {
  watched: watched.status,
  statuses,
  bytes: bytes.length,
  size: watched.outputs[0].sizeBytes,
  ran: ran.status,
  cancelled: cancelled.status,
};
console.log(JSON.stringify(told));

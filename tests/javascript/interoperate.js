// Publishes the events of a file by the JavaScript SDK of CloudEvents in one mode, reads each back in the same mode, and
// writes what the SDK understood as lines of JSON. Called as: node interoperate.js URL structured|binary FILE
import { readFileSync } from "node:fs";
import { CloudEvent, HTTP, emitterFor, httpTransport } from "cloudevents";

const [url, mode, file] = process.argv.slice(2);
const send = emitterFor(httpTransport(`${url}/v1/events`), { mode });

const read = async (position) => {
  const response =
    mode === "binary"
      ? await fetch(`${url}/v1/events/${position}?mode=binary`)
      : await fetch(`${url}/v1/events/${position}`, { headers: { Accept: "application/cloudevents+json" } });
  const message = { headers: Object.fromEntries(response.headers), body: await response.text() };
  if (!HTTP.isEvent(message)) {
    throw new Error(`not an event: ${JSON.stringify(message)}`);
  }
  return HTTP.toEvent(message);
};

for (const line of readFileSync(file, "utf8").split("\n").filter(Boolean)) {
  const answer = JSON.parse((await send(new CloudEvent(JSON.parse(line)))).body);
  if (!answer.position) {
    throw new Error(`not stored: ${JSON.stringify(answer)}`);
  }
  const event = await read(answer.position);
  process.stdout.write(`${event.toString()}\n`);
}

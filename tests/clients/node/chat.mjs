// The official Node client against the chain; arguments: base URL, key.
import assert from "node:assert/strict";
import OpenAI, { AuthenticationError, NotFoundError } from "openai";

const [baseURL, apiKey] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const say = '[[model:{"text":"Hello from the model.","delta_chars":3}]]';
const request = { model: "codex-5", messages: [{ role: "user", content: say }] };

let text = "";
let finish = [];
for await (const chunk of await client.chat.completions.create({ ...request, stream: true })) {
  text += chunk.choices[0].delta.content ?? "";
  finish.push(chunk.choices[0].finish_reason);
}
assert.equal(text, "Hello from the model.");
assert.deepEqual(finish.filter((reason) => reason !== null), ["stop"]);

const completion = await client.chat.completions.create(request);
assert.equal(completion.choices[0].message.content, "Hello from the model.");

const stranger = new OpenAI({ baseURL, apiKey: "wrong", maxRetries: 0 });
await assert.rejects(stranger.chat.completions.create(request), AuthenticationError);
await assert.rejects(client.chat.completions.create({ ...request, model: "gpt-4" }), NotFoundError);

// The official Anthropic client for Node against the chain; arguments: base URL, key, URL of the model's control routes.
import assert from "node:assert/strict";
import Anthropic, { AuthenticationError, BadRequestError, NotFoundError } from "@anthropic-ai/sdk";

const [baseURL, apiKey, control] = process.argv.slice(2);
const host = baseURL.replace(/\/v1$/, "");
const client = new Anthropic({ baseURL: host, apiKey, authToken: null, maxRetries: 0 });
const user = (script) => [{ role: "user", content: `[[model:${JSON.stringify(script)}]]` }];
const say = { model: "codex-5", max_tokens: 1024, messages: user({ text: "Hello from the model.", delta_chars: 3 }) };

async function modelRequests() {
  return (await fetch(`${control}/requests`)).json();
}

async function createsAndStreams() {
  const message = await client.messages.create(say);
  assert.equal(message.content[0].text, "Hello from the model.");
  assert.equal(message.stop_reason, "end_turn");
  assert.ok(message._request_id);
  let deltas = 0;
  const stream = client.messages.stream(say).on("text", () => deltas++);
  assert.equal(await stream.finalText(), "Hello from the model.");
  assert.ok(deltas > 3);
  const final = await stream.finalMessage();
  assert.ok(final.usage.output_tokens > 0);
  const types = [];
  for await (const event of await client.messages.create({ ...say, stream: true })) types.push(event.type);
  assert.equal(types.at(0), "message_start");
  assert.equal(types.at(-1), "message_stop");
}

async function runsTools() {
  const call = (city) => ({ call: "get_weather", call_id: `call_${city}`, arguments: { city } });
  const asked = [];
  const weather = {
    name: "get_weather",
    description: "The weather of a city.",
    input_schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
    run: ({ city }) => asked.push(city) && `It is mild in ${city}.`,
    parse: (input) => input,
  };
  const before = (await modelRequests()).length;
  const messages = user([[call("Oslo"), call("Rome")], [call("Bern")], [{ text: "Rome is the warmest." }]]);
  const final = await client.beta.messages.toolRunner({ ...say, messages, tools: [weather] });
  assert.equal(final.content.at(-1).text, "Rome is the warmest.");
  assert.deepEqual(asked.sort(), ["Bern", "Oslo", "Rome"]);
  const sent = (await modelRequests()).slice(before);
  assert.equal(sent.length, 3, "one model request for each HTTP request");
  const outputs = sent.at(-1).body.input.filter((item) => item.type === "function_call_output");
  assert.deepEqual(outputs.map((item) => item.call_id), ["call_Oslo", "call_Rome", "call_Bern"]);
}

async function thinks() {
  const messages = user([{ reasoning: ["Hm."], encrypted_content: "gAAA" }, { text: "Yes." }]);
  const thinking = { type: "enabled", budget_tokens: 2048 };
  const final = await client.messages.stream({ ...say, messages, thinking }).finalMessage();
  assert.deepEqual(final.content.map((block) => block.type), ["thinking", "text"]);
  assert.equal(final.content[0].thinking, "Hm.");
  assert.ok(final.content[0].signature.endsWith("gAAA"));
}

async function listsAndCounts() {
  const ids = [];
  for await (const model of client.models.list({ limit: 2 })) ids.push(model.id);
  assert.ok(ids.includes("codex-5") && ids.length > 3);
  const count = await client.messages.countTokens({ model: "codex-5", messages: [{ role: "user", content: "12345678" }] });
  assert.equal(count.input_tokens, 2);
}

async function failsWithTypes() {
  const wrong = new Anthropic({ baseURL: host, apiKey: "sk-wrong", authToken: null, maxRetries: 0 });
  await assert.rejects(wrong.messages.create(say), AuthenticationError);
  await assert.rejects(client.messages.create({ ...say, model: "nope" }), NotFoundError);
  const document = [{ role: "user", content: [{ type: "document", source: { type: "text", media_type: "text/plain", data: "x" } }] }];
  await assert.rejects(client.messages.create({ ...say, messages: document }), (error) => {
    assert.ok(error instanceof BadRequestError);
    assert.equal(error.type, "invalid_request_error");
    assert.match(error.message, /messages\.0\.content\.0\.type/);
    return true;
  });
}

async function disconnects() {
  const messages = user([{ text: "a", open: true }, { hold: "never" }, { text: "b" }]);
  const stream = client.messages.stream({ ...say, messages });
  await new Promise((resolve) => stream.on("text", resolve));
  stream.abort();
  await assert.rejects(stream.done());
}

await createsAndStreams();
await runsTools();
await thinks();
await listsAndCounts();
await failsWithTypes();
await disconnects();

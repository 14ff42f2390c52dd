// The official Node client against the chain; arguments: base URL, key, URL of the model's control routes.
import assert from "node:assert/strict";
import { setTimeout } from "node:timers/promises";
import OpenAI, {
  APIUserAbortError,
  AuthenticationError,
  BadRequestError,
  InternalServerError,
  NotFoundError,
  RateLimitError,
} from "openai";

const [baseURL, apiKey, control] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey, maxRetries: 0 });
const user = (script) => [{ role: "user", content: `[[model:${JSON.stringify(script)}]]` }];
const say = { model: "codex-5", messages: user({ text: "Hello from the model.", delta_chars: 3 }) };

async function modelRequests() {
  return (await fetch(`${control}/requests`)).json();
}

async function streams() {
  let text = "";
  let finish = [];
  for await (const chunk of await client.chat.completions.create({ ...say, stream: true })) {
    text += chunk.choices[0].delta.content ?? "";
    finish.push(chunk.choices[0].finish_reason);
  }
  assert.equal(text, "Hello from the model.");
  assert.deepEqual(finish.filter((reason) => reason !== null), ["stop"]);
  const final = await client.chat.completions.stream(say).finalContent();
  assert.equal(final, "Hello from the model.");
}

async function gathers() {
  const completion = await client.chat.completions.create(say);
  assert.equal(completion.choices[0].message.content, "Hello from the model.");
}

async function runsTools() {
  const call = (city) => ({ call: "get_weather", call_id: `call_${city}`, arguments: { city } });
  const messages = user([[call("Oslo"), call("Rome")], [call("Bern")], [{ text: "Rome is the warmest." }]]);
  const asked = [];
  const weather = {
    name: "get_weather",
    description: "The weather of a city.",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
    parse: JSON.parse,
    function: ({ city }) => asked.push(city) && `It is mild in ${city}.`,
  };
  const before = (await modelRequests()).length;
  const runner = client.chat.completions.runTools({ ...say, messages, tools: [{ type: "function", function: weather }] });
  assert.equal(await runner.finalContent(), "Rome is the warmest.");
  assert.deepEqual(asked.sort(), ["Bern", "Oslo", "Rome"]);
  const sent = (await modelRequests()).slice(before);
  assert.equal(sent.length, 3, "one model request for each HTTP request");
  const outputs = sent.at(-1).body.input.filter((item) => item.type === "function_call_output");
  assert.deepEqual(outputs.map((item) => item.call_id), ["call_Oslo", "call_Rome", "call_Bern"]);
}

async function aborts() {
  const messages = user([{ text: "par", open: true }, { hold: "for ever" }, { text: "ty" }]);
  const stream = await client.chat.completions.create({ ...say, messages, stream: true });
  let text = "";
  for await (const chunk of stream) {
    text += chunk.choices[0].delta.content ?? "";
    if (text) stream.controller.abort();
  }
  assert.equal(text, "par");
  const cut = async () => (await modelRequests()).at(-1).delivery === "cut_by_client";
  // The loop has no deadline of its own: the test ends a script that runs for too long.
  while (!(await cut())) await setTimeout(10);
  const signal = AbortSignal.abort();
  await assert.rejects(client.chat.completions.create(say, { signal }), APIUserAbortError);
}

async function namesItsErrors() {
  const stranger = new OpenAI({ baseURL, apiKey: "wrong", maxRetries: 0 });
  await assert.rejects(stranger.chat.completions.create(say), AuthenticationError);
  await assert.rejects(client.chat.completions.create({ ...say, model: "gpt-4" }), NotFoundError);
}

// A stream that fails before its first output raises the class of its status, without being iterated.
async function namesTheErrorsOfStreams() {
  for (const [script, kind, code] of [
    [{ failed: "context_length_exceeded" }, BadRequestError, "context_length_exceeded"],
    [{ status: 429 }, RateLimitError, "rate_limited"],
    [{ status: 401 }, InternalServerError, "codex_login_required"],
    [{ status: 500 }, InternalServerError, "codex_failed"],
  ]) {
    const content = user(script)[0].content;
    for (const create of [
      () => client.chat.completions.create({ ...say, messages: user(script), stream: true }),
      () => client.completions.create({ model: say.model, prompt: content, stream: true }),
      () => client.responses.create({ model: say.model, input: content, stream: true }),
    ]) {
      await assert.rejects(create(), (error) => error instanceof kind && error.code === code);
    }
  }
}

await streams();
await gathers();
await runsTools();
await aborts();
await namesItsErrors();
await namesTheErrorsOfStreams();

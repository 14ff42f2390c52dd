// The status page asks again and again, while somebody looks, and says so when nobody answers.

import { showState, showStatus } from './now.js';
import { beginning, chosenSpan, drawUsage, showRequests, showUsage } from './usage.js';
import { $, clock } from './words.js';

const STATUS_EVERY_MS = 2_000;
const USAGE_EVERY_MS = 10_000;
const ANSWER_WITHIN_MS = 5_000;

/** The sidecar answered, and said no. */
class Refusal extends Error {}

async function ask(path) {
  const answer = await fetch(path, { cache: 'no-store', signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
  const body = await answer.json();
  if (!answer.ok) throw new Refusal(body.error.message);
  return body;
}

/** Asks and shows the answer, now and every so often; what it returns does so at once. */
function repeat(everyMs, question, show, fail) {
  let timer;
  let latest = 0;
  async function run() {
    clearTimeout(timer);
    if (document.hidden) return;
    latest += 1;
    const mine = latest;
    const then = await question().then((answer) => () => show(answer), (error) => () => fail(error));
    if (mine !== latest) return;
    timer = setTimeout(run, everyMs);
    then();
  }
  document.addEventListener('visibilitychange', run);
  run();
  return run;
}

let answered = null;
let silentSince = null;

function onStatus(status) {
  const wasSilent = silentSince !== null;
  answered = Date.now();
  silentSince = null;
  document.body.classList.remove('stale');
  $('updated').textContent = `Updated ${clock(answered)}.`;
  showStatus(status);
  if (wasSilent) refreshUsage();
}

function onSilence(error) {
  silentSince ??= Date.now();
  document.body.classList.add('stale');
  document.title = 'Not reachable · codex-edge';
  const why = error instanceof Refusal ? error.message : 'The sidecar has stopped, or the way to it is broken.';
  const old = answered === null ? '' : ` What you see is from ${clock(answered)}.`;
  const name = `Not reachable since ${clock(silentSince)}`;
  showState({ level: 'bad', sign: '✕', name, help: `${why}${old} This page keeps asking.` });
}

async function askForUsage() {
  const span = chosenSpan();
  const sums = ask(`usage?group=${span.group}&start=${beginning(span, Date.now())}`);
  return [span, ...(await Promise.all([sums, ask('usage/raw?limit=50')]))];
}

function onUsage([span, sums, records]) {
  showUsage(span, sums);
  showRequests(records);
}

/** Silence is told by the status. */
function onUsageFailure(error) {
  if (error instanceof Refusal) $('usage-note').textContent = `Usage cannot be read: ${error.message}`;
}

repeat(STATUS_EVERY_MS, () => ask('status'), onStatus, onSilence);
const refreshUsage = repeat(USAGE_EVERY_MS, askForUsage, onUsage, onUsageFailure);
$('span').addEventListener('change', refreshUsage);
new ResizeObserver(drawUsage).observe($('chart'));

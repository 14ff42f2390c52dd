// Polls /status and /usage while the page is visible, and reports when the sidecar is not reachable.

import { showState, showStatus } from './status.js';
import { drawUsage, rangeStart, selectedSpan, showRequests, showUsage } from './usage.js';
import { $, clock } from './format.js';

const STATUS_INTERVAL_MS = 2_000;
const USAGE_INTERVAL_MS = 10_000;
const TIMEOUT_MS = 5_000;

/** An error response of the sidecar, as opposed to a failed connection. */
class ErrorResponse extends Error {}

async function fetchJson(path) {
  const response = await fetch(path, { cache: 'no-store', signal: AbortSignal.timeout(TIMEOUT_MS) });
  const body = await response.json();
  if (!response.ok) throw new ErrorResponse(body.error.message);
  return body;
}

/** Loads and shows data now and at an interval; returns a function that does so at once. */
function poll(intervalMs, load, show, fail) {
  let timer;
  let latest = 0;
  async function run() {
    clearTimeout(timer);
    if (document.hidden) return;
    latest += 1;
    const mine = latest;
    const then = await load().then((data) => () => show(data), (error) => () => fail(error));
    // A later call has superseded this one; its result must not be overwritten.
    if (mine !== latest) return;
    timer = setTimeout(run, intervalMs);
    then();
  }
  document.addEventListener('visibilitychange', run);
  run();
  return run;
}

let updatedAt = null;
let unreachableSince = null;

function onStatus(status) {
  const wasUnreachable = unreachableSince !== null;
  updatedAt = Date.now();
  unreachableSince = null;
  document.body.classList.remove('stale');
  $('updated').textContent = `Updated ${clock(updatedAt)}.`;
  showStatus(status);
  if (wasUnreachable) refreshUsage();
}

function onUnreachable(error) {
  unreachableSince ??= Date.now();
  document.body.classList.add('stale');
  document.title = 'Not reachable · codex-edge';
  const reason = error instanceof ErrorResponse ? error.message : 'The sidecar has stopped, or the connection to it failed.';
  const stale = updatedAt === null ? '' : ` The data shown is from ${clock(updatedAt)}.`;
  const name = `Not reachable since ${clock(unreachableSince)}`;
  showState({ level: 'bad', sign: '✕', name, help: `${reason}${stale} This page retries automatically.` });
}

async function loadUsage() {
  const span = selectedSpan();
  const totals = fetchJson(`usage?group=${span.group}&start=${rangeStart(span, Date.now())}`);
  return [span, ...(await Promise.all([totals, fetchJson('usage/raw?limit=50')]))];
}

function onUsage([span, totals, records]) {
  showUsage(span, totals);
  showRequests(records);
}

/** Shows an error response only: a failed connection is reported by the status. */
function onUsageFailure(error) {
  if (error instanceof ErrorResponse) $('usage-note').textContent = `Usage is unavailable: ${error.message}`;
}

poll(STATUS_INTERVAL_MS, () => fetchJson('status'), onStatus, onUnreachable);
const refreshUsage = poll(USAGE_INTERVAL_MS, loadUsage, onUsage, onUsageFailure);
$('span').addEventListener('change', refreshUsage);
new ResizeObserver(drawUsage).observe($('chart'));

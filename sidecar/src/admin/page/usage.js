// Usage in a period, as figures, a chart and a table, and the recent requests.

import { chart, series } from './chart.js';
import { $, HOUR_MS, clock, count, day, element, hourAndMinute, milliseconds, plural, svgElement } from './format.js';

const SPANS = {
  hour: {
    group: 'hour', buckets: 24, length: HOUR_MS, title: 'Last 24 hours', tick: hourAndMinute,
    label: (start) => `${day(start, { weekday: 'short' })}, ${hourAndMinute(start)} to ${hourAndMinute(start + HOUR_MS)}`,
  },
  day: {
    group: 'day', buckets: 30, length: 24 * HOUR_MS, title: 'Last 30 days, in UTC',
    tick: (start) => day(start, { timeZone: 'UTC' }),
    label: (start) => `${day(start, { timeZone: 'UTC', weekday: 'short' })}, in UTC`,
  },
};
const EMPTY = { requests: 0, errors: 0, prompt_tokens: 0, cached_tokens: 0, completion_tokens: 0 };

/** The selected period. */
export const selectedSpan = () => SPANS[$('span').querySelector(':checked').value];

/** The start of the first bucket of a period, in milliseconds. */
export const rangeStart = ({ length, buckets }, now) => (Math.floor(now / length) - buckets + 1) * length;

const shown = { span: SPANS.hour, buckets: [], totals: EMPTY, highlighted: null, requests: '' };

export function showUsage(span, usage) {
  Object.assign(shown, { span, buckets: fillGaps(span, usage), totals: usage });
  $('usage-note').textContent = usage.requests === 0 ? 'No requests in this period.' : '';
  drawUsage();
  showTable();
}

/** Returns every bucket of the period; the response leaves out empty ones. */
function fillGaps(span, { buckets, end }) {
  const known = new Map(buckets.map((bucket) => [Date.parse(bucket.ts), bucket]));
  const first = rangeStart(span, end - 1);
  return Array.from({ length: span.buckets }, (_, index) => {
    const start = first + index * span.length;
    return { start, sums: known.get(start) ?? EMPTY };
  });
}

/** Draws the chart at the current width of its container. */
export function drawUsage() {
  const width = $('chart').clientWidth;
  if (width > 0 && shown.buckets.length > 0) $('chart').replaceChildren(chart(shown.buckets, shown.span, width, highlight));
  highlight(shown.buckets.find(({ start }) => start === shown.highlighted) ?? null);
}

/** Shows the numbers of the highlighted bucket, or the totals. */
function highlight(bucket) {
  shown.highlighted = bucket?.start ?? null;
  $('usage-when').textContent = bucket ? shown.span.label(bucket.start) : shown.span.title;
  const sums = bucket ? bucket.sums : shown.totals;
  $('totals').replaceChildren(...series.map((one) => figure(one, sums)));
}

function figure({ name, title, of }, sums) {
  const swatch = svgElement('svg', { 'aria-hidden': 'true' }, svgElement('rect', { class: name, width: '100%', height: '100%' }));
  return element('div', {}, element('dt', {}, swatch, title), element('dd', { 'data-of': name }, count(of(sums))));
}

function showTable() {
  const titles = ['When', ...series.map(({ title }) => title)].map((title) => element('th', { scope: 'col' }, title));
  $('buckets').tHead.replaceChildren(element('tr', {}, ...titles));
  const rows = shown.buckets.toReversed().map(({ start, sums }) => {
    const cells = series.map(({ of }) => element('td', {}, count(of(sums))));
    return element('tr', {}, element('th', { scope: 'row' }, shown.span.label(start)), ...cells);
  });
  $('buckets').tBodies[0].replaceChildren(...rows);
}

export function showRequests({ events }) {
  const requests = JSON.stringify(events);
  if (requests === shown.requests) return; // Keeps a selection, such as a request id that is being copied.
  shown.requests = requests;
  $('requests').hidden = events.length === 0;
  $('requests-note').textContent = events.length === 0
    ? 'No requests yet. Each request to the model appears here when it has ended.'
    : `The last ${plural(events.length, 'completed request')}, newest first.`;
  $('requests').tBodies[0].replaceChildren(...events.toReversed().map(requestRow));
}

function requestRow(record) {
  const cells = [when, client, model, outcome, tokens, time].map((cell) => cell(record));
  return element('tr', { role: 'row' }, ...cells.map((parts) => element('td', { role: 'cell' }, ...parts)));
}

const detail = (text) => element('small', {}, text);

function when({ ts }) {
  const at = new Date(ts);
  const today = at.toDateString() === new Date().toDateString();
  return [element('time', { datetime: at.toISOString() }, clock(at)), detail(today ? '' : day(at))];
}

const client = (record) => [record.client || '–'];

function model({ requested_model: requested, effective_model: effective, route, stream }) {
  return [requested, detail([effective, route, ...(stream ? ['stream'] : [])].join(' · '))];
}

function outcome({ status, finish_reason: reason, error, request_id: id }) {
  if (!error) return [element('span', { class: 'good' }, `✓ ${reason ?? status}`)];
  if (error === 'client_left' || error === 'interrupted') return [`○ ${error}`];
  const details = [`status ${status}`, ...(id ? [`request ${id}`] : [])];
  return [element('span', { class: 'bad' }, `✕ ${error}`), detail(details.join(' · '))];
}

function tokens(record) {
  if (record.token_source === 'none') return ['–'];
  const about = record.token_source === 'estimated' ? 'about ' : '';
  const parts = Object.entries({ cached: record.cached_tokens, reasoning: record.reasoning_tokens });
  const details = parts.filter(([, value]) => value > 0).map(([name, value]) => `${count(value)} ${name}`);
  return [`${about}${count(record.prompt_tokens)} in, ${count(record.completion_tokens)} out`, detail(details.join(' · '))];
}

function time({ duration_ms: whole, time_to_first_token_ms: first }) {
  return [milliseconds(whole), detail(first === null ? '' : `first token ${milliseconds(first)}`)];
}

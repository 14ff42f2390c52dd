// The usage chart: stacked tokens above, requests below, with failed requests under the axis.
// The chart is an SVG that is redrawn when its data or its width changes. Lengths are CSS pixels.

import { plural, short, svgElement } from './format.js';

const TOKENS = [
  { name: 'prompt', title: 'Prompt, uncached', of: (sums) => sums.prompt_tokens - sums.cached_tokens },
  { name: 'cached', title: 'Prompt, cached', of: (sums) => sums.cached_tokens },
  { name: 'completion', title: 'Completion', of: (sums) => sums.completion_tokens },
];
const REQUESTS = [
  { name: 'asked', title: 'Requests', of: (sums) => sums.requests },
  { name: 'failed', title: 'Failed', of: (sums) => sums.errors },
];

/** The series of a bucket, in drawing order. */
export const series = [...TOKENS, ...REQUESTS];

const LEFT = 44;
const RIGHT = 12;
const TOKEN_AREA = { top: 22, bottom: 140 };
const REQUEST_AREA = { top: 168, bottom: 214 };
const HEIGHT = 240;
const BAR_MAX = 28;
const TICK_ROOM = 52;

const totalTokens = (sums) => sums.prompt_tokens + sums.completion_tokens;

/** Draws the buckets; calls `highlight` with the bucket under the pointer, and with null when the pointer leaves. */
export function chart(buckets, span, width, highlight) {
  const step = (width - LEFT - RIGHT) / buckets.length;
  const node = svgElement('svg', { role: 'img', 'aria-label': `Tokens and requests per ${span.group}`, 'aria-describedby': 'chart-description', width, height: HEIGHT },
    svgElement('desc', { id: 'chart-description' }, description(buckets, span)),
    svgElement('defs', {}, hatch()),
    ...buckets.map((bucket, index) => column(bucket, index, step, highlight)),
    ...tokens(buckets, step, width, span.group),
    ...requests(buckets, step, width, span.group),
    ...ticks(buckets, step, span));
  node.addEventListener('pointerleave', (event) => event.pointerType === 'mouse' && highlight(null));
  return node;
}

function description(buckets, { title, group, label }) {
  const busiest = buckets.reduce((best, bucket) => (totalTokens(bucket.sums) > totalTokens(best.sums) ? bucket : best));
  const most = totalTokens(busiest.sums);
  if (most === 0) return `${title}: no tokens.`;
  return `${title}. Busiest ${group}: ${label(busiest.start)}, with ${plural(most, 'token')}. A table with all values follows.`;
}

function hatch() {
  const pattern = { id: 'hatch', width: 5, height: 5, patternUnits: 'userSpaceOnUse', patternTransform: 'rotate(45)' };
  return svgElement('pattern', pattern, svgElement('path', { d: 'M0 0V5' }));
}

/** The area of a bucket that reacts to the pointer: its whole height. */
function column(bucket, index, step, highlight) {
  const node = svgElement('rect', { class: 'column', x: LEFT + index * step, y: TOKEN_AREA.top, width: step, height: REQUEST_AREA.bottom - TOKEN_AREA.top });
  for (const event of ['pointerenter', 'pointerdown']) node.addEventListener(event, () => highlight(bucket));
  return node;
}

function tokens(buckets, step, width, unit) {
  const { top, bottom } = TOKEN_AREA;
  const most = niceMaximum(Math.max(...buckets.map(({ sums }) => totalTokens(sums))));
  const scale = (bottom - top) / most;
  const lines = [0, .5, 1].flatMap((part) => {
    const y = bottom - part * most * scale;
    return [line(part ? 'grid' : 'axis', y, width), svgText(LEFT - 6, y + 4, short(part * most), 'end')];
  });
  const bars = buckets.flatMap(({ sums }, index) => stack(sums, index, step, scale));
  return [svgText(LEFT, 12, `Tokens per ${unit}`), ...lines, ...bars];
}

/** Returns the next number of one digit and zeros; halving it for the middle grid line stays short. */
function niceMaximum(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 10)));
  return [1, 2, 3, 4, 6, 8, 10].map((factor) => factor * power).find((candidate) => candidate >= value);
}

function stack(sums, index, step, scale) {
  let y = TOKEN_AREA.bottom;
  return TOKENS.map(({ name, of }) => {
    const height = visibleHeight(of(sums) * scale);
    y -= height;
    return bar(name, index, step, y, height);
  });
}

function requests(buckets, step, width, unit) {
  const { top, bottom } = REQUEST_AREA;
  const [most, mostFailed] = REQUESTS.map(({ of }) => Math.max(...buckets.map(({ sums }) => of(sums))));
  const scale = (bottom - top) / Math.max(most + mostFailed, 1);
  const zero = bottom - mostFailed * scale;
  const bars = buckets.flatMap(({ sums }, index) => {
    const [asked, failed] = REQUESTS.map(({ of }) => visibleHeight(of(sums) * scale));
    return [bar('asked', index, step, zero - asked, asked), bar('failed', index, step, zero + 1, failed)];
  });
  const title = `Requests per ${unit}, failed below`;
  return [svgText(LEFT, 160, title), svgText(LEFT - 6, top + 8, most ? short(most) : '', 'end'), ...bars, line('axis', zero, width)];
}

/** A height of at least two pixels for a value above zero. */
const visibleHeight = (height) => (height > 0 ? Math.max(height, 2) : 0);

function bar(name, index, step, y, height) {
  const width = Math.min(step * .7, BAR_MAX);
  return svgElement('rect', { class: name, x: LEFT + (index + .5) * step - width / 2, y, width, height });
}

const line = (name, y, width) => svgElement('path', { class: name, d: `M${LEFT} ${Math.round(y) + .5}H${width - RIGHT}` });

const svgText = (x, y, text, anchor = 'start') => svgElement('text', { x, y, 'text-anchor': anchor }, text);

function ticks(buckets, step, { tick }) {
  const every = Math.ceil(TICK_ROOM / step);
  const last = buckets.length - 1;
  return buckets.flatMap(({ start }, index) =>
    (last - index) % every === 0 ? [svgText(LEFT + (index + .5) * step, HEIGHT - 6, tick(start), 'middle')] : []);
}

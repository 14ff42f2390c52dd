// The chart of what was used: tokens stacked above, requests below, and of them the failed ones under their line.
// It is SVG, drawn anew whenever its numbers or its room change. Lengths are CSS pixels.

import { several, shape, short } from './words.js';

const TOKENS = [
  { name: 'prompt', title: 'Prompt, new', of: (sums) => sums.prompt_tokens - sums.cached_tokens },
  { name: 'cached', title: 'Prompt, cached', of: (sums) => sums.cached_tokens },
  { name: 'completion', title: 'Completion', of: (sums) => sums.completion_tokens },
];
const REQUESTS = [
  { name: 'asked', title: 'Requests', of: (sums) => sums.requests },
  { name: 'failed', title: 'Failed', of: (sums) => sums.errors },
];

/** What is drawn of the sums of a bucket, in order. */
export const series = [...TOKENS, ...REQUESTS];

const LEFT = 44;
const RIGHT = 12;
const TOKEN_AREA = { top: 22, bottom: 140 };
const REQUEST_AREA = { top: 168, bottom: 214 };
const HEIGHT = 240;
const BAR_MAX = 28;
const TICK_ROOM = 52;

const all = (sums) => sums.prompt_tokens + sums.completion_tokens;

/** Draws the buckets; calls `point` with the one that is pointed at, and with null when none is any more. */
export function chart(buckets, span, width, point) {
  const step = (width - LEFT - RIGHT) / buckets.length;
  const node = shape('svg', { role: 'img', 'aria-label': `Tokens and requests per ${span.group}`, 'aria-describedby': 'chart-says', width, height: HEIGHT },
    shape('desc', { id: 'chart-says' }, description(buckets, span)),
    shape('defs', {}, hatch()),
    ...buckets.map((bucket, index) => column(bucket, index, step, point)),
    ...tokens(buckets, step, width, span.group),
    ...requests(buckets, step, width, span.group),
    ...ticks(buckets, step, span));
  node.addEventListener('pointerleave', (event) => event.pointerType === 'mouse' && point(null));
  return node;
}

function description(buckets, { title, group, label }) {
  const busiest = buckets.reduce((best, bucket) => (all(bucket.sums) > all(best.sums) ? bucket : best));
  const most = all(busiest.sums);
  if (most === 0) return `${title}: no tokens.`;
  return `${title}. Busiest ${group}: ${label(busiest.start)}, with ${several(most, 'token')}. A table with all of it follows.`;
}

function hatch() {
  const pattern = { id: 'hatch', width: 5, height: 5, patternUnits: 'userSpaceOnUse', patternTransform: 'rotate(45)' };
  return shape('pattern', pattern, shape('path', { d: 'M0 0V5' }));
}

/** Where a bucket is pointed at: its whole height. */
function column(bucket, index, step, point) {
  const node = shape('rect', { class: 'column', x: LEFT + index * step, y: TOKEN_AREA.top, width: step, height: REQUEST_AREA.bottom - TOKEN_AREA.top });
  for (const event of ['pointerenter', 'pointerdown']) node.addEventListener(event, () => point(bucket));
  return node;
}

function tokens(buckets, step, width, unit) {
  const { top, bottom } = TOKEN_AREA;
  const most = round(Math.max(...buckets.map(({ sums }) => all(sums))));
  const scale = (bottom - top) / most;
  const lines = [0, .5, 1].flatMap((part) => {
    const y = bottom - part * most * scale;
    return [line(part ? 'grid' : 'axis', y, width), words(LEFT - 6, y + 4, short(part * most), 'end')];
  });
  const bars = buckets.flatMap(({ sums }, index) => stack(sums, index, step, scale));
  return [words(LEFT, 12, `Tokens per ${unit}`), ...lines, ...bars];
}

/** The next number of one digit and zeros that is not less; it can be halved without a long fraction. */
function round(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 10)));
  return [1, 2, 3, 4, 6, 8, 10].map((factor) => factor * power).find((candidate) => candidate >= value);
}

function stack(sums, index, step, scale) {
  let y = TOKEN_AREA.bottom;
  return TOKENS.map(({ name, of }) => {
    const height = tall(of(sums) * scale);
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
    const [asked, failed] = REQUESTS.map(({ of }) => tall(of(sums) * scale));
    return [bar('asked', index, step, zero - asked, asked), bar('failed', index, step, zero + 1, failed)];
  });
  const title = `Requests per ${unit}, failed ones below`;
  return [words(LEFT, 160, title), words(LEFT - 6, top + 8, most ? short(most) : '', 'end'), ...bars, line('axis', zero, width)];
}

/** A height that can be seen, where there is anything to see. */
const tall = (height) => (height > 0 ? Math.max(height, 2) : 0);

function bar(name, index, step, y, height) {
  const width = Math.min(step * .7, BAR_MAX);
  return shape('rect', { class: name, x: LEFT + (index + .5) * step - width / 2, y, width, height });
}

const line = (name, y, width) => shape('path', { class: name, d: `M${LEFT} ${Math.round(y) + .5}H${width - RIGHT}` });

const words = (x, y, text, anchor = 'start') => shape('text', { x, y, 'text-anchor': anchor }, text);

function ticks(buckets, step, { tick }) {
  const every = Math.ceil(TICK_ROOM / step);
  const last = buckets.length - 1;
  return buckets.flatMap(({ start }, index) =>
    (last - index) % every === 0 ? [words(LEFT + (index + .5) * step, HEIGHT - 6, tick(start), 'middle')] : []);
}

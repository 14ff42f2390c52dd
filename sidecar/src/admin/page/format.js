// Formats numbers and times, and creates elements. A string child of an element becomes text, never markup.

const numbers = new Intl.NumberFormat('en');
const shortNumbers = new Intl.NumberFormat('en', { notation: 'compact', maximumFractionDigits: 1 });

export const HOUR_MS = 3_600_000;
export const count = (value) => numbers.format(value);
export const short = (value) => shortNumbers.format(value);
export const mebibytes = (bytes) => `${count(Math.round(bytes / 2 ** 20))} MiB`;
export const plural = (value, one, many = `${one}s`) => `${count(value)} ${value === 1 ? one : many}`;

export const clock = (time) => new Date(time).toLocaleTimeString('en-GB');
export const hourAndMinute = (time) => clock(time).slice(0, 5);

export function day(time, options) {
  return new Date(time).toLocaleDateString('en-GB', { day: 'numeric', month: 'short', ...options });
}

/** Formats a duration by its two largest units. */
export function duration(secs) {
  if (secs < 60) return `${Math.floor(secs)} s`;
  if (secs < 3_600) return pair(secs, 60, 'min', 1, 's');
  return secs < 86_400 ? pair(secs, 3_600, 'h', 60, 'min') : pair(secs, 86_400, 'd', 3_600, 'h');
}

function pair(secs, large, largeName, small, smallName) {
  const rest = Math.floor((secs % large) / small);
  return `${Math.floor(secs / large)} ${largeName}` + (rest > 0 ? ` ${rest} ${smallName}` : '');
}

export function milliseconds(ms) {
  if (ms < 1_000) return `${ms} ms`;
  return ms < 60_000 ? `${(ms / 1_000).toFixed(1)} s` : duration(ms / 1_000);
}

export const $ = (id) => document.getElementById(id);

export function element(name, attributes, ...children) {
  return populate(document.createElement(name), attributes, children);
}

export function svgElement(name, attributes, ...children) {
  return populate(document.createElementNS('http://www.w3.org/2000/svg', name), attributes, children);
}

export function populate(node, attributes, children = []) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** Sets a text only if it changes: a screen reader announces a live region again when it is written. */
export function setText(node, text) {
  if (node.textContent === text) return;
  node.textContent = text;
}

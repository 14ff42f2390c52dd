// What happens now: the state of Codex, its workers and processes, active turns, the plan.

import { $, count, day, duration, element, furnish, hourAndMinute, mebibytes, say, several } from './words.js';

const STATES = {
  ready: { level: 'good', sign: '●', name: 'Ready' },
  starting: {
    level: 'warn', sign: '◐', name: 'Starting',
    help: 'Requests are told to come again until Codex has started.',
  },
  login_required: {
    level: 'bad', sign: '!', name: 'Login required',
    help: 'Codex has no login, and requests are refused. Run “codex login” as the sidecar’s user, with the sidecar’s CODEX_HOME; it is noticed without a restart.',
  },
  unavailable: {
    level: 'bad', sign: '✕', name: 'Unavailable',
    help: 'Codex does not start, or does not stay, and requests are refused. The sidecar’s log says why.',
  },
};

const stateOf = (name) => STATES[name] ?? { level: 'warn', sign: '?', name };

export function showStatus(status) {
  const { codex, turns, version, uptime_secs: uptime } = status;
  showState(stateOf(codex.state));
  $('about').textContent = `sidecar ${version} · Codex ${codex.version} (${codex.protocol}) · up ${duration(uptime)}`;
  document.title = `${turns} active · codex-edge`;
  showTurns(status);
  $('workers').replaceChildren(...status.workers.map(worker));
  showChildren(status.children, status.child_starts);
  $('plan').replaceChildren(...status.plan.map(planWindow));
  $('plan-empty').hidden = status.plan.length > 0;
}

/** Shows a state of the whole: in a word, and what to do where there is something to do. */
export function showState({ level, sign, name, help = '' }) {
  say($('state'), `${sign} ${name}`);
  $('state').className = `badge ${level}`;
  $('notice').hidden = help === '';
  $('notice').className = level;
  say($('notice'), help);
}

function showTurns({ turns, turns_limit: limit, queued }) {
  $('turns').textContent = count(turns);
  $('turns-limit').textContent = limit === null ? 'without a limit' : `of ${count(limit)}`;
  $('turns-meter').hidden = limit === null;
  fill($('turns-meter'), turns, limit ?? Infinity, turns < limit ? '' : 'warn');
  $('queue').textContent = queued === 0 ? 'No request waits.' : `${several(queued, 'request waits', 'requests wait')} for a turn to end.`;
  $('queue').className = queued === 0 ? '' : 'warn';
}

function fill(meter, used, of, level) {
  const shown = Math.min(used, of);
  furnish(meter, { class: `meter ${level}`, 'aria-valuemax': of, 'aria-valuenow': shown });
  meter.firstElementChild.style.width = `${(100 * shown) / of}%`;
}

function worker(state, index, { length }) {
  const { level, sign, name } = stateOf(state);
  const who = length > 1 ? `Worker ${index + 1}` : 'Worker';
  return element('li', { class: `badge ${level}` }, `${sign} ${who}: ${name.toLowerCase()}`);
}

function showChildren(children, starts) {
  const bytes = children.reduce((sum, child) => sum + child.rss_bytes, 0);
  const rows = children.map(({ pid, rss_bytes: rss, age_secs: age }) =>
    element('tr', {}, ...[String(pid), mebibytes(rss), duration(age)].map((cell) => element('td', {}, cell))));
  $('children').hidden = children.length === 0;
  $('children').tBodies[0].replaceChildren(...rows);
  const now = `${several(children.length, 'process', 'processes')} with ${mebibytes(bytes)}`;
  $('starts').textContent = `${now}; ${count(starts)} started so far.`;
}

function planWindow({ window: name, used_percent: used, length_secs: length, resets_at: resets }) {
  const [level, remark] = used >= 100 ? ['bad', ', used up'] : used >= 80 ? ['warn', ', nearly used up'] : ['', ''];
  const title = length ? `${duration(length)} window` : `${name} window`;
  const meter = element('div', { role: 'meter', 'aria-label': title }, element('span', {}));
  fill(meter, used, 100, level);
  const says = ` ${count(Math.round(used))} % used${remark}`;
  return element('li', {}, element('b', {}, title), says, meter, element('small', {}, resets ? reset(resets) : ''));
}

function reset(at) {
  const secs = Math.max((Date.parse(at) - Date.now()) / 1_000, 0);
  return `Resets in ${duration(secs)}: ${day(at, { weekday: 'short' })}, ${hourAndMinute(at)}.`;
}

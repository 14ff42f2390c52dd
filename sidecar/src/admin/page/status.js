// The current status: the state of Codex, its workers and processes, active turns, and the rate limits of the plan.

import { $, count, day, duration, element, hourAndMinute, mebibytes, plural, populate, setText } from './format.js';

const STATES = {
  ready: { level: 'good', sign: '●', name: 'Ready' },
  starting: {
    level: 'warn', sign: '◐', name: 'Starting',
    help: 'Requests get a 503 and can be retried once Codex has started.',
  },
  login_required: {
    level: 'bad', sign: '!', name: 'Login required',
    help: 'Codex is not logged in, and requests are rejected. Run “codex login” as the sidecar’s user, with the sidecar’s CODEX_HOME; the sidecar notices the login without a restart.',
  },
  unavailable: {
    level: 'bad', sign: '✕', name: 'Unavailable',
    help: 'Codex does not start or keeps exiting, and requests are rejected. The sidecar’s log has the reason.',
  },
};

const LOGINS = {
  chatgpt: 'ChatGPT plan',
  api_key: 'API key',
  access_token: 'access token',
  none_needed: 'provider without login',
  missing: 'no login',
  unknown: 'unknown login',
};

const stateOf = (name) => STATES[name] ?? { level: 'warn', sign: '?', name };

export function showStatus(status) {
  const { codex, turns, version, uptime_secs: uptime } = status;
  showState(stateOf(codex.state));
  $('about').textContent = `sidecar ${version} · Codex ${codex.version} (${codex.protocol}) · ${LOGINS[codex.login] ?? codex.login} · up ${duration(uptime)}`;
  document.title = `${turns} active · codex-edge`;
  showTurns(status);
  $('workers').replaceChildren(...status.workers.map(worker));
  showChildren(status.children, status.child_starts);
  showThreads(status.threads);
  $('plan').replaceChildren(...status.plan.map(planWindow));
  $('plan-empty').hidden = status.plan.length > 0;
  showBudgets(status.budgets);
}

/** Shows the overall state, with a remedy if the state needs one. */
export function showState({ level, sign, name, help = '' }) {
  setText($('state'), `${sign} ${name}`);
  $('state').className = `badge ${level}`;
  $('notice').hidden = help === '';
  $('notice').className = level;
  setText($('notice'), help);
}

function showTurns({ turns, turns_limit: limit, queued }) {
  $('turns').textContent = count(turns);
  $('turns-limit').textContent = limit === null ? 'unlimited' : `of ${count(limit)}`;
  $('turns-meter').hidden = limit === null;
  setMeter($('turns-meter'), turns, limit ?? Infinity, turns < limit ? '' : 'warn');
  $('queue').textContent = queued === 0 ? 'Queue empty.' : `${plural(queued, 'queued request')}.`;
  $('queue').className = queued === 0 ? '' : 'warn';
}

function setMeter(meter, used, max, level) {
  const shown = Math.min(used, max);
  populate(meter, { class: `meter ${level}`, 'aria-valuemax': max, 'aria-valuenow': shown });
  meter.firstElementChild.style.width = `${(100 * shown) / max}%`;
}

function worker(state, index, { length }) {
  const { level, sign, name } = stateOf(state);
  const label = length > 1 ? `Worker ${index + 1}` : 'Worker';
  return element('li', { class: `badge ${level}` }, `${sign} ${label}: ${name.toLowerCase()}`);
}

function showChildren(children, starts) {
  const bytes = children.reduce((sum, child) => sum + child.rss_bytes, 0);
  const rows = children.map(({ pid, rss_bytes: rss, age_secs: age }) =>
    element('tr', {}, ...[String(pid), mebibytes(rss), duration(age)].map((cell) => element('td', {}, cell))));
  $('children').hidden = children.length === 0;
  $('children').tBodies[0].replaceChildren(...rows);
  const running = `${plural(children.length, 'process', 'processes')}, ${mebibytes(bytes)} in total`;
  $('starts').textContent = `${running}; ${count(starts)} started since the sidecar started.`;
}

function showThreads({ limit, idle, parked, hits, misses }) {
  const later = hits + misses;
  const rate = later === 0 ? '' : ` ${count(Math.round((100 * hits) / later))} % of ${plural(later, 'later request')} continued theirs.`;
  $('threads').textContent = limit === 0
    ? 'No thread stays loaded between requests.'
    : `${count(idle + parked)} of ${count(limit)} warm threads, ${count(parked)} waiting for tool outputs.${rate}`;
}

function planWindow({ window: name, used_percent: used, length_secs: length, resets_at: resets }) {
  const [level, remark] = used >= 100 ? ['bad', ', exhausted'] : used >= 80 ? ['warn', ', nearly exhausted'] : ['', ''];
  const title = length ? `${duration(length)} window` : `${name} window`;
  const meter = element('div', { role: 'meter', 'aria-label': title }, element('span', {}));
  setMeter(meter, used, 100, level);
  const text = ` ${count(Math.round(used))} % used${remark}`;
  return element('li', {}, element('b', {}, title), text, meter, element('small', {}, resets ? resetText(resets) : ''));
}

function showBudgets(budgets) {
  const rows = budgets.flatMap(({ client, limits }) => limits.map((limit) => budgetRow(client, limit)));
  $('budgets').hidden = rows.length === 0;
  $('budgets').querySelector('tbody').replaceChildren(...rows);
}

function budgetRow(client, { limit, tokens, spent, reserved, resets_at: resets }) {
  const remark = spent >= tokens ? element('span', { class: 'bad' }, ', exhausted') : '';
  const cells = [[limit], [`${count(spent)} of ${count(tokens)}`, remark], [count(reserved)], [resetText(resets)]];
  return element('tr', {}, element('th', { scope: 'row' }, client), ...cells.map((parts) => element('td', {}, ...parts)));
}

function resetText(at) {
  const secs = Math.max((Date.parse(at) - Date.now()) / 1_000, 0);
  return `Resets in ${duration(secs)}: ${day(at, { weekday: 'short' })}, ${hourAndMinute(at)}.`;
}

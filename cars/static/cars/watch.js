// The page /watch/: shows the stream of server-sent events. Inserts text, never HTML.
"use strict";

const GROUPS = 100; // requests in the list
const STEPS = 60; // steps of a request in the list; the others are counted
const SECONDS = 180; // in the chart
const NEXT = 0.02; // seconds between two lines of one connection that are still one request
const FRESH = 3; // seconds for which an event is new: it lights up
const TRY_AGAIN = 5000; // milliseconds until the next attempt, if the site refused

// For each kind of event: the word for it in the summary of a request.
const SUMMARY = {
  found: () => "found",
  missing: () => "not found",
  expired: () => "expired",
  claim: (state) => (state === "lease" ? "found a lease" : "found holds"),
  lease: () => "leased",
  hold: () => "held",
  row: () => "put",
  refused: () => "refused",
  lost: () => "removed",
};

const root = document.getElementById("watch");
const at = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");
const pinned = root.dataset.key; // the key that the URL names; else the last written key is followed

let paused = false;
let several = false; // more than one server
let skew = 0; // seconds that this browser's clock is ahead of the server's
const held = []; // pieces of news that came while paused
const seen = new Set(); // ids of events: after a reconnection the last minutes come again
const seconds = new Map(); // of the chart: [found, missing] by second
const current = new Map(); // the newest request of each lane
const unspoken = new Set(); // writes that screen readers haven't been told of
const timeline = new Timeline(at("timeline"), at("labels"), at("label-key"));
const now = { key: pinned, state: "unknown", until: null, whole: null, refused: 0, written: false };

const serverTime = () => Date.now() / 1000 - skew;

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text; // screen readers announce each change
}

function keyLink(key) {
  const link = element("a", "key", key);
  link.href = `?key=${encodeURIComponent(key)}`;
  return link;
}

// The events, in requests

function onLog(news) {
  if (paused) {
    root.dataset.held = held.push(news);
    return;
  }
  for (const [second, found, missing] of news.seconds) seconds.set(second, [found, missing]);
  for (const event of news.events) {
    if (seen.has(event.id)) continue;
    seen.add(event.id);
    if (event.what === "gap") addGap(event);
    else if (!pinned || event.key === pinned) add(event);
    follow(event);
  }
  if (seen.size > 20_000) seen.clear();
}

function laneOf(event) {
  const name = event.connection === null ? "server" : `connection ${event.connection}`;
  return several && event.server ? `${event.server} ${name}` : name;
}

// The request that `event` belongs to: the newest of its lane, if the line follows at once, or if
// the request has leased or held the key.
function groupOf(event) {
  const lane = laneOf(event);
  let group = current.get(lane);
  const goesOn = group && (event.time - group.last < NEXT || group.claims.get(event.key) > event.time);
  if (!goesOn) {
    group = { lane, first: event.time, runs: [], keys: new Set(), claims: new Map(), kind: "reading" };
    current.set(lane, group);
  }
  group.last = event.time;
  group.keys.add(event.key);
  if (event.what === "lease" || event.what === "hold") group.claims.set(event.key, event.until);
  if (event.what === "row" || event.what === "lost") group.claims.delete(event.key);
  if (event.what === "hold") group.kind = "writing";
  const keys = [...group.keys];
  group.title = keys.length > 1 ? `${number.format(keys.length)} keys` : keys[0];
  return group;
}

function add(event) {
  const group = groupOf(event);
  const last = group.runs.at(-1);
  // The same with another key, as on a list, is the same run.
  const isSame = last && last.what === event.what && last.state === event.state && last.key !== event.key;
  const run = isSame ? last : { ...event, count: 0 };
  if (!isSame) group.runs.push(run);
  run.count += 1;
  const isFresh = serverTime() - event.time < FRESH;
  timeline.add(group, run, event, !isSame, isFresh);
  list(group, run, !isSame, isFresh);
  if (group.kind === "writing" && isFresh) unspoken.add(group);
}

// Lines that came too fast to show are an item of the list.
function addGap(event) {
  const item = element("li", "request gap", `${clock(event.time)} ${event.text}`);
  at("requests").prepend(item);
}

function summary(group) {
  const counts = new Map();
  for (const run of group.runs) {
    const word = SUMMARY[run.what]?.(run.state);
    if (word) counts.set(word, (counts.get(word) || 0) + run.count);
  }
  return [...counts].map(([word, count]) => (count > 1 ? `${number.format(count)} ` : "") + word).join(", ");
}

function list(group, run, isNewRun, isFresh) {
  at("quiet").hidden = true;
  if (!group.item) {
    group.item = element("li", `request ${group.kind}`);
    const parts = { when: element("time", "", clock(group.first)), title: element("b", "key"), words: element("span", "words"), lane: element("span", "soft") };
    const details = element("details");
    const head = element("summary");
    head.append(...Object.values(parts));
    details.append(head, (group.steps = element("ol", "steps")));
    group.item.append(details);
    group.parts = parts;
    at("requests").prepend(group.item);
    if (at("requests").children.length > GROUPS) at("requests").lastElementChild.remove();
  }
  group.item.className = `request ${group.kind}${isFresh ? " fresh" : ""}`;
  setText(group.parts.title, group.title);
  setText(group.parts.words, summary(group));
  const took = group.runs.length > 1 ? `, ${span(group.last - group.first)}` : "";
  setText(group.parts.lane, group.lane + took);
  if (isNewRun && group.runs.length <= STEPS) {
    run.step = element("li");
    run.more = element("span", "soft");
    run.step.append(mark(run.what), element("time", "", clock(run.time)), keyLink(run.key), element("span", "", run.text), run.more);
    group.steps.append(run.step);
  }
  if (run.more && run.count > 1) setText(run.more, `and ${number.format(run.count - 1)} more`);
}

// The key that is followed

function follow(event) {
  const writes = ["hold", "row", "lost", "refused"].includes(event.what);
  if (!event.key) return;
  if (!pinned && event.key !== now.key && (event.what === "hold" || !now.written)) {
    Object.assign(now, { key: event.key, state: "unknown", until: null, whole: null, refused: 0, written: false });
    timeline.follow(event.key);
  }
  if (event.key !== now.key) return;
  now.written ||= writes;
  if (event.state) now.state = event.state;
  if (event.until !== now.until) Object.assign(now, { until: event.until, whole: event.until && event.until - event.time });
  if (event.what === "refused") now.refused += 1;
  setText(at("now-said"), `${clock(event.time)} ${event.text} (${laneOf(event)})`);
  showNow();
}

function showNow() {
  if (!now.key) return;
  const car = /^Car\.(\d+)$/.exec(now.key);
  if (at("now-key").textContent !== now.key && now.key) {
    const link = element(car ? "a" : "span", "", now.key);
    if (car) link.href = `${root.dataset.car}${car[1]}/`;
    at("now-key").replaceChildren(link);
  }
  const left = now.until === null ? null : now.until - serverTime();
  if (left !== null && left < 0) Object.assign(now, { state: "expired", until: null });
  if (at("now").dataset.state !== now.state) {
    at("now").dataset.state = now.state;
    at("now").querySelector(".what .mark").replaceWith(mark(now.state));
    setText(at("now-state"), now.state === "unknown" ? "not known" : now.state.replaceAll("-", " "));
  }
  at("now-bar").max = now.whole || 1;
  at("now-bar").value = left > 0 ? left : 0;
  at("now-deadline").hidden = !(left > 0);
  const rest = Math.ceil(left);
  const minutes = `${Math.floor(rest / 60)}:${String(rest % 60).padStart(2, "0")} min`;
  if (left > 0) setText(at("now-left"), `ends in ${rest >= 60 ? minutes : `${rest} s`}`);
  at("now-refused").hidden = !now.refused;
  setText(at("now-refused"), `${now.refused} refused`);
}

// Screen readers are told of writes, at most once a second, if that is wanted.
function speak() {
  if (at("announce").checked && unspoken.size) {
    const said = [...unspoken].slice(-3).map((group) => `${group.title}: ${summary(group)}`);
    const more = unspoken.size > 3 ? `, and ${unspoken.size - 3} more` : "";
    setText(at("spoken"), said.join("; ") + more);
  }
  unspoken.clear();
}

// The chart: found above the line, not found below

function bar(className, x, y, width, height) {
  const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [name, value] of Object.entries({ class: className, x, y, width, height })) {
    rect.setAttribute(name, value);
  }
  return rect;
}

function showChart() {
  const last = Math.floor(serverTime());
  for (const second of seconds.keys()) if (second <= last - SECONDS) seconds.delete(second);
  const most = Math.max(1, ...[...seconds.values()].flat());
  const bars = [bar("axis", 0, 39.5, SECONDS * 4, 1)];
  let [found, missing] = [0, 0];
  for (const [second, [up, down]] of seconds) {
    const x = (SECONDS - 1 - (last - second)) * 4;
    if (up) bars.push(bar("found", x, 39.5 - (up / most) * 38, 3.4, (up / most) * 38));
    if (down) bars.push(bar("missing", x, 40.5, 3.4, (down / most) * 38));
    [found, missing] = [found + up, missing + down];
  }
  at("chart").replaceChildren(...bars);
  setText(at("peak"), seconds.size ? `maximum: ${number.format(most)} per second` : "");
  setText(at("chart-words").querySelector(".found"), `${number.format(found)} found (above the line)`);
  setText(at("chart-words").querySelector(".missing"), `${number.format(missing)} not found (below)`);
}

// The totals and the entries

function onTotals(totals) {
  skew = Date.now() / 1000 - totals.now;
  if (paused) return;
  const c = totals.counters;
  const known = Object.keys(c).length > 0;
  const shown = { ...c, fetches: (c.found || 0) + (c.missing || 0) };
  for (const name of ["fetches", "evictions", "items", "bytes", "dropped"]) {
    setText(at(name), known ? number.format(shown[name]) : "–");
  }
  at("dropped").parentElement.classList.toggle("bad", c.dropped > 0);
  several = totals.servers.length > 1;
  const failing = totals.servers.filter((server) => server.problem);
  const lines = failing.map((s) => element("li", "", `${s.address} ${s.problem}.`));
  at("problems").hidden = !lines.length;
  if (at("problems").textContent !== lines.map((l) => l.textContent).join("")) {
    at("problems").replaceChildren(...lines);
  }
  if (failing.length) Object.assign(now, { state: "unknown", until: null });
  const watching = totals.servers.filter((server) => server.watching).length;
  // After each (re)connection the state is unknown until every server has answered or failed.
  if (watching + failing.length < totals.servers.length) return;
  setText(at("state"), `Watching ${watching} of ${totals.servers.length} server${several ? "s" : ""}.`);
}

const whole = (seconds) => (seconds === null ? "–" : span(Math.max(seconds, 1)).replace(".0", ""));

function entryRow(item) {
  const row = element("tr", "fresh");
  const head = element("th");
  const state = element("td");
  head.scope = "row";
  head.append(keyLink(item.key));
  state.append(element("span", "entry"));
  row.dataset.key = item.key;
  row.append(head, state, ...[0, 1, 2].map(() => element("td", "number")));
  return row;
}

function onCached(cached) {
  if (paused) return;
  const unknown = cached.unknown.length > 0;
  setText(at("count"), cached.count || !unknown ? number.format(cached.count) : "–");
  const rows = new Map([...at("cached").children].map((row) => [row.dataset.key, row]));
  let before = null;
  for (const item of cached.items) {
    const row = rows.get(item.key) || entryRow(item);
    rows.delete(item.key);
    const entry = row.querySelector(".entry");
    const state = item.state.replaceAll(" ", "-");
    if (entry.textContent.trim() !== item.state) entry.replaceChildren(mark(state), element("span", "", item.state));
    const texts = [whole(item.age), whole(item.left), item.used === null ? "never" : whole(item.used)];
    texts.forEach((text, index) => setText(row.children[index + 2], text));
    const place = before ? before.nextElementSibling : at("cached").firstElementChild;
    if (row !== place) at("cached").insertBefore(row, place);
    before = row;
  }
  for (const row of rows.values()) row.remove();
  const more = cached.count - cached.items.length;
  let text = more > 0 ? `And ${number.format(more)} older entries.` : "";
  if (unknown) text = `Not known: the entries on ${cached.unknown.join(", ")}.`;
  else if (!cached.count) text = "This site has no entries in the cache.";
  setText(at("more"), text);
  // What the log hasn't told of the key: since before, or while a server was away.
  if (now.key && now.state === "unknown" && !unknown) {
    const entry = cached.followed || cached.items.find((item) => item.key === now.key);
    if (entry) now.state = entry.state.replaceAll(" ", "-");
    else if (now.key === pinned || more <= 0) now.state = "nothing";
    if (entry?.left) Object.assign(now, { until: serverTime() + entry.left, whole: entry.left + (entry.age || 0) });
  }
}

// The connection

async function refused() {
  // An EventSource doesn't give the reason for a refusal, so fetch it from the same URL.
  const control = new AbortController();
  try {
    const response = await fetch(root.dataset.events, { signal: control.signal });
    if (response.ok) return connect();
    setText(at("state"), await response.text());
    if (response.status !== 503) return;
  } catch {
    setText(at("state"), "The site doesn’t answer. Trying again …");
  } finally {
    control.abort();
  }
  setTimeout(connect, TRY_AGAIN);
}

function connect() {
  const source = new EventSource(`${root.dataset.events}?key=${encodeURIComponent(pinned)}`);
  const on = (name, show) => source.addEventListener(name, (e) => show(JSON.parse(e.data)));
  on("log", onLog);
  on("totals", onTotals);
  on("cached", onCached);
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) refused();
  });
  window.addEventListener("pagehide", () => source.close());
}

at("pause").addEventListener("click", () => {
  paused = !paused;
  at("pause").setAttribute("aria-pressed", paused);
  setText(at("state"), paused ? "Paused." : "Continuing …");
  if (!paused) held.splice(0).forEach(onLog);
});
if (pinned) timeline.follow(pinned);
setInterval(() => paused || showNow(), 250);
setInterval(() => {
  if (paused) return;
  showChart();
  speak();
}, 1000);
connect();

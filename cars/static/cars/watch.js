// The page /watch/: shows the stream of server-sent events. Inserts text, never HTML.
"use strict";

const KEPT = 1000; // events in memory, for the filter
const SHOWN = 200; // events on the page
const SECONDS = 180; // in the chart
const SAME = 0.05; // seconds between fetches that are shown as one event
const TRY_AGAIN = 5000; // milliseconds until the next attempt, if the site refused

const root = document.getElementById("watch");
const at = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");

let source = null;
let paused = false;
let changed = false; // new events since the last display
let several = false; // more than one server
let events = []; // newest first
let seconds = []; // of the chart: {second, found, missing}

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// Screen readers announce the status, so it is only set when it changes.
function setStatus(text) {
  if (at("state").textContent !== text) at("state").textContent = text;
}

// The key, as a link if the object has a page.
function keyElement(key) {
  const car = /^Car\.(\d+)$/.exec(key);
  if (!car) return element("span", "key", key);
  const link = element("a", "key", key);
  link.href = `${root.dataset.car}${car[1]}/`;
  return link;
}

// The stream

function clock(time) {
  const date = new Date(time * 1000);
  const two = (n) => String(n).padStart(2, "0");
  const parts = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
  return `${parts}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

// Fetches of many keys at once with the same result become one line; `also` counts the others.
function grouped(all) {
  const lines = [];
  for (const event of all) {
    const last = lines.at(-1);
    const same = last && last.text === event.text && last.server === event.server;
    const another = same && event.text.startsWith("fetched") && last.key !== event.key;
    if (another && last.time - event.time < SAME) last.also += 1;
    else lines.push({ ...event, also: 0 });
  }
  return lines;
}

function line(event) {
  const item = element("li", event.what);
  const time = element("time", "", event.what === "gap" ? "" : clock(event.time));
  const keys = event.also === 1 ? "key" : "keys";
  const others = event.also ? ` (and ${number.format(event.also)} more ${keys})` : "";
  const text = element("span", "words", event.text + others);
  if (several && event.server) text.append(" ", element("span", "soft", event.server));
  item.append(time, event.key ? keyElement(event.key) : element("span", "key", "…"), text);
  return item;
}

function showEvents() {
  changed = false;
  const wanted = at("filter").value.trim().toLowerCase();
  const some = wanted ? events.filter((e) => e.key.toLowerCase().includes(wanted)) : events;
  at("stream").replaceChildren(...grouped(some).slice(0, SHOWN).map(line));
  at("quiet").hidden = some.length > 0;
  if (wanted && events.length) at("quiet").textContent = "No events with such a key yet.";
}

function onLog(news) {
  if (news.more) {
    const text = `${number.format(news.more)} more events, too fast to show`;
    events.unshift({ what: "gap", key: "", text, time: 0 });
  }
  events = news.events.reverse().concat(events).slice(0, KEPT);
  count(news.found, news.missing);
  changed = true;
}

// The chart: found above the line, not found below

function count(found, missing) {
  const second = Math.floor(Date.now() / 1000);
  let last = seconds.at(-1);
  if (!last || last.second !== second) seconds.push((last = { second, found: 0, missing: 0 }));
  last.found += found;
  last.missing += missing;
}

function bar(className, x, y, height) {
  const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [name, value] of Object.entries({ class: className, x, y, width: 3.4, height })) {
    rect.setAttribute(name, value);
  }
  return rect;
}

function showChart() {
  const now = Math.floor(Date.now() / 1000);
  seconds = seconds.filter((s) => s.second > now - SECONDS);
  const most = Math.max(1, ...seconds.map((s) => Math.max(s.found, s.missing)));
  const bars = [];
  for (const s of seconds) {
    const x = (SECONDS - 1 - (now - s.second)) * 4;
    const up = (s.found / most) * 78;
    const down = (s.missing / most) * 78;
    if (up) bars.push(bar("found", x, 79.5 - up, up));
    if (down) bars.push(bar("missing", x, 80.5, down));
  }
  const axis = bar("axis", 0, 79.5, 1);
  axis.setAttribute("width", SECONDS * 4);
  at("chart").replaceChildren(axis, ...bars);
  at("peak").textContent = seconds.length ? `maximum: ${number.format(most)} per second` : "";
  const sum = (name) => number.format(seconds.reduce((all, s) => all + s[name], 0));
  at("chart-words").querySelector(".found").textContent = `${sum("found")} found (above the line)`;
  at("chart-words").querySelector(".missing").textContent =
    `${sum("missing")} not found (below the line)`;
}

// The totals and the items

function onTotals(totals) {
  if (paused) return;
  const c = totals.counters;
  const known = Object.keys(c).length > 0;
  const shown = { ...c, fetches: (c.found || 0) + (c.missing || 0) };
  for (const name of ["fetches", "evictions", "items", "bytes", "dropped"]) {
    at(name).textContent = known ? number.format(shown[name]) : "–";
  }
  at("dropped").parentElement.classList.toggle("bad", c.dropped > 0);
  several = totals.servers.length > 1;
  const failing = totals.servers.filter((server) => server.problem);
  const lines = failing.map((s) => element("li", "", `${s.address} ${s.problem}.`));
  at("problems").hidden = !lines.length;
  if (at("problems").textContent !== lines.map((l) => l.textContent).join("")) {
    at("problems").replaceChildren(...lines);
  }
  const watching = totals.servers.filter((server) => server.watching).length;
  // After each (re)connection the state is unknown until every server has answered or failed.
  if (watching + failing.length < totals.servers.length) return;
  setStatus(`Watching ${watching} of ${totals.servers.length} server${several ? "s" : ""}.`);
}

function span(seconds) {
  if (seconds === null) return "–";
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h`;
}

function onCached(cached) {
  if (paused) return;
  const unknown = cached.unknown.length > 0;
  at("count").textContent = cached.count || !unknown ? number.format(cached.count) : "–";
  const rows = cached.items.map((item) => {
    const row = element("tr");
    const head = element("th");
    head.scope = "row";
    head.append(keyElement(item.key));
    const state = element("td");
    state.append(element("span", `entry ${item.state.replaceAll(" ", "-")}`, item.state));
    row.append(head, state);
    const used = item.used === null ? "never" : span(item.used);
    for (const text of [span(item.age), used, number.format(item.size)]) {
      row.append(element("td", "number", text));
    }
    return row;
  });
  // Replacing the rows would take the focus from a key, so the table waits.
  if (!at("cached").contains(document.activeElement)) at("cached").replaceChildren(...rows);
  const more = cached.count - cached.items.length;
  at("more").textContent = more > 0 ? `And ${number.format(more)} older entries.` : "";
  if (unknown) at("more").textContent = `Not known: the entries on ${cached.unknown.join(", ")}.`;
  else if (!cached.count) at("more").textContent = "This site has no entries in the cache.";
}

// The connection

async function refused() {
  // An EventSource doesn't give the reason for a refusal, so fetch it from the same URL.
  const control = new AbortController();
  try {
    const response = await fetch(root.dataset.events, { signal: control.signal });
    if (response.ok) return connect();
    setStatus(await response.text());
    if (response.status !== 503) return;
  } catch {
    setStatus("The site doesn’t answer. Trying again …");
  } finally {
    control.abort();
  }
  setTimeout(connect, TRY_AGAIN);
}

function connect() {
  source = new EventSource(root.dataset.events);
  const on = (name, show) => source.addEventListener(name, (e) => show(JSON.parse(e.data)));
  on("log", onLog);
  on("totals", onTotals);
  on("cached", onCached);
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) refused();
  });
}

at("pause").addEventListener("click", () => {
  paused = !paused;
  at("pause").setAttribute("aria-pressed", paused);
  setStatus(paused ? "Paused." : "Continuing …");
  if (!paused) showEvents();
});
// A link to a key: /watch/?key=Car.12
at("filter").value = new URLSearchParams(location.search).get("key") || "";
at("filter").addEventListener("input", showEvents);
// Not while a key has the focus, because replacing the events would take it away.
setInterval(() => {
  if (changed && !paused && !at("stream").contains(document.activeElement)) showEvents();
}, 250);
setInterval(() => paused || showChart(), 1000);
window.addEventListener("pagehide", () => source.close());
connect();

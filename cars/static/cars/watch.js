// The page /watch/: shows the stream of server-sent events. Text goes in as text, never as HTML.
"use strict";

const KEPT = 1000; // events in memory, for the filter
const SHOWN = 200; // events on the page
const SECONDS = 180; // in the chart
const SAME = 0.05; // seconds between lookups of many keys at once, which are shown as one
const TRY_AGAIN = 5000; // milliseconds, when there was no room

const root = document.getElementById("watch");
const at = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");

let source = null;
let paused = false;
let changed = false; // since the events were shown
let several = false; // servers
let events = []; // the newest first
let seconds = []; // of the chart: {second, found, missing}

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// Said aloud by screen readers, so only when it changes.
function say(text) {
  if (at("state").textContent !== text) at("state").textContent = text;
}

// The key, as a link where there is a page behind it.
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

// Many keys looked up at once, with one outcome, are one line: `also` counts the others.
function grouped(all) {
  const lines = [];
  for (const event of all) {
    const last = lines.at(-1);
    const same = last && last.text === event.text && last.server === event.server;
    const another = same && event.text.startsWith("looked up") && last.key !== event.key;
    if (another && last.time - event.time < SAME) last.also += 1;
    else lines.push({ ...event, also: 0 });
  }
  return lines;
}

function line(event) {
  const item = element("li", event.what);
  const time = element("time", "", event.what === "gap" ? "" : clock(event.time));
  const others = event.also ? `and ${number.format(event.also)} more ` : "";
  const words = element("span", "words", others + event.text);
  if (several && event.server) words.append(" ", element("span", "soft", event.server));
  item.append(time, event.key ? keyElement(event.key) : element("span", "key", "…"), words);
  return item;
}

function showEvents() {
  changed = false;
  const wanted = at("filter").value.trim().toLowerCase();
  const some = wanted ? events.filter((e) => e.key.toLowerCase().includes(wanted)) : events;
  at("stream").replaceChildren(...grouped(some).slice(0, SHOWN).map(line));
  at("quiet").hidden = some.length > 0;
  if (wanted && events.length) at("quiet").textContent = "Nothing yet with such a key.";
}

function onLog(news) {
  if (news.more) {
    const text = `${number.format(news.more)} more, too fast to show`;
    events.unshift({ what: "gap", key: "", text, time: 0 });
  }
  events = news.events.reverse().concat(events).slice(0, KEPT);
  count(news.found, news.missing);
  changed = true;
}

// The chart: found above the line, not found below it

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
  at("peak").textContent = seconds.length ? `highest: ${number.format(most)} a second` : "";
  const sum = (name) => number.format(seconds.reduce((all, s) => all + s[name], 0));
  at("chart-words").querySelector(".found").textContent = `${sum("found")} found, above the line`;
  at("chart-words").querySelector(".missing").textContent =
    `${sum("missing")} not found, below it`;
}

// Totals, and what is cached

function onTotals(totals) {
  const c = totals.counters;
  const known = Object.keys(c).length > 0;
  const shown = { ...c, lookups: (c.found || 0) + (c.missing || 0) };
  for (const name of ["lookups", "evictions", "items", "bytes", "dropped"]) {
    at(name).textContent = known ? number.format(shown[name]) : "–";
  }
  at("dropped").parentElement.classList.toggle("bad", c.dropped > 0);
  several = totals.servers.length > 1;
  const troubled = totals.servers.filter((server) => server.trouble);
  const lines = troubled.map((s) => element("li", "", `${s.address} ${s.trouble}.`));
  at("troubles").hidden = !lines.length;
  if (at("troubles").textContent !== lines.map((l) => l.textContent).join("")) {
    at("troubles").replaceChildren(...lines);
  }
  const good = totals.servers.filter((server) => server.watching).length;
  // Until a server has answered, and each time the stream is taken up again, there is no news.
  if (good + troubled.length < totals.servers.length) return;
  say(`Watching ${good} of ${totals.servers.length} server${several ? "s" : ""}${paused ? ", paused" : ""}.`);
}

function span(seconds) {
  if (seconds === null) return "–";
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h`;
}

function onCached(cached) {
  at("count").textContent = number.format(cached.count);
  if (paused) return;
  const rows = cached.objects.map((object) => {
    const row = element("tr");
    const head = element("th");
    head.scope = "row";
    head.append(keyElement(object.key));
    const kind = element("td");
    kind.append(element("span", `kind ${object.kind.replaceAll(" ", "-")}`, object.kind));
    row.append(head, kind);
    const used = object.used === null ? "not yet" : span(object.used);
    for (const text of [span(object.age), used, number.format(object.size)]) {
      row.append(element("td", "number", text));
    }
    return row;
  });
  // A key that has the focus would lose it: then the table waits.
  if (!at("cached").contains(document.activeElement)) at("cached").replaceChildren(...rows);
  const more = cached.count - cached.objects.length;
  at("more").textContent = more > 0 ? `And ${number.format(more)} older ones.` : "";
  if (!cached.count) at("more").textContent = "Nothing of this site is cached.";
}

// The connection

async function refused() {
  // An EventSource doesn't say why it was refused; the same address does.
  const control = new AbortController();
  try {
    const answer = await fetch(root.dataset.events, { signal: control.signal });
    if (answer.ok) return connect();
    say(await answer.text());
    if (answer.status !== 503) return;
  } catch {
    say("The site doesn’t answer. Trying again …");
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
  at("pause").textContent = paused ? "Go on" : "Pause";
});
at("filter").addEventListener("input", showEvents);
// Not while a key has the focus: it would lose it.
setInterval(() => {
  if (changed && !paused && !at("stream").contains(document.activeElement)) showEvents();
}, 250);
setInterval(() => paused || showChart(), 1000);
window.addEventListener("pagehide", () => source.close());
connect();

// The timeline of /watch/: one lane for each connection, requests as brackets, and above them what
// stands under one key. Time goes by events, not by a scale: each has a column, and what happens
// after a pause begins a new burst. Nodes are added at the end and removed at the beginning.
"use strict";

function mark(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("class", `mark ${name}`);
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#mark-${name}`);
  svg.append(use);
  return svg;
}

function clock(time) {
  const date = new Date(time * 1000);
  const two = (n) => String(n).padStart(2, "0");
  const parts = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
  return `${parts}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

function span(seconds) {
  if (seconds < 0.0995) return `${(seconds * 1000).toFixed(1)} ms`;
  if (seconds < 120) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  return seconds < 7200 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h`;
}

function label(group) {
  return group.runs.length > 1 ? `${group.title}  ${span(group.last - group.first)}` : group.title;
}

class Timeline {
  static PAUSE = 0.5; // seconds without an event, after which a new burst begins
  static HEAD = 7; // columns that its time takes
  static WIDEST = 120; // columns of a burst
  static MOST = 480; // columns on the page
  static TOP = 2; // rows above the lanes: what stands under the key is in the second

  constructor(box, labels, keyLabel) {
    Object.assign(this, { box, labels, keyLabel });
    this.bursts = [];
    this.lanes = new Map(); // the row of each connection, by its name
    this.key = "";
  }

  // Draw `run`, the newest of `group`: events of one kind that follow each other in a request.
  add(group, run, event, isNewRun, isFresh) {
    const follows = this.box.scrollLeft + this.box.clientWidth >= this.box.scrollWidth - 8;
    const burst = this.burstFor(event);
    let bracket = burst.brackets.get(group);
    if (!bracket) {
      bracket = { node: element("div", `bracket ${group.kind}`), label: element("span"), runs: new Map() };
      bracket.first = burst.columns.length + 1;
      bracket.node.append(bracket.label);
      burst.node.append(bracket.node);
      burst.brackets.set(group, bracket);
    }
    let chip = bracket.runs.get(run);
    if (!chip) {
      burst.columns.push([]);
      burst.head.style.gridArea = `1 / 1 / auto / ${Math.max(burst.columns.length, Timeline.HEAD) + 1}`;
      chip = { column: burst.columns.length, node: element("div", "chip"), count: element("i") };
      chip.node.append(mark(run.what), chip.count);
      chip.node.title = `${clock(event.time)} ${event.key} ${run.text}`;
      chip.node.style.gridArea = `${this.row(group)} / ${chip.column}`;
      bracket.runs.set(run, chip);
      burst.node.append(chip.node);
    }
    burst.columns[chip.column - 1].push(event);
    burst.last = event.time;
    chip.count.textContent = run.count > 1 ? run.count : "";
    bracket.node.className = `bracket ${group.kind}${isFresh ? " fresh" : ""}`;
    const width = Math.max(bracket.last || 0, chip.column);
    bracket.last = width;
    bracket.node.style.gridArea = `${this.row(group)} / ${bracket.first} / auto / ${width + 1}`;
    bracket.label.textContent = label(group);
    if (event.key === this.key || isNewRun) this.drawTrack(burst);
    if (!follows) return;
    this.box.scrollLeft = this.box.scrollWidth;
    if (burst.columns.length === 1) this.show(bracket.node);
  }

  // Scroll to a lane, and no further down than needed: what stands under the key is above the lanes.
  show(node) {
    this.box.scrollTop = node.offsetTop + node.offsetHeight - this.box.clientHeight;
  }

  burstFor(event) {
    const last = this.bursts.at(-1);
    if (last && event.time - last.last < Timeline.PAUSE && last.columns.length < Timeline.WIDEST) return last;
    const burst = { node: element("div", "burst"), columns: [], brackets: new Map(), track: [], last: event.time };
    const pause = last ? event.time - last.last : 0;
    const later = pause >= Timeline.PAUSE ? `  ${span(pause)} later` : "";
    burst.head = element("div", "head");
    burst.head.append(element("span", "", clock(event.time) + later));
    burst.node.append(burst.head);
    burst.before = last ? last.after : "unknown";
    burst.after = burst.before;
    this.bursts.push(burst);
    this.box.classList.remove("empty");
    this.box.append(burst.node);
    let columns = this.bursts.reduce((sum, each) => sum + each.columns.length, 0);
    while (columns > Timeline.MOST && this.bursts.length > 1) {
      const old = this.bursts.shift();
      columns -= old.columns.length;
      old.node.remove();
    }
    return burst;
  }

  // The row of the connection of `group`, which gets a label when it is new.
  row(group) {
    if (!this.lanes.has(group.lane)) {
      this.lanes.set(group.lane, Timeline.TOP + this.lanes.size + 1);
      this.labels.append(element("b", "", group.lane));
    }
    return this.lanes.get(group.lane);
  }

  // Follow another key: what stood under it is drawn anew.
  follow(key) {
    this.key = key;
    this.keyLabel.textContent = key;
    let before = "unknown";
    for (const burst of this.bursts) {
      burst.before = before;
      this.drawTrack(burst);
      before = burst.after;
    }
  }

  // Draw what stands under the key in each column: one segment for each stretch of one state.
  drawTrack(burst) {
    for (const node of burst.track) node.remove();
    burst.track = [];
    let state = burst.before;
    let segment = null;
    burst.columns.forEach((events, index) => {
      const own = events.filter((event) => event.key === this.key);
      const next = own.at(-1)?.state ?? state;
      if (!segment || next !== state) {
        segment = { node: element("div", `segment ${next}`), from: index + 1 };
        burst.track.push(segment.node);
        burst.node.append(segment.node);
      }
      state = next;
      segment.node.style.gridArea = `${Timeline.TOP} / ${segment.from} / auto / ${index + 2}`;
      if (own.some((event) => event.what === "refused")) {
        const refused = element("div", "refusal");
        refused.append(mark("refused"));
        refused.style.gridArea = `${Timeline.TOP} / ${index + 1}`;
        burst.track.push(refused);
        burst.node.append(refused);
      }
    });
    burst.after = state;
  }
}

// Steps through the runs of the tutorial: by buttons, and by the arrow keys inside of a run.
"use strict";

function words(step) {
  const text = step.innerText.replace(/\s+/g, " ");
  return text.trim();
}

function stepThrough(run) {
  const steps = [...run.querySelectorAll(".step")];
  if (!steps.length) return;
  const from = run.dataset.from;
  let now = from === "1" ? 1 : steps.length;

  const controls = element("div", "controls");
  const button = (text, where) => {
    const made = element("button", "quiet button", text);
    made.type = "button";
    made.addEventListener("click", () => show(where(), true));
    controls.append(made);
    return made;
  };
  const back = button("Back", () => now - 1);
  const next = button("Next", () => now + 1);
  const all = button("Show all", () => steps.length);
  const place = element("span", "place");
  const spoken = element("span", "unseen");
  spoken.setAttribute("role", "status");
  controls.append(place, spoken);
  run.prepend(controls);
  run.classList.add("stepping");
  const details = run.querySelector(".sources");

  function showCode(step) {
    if (!details) return;
    for (const figure of details.querySelectorAll("figure")) {
      figure.hidden = figure.dataset.source !== step.dataset.source;
      for (const line of figure.querySelectorAll("[data-line]")) {
        const marked = !figure.hidden && line.dataset.line === step.dataset.line;
        line.classList.toggle("now", marked);
        // Scroll the code only, not the page.
        if (marked) line.closest("pre").scrollTop = line.offsetTop - line.closest("pre").offsetTop - 60;
      }
    }
    details.querySelector("summary").textContent = step.dataset.source
      ? `The code of this step: ${step.dataset.source}`
      : "This step has no code of the recipe";
  }

  function show(number, speak) {
    now = Math.min(Math.max(number, 1), steps.length);
    steps.forEach((step, index) => {
      step.classList.toggle("later", index + 1 > now);
      step.classList.toggle("now", index + 1 === now);
      if (index + 1 === now) step.setAttribute("aria-current", "step");
      else step.removeAttribute("aria-current");
    });
    // Not `disabled`: a button would lose the focus, and the arrow keys their effect.
    back.setAttribute("aria-disabled", now === 1);
    for (const each of [next, all]) each.setAttribute("aria-disabled", now === steps.length);
    place.textContent = `Step ${now} of ${steps.length}`;
    if (speak) spoken.textContent = words(steps[now - 1]);
    showCode(steps[now - 1]);
  }

  run.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by || event.altKey || event.ctrlKey || event.metaKey || event.target.closest("pre")) return;
    event.preventDefault();
    show(now + by, true);
  });
  show(now, false);
  if (details) details.open = from === "1" && window.matchMedia("(min-width: 52rem)").matches;
}

document.querySelectorAll(".run").forEach(stepThrough);

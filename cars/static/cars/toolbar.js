// Moves the page aside while the debug toolbar is open, so that the toolbar hides none of it.
"use strict";

const host = document.getElementById("djDebugRoot");
const toolbar = (host.shadowRoot || document).getElementById("djDebugToolbar");

function makeRoom() {
  const open = !toolbar.classList.contains("djdt-hidden");
  document.documentElement.classList.toggle("toolbar-open", open);
}

new MutationObserver(makeRoom).observe(toolbar, { attributeFilter: ["class"] });
makeRoom();

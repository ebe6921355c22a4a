// What the reader chose is kept in the address, as #where?goal=…&net=…: opening it shows the same.
const all = (selector, root = document) => [...root.querySelectorAll(selector)];

const view = (() => {
  "use strict";
  const parts = () => location.hash.slice(1).split("?");
  const state = new Map(new URLSearchParams(parts()[1] ?? "")), applied = new Map();
  let waiting;

  function write() {
    const kept = new URLSearchParams([...state]).toString();
    const hash = `#${parts()[0]}${kept && `?${kept}`}`;
    if (hash !== (location.hash || "#")) history.replaceState(null, "", hash);
  }

  // An empty text is the default. Browsers refuse an address that changes at every step of a slider.
  function keep(name, text) {
    if (text) state.set(name, text);
    else state.delete(name);
    clearTimeout(waiting);
    waiting = setTimeout(write, 150);
  }

  // `apply` gets what the address says, now and whenever another one is opened.
  function bind(name, apply) {
    applied.set(name, apply);
    if (state.has(name)) apply(state.get(name));
  }

  window.addEventListener("hashchange", () => {
    const [, kept] = parts();
    if (kept === undefined) return write(); // a link inside the page keeps the view
    const asked = new URLSearchParams(kept);
    for (const [name, apply] of applied) {
      const text = asked.get(name) ?? "";
      if (text === (state.get(name) ?? "")) continue;
      keep(name, text);
      apply(text);
    }
  });

  // Without the question mark the browser finds the place by itself, once it has looked with it.
  if (state.size && parts()[0]) {
    window.addEventListener("load", () => setTimeout(() => location.replace(`#${parts()[0]}`)));
  }
  return { bind, keep, target: () => document.getElementById(parts()[0]) };
})();

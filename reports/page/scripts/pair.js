// Two rows side by side: how far they are apart, and whether that is more than noise.
const pair = (() => {
  "use strict";
  const UNDECIDED = 0, EQUAL = 3; // as reports/page/tables.py codes outcomes; 1 and 2: better and worse
  const main = document.querySelector("main"), panel = document.createElement("section");
  const rows = all("table[data-aims] tbody tr").filter((row) => tables.value(row.cells[1]) !== "");
  const tableOf = (row) => row.closest("table");
  const name = (row) => (row.querySelector("th a") ?? row.cells[0].firstChild).textContent.trim();
  const where = (row) => row.closest(".scroll").getAttribute("aria-label");
  let picked = [];

  function add(parent, tag, text = "", attributes = {}) {
    const element = document.createElement(tag);
    element.textContent = text;
    for (const [key, said] of Object.entries(attributes)) element.setAttribute(key, said);
    parent.append(element);
    return element;
  }

  // Numbers of a row by their headings.
  function figures(row) {
    const heads = tables.heads(tableOf(row)).map((head, at) => [head, row.cells[at]]);
    const numeric = heads.filter(([head]) => !head.matches(".say, .goal"));
    return new Map(numeric.map(([head, cell]) => [head.textContent.trim(), cell]));
  }

  // Of rows of one table Python has judged every pair; others differ where their intervals do.
  function noise(a, b, aim) {
    const [one, other] = [a, b].map((row) => row.dataset.ends?.split(" ").slice(2 * aim, 2 * aim + 2).map(Number));
    if (!one || !other) return "how much runs differ is not known";
    if (tableOf(a) !== tableOf(b) || !tableOf(a).dataset.pairs) {
      return one[1] < other[0] || other[1] < one[0] ? "beyond noise" : "may be noise";
    }
    const { pairs, aims } = tableOf(a).dataset, count = tableOf(a).tBodies[0].rows.length;
    const [i, j] = [a, b].map((row) => Number(row.dataset.at)).sort((x, y) => x - y);
    const many = aims.split(" ").length, width = Math.ceil(many / 2);
    const at = width * (i * count - (i * (i + 1)) / 2 + j - i - 1);
    const outcome = (parseInt(pairs.slice(at, at + width), 16) >> (2 * (many - 1 - aim))) & 3;
    if (outcome === UNDECIDED) return "may be noise";
    return outcome === EQUAL ? "too little to matter" : "beyond noise";
  }

  function apart(one, other) {
    const [a, b] = [one, other].map((cell) => Number(tables.value(cell) || NaN));
    const share = 100 * (b / a - 1);
    if (!Number.isFinite(share)) return "";
    if (share >= 900) return `${Math.round(b / a)} times`;
    const digits = Math.abs(share) < 9.95 ? 1 : 0;
    return `${share < 0 ? "−" : "+"}${Math.abs(share).toFixed(digits)}\u00a0%`;
  }

  function show() {
    panel.replaceChildren();
    panel.hidden = !picked.length;
    for (const button of all("button.pick")) {
      button.setAttribute("aria-pressed", String(picked.includes(button.closest("tr"))));
    }
    if (!picked.length) return;
    add(panel, "button", "Close", { type: "button" }).addEventListener("click", () => choose([]));
    const [a, b] = picked;
    if (!b) return void add(panel, "p", `${name(a)}, ${where(a)}: choose another to compare it with.`, { role: "status" });
    const elsewhere = where(a) !== where(b);
    if (!elsewhere) add(panel, "p", where(a));
    const scroll = add(panel, "div", "", { class: "scroll", tabindex: 0, role: "region", "aria-label": `${name(a)} and ${name(b)}` });
    const table = add(scroll, "table", "", { class: "plain" }), head = add(add(table, "thead"), "tr"), body = add(table, "tbody");
    add(head, "td");
    for (const row of picked) {
      const column = add(head, "th", name(row), { scope: "col", class: "num" });
      if (elsewhere) add(column, "span", ` ${where(row)}`, { class: "quiet" });
    }
    add(head, "th", "Second against first", { scope: "col", class: "num" });
    const aims = tableOf(a).dataset.aims.split(" "), other = figures(b);
    [...figures(a)].forEach(([label, cell], at) => {
      if (!other.has(label)) return;
      const line = add(body, "tr"), said = [apart(cell, other.get(label))];
      if (at < aims.length) said.push(noise(a, b, at));
      add(line, "th", label, { scope: "row" });
      for (const text of [cell.textContent, other.get(label).textContent, said.filter(Boolean).join(", ")]) {
        add(line, "td", text.trim(), { class: "num" });
      }
    });
  }

  function choose(chosen) {
    picked = chosen;
    view.keep("pair", picked.map((row) => row.id).join("."));
    show();
  }

  function toggle(row) {
    if (rows.includes(row)) choose(picked.includes(row) ? picked.filter((one) => one !== row) : [...picked, row].slice(-2));
  }

  panel.className = "pair screen";
  panel.setAttribute("aria-label", "Two side by side");
  panel.hidden = true;
  main.append(panel);
  for (const row of rows) {
    const label = `Compare ${name(row)}`;
    const button = add(row.cells[0], "button", "⇄", { type: "button", class: "pick", "aria-pressed": false, "aria-label": label });
    button.addEventListener("click", () => toggle(row));
  }
  view.bind("pair", (text) => {
    picked = text.split(".").map((id) => document.getElementById(id)).filter((row) => rows.includes(row)).slice(-2);
    show();
  });
  return { toggle };
})();

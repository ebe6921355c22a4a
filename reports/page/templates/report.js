// Sorts, filters and highlights; without it the page is a complete static document.
(() => {
  "use strict";
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  function sort(table, heading) {
    const index = [...heading.parentNode.children].indexOf(heading);
    const up = heading.getAttribute("aria-sort") !== "ascending";
    const body = table.tBodies[0];
    const value = (row) => row.children[index].dataset.value;
    const compare = (a, b) => {
      // What was not measured stays at the end, whichever way the rest is sorted.
      if (value(a) === "" || value(b) === "") return (value(a) === "") - (value(b) === "");
      const order = Number(value(a)) - Number(value(b)) || 0;
      return up ? order : -order;
    };
    body.append(...[...body.rows].sort(compare));
    for (const other of heading.parentNode.children) other.setAttribute("aria-sort", "none");
    heading.setAttribute("aria-sort", up ? "ascending" : "descending");
  }

  for (const table of all("table.sorts")) {
    table.classList.add("sortable");
    for (const button of all("thead button", table)) {
      button.disabled = false;
      button.addEventListener("click", () => sort(table, button.closest("th")));
    }
  }

  const find = document.getElementById("find");
  const only = document.getElementById("only");
  const shown = document.getElementById("shown");
  const rows = all("table.splits tbody tr");

  function filter() {
    const words = find.value.trim().toLowerCase();
    let left = 0;
    for (const row of rows) {
      const text = [...row.children].slice(0, 3).map((cell) => cell.textContent).join(" ");
      const fits = text.toLowerCase().includes(words);
      row.hidden = !fits || (only.checked && !row.classList.contains("front"));
      if (!row.hidden) left += 1;
    }
    shown.textContent = left === rows.length ? "" : `${left} of ${rows.length} rows shown`;
  }

  const controls = document.querySelector(".controls");
  controls.hidden = false;
  controls.addEventListener("input", filter);
  controls.addEventListener("submit", (event) => event.preventDefault());

  // A link to a row that the filter hides must still lead somewhere.
  window.addEventListener("hashchange", () => {
    const row = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!row || !row.hidden) return;
    find.value = "";
    only.checked = false;
    filter();
    row.scrollIntoView();
  });

  for (const point of all("a.point")) {
    const row = document.getElementById(point.getAttribute("href").slice(1));
    if (!row) continue;
    for (const [source, target] of [[point, row], [row, point]]) {
      for (const name of ["mouseenter", "focusin"]) {
        source.addEventListener(name, () => target.classList.add("hot"));
      }
      for (const name of ["mouseleave", "focusout"]) {
        source.addEventListener(name, () => target.classList.remove("hot"));
      }
    }
  }

  let closed = [];
  window.addEventListener("beforeprint", () => {
    closed = all("details:not([open])");
    for (const part of closed) part.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const part of closed) part.open = false;
  });
})();

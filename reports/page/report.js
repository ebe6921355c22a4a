// Sorts, filters and highlights; without it the page is a complete static document.
(() => {
  "use strict";
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const target = () => document.getElementById(decodeURIComponent(location.hash.slice(1)));

  function sort(table, heading) {
    const index = [...heading.parentNode.children].indexOf(heading);
    // The best comes first: where more is better, the highest.
    const now = heading.getAttribute("aria-sort");
    const up = "high" in heading.dataset ? now === "descending" : now !== "ascending";
    const value = (row) => row.cells[index].dataset.value ?? row.cells[index].textContent.trim();
    const compare = (a, b) => {
      const [one, other] = [value(a), value(b)];
      // What was not measured stays at the end, whichever way the rest is sorted.
      if (one === "" || other === "") return (one === "") - (other === "");
      const apart = Number(one) - Number(other);
      const order = Number.isNaN(apart) ? one.localeCompare(other, "en", { numeric: true }) : apart;
      return up ? order : -order;
    };
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
    for (const other of heading.parentNode.children) other.setAttribute("aria-sort", "none");
    heading.setAttribute("aria-sort", up ? "ascending" : "descending");
  }

  for (const table of all("table.sorts")) {
    table.classList.add("sortable");
    // Names without a key are sorted as the page has them.
    [...table.tBodies[0].rows].forEach((row, place) => { row.cells[0].dataset.value ??= place; });
    for (const button of all("thead button", table)) {
      button.disabled = false;
      button.addEventListener("click", () => sort(table, button.closest("th")));
    }
  }

  const find = document.getElementById("find");
  const only = document.getElementById("only");
  const shown = document.getElementById("shown");
  const tables = all("table.sorts").map((table) => {
    const rows = [...table.tBodies[0].rows];
    const texts = rows.map((row) => row.textContent.toLowerCase());
    return { rows, texts, fronts: rows.some((row) => row.classList.contains("front")) };
  });

  function filter() {
    const words = find.value.trim().toLowerCase();
    let [left, total] = [0, 0];
    for (const { rows, texts, fronts } of tables) {
      rows.forEach((row, place) => {
        const beside = only.checked && fronts && !row.classList.contains("front");
        row.hidden = beside || !texts[place].includes(words);
        left += !row.hidden;
      });
      total += rows.length;
    }
    shown.textContent = left === total ? "" : `${left} of ${total} table rows shown`;
  }

  const controls = document.querySelector(".controls");
  if (controls && tables.length) {
    controls.hidden = false;
    controls.addEventListener("input", filter);
    controls.addEventListener("submit", (event) => event.preventDefault());
  }

  // A link to a row that is filtered out or folded away must still lead somewhere.
  window.addEventListener("hashchange", () => {
    const row = target();
    if (!row) return;
    const folded = row.closest("details:not([open])");
    if (folded) folded.open = true;
    const fold = row.querySelector(":scope > details.fold");
    if (fold) fold.open = true;
    if (row.hidden) {
      find.value = "";
      only.checked = false;
      filter();
    }
    if (folded || row.matches("tr")) row.scrollIntoView({ block: "center" });
  });

  // Below a chart whose points lead to rows: what the last one said.
  function caption(figure) {
    if (!figure) return null;
    const found = figure.querySelector(".said") ?? document.createElement("p");
    if (!found.parentNode) figure.querySelector("svg").after(found);
    found.className = "said quiet screen";
    found.textContent ||= "Point at a mark, or tab to it, for its numbers; follow it to its row.";
    return found;
  }

  // A point and its row light up together; the chart says below itself what its point means.
  for (const point of all("a.point")) {
    const row = document.getElementById(point.getAttribute("href").slice(1));
    const said = caption(point.closest("figure"));
    const text = point.querySelector("title")?.textContent ?? "";
    for (const [source, other] of [[point, row], [row, point]]) {
      if (!source) continue; // an index's points lead to other pages
      for (const [name, on] of [["mouseenter", 1], ["focusin", 1], ["mouseleave", 0], ["focusout", 0]]) {
        source.addEventListener(name, () => {
          other?.classList.toggle("hot", Boolean(on));
          if (on && said) said.textContent = text;
        });
      }
    }
  }

  // In the list of sections, where the reader is; on a narrow screen it closes behind a link.
  const links = new Map(all(".contents nav a").map((link) => [link.hash.slice(1), link]));
  const watch = new IntersectionObserver((seen) => {
    for (const { target: part, isIntersecting } of seen) {
      links.get(part.id)?.setAttribute("aria-current", isIntersecting ? "true" : "false");
    }
  }, { rootMargin: "-30% 0px -65% 0px" });
  for (const part of all("main > section[id]")) watch.observe(part);
  document.querySelector(".contents nav")?.addEventListener("click", (event) => {
    if (event.target.matches("a")) event.target.closest("details").open = false;
  });

  let closed = [];
  window.addEventListener("beforeprint", () => {
    closed = all("main details:not([open])");
    for (const part of closed) part.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const part of closed) part.open = false;
  });
})();

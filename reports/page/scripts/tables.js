// Tables: sorted by their headings, filtered from beside the page.
const tables = (() => {
  "use strict";
  const sortable = all("table.sorts");
  const heads = (table) => [...table.tHead.rows[0].cells];
  const way = (head) => head.getAttribute("aria-sort");
  const value = (cell) => cell.dataset.value ?? cell.textContent.trim();

  function sort(table, index, up) {
    const compare = (a, b) => {
      const [one, other] = [value(a.cells[index]), value(b.cells[index])];
      // What was not measured stays at the end, whichever way the rest is sorted.
      if (one === "" || other === "") return (one === "") - (other === "");
      const apart = Number(one) - Number(other);
      const order = Number.isNaN(apart) ? one.localeCompare(other, "en", { numeric: true }) : apart;
      return up ? order : -order;
    };
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
    const named = up ? "ascending" : "descending";
    heads(table).forEach((head, at) => head.setAttribute("aria-sort", at === index ? named : "none"));
  }

  const place = (table) => heads(table).findIndex((head) => way(head) !== "none");
  const rising = (table) => way(heads(table)[place(table)]) === "ascending";

  const first = sortable.map(place); // as the page has them

  // The best first, then the other way round.
  function press(table, head) {
    const up = way(head) === "none" ? !("high" in head.dataset) : way(head) !== "ascending";
    sort(table, heads(table).indexOf(head), up);
    const kept = sortable.map((one, at) => [at, place(one), rising(one)]);
    const changed = kept.filter(([at, index, up]) => index !== first[at] || !up);
    view.keep("sort", changed.map(([at, index, up]) => `${at}.${index}${up ? "" : ".d"}`).join("_"));
  }

  for (const table of sortable) {
    table.classList.add("sortable");
    // Names are sorted as the page has them, unless it sorts by something else.
    [...table.tBodies[0].rows].forEach((row, at) => {
      row.dataset.at = at;
      if (!place(table)) row.cells[0].dataset.value = at;
    });
    for (const button of all("thead button", table)) {
      button.disabled = false;
      button.addEventListener("click", () => press(table, button.closest("th")));
    }
  }

  view.bind("sort", (text) => {
    const asked = new Map(text.split("_").map((one) => [Number(one.split(".")[0]), one.split(".")]));
    sortable.forEach((table, at) => {
      const [, index = first[at], down] = asked.get(at) ?? [];
      if (heads(table)[index] && (asked.has(at) || place(table) !== first[at] || !rising(table))) {
        sort(table, Number(index), !down);
      }
    });
  });

  const form = document.querySelector(".controls");
  const [find, only, hide] = ["find", "only", "hide"].map((id) => document.getElementById(id));
  const shown = document.getElementById("shown");
  const known = sortable.map((table) => {
    const rows = [...table.tBodies[0].rows];
    const texts = rows.map((row) => row.textContent.toLowerCase());
    return { rows, texts, fronts: rows.some((row) => row.classList.contains("front")) };
  });

  function filter() {
    if (!form) return;
    const words = find.value.trim().toLowerCase();
    let [left, total] = [0, 0];
    for (const { rows, texts, fronts } of known) {
      rows.forEach((row, at) => {
        const beside = only.checked && fronts && !row.classList.contains("front");
        const fails = hide.checked && row.dataset.answer === "fail";
        row.hidden = beside || fails || !texts[at].includes(words);
        left += !row.hidden;
      });
      total += rows.length;
    }
    shown.textContent = left === total ? "" : `${left} of ${total} table rows shown`;
  }

  function set(input, text) {
    if (input.type === "checkbox") input.checked = Boolean(text);
    else input.value = text;
    filter();
  }

  // Show a row whatever is filtered.
  function reveal(row) {
    if (!row.hidden) return;
    for (const input of [find, only, hide]) {
      set(input, "");
      view.keep(input.id, "");
    }
  }

  if (form && sortable.length) {
    form.hidden = false;
    form.addEventListener("submit", (event) => event.preventDefault());
    for (const input of [find, only, hide]) {
      view.bind(input.id, (text) => set(input, text));
      input.addEventListener("input", () => {
        filter();
        view.keep(input.id, input.type === "checkbox" ? "1".repeat(input.checked) : input.value);
      });
    }
  }
  return { filter, heads, reveal, value, again: (table) => sort(table, place(table), rising(table)) };
})();

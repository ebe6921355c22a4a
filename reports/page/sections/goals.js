// Goals typed in the page. What is a goal and who meets it is as contract/goals.py and
// statistics/goals.py have it; a test holds the two together.
const goals = (() => {
  "use strict";
  const source = document.getElementById("goals-data"), data = source ? JSON.parse(source.textContent) : {};
  const measures = Object.fromEntries(data.measures ?? []);
  const MORE = 12; // splits named; of more, all but the last are, as reports/page/figures.py names them

  class GoalError extends Error {}
  function refuse(kind, said) {
    throw new GoalError(data.sentences[kind].replace(/\{(\w+)\}/g, (_, name) => said[name]));
  }

  function one(text) {
    const found = new RegExp(`^(?:${data.goal})$`, "u").exec(text);
    const example = Object.values(measures).map((measure) => measure.example).join(",");
    if (!found) refuse("goal", { goal: text, example });
    const [, name, sign, number, unit = ""] = found, measure = measures[name];
    if (!measure) refuse("measure", { goal: text, measure: name, measures: Object.keys(measures).join(", ") });
    if (measure.lower !== "<≤".includes(sign[0])) {
      const [better, turned] = measure.lower ? ["less", "<"] : ["more", ">"];
      refuse("worse", { goal: text, measure: name, better, turned: `${name}${turned}${number}${unit}` });
    }
    if (!(unit in measure.units)) {
      const units = Object.keys(measure.units).sort((a, b) => measure.units[a] - measure.units[b]).filter(Boolean).join(", ");
      refuse(unit ? "unit" : "missing", { goal: text, unit, units, example: measure.example });
    }
    return { measure: name, lower: measure.lower, limit: Number(number) * measure.units[unit], reached: /[=≤≥]/.test(sign) };
  }

  const parse = (text) => (text.trim() ? text.toLowerCase().split(",").map((part) => one(part.trim())) : []);

  // `known` has the interval of each measure, if there is one.
  function answer(wanted, known) {
    const each = wanted.map(({ measure, lower, limit, reached }) => {
      if (!known[measure]) return "undecided";
      const [low, high] = known[measure];
      if (low === limit && high === limit) return reached ? "pass" : "fail";
      if (lower ? high < limit : low > limit) return "pass";
      return (lower ? low > limit : high < limit) ? "fail" : "undecided";
    });
    if (each.includes("fail")) return "fail";
    return each.every((one) => one === "pass") ? "pass" : "undecided";
  }

  function known(row) {
    const ends = row.dataset.ends?.split(" ").map(Number);
    const aims = row.closest("table").dataset.aims.split(" ");
    const found = ends ? Object.fromEntries(aims.map((aim, at) => [aim, ends.slice(2 * at, 2 * at + 2)])) : {};
    if (row.dataset.accuracy) found.accuracy = Array(2).fill(Number(row.dataset.accuracy));
    return found;
  }

  function mark(table, wanted) {
    const heads = tables.heads(table), at = heads.findIndex((head) => head.matches(".goal"));
    heads[at].hidden = !wanted.length;
    for (const row of table.tBodies[0].rows) {
      const measured = wanted.length && tables.value(row.cells[1]) !== "";
      const said = measured ? answer(wanted, known(row)) : "";
      const cell = row.cells[at];
      row.dataset.answer = said;
      cell.hidden = !wanted.length;
      cell.textContent = said;
      cell.dataset.value = said && ["pass", "undecided", "fail"].indexOf(said);
    }
    tables.again(table);
  }

  function sum(item, wanted) {
    const rows = all("tbody tr", document.getElementById(item.dataset.table));
    const number = (said) => rows.filter((row) => row.dataset.answer === said).length;
    item.hidden = !wanted.length;
    item.querySelector("b").textContent = ["pass", "undecided", "fail"].map((said) => `${number(said)} ${said}`).join(", ");
    const passing = rows.filter((row) => row.dataset.answer === "pass");
    passing.sort((a, b) => a.dataset.at - b.dataset.at);
    const shown = passing.length > MORE ? passing.slice(0, MORE - 1) : passing;
    const parts = shown.map((row) => {
      const link = document.createElement("a");
      link.href = `#${row.id}`;
      link.textContent = row.querySelector("th a")?.textContent ?? row.cells[0].firstChild.textContent;
      return link;
    });
    if (passing.length > shown.length) parts.push(`${passing.length - shown.length} more`);
    const joined = parts.flatMap((part, at) => [at === 0 ? "" : at === parts.length - 1 ? " and " : ", ", part]);
    item.querySelector("span").replaceChildren(...joined);
  }

  function start() {
    const input = document.getElementById("goal"), said = document.getElementById("goal-said");
    const rule = said.textContent, asked = all("table[data-aims]");
    const update = (text) => {
      let wanted = [], wrong = "";
      try {
        wanted = parse(text);
      } catch (error) {
        if (!(error instanceof GoalError)) throw error;
        wrong = error.message;
      }
      input.setAttribute("aria-invalid", String(Boolean(wrong)));
      said.textContent = wrong || rule;
      const unknown = document.getElementById("goal-unknown");
      if (unknown) unknown.hidden = wanted.every(({ measure }) => measure !== "accuracy");
      for (const table of asked) mark(table, wanted);
      for (const item of all("#goals li[data-table]")) sum(item, wanted);
      document.getElementById("hide").closest("label").hidden = !wanted.length;
      tables.filter();
    };
    input.closest("form").hidden = false;
    input.closest("form").addEventListener("submit", (event) => event.preventDefault());
    input.addEventListener("input", () => {
      update(input.value);
      view.keep("goal", input.value);
    });
    if (input.value) update(input.value);
    view.bind("goal", (text) => {
      input.value = text;
      update(text);
    });
  }

  if (source) start();
  return { parse, answer };
})();

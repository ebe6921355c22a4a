// What can be taken from the page: tables as CSV, figures as SVG and PNG.
const take = (() => {
  "use strict";
  const STYLE = [
    ...["fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray"],
    ...["stroke-linecap", "stroke-linejoin", "opacity", "paint-order", "text-anchor"],
    ...["font-family", "font-size", "font-weight"],
  ];
  const PIXELS = 2; // of a PNG, for each of the page's
  const line = (element) => element.textContent.replace(/\s+/g, " ").trim();

  function csv(table) {
    const heads = table.tHead ? [...table.tHead.rows[0].cells] : [];
    const text = (cell, at) => {
      if (cell.querySelector(".pick")) return (cell.querySelector("a") ?? cell.firstChild).textContent.trim();
      const number = table.matches(".sorts") && !heads[at]?.matches(".say, .goal");
      return number ? tables.value(cell).replace(/,/g, "").replace("–", "") : line(cell);
    };
    const rows = [...table.rows].filter((row) => !row.hidden);
    const cells = rows.map((row) => [...row.cells].filter((cell) => !cell.hidden).map((cell) => (
      row.parentNode === table.tHead ? line(cell) : text(cell, cell.cellIndex))));
    return cells.map((row) => row.map((one) => (/[",]/.test(one) ? `"${one.replace(/"/g, '""')}"` : one)).join(",")).join("\n");
  }

  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch { // a page from a disk may not
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  }

  // Other programs know neither the page's variables nor its fonts: each element gets its own.
  function svg(shown) {
    const drawn = shown.cloneNode(true), { width, height } = shown.viewBox.baseVal;
    const copies = [drawn, ...drawn.querySelectorAll("*")];
    [shown, ...shown.querySelectorAll("*")].forEach((one, at) => {
      copies[at].removeAttribute("class");
      if (one.matches("a")) copies[at].removeAttribute("href");
      if (one.matches("defs, defs > *, clipPath *")) return; // what uses them says how
      for (const name of STYLE) copies[at].setAttribute(name, getComputedStyle(one).getPropertyValue(name));
    });
    const ground = document.createElementNS(drawn.namespaceURI, "rect");
    const paper = getComputedStyle(document.body).backgroundColor;
    for (const [name, said] of Object.entries({ width, height, fill: paper })) {
      ground.setAttribute(name, said);
      if (name !== "fill") drawn.setAttribute(name, said);
    }
    drawn.prepend(ground);
    return new XMLSerializer().serializeToString(drawn);
  }

  const address = (text) => `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;

  function save(url, name) {
    const link = document.createElement("a");
    link.href = url;
    link.download = name;
    link.click();
  }

  function png(shown, name) {
    const image = new Image(), canvas = document.createElement("canvas");
    image.addEventListener("load", () => {
      const { width, height } = shown.viewBox.baseVal;
      [canvas.width, canvas.height] = [PIXELS * width, PIXELS * height];
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      save(canvas.toDataURL("image/png"), name);
    });
    image.src = address(svg(shown));
  }

  function tools(after, actions) {
    const bar = document.createElement("p");
    bar.className = "tools screen";
    for (const [text, label, act] of actions) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = text;
      button.setAttribute("aria-label", label);
      button.addEventListener("click", () => act(button));
      bar.append(button);
    }
    after.after(bar);
  }

  const page = location.pathname.split("/").pop().replace(/\.html$/, "") || "report";
  for (const table of all("main > section[id] .scroll > table")) {
    const region = table.parentNode, label = region.getAttribute("aria-label") ?? "table";
    tools(region, [["Copy CSV", `Copy CSV: ${label}`, async (button) => {
      await copy(csv(table));
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy CSV"; }, 2000);
    }]]);
  }
  for (const section of all("main > section")) {
    all("figure > svg", section).forEach((shown, at) => {
      const name = `${page}-${section.id}-${at + 1}`, of = `: figure ${at + 1} of ${line(section.querySelector("h2"))}`;
      tools(shown, [
        ["SVG", `SVG${of}`, () => save(address(svg(shown)), `${name}.svg`)],
        ["PNG", `PNG${of}`, () => png(shown, `${name}.png`)],
      ]);
    });
  }
  return { csv, svg };
})();

// Finding one's way; without scripts the page is a complete static document.
(() => {
  "use strict";
  // A link to a row that is filtered out or folded away must still lead somewhere.
  window.addEventListener("hashchange", () => {
    const row = view.target();
    if (!row) return;
    const folded = row.closest("details:not([open])");
    if (folded) folded.open = true;
    const fold = row.querySelector(":scope > details.fold");
    if (fold) fold.open = true;
    tables.reveal(row);
    if (folded || row.matches("tr")) row.scrollIntoView({ block: "center" });
  });

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

// Points of charts and rows of tables light up together; a point says beside itself what it means.
(() => {
  "use strict";
  const NEAR = 9; // px around a mark that are its own, so that no target is smaller than 24
  const main = document.querySelector("main");
  const rowOf = (point) => document.getElementById(point.getAttribute("href").slice(1));
  const tip = document.createElement("p");
  let lit = null, hiding;
  tip.className = "tip screen";
  tip.setAttribute("role", "tooltip");
  tip.hidden = true;
  main.append(tip);

  function say(point) {
    clearTimeout(hiding);
    tip.textContent = point.getAttribute("aria-label");
    tip.hidden = false;
    place(point);
  }

  function place(point) {
    const mark = point.getBoundingClientRect(), own = tip.getBoundingClientRect();
    const room = document.documentElement.clientWidth - own.width - 8;
    const left = Math.max(8, Math.min((mark.left + mark.right - own.width) / 2, room));
    // Above or below, where it hides less.
    const hidden = (top) => (top < 8 || top + own.height > innerHeight ? 1000 : 0)
      + all("a.point", point.closest("svg")).filter((other) => {
        const box = other.getBoundingClientRect();
        return box.right > left && box.left < left + own.width && box.bottom > top && box.top < top + own.height;
      }).length;
    const [above, below] = [mark.top - own.height - 10, mark.bottom + 10];
    tip.style.left = `${left}px`;
    tip.style.top = `${hidden(below) < hidden(above) ? below : above}px`;
  }

  function hide() {
    tip.hidden = true;
  }

  function light(point) {
    if (point === lit) return;
    const both = (one) => (one ? [one, rowOf(one)] : []);
    for (const one of both(lit)) one?.classList.remove("hot");
    for (const one of both(point)) one?.classList.add("hot");
    lit = point;
    if (point) say(point);
    else hiding = setTimeout(hide, 200); // long enough to reach it
  }

  function nearest(points, event) {
    let [found, least] = [null, NEAR + 1];
    for (const point of points) {
      const { left, right, top, bottom } = point.getBoundingClientRect();
      const outside = (low, high, at) => Math.max(low - at, at - high, 0);
      const apart = Math.hypot(outside(left, right, event.clientX), outside(top, bottom, event.clientY));
      const off = Math.hypot((left + right) / 2 - event.clientX, (top + bottom) / 2 - event.clientY);
      const cost = apart + off / 1000; // of two marks above one another the better met
      if (apart <= NEAR && cost < least) [found, least] = [point, cost];
    }
    return found;
  }

  function follow(point, event) {
    event.preventDefault();
    const row = rowOf(point);
    if (event.shiftKey && row) pair.toggle(row);
    else location.assign(point.getAttribute("href"));
  }

  for (const svg of new Set(all("a.point").map((point) => point.closest("svg")))) {
    const points = all("a.point", svg);
    svg.addEventListener("pointermove", (event) => {
      const point = nearest(points, event);
      svg.style.cursor = point ? "pointer" : "";
      light(point);
    });
    svg.addEventListener("pointerleave", () => light(null));
    svg.addEventListener("click", (event) => {
      // A key has no place.
      const point = event.detail ? nearest(points, event) : event.target.closest("a.point");
      if (point && !event.ctrlKey && !event.metaKey) follow(point, event);
    });
    for (const point of points) {
      const title = point.querySelector("title"), row = rowOf(point);
      // One tooltip is enough; an inset's points have none of their own.
      const same = points.find((one) => one.getAttribute("href") === point.getAttribute("href"));
      point.setAttribute("aria-label", title?.textContent ?? same.getAttribute("aria-label"));
      title?.remove();
      point.addEventListener("focusin", () => light(point));
      point.addEventListener("focusout", () => light(null));
      for (const [name, on] of [["mouseenter", 1], ["focusin", 1], ["mouseleave", 0], ["focusout", 0]]) {
        row?.addEventListener(name, () => point.classList.toggle("hot", Boolean(on)));
      }
    }
  }
  tip.addEventListener("pointerenter", () => clearTimeout(hiding));
  tip.addEventListener("pointerleave", hide);
  window.addEventListener("scroll", () => (lit ? place(lit) : hide()), { passive: true });
  window.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
  });
})();

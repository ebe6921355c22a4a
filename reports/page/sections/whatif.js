// The predicted front at any round-trip time and rate. The arithmetic is that of
// paretopipe_runtime/prediction, function by function; a test holds the two together.
const whatif = (() => {
  "use strict";
  const source = document.getElementById("whatif-data"), data = source ? JSON.parse(source.textContent) : {};
  const { SEGMENT, FRAME, INITIAL, RTO_MIN, WINDOW, INPUTS, LEAST_PACE } = data.tcp || {}, TICK = 1e-9;
  const RTT = [0.1, 500], RATE = [0.5, 10000], STEPS = 200;

  const wire = (bytes, rate) => (rate ? (bytes * FRAME * 8e-6) / rate : 0);

  function slowStart(bytes, rtt, rate, paused) {
    let segments = Math.ceil(bytes / SEGMENT), idle = 0;
    const one = wire(SEGMENT, rate), halvings = Math.floor(paused / (rtt + RTO_MIN));
    let open = Math.max(INITIAL, Math.floor(segments / 2 ** Math.min(halvings, 60)));
    while (segments > open && rtt > open * one) {
      idle += rtt - open * one;
      segments -= open;
      open *= 2;
    }
    return idle;
  }

  function fullWindow(bytes, rtt, rate) {
    return Math.max(0, bytes / WINDOW - 1) * Math.max(0, rtt - wire(WINDOW, rate));
  }

  // Stage, hop, stage, …, and the hop of the predictions: [through, busy, delay] each, in seconds.
  function stations(model, cuts, rtt, rate, codec) {
    const edges = [0, ...cuts, model.bytes.length - 1], found = [], sizes = codec.bytes;
    const near = (list, place) => list[Math.min(place, list.length - 1)];
    for (let place = 0; place + 1 < edges.length; place += 1) {
      const first = edges[place], end = edges[place + 1], final = place + 2 === edges.length;
      const used = near(model.transports, place), bytes = sizes[end];
      let compute = model.compute[place][end] - model.compute[place][first];
      if (codec.encode) compute += codec.encode[place][end];
      if (codec.decode && place) compute += codec.decode[place][first];
      let busy = compute;
      if (place) {
        const before = near(model.transports, place - 1);
        busy += before.receive_s + sizes[first] * before.receive_byte_s;
      }
      if (!place || !final) busy += used.send_s + bytes * used.send_byte_s;
      found.push([compute, busy / (model.replicas?.[place] ?? 1), 0]);
      let delay = rtt, limit = rate;
      if (place) {
        const network = near(model.networks, place);
        delay = final ? 0 : network.rtt_ms / 1e3;
        limit = final ? model.back_mbit : network.rate_mbit;
      }
      const sending = wire(bytes, limit);
      const fixed = final ? (2 / 3) * model.transports[0].fixed_s : used.fixed_s / 3;
      found.push([
        Math.max(bytes * used.byte_s, sending) + fullWindow(bytes, delay, limit),
        Math.max(bytes * used.pace_byte_s, sending, (bytes * delay) / WINDOW),
        delay + fixed,
      ]);
    }
    return found;
  }

  // Batches in flight that keep the slowest hop busy.
  function fillingWindow(model, cuts, rtt, rate, sizes) {
    const hops = [{ rtt_ms: 1e3 * rtt, rate_mbit: rate }, ...model.networks.slice(1, cuts.length)];
    const sent = Math.max(0, ...cuts.map((cut, hop) => (hops[hop] ? wire(sizes[cut], hops[hop].rate_mbit) : 0)));
    const delay = hops.reduce((sum, hop) => sum + hop.rtt_ms / 1e3, 0);
    if (!model.saturate) return model.window;
    const turns = Math.max(1, ...(model.replicas ?? [])), hosts = cuts.length + turns;
    let needed = model.window + turns - 1;
    if (cuts.length && sent) needed = Math.max(needed, 2 * hosts - 1 + Math.ceil(delay / Math.max(sent, LEAST_PACE)));
    needed = Math.ceil(needed / turns) * turns;
    return needed % INPUTS === 0 ? needed + turns : needed;
  }

  // Sizes at the boundaries and seconds of writing and reading; without a codec, or with one that was
  // not profiled here, tensors go as they are.
  const coding = (model, name) => model.codecs?.[name] ?? { bytes: model.bytes };

  // Latency in seconds and throughput in images a second; a rate of null limits nothing.
  function predict(model, cuts, rttMs, rate, name) {
    const rtt = rttMs / 1e3, codec = coding(model, name), found = stations(model, cuts, rtt, rate, codec);
    const alone = found.reduce((sum, [through, , delay]) => sum + through + delay, 0);
    let latency = Math.max(alone, TICK);
    if (model.slow_start) {
      const paused = found.reduce((sum, [through], at) => sum + (at % 2 ? 0 : through), rtt);
      const sent = codec.bytes[cuts.length ? cuts[0] : model.bytes.length - 1];
      latency += slowStart(sent, rtt, rate, paused);
    }
    const pace = Math.max(...found.map(([, busy]) => busy), alone / fillingWindow(model, cuts, rtt, rate, codec.bytes));
    return [latency, model.batch_size / Math.max(pace, TICK)];
  }

  const three = (value) => !value ? "0" : value.toLocaleString("en", { minimumSignificantDigits: 3, maximumSignificantDigits: 3 });
  const ms = (value) => `${three(value)} ms`;
  const mbit = (value) => (value < 1000 ? `${three(value)} Mbit/s` : `${three(value / 1000)} Gbit/s`);
  const least = (points, cost) => points.reduce((one, other) => (cost(other) < cost(one) ? other : one));
  const said = (point) => `${point.name}, ${three(point.x)} s and ${three(point.y)} images/s`;

  function frontOf(points) {
    const sorted = [...points].sort((a, b) => a.x - b.x || b.y - a.y);
    let most = -Infinity;
    return sorted.filter((point) => point.y > most && ((most = point.y), true));
  }

  // -- drawing -----------------------------------------------------------------------------------

  const W = 432, H = 324, LEFT = 62, RIGHT = 14, TOP = 12, BOTTOM = 52;

  function add(parent, tag, attributes, text) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    parent.append(element);
    return element;
  }

  // Logarithmic where values differ much, as in the measured fronts. Ends on round numbers, so that
  // the axis rests while points move a little.
  function axis(values, from, to) {
    const least = Math.min(...values), most = Math.max(...values), rounds = [];
    for (let power = -6; power <= 6; power += 1) for (const n of [1, 2, 5]) rounds.push(Number(`${n}e${power}`));
    if (most > 5 * least) {
      const low = rounds.findLast((tick) => tick <= least) ?? rounds[0];
      const high = rounds.find((tick) => tick > most) ?? rounds.at(-1);
      const scale = (to - from) / Math.log(high / low);
      let ticks = rounds.filter((tick) => tick >= low && tick <= high);
      if (ticks.length > 7) ticks = ticks.filter((tick) => /^1/.test(tick.toExponential()));
      return { ticks, low, high, at: (value) => from + Math.log(value / low) * scale, note: ", log scale" };
    }
    const span = Math.max(most - least, 0.05 * most); // nobody chooses by less than that
    const step = rounds.find((tick) => span <= 4 * tick) ?? rounds.at(-1);
    const first = Math.floor(least / step), last = Math.max(Math.ceil(most / step), first + 1);
    const ticks = [];
    for (let n = first; n <= last; n += 1) ticks.push(Number((n * step).toPrecision(6)));
    const scale = (to - from) / (ticks.at(-1) - ticks[0]);
    return { ticks, low: ticks[0], high: ticks.at(-1), at: (value) => from + (value - ticks[0]) * scale, note: "" };
  }

  function draw(svg, measured, points, front, ends) {
    const all = [...measured.filter((point) => point.here), ...points, ...ends];
    const x = axis(all.map((point) => point.x), LEFT, W - RIGHT);
    const y = axis(all.map((point) => point.y), H - BOTTOM, TOP);
    svg.replaceChildren();
    for (const tick of x.ticks) {
      add(svg, "path", { class: "grid", d: `M${x.at(tick)} ${TOP}V${H - BOTTOM}` });
      add(svg, "text", { x: x.at(tick), y: H - BOTTOM + 18, "text-anchor": "middle" }, String(tick));
    }
    for (const tick of y.ticks) {
      add(svg, "path", { class: "grid", d: `M${LEFT} ${y.at(tick)}H${W - RIGHT}` });
      add(svg, "text", { x: LEFT - 6, y: y.at(tick) + 4, "text-anchor": "end" }, String(tick));
    }
    add(svg, "text", { x: (LEFT + W - RIGHT) / 2, y: H - 10, "text-anchor": "middle" }, `latency of a batch (s${x.note})`);
    const turned = `translate(14 ${(TOP + H - BOTTOM) / 2}) rotate(-90)`;
    add(svg, "text", { transform: turned, "text-anchor": "middle" }, `throughput (images/s${y.note})`);
    const mark = (point, kind, shape) => {
      const at = [x.at(point.x), y.at(point.y)].map((value) => value.toFixed(2));
      const path = add(svg, "path", { class: kind, d: `M${at[0]} ${at[1]}${shape}` });
      add(path, "title", {}, `${point.note ?? "predicted"}: ${said(point)}`);
    };
    const dot = (r) => `m-${r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 -${2 * r} 0`;
    const inside = (at, value) => value >= at.low && value <= at.high;
    const seen = measured.filter((point) => inside(x, point.x) && inside(y, point.y));
    for (const point of seen) mark(point, point.here ? "seen here" : "seen", dot(3.5));
    for (const point of points) mark(point, "any", dot(3.5));
    add(svg, "path", { class: "edge", d: `M${front.map((point) => `${x.at(point.x)} ${y.at(point.y)}`).join("L")}` });
    for (const point of front) mark(point, "best", "m0-6l6 6l-6 6l-6-6z");
    for (const point of ends) mark(point, "end", "m-5-5h10v10h-10z");
    const taken = [];
    for (const point of [...ends, front.at(-1), ...front]) {
      const px = x.at(point.x), py = y.at(point.y), width = 7.5 * point.name.length;
      const left = px + 10 + width > W ? px - 10 - width : px + 10;
      const free = taken.every(([l, r, at]) => Math.abs(at - py) > 15 || left > r || left + width < l);
      if (!free) continue;
      taken.push([left, left + width, py]);
      add(svg, "text", { x: left, y: py + 5, class: "name" }, point.name);
    }
  }

  // `later`: by hop from the second on, the round trip and the rate asked instead of those measured.
  function update(group, rtt, rate, scenario, codec, later) {
    const known = group.model.codecs?.[codec], networks = group.model.networks.map((hop, at) => {
      const [rtt_ms, rate_mbit] = later[at - 1] ?? [];
      return { rtt_ms: rtt_ms ?? hop.rtt_ms, rate_mbit: rate_mbit ?? hop.rate_mbit };
    });
    const model = { ...group.model, networks };
    const place = ([name, cuts]) => {
      const [latency, throughput] = predict(model, cuts, rtt, rate, codec);
      return { name: known && cuts.length ? `${name} ${codec}` : name, x: latency, y: throughput };
    };
    const points = group.splits.map(place), ends = group.ends.map(place), front = frontOf(points);
    const measured = group.measured.flatMap((cell) => cell.points.map(([name, latency, throughput, own]) => ({
      name, x: latency, y: throughput, note: `measured, ${cell.scenario}`,
      here: cell.scenario === scenario && own === (known && codec),
    })));
    draw(group.svg, measured, points, front, ends);
    const fast = least(points, (point) => point.x), busy = least(points, (point) => -point.y);
    const even = least(points, (point) => Math.max(point.x / fast.x, busy.y / point.y));
    const then = model.networks.slice(1).map((hop) => `, then ${ms(hop.rtt_ms)} and ${mbit(hop.rate_mbit ?? RATE[1])}`);
    group.text.textContent =
      `Predicted for ${three(rtt)} ms and ${three(rate)} Mbit/s${then.join("")}. Lowest latency: ${said(fast)}. ` +
      `Highest throughput: ${said(busy)}. Balanced: ${said(even)}. ` +
      `Not split: ${ends.map(said).join("; ")}.`;
  }

  function start() {
    if (!source) return;
    const dials = document.getElementById("whatif-dials");
    const buttons = [...dials.querySelectorAll("button")];
    for (const group of data.groups) {
      const figure = document.getElementById(group.id);
      group.svg = figure.querySelector("svg");
      group.text = figure.querySelector("[aria-live]");
      figure.hidden = false;
    }
    const rttDial = document.getElementById("whatif-rtt"), rateDial = document.getElementById("whatif-rate");
    const codecs = document.getElementById("whatif-codec");
    const value = ([low, high], step) => Number((low * (high / low) ** (step / STEPS)).toPrecision(3));
    const step = ([low, high], wanted) => Math.round((STEPS * Math.log(Math.max(wanted, low) / low)) / Math.log(high / low));
    const show = (dial, text) => {
      dial.setAttribute("aria-valuetext", text);
      dial.parentNode.querySelector("output").textContent = text;
    };
    const others = [...dials.querySelectorAll("[data-hop]")];
    let rtt, rate, scenario, later = [];
    const redraw = () => {
      show(rttDial, ms(rtt));
      show(rateDial, mbit(rate));
      for (const dial of others) {
        const { hop, of } = dial.dataset, own = later[hop - 2]?.[of];
        dial.value = own == null ? -1 : step([RTT, RATE][of], own);
        show(dial, own == null ? "as measured" : [ms, mbit][of](own));
      }
      for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.scenario === scenario));
      for (const group of data.groups) update(group, rtt, rate, scenario, codecs?.value, later);
    };
    // A measured network by its name, another as 20x5: 20 ms and 5 Mbit/s; _1x on: 1 ms on the second hop.
    const turned = () => [[rtt, rate], ...later].map((hop) => hop?.join("x")).join("_");
    const keep = () => view.keep("net", scenario === buttons[0].dataset.scenario ? "" : (scenario ?? turned()));
    const choose = (button) => {
      rtt = Number(button.dataset.rtt);
      rate = Number(button.dataset.rate);
      scenario = button.dataset.scenario;
      later = JSON.parse(button.dataset.later ?? "[]");
      rttDial.value = step(RTT, rtt);
      rateDial.value = step(RATE, rate);
      redraw();
    };
    const turn = () => {
      scenario = undefined;
      redraw();
      keep();
    };
    rttDial.addEventListener("input", () => {
      rtt = Number(rttDial.value) ? value(RTT, Number(rttDial.value)) : 0; // the left end: no delay
      turn();
    });
    rateDial.addEventListener("input", () => {
      rate = value(RATE, Number(rateDial.value));
      turn();
    });
    for (const dial of others) {
      dial.addEventListener("input", () => {
        const { hop, of } = dial.dataset, at = Number(dial.value);
        (later[hop - 2] ??= [undefined, undefined])[of] = at < 0 ? undefined : at || of > 0 ? value([RTT, RATE][of], at) : 0;
        turn();
      });
    }
    for (const button of buttons) {
      button.addEventListener("click", () => {
        choose(button);
        keep();
      });
    }
    codecs?.addEventListener("change", () => {
      redraw();
      view.keep("codec", codecs.selectedIndex ? codecs.value : "");
    });
    dials.hidden = false;
    choose(buttons[0]);
    if (codecs) {
      view.bind("codec", (text) => {
        codecs.selectedIndex = Math.max(0, [...codecs.options].findIndex((one) => one.value === text));
        redraw();
      });
    }
    view.bind("net", (text) => {
      const button = buttons.find((one) => one.dataset.scenario === text), numbers = /^([\d.]+)x([\d.]+)((?:_(?:[\d.]*x[\d.]*)?)*)$/.exec(text);
      if (button || !numbers) return choose(button ?? buttons[0]);
      [rtt, rate] = [Number(numbers[1]), Math.max(Number(numbers[2]), RATE[0])];
      later = numbers[3].split("_").slice(1).map((hop) => hop.split("x").map((one) => (one ? Number(one) : undefined)));
      [rttDial.value, rateDial.value, scenario] = [step(RTT, rtt), step(RATE, rate), undefined];
      redraw();
    });
  }

  start();
  return { predict };
})();

// The page side of RunPanel: a line of facts, a bar, and one small chart per metric. `uPlot` is defined above (run_panel.py).

const HEIGHT = 165;

function element(parent, tag, name, words) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (words !== undefined) made.textContent = words;
  parent.append(made);
  return made;
}

function setText(node, words) {
  if (node.textContent !== words) node.textContent = words;
}

function short(value) {
  if (value == null || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  if (size >= 1e6 || (size > 0 && size < 1e-3)) return value.toExponential(1).replace("e+", "e");
  return value.toLocaleString("en", { maximumSignificantDigits: 4 });
}

// The same trailing mean as series.moving_mean: what is seen live is what is printed.
function movingMean(values) {
  const width = Math.max(1, Math.floor(values.length / 30));
  if (width === 1) return values;
  const out = new Float64Array(values.length);
  let sum = 0, count = 0;
  for (let i = 0; i < values.length; i++) {
    if (!Number.isNaN(values[i])) { sum += values[i]; count++; }
    const old = i - width;
    if (old >= 0 && !Number.isNaN(values[old])) { sum -= values[old]; count--; }
    out[i] = count ? sum / count : NaN;
  }
  return out;
}

function gaps(values) {
  return Array.from(values, (v) => (Number.isFinite(v) ? v : null));
}

function decode(curves, view) {
  let at = view.byteOffset;
  return curves.map(({ points: n }) => {
    // Copies, since a typed array must begin at a multiple of its size.
    const take = (Kind) => {
      const size = n * Kind.BYTES_PER_ELEMENT;
      const part = new Kind(view.buffer.slice(at, at + size));
      at += size;
      return part;
    };
    const x = take(Float64Array), mean = take(Float32Array), least = take(Float32Array), greatest = take(Float32Array);
    if (n % 2) at += 4;
    return { x, mean, least, greatest };
  });
}

class Chart {
  constructor(parent, curve, sync) {
    this.box = element(parent, "div", "rnb-chart");
    const head = element(this.box, "h4");
    element(head, "div", "", curve.name);
    this.value = element(head, "span");
    this.canvas = element(this.box, "div");
    this.canvas.setAttribute("role", "img");
    this.color = curve.color;
    this.sync = sync;
    this.zoomed = false;
  }

  make(data, axis) {
    const ink = () => getComputedStyle(this.box).color;
    const grid = { stroke: "rgba(128,138,152,.22)", width: 1 };
    const look = { stroke: ink, grid, ticks: grid, font: "11px system-ui, sans-serif", size: 28 };
    const color = this.color;
    this.plot = new uPlot({
      width: Math.max(this.canvas.clientWidth, 120),
      height: HEIGHT,
      legend: { show: false },
      padding: [6, 10, 0, 0],
      cursor: { sync: { key: this.sync }, points: { size: 5 }, drag: { x: true, y: false } },
      scales: { x: { time: false } },
      axes: [
        { ...look, label: axis, labelSize: 14, labelGap: -2, labelFont: "10px system-ui, sans-serif", space: 60, values: (_, ticks) => ticks.map(short) },
        { ...look, size: 54, space: 28, values: (_, ticks) => ticks.map(short) },
      ],
      series: [
        {},
        { stroke: "transparent", points: { show: false } },
        { stroke: "transparent", points: { show: false } },
        { stroke: color, alpha: 0.35, width: 1, points: { show: false } },
        { stroke: color, width: 1.8, points: { show: data[0].length < 3, size: 5, fill: color } },
      ],
      bands: [{ series: [2, 1], fill: color + "26" }],
      hooks: {
        setSelect: [(u) => { if (u.select.width > 2) this.zoomed = true; }],
        setCursor: [(u) => this.read(u)],
      },
    }, data, this.canvas);
    this.plot.over.addEventListener("dblclick", () => { this.zoomed = false; });
  }

  read(u) {
    const i = u.cursor.idx;
    const at = i == null || u.cursor.left < 0 ? null : `${short(u.data[4][i])} at ${short(u.data[0][i])}`;
    setText(this.value, at || this.last || "");
  }

  update(curve, { x, mean, least, greatest }, axis) {
    this.last = curve.last;
    const line = gaps(mean);
    const band = curve.per_bucket > 1;
    const data = [x, band ? gaps(least) : line, band ? gaps(greatest) : line, line, gaps(movingMean(mean))];
    // What is fixed when a plot is made: dots for the first points, and the title of its axis.
    const fixed = `${x.length < 3} ${axis}`;
    if (this.plot && fixed !== this.fixed) { this.plot.destroy(); this.plot = null; }
    this.fixed = fixed;
    if (!this.plot) this.make(data, axis);
    else this.plot.setData(data, !this.zoomed);
    if (this.zoomed) this.plot.redraw();
    this.canvas.setAttribute("aria-label", `${curve.name}: ${curve.words}; x axis: ${axis}`);
    this.read(this.plot);
  }

  resize() {
    const width = this.canvas.clientWidth;
    if (this.plot && width > 0 && width !== this.plot.width) this.plot.setSize({ width, height: HEIGHT });
  }
}

function render({ model, el }) {
  const root = element(el, "section", "rnb-run");
  const head = element(root, "div", "rnb-head");
  const title = element(head, "span", "rnb-title");
  const state = element(head, "span", "rnb-state");
  state.setAttribute("role", "status"); // said aloud when it changes, unlike the numbers
  const facts = element(head, "span", "rnb-fact");
  const rates = element(head, "span", "rnb-fact");
  const workers = element(head, "span", "rnb-fact");
  const use = element(head, "span", "rnb-workers");
  const bar = element(root, "div", "rnb-bar");
  bar.setAttribute("role", "progressbar");
  const done = element(bar, "div");
  const failure = element(root, "pre", "rnb-failure");
  failure.setAttribute("role", "alert");
  const none = element(root, "div", "rnb-none", "No curves yet: they appear once a reaction calls self.log(name=value).");
  const grid = element(root, "div", "rnb-charts");
  const charts = new Map();
  const sync = `rnb-${model.model_id || Math.random()}`;

  function showStatus() {
    const s = model.get("status");
    root.setAttribute("aria-label", s.title);
    setText(title, s.title);
    setText(state, s.state);
    state.dataset.state = s.state;
    setText(facts, `tag ${s.tag} · ${s.seconds.toFixed(1)} s`);
    setText(rates, s.rates.join(" · "));
    setText(workers, `${s.workers} worker${s.workers > 1 ? "s" : ""} · seed ${s.seed}${s.fingerprint ? " · " + s.fingerprint.slice(0, 12) : ""}`);
    while (use.childElementCount > s.use.length) use.lastChild.remove();
    while (use.childElementCount < s.use.length) element(use, "i");
    s.use.forEach((share, i) => {
      use.children[i].style.height = `${Math.round(share * 100)}%`;
      use.children[i].title = `worker ${i}: ${Math.round(share * 100)} % of a core`;
    });
    bar.style.display = s.progress == null ? "none" : "";
    done.style.width = `${(s.progress || 0) * 100}%`;
    bar.setAttribute("aria-valuenow", Math.round((s.progress || 0) * 100));
    failure.style.display = s.failure ? "" : "none";
    setText(failure, s.failure || "");
  }

  function showCurves() {
    const curves = model.get("curves");
    const axis = model.get("axis");
    none.style.display = curves.length ? "none" : "";
    const decoded = decode(curves, model.get("points"));
    curves.forEach((curve, i) => {
      if (!charts.has(curve.name)) charts.set(curve.name, new Chart(grid, curve, sync));
      charts.get(curve.name).update(curve, decoded[i], axis);
    });
  }

  // One drawing per message, however many of its traits changed, and none while the page is hidden.
  let asked = false;
  function draw() {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      showStatus();
      showCurves();
    });
  }

  const size = new ResizeObserver(() => charts.forEach((chart) => chart.resize()));
  size.observe(grid);
  const theme = new MutationObserver(() => charts.forEach((chart) => chart.plot && chart.plot.redraw()));
  theme.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-name", "data-jp-theme-light", "class"] });
  model.on("change", draw);
  showStatus();
  draw();

  return () => {
    model.off("change", draw);
    size.disconnect();
    theme.disconnect();
    charts.forEach((chart) => chart.plot && chart.plot.destroy());
  };
}

export default { render };

// Learning curves of one or several runs: a chart per metric, all on one x axis. Used by run_panel.js; `uPlot` is defined above, `element` in page.js.

const HEIGHT = 165;
const FONT = "11px system-ui, sans-serif";

function setText(node, words) {
  if (node.textContent !== words) node.textContent = words;
}

function short(value) {
  if (value == null || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  if (size >= 1e6 || (size > 0 && size < 1e-3)) return value.toExponential(1).replace("e+", "e");
  return value.toLocaleString("en", { maximumSignificantDigits: 4 });
}

// The same trailing mean as series.moving_mean, over a share of the values, so that live and printed curves agree.
function movingMean(values, share) {
  const width = Math.max(1, Math.floor(values.length * share));
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

// The index of the nearest x; xs are ascending.
function nearest(xs, x) {
  let low = 0, high = xs.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (xs[middle] < x) low = middle + 1;
    else high = middle;
  }
  return low > 0 && x - xs[low - 1] < xs[low] - x ? low - 1 : low;
}

// True for one or two values, or if all share one tag, as an evaluation logs its episodes: these are drawn as dots.
function isNoLine(x) {
  return x.length < 3 || x[0] === x[x.length - 1];
}

// Mean, least and greatest over runs, like series.spread: an ended run keeps its last value, a live run limits the range.
function spreadOf(runs, points = 300) {
  const finite = runs.map(({ x, trend, ended }) => {
    const kept = Array.from(x.keys()).filter((i) => Number.isFinite(trend[i]));
    return { x: kept.map((i) => x[i]), y: kept.map((i) => trend[i]), ended };
  }).filter((run) => run.x.length);
  if (finite.length < 2) return null;
  const last = (run) => run.x[run.x.length - 1];
  const start = Math.max(...finite.map((run) => run.x[0]));
  const alive = finite.filter((run) => !run.ended);
  const end = alive.length ? Math.min(...alive.map(last)) : Math.max(...finite.map(last));
  if (!(end > start)) return null;
  const held = finite.some((run) => run.ended && last(run) < end);
  const grid = [], mean = [], least = [], greatest = [];
  const at = finite.map(() => 0);
  for (let k = 0; k < points; k++) {
    const x = start + ((end - start) * k) / (points - 1);
    const values = finite.map((run, r) => {
      while (at[r] < run.x.length - 2 && run.x[at[r] + 1] < x) at[r]++;
      const i = at[r];
      if (run.x.length === 1) return run.y[0];
      const part = (x - run.x[i]) / (run.x[i + 1] - run.x[i] || 1);
      return run.y[i] + Math.min(Math.max(part, 0), 1) * (run.y[i + 1] - run.y[i]);
    });
    grid.push(x);
    mean.push(values.reduce((a, b) => a + b) / values.length);
    least.push(Math.min(...values));
    greatest.push(Math.max(...values));
  }
  return { grid, mean, least, greatest, held, count: finite.length };
}

// Unpacks the buffer that run_panel.py packs.
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

// One metric. `look` has the settings of the panel's controls: { smoothing, logX, logY, mean }.
class Chart {
  constructor(parent, name, look, sync) {
    this.name = name;
    this.look = look;
    this.sync = sync;
    this.zoomed = false;
    this.spreads = [];
    this.box = element(parent, "div", "rnb-chart");
    const head = element(this.box, "h4");
    element(head, "div", "", name);
    this.value = element(head, "span");
    this.canvas = element(this.box, "div", "rnb-canvas");
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "img");
    this.canvas.addEventListener("keydown", (event) => this.key(event));
    this.canvas.addEventListener("focus", () => this.point(0.999));
    this.canvas.addEventListener("blur", () => this.plot && this.plot.setCursor({ left: -10, top: -10 }));
    this.legend = element(this.box, "ul", "rnb-legend");
  }

  // Runs in their order: { color, label, group, ended, last, words, x, mean, least, greatest }.
  update(runs, axis) {
    this.runs = runs;
    this.axis = axis;
    this.draw();
  }

  draw() {
    const { runs, look } = this;
    for (const run of runs) run.trend = movingMean(run.mean, look.smoothing);
    const drawn = runs.length === 1 ? this.alone(runs[0]) : this.together(runs);
    const fit = (values) => Array.from(values, (v) => (Number.isFinite(v) && (!look.logY || v > 0) ? v : null));
    const tables = drawn.tables.map(([x, ...columns]) => {
      const from = look.logX ? x.findIndex((v) => v > 0) : 0; // an axis of logarithms has no zero
      return [x.slice(from < 0 ? x.length : from), ...columns.map((c) => fit(c.slice(from < 0 ? c.length : from)))];
    });
    const data = tables.length > 1 ? uPlot.join(tables) : tables[0];
    const only = (values) => { const found = new Set(values.filter((v) => v != null)); return found.size === 1 ? [...found][0] : null; };
    this.only = { x: only(Array.from(data[0])), y: only(data.slice(1).flatMap((c) => Array.from(c))) };
    // uPlot options that cannot change once a plot exists.
    const fixed = JSON.stringify([this.axis, drawn.series.map((s) => [String(s.stroke), s.points]), look.logX, look.logY, this.only.x, this.only.y]);
    if (this.plot && fixed !== this.fixed) { this.plot.destroy(); this.plot = null; }
    this.fixed = fixed;
    if (!this.plot) this.make(data, drawn);
    else this.plot.setData(data, !this.zoomed);
    if (this.zoomed) this.plot.redraw();
    const said = runs.map((run) => (runs.length > 1 ? `${run.label}: ` : "") + run.words).join("; ");
    this.canvas.setAttribute("aria-label", `${this.name}: ${said}; x axis: ${this.axis}. Arrow keys read values, + and - zoom, 0 shows all.`);
    this.list();
    this.read();
  }

  // One run: values, their spread within each bucket, and the trend.
  alone({ x, mean, least, greatest, trend, color }) {
    const band = least.some((v, i) => v < greatest[i]);
    const dots = { show: isNoLine(x), size: 5, fill: color };
    // The ends of a point's spread are dots, too, where there is no line to lay a band around.
    const hidden = { stroke: "transparent", points: { show: isNoLine(x) && band, size: 3, fill: color + "80" } };
    return {
      tables: [[x, band ? least : mean, band ? greatest : mean, mean, trend]],
      series: [
        hidden, hidden,
        { stroke: color, alpha: 0.35, width: 1, points: dots },
        { stroke: color, width: 1.8, points: dots },
      ],
      bands: [{ series: [2, 1], fill: color + "26" }],
    };
  }

  // Several: each run's trend, and where asked for the mean of each group of them and the band from the least to the greatest.
  together(runs) {
    const names = [...new Set(runs.map((run) => run.group))];
    const groups = this.look.mean ? names.map((name) => ({ name, runs: runs.filter((run) => run.group === name) })) : [];
    this.spreads = groups.map(({ name, runs: own }) => ({ name, color: own[0].color, spread: spreadOf(own) })).filter((g) => g.spread);
    const tables = [], series = [], bands = [];
    for (const { color, spread } of this.spreads) {
      const ink = names.length > 1 ? color : () => getComputedStyle(this.box).color;
      const hidden = { stroke: "transparent", points: { show: false } };
      const at = series.length + 1;
      tables.push([spread.grid, spread.least, spread.greatest, spread.mean]);
      series.push(hidden, hidden, { stroke: ink, width: 2.2, points: { show: false } });
      bands.push({ series: [at + 1, at], fill: names.length > 1 ? color + "2e" : "rgba(128,138,152,.28)" });
    }
    const thin = this.spreads.length > 0;
    for (const { x, trend, color } of runs) {
      tables.push([x, trend]);
      series.push({ stroke: color, alpha: thin ? 0.45 : 1, width: thin ? 1 : 1.6, points: { show: isNoLine(x), size: 5, fill: color } });
    }
    return { tables, series, bands };
  }

  make(data, { series, bands }) {
    const ink = () => getComputedStyle(this.box).color;
    const grid = { stroke: "rgba(128,138,152,.22)", width: 1 };
    const look = { stroke: ink, grid, ticks: grid, font: FONT, size: 28 };
    const values = (_, ticks) => ticks.map((tick) => (tick == null ? "" : short(tick)));
    const scale = (log) => (log ? { distr: 3 } : {});
    // A single value is drawn in the middle and is the only tick, instead of an axis with invented numbers.
    const alone = (v, log) => (v == null ? {} : { range: log && v > 0 ? [v / 10, v * 10] : [v - (Math.abs(v) / 2 || 1), v + (Math.abs(v) / 2 || 1)] });
    const tick = (v) => (v == null ? {} : { splits: () => [v], filter: (_, splits) => splits });
    this.plot = new uPlot({
      width: Math.max(this.canvas.clientWidth, 120),
      height: HEIGHT,
      legend: { show: false },
      padding: [8, 22, 0, 0], // so that "1,000" at the end of an axis is not cut
      cursor: { sync: { key: this.sync }, points: { size: 5 }, drag: { x: true, y: false } },
      scales: { x: { time: false, ...alone(this.only.x, this.look.logX), ...scale(this.look.logX) }, y: { ...alone(this.only.y, this.look.logY), ...scale(this.look.logY) } },
      axes: [
        { ...look, ...tick(this.only.x), label: this.axis, labelSize: 14, labelGap: -2, labelFont: "10px system-ui, sans-serif", space: 60, values },
        { ...look, ...tick(this.only.y), size: 54, space: 28, values },
      ],
      series: [{}, ...series.map((s) => ({ spanGaps: false, ...s }))],
      bands,
      hooks: {
        setSelect: [(u) => { if (u.select.width > 2) this.zoomed = true; }],
        setCursor: [() => this.read()],
      },
    }, data, this.canvas);
    this.plot.over.addEventListener("dblclick", () => { this.zoomed = false; });
  }

  // The colors and names of several runs.
  list() {
    const { runs, legend } = this;
    const rows = runs.length > 1 ? runs.map((run) => [run.color, run.label]) : [];
    const several = new Set(runs.map((run) => run.group)).size > 1;
    if (rows.length) for (const { name, color, spread } of this.spreads) {
      rows.push([several ? color : "currentColor", `mean of ${spread.count}${name ? `, ${name}` : ""}${spread.held ? " (last values held)" : ""}`]);
    }
    while (legend.childElementCount > rows.length) legend.lastChild.remove();
    while (legend.childElementCount < rows.length) {
      const item = element(legend, "li");
      element(item, "i");
      element(item, "span");
      element(item, "b");
    }
    rows.forEach(([color, label], i) => {
      legend.children[i].children[0].style.background = color;
      setText(legend.children[i].children[1], label);
    });
  }

  // The values at the cursor, or the last ones.
  read() {
    const u = this.plot;
    if (!u || !this.runs) return;
    const at = u.cursor.left == null || u.cursor.left < 0 ? null : u.posToVal(u.cursor.left, "x");
    if (this.runs.length === 1) {
      const { x, trend, last } = this.runs[0];
      const i = at == null ? -1 : nearest(x, at);
      setText(this.value, i < 0 || !x.length ? last : `${short(trend[i])} at ${short(x[i])}`);
      return;
    }
    setText(this.value, at == null ? "" : `at ${short(at)}`);
    this.runs.forEach(({ x, trend, last }, i) => {
      setText(this.legend.children[i].children[2], at == null ? last : short(trend[nearest(x, at)]));
    });
    this.spreads.forEach(({ spread: { grid, mean } }, k) => {
      const i = at == null ? grid.length - 1 : nearest(grid, at);
      setText(this.legend.children[this.runs.length + k].children[2], short(mean[i]));
    });
  }

  // Put the cursor at a share of the width.
  point(share) {
    if (this.plot) this.plot.setCursor({ left: share * this.plot.over.clientWidth, top: this.plot.over.clientHeight / 2 });
  }

  key(event) {
    const u = this.plot;
    if (!u) return;
    const width = u.over.clientWidth;
    const left = u.cursor.left >= 0 ? u.cursor.left : width / 2;
    const around = (factor) => {
      const x = u.posToVal(left, "x"), { min, max } = u.scales.x;
      this.zoomed = true;
      u.setScale("x", { min: x - (x - min) * factor, max: x + (max - x) * factor });
    };
    if (event.key === "ArrowLeft") this.point(Math.max(left / width - 0.02, 0));
    else if (event.key === "ArrowRight") this.point(Math.min(left / width + 0.02, 0.999));
    else if (event.key === "+" || event.key === "=") around(0.5);
    else if (event.key === "-") around(2);
    else if (event.key === "0") this.all();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  all() {
    this.zoomed = false;
    if (this.plot) this.plot.setData(this.plot.data, true);
  }

  resize() {
    const width = this.canvas.clientWidth;
    if (this.plot && width > 0 && width !== this.plot.width) this.plot.setSize({ width, height: HEIGHT });
  }
}

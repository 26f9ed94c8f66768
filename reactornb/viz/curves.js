// Learning curves of one or several runs: a chart per metric, all on one x axis. Used by run_panel.js; `uPlot` is defined above, `element` in page.js.

const HEIGHT = 165;
const RETURNS = ["episode_return", "eval_return"]; // training and evaluation are compared, so their y axes are the same
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

// The same trailing means as series.moving_mean and series.rolling_mean, so that live and printed curves agree: over a share of the points, and,
// of what is logged for each episode, over the last so many episodes.
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

function episodesInMean(count, share) {
  return Math.max(1, Math.round(Math.min(100, count / 10) * share * 30));
}

function rollingMean(values, weight, window) {
  const out = new Float64Array(values.length);
  let sum = 0, count = 0, first = 0;
  const of = (i) => (Number.isFinite(values[i]) ? weight[i] : 0);
  for (let i = 0; i < values.length; i++) {
    if (of(i)) { sum += values[i] * of(i); count += of(i); }
    while (first < i && count - of(first) >= window) {
      if (of(first)) { sum -= values[first] * of(first); count -= of(first); }
      first++;
    }
    out[i] = count ? sum / count : NaN;
  }
  return out;
}

function trendOf({ mean, weight, count, ofEpisodes }, share) {
  return ofEpisodes ? rollingMean(mean, weight, episodesInMean(count, share)) : movingMean(mean, share);
}

// One point for all that has one x, with the mean of the means and the widest spread, as Series.points makes it.
function pointsOn(run, axis) {
  const { columns, mean, least, greatest, weight } = run;
  const n = mean.length;
  const all = columns[axis] || weight.map(() => 0);
  if (!columns[axis]) { // the number of the value
    let total = 0;
    for (let i = 0; i < n; i++) all[i] = total += weight[i];
    return { x: all, mean, least, greatest, weight };
  }
  const x = [], at = { mean: [], least: [], greatest: [], weight: [] };
  for (let i = 0; i < n;) {
    let j = i, sum = 0, count = 0, total = 0, low = NaN, high = NaN;
    for (; j < n && all[j] === all[i]; j++) {
      total += weight[j];
      if (!Number.isFinite(mean[j])) continue;
      sum += mean[j] * weight[j];
      count += weight[j];
      low = low <= least[j] ? low : least[j];
      high = high >= greatest[j] ? high : greatest[j];
    }
    x.push(all[i]);
    at.mean.push(count ? sum / count : NaN);
    at.least.push(low);
    at.greatest.push(high);
    at.weight.push(total);
    i = j;
  }
  return { x: Float64Array.from(x), mean: Float64Array.from(at.mean), least: Float64Array.from(at.least), greatest: Float64Array.from(at.greatest), weight: Float64Array.from(at.weight) };
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

// Resamples of so many runs, as rows of weights of their sorted values in the interquartile mean: as statistics._weights, with fewer of them.
const RESAMPLES = 500;
const resamples = new Map(); // by the number of runs: weights, and those of the runs themselves

function weightsOf(runs) {
  if (!resamples.has(runs)) {
    let state = 1;
    const random = () => { // mulberry32: the same band each time
      state = (state + 0x6d2b79f5) | 0;
      let t = Math.imul(state ^ (state >>> 15), 1 | state);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
    const cut = runs >> 2;
    const own = Float64Array.from({ length: runs }, (_, i) => (i >= cut && i < runs - cut ? 1 / (runs - 2 * cut) : 0));
    const rows = new Float64Array(RESAMPLES * runs);
    for (let row = 0; row < RESAMPLES; row++) {
      const drawn = Array.from({ length: runs }, () => Math.floor(random() * runs)).sort((a, b) => a - b);
      drawn.forEach((rank, i) => { rows[row * runs + rank] += own[i]; });
    }
    resamples.set(runs, { rows, own });
  }
  return resamples.get(runs);
}

// The interquartile mean of some values, and the ends of its interval.
function middleOf(values) {
  const runs = values.length, ranked = Float64Array.from(values).sort(), { rows, own } = weightsOf(runs);
  const found = new Float64Array(RESAMPLES);
  let middle = 0;
  for (let i = 0; i < runs; i++) middle += own[i] * ranked[i];
  for (let row = 0; row < RESAMPLES; row++) {
    let sum = 0;
    for (let i = 0; i < runs; i++) sum += rows[row * runs + i] * ranked[i];
    found[row] = sum;
  }
  found.sort();
  const quantile = (q) => {
    const at = q * (RESAMPLES - 1), low = Math.floor(at);
    return found[low] + (at - low) * (found[Math.min(low + 1, RESAMPLES - 1)] - found[low]);
  };
  return [middle, quantile(0.025), quantile(0.975)];
}

// Over runs the mean, least and greatest, or the interquartile mean and its 95 % bootstrap interval, like series.on_one_grid: an ended run keeps
// its last value, a live run limits the range.
function spreadOf(runs, iqm, points = iqm ? 150 : 300) {
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
    const [middle, low, high] = iqm ? middleOf(values) : [values.reduce((a, b) => a + b) / values.length, Math.min(...values), Math.max(...values)];
    grid.push(x);
    mean.push(middle);
    least.push(low);
    greatest.push(high);
  }
  return { grid, mean, least, greatest, held, count: finite.length };
}

// Unpacks the buffer that run_panel.py packs; `sent` are the axes that it has.
function decode(curves, view, sent) {
  let at = view.byteOffset;
  return curves.map(({ points: n, begin, per_bucket: each, count }) => {
    // Copies, since a typed array must begin at a multiple of its size.
    const take = () => {
      const part = new Float32Array(view.buffer.slice(at, at + 4 * n));
      at += 4 * n;
      return part;
    };
    const columns = {};
    for (const axis of sent) columns[axis] = Float64Array.from(take(), (far) => begin[axis] + far);
    const mean = take(), least = take(), greatest = take();
    const weight = new Float64Array(n).fill(each);
    if (n) weight[n - 1] = count - (n - 1) * each;
    return { columns, mean, least, greatest, weight };
  });
}

// One metric. `look` has the settings of the panel's controls: { smoothing, logX, logY, mean, iqm }, and in
// `reach` least and greatest of the charts whose y axes are the same. `pick` is called with a clicked point of a
// run that is kept: the chart, left and top in its box, and { run, metric, x, axis, words }.
class Chart {
  constructor(parent, name, look, sync, pick) {
    this.name = name;
    this.pick = pick;
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
    // Only by a key: while a button is held, moving the cursor would draw out a stretch to zoom to.
    this.canvas.addEventListener("focus", () => { if (this.canvas.matches(":focus-visible")) this.point(0.999); });
    this.canvas.addEventListener("blur", () => this.plot && this.plot.setCursor({ left: -10, top: -10 }));
    this.legend = element(this.box, "ul", "rnb-legend");
  }

  // Runs in their order: { place, kept, color, label, legend, group, ended, last, words, count, ofEpisodes, columns, mean, least, greatest, weight };
  // the axis is one of their columns, or another word for the number of the value; marks: { x, words, color }. `look.reach` is a Map of the panel.
  update(runs, axis, title = axis, marks = []) {
    this.runs = runs;
    if (this.axis !== undefined && this.axis !== axis) this.zoomed = false;
    this.axis = axis;
    this.title = title;
    this.marks = marks;
    for (const run of runs) Object.assign(run, pointsOn(run, axis));
    this.draw();
  }

  draw() {
    const { runs, look } = this;
    for (const run of runs) run.trend = trendOf(run, look.smoothing);
    const drawn = runs.length === 1 ? this.alone(runs[0]) : this.together(runs);
    const fit = (values) => Array.from(values, (v) => (Number.isFinite(v) && (!look.logY || v > 0) ? v : null));
    const tables = drawn.tables.map(([x, ...columns]) => {
      const from = look.logX ? x.findIndex((v) => v > 0) : 0; // an axis of logarithms has no zero
      return [x.slice(from < 0 ? x.length : from), ...columns.map((c) => fit(c.slice(from < 0 ? c.length : from)))];
    });
    const data = tables.length > 1 ? uPlot.join(tables) : tables[0];
    // The reach of what is drawn, which the other chart of `RETURNS` looks at.
    const finite = data.slice(1).flatMap((c) => Array.from(c)).filter((v) => v != null);
    if (RETURNS.includes(this.name)) look.reach.set(this.name, finite.reduce(([low, high], v) => [Math.min(low, v), Math.max(high, v)], [Infinity, -Infinity]));
    const only = (values) => { const found = new Set(values.filter((v) => v != null)); return found.size === 1 ? [...found][0] : null; };
    this.only = { x: only(Array.from(data[0])), y: only(finite) };
    // uPlot options that cannot change once a plot exists.
    const fixed = JSON.stringify([this.title, drawn.series.map((s) => [String(s.stroke), s.points]), look.logX, look.logY, this.only.x, this.only.y]);
    if (this.plot && fixed !== this.fixed) { this.plot.destroy(); this.plot = null; }
    this.fixed = fixed;
    if (!this.plot) this.make(data, drawn);
    else this.plot.setData(data, !this.zoomed);
    if (this.zoomed) this.plot.redraw();
    const said = [...runs.map((run) => (runs.length > 1 ? `${run.label}: ` : "") + run.words), ...this.marks.map((mark) => `${mark.words} at ${short(mark.x)}`)].join("; ");
    this.canvas.setAttribute("aria-label", `${this.name}: ${said}; x axis: ${this.title}. Arrow keys read values, + and - zoom, 0 shows all${runs.some((run) => run.kept) ? ", Enter goes back to a point" : ""}.`);
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
    this.spreads = groups.map(({ name, runs: own }) => ({ name, color: own[0].color, spread: spreadOf(own, this.look.iqm) })).filter((g) => g.spread);
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
    const together = RETURNS.includes(this.name) && !this.look.logY ? { range: (_, low, high) => this.withOther(low, high) } : {};
    const tick = (v) => (v == null ? {} : { splits: () => [v], filter: (_, splits) => splits });
    this.plot = new uPlot({
      width: Math.max(this.canvas.clientWidth, 120),
      height: HEIGHT,
      legend: { show: false },
      padding: [8, 22, 0, 0], // so that "1,000" at the end of an axis is not cut
      cursor: { sync: { key: this.sync }, points: { size: 5 }, drag: { x: true, y: false } },
      scales: { x: { time: false, ...alone(this.only.x, this.look.logX), ...scale(this.look.logX) }, y: { ...together, ...alone(this.only.y, this.look.logY), ...scale(this.look.logY) } },
      axes: [
        { ...look, ...tick(this.only.x), label: this.title, labelSize: 14, labelGap: -2, labelFont: "10px system-ui, sans-serif", space: 60, values },
        { ...look, ...tick(this.only.y), size: 54, space: 28, values },
      ],
      series: [{}, ...series.map((s) => ({ spanGaps: false, ...s }))],
      bands,
      hooks: {
        setSelect: [(u) => { if (u.select.width > 2) this.zoomed = true; }],
        setCursor: [() => this.read()],
        draw: [(u) => this.drawMarks(u)],
      },
    }, data, this.canvas);
    this.plot.over.addEventListener("dblclick", () => { this.zoomed = false; });
    let down = 0;
    this.plot.over.addEventListener("mousedown", (event) => { down = event.clientX; });
    this.plot.over.addEventListener("click", (event) => { if (Math.abs(event.clientX - down) < 3) this.choose(); });
  }

  // The range of y, which holds the other chart's values, too, where there are any.
  withOther(low, high) {
    for (const [least, greatest] of this.look.reach.values()) {
      low = low == null ? least : Math.min(low, least);
      high = high == null ? greatest : Math.max(high, greatest);
    }
    return uPlot.rangeNum(low, high, 0.1, true);
  }

  // Choose the point nearest to the cursor, of the kept run whose curve is nearest to it.
  choose() {
    const u = this.plot;
    const kept = (this.runs || []).filter((run) => run.kept && run.x.length);
    if (!u || !this.pick || !kept.length || !(u.cursor.left >= 0)) return;
    const { left, top } = u.cursor;
    const at = u.posToVal(left, "x");
    const points = kept.map((run) => {
      const i = nearest(run.x, at);
      const down = Number.isFinite(run.trend[i]) ? u.valToPos(run.trend[i], "y") : Infinity;
      return { run, i, far: Math.hypot(u.valToPos(run.x[i], "x") - left, down - top) };
    });
    const { run, i } = points.reduce((a, b) => (b.far < a.far ? b : a));
    const words = `${run.label}: ${this.name} ${short(run.mean[i])} at ${short(run.x[i])}`;
    const over = u.over.getBoundingClientRect(), box = this.box.getBoundingClientRect();
    this.pick(this, over.left - box.left + left + 8, over.top - box.top + top + 8, { run: run.place, metric: this.name, x: run.x[i], axis: this.axis, words });
  }

  // A dashed line where a parameter was changed, its words along it as long as there is room between two of them.
  drawMarks(u) {
    const { ctx, bbox } = u, ratio = uPlot.pxRatio;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.font = `${9 * ratio}px system-ui, sans-serif`;
    let before = -Infinity;
    for (const { x, words, color } of this.marks) {
      if (this.look.logX && !(x > 0)) continue;
      const at = Math.round(u.valToPos(x, "x", true));
      if (!Number.isFinite(at)) continue;
      ctx.globalAlpha = 0.8;
      ctx.strokeStyle = ctx.fillStyle = color;
      ctx.lineWidth = ratio;
      ctx.setLineDash([4 * ratio, 3 * ratio]);
      ctx.beginPath();
      ctx.moveTo(at, bbox.top);
      ctx.lineTo(at, bbox.top + bbox.height);
      ctx.stroke();
      if (at - before < 12 * ratio) continue;
      before = at;
      ctx.save();
      ctx.translate(at + 3 * ratio, bbox.top + 3 * ratio);
      ctx.rotate(Math.PI / 2);
      Object.assign(ctx, { textAlign: "left", textBaseline: "bottom" });
      ctx.fillText(words, 0, 0);
      ctx.restore();
    }
    ctx.restore();
  }

  // The words of the mark at the cursor.
  marked(u, at) {
    const near = at == null ? [] : this.marks.filter(({ x }) => Math.abs(u.valToPos(x, "x") - u.cursor.left) < 5);
    return near.map((mark) => ` · ${mark.words}`).join("");
  }

  // The colors and names of several runs.
  list() {
    const { runs, legend } = this;
    const rows = runs.length > 1 ? runs.map((run) => [run.color, run.legend]) : [];
    const several = new Set(runs.map((run) => run.group)).size > 1;
    if (rows.length) for (const { name, color, spread } of this.spreads) {
      rows.push([several ? color : "currentColor", `${this.look.iqm && spread.count > 3 ? "interquartile mean" : "mean"} of ${spread.count}${name ? `, ${name}` : ""}${spread.held ? " (last values held)" : ""}`]);
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
      setText(this.value, i < 0 || !x.length ? last : `${short(trend[i])} at ${short(x[i])}${this.marked(u, at)}`);
      return;
    }
    setText(this.value, at == null ? "" : `at ${short(at)}${this.marked(u, at)}`);
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
    else if (event.key === "Enter") this.choose();
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

// The page side of SweepPanel: a line of facts, a chart of all trials, and a table that is sorted by a click on a column's head. The chart is curves.js's.

// Numbers before texts, what is not there last, in both directions.
function compareValues(a, b, sign) {
  if (a == null || b == null) return (a == null) - (b == null);
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return sign * (typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true }));
}

// The table: rows keep their elements from one message to the next, so that a selection or a title that is shown is not lost.
class TrialTable {
  constructor(parent, solo) {
    this.solo = solo;
    const box = element(parent, "div", "rnb-trials");
    this.table = element(box, "table");
    this.head = element(element(this.table, "thead"), "tr");
    this.body = element(this.table, "tbody");
    this.rows = [];
    this.by = null; // the place of the column, as long as somebody chose one
    this.sign = 1;
  }

  show({ heads, rows }) {
    if (!heads) return;
    const words = heads.join("\n");
    if (words !== this.heads) { this.heads = words; this.makeHeads(heads); this.body.replaceChildren(); this.rows = []; }
    rows.forEach((row, i) => {
      if (!this.rows[i]) this.rows[i] = this.makeRow(heads);
      this.fill(this.rows[i], row, heads);
    });
    this.sort();
  }

  makeHeads(heads) {
    const before = this.by === null ? null : this.head.cells[this.by].textContent;
    this.head.replaceChildren();
    this.by = heads.includes(before) ? heads.indexOf(before) : null;
    heads.forEach((name, place) => {
      const head = element(this.head, "th");
      head.scope = "col";
      const button = element(head, "button", "", name);
      button.type = "button";
      button.addEventListener("click", () => {
        this.sign = this.by === place ? -this.sign : place >= heads.indexOf("score") ? -1 : 1; // the best first
        this.by = place;
        this.sort();
      });
    });
  }

  makeRow(heads) {
    const root = element(this.body, "tr");
    const cells = heads.map(() => element(root, "td"));
    const swatch = element(cells[0], "i", "rnb-swatch");
    const name = element(cells[0], "button");
    name.type = "button";
    name.title = "draw only this configuration; once more: all";
    const row = { root, cells, swatch, name, texts: heads.map((_, i) => (i ? cells[i] : name)) };
    name.addEventListener("click", () => this.solo(row.group));
    return row;
  }

  fill(row, { words, values, state, title, group, color, share }, heads) {
    row.values = values;
    row.group = group;
    if (row.root.title !== title) row.root.title = title;
    row.root.dataset.state = state;
    row.swatch.style.background = color;
    words.forEach((word, i) => {
      const said = heads[i] === "state" && state === "running" && share > 0 ? `${word} ${Math.round(100 * share)} %` : word;
      setText(row.texts[i], said);
      if (heads[i] === "state") row.cells[i].className = "rnb-trial-state";
    });
  }

  sort() {
    [...this.head.cells].forEach((head, i) => {
      if (i === this.by) head.setAttribute("aria-sort", this.sign > 0 ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    });
    const order = this.by === null ? this.rows : [...this.rows].sort((a, b) => compareValues(a.values[this.by], b.values[this.by], this.sign));
    order.forEach((row, i) => { if (this.body.children[i] !== row.root) this.body.insertBefore(row.root, this.body.children[i] || null); });
  }

  mark(group) {
    for (const row of this.rows) row.root.dataset.faded = String(group !== null && row.group !== group);
  }
}

// x as float64, then the values as float32, padded to 8 bytes; what is sent is a trend already, so least and greatest are the same.
function decodeTrials(curves, view) {
  let at = view.byteOffset;
  return curves.map(({ points: n }) => {
    const x = new Float64Array(view.buffer.slice(at, at + 8 * n));
    const mean = new Float32Array(view.buffer.slice(at + 8 * n, at + 12 * n));
    at += 12 * n + (n % 2 ? 4 : 0);
    return { columns: { shown: x }, mean, least: mean, greatest: mean, weight: new Float64Array(n).fill(1), count: n, ofEpisodes: false };
  });
}

function choose(parent, words, changed) {
  const label = element(parent, "label", "", `${words} `);
  const select = element(label, "select");
  select.setAttribute("aria-label", words);
  select.addEventListener("change", () => changed(select.value));
  let known = "";
  return (options, value) => {
    const now = JSON.stringify(options);
    if (now !== known) {
      known = now;
      select.replaceChildren();
      for (const [name, title] of options) element(select, "option", "", title).value = name;
    }
    if (document.activeElement !== select || select.value === "") select.value = value;
    label.style.display = options.length > 1 ? "" : "none";
  };
}

function render({ model, el }) {
  const showTwin = hideTwin(model);
  const root = element(el, "section", "rnb-run rnb-sweep");
  root.dataset.lmSuppressShortcuts = "true";
  const head = element(root, "div", "rnb-head");
  const title = element(head, "span", "rnb-title");
  const state = element(head, "span", "rnb-state");
  state.setAttribute("role", "status");
  const buttons = element(head, "span", "rnb-buttons");
  const stop = element(buttons, "button", "", "Stop");
  stop.type = "button";
  stop.title = "begin no more trials, and end those that run";
  stop.addEventListener("click", () => { stop.disabled = true; model.send({ do: "stop" }); });
  const facts = element(head, "span", "rnb-fact");
  const best = element(head, "span", "rnb-fact rnb-best");
  const bar = element(root, "div", "rnb-bar");
  bar.setAttribute("role", "progressbar");
  bar.setAttribute("aria-label", "share of all trials that is done");
  const done = element(bar, "div");
  const warnings = element(root, "ul", "rnb-warnings");
  warnings.setAttribute("aria-label", "warnings");
  const row = element(root, "div", "rnb-controls");
  const metric = choose(row, "metric", (name) => model.send({ do: "metric", name }));
  const axis = choose(row, "x axis", (name) => model.send({ do: "axis", name }));
  const look = { smoothing: 0, logX: false, logY: false, mean: true, iqm: false, reach: new Map() };
  const check = (words, name, about) => {
    const label = element(row, "label");
    const box = element(label, "input");
    Object.assign(box, { type: "checkbox", checked: look[name] });
    label.append(` ${words}`);
    label.title = about;
    box.addEventListener("change", () => { look[name] = box.checked; drawCurves(); });
  };
  check("mean and spread", "mean", "the mean over a configuration's seeds, with a band from the least to the greatest");
  check("interquartile", "iqm", "the interquartile mean over a configuration's seeds and its 95 % bootstrap interval instead");
  const none = element(root, "div", "rnb-none", "No curves yet: nothing was logged so far.");
  const grid = element(root, "div", "rnb-charts");
  const charts = new Map();
  let only = null;
  const table = new TrialTable(root, (group) => { only = only === group ? null : group; table.mark(only); drawCurves(); });
  const heard = { at: Date.now() };

  function showStatus() {
    const s = model.get("status");
    const silent = Math.round((Date.now() - heard.at) / 1000);
    const lost = s.alive && silent >= 15;
    setText(title, s.title || "");
    setText(state, lost ? `no word from the kernel for ${silent} s` : s.state || "");
    state.dataset.state = lost ? "silent" : s.state;
    stop.hidden = !s.alive || lost;
    setText(facts, (s.facts || []).join(" · "));
    setText(best, s.best || "");
    bar.style.display = s.alive ? "" : "none";
    done.style.width = `${100 * (s.share || 0)}%`;
    bar.setAttribute("aria-valuenow", Math.round(100 * (s.share || 0)));
    warnings.replaceChildren();
    for (const words of s.warnings || []) element(warnings, "li", "", words);
    root.setAttribute("aria-label", s.title || "sweep");
  }

  function drawCurves() {
    const curves = model.get("curves"), choice = model.get("choice");
    const decoded = decodeTrials(curves, model.get("points"));
    metric((choice.metrics || []).map((name) => [name, name]), choice.metric);
    axis(choice.axes || [], choice.axis);
    none.style.display = curves.length ? "none" : "";
    row.style.display = curves.length ? "" : "none";
    const metrics = new Map();
    curves.forEach((curve, i) => {
      if (only !== null && curve.group !== only) return;
      const of = metrics.get(curve.name) || [];
      of.push({ ...decoded[i], place: i, kept: false, color: curve.color, last: curve.last, words: curve.last, perBucket: 1, label: curve.label, legend: curve.label, group: curve.group, ended: curve.ended });
      metrics.set(curve.name, of);
    });
    for (const [name, own] of metrics) {
      if (!charts.has(name)) charts.set(name, new Chart(grid, name, look, `rnb-${model.model_id || Math.random()}`, null));
      charts.get(name).update(own, "shown", choice.title || "");
    }
    for (const [name, chart] of charts) chart.box.style.display = metrics.has(name) ? "" : "none";
  }

  let asked = false, curvesToo = true, tableToo = true;
  function draw() {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      showStatus();
      if (tableToo) { table.show(model.get("table")); table.mark(only); }
      if (curvesToo) drawCurves();
      curvesToo = tableToo = false;
    });
  }
  const news = { curves: () => { curvesToo = true; }, points: () => { curvesToo = true; }, choice: () => { curvesToo = true; }, table: () => { tableToo = true; } };
  for (const [name, note] of Object.entries(news)) model.on(`change:${name}`, note);
  const hear = () => { heard.at = Date.now(); draw(); };
  model.on("change", hear);
  const size = new ResizeObserver(() => charts.forEach((chart) => chart.resize()));
  size.observe(grid);
  const looks = setInterval(() => { if (model.get("status").alive) showStatus(); }, 5000);
  draw();

  return () => {
    clearInterval(looks);
    size.disconnect();
    model.off("change", hear);
    for (const [name, note] of Object.entries(news)) model.off(`change:${name}`, note);
    charts.forEach((chart) => chart.plot && chart.plot.destroy());
    showTwin();
  };
}

export default { render };

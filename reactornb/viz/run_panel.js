// The page side of RunPanel: for each run a line of facts, buttons and a bar; the controls of the curves; a chart per metric.

const BUTTONS = [
  ["pause", "Pause", "hold the run before its next tag"],
  ["resume", "Resume", "let the run go on: a kept run that is over goes on from its last checkpoint, as if it had never been interrupted"],
  ["step", "Step", "execute one tag"],
  ["stop", "Stop", "end the run at its next microstep, with its shutdown reactions"],
  ["abandon", "Abandon", "give the run up: a reaction does not return. Its program can be started again; the reaction's thread stays behind"],
  ["start", "Start again", "a new run of the program with the same options, shown beside this one"],
];
const OVER = ["start"];
const OFFERED = { running: ["pause", "stop"], paused: ["resume", "step", "stop"], finished: OVER, stopped: OVER, abandoned: OVER, failed: OVER };

const DRAWN = ["curves", "points", "axes", "sent", "marks"]; // what of the model the charts show

// Is the kernel there? What a panel of a living run shows is true as of its last message; while runs live one comes every second
// or so. `word` is what to say instead of "running", null while all is well.
class Pulse {
  constructor(model) {
    this.model = model;
    this.manager = model.widget_manager;
    this.heard = Date.now();
    this.gone = null;
    this.lost = () => { this.gone = this.gone || "kernel gone"; };
    this.live = () => { if (this.real && this.real.comm_live === false) this.lost(); };
    this.status = (_, status) => { if (/restarting|terminating|dead/.test(status)) this.lost(); };
    model.on("comm_live_update", this.live);
    model.on("comm:close", this.lost);
    // The model itself, where the manager hands it out: it knows whether its comm lives.
    if (this.manager && model.model_id) this.manager.get_model(model.model_id).then((real) => { this.real = real; }, () => {});
    this.watch();
  }
  get kernel() {
    try { return (this.manager && this.manager.kernel) || null; } catch { return null; }
  }
  watch() {
    const kernel = this.kernel;
    if (kernel === this.watched) return;
    this.unwatch();
    this.watched = kernel;
    if (kernel && kernel.statusChanged) kernel.statusChanged.connect(this.status);
  }
  unwatch() {
    if (this.watched && this.watched.statusChanged) this.watched.statusChanged.disconnect(this.status);
  }
  hear() {
    this.heard = Date.now();
    this.gone = null;
  }
  word() {
    this.watch();
    const silent = Math.round((Date.now() - this.heard) / 1000);
    const at = new Date(this.heard).toLocaleTimeString();
    if (this.real && this.real.comm_live === false) this.lost();
    if (this.gone) return { state: "gone", words: `kernel gone: last seen at ${at}` };
    if (silent < 5) return null;
    const kernel = this.kernel;
    if (kernel && (kernel.isDisposed || /restarting|terminating|dead/.test(kernel.status))) { this.lost(); return this.word(); }
    if (kernel && kernel.connectionStatus && kernel.connectionStatus !== "connected") return { state: "silent", words: `no connection to the kernel: last update ${silent} s ago, at ${at}` };
    if (kernel && kernel.status === "busy") return { state: "silent", words: `kernel busy with a cell: last update ${silent} s ago` };
    if (kernel && kernel.status === "idle" && silent >= 15) { this.lost(); return this.word(); } // it would have said something
    return { state: "silent", words: `last update ${silent} s ago` };
  }
  close() {
    this.unwatch();
    this.model.off("comm_live_update", this.live);
    this.model.off("comm:close", this.lost);
  }
}

// One run's line.
class RunLine {
  constructor(parent, index, send) {
    this.root = element(parent, "div", "rnb-line");
    const head = element(this.root, "div", "rnb-head");
    this.swatch = element(head, "i", "rnb-swatch");
    this.title = element(head, "span", "rnb-title");
    this.state = element(head, "span", "rnb-state");
    this.state.setAttribute("role", "status"); // said aloud when it changes, unlike the numbers
    const buttons = element(head, "span", "rnb-buttons");
    buttons.setAttribute("role", "group");
    this.buttons = new Map();
    for (const [what, words, title] of BUTTONS) {
      const button = element(buttons, "button", "", words);
      button.type = "button";
      button.title = title;
      button.dataset.do = what;
      button.addEventListener("click", () => { button.disabled = true; send({ do: what, run: index }); });
      this.buttons.set(what, button);
    }
    this.group = buttons;
    this.doing = element(head, "span", "rnb-fact rnb-doing");
    this.facts = element(head, "span", "rnb-fact");
    this.ahead = element(head, "span", "rnb-fact rnb-ahead");
    this.rates = element(head, "span", "rnb-fact");
    this.workers = element(head, "span", "rnb-fact");
    this.use = element(head, "span", "rnb-workers");
    this.used = element(head, "span", "rnb-fact");
    this.seed = element(head, "span", "rnb-fact");
    this.queues = element(head, "span", "rnb-fact");
    this.queues.title = "queue: later tags that have events, each periodic timer once; inbox: events from outside that wait to be looked at";
    this.missed = element(head, "span", "rnb-fact rnb-missed");
    this.missed.title = "reactions that began after their deadline";
    this.bar = element(this.root, "div", "rnb-bar");
    this.bar.setAttribute("role", "progressbar");
    this.bar.setAttribute("aria-label", "how much of the run is done");
    this.done = element(this.bar, "div");
    this.hosts = element(this.root, "table", "rnb-hosts");
    this.hosts.setAttribute("aria-label", "hosts");
    this.warnings = element(this.root, "ul", "rnb-warnings");
    this.warnings.setAttribute("aria-label", "warnings");
    this.failure = element(this.root, "pre", "rnb-failure");
    this.failure.setAttribute("role", "alert");
  }

  // `pulse` is what the page knows of the kernel: where that is silent or gone, nothing else here is sure.
  show(s, several, pulse) {
    const word = s.alive && pulse ? pulse : null;
    const gone = Boolean(word) && word.state === "gone";
    setText(this.title, s.title);
    setText(this.state, word ? word.words : s.state);
    this.root.dataset.gone = String(gone);
    this.swatch.style.display = several ? "" : "none";
    this.swatch.style.background = s.color;
    this.state.dataset.state = word ? word.state : s.abandonable ? "hung" : s.state;
    this.group.setAttribute("aria-label", `commands to ${s.title}`);
    const stood = `${s.title} ${s.state} ${s.tag} ${s.told}`; // a pressed button stays grey until the run has answered
    const offered = gone ? [] : [...(OFFERED[s.state] || []), ...(s.abandonable ? ["abandon"] : [])];
    for (const [what, button] of this.buttons) {
      button.hidden = !offered.includes(what) || (what === "start" && !s.restarts);
      if (what === "resume" && s.resumable && !gone) button.hidden = false;
      if (stood !== this.stood) button.disabled = false;
    }
    this.stood = stood;
    const left = s.kept ? `kept as ${s.kept}: %reactor curves ${s.kept} shows it as it ended, %reactor resume ${s.kept} goes on` : "";
    setText(this.doing, (gone ? [`was ${s.state}`, left] : [s.doing, s.again, s.told]).filter(Boolean).join(" · "));
    const warnings = gone ? [] : s.warnings;
    while (this.warnings.childElementCount > warnings.length) this.warnings.lastChild.remove();
    while (this.warnings.childElementCount < warnings.length) element(this.warnings, "li");
    warnings.forEach((words, i) => setText(this.warnings.children[i], words));
    setText(this.facts, `tag ${s.tag} · physical ${s.seconds.toFixed(1)} s${s.pace ? ` · ${s.pace}` : ""}`);
    setText(this.ahead, s.alive && !gone ? s.ahead : "");
    setText(this.rates, gone ? "" : s.rates.join(" · "));
    setText(this.workers, s.placement);
    setText(this.seed, `seed ${s.seed}${s.fingerprint ? " · " + s.fingerprint.slice(0, 12) : ""}`);
    const percent = (share) => `${Math.round(share * 100)} %`;
    setText(this.used, s.use.length > 4 ? `mean use ${percent(s.use.reduce((a, b) => a + b) / s.use.length)}` : s.use.map(percent).join(", "));
    this.workers.title = "threads and the cores they run on: P, E and LP are performance, efficiency and low-power cores";
    while (this.use.childElementCount > s.use.length) this.use.lastChild.remove();
    while (this.use.childElementCount < s.use.length) element(this.use, "i");
    this.use.setAttribute("role", "img");
    this.use.setAttribute("aria-label", s.use.map((share, i) => `worker ${i}: ${percent(share)} of a core`).join(", "));
    this.used.title = this.use.title = this.use.getAttribute("aria-label");
    s.use.forEach((share, i) => { this.use.children[i].style.height = `${Math.round(share * 100)}%`; });
    setText(this.queues, s.queues);
    this.showHosts(gone ? [] : s.hosts || []);
    setText(this.missed, s.missed);
    this.missed.dataset.some = String(Boolean(s.missed) && !s.missed.startsWith("0 "));
    this.bar.style.display = s.progress == null ? "none" : "";
    this.done.style.width = `${(s.progress || 0) * 100}%`;
    this.bar.setAttribute("aria-valuenow", Math.round((s.progress || 0) * 100));
    this.failure.style.display = s.failure ? "" : "none";
    setText(this.failure, s.failure || "");
  }

  // Rows of words, the first one of titles; none where nothing is executed by hosts.
  showHosts(rows) {
    this.hosts.hidden = !rows.length;
    while (this.hosts.rows.length > rows.length) this.hosts.deleteRow(-1);
    rows.forEach((words, i) => {
      const row = this.hosts.rows[i] || this.hosts.insertRow(-1);
      words.forEach((word, k) => setText(row.cells[k] || element(row, i ? "td" : "th"), word));
    });
  }
}

// The x axis, smoothing, logarithms, mean, zoom; `changed` is called when `look` was, `turned` when the axis was chosen.
function controls(parent, look, changed, turned, all) {
  const row = element(parent, "div", "rnb-controls");
  const across = element(row, "label", "", "x ");
  across.title = "what the curves are drawn over; tag is the logical time, or the microstep where that does not move";
  const axis = element(across, "select");
  axis.setAttribute("aria-label", "x axis");
  axis.addEventListener("change", () => { look.axis = axis.value; turned(); });
  const smoothing = element(row, "label", "", "smoothing ");
  const slider = element(smoothing, "input");
  Object.assign(slider, { type: "range", min: 0, max: 0.3, step: 0.01, value: look.smoothing });
  slider.setAttribute("aria-label", "smoothing: share of the values that each mean is over; of episodes the last 100 at 3 %, but at most a tenth of all");
  const share = element(smoothing, "span", "", "");
  const said = () => setText(share, ` ${Math.round(look.smoothing * 100)} %`);
  slider.addEventListener("input", () => { look.smoothing = Number(slider.value); said(); changed(); });
  said();
  const check = (words, name, title) => {
    const label = element(row, "label");
    const box = element(label, "input");
    Object.assign(box, { type: "checkbox", checked: look[name] });
    label.append(` ${words}`);
    label.title = title;
    box.addEventListener("change", () => { look[name] = box.checked; changed(); });
    return label;
  };
  check("log x", "logX", "logarithmic x axes; what is at 0 is left out");
  check("log y", "logY", "logarithmic y axes; values up to 0 are left out");
  const mean = check("mean and spread", "mean", "the mean over the runs, with a band from the least to the greatest");
  const iqm = check("interquartile mean", "iqm", "instead of mean and range the mean of the middle half of the runs (of fewer than four: of all) and its 95 % bootstrap interval");
  const reset = element(row, "button", "", "show all");
  reset.type = "button";
  reset.title = "undo zooming: drag over a chart to zoom, double-click to undo";
  reset.addEventListener("click", all);
  return { row, mean, iqm, axis };
}

function render({ model, el }) {
  const showTwin = hideTwin(model);
  const root = element(el, "section", "rnb-run");
  // Keys pressed here are ours, not the notebook's shortcuts.
  root.dataset.lmSuppressShortcuts = "true";
  const lines = element(root, "div");
  const runs = [];
  const pulse = new Pulse(model);
  const look = { smoothing: 1 / 30, logX: false, logY: false, mean: true, iqm: false, axis: null, reach: new Map() };
  const charts = new Map();
  const all = () => charts.forEach((chart) => chart.all());
  const menu = new PointMenu(root, (message) => model.send(message));
  const { row, mean, iqm, axis } = controls(root, look, () => charts.forEach((chart) => chart.draw()), () => showCurves(), all);
  const none = element(root, "div", "rnb-none");
  const grid = element(root, "div", "rnb-charts");
  const printed = element(root, "details", "rnb-printed");
  printed.open = true;
  const count = element(printed, "summary");
  const log = element(printed, "pre");
  log.tabIndex = 0;
  log.setAttribute("role", "log");
  log.setAttribute("aria-live", "off"); // it may be long, so a screen reader does not read it aloud
  log.setAttribute("aria-label", "what reactions printed");
  const sync = `rnb-${model.model_id || Math.random()}`;

  function showRuns() {
    const shown = model.get("runs");
    while (runs.length < shown.length) runs.push(new RunLine(lines, runs.length, (message) => model.send(message)));
    const word = pulse.word();
    shown.forEach((s, i) => runs[i].show(s, shown.length > 1, word));
    setText(none, word && word.state === "gone" ? "No curves: the kernel is gone." : [...new Set(shown.map((s) => s.empty))].join(" "));
    root.setAttribute("aria-label", shown.map((s) => s.title).join(", "));
  }

  function showAxes(axes, chosen) {
    const known = JSON.stringify(axes);
    if (known !== axis.dataset.known) {
      axis.dataset.known = known;
      axis.replaceChildren(...axes.map(([name, title]) => new Option(title, name)));
    }
    if (axis.value !== chosen) axis.value = chosen;
  }

  function showCurves() {
    const curves = model.get("curves");
    const shown = model.get("runs");
    const axes = model.get("axes");
    const [chosen, title] = axes.find(([name]) => name === look.axis) || axes[0] || ["tag", ""];
    showAxes(axes, chosen);
    none.style.display = curves.length ? "none" : "";
    row.style.display = curves.length ? "" : "none";
    mean.style.display = iqm.style.display = shown.length > 1 ? "" : "none";
    const decoded = decode(curves, model.get("points"), model.get("sent"));
    const metrics = new Map();
    curves.forEach((curve, i) => {
      const of = metrics.get(curve.name) || [];
      const { legend, label, group, kept, alive } = shown[curve.run];
      of.push({ ...decoded[i], place: curve.run, kept, color: curve.color, last: curve.last, words: curve.words, count: curve.count, ofEpisodes: curve.of_episodes, label, legend, group, ended: !alive });
      metrics.set(curve.name, of);
    });
    const marks = model.get("marks").filter(({ at }) => chosen in at);
    for (const [name, own] of metrics) {
      if (!charts.has(name)) charts.set(name, new Chart(grid, name, look, sync, (...where) => menu.open(...where)));
      const chart = charts.get(name);
      chart.box.style.order = curves.find((curve) => curve.name === name).place;
      const color = (run) => (shown.length > 1 ? shown[run].color : "#7c8796");
      chart.update(own, chosen, title, marks.filter(({ run }) => own.some((one) => one.place === run)).map(({ run, words, at }) => ({ x: at[chosen], words, color: color(run) })));
    }
    const returns = RETURNS.map((name) => charts.get(name)).filter((chart) => chart && chart.plot);
    if (returns.length > 1) for (const { plot, zoomed } of returns) if (!zoomed) plot.setData(plot.data, true); // each has seen the other's reach now
    for (const [name, chart] of charts) chart.box.style.display = metrics.has(name) ? "" : "none";
  }

  function showPrinted() {
    const lines = model.get("lines");
    printed.style.display = lines ? "" : "none";
    // How many are not shown stands first, and is seen wherever the log is scrolled to.
    let text = model.get("printed"), hidden = "";
    if (text.startsWith("… ")) [hidden, text] = [text.split("\n", 1)[0].replace("… ", " · "), text.slice(text.indexOf("\n") + 1)];
    setText(count, `printed: ${lines.toLocaleString("en")} line${lines === 1 ? "" : "s"}${hidden}`);
    const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 4; // else somebody is reading further up
    setText(log, text);
    if (atEnd) log.scrollTop = log.scrollHeight;
  }

  // One drawing per message, however many of its traits changed, and none while the page is hidden.
  let asked = false, curvesToo = true;
  function draw() {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      showRuns();
      showPrinted();
      if (curvesToo) showCurves();
      curvesToo = false;
    });
  }
  const drawCurves = () => { curvesToo = true; };

  const size = new ResizeObserver(() => charts.forEach((chart) => chart.resize()));
  size.observe(grid);
  const theme = new MutationObserver(() => charts.forEach((chart) => chart.plot && chart.plot.redraw()));
  theme.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-name", "data-jp-theme-light", "class"] });
  for (const name of DRAWN) model.on(`change:${name}`, drawCurves);
  const hear = () => { pulse.hear(); draw(); };
  model.on("change", hear);
  const looks = setInterval(() => { if (model.get("runs").some((s) => s.alive)) showRuns(); }, 1000);
  showRuns();
  draw();

  return () => {
    clearInterval(looks);
    pulse.close();
    menu.remove();
    model.off("change", hear);
    for (const name of DRAWN) model.off(`change:${name}`, drawCurves);
    size.disconnect();
    theme.disconnect();
    charts.forEach((chart) => chart.plot && chart.plot.destroy());
    showTwin();
  };
}

export default { render };

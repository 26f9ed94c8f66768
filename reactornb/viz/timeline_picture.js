// Draws a timeline: a lane per worker on one canvas, with tags above and time below. Used by timeline_panel.js.

const GUTTER = 112, RULER = 20, AXIS = 22, SHORTEST = 1000; // pixels, and ns
const FONT = "11px system-ui, sans-serif";
const LEVELS = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#882255", "#999933", "#6a5acd", "#44aa99"];

// The arrays of a frame, as timeline_panel.py packs them.
function decode(frame, view) {
  let at = view.byteOffset;
  const take = (Kind, n) => {
    // Copies, since a typed array must begin at a multiple of its size.
    const part = new Kind(view.buffer.slice(at, at + n * Kind.BYTES_PER_ELEMENT));
    at += n * Kind.BYTES_PER_ELEMENT;
    return part;
  };
  return frame.lanes.map(([n, m, kept]) => ({
    kept,
    time: take(Float64Array, n), begin: take(Float32Array, n), length: take(Float32Array, n), reaction: take(Int32Array, n), microstep: take(Int32Array, n),
    bin: take(Int32Array, m), shown: take(Int32Array, m), count: take(Int32Array, m), busy: take(Float32Array, m),
  }));
}

// The last index whose value is at most the given one; -1 if there is none. The values are ascending.
function lastUpTo(values, value) {
  let low = 0, high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

function duration(ns) {
  for (const [unit, size] of [["s", 1e9], ["ms", 1e6], ["µs", 1e3]]) {
    if (Math.abs(ns) >= size) return `${Number((ns / size).toPrecision(4))} ${unit}`;
  }
  return `${Math.round(ns)} ns`;
}

// As tags.format_ns.
function logical(ns) {
  if (ns >= 9.2e18) return "forever";
  for (const [unit, size] of [["s", 1e9], ["ms", 1e6], ["us", 1e3]]) {
    if (Math.abs(ns) >= size) return `${Number((ns / size).toPrecision(9))} ${unit}`;
  }
  return ns ? `${ns} ns` : "0";
}

// Seconds with as many decimals as a step of the axis needs.
function moment(ns, step) {
  const decimals = Math.min(Math.max(-Math.floor(Math.log10(step / 1e9) + 1e-9), 0), 9);
  return `${(ns / 1e9).toFixed(decimals)} s`;
}

function inkOn(color) {
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16));
  return 0.299 * r + 0.587 * g + 0.114 * b > 140 ? "#111" : "#fff";
}

// The visible window of a timeline, on one canvas. `look`: { from, to, levels, only }.
class Picture {
  constructor(canvas, model, look) {
    Object.assign(this, { canvas, model, look, marked: null, band: null });
    this.ink = canvas.getContext("2d");
  }

  // Takes the frame that the kernel sent last.
  adopt() {
    this.frame = this.model.get("frame");
    this.lanes = decode(this.frame, this.model.get("spans"));
    this.step = (this.frame.to - this.frame.from) / this.frame.bins;
    this.marked = this.again(this.marked);
  }

  // Finds the span that was marked in an earlier frame in this one.
  again(marked) {
    if (!marked || marked.index === undefined) return null;
    const slack = (this.frame.to - this.frame.from) / 1e6; // begins come as float32
    const index = lastUpTo(this.lanes[marked.lane].begin, marked.from - this.frame.from + slack);
    const found = this.span(marked.lane, index);
    return found && Math.abs(found.from - marked.from) <= 2 * slack ? found : null;
  }

  get tall() { return Math.max(12, Math.min(30, 480 / this.lanes.length)); }
  get height() { return RULER + AXIS + Math.ceil(this.tall * this.lanes.length); }
  get width() { return this.canvas.clientWidth; }
  get room() { return Math.max(this.width - GUTTER - 6, 50); }
  x(ns) { return GUTTER + ((ns - this.look.from) * this.room) / (this.look.to - this.look.from); }
  ns(x) { return this.look.from + ((x - GUTTER) * (this.look.to - this.look.from)) / this.room; }

  // A reaction's kind in the legend, and its color.
  paint(reaction) {
    const [, kind, level] = this.frame.names[reaction];
    return this.look.levels ? [level, LEVELS[level % LEVELS.length]] : [kind, this.model.get("kinds")[kind][1]];
  }

  draw() {
    if (!this.width) return;
    const { canvas, ink } = this;
    const scale = window.devicePixelRatio || 1;
    canvas.style.height = `${this.height}px`;
    if (canvas.width !== Math.round(this.width * scale) || canvas.height !== Math.round(this.height * scale)) {
      canvas.width = Math.round(this.width * scale);
      canvas.height = Math.round(this.height * scale);
    }
    ink.setTransform(scale, 0, 0, scale, 0, 0);
    this.render(ink);
  }

  render(ink) {
    const color = getComputedStyle(this.canvas).color;
    ink.clearRect(0, 0, this.width, this.height);
    ink.font = FONT;
    ink.textBaseline = "middle";
    const bottom = this.height - AXIS;
    ink.save();
    ink.beginPath();
    ink.rect(GUTTER, 0, this.room, this.height);
    ink.clip();
    this.drawTicks(ink, color, bottom);
    this.lanes.forEach((lane, i) => this.drawLane(ink, lane, RULER + i * this.tall, color));
    this.drawTags(ink, color, bottom);
    if (this.marked) this.drawMarked(ink, color);
    if (this.band) {
      ink.fillStyle = "rgba(59,130,246,.25)";
      ink.fillRect(Math.min(...this.band), RULER, Math.abs(this.band[1] - this.band[0]), bottom - RULER);
    }
    ink.restore();
    ink.fillStyle = color;
    this.model.get("labels").forEach(([label], i) => ink.fillText(label, 2, RULER + (i + 0.5) * this.tall, GUTTER - 8));
    ink.globalAlpha = 0.7;
    ink.fillText("tag", 2, RULER / 2);
    ink.globalAlpha = 1;
  }

  drawLane(ink, lane, top, color) {
    const y = top + 2, tall = this.tall - 4, { only, from, to } = this.look, frame = this.frame;
    const perNs = this.room / (to - from);
    ink.globalAlpha = 0.28;
    ink.fillStyle = color;
    ink.fillRect(GUTTER, top + this.tall - 0.5, this.room, 0.5);
    if (lane.kept > from) { // spans before it were not kept
      ink.globalAlpha = 0.1;
      ink.fillRect(GUTTER, y, Math.min(this.x(lane.kept) - GUTTER, this.room), tall);
    }
    const wide = Math.max(this.step * perNs, 1);
    for (let i = 0; i < lane.bin.length; i++) {
      const x = this.x(frame.from + lane.bin[i] * this.step);
      if (x + wide < GUTTER || x > this.width) continue;
      const [key, fill] = this.paint(lane.shown[i]);
      ink.globalAlpha = (0.25 + 0.75 * lane.busy[i]) * (only === null || only === key ? 1 : 0.12);
      ink.fillStyle = fill;
      ink.fillRect(x, y, wide, tall);
    }
    for (let i = 0; i < lane.begin.length; i++) {
      const x = this.x(frame.from + lane.begin[i]), w = Math.max(lane.length[i] * perNs, 1);
      if (x + w < GUTTER || x > this.width) continue;
      const [key, fill] = this.paint(lane.reaction[i]);
      const shown = only === null || only === key;
      ink.globalAlpha = shown ? 1 : 0.12;
      ink.fillStyle = fill;
      ink.fillRect(x, y, w > 3 ? w - 0.5 : w, tall);
      if (w > 24 && tall > 11 && shown) this.write(ink, lane.reaction[i], Math.max(x, GUTTER), y, Math.min(x + w, this.width) - Math.max(x, GUTTER), tall, inkOn(fill));
    }
    ink.globalAlpha = 1;
  }

  // A span's name and level, as much as there is room for.
  write(ink, reaction, x, y, w, tall, color) {
    const [name, , level] = this.frame.names[reaction];
    const short = name.slice(name.indexOf(".") + 1);
    const last = short.slice(short.lastIndexOf(".") + 1);
    // Its name first; where there is no room for it, its beginning.
    const cut = [...Array(Math.max(last.length - 3, 0)).keys()].map((k) => `${last.slice(0, last.length - 1 - k)}…`);
    const words = [`${short}  L${level}`, short, `${last}  L${level}`, last, ...cut].find((t) => ink.measureText(t).width < w - 6);
    if (!words) return;
    ink.fillStyle = color;
    ink.fillText(words, x + 3, y + tall / 2 + 0.5);
  }

  drawTags(ink, color, bottom) {
    const tags = this.frame.tags;
    ink.fillStyle = ink.strokeStyle = color;
    if (tags === null) {
      ink.globalAlpha = 0.6;
      ink.fillText("many: zoom in to tell them apart", GUTTER + 4, RULER / 2);
      ink.globalAlpha = 1;
      return;
    }
    const seen = tags.filter(([at], i) => (i + 1 === tags.length || tags[i + 1][0] > this.look.from) && at < this.look.to);
    let free = GUTTER;
    ink.lineWidth = 1;
    ink.setLineDash([2, 2]);
    ink.globalAlpha = seen.length > this.room / 12 ? 0.2 : 0.55;
    ink.beginPath();
    for (const [at] of seen) {
      const x = Math.round(this.x(at)) - 0.5;
      ink.moveTo(x, 2);
      ink.lineTo(x, bottom);
    }
    ink.stroke();
    ink.setLineDash([]);
    ink.globalAlpha = 0.85;
    for (const [at, words] of seen) {
      const x = Math.max(this.x(at), GUTTER) + 3, w = ink.measureText(words).width;
      if (x < free || x + w > GUTTER + this.room) continue;
      ink.fillText(words, x, RULER / 2);
      free = x + w + 6;
    }
    ink.globalAlpha = 1;
  }

  drawTicks(ink, color, bottom) {
    const rough = ((this.look.to - this.look.from) * 110) / this.room;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((n) => n * power >= rough);
    ink.fillStyle = color;
    ink.textAlign = "center";
    for (let at = Math.ceil(this.look.from / step) * step; at <= this.look.to; at += step) {
      const x = this.x(at);
      ink.globalAlpha = 0.14;
      ink.fillRect(x, RULER, 1, bottom - RULER);
      ink.globalAlpha = 0.8;
      const words = moment(at, step), half = ink.measureText(words).width / 2;
      ink.fillText(words, Math.min(Math.max(x, GUTTER + half), GUTTER + this.room - half), bottom + AXIS / 2);
    }
    ink.textAlign = "start";
    ink.globalAlpha = 1;
  }

  drawMarked(ink, color) {
    const { lane, from, to } = this.marked;
    ink.strokeStyle = color;
    ink.lineWidth = 2;
    ink.strokeRect(this.x(from) - 1, RULER + lane * this.tall + 1, Math.max(this.x(to) - this.x(from), 1) + 2, this.tall - 2);
  }

  // The span or crowded pixel at a point: { lane, index or bin, from, to } or null.
  at(x, y) {
    const number = Math.floor((y - RULER) / this.tall), lane = this.lanes[number];
    if (!lane || x < GUTTER) return null;
    const ns = this.ns(x) - this.frame.from, slack = (this.look.to - this.look.from) / this.room;
    for (let i = lastUpTo(lane.begin, ns + slack); i >= 0 && i > lastUpTo(lane.begin, ns + slack) - 2; i--) {
      if (lane.begin[i] + Math.max(lane.length[i], slack) >= ns) return this.span(number, i);
    }
    const bin = lastUpTo(lane.bin, ns / this.step);
    if (bin < 0 || lane.bin[bin] + Math.max(1, slack / this.step) < ns / this.step) return null;
    return { lane: number, bin, from: this.frame.from + lane.bin[bin] * this.step, to: this.frame.from + (lane.bin[bin] + 1) * this.step };
  }

  span(number, index) {
    const lane = this.lanes[number];
    if (!lane || index < 0 || index >= lane.begin.length) return null;
    const from = this.frame.from + lane.begin[index];
    return { lane: number, index, from, to: from + lane.length[index] };
  }

  describe(found) {
    const lane = this.lanes[found.lane], where = this.model.get("labels")[found.lane][1];
    if (found.index === undefined) {
      const [name] = this.frame.names[lane.shown[found.bin]];
      return `${lane.count[found.bin].toLocaleString("en")} reactions in ${duration(this.step)}, busy ${Math.round(100 * lane.busy[found.bin])} %\nthe longest of them: ${name}\n${where}\nzoom in to tell them apart`;
    }
    const i = found.index, [name, , level] = this.frame.names[lane.reaction[i]];
    const tag = `(${logical(lane.time[i])}, ${lane.microstep[i]})`;
    return `${name}\ntag ${tag}, level ${level}\ntook ${duration(lane.length[i])}, from ${moment(found.from, Math.max(lane.length[i] / 10, 1))} on\n${where}`;
  }
}

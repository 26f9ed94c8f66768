// The graph's legend, and its colors while a run is alive. Used by graph_panel.js; `element` is in page.js.

const NOTATION = [
  ["chevron", "reaction, with its order in its reactor; those of one reactor run one at a time"],
  ["▸", "port: inputs on the left, outputs on the right, [n] for n channels"],
  ["box", "reactor; ×n with a thick border: a bank of n, drawn once"],
  ["◷", "timer (first, period)"],
  ["△", "action, L logical or P physical (least delay)"],
  ["◎", "watchdog (timeout)"],
  ["○", "startup; with an R: reset"],
  ["◇", "shutdown"],
  ["solid", "connection, with its delay; thick: of many channels"],
  ["after 0", "delay of a connection: 0 is one microstep later at the same time, 10 ms that much later"],
  ["≤ 5 ms", "deadline of a reaction: it is to begin at most so long after its tag in physical time"],
  ["dotted", "~ physical connection: its delay counts from physical time"],
  ["dashed", "what triggers a reaction, and what it writes or schedules; with a ring at its end: read without triggering"],
];

const DRAWN = {
  chevron: '<path d="M1 2h20l6 6-6 6H1z" fill="#475569"/><text x="12" y="12" font-size="10" fill="#fff" text-anchor="middle">1</text>',
  box: '<rect x="2" y="2" width="24" height="12" rx="3" fill="none" stroke="currentColor" stroke-width="2"/>',
  solid: '<path d="M1 8h26" stroke="currentColor"/>',
  dotted: '<path d="M1 8h26" stroke="currentColor" stroke-dasharray="1.5 3"/>',
  dashed: '<path d="M1 8h20" stroke="currentColor" stroke-dasharray="4 3"/><path d="M21 4.5l7 3.5-7 3.5z" fill="currentColor"/>',
};

function notation(details) {
  element(details, "summary", "", "legend");
  const list = element(details, "dl");
  for (const [sign, words] of NOTATION) {
    const term = element(list, "dt");
    if (DRAWN[sign]) term.innerHTML = `<svg width="30" height="16" aria-hidden="true">${DRAWN[sign]}</svg>`;
    else term.textContent = sign;
    element(list, "dd", "", words);
  }
}

// From the chevrons' own slate over amber to red; white is legible on all of it.
const RAMP = [[0, [71, 85, 105]], [0.15, [133, 77, 14]], [0.5, [180, 60, 9]], [1, [185, 28, 28]]];

function warm(share) {
  const i = Math.max(RAMP.findIndex(([at]) => at >= share), 1);
  const [[from, a], [to, b]] = [RAMP[i - 1], RAMP[i]];
  const part = (share - from) / (to - from);
  return `rgb(${a.map((v, k) => Math.round(v + (b[k] - v) * part)).join(",")})`;
}

function amount(value) {
  if (value >= 999.5) return Math.round(value).toLocaleString("en", { maximumSignificantDigits: 3 });
  return value.toLocaleString("en", { maximumSignificantDigits: 2 });
}

function duration(us) {
  if (us >= 999_500) return `${amount(us / 1e6)} s`;
  return us >= 999.5 ? `${amount(us / 1e3)} ms` : `${amount(us)} µs`;
}

class Heat {
  constructor(root) {
    this.root = root;
    root.hidden = true;
    this.who = element(root, "span", "rnb-following");
    this.who.setAttribute("role", "status");
    this.scale = element(root, "span", "rnb-scale");
    element(this.scale, "span", "", "0 %");
    const bar = element(this.scale, "i");
    bar.style.background = `linear-gradient(90deg, ${[...Array(21).keys()].map((i) => warm(i / 20)).join(", ")})`;
    element(this.scale, "span", "", "100 % of the time of all reactions");
    this.lines = element(root, "span", "rnb-scale");
    element(this.lines, "span", "", "lines: 0");
    this.lines.insertAdjacentHTML("beforeend", '<svg width="44" height="9" aria-hidden="true"><path d="M1 4.5L43 1.5v6z" fill="#2563eb"/></svg>');
    this.most = element(this.lines, "span");
    this.heat = {};
    this.parts = new Map();
  }

  // A picture that was drawn anew.
  adopt(svg) {
    this.parts = new Map();
    for (const part of svg.querySelectorAll("g.node, g.edge, g.cluster")) {
      for (const name of part.classList) {
        const found = /^([rbl])(\d+)$/.exec(name);
        if (found) this.parts.set(part, [{ r: "reactions", b: "boxes", l: "lines" }[found[1]], Number(found[2])]);
      }
    }
    this.color();
  }

  show(heat, following) {
    this.heat = heat || {};
    this.root.hidden = !following;
    if (this.who.textContent !== following) this.who.textContent = following;
    this.scale.hidden = this.lines.hidden = !this.heat.lines;
    this.color();
  }

  color() {
    const { lines } = this.heat;
    if (!lines) return;
    const most = Math.max(...lines.filter((v) => v != null), 0);
    this.most.textContent = `${amount(most)} values/s`;
    for (const [part, [kind, place]] of this.parts) {
      const found = this.heat[kind] && this.heat[kind][place];
      if (found == null) continue;
      const shape = part.querySelector("path, polygon");
      if (kind === "lines") {
        // The ends of what nothing flows along stay as they are; widths grow with the logarithm of what flows.
        const share = most > 0 ? Math.log1p(found) / Math.log1p(most) : 0;
        shape.style.strokeWidth = found > 0 ? 0.8 + 3.2 * share : "";
        shape.style.stroke = found > 0 ? "#2563eb" : "";
      } else if (kind === "reactions") {
        shape.style.fill = warm(found[0]);
      } else {
        shape.style.fill = found[0] > 0.005 ? `color-mix(in srgb, ${warm(found[0])} ${Math.round(15 + 45 * found[0])}%, #f8fafc)` : "";
      }
    }
  }

  // What a part of the picture does at present.
  words(part) {
    const [kind, place] = this.parts.get(part) || [];
    const found = kind && this.heat[kind] && this.heat[kind][place];
    if (found == null) return "";
    if (kind === "lines") return `${amount(found)} values/s`;
    const [share, runs, us] = found;
    const inside = kind === "boxes" ? "inside: " : "";
    return `${inside}${amount(100 * share)} % of the time, ${amount(runs)} runs/s, ${duration(us)} each`;
  }
}

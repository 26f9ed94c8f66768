// The page side of GraphPanel: the picture, what is under the pointer, banks that unfold, colors while a run is alive, export.
// `element` and `hideTwin` are in page.js, `notation`, `Heat` in graph_colors.js.

const XLINK = "http://www.w3.org/1999/xlink";
const READABLE = 0.72; // of a picture's size: its words are about 9 pixels high

// Graphviz in WebAssembly, for kernels without `dot`: sent by the kernel on request, once a page.
let graphviz = null;

function library(model) {
  graphviz ??= new Promise((resolve, reject) => {
    const arrive = (message, buffers) => {
      if (!message || !message.library) return;
      model.off("msg:custom", arrive);
      const url = URL.createObjectURL(new Blob([buffers[0]], { type: "text/javascript" }));
      import(/* webpackIgnore: true */ url).then((module) => module.instance()).then(resolve, reject).finally(() => URL.revokeObjectURL(url));
    };
    model.on("msg:custom", arrive);
    model.send({ do: "library" });
  });
  graphviz.catch(() => { graphviz = null; }); // to be tried again
  return graphviz;
}

// WebAssembly knows no fonts: it reckons with the widths of Arial. Where another one is shown, make it smaller to fit.
function fitFont(svg) {
  const letters = "abcdefghijklmnopqrstuvwxyz0123456789_";
  const arial = 18.842; // ems of these letters, from Arial's metrics; bold ones are reckoned alike
  const ink = document.createElement("canvas").getContext("2d");
  const ratio = (weight) => {
    ink.font = `${weight} 100px Helvetica,Arial,sans-serif`;
    return Math.min((arial * 100) / ink.measureText(letters).width, 1);
  };
  const ratios = { "": ratio(""), bold: ratio("bold") };
  return svg.replace(/<text [^>]*>/g, (tag) => tag.replace(/font-size="([\d.]+)"/, (_, size) =>
    `font-size="${(size * ratios[/font-weight="bold"/.test(tag) ? "bold" : ""]).toFixed(2)}"`));
}

function save(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function png(text, width, height) {
  return new Promise((resolve, reject) => {
    const image = new Image();
    const url = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
    image.onerror = () => reject(new Error("the picture cannot be read back"));
    image.onload = () => {
      // Twice the size on a screen, as far as a canvas goes.
      const scale = Math.min(2, 16_000 / Math.max(width, height));
      const canvas = document.createElement("canvas");
      canvas.width = width * scale;
      canvas.height = height * scale;
      const ink = canvas.getContext("2d");
      ink.fillStyle = "white";
      ink.fillRect(0, 0, canvas.width, canvas.height);
      ink.drawImage(image, 0, 0, canvas.width, canvas.height);
      URL.revokeObjectURL(url);
      canvas.toBlob(resolve, "image/png");
    };
    image.src = url;
  });
}

function render({ model, el }) {
  const showTwin = hideTwin(model);
  const root = element(el, "section", "rnb-net");
  root.dataset.lmSuppressShortcuts = "true"; // keys pressed here are ours, not the notebook's shortcuts
  root.setAttribute("aria-label", model.get("label"));
  const row = element(root, "div", "rnb-controls");
  const legend = element(root, "details", "rnb-notation");
  const heat = new Heat(element(root, "div", "rnb-heat"));
  const picture = element(root, "div", "rnb-picture");
  picture.tabIndex = 0;
  picture.setAttribute("role", "group");
  picture.setAttribute("aria-label", `${model.get("label")}. The left and right arrow keys go from part to part, Enter unfolds a bank; the same stands below as text.`);
  const error = element(root, "div", "rnb-error");
  error.setAttribute("role", "alert");
  const details = element(root, "details");
  element(details, "summary", "", "as text");
  const words = element(details, "pre");
  words.tabIndex = 0;
  const tip = element(document.body, "div", "rnb-tip"); // what scrolls would move it
  tip.setAttribute("role", "tooltip");
  let scale = 0; // 0: as wide as there is room, but no wider than it is, nor too small to read; -1: not even that
  let text = ""; // of the picture that is shown
  let size = [0, 0];
  let drawing = ""; // the DOT text that is being laid out

  const button = (label, title, fn) => {
    const made = element(row, "button", "", label);
    made.type = "button";
    made.title = title;
    made.addEventListener("click", fn);
    return made;
  };
  const label = element(row, "label");
  const levels = element(label, "input");
  levels.type = "checkbox";
  label.append(" levels");
  label.title = "write each reaction's level beside it: reactions of one level and one tag run in parallel";
  const depthLabel = element(row, "label", "", "depth ");
  depthLabel.title = "levels of the hierarchy below the outermost reactor";
  const depth = element(depthLabel, "select");
  for (const [value, said] of [[-1, "by size"], [0, "0"], [1, "1"], [2, "2"], [3, "3"], [4, "4"], [9, "all"]]) {
    element(depth, "option", "", said).value = value;
  }
  const look = () => model.send({ do: "look", levels: levels.checked, depth: Number(depth.value) });
  levels.addEventListener("change", look);
  depth.addEventListener("change", look);
  button("−", "smaller", () => zoom(1 / 1.25));
  button("+", "larger", () => zoom(1.25));
  button("fit", "as wide as the page", () => { scale = -1; resize(); });
  button("SVG", "save the picture as SVG", () => save("graph.svg", new Blob([shown()], { type: "image/svg+xml" })));
  button("PNG", "save the picture as PNG", async () => save("graph.png", await png(shown(), ...size)));
  const hint = element(row, "span", "rnb-fact", "");
  notation(legend);

  // The picture as it is seen, colors included, for a file.
  function shown() {
    const copy = picture.querySelector("svg").cloneNode(true);
    copy.setAttribute("width", size[0]);
    copy.setAttribute("height", size[1]);
    for (const link of copy.querySelectorAll("a[data-tip]")) {
      link.setAttributeNS(XLINK, "xlink:title", link.dataset.tip);
      link.removeAttribute("data-tip");
    }
    for (const part of copy.querySelectorAll("[tabindex]")) part.removeAttribute("tabindex");
    return new XMLSerializer().serializeToString(copy);
  }

  function fit() {
    return Math.min(1, (picture.clientWidth - 4) / size[0]);
  }
  function shownAt() {
    return scale > 0 ? scale : Math.max(fit(), scale < 0 ? 0 : READABLE);
  }
  function zoom(factor) {
    scale = Math.min(Math.max(shownAt() * factor, 0.05), 8);
    resize();
  }
  function resize() {
    const svg = picture.querySelector("svg");
    if (!svg || picture.clientWidth === 0) return;
    const by = shownAt();
    svg.setAttribute("width", size[0] * by);
    svg.setAttribute("height", size[1] * by);
  }

  function show(source) {
    text = source.slice(source.indexOf("<svg")).replace(/<!--[\s\S]*?-->\s*/g, "");
    const svg = document.importNode(new DOMParser().parseFromString(text, "image/svg+xml").documentElement, true);
    svg.setAttribute("role", "group"); // an image's parts would be hidden from who does not see
    svg.removeAttribute("aria-label");
    const box = svg.viewBox.baseVal;
    size = [box.width * 4 / 3, box.height * 4 / 3]; // points in pixels
    for (const link of svg.querySelectorAll("a")) {
      // Shown at once and with its line breaks, instead of the browser's own.
      link.dataset.tip = link.getAttributeNS(XLINK, "title") || "";
      link.removeAttributeNS(XLINK, "title");
    }
    for (const title of svg.querySelectorAll("g > title")) title.remove();
    // Titles of boxes go above the lines that cross them, with a rim of the box's color.
    for (const box of svg.querySelectorAll("g.cluster")) {
      const rim = box.querySelector("path, polygon")?.getAttribute("fill");
      for (const words of box.querySelectorAll("text")) {
        for (const [name, value] of [["stroke", rim], ["stroke-width", 3], ["paint-order", "stroke"], ["pointer-events", "none"]]) {
          words.setAttribute(name, value);
        }
        svg.querySelector("g").append(words);
      }
    }
    const focused = document.activeElement && document.activeElement.dataset && document.activeElement.dataset.unfolds;
    let banks = 0;
    for (const group of svg.querySelectorAll("g.members, g.member")) {
      const unfolded = group.classList.contains("member");
      const key = group.id.replace(unfolded ? /\[\d+\]$/ : /$^/, "");
      group.dataset.unfolds = key;
      group.setAttribute("tabindex", "0");
      group.setAttribute("role", "button");
      group.setAttribute("aria-expanded", String(unfolded));
      group.setAttribute("aria-label", `bank ${key}: ${unfolded ? "fold" : "unfold"}`);
      banks++;
    }
    for (const part of svg.querySelectorAll("g.cluster, g.node, g.edge")) {
      const link = part.querySelector("a[data-tip]");
      if (!link || !link.dataset.tip.trim()) continue;
      part.classList.add("rnb-part");
      if (part.dataset.unfolds) continue;
      part.setAttribute("tabindex", "-1"); // reached by arrow keys
      part.setAttribute("role", "img");
      part.setAttribute("aria-label", link.dataset.tip.trim());
    }
    hint.textContent = banks ? "click a bank to unfold it, a member to fold it" : "";
    picture.replaceChildren(svg);
    heat.adopt(svg);
    resize();
    if (focused) [...picture.querySelectorAll("[data-unfolds]")].find((g) => g.dataset.unfolds === focused)?.focus();
  }

  async function draw() {
    levels.checked = model.get("levels");
    depth.value = model.get("depth");
    words.textContent = model.get("words");
    error.textContent = model.get("error");
    const source = model.get("dot");
    if (model.get("svg")) {
      show(model.get("svg"));
    } else if (!model.get("error") && source !== drawing) {
      drawing = source;
      try {
        const made = (await library(model)).renderString(source, { format: "svg" });
        if (drawing !== source) return; // there is a newer one
        show(fitFont(made));
        model.send({ do: "drawn", dot: source, svg: text });
      } catch (problem) {
        error.textContent = `The page cannot draw the graph (${problem.message || problem}); below it stands as text.`;
        details.open = true;
      }
    }
  }

  // A click on a line or on what is inside a bank counts for the bank; the innermost one that unfolds is meant. Clusters are
  // not nested in the SVG, so it is found by place.
  function bankAt(x, y) {
    const inside = [...picture.querySelectorAll("[data-unfolds]")].filter((group) => {
      const r = group.getBoundingClientRect();
      return r.left <= x && x <= r.right && r.top <= y && y <= r.bottom;
    });
    return inside[inside.length - 1];
  }
  picture.addEventListener("click", (event) => {
    const bank = bankAt(event.clientX, event.clientY);
    if (bank) model.send({ do: "unfold", key: bank.dataset.unfolds });
  });
  picture.addEventListener("keydown", (event) => {
    const key = event.target.dataset && event.target.dataset.unfolds;
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) {
      const parts = [...picture.querySelectorAll(".rnb-part")];
      const at = parts.indexOf(document.activeElement);
      const next = parts[at < 0 ? (step > 0 ? 0 : parts.length - 1) : at + step];
      if (next) next.focus();
      event.preventDefault();
      event.stopPropagation();
      return;
    }
    if (!key || (event.key !== "Enter" && event.key !== " ")) return;
    event.preventDefault();
    event.stopPropagation();
    model.send({ do: "unfold", key });
  });
  const tell = (target, x, y) => {
    const link = target.closest ? target.closest("a[data-tip]") || target.querySelector("a[data-tip]") : null;
    const part = link && link.closest("g.cluster, g.node, g.edge");
    tip.textContent = link ? [link.dataset.tip.trim(), heat.words(part)].filter(Boolean).join("\n") : "";
    tip.style.left = `${Math.min(x + 14, innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${Math.min(y + 14, innerHeight - tip.offsetHeight - 8)}px`;
  };
  picture.addEventListener("pointermove", (event) => {
    if (event.target.closest("a")) tell(event.target, event.clientX, event.clientY);
    else tip.textContent = "";
  });
  picture.addEventListener("pointerleave", () => { tip.textContent = ""; });
  picture.addEventListener("focusin", (event) => {
    const r = event.target.getBoundingClientRect();
    tell(event.target, r.left, r.bottom - 8);
  });
  picture.addEventListener("focusout", () => { tip.textContent = ""; });

  let asked = false;
  const redraw = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; draw(); });
  };
  const recolor = () => heat.show(model.get("heat"), model.get("following"));
  const room = new ResizeObserver(() => { if (scale <= 0) resize(); });
  room.observe(picture);

  // The kernel watches the run only while somebody can see it here.
  const view = crypto.getRandomValues(new Uint32Array(2)).join("-");
  let visible = false;
  const say = (seen) => model.send({ do: "seen", view, seen });
  const sight = new IntersectionObserver(([entry]) => { visible = entry.isIntersecting; say(visible && !document.hidden); });
  const hiding = () => say(visible && !document.hidden);
  const leaving = () => say(false);
  sight.observe(root);
  document.addEventListener("visibilitychange", hiding);
  addEventListener("pagehide", leaving);

  const drawn = ["dot", "svg", "error", "words", "levels", "depth"].map((name) => `change:${name}`).join(" ");
  const colored = "change:heat change:following";
  model.on(drawn, redraw);
  model.on(colored, recolor);
  recolor();
  draw();
  return () => {
    model.off(drawn, redraw);
    model.off(colored, recolor);
    sight.disconnect();
    document.removeEventListener("visibilitychange", hiding);
    removeEventListener("pagehide", leaving);
    say(false);
    room.disconnect();
    tip.remove();
    showTwin();
  };
}

export default { render };

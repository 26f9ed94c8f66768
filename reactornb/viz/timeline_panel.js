// The page side of TimelinePanel: buttons, pointer, keyboard, and the kernel's answers; the kernel sends what the pixels of a window can show. `Picture` is in timeline_picture.js, `element` and `hideTwin` in page.js.

function save(name, blob) {
  const link = element(document.body, "a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function render({ model, el }) {
  const showTwin = hideTwin(model);
  const me = Math.random().toString(36).slice(2);
  const root = element(el, "section", "rnb-time");
  root.dataset.lmSuppressShortcuts = "true"; // keys pressed here are ours, not the notebook's shortcuts
  const title = element(root, "div", "rnb-time-title");
  const row = element(root, "div", "rnb-controls");
  const room = element(root, "div", "rnb-time-room");
  const canvas = element(room, "canvas");
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "img");
  const legend = element(root, "ul", "rnb-time-legend");
  legend.setAttribute("aria-label", "colors; press one to see it alone");
  const said = element(root, "div", "rnb-time-said");
  said.setAttribute("role", "status");
  const aloud = element(root, "div", "rnb-time-aloud");
  aloud.setAttribute("role", "status");
  const details = element(root, "details");
  element(details, "summary", "", "as text");
  const words = element(details, "pre");
  words.tabIndex = 0;
  const tip = element(document.body, "div", "rnb-time-tip");
  tip.setAttribute("role", "tooltip");

  const [begin, end] = model.get("frame").window;
  const look = { from: begin, to: end, levels: false, only: null };
  const picture = new Picture(canvas, model, look);
  picture.adopt();
  let follows = model.get("state").follows;

  // -- requests to the kernel, one at a time and at most ten a second
  let question = "", count = 0, again = null, timer = 0;
  function ask(more = {}) {
    if (question) { again = again && more.resize ? again : more; return; }
    question = `${me}:${++count}`;
    const mine = question;
    model.send({ do: "look", from: look.from, to: look.to, width: Math.round(picture.room), follow: follows, asked: mine, ...more });
    clearTimeout(timer);
    timer = setTimeout(() => { if (question === mine) answered(); }, 3000); // the kernel is busy with a cell
  }
  function answered() {
    question = "";
    clearTimeout(timer);
    if (again === null) return;
    timer = setTimeout(() => { const more = again; again = null; if (more !== null) ask(more); }, 100);
  }

  // -- looking
  let asked = false;
  function redraw() {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; picture.draw(); });
  }
  function show(from, to, stays = false) {
    const length = Math.max(to - from, SHORTEST);
    look.from = Math.max(from, 0);
    look.to = look.from + length;
    if (!stays) follows = false;
    controls();
    redraw();
    ask();
  }
  function zoom(factor, at = (look.from + look.to) / 2) {
    // While following, zoom around the end; else around the pointer.
    const center = follows ? look.to : at;
    show(center - (center - look.from) * factor, center + (look.to - center) * factor, true);
  }
  function move(share) {
    const by = (look.to - look.from) * share;
    show(look.from + by, look.to + by);
  }
  function all() {
    follows = model.get("state").alive;
    const { end } = model.get("state");
    look.from = 0;
    look.to = Math.max(end, SHORTEST);
    controls();
    redraw();
    ask({ all: true });
  }

  const button = (label, hint, fn) => {
    const made = element(row, "button", "", label);
    made.type = "button";
    made.title = hint;
    made.addEventListener("click", fn);
    return made;
  };
  button("−", "see more (-)", () => zoom(2));
  button("+", "see less, larger (+)", () => zoom(0.5));
  button("all", "everything that is kept (0, or a double click)", all);
  const follow = button("follow", "move with the run", () => {
    follows = !follows;
    controls();
    ask();
  });
  const label = element(row, "label", "", "colors ");
  const colors = element(label, "select");
  colors.setAttribute("aria-label", "colors");
  for (const what of ["reactions", "levels"]) element(colors, "option", "", what).value = what;
  colors.addEventListener("change", () => { look.levels = colors.value === "levels"; look.only = null; list(); redraw(); });
  button("Trace", "save all of it beside the notebook in the Chrome trace format, for ui.perfetto.dev", () => model.send({ do: "trace" }));
  button("SVG", "save what is shown as SVG", () => model.send({ do: "svg" }));
  button("PNG", "save what is shown as PNG", () => png());
  element(row, "span", "rnb-time-hint", "drag to zoom, shift-drag to move, wheel to zoom once clicked");

  function controls() {
    follow.hidden = !model.get("state").alive;
    follow.setAttribute("aria-pressed", String(follows));
  }

  function list() {
    const kinds = model.get("kinds");
    const levels = [...new Set(Object.values(picture.frame.names).map(([, , level]) => level))].sort((a, b) => a - b);
    const rows = look.levels ? levels.map((level) => [level, `level ${level}`, LEVELS[level % LEVELS.length]]) : kinds.map(([name, color, share], i) => [i, `${name} ${(100 * share).toFixed(1)} %`, color]);
    while (legend.childElementCount > rows.length) legend.lastChild.remove();
    while (legend.childElementCount < rows.length) {
      const made = element(element(legend, "li"), "button");
      made.type = "button";
      made.title = "see it alone";
      element(made, "i");
      element(made, "span");
      made.addEventListener("click", () => {
        const key = Number(made.dataset.key);
        look.only = look.only === key ? null : key;
        list();
        redraw();
      });
    }
    rows.forEach(([key, text, color], i) => {
      const made = legend.children[i].firstChild;
      made.dataset.key = key;
      made.firstChild.style.background = color;
      if (made.lastChild.textContent !== text) made.lastChild.textContent = text;
      made.setAttribute("aria-pressed", String(look.only === key));
    });
  }

  function png() {
    const rows = [...legend.querySelectorAll("button")], scale = 2, pad = 10, top = 24;
    const made = document.createElement("canvas");
    const ink = made.getContext("2d");
    ink.font = FONT;
    const places = [];
    let x = 0, y = 0;
    for (const each of rows) {
      const w = ink.measureText(each.textContent).width + 30;
      if (x && x + w > picture.width) { x = 0; y += 18; }
      places.push([x, y]);
      x += w;
    }
    made.width = (picture.width + 2 * pad) * scale;
    made.height = (picture.height + top + y + 24 + 2 * pad) * scale;
    const style = getComputedStyle(document.body);
    const draw = (fn) => { ink.save(); fn(); ink.restore(); };
    const color = getComputedStyle(canvas).color;
    ink.fillStyle = style.getPropertyValue("--jp-layout-color0").trim() || "#fff";
    ink.fillRect(0, 0, made.width, made.height);
    ink.scale(scale, scale);
    ink.translate(pad, pad);
    ink.font = `600 ${FONT}`;
    ink.fillStyle = color;
    ink.fillText(title.textContent, 0, 12);
    const sheet = document.createElement("canvas"); // drawn anew: the one on screen may have half as many pixels
    sheet.width = picture.width * scale;
    sheet.height = picture.height * scale;
    const fine = sheet.getContext("2d");
    fine.scale(scale, scale);
    picture.render(fine);
    ink.drawImage(sheet, 0, top, picture.width, picture.height);
    ink.font = FONT;
    rows.forEach((each, i) => draw(() => {
      ink.translate(places[i][0], top + picture.height + 6 + places[i][1]);
      ink.fillStyle = each.firstChild.style.background;
      ink.fillRect(0, 0, 10, 10);
      ink.fillStyle = color;
      ink.fillText(each.textContent, 15, 9);
    }));
    made.toBlob((blob) => save("timeline.png", blob), "image/png");
  }

  // -- the pointer
  const tell = (found, x, y) => {
    tip.textContent = found ? picture.describe(found) : "";
    tip.style.left = `${Math.min(x + 14, innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${Math.min(y + 16, innerHeight - tip.offsetHeight - 8)}px`;
  };
  let drag = null;
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.offsetX < GUTTER) return;
    drag = { x: event.offsetX, from: look.from, to: look.to, moves: event.shiftKey };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (drag && drag.moves) {
      const by = ((drag.x - event.offsetX) * (drag.to - drag.from)) / picture.room;
      show(drag.from + by, drag.to + by);
      return;
    }
    if (drag) {
      picture.band = [drag.x, event.offsetX];
    } else {
      picture.marked = picture.at(event.offsetX, event.offsetY);
      tell(picture.marked, event.clientX, event.clientY);
    }
    redraw();
  });
  const drop = (event) => {
    const band = picture.band;
    picture.band = null;
    if (drag && !drag.moves && band && Math.abs(band[1] - band[0]) > 4 && event.type === "pointerup") {
      const [a, b] = band.map((x) => picture.ns(Math.min(Math.max(x, GUTTER), GUTTER + picture.room))).sort((p, q) => p - q);
      show(a, b);
    }
    drag = null;
    redraw();
  };
  canvas.addEventListener("pointerup", drop);
  canvas.addEventListener("pointercancel", drop);
  canvas.addEventListener("pointerleave", () => { tip.textContent = ""; picture.marked = null; redraw(); });
  canvas.addEventListener("dblclick", all);
  canvas.addEventListener("wheel", (event) => {
    // The wheel zooms only when the panel has the focus, so that the page can be scrolled past it.
    if (document.activeElement !== canvas && !event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const across = event.shiftKey ? event.deltaY : event.deltaX;
    if (Math.abs(across) > Math.abs(event.deltaY) || event.shiftKey) move(Math.max(-0.5, Math.min(0.5, across / 600)));
    else zoom(Math.exp(Math.max(-1, Math.min(1, event.deltaY / 300))), picture.ns(event.offsetX));
  }, { passive: false });

  // -- the keyboard: keys that walk from span to span say each aloud
  let walked = 0; // the lane
  function walk(lane, index) {
    walked = Math.min(Math.max(lane, 0), picture.lanes.length - 1);
    const found = picture.span(walked, index);
    if (!found) {
      zoom(2);
      aloud.textContent = "no further span in what was shown: zoomed out";
      return;
    }
    const length = look.to - look.from;
    if (found.to < look.from || found.from > look.to) show((found.from + found.to - length) / 2, (found.from + found.to + length) / 2);
    picture.marked = found;
    aloud.textContent = picture.describe(found);
    const box = canvas.getBoundingClientRect();
    tell(found, box.left + Math.min(Math.max(picture.x(found.from), GUTTER), picture.width), box.top + RULER + (walked + 1) * picture.tall);
    redraw();
  }
  const firstShown = (lane) => Math.max(lastUpTo(picture.lanes[lane].begin, look.from - picture.frame.from) + 1, 0);
  const beside = (by) => (picture.marked && picture.marked.index !== undefined ? walk(picture.marked.lane, picture.marked.index + by) : walk(walked, firstShown(walked)));
  const keys = {
    "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2), 0: all, Home: all,
    ArrowLeft: () => move(-0.2), ArrowRight: () => move(0.2),
    ArrowUp: () => { const lane = Math.max(walked - 1, 0); walk(lane, firstShown(lane)); },
    ArrowDown: () => { const lane = Math.min(walked + 1, picture.lanes.length - 1); walk(lane, firstShown(lane)); },
    n: () => beside(1),
    p: () => beside(-1),
    Escape: () => { picture.marked = null; tip.textContent = ""; redraw(); },
  };
  canvas.addEventListener("keydown", (event) => {
    if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    keys[event.key]();
  });
  canvas.addEventListener("blur", () => { tip.textContent = ""; });

  // -- messages from the kernel
  function state() {
    title.textContent = model.get("heading");
    canvas.setAttribute("aria-label", `${model.get("heading")}. Plus and minus zoom, arrows left and right move, 0 shows all, up and down choose a worker, N and P go from span to span.`);
    words.textContent = model.get("words");
    said.textContent = model.get("said");
    if (!model.get("state").alive) follows = false;
    controls();
    list();
  }
  let fresh = false;
  const onFrame = () => {
    const { asked: answer, window: [from, to] } = model.get("frame");
    if (answer === question) answered();
    // Show the window of a followed run, or one that another view of this panel requested, unless this view has a newer request.
    if (!question && again === null && !drag) {
      look.from = from;
      look.to = to;
      follows = model.get("state").follows;
    }
    fresh = true;
  };
  let due = false;
  const onChange = () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      if (fresh) picture.adopt();
      fresh = false;
      state();
      picture.draw();
    });
  };
  const onMessage = (message, buffers) => {
    if (message && message.save) save(message.save, new Blob([buffers[0]], { type: "image/svg+xml" }));
  };
  model.on("change:frame", onFrame);
  model.on("change", onChange);
  model.on("msg:custom", onMessage);
  let width = 0;
  const size = new ResizeObserver(() => {
    if (!picture.width || picture.width === width) return;
    width = picture.width;
    picture.draw();
    ask({ resize: true });
  });
  size.observe(room);
  const theme = new MutationObserver(redraw);
  theme.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-name", "data-jp-theme-light", "class"] });
  state();
  redraw();

  return () => {
    model.off("change:frame", onFrame);
    model.off("change", onChange);
    model.off("msg:custom", onMessage);
    clearTimeout(timer);
    size.disconnect();
    theme.disconnect();
    tip.remove();
    showTwin();
  };
}

export default { render };

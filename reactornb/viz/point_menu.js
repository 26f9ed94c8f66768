// The menu at a point of a kept run's curve: a paused run as it stood there, or a branch that begins there. Used by run_panel.js.

class PointMenu {
  // `send` sends a message to the kernel.
  constructor(root, send) {
    this.send = send;
    this.box = element(root, "div", "rnb-menu");
    this.box.setAttribute("role", "dialog");
    this.box.hidden = true;
    this.title = element(this.box, "div", "rnb-menu-title");
    const row = element(this.box, "div", "rnb-menu-row");
    this.here = this.button(row, "Go here", "a second run, paused as this one stood there, to look at, step and go on; this one stays as it is", "rewind");
    this.branch = this.button(row, "Branch here", "a run of its own that goes on from there, kept beside this one", "branch");
    this.change = element(this.box, "input");
    Object.assign(this.change, { type: "text", placeholder: "branch with path=value", spellcheck: false });
    this.change.title = "a parameter that the branch changes, such as learner.learning_rate=1e-4; may stay empty";
    this.change.setAttribute("aria-label", "a parameter that the branch changes: path=value; may stay empty");
    this.change.addEventListener("keydown", (event) => { if (event.key === "Enter") this.choose("branch"); });
    this.box.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.close(true);
      event.stopPropagation();
    });
    this.outside = (event) => { if (!this.box.hidden && !event.composedPath().includes(this.box)) this.close(); };
    document.addEventListener("pointerdown", this.outside, true);
  }

  button(row, words, title, what) {
    const made = element(row, "button", "", words);
    Object.assign(made, { type: "button", title });
    made.dataset.do = what;
    made.addEventListener("click", () => this.choose(what));
    return made;
  }

  // `point`: { run, metric, x, axis, words }, chosen in a chart's box at left, top (pixels in it).
  open(chart, left, top, point) {
    this.point = point;
    this.chart = chart;
    chart.box.append(this.box);
    setText(this.title, point.words);
    this.box.hidden = false;
    this.box.style.left = `${Math.max(0, Math.min(left, chart.box.clientWidth - this.box.offsetWidth))}px`;
    this.box.style.top = `${top}px`;
    this.here.focus({ preventScroll: true });
  }

  choose(what) {
    const { run, metric, x, axis } = this.point;
    this.send({ do: what, run, metric, x, axis, set: what === "branch" ? this.change.value : "" });
    this.close(true);
  }

  close(back) {
    this.box.hidden = true;
    if (back && this.chart) this.chart.canvas.focus({ preventScroll: true });
  }

  remove() {
    document.removeEventListener("pointerdown", this.outside, true);
  }
}

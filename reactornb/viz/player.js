// Episodes side by side under one bar: play, step, go to any step. Without this each video has the browser's own controls.
//
// A frame is a number: 0 is the picture of the reset, frame n the one after step n. Pictures are a video, shown at (n + ½) / rate, or single stills. While
// it plays, the longest episode's video is the clock, or else the page's own; the others follow it.

function rnbPlayer(box, episodes) {
  if (!box || box.dataset.rnbReady) return () => {};
  box.dataset.rnbReady = "yes";
  const make = (parent, tag, name, words) => {
    const made = document.createElement(tag);
    if (name) made.className = name;
    if (words !== undefined) made.textContent = words;
    parent.append(made);
    return made;
  };
  const number = (x) => (Number.isInteger(x) ? x.toLocaleString("en") : x.toFixed(Math.abs(x) < 10 ? 2 : 1));

  const cells = [...box.querySelectorAll(".rnb-cell")].map((figure, place) => {
    const episode = episodes[place], last = episode.frames - 1;
    const video = figure.querySelector("video"), image = figure.querySelector("img");
    const total = [0];
    for (const reward of episode.rewards) total.push(total[total.length - 1] + reward);
    const over = make(figure.querySelector(".rnb-picture"), "div", "rnb-over");
    let stills = null;
    if (image) {
      const data = JSON.parse(figure.querySelector("script").textContent);
      const made = data.stills.map((still) => {
        const picture = new Image();
        picture.src = `data:image/png;base64,${still}`;
        return picture;
      });
      stills = (frame) => { image.src = made[Math.floor(frame / data.every)].src; };
    } else {
      video.controls = false;
    }
    const picture = video || image;
    if (picture.getAttribute("width") < 200 && picture.getAttribute("height") < 200) picture.classList.add("rnb-small");
    return {
      episode, last, video, total,
      // Go to a frame; a video that plays by itself is left alone where it is near enough.
      show(frame, playing) {
        const at = Math.min(frame, last);
        if (stills) stills(at);
        else {
          const time = (at + 0.5) / episode.rate;
          if (!playing || (frame <= last && Math.abs(video.currentTime - time) > 0.3)) video.currentTime = time;
        }
        this.say(at);
      },
      say(at) {
        const words = [`return ${number(total[at])}`];
        if (at > 0) words.push(`reward ${number(episode.rewards[at - 1])}`);
        words.push(at < last ? `action ${episode.actions[at]}` : "end");
        over.textContent = words.join("  ·  ");
        over.hidden = !spoken;
      },
    };
  });
  const longest = cells.reduce((a, b) => (b.last > a.last ? b : a));
  const last = longest.last, rate = longest.episode.rate;
  let frame = 0, playing = false, speed = 1, before = 0, spoken = true, request = 0;

  const bar = make(box, "div", "rnb-bar");
  const play = make(bar, "button", "rnb-go", "▶");
  play.title = "play or pause (space)";
  const back = make(bar, "button", "", "‹"), forth = make(bar, "button", "", "›");
  const track = make(bar, "div", "rnb-track");
  track.append(curve());
  const seek = make(track, "input", "rnb-seek");
  Object.assign(seek, { type: "range", min: 0, max: last, step: 1, value: 0 });
  const where = make(bar, "output", "rnb-where");
  const pace = make(bar, "select", "rnb-pace");
  for (const times of [0.25, 0.5, 1, 2, 4]) {
    const option = make(pace, "option", "", `${times}×`);
    option.value = times;
    option.selected = times === 1;
  }
  const words = make(bar, "button", "rnb-words", "T");
  for (const [control, label] of [[play, "play"], [back, "a step back"], [forth, "a step on"], [seek, "step"], [pace, "speed"], [words, "show return and action"]]) {
    control.setAttribute("aria-label", label);
    if (control.tagName === "BUTTON") control.type = "button";
  }
  words.setAttribute("aria-pressed", "true");

  // The returns so far, above the bar.
  function curve() {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 1000 100");
    svg.setAttribute("preserveAspectRatio", "none");
    const all = cells.flatMap((cell) => [Math.min(...cell.total), Math.max(...cell.total)]);
    const low = Math.min(0, ...all), high = Math.max(...all), span = high - low || 1;
    for (const cell of cells) {
      const step = Math.max(1, Math.ceil(cell.total.length / 400));
      const points = cell.total.map((value, i) => [i, value]).filter(([i]) => i % step === 0 || i === cell.last);
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      path.setAttribute("d", `M${points.map(([i, value]) => `${((1000 * i) / Math.max(1, last)).toFixed(1)},${(62 - (58 * (value - low)) / span).toFixed(1)}`).join("L")}`);
      svg.append(path);
    }
    return svg;
  }

  const tell = () => {
    seek.value = frame;
    where.textContent = `step ${frame.toLocaleString("en")} / ${last.toLocaleString("en")}`;
    play.textContent = playing ? "❚❚" : "▶";
    play.setAttribute("aria-label", playing ? "pause" : "play");
  };
  const go = (to) => {
    frame = Math.max(0, Math.min(last, to));
    for (const cell of cells) cell.show(frame, false);
    tell();
  };
  const pause = () => {
    playing = false;
    cancelAnimationFrame(request);
    for (const cell of cells) if (cell.video) cell.video.pause();
    go(frame);
  };
  const start = () => {
    if (frame >= last) go(0);
    playing = true;
    before = performance.now();
    for (const cell of cells) {
      if (!cell.video) continue;
      cell.video.playbackRate = speed;
      if (frame < cell.last) cell.video.play().catch(() => {});
    }
    tell();
    request = requestAnimationFrame(tick);
  };
  let ahead = 0; // of the page's clock, in frames
  const tick = (now) => {
    if (!playing || !box.isConnected) return;
    if (longest.video) {
      frame = longest.video.ended ? last : Math.min(last, Math.floor(longest.video.currentTime * rate + 1e-3));
    } else {
      ahead += ((now - before) / 1000) * rate * speed;
      const whole = Math.floor(ahead);
      ahead -= whole;
      frame = Math.min(last, frame + whole);
    }
    before = now;
    for (const cell of cells) {
      if (cell === longest && cell.video) cell.say(frame);
      else if (cell.video && frame >= cell.last) { cell.video.pause(); cell.say(cell.last); }
      else cell.show(frame, true);
    }
    if (frame >= last) return pause();
    tell();
    request = requestAnimationFrame(tick);
  };
  const toggle = () => (playing ? pause() : start());
  const step = (by) => { if (playing) pause(); go(frame + by); };

  play.addEventListener("click", toggle);
  back.addEventListener("click", () => step(-1));
  forth.addEventListener("click", () => step(1));
  seek.addEventListener("input", () => { const to = Number(seek.value); if (playing) pause(); go(to); });
  pace.addEventListener("change", () => {
    speed = Number(pace.value);
    for (const cell of cells) if (cell.video) cell.video.playbackRate = speed;
  });
  words.addEventListener("click", () => {
    spoken = !spoken;
    words.setAttribute("aria-pressed", String(spoken));
    for (const cell of cells) cell.say(Math.min(frame, cell.last));
  });
  for (const picture of box.querySelectorAll(".rnb-picture")) picture.addEventListener("click", toggle);
  // The notebook's shortcuts: not while the player is used.
  box.addEventListener("keydown", (event) => {
    event.stopPropagation();
    if (event.key === " " && event.target.tagName !== "BUTTON" && event.target.tagName !== "SELECT") { event.preventDefault(); toggle(); }
  });
  go(0);
  return () => { playing = false; cancelAnimationFrame(request); };
}

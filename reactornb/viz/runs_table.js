// The table of runs: a click on a column's head sorts by it, a box shows the rows that contain what is typed. Without this it is a plain table.

function rnbRunsTable(box) {
  if (!box) return;
  const table = box.querySelector("table"), body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];

  const valueOf = (row, place) => {
    const text = row.cells[place].dataset.v ?? "";
    const value = Number(text);
    return text === "" ? null : Number.isNaN(value) ? text : value;
  };

  // Numbers before texts, what is not there last, in both directions.
  const compare = (a, b, sign) => {
    if (a === null || b === null) return (a === null) - (b === null);
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return sign * (typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true }));
  };

  heads.forEach((head, place) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const isMetric = head.classList.contains("rnb-metric"), before = head.getAttribute("aria-sort");
      const order = before ? (before === "ascending" ? "descending" : "ascending") : isMetric ? "descending" : "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const rows = [...body.rows].map((row) => [valueOf(row, place), row]);
      rows.sort((a, b) => compare(a[0], b[0], sign));
      body.append(...rows.map((row) => row[1]));
    });
  });

  if (body.rows.length > 5) {
    const find = document.createElement("input");
    find.type = "search";
    find.className = "rnb-find";
    find.placeholder = "find";
    find.setAttribute("aria-label", "show rows that contain");
    find.addEventListener("input", () => {
      const words = find.value.toLowerCase().split(/\s+/);
      for (const row of body.rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
    });
    find.addEventListener("keydown", (event) => event.stopPropagation()); // the notebook's shortcuts
    box.prepend(find);
  }
}

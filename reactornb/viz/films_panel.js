// What a run has filmed: a list to choose from, and the player of the chosen film; a new film is shown as it comes, unless another one was chosen.

function render({ model, el }) {
  const showTwin = hideTwin(model);
  const root = element(el, "div", "rnb-films");
  const head = element(root, "div", "rnb-films-head");
  const title = element(head, "span", "rnb-films-title");
  const choice = element(head, "select", "rnb-films-choice");
  choice.setAttribute("aria-label", "film");
  const none = element(root, "div", "rnb-films-none", "Nothing has been filmed yet.");
  const room = element(root, "div");
  let end = () => {};

  const list = () => {
    title.textContent = model.get("title");
    const names = model.get("names");
    while (choice.options.length > names.length) choice.remove(names.length);
    names.forEach((name, place) => {
      const option = choice.options[place] ?? element(choice, "option");
      option.textContent = name;
      option.value = place;
    });
    choice.value = model.get("chosen");
    choice.hidden = !names.length;
    none.hidden = names.length > 0;
  };
  const show = () => {
    end();
    room.replaceChildren();
    if (!model.get("cells")) return;
    const box = element(room, "div", "rnb-player");
    box.innerHTML = model.get("cells");
    end = rnbPlayer(box, model.get("data"));
  };
  choice.addEventListener("change", () => model.send({ do: "show", film: Number(choice.value) }));
  choice.addEventListener("keydown", (event) => event.stopPropagation()); // the notebook's shortcuts
  model.on("change:names change:chosen change:title", list);
  model.on("change:cells", show);
  list();
  show();
  return () => {
    end();
    model.off("change:names change:chosen change:title", list);
    model.off("change:cells", show);
    showTwin();
  };
}

export default { render };

// What the page sides of all panels use.

function element(parent, tag, name, words) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (words !== undefined) made.textContent = words;
  parent.append(made);
  return made;
}

// Below each widget stands a picture of it, for notebooks that are opened where the widget is not. Here it is: hide the picture.

function hideTwin(model) {
  const twin = `[data-rnb-of="${model.get("twin")}"]`;
  const style = document.createElement("style");
  style.textContent = `${twin}, .jp-OutputArea-child:has(${twin}) { display: none !important; }`;
  document.head.append(style);
  return () => style.remove();
}

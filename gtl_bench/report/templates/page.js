"use strict";

// Tables: a click on a column's name sorts the rows by it, a second one turns the order round.
function value(row, column) {
  const text = row.cells[column].textContent;
  if (column === 0) return text;
  const number = text.replace("−", "-").match(/-?\d+(\.\d+)?(e[-+]?\d+)?/i);
  return number ? Number(number[0]) : null;
}

function sort(table, column, descending) {
  const rows = [...table.tBodies[0].rows].map((row) => [value(row, column), row]);
  rows.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null);
    const order = column === 0 ? a.localeCompare(b) : a - b;
    return descending ? -order : order;
  });
  table.tBodies[0].append(...rows.map(([, row]) => row));
}

for (const table of document.querySelectorAll(".scroll table")) {
  const names = [...table.tHead.rows[0].cells];
  names.forEach((name, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...name.childNodes);
    name.append(button);
    button.addEventListener("click", () => {
      // Numbers begin with the greatest, names with A.
      const before = name.getAttribute("aria-sort") ?? (column === 0 ? "descending" : "ascending");
      names.forEach((other) => other.removeAttribute("aria-sort"));
      name.setAttribute("aria-sort", before === "ascending" ? "descending" : "ascending");
      sort(table, column, before === "ascending");
    });
  });
}

// Figures: what stands at the nearest point of the panel under the pointer.
const plots = JSON.parse(document.getElementById("readouts").textContent);

function element(name, text, ...children) {
  const made = document.createElement(name);
  if (text !== null) made.textContent = text;
  made.append(...children);
  return made;
}

function written(number, unit) {
  return (unit ? number.toFixed(1) : String(number)).replaceAll("-", "−");
}

function rows(panel, index) {
  const found = panel.series.filter((line) => line.mean[index] !== null);
  if (panel.ranked) found.sort((a, b) => b.mean[index] - a.mean[index]);
  return found.map((line) => {
    const swatch = element("i", null);
    swatch.style.background = line.colour ?? "none";
    const low = line.low?.[index] ?? null;
    const band = low === null ? "" : `${written(low, panel.unit)} to ${written(line.high[index], panel.unit)}`;
    const cells = [element("td", null, swatch), element("td", line.label)];
    return element("tr", null, ...cells, element("td", `${written(line.mean[index], panel.unit)}${panel.unit}`), element("td", band));
  });
}

for (const drawing of document.querySelectorAll(".drawing")) {
  const plot = plots[Number(drawing.dataset.plot)];
  const svg = drawing.querySelector("svg");
  const readout = drawing.querySelector(".readout");
  const guide = document.createElementNS("http://www.w3.org/2000/svg", "line");
  guide.setAttribute("stroke", "#000");
  guide.setAttribute("stroke-width", "0.4");
  let at = null;  // the panel and the point in it that are read out

  const hide = () => {
    at = null;
    guide.remove();
    readout.hidden = true;
  };

  const across = (panel, index) => {
    const [left, , right] = panel.box;
    return left + panel.places[index] * (right - left);
  };

  const show = (panel, index) => {
    at = [panel, index];
    const [, top, , bottom] = panel.box;
    const x = across(panel, index);
    for (const [name, number] of Object.entries({ x1: x, x2: x, y1: top, y2: bottom })) guide.setAttribute(name, number);
    svg.append(guide);
    const where = `${plot.x}: ${panel.names?.[index] ?? panel.x[index]}`;
    readout.replaceChildren(
      element("div", panel.title ? `${panel.title}; ${where}` : where),
      element("table", null, ...rows(panel, index)),
    );
    readout.hidden = false;
    // Beside the line, on the side where there is more room.
    const pixels = (x / svg.viewBox.baseVal.width) * drawing.clientWidth;
    const room = drawing.clientWidth - readout.offsetWidth;
    const beside = pixels < drawing.clientWidth / 2 ? pixels + 12 : pixels - 12 - readout.offsetWidth;
    readout.style.left = `${Math.max(0, Math.min(room, beside))}px`;
    readout.style.top = `${Math.max(0, (top / svg.viewBox.baseVal.height) * drawing.clientHeight)}px`;
  };

  const point = (event) => {
    const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const panel = plot.panels.find(({ box: [left, top, right, bottom] }) =>
      left <= place.x && place.x <= right && top <= place.y && place.y <= bottom);
    if (!panel) return hide();
    const distances = panel.places.map((_, index) => Math.abs(across(panel, index) - place.x));
    show(panel, distances.indexOf(Math.min(...distances)));
  };

  drawing.addEventListener("pointermove", point);
  drawing.addEventListener("pointerdown", point);
  drawing.addEventListener("pointerleave", hide);
  drawing.addEventListener("blur", hide);
  drawing.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    if (event.key === "Escape") hide();
    if (!(event.key in steps) || plot.panels.length === 0) return;
    event.preventDefault();
    const within = (number, size) => Math.max(0, Math.min(size - 1, number));
    const [panels, points] = at === null ? [0, 0] : steps[event.key];
    const panel = plot.panels[within((at === null ? 0 : plot.panels.indexOf(at[0])) + panels, plot.panels.length)];
    show(panel, within((at === null ? -1 : at[1]) + points, panel.x.length));
  });
}

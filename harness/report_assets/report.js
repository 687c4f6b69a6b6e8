"use strict";
// Sorts tables, draws charts, compares pictures. A <section> has its data in a JSON script. What a reader has chosen in
// it is in the address.

const darkScheme = matchMedia("(prefers-color-scheme: dark)");
let printing = false;

// === Tables ===

const collator = new Intl.Collator("en", { numeric: true });

function numberIn(text) {
  return Number(text.replace(/[,≤≥+%\s]/g, "").replace("−", "-").replace("∞", "Infinity"));
}

/** Order a table's rows by the column whose heading says so; empty cells come last. */
function sortRows(table) {
  const headings = [...table.tHead.rows[0].cells];
  const column = headings.findIndex((heading) => heading.ariaSort !== "none");
  if (column < 0) return;
  const sign = headings[column].ariaSort === "ascending" ? 1 : -1;
  const numeric = headings[column].classList.contains("number");
  const compare = numeric ? (a, b) => numberIn(a) - numberIn(b) || 0 : collator.compare;
  const rows = [...table.tBodies[0].rows].map((row) => [row.cells[column].textContent.trim(), row]);
  rows.sort(([a], [b]) => (a && b ? sign * compare(a, b) : (a ? 0 : 1) - (b ? 0 : 1)));
  table.tBodies[0].append(...rows.map(([, row]) => row));
}

function makeSortable(table) {
  for (const heading of table.tHead.rows[0].cells) {
    heading.querySelector("button").addEventListener("click", () => {
      const next = heading.ariaSort === "ascending" ? "descending" : "ascending";
      for (const other of table.tHead.rows[0].cells) other.ariaSort = "none";
      heading.ariaSort = next;
      sortRows(table);
    });
  }
}

/** The table of all rows: only those of one codec are in the page at a time, since there may be thousands. */
function showRows(figure, rows) {
  const codec = figure.querySelector(".codec");
  const picture = figure.querySelector(".picture");
  const table = figure.querySelector("table");
  const numeric = [...table.tHead.rows[0].cells].map((heading) => heading.classList.contains("number"));
  function fill() {
    const found = rows.filter((row) => (!codec.value || row[0] === codec.value)
      && row[2].toLowerCase().includes(picture.value.toLowerCase()));
    table.tBodies[0].replaceChildren(...found.map((row) => {
      const line = document.createElement("tr");
      row.forEach((text, i) => {
        const cell = line.insertCell();
        cell.textContent = text;
        if (numeric[i]) cell.className = "number";
      });
      return line;
    }));
    table.classList.toggle("one-codec", codec.value !== "");
    sortRows(table);
    figure.querySelector(".count").textContent = `${found.length} of ${rows.length} rows`;
  }
  codec.addEventListener("change", fill);
  picture.addEventListener("input", fill);
  fill();
}

// === Charts ===

const PALETTES = {
  light: {
    text: "#1a1d21", grid: "#e1e4e9", ground: "#ffffff",
    published: ["#5b6470", "#c47f00", "#3f7f93", "#a8577e", "#6d8f2d", "#7a6bb8", "#a06a4a", "#2f8f78"],
    measured: ["#0a58b0", "#c2410c", "#15803d", "#8527d8", "#b4141b", "#0b7285", "#8a6100", "#b5176b"],
  },
  dark: {
    text: "#e7eaee", grid: "#2d343d", ground: "#14171b",
    published: ["#a9b2be", "#e0a83a", "#7fbdd0", "#d792b5", "#a9c76c", "#afa3e6", "#cf9f83", "#6cc9b2"],
    measured: ["#6cb0ff", "#ff9d66", "#5fd38a", "#c99bff", "#ff8a8a", "#5fd0e0", "#e5c04f", "#ff92c8"],
  },
};
const MARKS = ["●", "■", "◆", "▲", "✖", "✚", "★", "⬟"];
const SYMBOLS = ["circle", "square", "diamond", "triangle-up", "x", "cross", "star", "pentagon"];
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"];
const DASH_ARRAYS = ["", "7 4", "2 3", "7 3 2 3", "11 4", "11 3 2 3"];
const charts = [];

function palette() {
  return PALETTES[darkScheme.matches && !printing ? "dark" : "light"];
}

/** Plotly reads some HTML in names. */
function plain(text) {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

// Of published curves: name → number, by which a curve looks the same in all charts.
const publishedNumbers = new Map();

/** Curves get colours and dashes: those that are shown at first the first ones. Published ones are drawn first, so
 * that they lie behind. */
function styled(curves) {
  const published = curves.filter((curve) => curve.source);
  const measured = curves.filter((curve) => !curve.source);
  [...published].sort((a, b) => b.shown - a.shown).forEach((curve) => {
    if (!publishedNumbers.has(curve.name)) publishedNumbers.set(curve.name, publishedNumbers.size);
    const i = publishedNumbers.get(curve.name);
    Object.assign(curve, { color: i % 8, dash: (i >> 3) % DASHES.length });
  });
  measured.forEach((curve, i) => {
    Object.assign(curve, { color: i % 8, dash: (i >> 3) % DASHES.length, symbol: (i + (i >> 3)) % SYMBOLS.length });
  });
  return [...published, ...measured];
}

function colorOf(curve) {
  return (curve.source ? palette().published : palette().measured)[curve.color];
}

function trace(curve, quality) {
  return {
    x: curve.x, y: curve.y, name: plain(curve.name), showlegend: false,
    mode: curve.source ? "lines" : "lines+markers", visible: curve.box.checked,
    line: { color: colorOf(curve), width: curve.source ? 1.6 : 2.8, dash: DASHES[curve.dash] },
    marker: { symbol: SYMBOLS[curve.symbol ?? 0], size: 9 },
    hovertemplate: `<b>${plain(curve.name)}</b>${curve.source ? ` (${plain(curve.source)})` : ""}<br>`
      + `%{x:.4f} bpp<br>${plain(quality)}: %{y:.3f}<extra></extra>`,
  };
}

function layout(chart) {
  const { text, grid, ground } = palette();
  const axis = { gridcolor: grid, zerolinecolor: grid, linecolor: text, ticks: "outside", tickcolor: grid, automargin: true };
  const narrow = chart.div.clientWidth < 560;
  return {
    paper_bgcolor: ground, plot_bgcolor: ground, font: { color: text, family: "system-ui, sans-serif", size: 13 },
    margin: { l: 10, r: 10, t: 36, b: 10 }, hovermode: "closest",
    // On a touch screen a finger on the chart scrolls the page; the buttons zoom.
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    xaxis: { ...axis, title: { text: "bits per pixel" }, rangemode: "tozero", range: chart.range.x, nticks: narrow ? 5 : 10 },
    yaxis: { ...axis, title: { text: plain(chart.quality) }, range: chart.range.y },
    modebar: { color: text, activecolor: text, bgcolor: "rgba(0,0,0,0)" },
    ...(printing ? { width: 660 } : { autosize: true }),
  };
}

/** The part of the plane where something was measured: published curves may reach far beyond. */
function rangeOf(curves) {
  const measured = curves.filter((curve) => !curve.source && curve.x.length);
  if (!measured.length) return {};
  const right = 1.15 * Math.max(...measured.flatMap((curve) => curve.x));
  const inside = curves.filter((curve) => curve.shown).flatMap((curve) => curve.y.filter((_, i) => curve.x[i] <= right));
  const [low, high] = [Math.min(...inside), Math.max(...inside)];
  const margin = 0.05 * (high - low) || 1;
  return { x: [0, right], y: [low - margin, high + margin] };
}

/** A piece of the curve for the legend. */
function sample(curve) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const add = (name, attributes) => {
    const node = svg.appendChild(document.createElementNS(svg.namespaceURI, name));
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    return node;
  };
  for (const [key, value] of Object.entries({ width: 30, height: 14, "aria-hidden": "true" })) svg.setAttribute(key, value);
  const width = curve.source ? 2 : 3;
  add("line", { x1: 0, x2: 30, y1: 7, y2: 7, stroke: "currentColor", "stroke-width": width, "stroke-dasharray": DASH_ARRAYS[curve.dash] });
  if (!curve.source) {
    add("text", { x: 15, y: 12, "text-anchor": "middle", "font-size": 14, fill: "currentColor" }).textContent = MARKS[curve.symbol];
  }
  svg.style.color = colorOf(curve);
  curve.sample = svg;
  return svg;
}

/** Check boxes that show and hide curves, a group for ours and one for each source. */
function legend(chart) {
  const sources = [...new Set(chart.curves.map((curve) => curve.source))].sort();
  for (const source of sources) {
    const group = document.createElement("fieldset");
    const name = document.createElement("legend");
    name.textContent = source ? `Published: ${source}` : "Measured here";
    group.append(name);
    const boxes = [];
    chart.curves.forEach((curve, i) => {
      if (curve.source !== source) return;
      const label = document.createElement("label");
      const box = Object.assign(document.createElement("input"),
        { type: "checkbox", name: chart.name, value: curve.name, defaultChecked: curve.shown });
      box.addEventListener("change", () => Plotly.restyle(chart.div, { visible: box.checked }, [i]));
      curve.box = box;
      boxes.push([box, i]);
      label.append(box, sample(curve), curve.name);
      group.append(label);
    });
    if (boxes.length > 1) {
      const all = Object.assign(document.createElement("button"), { type: "button", textContent: "all or none" });
      all.addEventListener("click", () => {
        const checked = !boxes.every(([box]) => box.checked);
        for (const [box] of boxes) box.checked = checked;
        Plotly.restyle(chart.div, { visible: checked }, boxes.map(([, i]) => i));
        keepChoice(group);
      });
      group.append(all);
    }
    chart.legend.append(group);
  }
}

/** A chart with its legend, not drawn yet; `name`: of its check boxes. */
function makeChart(name, div, legendBox, { quality, curves }) {
  const chart = { name, div, legend: legendBox, quality, curves: styled(curves) };
  chart.range = rangeOf(chart.curves);
  charts.push(chart);
  legend(chart);
  return chart;
}

function drawChart(chart) {
  Plotly.newPlot(chart.div, chart.curves.map((curve) => trace(curve, chart.quality)), layout(chart), {
    responsive: true, displaylogo: false, displayModeBar: true, showTips: false,
    showSendToCloud: false, plotlyServerURL: "", // plotly would offer to upload the chart
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "pan2d", "zoom2d"],
  });
}

/** Draw all charts again in the colours that hold now. */
function recolor() {
  for (const chart of charts) {
    Plotly.react(chart.div, chart.curves.map((curve) => trace(curve, chart.quality)), layout(chart));
    for (const curve of chart.curves) curve.sample.style.color = colorOf(curve);
  }
}

darkScheme.addEventListener("change", recolor);
addEventListener("beforeprint", () => { printing = true; recolor(); });
addEventListener("afterprint", () => { printing = false; recolor(); });

// === Pictures ===

/** A picture of the page, decoded; nothing keeps it but the caller. */
async function readPicture(id) {
  const image = new Image();
  image.src = `data:${document.getElementById(id).textContent}`;
  await image.decode();
  return image;
}

function paint(canvas, image) {
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  canvas.getContext("2d", { willReadFrequently: true }).drawImage(image, 0, 0);
}

/** How the second of two versions differs from the first, in words; nothing where one is no file. */
function differenceOf([left, right]) {
  if (!left.bpp || !right.bpp || left.name === right.name) return [];
  const signed = (value, digits) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(digits)}`;
  const quality = left.psnr && right.psnr ? `, ${signed(right.psnr - left.psnr, 2)} dB PSNR` : "";
  return [`Right against left: ${signed(100 * (right.bpp / left.bpp - 1), 1)} % bits${quality}`];
}

/** Move with the pointer while it is down, be it a mouse, a pen or a finger. */
function onDrag(element, accepts, move) {
  element.addEventListener("pointerdown", (event) => {
    if (event.button || !accepts(event)) return;
    element.setPointerCapture(event.pointerId);
    element.addEventListener("pointermove", move);
    const end = () => element.removeEventListener("pointermove", move);
    element.addEventListener("lostpointercapture", end, { once: true });
    move(event);
    event.preventDefault();
  });
}

function comparePictures(figure, versions) {
  const find = (name) => figure.querySelector(`.${name}`);
  const [stage, scroller, layers, divider] = ["stage", "scroller", "layers", "divider"].map(find);
  const [left, right, difference] = ["left", "right", "difference"].map((name) => figure.querySelector(`canvas.${name}`));
  const tags = ["left", "right"].map((name) => figure.querySelector(`.tag.${name}`));
  const range = figure.querySelector("input[type=range]");
  let wanted = 0;

  /** Move the other side to the file of its codec whose rate is nearest to the one that was chosen. */
  function follow(chosen, other) {
    if (!find("nearest")?.checked) return;
    const here = versions.filter((version) => version.picture === find("picture").value);
    const [anchor, moved] = [chosen, other].map((side) => here.find((version) => version.name === find(side).value));
    // The original has no rate; two files of one codec stay as they are.
    if (!anchor.bpp || !moved.bpp || moved.curve === anchor.curve) return;
    const distance = (version) => Math.abs(Math.log(version.bpp / anchor.bpp));
    const candidates = here.filter((version) => version.curve === moved.curve);
    find(other).value = candidates.reduce((a, b) => (distance(b) < distance(a) ? b : a)).name;
  }

  async function load() {
    const picture = find("picture").value;
    const shown = ["before", "after"].map((side) => versions.find(
      (each) => each.picture === picture && each.name === find(side).value));
    const ticket = ++wanted;
    const images = await Promise.all(shown.map((version) => readPicture(version.image)));
    if (ticket !== wanted) return; // another was chosen meanwhile
    [left, right].forEach((canvas, i) => paint(canvas, images[i]));
    tags.forEach((tag, i) => { tag.textContent = shown[i].tag || shown[i].name; });
    const lines = shown.map((version) => [version.name, version.numbers].filter(Boolean).join(": "));
    find("numbers").replaceChildren(...[...lines, ...differenceOf(shown)].map((line) => {
      const row = document.createElement("span");
      row.textContent = line;
      return row;
    }));
    layers.ariaLabel = `${picture}. Left, ${lines[0]}. Right, ${lines[1]}`;
    figure.dataset.loaded = [picture, ...shown.map((version) => version.name)].join(" ");
    place();
    subtract();
  }

  /** |left − right|, amplified. */
  function subtract() {
    if (!find("view")) return;
    const on = find("view").value === "difference";
    stage.classList.toggle("subtracted", on);
    find("factor").disabled = !on;
    range.disabled = on;
    if (!on || !left.width) return;
    const { width, height } = left;
    const [before, after] = [left, right].map((canvas) => canvas.getContext("2d").getImageData(0, 0, width, height));
    const factor = Number(find("factor").value);
    for (let i = 0; i < before.data.length; i++) {
      before.data[i] = i % 4 === 3 ? 255 : factor * Math.abs(before.data[i] - after.data[i]);
    }
    Object.assign(difference, { width, height });
    difference.getContext("2d").putImageData(before, 0, 0);
  }

  /** Size the picture for the zoom; what was in the middle stays there. */
  function place() {
    if (!left.width) return;
    const { width, height } = left;
    const zoom = Number(find("zoom").value);
    const scale = zoom || Math.min(1, (figure.clientWidth - 2) / width, (0.85 * innerHeight) / height);
    const middle = [
      (scroller.scrollLeft + scroller.clientWidth / 2) / (layers.clientWidth || 1),
      (scroller.scrollTop + scroller.clientHeight / 2) / (layers.clientHeight || 1),
    ];
    layers.style.width = `${Math.floor(width * scale)}px`;
    layers.style.height = `${Math.floor(height * scale)}px`;
    layers.classList.toggle("fitted", !zoom);
    layers.classList.toggle("magnified", zoom > 1);
    scroller.scrollLeft = middle[0] * layers.clientWidth - scroller.clientWidth / 2;
    scroller.scrollTop = middle[1] * layers.clientHeight - scroller.clientHeight / 2;
    split();
  }

  /** The line stands still on the screen while the picture moves under it. */
  function split() {
    const x = (range.value / 100) * scroller.clientWidth;
    divider.style.left = `${x}px`;
    left.style.clipPath = `inset(0 ${layers.clientWidth - scroller.scrollLeft - x}px 0 0)`;
    range.ariaValueText = `${Math.round(range.value)} % of the left picture`;
  }

  function moveLine(event) {
    range.value = (100 * (event.clientX - stage.getBoundingClientRect().left)) / scroller.clientWidth;
    split();
  }

  for (const [name, chosen, other] of [
    ["picture", "after", "before"], ["nearest", "after", "before"], ["before", "before", "after"], ["after", "after", "before"],
  ]) {
    find(name)?.addEventListener("change", () => {
      follow(chosen, other);
      load();
    });
  }
  for (const name of ["view", "factor"]) find(name)?.addEventListener("change", subtract);
  find("zoom").addEventListener("change", place);
  range.addEventListener("input", split);
  scroller.addEventListener("scroll", split);
  new ResizeObserver(place).observe(figure);
  onDrag(divider, () => true, moveLine);
  const fitted = () => layers.classList.contains("fitted");
  onDrag(layers, (event) => fitted() || event.pointerType === "mouse", (event) => {
    if (fitted()) moveLine(event);
    else scroller.scrollBy(-event.movementX, -event.movementY);
  });
  load();
}

// === The choice in the address: #SECTION?NAME=VALUE&… of each control that is not as it was at first ===

const isBox = (control) => control.type === "checkbox";
const placeOf = (section) => section.id || section.getAttribute("aria-labelledby");

/** The index of a list's option that is chosen at first. */
const firstOption = (list) => Math.max(0, [...list.options].findIndex((option) => option.defaultSelected));

function isChanged(control) {
  if (isBox(control)) return control.checked !== control.defaultChecked;
  if (control.options) return control.selectedIndex !== firstOption(control);
  return control.value !== control.defaultValue;
}

/** Write what is chosen in the section around `node` into the address. */
function keepChoice(node) {
  const section = node.closest("section");
  const changed = [...section.querySelectorAll("[name]")].filter(isChanged);
  const query = new URLSearchParams(changed.map((control) => [control.name, control.value]));
  history.replaceState(null, "", `#${placeOf(section)}${changed.length ? `?${query}` : ""}`);
}

/** Choose in a section what the address says; a check box in it is one that was changed. */
function restoreChoice(section, query) {
  for (const [name, value] of new URLSearchParams(query)) {
    for (const control of section.querySelectorAll(`[name="${CSS.escape(name)}"]`)) {
      if (!isBox(control)) control.value = value;
      else if (control.value === value) control.checked = !control.defaultChecked;
      if (control.selectedIndex < 0) control.selectedIndex = firstOption(control); // an option of another page
    }
  }
}

/** The section of the address, and the choice in it. */
function readAddress() {
  const [place, query] = location.hash.slice(1).split("?");
  return [document.getElementById(place)?.closest("section"), query];
}

// === Navigation ===

/** Mark the paper that is on the screen in the list of papers. */
function followSections() {
  const nav = document.querySelector("nav.papers");
  if (!nav) return;
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const link = nav.querySelector(`a[href="#${target.id}"]`);
      link.ariaCurrent = isIntersecting ? "true" : null;
      if (isIntersecting) nav.scrollLeft = link.offsetLeft - nav.clientWidth / 3;
    }
  }, { rootMargin: "-25% 0px -74% 0px" });
  for (const link of nav.querySelectorAll("a")) observer.observe(document.getElementById(link.hash.slice(1)));
}

// === The page ===

for (const table of document.querySelectorAll("table")) makeSortable(table);
const [place, query] = readAddress();
for (const script of document.querySelectorAll("script.data")) {
  const section = script.parentElement;
  const data = JSON.parse(script.textContent);
  const [divs, legends] = [".chart", ".legend"].map((name) => section.querySelectorAll(name));
  const made = (data.charts ?? []).map((chart, i) => makeChart(`curves${i + 1}`, divs[i], legends[i], chart));
  if (section === place && query) restoreChoice(section, query);
  made.forEach(drawChart);
  const viewer = section.querySelector(".viewer");
  if (viewer) comparePictures(viewer, data.versions);
  const rows = section.querySelector(".rows");
  if (rows) showRows(rows, data.rows);
  for (const type of ["change", "input"]) {
    section.addEventListener(type, (event) => event.target.closest("section") === section && event.target.name && keepChoice(section));
  }
}
if (place && query) {
  const changed = [...place.querySelectorAll("[name]")].find(isChanged);
  (changed?.closest("figure") ?? place).scrollIntoView();
}
// Another choice in the address, by hand or from the history.
addEventListener("hashchange", () => { if (readAddress()[1]) location.reload(); });
followSections();
document.documentElement.dataset.ready = "true";

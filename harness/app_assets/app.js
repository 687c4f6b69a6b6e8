"use strict";
const $ = (selector, root = document) => root.querySelector(selector);
const number = (value, digits) => value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });

function add(parent, tag, text, attributes = {}) {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent.append(element);
  return element;
}

/** One of the two pages: a form with a file, a status, a result. */
class Panel {
  constructor(id, maxBytes) {
    this.root = document.getElementById(id);
    this.form = $("form", this.root);
    this.status = $(".status", this.root);
    this.result = $(".result", this.root);
    this.maxBytes = maxBytes;
    this.id = id;
    const drop = $(".drop", this.root);
    const input = $("input[type=file]", drop);
    input.addEventListener("change", () => input.files[0] && this.take(input.files[0]));
    for (const type of ["dragover", "dragleave", "drop"])
      drop.addEventListener(type, (event) => {
        event.preventDefault();
        drop.classList.toggle("over", type === "dragover");
        if (type === "drop" && event.dataTransfer.files[0]) this.take(event.dataTransfer.files[0]);
      });
    this.form.addEventListener("submit", (event) => { event.preventDefault(); this.run(); });
  }

  take(file) {
    const large = file.size > this.maxBytes;
    this.file = large ? undefined : file;
    $(".drop span", this.root).textContent = file.name;
    $(".go", this.root).disabled = large;
    this.say(large ? `${file.name} is larger than ${this.maxBytes / 2 ** 20} MiB, which this page takes.` : "", large);
  }

  say(text, error = false) {
    this.status.textContent = text;
    this.status.classList.toggle("error", error);
  }

  async run() {
    const query = new URLSearchParams({ name: this.file.name });
    for (const [key, value] of new FormData(this.form))
      if (typeof value === "string" && value && !$(`[name=${key}]`, this.form).closest("[hidden]") && key !== "by") query.set(key, value);
    const button = $(".go", this.root);
    button.disabled = true;
    this.result.hidden = true;
    const started = Date.now();
    const clock = setInterval(() => this.say(`Working: ${Math.round((Date.now() - started) / 1000)} s. The first run of a model takes longer.`), 1000);
    this.say("Working …");
    try {
      const answer = await fetch(`/${this.id}?${query}`, { method: "POST", headers: { "X-Codec-Zoo": "1" }, body: this.file });
      const values = await answer.json();
      if (answer.ok) {
        this.say(values.notes.map((note) => `Note: ${note}`).join("\n"));
        this.show(values);
        this.result.hidden = false;
      } else this.say(values.error[0].toUpperCase() + values.error.slice(1), true);
    } catch {
      this.say("The program does not answer: start `codec-zoo app` again.", true);
    } finally {
      clearInterval(clock);
      button.disabled = false;
    }
  }

  offer(values) {
    const link = $(".download", this.root);
    link.href = values.files[values.file];
    link.download = values.file;
    link.textContent = `Download ${values.file}`;
  }
}

class Compress extends Panel {
  constructor(known) {
    super("compress", known.max_bytes);
    const { model, by, quality } = this.form.elements;
    for (const one of known.models) add(model, "option", `${one.name} (${one.paper})`, { value: one.name });
    const change = () => {
      const { qualities } = known.models[model.selectedIndex];
      by.options[1].disabled = !qualities.length;
      if (!qualities.length) by.selectedIndex = 0;
      quality.replaceChildren();
      for (const one of qualities) add(quality, "option", one);
      quality.selectedIndex = qualities.length >> 1;
      $(".by-bpp", this.form).hidden = by.value === "quality";
      $(".by-quality", this.form).hidden = by.value !== "quality";
      this.form.elements.target_bpp.disabled = by.value === "quality";
    };
    model.addEventListener("change", change);
    by.addEventListener("change", change);
    change();
    for (const name of known.examples) {
      const button = add($(".examples"), "button", "", { type: "button", "aria-pressed": "false", "aria-label": `Example ${name}` });
      add(button, "img", "", { src: `/examples/${name}`, alt: "" });
      button.addEventListener("click", async () => {
        const data = await (await fetch(`/examples/${name}`)).blob();
        this.take(new File([data], name));
        button.setAttribute("aria-pressed", "true");
      });
    }
    this.pair = $(".pair");
    this.pair.addEventListener("change", () => this.compare());
    $(".actual").addEventListener("change", (event) => $(".scroller").classList.toggle("actual", event.target.checked));
    const slider = $(".stage input");
    slider.addEventListener("input", () => $(".stage").style.setProperty("--at", `${slider.value}%`));
  }

  take(file) {
    for (const button of document.querySelectorAll(".examples button")) button.setAttribute("aria-pressed", "false");
    super.take(file);
  }

  show(values) {
    this.values = values;
    const body = $("tbody", this.root);
    body.replaceChildren();
    for (const row of values.rows) {
      const line = add(body, "tr", "");
      const cells = [row.codec, number(row.bytes, 0), number(row.bpp, 4), row.psnr === null ? "lossless" : number(row.psnr, 2),
        row.ms_ssim === null ? "–" : number(row.ms_ssim, 4), number(row.encode_s, 2), number(row.decode_s, 2)];
      for (const cell of cells) add(line, "td", cell);
    }
    this.offer(values);
    this.compare();
  }

  compare() {
    const words = { "original.png": () => "original" };
    for (const row of this.values.rows) words[row.image] = () => `${row.image === "ours.png" ? "ours" : row.codec} ${number(row.bytes, 0)} bytes`;
    this.pair.value.split(" ").forEach((name, index) => {
      const image = $(index ? ".after" : ".before");
      image.src = this.values.files[name];
      image.alt = $(index ? ".right" : ".left").textContent = words[name]();
    });
  }
}

class Decompress extends Panel {
  constructor(known) { super("decompress", known.max_bytes); }

  take(file) {
    const { layers } = this.form.elements;
    layers.replaceChildren();
    add(layers, "option", "all", { value: "" });
    super.take(file);
    if (this.file) this.run();
  }

  show(values) {
    const list = $("dl", this.root);
    list.replaceChildren();
    const lines = [["Model", values.preset], ["Weights", values.weights], ["Picture", `${values.width}×${values.height}, ${values.color}`],
      ["File", `${number(values.bytes, 0)} bytes, ${number(values.bpp, 4)} bits a pixel`]];
    values.layers.forEach((layer, index) => lines.push([`Layer ${index + 1}`, `${layer.kind}, ${number(layer.bytes, 0)} bytes`]));
    lines.push(["Decoded", `${values.decoded} of ${values.layers.length} layers`]);
    for (const [term, text] of lines) { add(list, "dt", term); add(list, "dd", text); }
    const { layers } = this.form.elements;
    if (layers.options.length === 1)
      for (let count = 1; count < values.layers.length; count++) add(layers, "option", count, { value: count });
    this.offer(values);
    $(".decoded", this.root).src = values.files[values.file];
  }
}

async function main() {
  const known = await (await fetch("/models")).json();
  new Compress(known);
  new Decompress(known);
  const tabs = [...document.querySelectorAll("[role=tab]")];
  const choose = (chosen) => {
    for (const tab of tabs) {
      tab.setAttribute("aria-selected", tab === chosen);
      tab.tabIndex = tab === chosen ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = tab !== chosen;
    }
  };
  tabs.forEach((tab, index) => {
    tab.addEventListener("click", () => choose(tab));
    tab.addEventListener("keydown", (event) => {
      if (!event.key.startsWith("Arrow")) return;
      const other = tabs[(index + 1) % tabs.length];
      choose(other);
      other.focus();
    });
  });
  document.body.dataset.ready = "";
}
main();

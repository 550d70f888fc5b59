
/* What a reader moves: controls, and below them what follows from their settings, computed anew at each change. A lesson
   adds to PLAYED, in its own file, what `compute`s its results from the values of the page and the settings, and what
   `show`s them as {words, parts}. Numbers stand in data-value and data-values in full precision. */

const PLAYED = {};

const meanOf = values => values.reduce((sum, value) => sum + value, 0) / values.length;

/* The mean, and the biased variance: divided by the number of the values. */
function moments(values) {
  const mean = meanOf(values);
  return {mean, variance: meanOf(values.map(value => (value - mean) ** 2))};
}

/* Shares of values in bins, each with its lower edge; the first and the last hold what lies beyond. */
function sharesOf(values, edges) {
  const counts = Array(edges.length - 1).fill(0);
  for (const value of values) {
    let bin = 0;
    while (bin < counts.length - 1 && value >= edges[bin + 1]) bin++;
    counts[bin]++;
  }
  return counts.map(count => count / values.length);
}

/* Four digits of a number; a setting is written as short as it is. */
const isSmallOrLarge = number => number !== 0 && (Math.abs(number) < 1e-3 || Math.abs(number) >= 1e5);
const digits = number => !Number.isFinite(number) ? "none" : number === 0 ? "0" : isSmallOrLarge(number) ? number.toExponential(2) : number.toPrecision(4);
const setting = number => isSmallOrLarge(number) ? number.toExponential() : String(number);
const decimals = number => (Math.abs(number) < 5e-4 ? 0 : number).toFixed(3);
const percent = share => `${(100 * share).toFixed(1)} %`;

function drawn(name, attributes, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function cell(key, number, write = digits) {
  return key === null ? made("td", {class: "number"})
    : made("td", {class: "number", "data-number": key, "data-value": number}, write(number));
}

function tableOf(heads, rows) {
  const head = made("tr", {}, made("td", {}), ...heads.map(name => made("th", {scope: "col", class: "number"}, name)));
  const body = rows.map(([name, ...cells]) => made("tr", {}, made("th", {scope: "row"}, name), ...cells));
  return made("table", {}, made("thead", {}, head), made("tbody", {}, ...body));
}

/* A picture: 100 wide and 100 high, however large it is shown; what it says stands beside it as text. */
function picture(label, ...shapes) {
  return drawn("svg", {viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img", "aria-label": label}, ...shapes);
}

function bars(label, key, shares, top, kind) {
  const width = 100 / shares.length;
  const bar = (share, bin) => drawn("rect",
    {x: bin * width, width, y: 100 - 100 * share / top, height: 100 * share / top, class: kind(bin)});
  const svg = picture(label, ...shares.map(bar));
  svg.dataset.numbers = key;
  svg.dataset.values = JSON.stringify(shares);
  return svg;
}

/* A picture with its name, and the ends of its axes. */
function framed(name, svg, [low, middle, high], [least, most]) {
  const ends = (kind, ...words) => made("div", {class: kind}, ...words.map(word => made("span", {}, word)));
  return made("figure", {}, made("figcaption", {}, name),
    made("div", {class: "frame"}, ends("up", most, least), svg, ends("along", low, middle, high)));
}

class Play {
  constructor(section) {
    const {kind, controls, values} = JSON.parse(section.dataset.play);
    Object.assign(this, {values, played: PLAYED[kind], settings: {}});
    this.inputs = controls.map(control => this.control(control, section));
    this.words = made("output", {class: "words", "aria-live": "polite"});
    this.board = made("div", {class: "board"});
    const reset = made("button", {type: "button", class: "reset"}, "Reset");
    reset.addEventListener("click", () => {
      for (const input of this.inputs) input.reset();
      this.update();
    });
    const all = made("div", {class: "controls"}, ...this.inputs.map(({box}) => box), reset);
    section.append(all, this.words, this.board);
    section.previousElementSibling.classList.add("still");
    section.hidden = false;
    this.update();
  }

  /* A slider for numbers, a list for names; `set` takes a place among the values. */
  control({name, label, values, start}) {
    const names = typeof start === "string", id = `play-${name}`, now = made("output", {for: id, "aria-live": "off"});
    const attributes = {id, name, ...(names ? {} : {type: "range", min: 0, max: values.length - 1, step: 1})};
    const input = made(names ? "select" : "input", attributes);
    if (names) input.append(...values.map((value, at) => made("option", {value: at}, value)));
    const set = at => {
      this.settings[name] = values[at];
      input.dataset.value = values[at];
      if (names) return;
      now.textContent = setting(values[at]);
      input.setAttribute("aria-valuetext", now.textContent);
    };
    const reset = () => { input.value = values.indexOf(start); set(input.value); };
    input.addEventListener("input", () => { set(input.value); this.update(); });
    reset();
    return {reset, box: made("div", {}, made("label", {for: id}, label), ...(names ? [] : [now]), input)};
  }

  update() {
    const {words, parts} = this.played.show(this.played.compute(this.values, this.settings), this.settings, this.values);
    this.words.textContent = words;
    this.board.replaceChildren(...parts);
  }
}

document.addEventListener("DOMContentLoaded", () =>
  document.querySelectorAll("section.play").forEach(section => new Play(section)));

/* What a page does beyond being read: tables sort by a click, figures say their values and zoom. It reaches for nothing
   outside the page, and what it writes is text, never markup. Without it, the page is whole. */
"use strict";

const SVG = "http://www.w3.org/2000/svg";

function made(name, attributes, ...children) {
  const node = name === "g" || name === "path" || name === "circle" || name === "rect" || name === "text" || name === "clipPath"
    ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

/* Tables: numbers before words, what is missing last in both directions, equal rows in the order of the page. */

function order(row, column) {
  const cell = row.cells[column];
  if (cell === undefined || "missing" in cell.dataset) return [2, 0, ""];
  return "value" in cell.dataset ? [0, Number(cell.dataset.value), ""] : [1, 0, cell.textContent];
}

function compare([kind, number, words], [otherKind, otherNumber, otherWords], down) {
  if (kind === 2 || otherKind === 2) return kind - otherKind;
  const difference = kind - otherKind || (number > otherNumber) - (number < otherNumber)
    || words.localeCompare(otherWords, "en", {numeric: true});
  return down ? -difference : difference;
}

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  const rows = [...body.rows];
  heads.forEach((head, column) => {
    const button = made("button", {type: "button"}, ...head.childNodes);
    button.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      const down = before === null ? "descending" in head.dataset : before === "ascending";
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const keyed = rows.map(row => [order(row, column), row]);
      keyed.sort(([one], [other]) => compare(one, other, down));
      body.append(...keyed.map(([, row]) => row));
    });
    head.append(button);
  });
}

/* Figures: an axis is a place in the drawing, its limits, and whether it is even in the logarithm. */

const LEAST_DRAG = 6, STEP = 1.5, MOST_ZOOM = 1e6;

class Axis {
  constructor({name, limits, log, fixed, percent}, start, length) {
    Object.assign(this, {name, log, fixed, percent, start, length});
    this.home = limits.map(value => this.even(value));
    this.reset();
  }
  even(value) { return this.log ? Math.log10(value) : value; }
  reset() { [this.low, this.high] = this.home; }
  get moved() { return this.low !== this.home[0] || this.high !== this.home[1]; }
  at(value) { return this.start + (this.even(value) - this.low) / (this.high - this.low) * this.length; }
  under(place) { return this.low + (place - this.start) / this.length * (this.high - this.low); }
  show(low, high) {
    const whole = this.home[1] - this.home[0];
    if (this.fixed || (high - low) / whole < 1 / MOST_ZOOM) return;
    if ((high - low) / whole >= 1) return this.reset();
    const shift = whole > 0 ? Math.max(this.home[0] - low, 0) + Math.min(this.home[1] - high, 0)
      : Math.min(this.home[0] - low, 0) + Math.max(this.home[1] - high, 0);
    [this.low, this.high] = [low + shift, high + shift];
  }
  zoom(place, factor) {
    const middle = this.under(place);
    this.show(middle + (this.low - middle) / factor, middle + (this.high - middle) / factor);
  }
  /* The factor and the shift by which what was drawn at home lies where it belongs now. */
  get placed() {
    const factor = (this.home[1] - this.home[0]) / (this.high - this.low);
    return [factor, this.start * (1 - factor) + (this.home[0] - this.low) / (this.high - this.low) * this.length];
  }
  ticks() {
    const [low, high] = [Math.min(this.low, this.high), Math.max(this.low, this.high)];
    const rough = (high - low) / 5, size = 10 ** Math.floor(Math.log10(rough));
    const step = size * ([1, 2, 5].find(times => times * size >= rough) || 10);
    if (this.log && step >= 1) {
      const values = [];
      for (let power = Math.ceil(low); power <= high; power += Math.ceil(step)) values.push(10 ** power);
      return values;
    }
    const values = [];
    for (let number = Math.ceil(low / step); number * step <= high; number++)
      values.push(this.log ? 10 ** (number * step) : number * step);
    return values;
  }
  text(value, digits = 6) {
    return `${Number((this.percent ? 100 * value : value).toPrecision(digits))}`;
  }
}

class Frame {
  constructor(group, {box: [left, top, width, height], x, y, series}, key) {
    Object.assign(this, {left, top, width, height});
    this.series = series.map(own => own.rows ? this.cells(own) : own);
    this.x = new Axis(x, left, width);
    this.y = new Axis(y, top + height, -height);
    this.points = this.series.flatMap((own, number) => own.at.map((_, index) => ({number, index})));
    this.own = {x: [...group.querySelectorAll("g[class^=xtick_]")], y: [...group.querySelectorAll("g[class^=ytick_]")]};
    this.ticks = made("g", {class: "ticks"});
    this.contents = made("g", {class: "contents"});
    const clip = made("clipPath", {id: `${key}.clip`}, made("rect", {x: left, y: top, width, height}));
    const drawn = [...group.children].filter(child => child.matches("[clip-path]") || child.querySelector("[clip-path]"));
    const place = made("g", {"clip-path": `url(#${key}.clip)`}, this.contents);
    if (drawn.length) drawn[0].before(place);
    for (const child of drawn) {
      for (const clipped of [child, ...child.querySelectorAll("[clip-path]")]) clipped.removeAttribute("clip-path");
      this.contents.append(child);
    }
    this.markers = [...this.contents.querySelectorAll("use")].filter(use => !use.closest("g[class*=PolyCollection],"
      + "g[class*=LineCollection]"));  // bands and bars are as large as what they stand for
    const label = group.querySelector("g[class^=xtick_] text, g[class^=ytick_] text");
    if (label) this.ticks.style.fontSize = getComputedStyle(label).fontSize;
    group.append(clip, this.ticks);
  }
  /* The cells of a heat map as points in their middles, but for those without a value. */
  cells({columns, rows, texts, ...own}) {
    const at = [], heads = [], said = [];
    texts.forEach((text, number) => {
      if (!text) return;
      const column = number % columns.length, row = (number - column) / columns.length;
      at.push([this.left + (column + 0.5) / columns.length * this.width, this.top + (row + 0.5) / rows.length * this.height]);
      heads.push(`${rows[row]}, ${columns[column]}`);
      said.push(text);
    });
    return {...own, at, x: [], heads, texts: said};
  }
  holds(x, y) {
    return x >= this.left && x <= this.left + this.width && y >= this.top && y <= this.top + this.height;
  }
  at({number, index}) {
    const [kx, tx] = this.x.placed, [ky, ty] = this.y.placed, [x, y] = this.series[number].at[index];
    return [kx * x + tx, ky * y + ty];
  }
  nearest(x, y) {
    let best = null, least = Infinity;
    for (const point of this.points) {
      const [px, py] = this.at(point), distance = Math.hypot(px - x, py - y);
      if (distance < least && this.holds(px, py)) [best, least] = [point, distance];
    }
    return best;
  }
  line({name, y, texts}, index) {
    return [name, texts ? texts[index] : this.y.text(y[index])].filter(Boolean).join(": ");
  }
  /* The point's own line first, then those of the other series at the same place. */
  lines({number, index}) {
    const own = this.series[number], rest = own.alone ? [] : this.series.flatMap((other, at) => {
      const there = at === number || other.alone ? -1 : other.x.indexOf(own.x[index]);
      return there < 0 ? [] : [[at, this.line(other, there)]];
    });
    return [[number, this.line(own, index)], ...rest];
  }
  head({number, index}) {
    const {heads, x} = this.series[number];
    return heads ? heads[index] : `${this.x.name} ${this.x.text(x[index])}`.trim();
  }
  draw() {
    const [kx, tx] = this.x.placed, [ky, ty] = this.y.placed, moved = this.x.moved || this.y.moved;
    this.contents.setAttribute("transform", `matrix(${kx} 0 0 ${ky} ${tx} ${ty})`);
    for (const marker of this.markers) {
      const [x, y] = [marker.getAttribute("x") || 0, marker.getAttribute("y") || 0];
      marker.setAttribute("transform", `translate(${x} ${y}) scale(${1 / kx} ${1 / ky}) translate(${-x} ${-y})`);
    }
    for (const axis of ["x", "y"])
      for (const tick of this.own[axis]) tick.style.display = moved && !this[axis].fixed ? "none" : "";
    this.ticks.replaceChildren(...(moved ? this.drawnTicks() : []));
  }
  drawnTicks() {
    const bottom = this.top + this.height, of = axis => axis.fixed ? [] : axis.ticks();
    return [
      ...of(this.x).flatMap(value => {
        const at = this.x.at(value);
        return [made("path", {d: `M${at} ${bottom}v3.5`}),
          made("text", {x: at, y: bottom + 12, "text-anchor": "middle"}, this.x.text(value))];
      }),
      ...of(this.y).flatMap(value => {
        const at = this.y.at(value);
        return [made("path", {d: `M${this.left} ${at}h-3.5`}),
          made("text", {x: this.left - 6, y: at + 3, "text-anchor": "end"}, this.y.text(value))];
      }),
    ];
  }
}

class Plot {
  constructor(svg, number) {
    const {title, frames} = JSON.parse(svg.dataset.plot);
    const groups = [...svg.querySelectorAll("g[class^=axes_]")];
    this.svg = svg;
    this.frames = frames.map((frame, at) => new Frame(groups[frame.axes], frame, `plot${number}.${at}`));
    this.current = null;
    this.tip = made("output", {class: "tip", hidden: ""});
    this.mark = made("circle", {class: "mark", r: 4.5, display: "none"});
    this.area = made("rect", {class: "area", display: "none"});
    svg.append(this.area, this.mark);
    this.box = made("div", {class: "plot", tabindex: 0, role: "application",
      "aria-label": `${title}. Arrow keys read values; plus, minus and 0 zoom.`});
    svg.querySelector("desc").id = `plot${number}.about`;
    this.box.setAttribute("aria-describedby", `plot${number}.about`);
    svg.replaceWith(this.box);
    const button = (name, label, act) => {
      const node = made("button", {type: "button", "aria-label": label, title: label}, name);
      node.addEventListener("click", act);
      return node;
    };
    this.bar = made("div", {class: "zoom"}, button("+", "Zoom in", () => this.zoom(STEP)),
      button("\u2212", "Zoom out", () => this.zoom(1 / STEP)), button("Reset", "Reset the zoom", () => this.reset()));
    this.bar.hidden = this.frames.every(({x, y}) => x.fixed && y.fixed);
    this.box.append(svg, this.tip, this.bar);
    this.listen();
  }

  listen() {
    const {svg, box} = this;
    let from = null;
    svg.addEventListener("pointermove", event => {
      const [x, y] = this.place(event);
      if (from && Math.hypot(x - from.x, y - from.y) > LEAST_DRAG) this.select(from, x, y);
      else this.point(x, y);
    });
    svg.addEventListener("pointerdown", event => {
      const [x, y] = this.place(event), frame = this.frames.find(own => own.holds(x, y));
      if (event.button !== 0) return;
      box.focus({preventScroll: true});
      this.point(x, y);
      if (frame) {
        event.preventDefault();
        from = {x, y, frame};
        svg.setPointerCapture(event.pointerId);
      }
    });
    svg.addEventListener("pointerup", event => {
      if (from && this.area.getAttribute("display") !== "none") this.into(from, ...this.place(event));
      this.area.setAttribute("display", "none");
      from = null;
    });
    svg.addEventListener("pointercancel", () => { this.area.setAttribute("display", "none"); from = null; });
    svg.addEventListener("pointerleave", () => { if (!from) this.leave(); });
    svg.addEventListener("dblclick", () => this.reset());
    svg.addEventListener("wheel", event => {
      if (!event.ctrlKey && document.activeElement !== box) return;  // the page scrolls
      event.preventDefault();
      this.zoom(event.deltaY < 0 ? STEP : 1 / STEP, ...this.place(event));
    }, {passive: false});
    box.addEventListener("keydown", event => { if (event.target === box && this.key(event)) event.preventDefault(); });
    box.addEventListener("blur", () => this.leave());
  }

  place(event) {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(this.svg.getScreenCTM().inverse());
    return [at.x, at.y];
  }

  point(x, y) {
    const frame = this.frames.find(own => own.holds(x, y));
    const point = frame && frame.nearest(x, y);
    if (point) this.say(frame, point); else this.leave();
  }

  leave() {
    this.current = null;
    this.tip.hidden = true;
    this.mark.setAttribute("display", "none");
  }

  say(frame, point) {
    this.current = {frame, point};
    const [x, y] = frame.at(point), lines = frame.lines(point), head = frame.head(point);
    this.mark.setAttribute("cx", x);
    this.mark.setAttribute("cy", y);
    this.mark.setAttribute("display", frame.holds(x, y) ? "" : "none");
    const line = ([number, words]) => {
      const swatch = made("span", {class: "swatch", "aria-hidden": "true"});
      swatch.style.background = frame.series[number].color;
      return made("span", {}, swatch, words);
    };
    this.tip.replaceChildren(...(head ? [made("b", {}, head)] : []), ...lines.map(line));
    this.tip.hidden = false;
    const scale = this.svg.getBoundingClientRect().width / this.svg.viewBox.baseVal.width;
    const room = this.box.clientWidth - this.tip.offsetWidth, beside = x * scale + 12;
    const left = beside > room ? x * scale - 12 - this.tip.offsetWidth : beside;
    this.tip.style.left = `${Math.max(Math.min(left, room), 0)}px`;
    this.tip.style.top = `${Math.max(y * scale - this.tip.offsetHeight - 8, 0)}px`;
  }

  select({x: startX, y: startY, frame}, x, y) {
    this.leave();
    const within = (value, low, size) => Math.min(Math.max(value, low), low + size);
    let [left, right] = [startX, within(x, frame.left, frame.width)].sort((one, other) => one - other);
    let [top, bottom] = [startY, within(y, frame.top, frame.height)].sort((one, other) => one - other);
    if (frame.x.fixed || right - left < LEAST_DRAG) [left, right] = [frame.left, frame.left + frame.width];
    if (frame.y.fixed || bottom - top < LEAST_DRAG) [top, bottom] = [frame.top, frame.top + frame.height];
    const place = {x: left, y: top, width: right - left, height: bottom - top};
    for (const [key, value] of Object.entries(place)) this.area.setAttribute(key, value);
    this.area.setAttribute("display", "");
    return {left, right, top, bottom};
  }

  into(from, x, y) {
    const {left, right, top, bottom} = this.select(from, x, y), {frame} = from;
    const [low, high] = [frame.x.under(left), frame.x.under(right)];
    const [floor, ceiling] = [frame.y.under(bottom), frame.y.under(top)];
    frame.x.show(low, high);
    frame.y.show(floor, ceiling);
    this.drawn();
  }

  zoom(factor, x, y) {
    for (const frame of this.frames) {
      if (x !== undefined && !frame.holds(x, y)) continue;
      frame.x.zoom(x ?? frame.left + frame.width / 2, factor);
      frame.y.zoom(y ?? frame.top + frame.height / 2, factor);
    }
    this.drawn();
  }

  reset() {
    for (const frame of this.frames) { frame.x.reset(); frame.y.reset(); }
    this.drawn();
  }

  drawn() {
    for (const frame of this.frames) frame.draw();
    this.bar.classList.toggle("moved", this.frames.some(frame => frame.x.moved || frame.y.moved));
    if (this.current) this.say(this.current.frame, this.current.point);
  }

  key({key}) {
    if (key === "+" || key === "=") this.zoom(STEP);
    else if (key === "-") this.zoom(1 / STEP);
    else if (key === "0") this.reset();
    else if (key === "Escape") this.leave();
    else if (["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"].includes(key)) this.step(key);
    else return false;
    return true;
  }

  step(key) {
    const all = this.frames.flatMap(frame => frame.series.map((series, number) => ({frame, series, number})))
      .filter(({series}) => series.at.length);
    if (!all.length) return;
    const {frame, point} = this.current ?? {frame: all[0].frame, point: {number: all[0].number, index: -1}};
    const here = all.findIndex(own => own.frame === frame && own.number === point.number);
    const last = frame.series[point.number].at.length - 1;
    const index = {ArrowLeft: point.index - 1, ArrowRight: point.index + 1, Home: 0, End: last}[key];
    if (index !== undefined) return this.say(frame, {number: point.number, index: Math.min(Math.max(index, 0), last)});
    const next = all[(here + (key === "ArrowDown" ? 1 : all.length - 1)) % all.length];
    const same = next.series.x.indexOf(frame.series[point.number].x[point.index]);
    this.say(next.frame, {number: next.number, index: Math.max(same, 0)});
  }
}

document.querySelectorAll("table.sortable").forEach(sortable);
document.querySelectorAll("svg[data-plot]").forEach((svg, number) => new Plot(svg, number));
window.addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(own => { own.open = true; }));

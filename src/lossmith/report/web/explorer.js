// The page of the explorer: `root` is its element, `data` the losses that Python gave it.
const { Refusal, refuse } = LOSSES, { text, NAMED, BY_NUMBERS } = DOCUMENTS;
const LARGEST_FILE = 2 ** 24, LONGEST_LINK = 20000, MARK = "#explore=", CHANGED = "changed from ", SLOW = 20, PAUSE = 150;
const OUTPUTS = Array.from({ length: 250 }, (_, k) => 0.002 + (0.996 * k) / 249);
const frame = root.querySelector(".explorer"), find = (id) => root.querySelector(`#explorer-${id}`);
const named = new Map(data.named.map((entry) => [entry.name, entry]));

function make(name, attributes = {}, ...children) {
  const isDrawn = ["svg", "path", "line", "rect", "circle", "text", "g", "title"].includes(name);
  const one = isDrawn ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) one.setAttribute(key, value);
  one.append(...children);
  return one;
}

// --- The state: what is chosen, from which all else follows. ---

let state, opened = null, message = "";
const start = () => {
  const first = data.given.length ? ofGiven(0) : ofName("cross-entropy");
  return { ...first, classes: data.classes, smoothing: 0, against: "cross-entropy", at: 0.5 };
};
const defaults = (entry) => (Object.hasOwn(NAMED, entry.name) ? entry.parameters.map((one) => one.default) : []);
const ofName = (name) => ({ source: "named", name, numbers: defaults(named.get(name)), document: null });
function ofGiven(index) {
  const { name, document } = data.given[index];
  const source = document ? "document" : "sampled";
  return { source, name, numbers: [], document: document ? DOCUMENTS.checked(document) : null, index };
}

// The loss of a state before it is smoothed; null where Python computed its curves.
function bare({ source, name, numbers, document, classes }) {
  if (source === "sampled") return null;
  if (source === "document") return document;
  if (source !== "named") return { ...BY_NUMBERS[source].build(numbers, classes), name };
  const entry = named.get(name);
  if (!Object.hasOwn(NAMED, name) || !entry.parameters.length) return DOCUMENTS.checked(entry.document);
  numbers.forEach((value, k) => {
    const { least, most, open } = NAMED[name][0][k];
    if (value < least || value > most || (open === "low" && value === least) || (open === "high" && value === most)) {
      const low = `${open === "low" ? "above" : "from"} ${text(least)}`, high = `${open === "high" ? "below" : ""} ${text(most)}`;
      refuse(`${name} takes ${entry.parameters[k].symbol} ${low} to ${high.trim()}, not ${text(value)}`);
    }
  });
  return { ...NAMED[name][1](numbers, classes), name: [name, ...numbers.map((one) => text(one))].join(" ") };
}

function lossOf(given) {
  const loss = bare(given);
  if (loss === null) return null;
  if (loss.classes !== null && loss.classes !== given.classes) {
    refuse(`${loss.name} is made for ${loss.classes} classes; set the number of classes to that`);
  }
  return given.smoothing > 0 && loss.kind === "power" ? DOCUMENTS.smoothed(loss, given.smoothing, given.classes) : loss;
}

// --- Curves over the target output h_T = 1 − ε. ---

function curveOf(loss, classes) {
  const it = LOSSES.model(loss), steps = OUTPUTS.map((h) => LOSSES.steps(it, 1 - h, classes));
  const start = LOSSES.value(it, 1 - 1 / classes, classes), pull = steps.map((step) => step[1]);
  const curve = {
    loss, it, classes, output: OUTPUTS, pull,
    exact: OUTPUTS.map((h) => LOSSES.attraction(it, 1 - h, classes)),
    published: it.sums ? OUTPUTS.map((h) => LOSSES.attraction(it, 1 - h, classes, "published")) : null,
    rule: pull.map((one, k) => one / (OUTPUTS[k] * (1 - OUTPUTS[k]))),
    value: OUTPUTS.map((h) => LOSSES.value(it, 1 - h, classes) - start),
    margin: LOSSES.margin(it, classes),
    growth: LOSSES.biasGrowth(it, classes),
  };
  if (![curve.margin, ...curve.exact, ...curve.rule, ...curve.value].every((one) => Math.abs(one) < 1e100)) {
    refuse("the curves of this loss are too large to be drawn; take smaller numbers");
  }
  return curve;
}

// What Python computed of a loss that this page cannot.
function sampled(index) {
  const { samples, document, ...rest } = data.given[index];
  return { ...samples, ...rest, it: null, loss: null, growth: NaN };
}

function curveOfState(given) {
  if (given.source !== "sampled") return curveOf(lossOf(given), given.classes);
  if (given.classes !== data.given[given.index].samples.classes) {
    refuse(`the curves of ${given.name} were computed for ${data.given[given.index].samples.classes} classes`);
  }
  return sampled(given.index);
}

function other() {
  const [kind, key] = split(state.against);
  const chosen = kind === "given" ? ofGiven(Number(key)) : ofName(key);
  try {
    return curveOfState({ ...chosen, classes: state.classes, smoothing: 0 });
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return null;
  }
}
const split = (key) => (key.startsWith("given:") ? ["given", key.slice(6)] : ["named", key]);

// --- Charts. ---

const CHARTS = [
  { key: "exact", title: "Attraction", note: "change of the output in a step; above 0 it pulls" },
  { key: "value", title: "Loss", note: "as it acts: less its value where all outputs are equal" },
  { key: "gradient", title: "Gradient", note: "∂L/∂(label's logit); below 0 it pulls the label up" },
  { key: "rule", title: "Learning rule", note: "γ: the slope ∂φ/∂h at the label minus the slope at another class" },
];
const LEFT = 56, RIGHT = 10, TOP = 10, BOTTOM = 38, narrow = matchMedia("(max-width: 800px)");
const seriesOf = (curve, key) => (key === "gradient" ? curve.pull.map((one) => -one) : curve[key]);

// Limits that show every curve whole but for poles: what is many times beyond the middle of its own curve.
function limits(curves) {
  let low = 0, high = 0;
  for (const curve of curves) {
    const sorted = [...curve].sort((a, b) => a - b), at = (share) => sorted[Math.round(share * (sorted.length - 1))];
    const room = 1.2 * (at(0.92) - at(0.08));
    low = Math.min(low, Math.max(sorted[0], at(0.08) - room));
    high = Math.max(high, Math.min(sorted[sorted.length - 1], at(0.92) + room));
  }
  const room = 0.06 * (high - low) || 1;
  return [low - room, high + room];
}

function ticks(low, high) {
  const raw = (high - low) / 4, size = 10 ** Math.floor(Math.log10(raw));
  const step = size * [1, 2, 5, 10].find((one) => one * size >= raw * 0.999), found = [];
  for (let k = Math.ceil(low / step); k * step <= high; k++) found.push(k * step);
  return found;
}

for (const chart of CHARTS) {
  const id = `explorer-chart-${chart.key}`;
  chart.svg = make("svg", { role: "img", "aria-labelledby": id });
  const caption = make("figcaption", { id }, chart.title, make("small", {}, chart.note));
  chart.figure = make("figure", {}, caption, chart.svg);
  chart.svg.addEventListener("pointermove", (event) => {
    const box = chart.svg.getBoundingClientRect();
    const share = (event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT);
    if (share >= 0 && share <= 1) set({ at: Math.round(Math.min(Math.max(share, 0.01), 0.99) * 100) / 100 });
  });
}

find("charts").append(...CHARTS.map((chart) => chart.figure));

function draw(chart, curve, beside, found) {
  const width = Math.max(chart.svg.parentNode.clientWidth, 200), height = narrow.matches ? 180 : 230, lines = [];
  if (beside) lines.push(["other", seriesOf(beside, chart.key)]);
  if (chart.key === "exact" && curve.published) lines.push(["published", curve.published]);
  lines.push(["", seriesOf(curve, chart.key)]);
  const [low, high] = limits(lines.map((line) => line[1]));
  const x = (h) => LEFT + h * (width - LEFT - RIGHT), y = (v) => TOP + ((high - v) / (high - low)) * (height - TOP - BOTTOM);
  const parts = [], bottom = height - BOTTOM;
  for (const zone of found.filter((one) => one.sign < 0)) {
    const from = x(1 - zone.high), wide = x(1 - zone.low) - from;
    parts.push(make("rect", { class: "pushes", x: from, y: TOP, width: wide, height: bottom - TOP }));
  }
  for (const tick of ticks(low, high)) {
    const near = Math.abs(tick) < 1e-12 * (high - low);
    parts.push(make("line", { class: near ? "zero" : "grid", x1: LEFT, x2: width - RIGHT, y1: y(tick), y2: y(tick) }));
    parts.push(make("text", { x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, text(near ? 0 : tick, 3)));
  }
  for (const tick of [0, 0.25, 0.5, 0.75, 1]) {
    const anchor = tick === 0 ? "start" : tick === 1 ? "end" : "middle";
    parts.push(make("text", { x: x(tick), y: bottom + 16, "text-anchor": anchor }, text(tick)));
  }
  parts.push(make("text", { x: x(0.5), y: height - 6, "text-anchor": "middle" }, "output of the label, h_T"));
  const inside = (v) => Math.min(Math.max(y(v), TOP - 2), bottom + 2).toFixed(1);
  for (const [kind, values] of lines) {
    const path = values.map((v, k) => `${k ? "L" : "M"}${x(curve.output[k]).toFixed(1)} ${inside(v)}`).join("");
    parts.push(make("path", { class: `line ${kind}`, d: path }));
  }
  const at = x(state.at), value = lines[lines.length - 1][1][nearest(state.at)];
  parts.push(make("line", { class: "probe", x1: at, x2: at, y1: TOP, y2: bottom }));
  parts.push(make("circle", { class: "dot", cx: at, cy: inside(value), r: 4 }));
  chart.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  chart.svg.replaceChildren(...parts);
}

const nearest = (h) => Math.round(((h - 0.002) / 0.996) * 249);

// --- Numbers: a label, a slider, and a field for any number. ---

function number(holder, key, label, meaning, limits, changed) {
  const id = `explorer-${key}`;
  const field = make("input", { type: "number", id, step: limits.whole ? 1 : "any", inputmode: "decimal" });
  const slider = make("input", { type: "range", "aria-label": `${label}, slider`, id: `${id}-slider` });
  const small = meaning ? [" ", make("small", {}, meaning)] : [];
  holder.append(make("div", { class: "explorer-number" }, make("label", { for: id }, label, ...small), slider, field));
  let { from, to } = limits;
  const show = (value, isTyped) => {
    if (value < from) from = limits.whole ? value : value * (value < 0 ? 1.5 : 0.5);
    if (value > to) to = limits.whole ? value : value * (value > 0 ? 1.5 : 0.5);
    Object.assign(slider, { min: from, max: to, step: limits.whole ? 1 : (to - from) / 400, value });
    slider.setAttribute("aria-valuetext", text(value));
    if (!isTyped) field.value = String(limits.whole ? value : Number(value.toPrecision(6)));
  };
  slider.addEventListener("input", () => {
    const value = limits.whole ? Number(slider.value) : Number(Number(slider.value).toPrecision(4));
    field.setAttribute("aria-invalid", "false");
    show(value, false);
    changed(value);
  });
  field.addEventListener("input", () => {
    const value = field.valueAsNumber;
    const fits = Number.isFinite(value) && Math.abs(value) <= 1e30 && (!limits.whole || Number.isInteger(value));
    field.setAttribute("aria-invalid", String(!fits));
    if (!fits) return tell(`${label} takes a ${limits.whole ? "whole number" : "number up to 10³⁰"}`);
    typed = field;
    show(value, true);
    return changed(value);
  });
  return { show, field, slider };
}

const classesField = number(find("task"), "classes", "Classes, n", "how many there are to choose from", { from: 2, to: 100, whole: true }, (classes) =>
  set({ classes }));
const smoothingField = number(find("task"), "smoothing", "Label smoothing, α", "share of each label spread over all classes", { from: 0, to: 0.9 }, (smoothing) =>
  set({ smoothing }));
const atField = number(find("at"), "at-value", "Read the curves at the label's output, h_T", "what the network gives the label", { from: 0.01, to: 0.99 }, (at) =>
  set({ at }));
// The fields of the numbers of the loss, and the field that is being typed in, which nothing else may overwrite.
let fields = [], shape = "", typed = null;

// What else becomes of a state whose number is moved: one of a family is no longer the loss that it began as.
function moved() {
  if (!(state.source in BY_NUMBERS)) return {};
  return { own: true, name: state.name.startsWith(CHANGED) ? state.name : CHANGED + state.name };
}

function showNumbers() {
  const own = state.source === "named" ? defaults(named.get(state.name)) : [];
  if (isOpen()) return showInner(DOCUMENTS.numbersOf(bare(state)));
  const wanted = `${state.source} ${state.source === "named" ? state.name : ""}`;
  if (wanted !== shape) {
    shape = wanted;
    find("numbers").replaceChildren();
    const described = state.source in BY_NUMBERS ? BY_NUMBERS[state.source] : null;
    const count = described ? described.symbols.length : own.length;
    fields = Array.from({ length: count }, (_, k) => {
      const label = described ? described.symbols[k] : named.get(state.name).parameters[k].symbol;
      const range = described ? described.range(state.classes) : 0;
      const limits = described ? { from: -range, to: range } : NAMED[state.name][0][k];
      return number(find("numbers"), `number-${k}`, label, described?.meanings[k] ?? "", { ...limits }, (value) =>
        set({ numbers: state.numbers.map((one, i) => (i === k ? value : one)), ...moved() }));
    });
  }
  return fields.forEach((field, k) => field.show(state.numbers[k], typed === field.field));
}

// Whether a loss has no parameters, so that the numbers that stand in it are what sliders move.
const isOpen = () => state.source === "document" || (state.source === "named" && !named.get(state.name).parameters.length);

function showInner(inner) {
  const wanted = JSON.stringify([state.base ?? chosenOf(state), inner.map((one) => one.label)]);
  if (wanted !== shape) {
    shape = wanted;
    find("numbers").replaceChildren();
    fields = inner.map(({ label, meaning, range }, k) =>
      number(find("numbers"), `number-${k}`, label, meaning, { from: -range, to: range }, (value) => {
        const loss = bare(state), name = loss.name.startsWith(CHANGED) ? loss.name : DOCUMENTS.plain(CHANGED + loss.name);
        const document = { ...DOCUMENTS.numbersOf(loss)[k].change(value), name };
        set({ source: "document", name, numbers: [], document, index: undefined, base: state.base ?? chosenOf(state), own: true });
      }));
  }
  inner.forEach(({ value }, k) => fields[k].show(value, typed === fields[k].field));
}

// --- The page from the state. ---

let pending = 0, later = 0, reading = 0, cost = 0, shown = null;

function set(change) {
  state = { ...state, ...change };
  message = "";
  request();
}

function tell(sentence) {
  message = sentence;
  find("message").textContent = sentence;
}

// Whether something is still to come: a frame, the zones, or a file that is being read.
function showBusy() {
  frame.setAttribute("aria-busy", String(Boolean(pending || later || reading)));
}

function request() {
  if (!pending) pending = requestAnimationFrame(render);
  showBusy();
}

function render() {
  pending = 0;
  showNumbers();
  for (const [field, value] of [[classesField, state.classes], [smoothingField, state.smoothing], [atField, state.at]]) {
    field.show(value, typed === field.field);
  }
  typed = null;
  try {
    if (!(Number.isInteger(state.classes) && state.classes >= 2 && state.classes <= LOSSES.MOST_CLASSES)) {
      refuse(`the number of classes is a whole number from 2 to 10⁹, not ${text(state.classes)}`);
    }
    if (!(state.smoothing >= 0 && state.smoothing < 1)) refuse("label smoothing takes α from 0 to below 1");
    if (!(state.at > 0 && state.at < 1)) refuse("an output lies between 0 and 1");
    const key = JSON.stringify([state.source, state.name, state.numbers, state.index, state.classes, state.smoothing, state.against]);
    if (key !== shown?.key || state.document !== shown.document) {
      const curve = curveOfState(state);
      shown = { key, document: state.document, curve, beside: other(), zones: shown?.zones ?? { exact: [] } };
      clearTimeout(later);
      later = 0;
      if (curve.zones) setZones(curve.zones);
      else if (cost < SLOW) findZones();
      else later = setTimeout(findZones, PAUSE);
      showChoice();
      showCurve();
    }
    for (const chart of CHARTS) draw(chart, shown.curve, shown.beside, shown.zones.exact);
    showValues();
    tell(message);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    tell(error.message);
  }
  showBusy();
}

function findZones() {
  later = 0;
  showBusy();
  const { it, classes } = shown.curve, begun = performance.now(), forms = it.sums ? ["exact", "published"] : ["exact"];
  const found = Object.fromEntries(forms.map((form) => [form, LOSSES.zones(it, classes, form)]));
  cost = performance.now() - begun;
  setZones(found);
  showCurve();
  for (const chart of CHARTS) draw(chart, shown.curve, shown.beside, found.exact);
}

function setZones(found) {
  shown.zones = found;
}

function showChoice() {
  const loss = state.source === "sampled" ? null : bare(state), isPower = loss?.kind === "power";
  const entry = state.source === "named" ? named.get(state.name) : null;
  find("formula").textContent = loss ? DOCUMENTS.formula(loss) : data.given[state.index].formula;
  const remark = {
    named: entry && `${entry.formula} (${entry.source.replace(/^equations? .*/, "$& of the paper by Gonzalez & Miikkulainen")})`,
    document: "",
    sampled: "Python computed these curves, since this page cannot compute a loss of that kind.",
    lambda: "Eight numbers of a polynomial of third order: φ = λ2 u + λ3 u² + λ4 u³ + λ5 u v + λ6 u² v + λ7 u v² with u = h − λ1, v = y − λ0.",
    acting: "All of a third-order loss that reaches a gradient: γ = ch h + chh h² + chy h y + t y, where γ = ∂φ/∂h is the pull on an output.",
    residual: "What is added to cross-entropy, so that all at 0 are cross-entropy itself: γ = y/h + (x0/n)/h + (n/2)(x1 h + x2 h² + x3 h y + x4 y), where γ = ∂φ/∂h is the pull on an output.",
  };
  const isBare = !fields.length && state.source !== "sampled";
  const bareHint = "No single number of it can be moved: to change it, choose one of the other three above.";
  find("hint").textContent = [remark[state.source], isBare ? bareHint : ""].filter(Boolean).join(" ");
  find("begins").textContent = state.source in BY_NUMBERS ? (state.begins ?? "") : "";
  smoothingField.field.disabled = smoothingField.slider.disabled = !isPower;
  for (const radio of root.querySelectorAll("[name=explorer-source]")) {
    radio.checked = radio.value === (state.source in BY_NUMBERS ? state.source : "own");
  }
  showOwn();
  find("against").value = state.against;
}

// The entry of the menu that a state was chosen by.
function chosenOf({ source, name, index }) {
  if (source === "named") return `named:${name}`;
  return index === undefined ? "opened" : `given:${index}`;
}

// A loss that is none of the menu's any more has an entry of its own, and choosing another is the way back.
function showOwn() {
  root.querySelector("#explorer-loss option[value=own]")?.remove();
  if (state.own) {
    const from = state.name.startsWith(CHANGED) ? state.name : "";
    const how = [BY_NUMBERS[state.source]?.label, from].filter(Boolean).join(", ");
    find("loss").prepend(make("option", { value: "own" }, `your own (${how})`));
  }
  find("loss").value = state.own ? "own" : state.base ?? chosenOf(state);
}

const FORMS = { exact: "exact", published: "as published" };
// What the terms of the theory mean, in plain words.
const GLOSSES = {
  "Margin at the start, m": "how strongly the label is pulled up while all classes are equal",
  "Gain, m/n": "the same divided by cross-entropy's: its first steps are that many times as large",
  "Trainability invariant": "whether the label is pulled up at the start, so that training can begin",
  "Bias growth": "whether all outputs drift the same way at the start, whatever the label",
  "Pull and push over h_T, exact": "for which outputs of the label a step raises it, and for which it lowers it",
  "Pull and push over h_T, as published": "the same by theorem 2 of the paper, which leaves out part of the change",
  "At zero training error": "what it does once every label is predicted with certainty",
  "The numbers that act": "the only numbers of a loss of third order that reach a gradient",
};

function showCurve() {
  const { curve, zones } = shown, loss = curve.loss;
  const title = loss ? loss.name : state.name;
  // While its zones are still to come, the words are those of the loss before.
  if (!later) replaceIfNew(find("words"), [title, ...(loss ? WORDS.sentences(curve, zones.exact) : curve.words)]);
  const beside = state.against.startsWith("given:") ? data.given[Number(state.against.slice(6))].name : state.against;
  find("other").textContent = beside;
  const sample = (kind) =>
    kind === "pushes"
      ? make("svg", { width: 26, height: 12, "aria-hidden": "true" }, make("rect", { class: "pushes", width: 26, height: 12 }))
      : make("svg", { width: 26, height: 12, "aria-hidden": "true" }, make("path", { class: `line ${kind}`, d: "M0 6H26" }));
  const items = [["", title], ["published", "attraction as published (theorem 2 of the paper, which leaves out part of the change)"], ["other", beside], ["pushes", "here it pushes the label down"]];
  find("legend").replaceChildren(...items.map(([kind, said]) => make("li", {}, sample(kind), said)));
  const facts = [["Margin at the start, m", `${text(curve.margin)} (cross-entropy: ${curve.classes})`]];
  facts.push(["Gain, m/n", `${text(curve.margin / curve.classes)}`]);
  if (curve.it) {
    const [rest, target] = LOSSES.nullEpoch(curve.it, curve.classes);
    const published = target >= (curve.classes - 1) * rest ? "passes" : "fails";
    const said = curve.it.sums ? `; as published it ${published}` : "";
    facts.push(["Trainability invariant", `${curve.margin > 0 ? "passes" : "fails"}${said}`]);
  }
  if (!Number.isNaN(curve.growth)) facts.push(["Bias growth", `${text(curve.growth)} (at or below 0 a common bias dies out)`]);
  for (const form of ["exact", "published"]) {
    if (zones[form]?.length) facts.push([`Pull and push over h_T, ${FORMS[form]}`, WORDS.zones(zones[form])]);
  }
  const end = curve.it && LOSSES.zeroError(curve.it);
  if (end) {
    const signs = { 1: "pulls on, as cross-entropy", 0: "does nothing there", "-1": "pushes back: competing forces" };
    facts.push(["At zero training error", signs[end.sign]]);
  }
  const c = loss && DOCUMENTS.thirdOrder(loss);
  if (c) {
    const acting = [["ch", c.ch], ["chh", c.chh], ["chy", c.chy], ["t", c.cy + c.cyy]];
    facts.push(["The numbers that act", acting.map(([key, value]) => `${key} = ${text(value)}`).join(", ")]);
  }
  find("facts").replaceChildren(...facts.flatMap(([term, said]) => [
    make("dt", {}, term), make("dd", {}, said, make("small", {}, GLOSSES[term])),
  ]));
  find("python").value = loss ? WORDS.python(state, bare(state)) : data.given[state.index].python;
}

// A live region is spoken when it changes, so it only does if the words do.
function replaceIfNew(holder, sentences) {
  if ([...holder.children].map((one) => one.textContent).join("\n") === sentences.join("\n").replaceAll(" %", "\u00a0%")) return;
  holder.replaceChildren(...sentences.map((one) => make("p", {}, one.replaceAll(" %", "\u00a0%"))));
}

function showValues() {
  const k = nearest(state.at), { curve, beside } = shown;
  const rows = [["attraction", "exact"], ["attraction as published", "published"], ["loss", "value"], ["gradient", "gradient"], ["learning rule, γ", "rule"]];
  const said = (one, key) => (one === null || seriesOf(one, key) === null ? "none" : text(seriesOf(one, key)[k]));
  find("values").replaceChildren(
    ...rows.map(([label, key]) =>
      make("tr", {}, make("th", { scope: "row" }, label), make("td", {}, said(curve, key)), make("td", {}, said(beside, key)))),
  );
}

// --- What the user does. ---

function options() {
  const option = (value, label) => make("option", { value }, label);
  const group = (label, list) => (list.length ? [make("optgroup", { label }, ...list)] : []);
  const given = data.given.map((one, k) => option(`given:${k}`, one.name));
  const full = ({ name, title }) => (title && title.toLowerCase() !== name.toLowerCase() ? `${name} – ${title}` : name);
  const known = (prefix) => data.named.map((one) => option(prefix + one.name, full(one)));
  const file = opened ? [option("opened", opened.name)] : [];
  find("loss").replaceChildren(...group("Opened", file), ...group("Yours", given), ...group("By name", known("named:")));
  const again = data.given.map((one, k) => option(`given:${k}`, one.name));
  find("against").replaceChildren(...group("Yours", again), ...group("By name", known("")));
}

// Of a loss as it stands in the menu.
const CLEAN = { numbers: [], document: null, index: undefined, base: undefined, own: false, begins: "" };

function choose(value) {
  const [kind, key] = [value.slice(0, value.indexOf(":")), value.slice(value.indexOf(":") + 1)];
  if (value === "opened") return openLoss(opened);
  const chosen = kind === "given" ? ofGiven(Number(key)) : ofName(key);
  const made = chosen.document?.classes ?? (chosen.source === "sampled" ? data.given[chosen.index].samples.classes : null);
  return set({ ...CLEAN, ...chosen, classes: made ?? state.classes, smoothing: 0 });
}

function openLoss(loss) {
  const classes = loss.classes ?? state.classes;
  set({ ...CLEAN, source: "document", name: loss.name, document: loss, classes, smoothing: 0 });
}

find("loss").addEventListener("change", (event) => choose(event.target.value));
find("against").addEventListener("change", (event) => set({ against: event.target.value }));
find("source").addEventListener("change", (event) => {
  const source = event.target.value, base = state.base ?? chosenOf(state), family = BY_NUMBERS[source];
  if (source === "own") return choose(base);
  let place = null, factor = 1, name = state.name;
  try {
    const loss = lossOf(state);
    if (loss) name = loss.name;
    place = loss && family.place(loss, state.classes);
    const isNamed = source === "lambda" && state.source === "named" && !state.smoothing;
    if (isNamed && Object.hasOwn(DOCUMENTS.PUBLISHED, state.name)) place = [...DOCUMENTS.PUBLISHED[state.name]];
    if (place && source === "residual") factor = DOCUMENTS.weightOfEntropy(loss);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
  }
  const isOther = Math.abs(factor - 1) > 1e-9, shared = { ...CLEAN, source, base, smoothing: 0 };
  if (!place) {
    const begins = `The ${family.label} cannot express ${name}, so the sliders begin at ${family.begins}.`, back = `Choose ${name} again under “Loss” to go back.`;
    return set({ ...shared, numbers: [...family.start], name: family.begins, own: true, begins: `${begins} ${back}` });
  }
  const begins = isOther
    ? `The sliders begin at ${name} divided by ${text(factor)}, since the ${family.label} hold cross-entropy itself once.`
    : `The sliders begin at the numbers of ${name}.`;
  return set({ ...shared, numbers: place, name, own: state.own || isOther || state.smoothing > 0, begins });
});

async function open(file) {
  reading += 1;
  showBusy();
  try {
    if (file.size > LARGEST_FILE) refuse(`${DOCUMENTS.plain(file.name)} is larger than 16 MiB, which no loss file is`);
    let document;
    try {
      document = JSON.parse(await file.text());
    } catch {
      refuse(`${DOCUMENTS.plain(file.name)} is not a JSON file; open the best.json of a study`);
    }
    const loss = DOCUMENTS.checked(document);
    curveOf(loss, loss.classes ?? state.classes);
    opened = loss;
    options();
    openLoss(loss);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    tell(error.message);
  } finally {
    reading -= 1;
    showBusy();
  }
}

find("file").addEventListener("change", (event) => {
  if (event.target.files.length) open(event.target.files[0]);
  // So that the same file can be opened again after it was changed.
  event.target.value = "";
});
for (const kind of ["dragenter", "dragover"]) {
  frame.addEventListener(kind, (event) => {
    event.preventDefault();
    frame.classList.add("explorer-over");
  });
}
frame.addEventListener("dragleave", () => frame.classList.remove("explorer-over"));
frame.addEventListener("drop", (event) => {
  event.preventDefault();
  frame.classList.remove("explorer-over");
  if (event.dataTransfer.files.length) open(event.dataTransfer.files[0]);
});

const isFile = location.protocol === "file:";

async function copy(given, what, more = "") {
  let said = `${what} copied.${more}`;
  try {
    await navigator.clipboard.writeText(given);
  } catch {
    said = "The browser does not let this page copy; copy it by hand from here:";
    if (what === "Python") {
      find("python").focus();
      find("python").select();
      said = "The browser does not let this page copy: the code is selected, press Ctrl+C.";
    } else {
      said = isFile ? `It is in the address bar now: copy it from #explore on.${more}` : "The link is in the address bar now; copy it there.";
    }
  }
  find("copied").textContent = said;
}

find("copy").addEventListener("click", () => copy(find("python").value, "Python"));
find("link").addEventListener("click", () => {
  const address = link();
  history.replaceState(null, "", address);
  // The address of a file leads nobody else anywhere; what follows it does, behind that of their own page.
  if (isFile) copy(address, "End of the address", " Put it behind the address of any explorer page: this page is a file, which only you have.");
  else copy(location.href, "Link");
});

// --- The link: the state as JSON in the fragment, checked like any file. ---

function link() {
  const { source, name, numbers, document, index, classes, smoothing, against, at } = state;
  const kept = { source, name, numbers, classes, smoothing, against, at };
  if (source === "document") kept.document = DOCUMENTS.documentOf(document);
  if (source === "sampled") kept.index = index;
  return MARK + encodeURIComponent(JSON.stringify(kept));
}

function restored(fragment) {
  if (fragment.length > LONGEST_LINK) refuse("the link is longer than any of this page; it was not used");
  let given;
  try {
    given = JSON.parse(decodeURIComponent(fragment.slice(MARK.length)));
  } catch {
    refuse("the link holds no loss; it was cut or changed");
  }
  const bad = (what) => refuse(`the link was not used: ${what}`);
  if (!DOCUMENTS.isObject(given)) bad("it holds no loss");
  const { source, name, numbers, classes, smoothing, against, at } = given;
  if (!["named", "document", "sampled", ...Object.keys(BY_NUMBERS)].includes(source)) bad("it names no kind of choice");
  if (typeof name !== "string" || (source === "named" && !named.has(name))) bad("it names a loss that this page does not know");
  if (!Array.isArray(numbers) || !numbers.every((one) => DOCUMENTS.isNumber(one) && Math.abs(one) <= 1e30)) bad("its numbers are none");
  const wanted = source === "named" ? defaults(named.get(name)) : source in BY_NUMBERS ? BY_NUMBERS[source].symbols : [];
  if (numbers.length !== wanted.length) bad("it has another count of numbers than its loss takes");
  if (!Number.isInteger(classes) || classes < 2 || classes > LOSSES.MOST_CLASSES) bad("it has no number of classes");
  if (!DOCUMENTS.isNumber(smoothing) || smoothing < 0 || smoothing >= 1) bad("its label smoothing is none");
  if (!DOCUMENTS.isNumber(at) || at <= 0 || at >= 1) bad("its output is none");
  const found = { source, name: DOCUMENTS.plain(name), numbers: [...numbers], document: null, classes, smoothing, at };
  if (source === "document") found.document = DOCUMENTS.checked(given.document);
  if (source === "sampled") {
    if (!Number.isInteger(given.index) || !data.given[given.index]?.samples) bad("its curves are not on this page");
    found.index = given.index;
  }
  const isKnown = typeof against === "string" && [...find("against").options].some((one) => one.value === against);
  found.against = isKnown ? against : "cross-entropy";
  curveOfState(found);
  return found;
}

function follow() {
  if (!location.hash.startsWith(MARK)) return;
  try {
    const found = restored(location.hash);
    if (found.document) opened = found.document;
    options();
    const isOwn = found.source in BY_NUMBERS;
    state = { ...CLEAN, base: isOwn ? "named:cross-entropy" : undefined, own: isOwn, ...found };
    shape = "";
    message = "";
    root.scrollIntoView();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    message = `${error.message[0].toUpperCase()}${error.message.slice(1)}.`;
  }
  request();
}

narrow.addEventListener("change", request);
options();
state = start();
follow();
request();
addEventListener("hashchange", follow);
new ResizeObserver(request).observe(find("charts"));

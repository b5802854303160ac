"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const [LOW, MIDDLE, HIGH, MISSING, UP, DOWN] = data.scale;
const INK = "#1d2733", QUIET = "#9aa7b4", WIDE = 720;
const names = data.chosen.map((f) => data.columns[f]);
const panel = (id) => document.getElementById(id);

function element(parent, tag, attributes = {}, text) {
  const svg = ["svg", "rect", "line", "circle", "text", "path", "g", "title"].includes(tag);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.appendChild(made);
  return made;
}

function show(number) {
  if (number === null) return "missing";
  const size = Math.abs(number);
  if (Number.isInteger(number) || size >= 1000) return Math.round(number).toLocaleString("en");
  return String(Number(number.toPrecision(3)));
}
const signed = (number) => (number >= 0 ? "+" : "\u2212") + Math.abs(number).toFixed(2);
const narrow = () => (window.innerWidth || WIDE) < 560;

function drawing(parent, height, label) {
  const width = narrow() ? 400 : WIDE;
  const svg = element(parent, "svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  return [svg, width];
}

/* A label above its row on a phone, beside it elsewhere; a long one is set smaller. */
function rowLabel(svg, text, y, left) {
  const size = Math.min(13, ((narrow() ? 392 : left - 12) / text.length) * 1.75);
  const at = narrow() ? { x: 4, y: y - 13 } : { x: left - 8, y: y + 4, "text-anchor": "end" };
  at["font-size"] = size.toFixed(1);
  element(svg, "text", at, text);
}
const rowHeight = () => (narrow() ? 44 : 30);
const leftEdge = () => (narrow() ? 10 : 300);

function ticks(low, high) {
  const rough = (high - low) / 7 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-9; at += step) found.push(Number(at.toPrecision(6)));
  return found;
}

function axis(svg, x, low, high, top, bottom, label) {
  for (const at of ticks(low, high)) {
    element(svg, "line", { x1: x(at), x2: x(at), y1: top, y2: bottom, stroke: QUIET, "stroke-opacity": at === 0 ? 1 : 0.3 });
    element(svg, "text", { x: x(at), y: bottom + 16, "text-anchor": "middle", "font-size": 12 }, show(at));
  }
  element(svg, "text", { x: (x(low) + x(high)) / 2, y: bottom + 34, "text-anchor": "middle", "font-size": 13 }, label);
}

function legend(parent) {
  const box = element(parent, "div", { class: "legend" });
  for (const group of new Set(data.chosen.map((f) => data.groups[f]))) {
    const entry = element(box, "span");
    element(entry, "i", { style: `background:${data.colours[group]}` });
    entry.appendChild(document.createTextNode(group));
  }
}

function linear(low, high, from, to) {
  return (value) => from + ((value - low) / (high - low || 1)) * (to - from);
}

function colourOf(values) {
  const known = values.filter((v) => v !== null).sort((a, b) => a - b);
  const at = (share) => known[Math.min(known.length - 1, Math.floor(share * known.length))];
  const low = known.length ? at(0.05) : 0, high = known.length ? at(0.95) : 0;
  const channels = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  const mix = (a, b, t) => `rgb(${channels(a).map((c, i) => Math.round(c + t * (channels(b)[i] - c))).join(",")})`;
  return (value) => {
    if (value === null) return MISSING;
    const t = high > low ? Math.min(1, Math.max(0, (value - low) / (high - low))) : 0.5;
    return t < 0.5 ? mix(LOW, MIDDLE, 2 * t) : mix(MIDDLE, HIGH, 2 * t - 1);
  };
}

function importance() {
  const parent = panel("importance");
  parent.replaceChildren();
  element(parent, "p", { class: "note" }, `Mean size of a feature's part of the score over ${data.rows.toLocaleString("en")} answers, in log-odds; the line is the 95% interval.`);
  legend(parent);
  const [mean, low, high] = data.importance, step = rowHeight(), left = leftEdge();
  const bottom = 20 + step * names.length;
  const [svg, width] = drawing(parent, bottom + 44, "Importance of features");
  const most = Math.max(...high, 1e-9), x = linear(0, most, left, width - 30);
  axis(svg, x, 0, most, 10, bottom, "mean |attribution|");
  names.forEach((name, i) => {
    const y = 20 + step * (i + 0.5) + (narrow() ? 6 : 0);
    rowLabel(svg, name, y, left);
    const group = data.groups[data.chosen[i]];
    element(svg, "rect", { x: left, y: y - 8, width: Math.max(0, x(mean[i]) - left), height: 16, fill: data.colours[group], "data-tip": `${name} (${group}): ${show(mean[i])}, interval ${show(low[i])} to ${show(high[i])}` });
    element(svg, "line", { x1: x(low[i]), x2: x(high[i]), y1: y, y2: y, stroke: INK, "stroke-width": 2 });
  });
}

function stacked(places, height) {
  const seen = new Map(), layers = places.map((place) => {
    const bin = Math.floor(place / 5), nth = seen.get(bin) || 0;
    seen.set(bin, nth + 1);
    return nth % 2 ? (nth + 1) / 2 : -nth / 2;
  });
  const most = Math.max(...layers.map(Math.abs), 1);
  return layers.map((layer) => (layer * height) / Math.max(most, 4));
}

function tip(name, i, row) {
  return `${data.titles[row]}: ${name} = ${show(data.values[i][row])}, part of the score ${signed(data.phi[i][row])}`;
}

function swarm() {
  const parent = panel("swarm");
  parent.replaceChildren();
  element(parent, "p", { class: "note" }, "Each point is an answer: right of 0 the feature raised its score. Blue is a low value of the feature, red a high one, light grey missing. Hover or tap a point; with the keyboard, focus the picture and use the arrow keys.");
  const n = Math.min(15, names.length), step = narrow() ? 64 : 38, left = leftEdge(), bottom = 20 + step * n;
  const [svg, width] = drawing(parent, bottom + 44, "Beeswarm of attributions");
  const all = data.phi.slice(0, n).flat(), low = Math.min(...all, 0), high = Math.max(...all, 0);
  const x = linear(low, high, left + 6, width - 14);
  axis(svg, x, low, high, 10, bottom, "attribution, log-odds");
  for (let i = 0; i < n; i++) {
    const y = 20 + step * (i + 0.5) + (narrow() ? 8 : 0), colour = colourOf(data.values[i]);
    rowLabel(svg, names[i], narrow() ? y - 11 : y, left);
    const places = data.phi[i].map(x), up = stacked(places, narrow() ? 16 : 14);
    places.forEach((place, row) => element(svg, "circle", { cx: place.toFixed(1), cy: (y + up[row]).toFixed(1), r: 2.6, fill: colour(data.values[i][row]), "data-tip": tip(names[i], i, row) }));
  }
  walkable(svg);
}

function choice(parent, text, options, chosen, changed) {
  const label = element(parent, "label", {}, text), select = element(label, "select");
  options.forEach((option, i) => element(select, "option", { value: i }, option));
  select.value = String(chosen);
  select.addEventListener("change", () => changed(Number(select.value)));
  return select;
}

const dependent = { feature: 0, colour: null };
function dependence(focus) {
  const parent = panel("dependence");
  parent.replaceChildren();
  const i = dependent.feature, strongest = data.partners[i];
  const c = dependent.colour === null ? (strongest === null ? i : strongest) : dependent.colour;
  const first = choice(parent, "Feature", names, i, (to) => { dependent.feature = to; dependent.colour = null; dependence(0); });
  const second = choice(parent, "Colour", names.map((name, k) => (k === strongest ? `${name} (strongest partner)` : name)), c, (to) => { dependent.colour = to; dependence(1); });
  if (focus !== undefined) [first, second][focus].focus();
  const known = data.values[i].filter((v) => v !== null), missing = known.length < data.values[i].length;
  const low = known.length ? Math.min(...known) : 0, high = known.length ? Math.max(...known) : 1;
  const bottom = narrow() ? 300 : 360, [svg, width] = drawing(parent, bottom + 44, `Dependence on ${names[i]}`);
  const x = linear(low, high, missing ? 100 : 60, width - 20);
  const least = Math.min(...data.phi[i], 0), most = Math.max(...data.phi[i], 0), y = linear(least, most, bottom - 8, 16);
  axis(svg, x, low, high, 10, bottom, names[i]);
  for (const at of ticks(least, most)) {
    element(svg, "line", { x1: 50, x2: width - 14, y1: y(at), y2: y(at), stroke: QUIET, "stroke-opacity": at === 0 ? 1 : 0.3 });
    element(svg, "text", { x: 44, y: y(at) + 4, "text-anchor": "end", "font-size": 12 }, show(at));
  }
  if (missing) element(svg, "text", { x: 64, y: bottom + 16, "text-anchor": "middle", "font-size": 12 }, "missing");
  const colour = colourOf(data.values[c]);
  data.values[i].forEach((value, row) => element(svg, "circle", { cx: (value === null ? 64 : x(value)).toFixed(1), cy: y(data.phi[i][row]).toFixed(1), r: 3.2, fill: colour(data.values[c][row]), "data-tip": `${tip(names[i], i, row)}; ${names[c]} = ${show(data.values[c][row])}` }));
  walkable(svg);
  element(parent, "p", { class: "note" }, `Blue: ${names[c]} is low; red: it is high; light grey: it is missing. The vertical axis is the part of the score, in log-odds.`);
}

function waterfall(parent, label, start, startText, endText, steps) {
  const sorted = steps.slice().sort((a, b) => Math.abs(b[1]) - Math.abs(a[1])), few = sorted.slice(0, 10), rest = sorted.slice(10);
  if (rest.length) few.push([`${rest.length} others`, rest.reduce((sum, s) => sum + s[1], 0)]);
  const edges = [start];
  for (const [, size] of few) edges.push(edges[edges.length - 1] + size);
  const step = rowHeight(), left = leftEdge() + (narrow() ? 0 : 60), bottom = 16 + step * (few.length + 2);
  const [svg, width] = drawing(parent, bottom + 44, label);
  const low = Math.min(...edges), high = Math.max(...edges), x = linear(low, high, left + 10, width - 66);
  axis(svg, x, low, high, 6, bottom, "log-odds; orange raises, blue lowers");
  const yOf = (at) => 16 + step * (at + 0.5) + (narrow() ? 6 : 0);
  const end = (at, text, value) => {
    rowLabel(svg, text, yOf(at), left);
    element(svg, "circle", { cx: x(value), cy: yOf(at), r: 5, fill: INK });
    element(svg, "text", { x: x(value) + 10, y: yOf(at) + 4, "font-size": 13 }, value.toFixed(2));
  };
  end(0, startText, start);
  few.forEach(([text, size], i) => {
    const a = x(edges[i]), b = x(edges[i + 1]), y = yOf(i + 1);
    rowLabel(svg, text, y, left);
    element(svg, "rect", { x: Math.min(a, b), y: y - 8, width: Math.max(1, Math.abs(b - a)), height: 16, fill: size >= 0 ? UP : DOWN, "data-tip": `${text}: ${signed(size)}` });
    element(svg, "text", { x: Math.max(a, b) + 5, y: y + 4, "font-size": 13 }, signed(size));
  });
  end(few.length + 1, endText, edges[edges.length - 1]);
}

const answered = { list: 0, a: 0, b: 1 };
function answers(focus) {
  const parent = panel("answers");
  parent.replaceChildren();
  if (!data.lists.length) {
    element(parent, "p", {}, "No lists of answers were given to this page.");
    return;
  }
  const list = data.lists[answered.list], titles = list.titles.map((title, i) => `${i + 1}. ${title}`);
  answered.a = Math.min(answered.a, titles.length - 1);
  answered.b = Math.min(answered.b, titles.length - 1);
  const selects = [choice(parent, "List", data.lists.map((one) => one.name), answered.list, (to) => { Object.assign(answered, { list: to, a: 0, b: 1 }); answers(0); })];
  const ordered = element(parent, "ol");
  list.titles.forEach((title, i) => {
    const entry = element(ordered, "li");
    element(entry, "strong", {}, title);
    entry.appendChild(document.createTextNode(` (score ${list.score[i].toFixed(2)})`));
    element(entry, "div", {}, list.sentences[i]);
  });
  selects.push(choice(parent, "A", titles, answered.a, (to) => { answered.a = to; answers(1); }));
  selects.push(choice(parent, "B", titles, answered.b, (to) => { answered.b = to; answers(2); }));
  if (focus !== undefined) selects[focus].focus();
  const { a, b } = answered;
  element(parent, "h2", {}, `A: ${list.titles[a]}`);
  element(parent, "p", {}, list.sentences[a]);
  waterfall(parent, "Parts of the score of A", list.base[a], "base", "score", data.columns.map((name, f) => [`${name} = ${show(list.values[a][f])}`, list.phi[a][f]]));
  if (a === b) return;
  element(parent, "h2", {}, `Why A ${list.score[a] >= list.score[b] ? "stands above" : "stands below"} B: ${list.titles[b]}`);
  const steps = data.columns.map((name, f) => [`${name}: ${show(list.values[a][f])}, B ${show(list.values[b][f])}`, list.phi[a][f] - list.phi[b][f]]);
  steps.push(["base", list.base[a] - list.base[b]]);
  waterfall(parent, "Difference of the scores of A and B", list.score[b], "score of B", "score of A", steps.filter((s) => s[1] !== 0));
}

/* Points of a picture are walked by the arrow keys, which read each out below. */
function walkable(svg) {
  const points = Array.from(svg.querySelectorAll("circle[data-tip]"));
  let at = -1;
  svg.setAttribute("tabindex", "0");
  svg.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!by || !points.length) return;
    event.preventDefault();
    if (at >= 0) points[at].classList.remove("on");
    at = (at + by + points.length) % points.length;
    points[at].classList.add("on");
    panel("hover").textContent = points[at].getAttribute("data-tip");
  });
}

const views = { importance, swarm, dependence, answers };
const tabs = Array.from(document.querySelectorAll("[role=tab]"));
function choose(tab) {
  for (const other of tabs) {
    const on = other === tab;
    other.setAttribute("aria-selected", String(on));
    other.tabIndex = on ? 0 : -1;
    panel(other.getAttribute("aria-controls")).hidden = !on;
  }
  panel("hover").textContent = "";
  views[tab.getAttribute("aria-controls")]();
}
tabs.forEach((tab, i) => {
  tab.addEventListener("click", () => choose(tab));
  tab.addEventListener("keydown", (event) => {
    const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = tabs[(to + tabs.length) % tabs.length];
    choose(next);
    next.focus();
  });
});
function hovered(event) {
  const text = event.target.getAttribute && event.target.getAttribute("data-tip");
  if (text) panel("hover").textContent = text;
}
document.addEventListener("pointerover", hovered);
document.addEventListener("click", hovered);
let wasNarrow = narrow();
window.addEventListener("resize", () => {
  if (wasNarrow === narrow()) return;
  wasNarrow = narrow();
  choose(tabs.find((tab) => tab.getAttribute("aria-selected") === "true"));
});
choose(tabs[0]);

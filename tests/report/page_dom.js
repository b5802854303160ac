// Just enough of a document to run the page's script: node page_dom.js page.html actions
// Actions are a JSON list: ["tab", 2], ["key", "ArrowRight"], ["select", n, value], ["walk", key].
// Prints, after each action, the visible panel as text and markup.
"use strict";
const fs = require("fs");
const source = fs.readFileSync(process.argv[2], "utf8");
const actions = JSON.parse(process.argv[3]);

class Node {
  constructor(tag) { Object.assign(this, { tag, attributes: {}, children: [], listeners: {}, value: "", hidden: false, tabIndex: 0, own: "" }); }
  setAttribute(key, value) { this.attributes[key] = String(value); }
  getAttribute(key) { return key in this.attributes ? this.attributes[key] : null; }
  appendChild(child) { this.children.push(child); return child; }
  replaceChildren() { this.children = []; }
  addEventListener(kind, call) { (this.listeners[kind] ||= []).push(call); }
  fire(kind, event = {}) { for (const call of this.listeners[kind] || []) call({ target: this, preventDefault() {}, ...event }); }
  focus() { document.active = this; }
  get classList() { return { add: (c) => this.setAttribute("class", c), remove: () => delete this.attributes.class }; }
  set textContent(text) { this.children = []; this.own = String(text); }
  get textContent() { return this.own + this.children.map((child) => child.textContent).join("\n"); }
  all(found = []) { for (const child of this.children) { found.push(child); child.all(found); } return found; }
  querySelectorAll(query) {
    if (query !== "circle[data-tip]") throw new Error(query);
    return this.all().filter((node) => node.tag === "circle" && "data-tip" in node.attributes);
  }
  get outerHTML() {
    const safe = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/"/g, "&quot;");
    const attributes = Object.entries(this.attributes).map(([k, v]) => ` ${k}="${safe(v)}"`).join("");
    return `<${this.tag}${attributes}>${safe(this.own)}${this.children.map((c) => c.outerHTML).join("")}</${this.tag}>`;
  }
}

const byId = {};
for (const [, tag, attributes] of source.matchAll(/<(button|section|p)\b([^>]*\bid=[^>]*)>/g)) {
  const node = new Node(tag);
  for (const [, key, value] of attributes.matchAll(/([\w-]+)="([^"]*)"/g)) node.attributes[key] = value;
  node.hidden = /\bhidden\b/.test(attributes);
  byId[node.attributes.id] = node;
}
byId.data = new Node("script");
byId.data.own = source.match(/id="data">([\s\S]*?)<\/script>/)[1];
globalThis.document = new Node("document");
Object.assign(document, {
  getElementById: (id) => byId[id],
  createElement: (tag) => new Node(tag),
  createElementNS: (_, tag) => new Node(tag),
  createTextNode: (text) => { const node = new Node("span"); node.own = text; return node; },
  querySelectorAll: () => tabs,
});
const tabs = Object.values(byId).filter((node) => node.attributes.role === "tab");
globalThis.window = new Node("window");
window.innerWidth = Number(process.argv[4] || 1000);
const script = source.match(/<script>([\s\S]*?)<\/script>/)[1];
(0, eval)(`(function () {${script}\n})()`);

const panels = Object.values(byId).filter((node) => node.attributes.role === "tabpanel");
const visible = () => panels.filter((node) => !node.hidden);
const states = [];
const record = () => {
  if (visible().length !== 1) throw new Error("not one panel is visible");
  states.push({ id: visible()[0].attributes.id, text: visible()[0].textContent, markup: visible()[0].outerHTML,
    hover: byId.hover.textContent, focus: document.active ? document.active.tag : null });
};
record();
for (const [kind, first, second] of actions) {
  const selected = tabs.find((tab) => tab.attributes["aria-selected"] === "true");
  if (kind === "tab") tabs[first].fire("click");
  if (kind === "key") selected.fire("keydown", { key: first });
  if (kind === "select") {
    const select = visible()[0].all().filter((node) => node.tag === "select")[first];
    select.value = String(second);
    select.fire("change");
  }
  if (kind === "walk") visible()[0].all().find((node) => node.tag === "svg").fire("keydown", { key: first });
  if (kind === "over") document.fire("pointerover", { target: visible()[0].querySelectorAll("circle[data-tip]")[first] });
  record();
}
console.log(JSON.stringify(states));

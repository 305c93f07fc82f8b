"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

/** An element with attributes (text, html and class names among them) and children. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") element.textContent = value;
    else if (name === "html") element.innerHTML = value; // of our own tables only, escaped when they were rendered
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

function makeSvg(tag, attributes = {}, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

const spoken = (name) => name.replaceAll("_", " ");

// -- claims, tables, figures ------------------------------------------------------------------------------------------

function showClaims() {
  const words = ["reproduced", "not reproduced", "inconclusive", "not yet run"];
  const count = (word) => data.claims.filter((claim) => claim.verdict === word).length;
  byId("counts").textContent = "By the paper's protocol: " + words.map((word) => `${count(word)} ${word}`).join(", ") + ".";
  const answers = { "reproduced": "agree", "not reproduced": "disagree", "inconclusive": "leave it open" };
  for (const claim of data.claims) {
    const facts = make("dl");
    const fact = (name, value) => facts.append(make("dt", { text: name }), make("dd", { text: value }));
    fact("paper", claim.paper);
    if (claim.ours) fact("ours", claim.ours);
    if (claim.verdict !== "not yet run") fact("because", claim.why);
    const short = data.short.find((other) => other.says === claim.says);
    if (short) fact("short runs", `${answers[short.verdict]} (${short.short}): ${short.ours}; ${short.why}`);
    byId("claim-list").append(
      make("article", { class: "claim" },
        make("div", { class: `verdict v-${claim.verdict.replaceAll(" ", "-")}`, text: claim.verdict }),
        make("div", {}, make("div", { class: "says", text: claim.says }), make("div", { class: "note", text: claim.where }), facts)));
  }
}

function showTables() {
  for (const table of data.tables) byId("table-list").append(make("article", { id: `table-${table.name}`, html: table.html }));
  if (!data.tables.length) byId("table-list").append(make("p", { class: "note", text: "No table has been rendered: make tables" }));
}

function showFigures() {
  const drawn = data.figures.filter((figure) => figure.runs.length);
  for (const { title, runs, src, width, height } of drawn) {
    const image = make("img", { src, width, height, alt: title, loading: "lazy" });
    const shown = runs.length > 3 ? `${runs.length} runs` : runs.join(", ");
    byId("figure-list").append(make("figure", {}, image, make("figcaption", { text: `${title.replace("\n", "; ")}. Of ${shown}.` })));
  }
  const empty = data.figures.filter((figure) => !figure.runs.length).map((figure) => figure.title.split(":")[0]);
  const left = empty.length ? `${empty.join(", ")}: none of the runs has been finished.` : "";
  if (left || !drawn.length) byId("figure-list").append(make("p", { class: "note", text: left || "No figure has been drawn: make figures" }));
}

// -- the learned Q ----------------------------------------------------------------------------------------------------

const CIVIDIS = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"];
const STOPS = CIVIDIS.map((colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)));

function cividis(share) {
  const place = Math.min(Math.max(share, 0), 1) * (STOPS.length - 1);
  const low = Math.min(Math.floor(place), STOPS.length - 2);
  return STOPS[low].map((value, channel) => value + (place - low) * (STOPS[low + 1][channel] - value));
}

function paint(canvas, width, height, share) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const pixels = context.createImageData(width, height);
  for (let i = 0; i < width * height; i++) pixels.data.set([...cividis(share(i)), 255], 4 * i);
  context.putImageData(pixels, 0, 0);
}

const NEIGHBOURS = 12;
let matrix, chosen = 0;

function decode({ id, classes, values }) {
  const bytes = Uint8Array.from(atob(values), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return { id, classes, q: Float64Array.from({ length: classes.length ** 2 }, (_, i) => view.getUint16(2 * i, true) / 65535) };
}

function chooseRun(index) {
  const before = matrix?.classes[chosen];
  matrix = decode(data.matrices[index]);
  const k = matrix.classes.length;
  const sorted = [...matrix.q].sort((a, b) => a - b);
  const top = k > 20 ? sorted[Math.floor(0.998 * (sorted.length - 1))] : sorted.at(-1);
  paint(byId("q-canvas"), k, k, (i) => matrix.q[i] / top);
  byId("q-max").textContent = (k > 20 ? "≥ " : "") + top.toPrecision(2);
  byId("q-class").replaceChildren(...matrix.classes.map((name, i) => make("option", { value: i, text: spoken(name) })));
  byId("q-names-left").replaceChildren(...(k > 20 ? [] : matrix.classes.map((name) => make("span", { text: spoken(name) }))));
  chooseRow(Math.max(matrix.classes.indexOf(before), 0));
}

function chooseRow(row, column = -1) {
  const { classes, q } = matrix, k = classes.length;
  chosen = row;
  byId("q-class").value = row;
  Object.assign(byId("q-mark").style, { top: `calc(${(100 * row) / k}% - 2px)`, height: `calc(${100 / k}% + 4px)` });
  [...byId("q-names-left").children].forEach((name, i) => name.classList.toggle("on", i === row));
  const shares = classes.map((name, j) => ({ name, j, share: q[row * k + j] }));
  const ranked = shares.toSorted((a, b) => b.share - a.share);
  const shown = ranked.slice(0, NEIGHBOURS);
  for (const extra of [row, column]) if (extra >= 0 && !shown.some(({ j }) => j === extra)) shown.push(shares[extra]);
  byId("q-title").textContent = spoken(classes[row]);
  byId("q-bars").replaceChildren(...shown.map(({ name, j, share }) => {
    const bar = make("div", { class: "bar", style: `width:${(100 * share) / ranked[0].share}%` });
    const itself = j === row ? " (itself)" : "";
    const names = [j === row ? "self" : "", j === column ? "on" : ""].join(" ");
    return make("li", { class: names }, make("span", { class: "name", title: spoken(name), text: spoken(name) + itself }), bar,
      make("span", { class: "value", text: share.toFixed(3) }));
  }));
  const back = column >= 0 && column !== row ? ` In return, ${spoken(classes[column])} gives it ${q[column * k + row].toFixed(3)}.` : "";
  const best = ranked.find(({ j }) => j !== row);
  byId("q-says").textContent = column >= 0
    ? `${spoken(classes[row])} gives ${spoken(classes[column])} ${q[row * k + column].toFixed(3)}.${back}`
    : `${spoken(classes[row])} is most like ${spoken(best.name)}, ${best.share.toFixed(3)}.`;
}

function showMatrices() {
  if (!data.matrices.length) {
    byId("matrices").append(make("p", { class: "note", text: "No finished run has learned a Q yet." }));
    byId("matrices").querySelectorAll(".controls, .explorer").forEach((element) => element.remove());
    return;
  }
  const select = byId("q-run"), canvas = byId("q-canvas");
  select.replaceChildren(...data.matrices.map(({ id }, index) => make("option", { value: index, text: id })));
  select.addEventListener("change", () => chooseRun(+select.value));
  byId("q-class").addEventListener("change", (event) => chooseRow(+event.target.value));
  const at = (event) => {
    const box = canvas.getBoundingClientRect(), k = matrix.classes.length;
    const cell = (share) => Math.min(k - 1, Math.max(0, Math.floor(share * k)));
    return [cell((event.clientY - box.top) / box.height), cell((event.clientX - box.left) / box.width)];
  };
  canvas.addEventListener("pointermove", (event) => chooseRow(...at(event)));
  canvas.addEventListener("pointerdown", (event) => chooseRow(...at(event)));
  canvas.addEventListener("pointerleave", () => chooseRow(chosen));
  canvas.addEventListener("keydown", (event) => {
    const last = matrix.classes.length - 1;
    const to = { ArrowDown: chosen + 1, ArrowUp: chosen - 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    chooseRow(Math.min(last, Math.max(0, to)));
  });
  paint(byId("q-ramp"), 256, 1, (i) => i / 255);
  chooseRun(0);
}

// -- runs -------------------------------------------------------------------------------------------------------------

const METRICS = { top1: "top-1 on the test images (%)", nll: "NLL on the test images", loss: "training loss", lr: "learning rate" };
const LIGHT = ["#332288", "#1f9ac0", "#117733", "#999933", "#cc6677", "#882255", "#44aa99", "#aa4499", "#b8860b", "#555555"];
const DARK = ["#9d8cff", "#88ccee", "#4fc37a", "#d4d46a", "#ff8fa0", "#e06aa0", "#6fdccb", "#dd88dd", "#ffc94d", "#bbbbbb"];
const DASHES = ["", "6 3", "2 2", "8 3 2 3"];
const dark = matchMedia("(prefers-color-scheme: dark)");
const methods = [...new Set(data.runs.map((run) => run.method))].sort();
const hidden = new Set();
const look = (method) => {
  const index = methods.indexOf(method), colours = dark.matches ? DARK : LIGHT;
  return { stroke: colours[index % 10], "stroke-dasharray": DASHES[Math.floor(index / 10) % 4] };
};
let plotted = [];

/** Round numbers that cover [low, high]. */
function ticks(low, high, wanted = 5) {
  const rough = (high - low || Math.abs(high) || 1) / wanted, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) found.push(+(i * step).toPrecision(12));
  return found;
}

/** The runs that set the scale: not those that end far from the others (5 times their quartiles' distance). */
function usual(runs, metric) {
  const ends = runs.map((run) => run.curves[metric].at(-1)).sort((a, b) => a - b);
  const [first, third] = [0.25, 0.75].map((share) => ends[Math.floor(share * (ends.length - 1))]);
  const reach = 5 * (third - first) || Infinity;
  return runs.filter((run) => first - reach <= run.curves[metric].at(-1) && run.curves[metric].at(-1) <= third + reach);
}

function wanted() {
  const words = byId("c-filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const text = (run) => `${run.id} ${run.method} s${run.seed} budget ${run.budget}`.toLowerCase();
  return data.runs.filter((run) => words.every((word) => text(run).includes(word)));
}

function drawRuns() {
  const svg = byId("c-chart"), metric = byId("c-metric").value, found = wanted();
  const runs = found.filter((run) => !hidden.has(run.method));
  byId("c-count").textContent = `${runs.length} of ${data.runs.length} runs`;
  drawLegend(found);
  drawTable(runs);
  const { width, height } = svg.getBoundingClientRect();
  const left = 52, right = 12, top = 10, bottom = 34;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren();
  svg.classList.remove("picked");
  byId("c-tip").hidden = true;
  plotted = [];
  if (!runs.length) return svg.append(makeSvg("text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, "no such run"));
  const inside = usual(runs, metric), epochs = Math.max(...runs.map((run) => run.epochs));
  if (inside.length < runs.length) byId("c-count").textContent += `, ${runs.length - inside.length} of them off the scale of the others`;
  let low = Infinity, high = -Infinity;
  for (const run of inside) for (const value of run.curves[metric]) { low = Math.min(low, value); high = Math.max(high, value); }
  if (low === high) { low -= 0.5; high += 0.5; }
  const x = (epoch) => left + ((width - left - right) * (epoch - 1)) / Math.max(epochs - 1, 1);
  const y = (value) => height - bottom - ((height - top - bottom) * (value - low)) / (high - low);
  for (const tick of ticks(low, high)) {
    svg.append(makeSvg("line", { x1: left, x2: width - right, y1: y(tick), y2: y(tick) }));
    svg.append(makeSvg("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, tick));
  }
  for (const tick of ticks(1, epochs, 8).filter(Number.isInteger))
    svg.append(makeSvg("text", { x: x(tick), y: height - bottom + 18, "text-anchor": "middle" }, tick));
  svg.append(makeSvg("text", { x: width - right, y: height - 2, "text-anchor": "end" }, "epoch"));
  const clip = makeSvg("clipPath", { id: "c-clip" }), lines = makeSvg("g", { "clip-path": "url(#c-clip)" });
  clip.append(makeSvg("rect", { x: left, y: top - 4, width: width - left - right, height: height - top - bottom + 8 }));
  svg.append(clip, lines);
  for (const run of runs) {
    const points = run.curves[metric].map((value, i) => [x(i + 1), y(value)]);
    const path = makeSvg("path", { d: "M" + points.map((point) => point.map((p) => p.toFixed(1)).join(" ")).join("L"), ...look(run.method) });
    lines.append(path);
    plotted.push({ run, path, points });
  }
}

function drawLegend(found) {
  byId("c-legend").replaceChildren(...methods.filter((method) => found.some((run) => run.method === method)).map((method) => {
    const line = makeSvg("svg", { viewBox: "0 0 26 10", "aria-hidden": "true" });
    line.append(makeSvg("line", { x1: 0, x2: 26, y1: 5, y2: 5, "stroke-width": 2.5, ...look(method) }));
    const button = make("button", { type: "button", "aria-pressed": !hidden.has(method) }, line, method);
    button.addEventListener("click", () => {
      if (!hidden.delete(method)) hidden.add(method);
      drawRuns();
      [...byId("c-legend").children].find((other) => other.textContent === method)?.focus();
    });
    return button;
  }));
}

function drawTable(runs) {
  const head = ["data", "network", "method", "seed", "budget", "epochs", "top-1 (%)"];
  const cells = (run) => [run.dataset, run.network, run.method, run.seed, run.budget, run.epochs ?? "not recorded", run.top1?.toFixed(2) ?? "not recorded"];
  const row = (tag, values) => make("tr", {}, ...values.map((text) => make(tag, { text })));
  byId("c-table").replaceChildren(
    make("thead", {}, row("th", head)), make("tbody", {}, ...runs.map((run) => row("td", cells(run)))));
}

function pick(event) {
  const box = byId("c-chart").getBoundingClientRect(), tip = byId("c-tip");
  const [px, py] = [event.clientX - box.left, event.clientY - box.top];
  let best = null, least = 40 ** 2;
  for (const line of plotted) line.points.forEach(([x, y], i) => {
    const distance = (x - px) ** 2 + (y - py) ** 2;
    if (distance < least) { least = distance; best = { line, i, x, y }; }
  });
  byId("c-chart").classList.toggle("picked", best !== null);
  for (const { path } of plotted) path.classList.toggle("on", path === best?.line.path);
  tip.hidden = best === null;
  if (!best) return;
  const { run } = best.line, metric = byId("c-metric").value;
  tip.replaceChildren(
    make("strong", { text: `${run.method}, seed ${run.seed}` }), make("br"),
    `${run.dataset} / ${run.network}, budget ${run.budget}`, make("br"), `epoch ${best.i + 1}: ${run.curves[metric][best.i]}`);
  const beside = best.x > box.width / 2 ? best.x - tip.offsetWidth - 14 : best.x + 14;
  Object.assign(tip.style, { left: `${Math.max(0, beside)}px`, top: `${Math.min(best.y, box.height - tip.offsetHeight - 6)}px` });
}

function unpick() {
  byId("c-tip").hidden = true;
  byId("c-chart").classList.remove("picked");
}

function showRuns() {
  byId("c-metric").replaceChildren(...Object.entries(METRICS).map(([value, text]) => make("option", { value, text })));
  byId("c-metric").addEventListener("change", drawRuns);
  byId("c-filter").addEventListener("input", drawRuns);
  byId("c-chart").addEventListener("pointermove", pick);
  byId("c-chart").addEventListener("pointerdown", pick);
  byId("c-chart").addEventListener("pointerleave", unpick);
  dark.addEventListener("change", drawRuns);
  new ResizeObserver(drawRuns).observe(byId("c-chart"));
}

byId("summary").textContent = `${data.runs.length} finished runs, ${data.matrices.length} learned matrices.`;
showClaims();
showTables();
showFigures();
showMatrices();
showRuns();

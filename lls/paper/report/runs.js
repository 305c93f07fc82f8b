// The curves and the list of all runs.

const METRICS = { top1: "top-1 on the test images (%)", nll: "NLL on the test images", loss: "training loss", lr: "learning rate" };
const LIGHT = ["#332288", "#1f9ac0", "#117733", "#999933", "#cc6677", "#882255", "#44aa99", "#aa4499", "#b8860b", "#555555"];
const DARK = ["#9d8cff", "#88ccee", "#4fc37a", "#d4d46a", "#ff8fa0", "#e06aa0", "#6fdccb", "#dd88dd", "#ffc94d", "#bbbbbb"];
const DASHES = ["", "6 3", "2 2", "8 3 2 3"];
const dark = matchMedia("(prefers-color-scheme: dark)");
const hidden = new Set(); // numbers of groups
const lineStyle = (index) => {
  const colours = dark.matches ? DARK : LIGHT;
  return { stroke: colours[index % 10], "stroke-dasharray": DASHES[Math.floor(index / 10) % 4] };
};
let plotted = [];

/** Round numbers that cover [low, high]. */
function ticks(low, high, count = 5) {
  const rough = (high - low || Math.abs(high) || 1) / count, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const values = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) values.push(+(i * step).toPrecision(12));
  return values;
}

/** The runs that set the scale: all but those that end further than 5 interquartile ranges from the quartiles. */
function withoutOutliers(runs, metric) {
  const ends = runs.map((run) => run.curves[metric].at(-1)).sort((a, b) => a - b);
  const [first, third] = [0.25, 0.75].map((share) => ends[Math.floor(share * (ends.length - 1))]);
  const reach = 5 * (third - first) || Infinity;
  return runs.filter((run) => first - reach <= run.curves[metric].at(-1) && run.curves[metric].at(-1) <= third + reach);
}

function matchingRuns() {
  const words = byId("c-filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const text = (run) => `${run.id} ${data.groups[run.group].name} s${run.seed}`.toLowerCase();
  return data.runs.filter((run) => words.every((word) => text(run).includes(word)));
}

function drawRuns() {
  const svg = byId("c-chart"), metric = byId("c-metric").value, matching = matchingRuns();
  const groups = [...new Set(matching.map((run) => run.group))];
  const runs = matching.filter((run) => !hidden.has(run.group) && run.curves[metric]);
  byId("c-count").textContent = `${runs.length} of ${data.runs.length} runs`;
  drawLegend(groups);
  filterList(new Set(matching.map((run) => `run-${run.id}`)));
  const { width, height } = svg.getBoundingClientRect();
  const left = 52, right = 12, top = 10, bottom = 34;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren();
  svg.classList.remove("picked");
  byId("c-tip").hidden = true;
  plotted = [];
  if (!runs.length) return svg.append(makeSvg("text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, "no run matches"));
  const inside = withoutOutliers(runs, metric), epochs = Math.max(...runs.map((run) => run.curves[metric].length));
  if (inside.length < runs.length) byId("c-count").textContent += `, ${runs.length - inside.length} of them off the scale`;
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
    const path = makeSvg("path", { d: "M" + points.map((point) => point.map((p) => p.toFixed(1)).join(" ")).join("L"), ...lineStyle(groups.indexOf(run.group)) });
    lines.append(path);
    plotted.push({ run, path, points });
  }
}

/** A label for each group: the facts that differ among the groups. */
function labels(groups) {
  const facts = groups.map((group) => data.groups[group].facts);
  const differs = (key) => new Set(facts.map((texts) => texts[key])).size > 1;
  return facts.map((texts) => Object.keys(texts).filter(differs).map((key) => texts[key]).join(", ") || texts.method);
}

function drawLegend(groups) {
  const texts = labels(groups);
  byId("c-legend").replaceChildren(...groups.map((group, index) => {
    const line = makeSvg("svg", { viewBox: "0 0 26 10", "aria-hidden": "true" });
    line.append(makeSvg("line", { x1: 0, x2: 26, y1: 5, y2: 5, "stroke-width": 2.5, ...lineStyle(index) }));
    const button = make("button", { type: "button", "aria-pressed": !hidden.has(group) }, line, texts[index]);
    button.addEventListener("click", () => {
      if (!hidden.delete(group)) hidden.add(group);
      drawRuns();
      byId("c-legend").children[index].focus();
    });
    return button;
  }));
}

function filterList(ids) {
  for (const body of byId("c-table").tBodies) {
    const rows = [...body.rows].filter((row) => row.id);
    for (const row of rows) row.hidden = !ids.has(row.id);
    body.hidden = rows.every((row) => row.hidden);
  }
}

/** Show the run that the address names, if the filter hides it. */
function showTarget() {
  const row = byId(decodeURIComponent(location.hash.slice(1)));
  if (!row?.hidden) return;
  byId("c-filter").value = "";
  drawRuns();
  row.scrollIntoView();
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
    make("strong", { text: `${data.groups[run.group].name}, seed ${run.seed}` }), make("br"),
    `epoch ${best.i + 1}: ${run.curves[metric][best.i]}`);
  const side = best.x > box.width / 2 ? best.x - tip.offsetWidth - 14 : best.x + 14;
  Object.assign(tip.style, { left: `${Math.max(0, side)}px`, top: `${Math.min(best.y, box.height - tip.offsetHeight - 6)}px` });
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
  addEventListener("hashchange", showTarget);
  new ResizeObserver(drawRuns).observe(byId("c-chart"));
}

// The learned Q matrices.

const CIVIDIS = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838"];
const STOPS = CIVIDIS.map((colour) => [1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16)));

function cividis(share) {
  const position = Math.min(Math.max(share, 0), 1) * (STOPS.length - 1);
  const low = Math.min(Math.floor(position), STOPS.length - 2);
  return STOPS[low].map((value, channel) => value + (position - low) * (STOPS[low + 1][channel] - value));
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
  byId("q-class").replaceChildren(...matrix.classes.map((name, i) => make("option", { value: i, text: spaced(name) })));
  byId("q-names-left").replaceChildren(...(k > 20 ? [] : matrix.classes.map((name) => make("span", { text: spaced(name) }))));
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
  byId("q-title").textContent = spaced(classes[row]);
  byId("q-bars").replaceChildren(...shown.map(({ name, j, share }) => {
    const bar = make("div", { class: "bar", style: `width:${(100 * share) / ranked[0].share}%` });
    const itself = j === row ? " (itself)" : "";
    const names = [j === row ? "self" : "", j === column ? "on" : ""].join(" ");
    return make("li", { class: names }, make("span", { class: "name", title: spaced(name), text: spaced(name) + itself }), bar,
      make("span", { class: "value", text: share.toFixed(3) }));
  }));
  const back = column >= 0 && column !== row ? ` In return, ${spaced(classes[column])} gives it ${q[column * k + row].toFixed(3)}.` : "";
  const best = ranked.find(({ j }) => j !== row);
  byId("q-says").textContent = column >= 0
    ? `${spaced(classes[row])} gives ${spaced(classes[column])} ${q[row * k + column].toFixed(3)}.${back}`
    : `${spaced(classes[row])} is most like ${spaced(best.name)}, ${best.share.toFixed(3)}.`;
}

function showMatrices() {
  const select = byId("q-run"), canvas = byId("q-canvas");
  select.replaceChildren(...data.matrices.map(({ id }, index) => make("option", { value: index, text: id })));
  select.addEventListener("change", () => chooseRun(+select.value));
  byId("q-class").addEventListener("change", (event) => chooseRow(+event.target.value));
  const cellAt = (event) => {
    const box = canvas.getBoundingClientRect(), k = matrix.classes.length;
    const cell = (share) => Math.min(k - 1, Math.max(0, Math.floor(share * k)));
    return [cell((event.clientY - box.top) / box.height), cell((event.clientX - box.left) / box.width)];
  };
  canvas.addEventListener("pointermove", (event) => chooseRow(...cellAt(event)));
  canvas.addEventListener("pointerdown", (event) => chooseRow(...cellAt(event)));
  canvas.addEventListener("pointerleave", () => chooseRow(chosen));
  canvas.addEventListener("keydown", (event) => {
    const last = matrix.classes.length - 1;
    const row = { ArrowDown: chosen + 1, ArrowUp: chosen - 1, Home: 0, End: last }[event.key];
    if (row === undefined) return;
    event.preventDefault();
    chooseRow(Math.min(last, Math.max(0, row)));
  });
  paint(byId("q-ramp"), 256, 1, (i) => i / 255);
  chooseRun(0);
}

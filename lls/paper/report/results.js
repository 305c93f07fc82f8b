// Claims, tables and figures.

function showSummary() {
  byId("summary").textContent = `${data.runs.length} finished runs, ${data.matrices.length} learned matrices.`;
}

function showClaims() {
  const verdicts = ["reproduced", "not reproduced", "inconclusive", "not yet run"];
  const count = (verdict) => data.claims.filter((claim) => claim.verdict === verdict).length;
  byId("counts").textContent = "By the paper's protocol: " + verdicts.map((verdict) => `${count(verdict)} ${verdict}`).join(", ") + ".";
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
  if (!data.tables.length) byId("table-list").append(make("p", { class: "note", text: "No table is rendered yet. Render them: make render" }));
}

function showFigures() {
  const drawn = data.figures.filter((figure) => figure.runs.length);
  for (const { title, runs, src, width, height } of drawn) {
    const image = make("img", { src, width, height, alt: title, loading: "lazy" });
    const shown = runs.length > 3 ? `${runs.length} runs` : runs.join(", ");
    byId("figure-list").append(make("figure", {}, image, make("figcaption", { text: `${title.replace("\n", "; ")}. Drawn from ${shown}.` })));
  }
  const empty = data.figures.filter((figure) => !figure.runs.length).map((figure) => figure.title.split(":")[0]);
  const note = empty.length ? `${empty.join(", ")}: no run is finished.` : "";
  if (note || !drawn.length) byId("figure-list").append(make("p", { class: "note", text: note || "No figure is drawn yet. Draw them: make figures" }));
}

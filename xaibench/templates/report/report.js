"use strict";
// The page of a report. All numbers come from the data as they are; the sounds of what masks keep and remove are
// made here, by the transform with which they were made when they were scored. Text is set as text, never as markup.

const report = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const methods = new Map(report.methods.map((one) => [one.name, one]));
const metrics = new Map(report.metrics.map((one) => [one.name, one]));

function make(tag, about = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(about)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "text") node.textContent = value;
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

function drawn(tag, about) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(about)) node.setAttribute(key, value);
  return node;
}

const digits = (value, most = 3) => (value === null || value === undefined ? "–" : Number(value.toPrecision(most)).toString());
// Decimals that show two or three digits of the largest of some values
const decimalsFor = (values) => {
  const most = Math.max(...values.map(Math.abs));
  return most > 0 ? Math.min(4, Math.max(0, 1 - Math.floor(Math.log10(most)))) : 0;
};
const fixed = (value, decimals) => (value === null || value === undefined ? "–" : value.toFixed(decimals).replace(/^-(0\.?0*)$/, "$1"));
const unique = (values) => [...new Set(values)];

// What is shown: the choices at the top

const state = { group: null, board: null, sort: null, descending: true, families: new Set(), kinds: new Set(), words: "" };

function fill(select, options, chosen) {
  select.replaceChildren(...options.map(([value, text]) => make("option", { value, text, selected: value === chosen })));
  select.closest("label").hidden = options.length < 2;
}

function chooseGroup() {
  const datasets = unique(report.groups.map((one) => one.dataset));
  if (!$("dataset").options.length) fill($("dataset"), datasets.map((one) => [one, one]), datasets[0]);
  const here = report.groups.filter((one) => one.dataset === $("dataset").value);
  const protocols = unique(here.map((one) => one.protocol));
  const protocol = protocols.includes($("protocol").value) ? $("protocol").value : protocols[0];
  fill($("protocol"), protocols.map((one) => [one, one]), protocol);
  const same = here.filter((one) => one.protocol === protocol).map((one) => one.name);
  const name = same.includes($("group").value) ? $("group").value : same[0];
  fill($("group"), same.map((one) => [one, one]), name);
  state.group = report.groups.find((one) => one.name === name);
  const known = state.group.classifiers;
  fill($("classifier"), known.map((one) => [one, one]), known.includes($("classifier").value) ? $("classifier").value : firstShown(known));
  chooseBoard();
}

function firstShown(classifiers) {
  const shown = report.shown.find((one) => one.group === state.group.name);
  return shown ? shown.classifier : classifiers[0];
}

function chooseBoard() {
  const own = state.group.boards.filter((one) => one.classifier === $("classifier").value);
  const areas = own.map((one) => String(one.area));
  const area = areas.includes($("area").value) ? $("area").value : areas.includes(String(report.area)) ? String(report.area) : areas[0];
  fill($("area"), areas.map((one) => [one, `${digits(100 * Number(one))}%`]), area);
  state.board = own.find((one) => String(one.area) === area);
  if (!state.board.columns.some((one) => one.key === state.sort)) {
    state.sort = state.board.sort;
    state.descending = risesBest(state.sort);
  }
  $("choices").hidden = [...$("choices").children].every((one) => one.hidden);
  drawFilters();
  drawBoard();
  drawMethods();
  drawProfile();
  drawListening();
}

// The board

const KINDS = { method: "Methods", soft: "Soft masks", control: "Controls" };
const risesBest = (key) => state.board.columns.find((one) => one.key === key).head.includes("↑");
const kindOf = (row) => (row.kind === "method" ? methods.get(row.name)?.family || "other" : row.kind);
const familyOf = (key) => (metrics.has(key) ? metrics.get(key).family : key === "overall" ? "overall" : "cost");

function boxes(field, values, chosen, redraw) {
  const legend = field.querySelector("legend");
  const all = values.map(([value, text]) =>
    make("label", {}, make("input", {
      type: "checkbox", value, checked: chosen.has(value),
      onchange: (event) => { chosen[event.target.checked ? "add" : "delete"](value); redraw(); },
    }), text));
  field.replaceChildren(legend, ...all);
  field.hidden = values.length < 2;
}

let filtersOf = null;
function drawFilters() {
  const families = unique(state.board.columns.map((one) => familyOf(one.key)));
  const kinds = unique(state.board.rows.map(kindOf));
  const now = JSON.stringify([families, kinds]);
  if (now === filtersOf) return;
  filtersOf = now;
  state.families = new Set(families);
  state.kinds = new Set(kinds);
  boxes($("families"), families.map((one) => [one, one]), state.families, drawBoard);
  boxes($("kinds"), kinds.map((one) => [one, (KINDS[one] || one).toLowerCase()]), state.kinds, drawBoard);
}

function sortedRows(rows, place) {
  const value = (row) => row.cells[place].v;
  const missing = (row) => value(row) === undefined || value(row) === null;
  return [...rows].sort((a, b) => {
    if (state.sort === "name") return (state.descending ? -1 : 1) * a.name.localeCompare(b.name);
    if (missing(a) || missing(b)) return missing(a) - missing(b);
    return (state.descending ? -1 : 1) * (value(a) - value(b));
  });
}

function drawBoard() {
  const board = state.board;
  const shown = board.columns.map((one, i) => [one, i]).filter(([one]) => state.families.has(familyOf(one.key)));
  const place = board.columns.findIndex((one) => one.key === state.sort);
  const rows = board.rows.filter((row) => state.kinds.has(kindOf(row))
    && `${row.name} ${row.title}`.toLowerCase().includes(state.words));
  const forest = place >= 0 && shown.some(([, i]) => i === place) ? forestOf(board.rows, place) : null;
  const direction = state.descending ? "descending" : "ascending";
  const head = make("tr", {}, heading("name", "Method", direction));
  for (const [one, i] of shown) {
    head.append(heading(one.key, one.head, direction));
    if (i === place && forest) head.append(make("td", { class: "forest" }, make("span", { class: "sr", text: "Interval" })));
  }
  const table = make("table", { role: "grid", "aria-label": board.caption }, make("thead", {}, head));
  for (const kind of Object.keys(KINDS)) {
    const own = sortedRows(rows.filter((row) => row.kind === kind), place);
    if (!own.length) continue;
    const body = make("tbody", { class: kind });
    for (const row of own) {
      const link = make("a", { href: `#${sectionOf(row.name)}`, text: row.name, onclick: () => openMethod(row.name) });
      explain(link, () => [row.title, ...notesOf(row.marks)].join("\n"));
      const line = make("tr", {}, make("th", { scope: "row" }, link, row.marks,
        kind === "soft" ? make("span", { class: "kind", text: " soft" }) : ""));
      for (const [one, i] of shown) {
        line.append(cellOf(row.cells[i], () => said(row, one, row.cells[i])));
        if (i === place && forest) line.append(make("td", { class: "forest" }, forest(row.cells[i])));
      }
      body.append(line);
    }
    table.append(body);
  }
  $("board-scroll").replaceChildren(table);
  grid(table);
  $("caption").textContent = `${board.caption}. ${rows.length} of ${board.rows.length} rows.`;
  $("notes").replaceChildren(...board.notes.map((text) => make("li", { text })));
}

function heading(key, text, direction) {
  const sorted = state.sort === key;
  const button = make("button", { type: "button", text, onclick: () => {
    state.descending = sorted ? !state.descending : key === "name" ? false : risesBest(key);
    state.sort = key;
    drawBoard();
    document.querySelector(`[data-key="${CSS.escape(key)}"] button`).focus({ preventScroll: true });
  } });
  const one = metrics.get(key);
  if (key === "overall") explain(button, () => OVERALL);
  if (one) explain(button, () => [`${one.name.replaceAll("_", " ")}: ${one.description}`, one.formula, ...notesOf(text)].filter(Boolean).join("\n"));
  return make("th", { scope: "col", "data-key": key, "aria-sort": sorted ? direction : null }, button);
}

function cellOf(cell, words) {
  const text = cell.b ? make("b", { text: cell.t }) : make("span", { text: cell.t });
  const node = make("td", {}, text, make("span", { class: "tail", text: cell.s }));
  if (cell.t) explain(node, words);
  return node;
}

const MARKED = /\(§\)|[†‡°¶§]/g;
function said(row, column, cell) {
  const lines = [`${row.title}${row.kind === "soft" ? ", soft mask" : ""}, ${column.head}`];
  if (cell.n !== undefined) {
    const many = `${cell.n} clip${cell.n === 1 ? "" : "s"}`;
    lines.push(`Mean ${digits(cell.v, 4)}${cell.lo === null ? "" : `, 95% interval ${digits(cell.lo)} to ${digits(cell.hi)}`}, ${many}${cell.u ? `, undefined on ${cell.u}` : ""}`);
    if (cell.r) lines.push(`Place ${placeOf(cell)}${cell.tie ? `; not told apart from ${cell.tie.replaceAll(";", ", ")}` : ""}`);
    if (cell.f !== null && cell.f !== undefined) lines.push(`First of the methods in ${shareOf(cell.f)} of resamples of the recordings`);
    if (cell.rnd !== null && row.name !== "random") lines.push(cell.rnd ? "Significantly better than random" : "Not significantly better than random");
    if (cell.by) lines.push(`Controls that are significantly better: ${cell.by.replaceAll(";", ", ")}`);
    if (cell.b) lines.push("Bold: best, or not significantly different from it");
  }
  if (cell.of) lines.push(`Mean place over ${cell.of.replaceAll(";", ", ")}, 95% interval ${digits(cell.lo)} to ${digits(cell.hi)}`, OVERALL);
  return [...lines, ...notesOf(cell.s + row.marks + column.head)].join("\n");
}

const OVERALL = "One order over families of metrics: on each recording methods are ranked by each metric, within a family by the mean of these ranks; the mean over families is averaged over recordings. A family counts once, however many metrics it has.";
const shareOf = (share) => (share > 0 && share < 0.01 ? "less than 1%" : share < 1 && share > 0.99 ? "more than 99%" : `${Math.round(100 * share)}%`);
const placeOf = (cell) => (cell.rl === cell.rh ? `${cell.r}` : `${cell.r} (${cell.rl} to ${cell.rh} are left open, 95% for all at once)`);

// What the marks in a text mean; a mark in parentheses is another one
function notesOf(text) {
  return unique(text.match(MARKED) || []).map((mark) => state.board.notes.find((one) => one.startsWith(`${mark}:`))).filter(Boolean);
}

function forestOf(rows, place) {
  const ends = rows.flatMap((row) => [row.cells[place].lo, row.cells[place].hi, row.cells[place].v])
    .filter((value) => value !== null && value !== undefined);
  if (!rows.some((row) => row.cells[place].lo !== null && row.cells[place].lo !== undefined)) return null;
  const low = Math.min(...ends), high = Math.max(...ends), at = (value) => 2 + (124 * (value - low)) / (high - low || 1);
  const random = rows.find((row) => row.name === "random" && row.kind === "control");
  return (cell) => {
    const svg = drawn("svg", { viewBox: "0 0 128 16", "aria-hidden": "true", preserveAspectRatio: "none" });
    if (random) svg.append(drawn("line", { class: "zero", x1: at(random.cells[place].v), x2: at(random.cells[place].v), y1: -4, y2: 20 }));
    if (cell.lo !== null && cell.lo !== undefined) svg.append(drawn("line", { x1: at(cell.lo), x2: at(cell.hi), y1: 8, y2: 8 }));
    if (cell.v !== null && cell.v !== undefined) svg.append(drawn("circle", { cx: at(cell.v), cy: 8, r: 3 }));
    return svg;
  };
}

// One stop for the tabulator key, arrows inside
function grid(table) {
  const rows = [...table.querySelectorAll("tbody tr")].map((row) => [...row.querySelectorAll("td[tabindex]")]);
  const first = rows.flat()[0];
  if (first) first.tabIndex = 0;
  table.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    const y = rows.findIndex((row) => row.includes(event.target));
    if (!step || y < 0) return;
    const x = rows[y].indexOf(event.target);
    const next = rows[y + step[0]] && rows[y + step[0]][x + step[1]];
    event.preventDefault();
    if (!next) return;
    event.target.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
}

// Explanations on hover and focus; Escape closes them

function explain(node, words) {
  if (node.tagName === "TD") node.tabIndex = -1;
  const show = () => showTip(node, words());
  node.addEventListener("mouseenter", show);
  node.addEventListener("focus", show);
  node.addEventListener("mouseleave", hideTip);
  node.addEventListener("blur", hideTip);
}

function showTip(node, text) {
  const tip = $("tip"), box = node.getBoundingClientRect();
  document.querySelectorAll("[aria-describedby=tip]").forEach((one) => one.removeAttribute("aria-describedby"));
  tip.textContent = text;
  tip.hidden = false;
  node.setAttribute("aria-describedby", "tip");
  const width = tip.offsetWidth, height = tip.offsetHeight;
  const left = Math.min(Math.max(8, box.left), document.documentElement.clientWidth - width - 8);
  const above = box.bottom + height + 8 > window.innerHeight;
  tip.style.left = `${left + window.scrollX}px`;
  tip.style.top = `${(above ? box.top - height - 6 : box.bottom + 6) + window.scrollY}px`;
}

function hideTip() {
  $("tip").hidden = true;
}
document.addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });

// Methods

const sectionOf = (name) => `method-${report.methods.findIndex((one) => one.name === name)}`;
function openMethod(name) {
  const section = $(sectionOf(name));
  if (section) section.open = true;
}

function drawMethods() {
  const board = state.board, label = board.classifier;
  const cost = state.group.costs[label] || {}, extremes = state.group.extremes[label];
  for (const section of document.querySelectorAll("details.method")) {
    const name = section.dataset.method, live = section.querySelector(".live");
    const rows = board.rows.filter((row) => row.name === name);
    if (!rows.length) {
      live.replaceChildren(make("p", { class: "hint", text: `It was not scored on ${label} here.` }));
      continue;
    }
    const parts = [];
    const kinds = rows.map((row) => (row.kind === "soft" ? "soft mask" : `top ${digits(100 * board.area)}%`));
    const table = make("table", { "aria-label": `Scores of ${name} on ${label}` },
      make("thead", {}, make("tr", {}, make("th", { scope: "col", text: label }),
        ...kinds.map((text) => make("th", { scope: "col", text })), ...["Place", "left open", "first"].map((text) => make("th", { scope: "col", text })))),
      make("tbody", {}, ...board.columns.map((one, i) => make("tr", {}, make("th", { scope: "row", text: one.head }),
        ...rows.map((row) => make("td", {}, make(row.cells[i].b ? "b" : "span", { text: row.cells[i].t }), make("span", { class: "tail", text: row.cells[i].s }))),
        ...placesOf(rows[0].cells[i]).map((text) => make("td", { text }))))));
    parts.push(make("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": `Scores of ${name}` }, table));
    const aside = make("div");
    const spent = cost[name];
    if (spent) {
      aside.append(make("h4", { text: "Cost" }), make("p", { class: "hint", text:
        `${digits(spent.seconds, 2)} s a clip${spent.megabytes ? `, ${digits(spent.megabytes, 2)} MB` : ""}; maps of ${spent.resolution} (frequency x time)${spent.training ? `; fitted in ${spent.training}` : ""}` }));
    }
    const own = extremes.methods[name], decimals = own ? 1 + decimalsFor([...own.best, ...own.worst].map((one) => one[1])) : 0;
    for (const which of own ? ["best", "worst"] : []) {
      if (!own[which].length) continue;
      aside.append(make("h4", { text: `Clips where it is ${which}, by ${extremes.title} at ${digits(100 * report.area)}%` }),
        make("ol", {}, ...own[which].map(([clip, value]) => make("li", {}, clipLink(clip, name), ` ${fixed(value, decimals)}`))));
    }
    parts.push(aside);
    live.replaceChildren(...parts);
  }
}

// The place, the places that the tests leave open, and the share of resamples in which the method is first
function placesOf(cell) {
  if (!cell.r) return ["", "", ""];
  return [cell.r, cell.rl === cell.rh ? "" : `${cell.rl}–${cell.rh}`, cell.f === null ? "" : shareOf(cell.f)];
}

function clipLink(clip, method) {
  const index = listening ? listening.clips.findIndex((one) => one.id === clip) : -1;
  if (index < 0) return document.createTextNode(clip);
  return make("button", { type: "button", text: clip, onclick: () => {
    showClip(index, method);
    $("clips").scrollIntoView();
    $("play").focus({ preventScroll: true });
  } });
}

// Profile: means within kinds of clips

const COUNTED = { class: "class", fold: "fold", decision: "clips classified right and wrong" };
function drawProfile() {
  const profiles = state.group.profiles[state.board.classifier].filter((one) => Object.keys(one.metrics).length);
  $("profile").hidden = !profiles.length;
  if (!profiles.length) return;
  const known = profiles.map((one) => one.name), by = known.includes($("profile-by").value) ? $("profile-by").value : known[0];
  fill($("profile-by"), known.map((one) => [one, COUNTED[one]]), by);
  const own = profiles.find((one) => one.name === by), names = Object.keys(own.metrics);
  const chosen = names.includes($("profile-metric").value) ? $("profile-metric").value : names[0];
  fill($("profile-metric"), names.map((one) => [one, `${metrics.get(one).heading} (${one.replaceAll("_", " ")})`]), chosen);
  const table = own.metrics[chosen], kinds = own.kinds.map((text) => text.replaceAll("_", " "));
  const order = state.board.rows.filter((row) => row.kind !== "soft" && table[row.name]);
  const means = Object.values(table).flat().map((one) => one[0]).filter((one) => one !== null);
  const low = Math.min(...means), high = Math.max(...means), rises = metrics.get(chosen).heading.includes("↑");
  const decimals = decimalsFor(means);
  const body = (kind) => make("tbody", { class: kind }, ...order.filter((row) => row.kind === kind).map((row) =>
    make("tr", {}, make("th", { scope: "row", text: row.name }), ...table[row.name].map(([mean, from, to, n], i) => {
      const cell = make("td", { class: "shade", text: fixed(mean, decimals) });
      const share = mean === null || high === low ? 0 : (mean - low) / (high - low);
      shade(cell, rises ? share : 1 - share);
      explain(cell, () => `${row.title}, ${kinds[i]}\n${mean === null ? "undefined" : `Mean ${digits(mean, 4)}`}${from === null ? "" : `, 95% interval ${digits(from)} to ${digits(to)}`}, ${n} clip${n === 1 ? "" : "s"}`);
      return cell;
    }))));
  const node = make("table", { role: "grid", "aria-label": `${chosen.replaceAll("_", " ")} by ${COUNTED[by]}` },
    make("thead", {}, make("tr", {}, make("th", { scope: "col", text: "Method" }), ...kinds.map((text) => make("th", { scope: "col", text })))),
    ...["method", "control"].map(body).filter((one) => one.children.length));
  $("profile-scroll").replaceChildren(node);
  grid(node);
}

function shade(cell, share, tint = "--tint") {
  cell.style.background = `color-mix(in srgb, var(${tint}) ${Math.round(26 * Math.min(1, Math.max(0, share)))}%, var(--paper))`;
}

// Agreement of metrics, and of methods

function matrix(place, label, names, titles, values, words) {
  const table = make("table", { role: "grid", "aria-label": label }, make("thead", {}, make("tr", {}, make("th", { scope: "col", text: "" }),
    ...titles.map((text) => make("th", { scope: "col", text })))),
    make("tbody", {}, ...names.map((name, i) => make("tr", {}, make("th", { scope: "row", text: name }), ...values[i].map((value, j) => {
      const cell = make("td", { class: "shade", text: i === j ? "" : fixed(value, 2) });
      if (i !== j && value !== null) shade(cell, Math.abs(value), value < 0 ? "--against" : "--tint");
      if (i !== j) explain(cell, () => words(i, j, value));
      return cell;
    })))));
  place.replaceChildren(table);
  grid(table);
}

function drawAgreement() {
  const ours = state.group.agreement, theirs = listening?.agreement;
  const ofMethods = theirs && theirs.methods.length > 1;
  $("metric-agreement").hidden = !ours.metrics.length;
  $("method-agreement").hidden = !ofMethods;
  $("agreement").hidden = !ours.metrics.length && !ofMethods;
  const heading = (name) => metrics.get(name).heading.replace(/ [↑↓]/, "");
  const short = ours.metrics.map(heading);
  if (short.length) matrix($("metric-agreement-scroll"), "Agreement of metrics", short, short, ours.values,
    (i, j, value) => `${short[i]} and ${short[j]}: Kendall's tau ${fixed(value, 2)}`);
  if (!ofMethods) return;
  const which = $("method-agreement-by").value, words = { correlation: "rank correlation of maps", overlap: "overlap (IoU) of masks" };
  $("method-agreement-hint").textContent = `Mean over the ${theirs.clips} clips of ${listening.classifier} that are shown above; they were chosen by what came out, so this is no estimate for all clips. Masks keep the top ${digits(100 * listening.about.area)}% of the bins.`;
  matrix($("method-agreement-scroll"), `Agreement of methods: ${words[which]}`, theirs.methods, theirs.methods, theirs[which],
    (i, j, value) => `${theirs.methods[i]} and ${theirs.methods[j]}: ${words[which]} ${fixed(value, 2)}`);
}

// Sound: the transform of the scoring

function fourier(size) {
  if (size & (size - 1)) return bluestein(size);
  const cos = new Float64Array(size / 2), sin = new Float64Array(size / 2), reversed = new Uint32Array(size);
  for (let i = 0; i < size / 2; i++) {
    cos[i] = Math.cos((2 * Math.PI * i) / size);
    sin[i] = Math.sin((2 * Math.PI * i) / size);
  }
  const bits = Math.log2(size);
  for (let i = 0; i < size; i++) reversed[i] = bits ? (reversed[i >> 1] >> 1) | ((i & 1) << (bits - 1)) : 0;
  return (re, im) => {
    for (let i = 0; i < size; i++) {
      const j = reversed[i];
      if (j > i) { [re[i], re[j]] = [re[j], re[i]]; [im[i], im[j]] = [im[j], im[i]]; }
    }
    for (let half = 1, step = size / 2; half < size; half *= 2, step /= 2) {
      for (let start = 0; start < size; start += 2 * half) {
        for (let k = 0, w = 0; k < half; k++, w += step) {
          const a = start + k, b = a + half;
          const x = re[b] * cos[w] + im[b] * sin[w], y = im[b] * cos[w] - re[b] * sin[w];
          re[b] = re[a] - x; im[b] = im[a] - y; re[a] += x; im[a] += y;
        }
      }
    }
  };
}

// A transform of any length by three of a power of two (Bluestein 1970)
function bluestein(size) {
  let padded = 1;
  while (padded < 2 * size - 1) padded *= 2;
  const run = fourier(padded), cos = new Float64Array(size), sin = new Float64Array(size);
  const chirpRe = new Float64Array(padded), chirpIm = new Float64Array(padded);
  for (let i = 0; i < size; i++) {
    const angle = (Math.PI * ((i * i) % (2 * size))) / size;
    cos[i] = Math.cos(angle);
    sin[i] = Math.sin(angle);
    chirpRe[i] = chirpRe[(padded - i) % padded] = cos[i];
    chirpIm[i] = chirpIm[(padded - i) % padded] = sin[i];
  }
  run(chirpRe, chirpIm);
  return (re, im) => {
    const x = new Float64Array(padded), y = new Float64Array(padded);
    for (let i = 0; i < size; i++) {
      x[i] = re[i] * cos[i] + im[i] * sin[i];
      y[i] = im[i] * cos[i] - re[i] * sin[i];
    }
    run(x, y);
    for (let i = 0; i < padded; i++) {
      const a = x[i] * chirpRe[i] - y[i] * chirpIm[i];
      y[i] = -(x[i] * chirpIm[i] + y[i] * chirpRe[i]);
      x[i] = a;
    }
    run(x, y);
    for (let i = 0; i < size; i++) {
      const a = x[i] / padded, b = -y[i] / padded;
      re[i] = a * cos[i] + b * sin[i];
      im[i] = b * cos[i] - a * sin[i];
    }
  };
}

class Transform {
  constructor({ nfft, window, hop }) {
    Object.assign(this, { nfft, hop, run: fourier(nfft), bins: (nfft >> 1) + 1 });
    this.window = new Float64Array(nfft);
    const left = (nfft - window) >> 1;
    for (let i = 0; i < window; i++) this.window[left + i] = 0.54 - 0.46 * Math.cos((2 * Math.PI * i) / window);
  }

  frames(samples) { return Math.floor(samples / this.hop) + 1; }

  analyse(sound) {
    const { nfft, bins, hop } = this, frames = this.frames(sound.length), half = nfft >> 1;
    const found = { re: new Float32Array(frames * bins), im: new Float32Array(frames * bins), frames, samples: sound.length };
    const re = new Float64Array(nfft), im = new Float64Array(nfft);
    for (let t = 0; t < frames; t++) {
      for (let i = 0; i < nfft; i++) re[i] = (sound[t * hop + i - half] || 0) * this.window[i];
      im.fill(0);
      this.run(re, im);
      found.re.set(re.subarray(0, bins), t * bins);
      found.im.set(im.subarray(0, bins), t * bins);
    }
    return found;
  }

  // What a mask (bins x frames) keeps, as sound: the nearest one in the sense of least squares
  masked(picture, mask) {
    const { nfft, bins, hop } = this, half = nfft >> 1, length = nfft + hop * (picture.frames - 1);
    const sum = new Float64Array(length), weight = new Float64Array(length);
    const re = new Float64Array(nfft), im = new Float64Array(nfft);
    for (let t = 0; t < picture.frames; t++) {
      for (let k = 0; k < bins; k++) {
        const share = mask[k * picture.frames + t], at = t * bins + k;
        re[k] = share * picture.re[at];
        im[k] = -share * picture.im[at]; // conjugated: the forward transform then is the inverse one
        if (k > 0 && k < nfft - k) { re[nfft - k] = re[k]; im[nfft - k] = -im[k]; }
      }
      this.run(re, im);
      for (let i = 0; i < nfft; i++) {
        sum[t * hop + i] += (re[i] / nfft) * this.window[i];
        weight[t * hop + i] += this.window[i] ** 2;
      }
    }
    const sound = new Float32Array(picture.samples);
    for (let i = 0; i < sound.length; i++) sound[i] = weight[i + half] > 1e-11 ? sum[i + half] / weight[i + half] : 0;
    return sound;
  }
}

const bytes = (text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
async function unpacked(text) {
  const stream = new Blob([bytes(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function decoded({ flac, scale, samples }, rate) {
  const buffer = await new OfflineAudioContext(1, samples, rate).decodeAudioData(bytes(flac).buffer);
  return buffer.getChannelData(0).map((value) => value * scale);
}

// Clips: everything that is made of one when it is looked at

let listening = null, shownIndex = 0, current = null, transform = null;
const waiting = new Map();

// A clip of a folder brings its sound by calling this.
function loaded(place, index, heavy) {
  Object.assign(report.shown[place].clips[index], heavy);
  waiting.get(`${place}-${index}`)?.();
}

async function fetched(clip) {
  if (clip.sound) return;
  const place = report.shown.indexOf(listening), index = listening.clips.indexOf(clip);
  await new Promise((done, failed) => {
    waiting.set(`${place}-${index}`, done);
    document.head.append(make("script", { src: clip.file, onerror: () => failed(new Error(`${clip.file} is missing`)) }));
  });
}

async function opened(clip) {
  await fetched(clip);
  const { rate } = listening.about;
  const sound = await decoded(clip.sound, rate), picture = transform.analyse(sound);
  const fill = clip.fill ? await decoded(clip.fill, rate) : null;
  return { clip, sound, picture, fill, fillPicture: fill ? transform.analyse(fill) : null, masks: new Map(), parts: new Map() };
}

async function maskOf(open, name) {
  if (!open.masks.has(name)) {
    const packed = open.clip.methods[name].mask, count = transform.bins * open.picture.frames;
    const mask = new Float32Array(count);
    if (packed === null) mask.fill(listening.about.area);
    else {
      const bits = await unpacked(packed);
      for (let i = 0; i < count; i++) mask[i] = (bits[i >> 3] >> (7 - (i & 7))) & 1;
    }
    open.masks.set(name, mask);
  }
  return open.masks.get(name);
}

// The sounds of what a method's mask keeps and removes; both add up to the clip, or to clip and fill
async function partsOf(open, name) {
  if (!open.parts.has(name)) {
    const mask = await maskOf(open, name), own = transform.masked(open.picture, mask);
    const rest = open.fill ? transform.masked(open.fillPicture, mask) : null;
    const kept = own.map((value, i) => value + (rest ? open.fill[i] - rest[i] : 0));
    const removed = own.map((value, i) => open.sound[i] - value + (rest ? rest[i] : 0));
    open.parts.set(name, { original: open.sound, kept, removed });
  }
  return open.parts.get(name);
}

// Player: the three sounds run together, and one of them is heard, so that switching leaves no gap and no jump

const PARTS = ["original", "kept", "removed"], FADE = 0.008;
const player = {
  context: null, voices: [], started: 0, offset: 0, playing: false, part: "original", name: null, serial: 0,

  get duration() { return current ? current.sound.length / listening.about.rate : 0; },

  position() {
    if (!this.playing) return this.offset;
    const passed = Math.max(0, this.context.currentTime - this.started) + this.offset;
    return $("loop").checked ? passed % this.duration : Math.min(passed, this.duration);
  },

  gainOf(part) {
    if (!$("level").checked) return 1;
    const { clip } = current;
    return part === "original" ? clip.gain : clip.methods[this.name].gains[PARTS.indexOf(part) - 1] ?? 1;
  },

  async play() {
    const serial = ++this.serial;
    this.context ??= new AudioContext();
    await this.context.resume();
    const heard = listening.about.heard ? await partsOf(current, this.name) : { original: current.sound };
    if (serial !== this.serial) return;
    const at = this.context.currentTime + 0.02;
    const offset = this.playing ? (this.position() + 0.02) % this.duration : this.offset >= this.duration - 0.01 ? 0 : this.offset;
    this.silence(at);
    this.voices = Object.entries(heard).map(([part, samples]) => {
      const buffer = this.context.createBuffer(1, samples.length, listening.about.rate);
      buffer.copyToChannel(samples, 0);
      const source = new AudioBufferSourceNode(this.context, { buffer, loop: $("loop").checked });
      const gain = new GainNode(this.context, { gain: 0 });
      source.connect(gain).connect(this.context.destination);
      source.start(at, offset);
      gain.gain.setTargetAtTime(part === this.part ? this.gainOf(part) : 0, at, FADE);
      return { part, source, gain };
    });
    const voice = this.voices[0];
    voice.source.onended = () => { if (this.voices[0] === voice && this.playing) this.stop(0); };
    Object.assign(this, { started: at, offset, playing: true });
    buttons();
    requestAnimationFrame(tick);
  },

  silence(at) {
    for (const { source, gain } of this.voices) {
      gain.gain.setTargetAtTime(0, at, FADE);
      source.stop(at + 8 * FADE);
    }
    this.voices = [];
  },

  stop(offset = this.position()) {
    this.serial++;
    if (this.playing) this.silence(this.context.currentTime);
    Object.assign(this, { playing: false, offset });
    buttons();
    drawHeads();
  },

  seek(seconds) {
    const offset = Math.min(Math.max(0, seconds), this.duration);
    if (this.playing) { this.silence(this.context.currentTime); this.playing = false; this.offset = offset; this.play(); }
    else { this.offset = offset; drawHeads(); }
  },

  hear(part, name = this.name) {
    const other = name !== this.name;
    Object.assign(this, { part, name });
    if (this.playing && other) this.play();
    else for (const one of this.voices) one.gain.gain.setTargetAtTime(one.part === part ? this.gainOf(part) : 0, this.context.currentTime, FADE);
    buttons();
  },
};

function tick() {
  if (!player.playing) return;
  drawHeads();
  requestAnimationFrame(tick);
}

function drawHeads() {
  const seconds = player.position(), share = player.duration ? seconds / player.duration : 0;
  document.querySelectorAll(".head").forEach((one) => { one.style.left = `${100 * share}%`; });
  $("position").value = seconds;
  $("position").setAttribute("aria-valuetext", `${seconds.toFixed(1)} of ${player.duration.toFixed(1)} seconds`);
  $("time").textContent = `${seconds.toFixed(1)} s`;
}

function buttons() {
  $("play").textContent = player.playing ? "Pause" : "Play";
  document.querySelectorAll("#parts input").forEach((one) => { one.checked = one.value === player.part; });
  $("method").value = player.name;
  document.querySelectorAll(".card").forEach((card) => {
    const mine = card.dataset.method === player.name;
    card.classList.toggle("chosen", mine);
    card.querySelectorAll("button[data-part]").forEach((one) =>
      one.setAttribute("aria-pressed", String(mine && one.dataset.part === player.part)));
  });
}

function drawListening() {
  const before = listening;
  listening = report.shown.find((one) => one.group === state.group.name && one.classifier === state.board.classifier && one.clips.length) || null;
  $("listening").hidden = !listening;
  $("no-clips").hidden = Boolean(listening) || !report.shown.some((one) => one.clips.length);
  $("no-clips").textContent = `This report has clips of ${report.shown.map((one) => `${one.classifier} on ${one.group}`).join(", ")}; the option --classifier of xaibench report chooses others.`;
  drawAgreement();
  if (listening === before) return;
  if (player.playing) player.stop(0);
  if (!listening) return drawMethods();
  transform = new Transform(listening.about);
  const extremes = state.group.extremes[listening.classifier];
  $("choice").textContent = `${listening.clips.length} clips: explained best, worst and most differently, by ${extremes.title} of the methods that are no controls (mean and standard deviation), misclassified ones, and a draw at random from all. Masks keep or remove the top ${digits(100 * listening.about.area)}% of the bins.`;
  const groups = report.outcomes.map((why) => make("optgroup", { label: why[0].toUpperCase() + why.slice(1) },
    ...listening.clips.map((clip, i) => [clip, i]).filter(([clip]) => clip.why.includes(why))
      .map(([clip, i]) => make("option", { value: i, text: `${clip.id} (${labelsOf(clip)})` }))));
  $("clip").replaceChildren(...groups.filter((one) => one.children.length));
  document.querySelectorAll('#parts input:not([value="original"]), #views input:not([value="map"])').forEach((one) => {
    one.disabled = one.name === "part" && !listening.about.heard;
  });
  player.part = "original";
  drawMethods();
  showClip(0);
}

const linked = (text) => text.split(/(https?:\/\/[^\s()<>"']+[^\s()<>"'.,;:])/).map((piece, i) =>
  (i % 2 ? make("a", { href: piece, rel: "noreferrer", text: piece }) : piece));
const labelsOf = (clip) => clip.labels.join(", ").replaceAll("_", " ");
let showing = 0;
async function showClip(index, method) {
  const serial = ++showing, clip = listening.clips[index];
  shownIndex = index;
  if (player.playing) player.stop(0);
  if (!$("clip").selectedOptions[0] || Number($("clip").value) !== index) $("clip").value = String(index);
  const right = clip.labels.includes(clip.predicted);
  $("clip-title").textContent = clip.id;
  $("clip-about").replaceChildren(
    `Label ${labelsOf(clip)}; ${listening.classifier} says ${clip.predicted.replaceAll("_", " ")}${right ? "" : ", which it is not"}. `,
    `Explained: ${clip.explained.replaceAll("_", " ")}, p = ${fixed(clip.p, 3)}. `, ...clip.why.flatMap((one) => [make("span", { class: "tag", text: one }), " "]),
    clip.credit ? make("span", { class: "hint" }, "Sound ", ...linked(clip.credit)) : "");
  let open;
  try {
    open = await opened(clip);
  } catch (error) {
    $("sound-note").textContent = `The sound cannot be read: ${error.message}`;
    return;
  }
  if (serial !== showing) return;
  current = open;
  const names = state.board.rows.map((row) => row.name).filter((name, i, all) => clip.methods[name] && all.indexOf(name) === i);
  names.push(...Object.keys(clip.methods).filter((name) => !names.includes(name)));
  player.name = names.includes(method || player.name) ? method || player.name : names[0];
  player.offset = 0;
  $("method").replaceChildren(...names.map((value) => make("option", { value, text: value })));
  $("position").max = player.duration;
  $("sound-note").textContent = listening.about.heard
    ? "Kept and removed are the sounds that were scored, as the classifier heard them. With equal loudness (ITU-R BS.1770) only the level is changed."
    : "This protocol feeds the classifier masked pictures: there is no sound of what a mask keeps.";
  $("spectrogram").replaceChildren(...pictureOf(`Spectrogram of ${clip.id}`, true, true));
  drawSpectrogram($("spectrogram").querySelector("canvas"), null);
  $("cards").replaceChildren(...names.map(cardOf));
  buttons();
  drawHeads();
  for (const name of names) await drawCard(name, serial);
}

function pictureOf(label, axes) {
  const canvas = make("canvas", { role: "img", "aria-label": label });
  const frame = make("div", { class: "frame", onclick: (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    player.seek((player.duration * (event.clientX - box.left)) / box.width);
  } }, canvas, make("div", { class: "head" }));
  const parts = [frame];
  const top = listening.about.rate / 2000;
  for (const share of axes ? [0, 0.5, 1] : []) {
    const tick = make("span", { class: "axis y", "aria-hidden": "true", text: digits(share * top) });
    tick.style.top = share === 1 ? "0" : `calc((100% - 1.1rem) * ${1 - share} - ${share ? "0.35rem" : "0.6875rem"})`;
    parts.push(tick);
  }
  const whole = Math.floor(player.duration);
  for (let second = 0; axes && second <= whole; second += Math.max(1, Math.round(whole / 5))) {
    const tick = make("span", { class: "axis x", "aria-hidden": "true", text: `${second}` });
    tick.style.left = `calc(2rem + (100% - 2rem) * ${second / player.duration} - ${second ? "0.4em" : "0em"})`;
    parts.push(tick);
  }
  return parts;
}

function cardOf(name) {
  const own = current.clip.methods[name], about = methods.get(name);
  const title = about && about.title !== name ? `${about.title} ` : "";
  const listen = (part) => make("button", { type: "button", "data-part": part, "aria-label": `${part} by ${name}`,
    text: part[0].toUpperCase() + part.slice(1), disabled: !listening.about.heard, onclick: () => {
      const same = player.playing && player.name === name && player.part === part;
      if (same) return player.stop();
      player.hear(part, name);
      if (!player.playing) player.play();
    } });
  return make("article", { class: "card", "data-method": name, "aria-label": name },
    make("h4", {}, title, make("code", { text: name }), about && about.control ? make("span", { class: "tag", text: "control" }) : ""),
    make("p", { text: `p of the kept part ${fixed(own.p[0], 3)}, of the removed ${fixed(own.p[1], 3)}` }),
    own.text ? make("p", { text: own.text }) : "",
    make("div", { class: "picture" }, ...pictureOf(`Map of ${name}`, false)),
    make("div", { class: "bar" }, listen("kept"), listen("removed")));
}

async function drawCard(name, serial) {
  const card = [...$("cards").children].find((one) => one.dataset.method === name);
  const view = document.querySelector("#views input:checked").value, canvas = card.querySelector("canvas");
  const words = { map: `Map of ${name}: dark is unimportant, bright important`, kept: `Spectrogram of the bins that ${name} keeps`, removed: `Spectrogram of the bins that ${name} removes` };
  canvas.setAttribute("aria-label", words[view]);
  const open = current;
  if (view === "map") {
    const { rows, columns, levels } = open.clip.methods[name].map, values = await unpacked(levels);
    if (serial === showing) paint(canvas, columns, rows, (x, y) => colour(CIVIDIS, values[(rows - 1 - y) * columns + x] / 15));
  } else {
    const mask = await maskOf(open, name);
    if (serial === showing) drawSpectrogram(canvas, (at) => (view === "kept" ? mask[at] : 1 - mask[at]));
  }
}

function drawSpectrogram(canvas, share) {
  const { picture } = current, { bins } = transform, frames = picture.frames;
  const power = new Float32Array(frames * bins);
  let most = 1e-20;
  for (let i = 0; i < power.length; i++) {
    power[i] = picture.re[i] ** 2 + picture.im[i] ** 2;
    if (power[i] > most) most = power[i];
  }
  paint(canvas, frames, bins, (x, y) => {
    const bin = bins - 1 - y, part = share ? share(bin * frames + x) : 1;
    if (part <= 0) return 0;
    const level = 10 * Math.log10((power[x * bins + bin] * part * part) / most + 1e-12);
    return colour(MAGMA, 1 + level / 80);
  });
}

// Colours from dark to bright, interpolated between a few of matplotlib's
const MAGMA = scale("000004 140e36 3b0f70 641a80 8c2981 b73779 de4968 f7705c fe9f6d fecf92 fcfdbf");
const CIVIDIS = scale("00224e 083370 35456c 4f576c 666970 7d7c78 948e77 aea371 c8b866 e5cf52 fee838");

function scale(text) {
  const stops = text.split(" ").map((one) => [0, 2, 4].map((i) => parseInt(one.slice(i, i + 2), 16)));
  return Uint32Array.from({ length: 256 }, (_, i) => {
    const place = (i / 255) * (stops.length - 1), low = Math.min(Math.floor(place), stops.length - 2), part = place - low;
    const [r, g, b] = stops[low].map((value, k) => Math.round(value + part * (stops[low + 1][k] - value)));
    return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
  });
}
const colour = (stops, share) => stops[Math.round(255 * Math.min(1, Math.max(0, share)))];

function paint(canvas, width, height, at) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d"), image = context.createImageData(width, height), pixels = new Uint32Array(image.data.buffer);
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) pixels[y * width + x] = at(x, y);
  context.putImageData(image, 0, 0);
}

// What the keys and controls do

$("dataset").addEventListener("change", chooseGroup);
$("protocol").addEventListener("change", chooseGroup);
$("group").addEventListener("change", chooseGroup);
$("classifier").addEventListener("change", chooseBoard);
$("area").addEventListener("change", chooseBoard);
["profile-by", "profile-metric"].forEach((name) => $(name).addEventListener("change", drawProfile));
$("method-agreement-by").addEventListener("change", drawAgreement);
$("search").addEventListener("input", () => { state.words = $("search").value.trim().toLowerCase(); drawBoard(); });
$("clip").addEventListener("change", () => showClip(Number($("clip").value)));
$("previous").addEventListener("click", () => showClip((shownIndex + listening.clips.length - 1) % listening.clips.length));
$("next").addEventListener("click", () => showClip((shownIndex + 1) % listening.clips.length));
$("play").addEventListener("click", () => (player.playing ? player.stop() : player.play()));
$("position").addEventListener("input", () => player.seek(Number($("position").value)));
$("parts").addEventListener("change", (event) => player.hear(event.target.value));
$("method").addEventListener("change", () => player.hear(player.part, $("method").value));
$("level").addEventListener("change", () => player.hear(player.part));
$("loop").addEventListener("change", () => { if (player.playing) player.play(); });
$("views").addEventListener("change", async () => {
  const serial = showing;
  for (const card of [...$("cards").children]) await drawCard(card.dataset.method, serial);
});

const THEMES = { "": "as the system", light: "light", dark: "dark" };
function kept(value) {
  try { // some browsers keep nothing for files
    if (value === undefined) return localStorage.getItem("xaibench-theme");
    localStorage.setItem("xaibench-theme", value);
  } catch { /* the theme is then chosen again */ }
  return null;
}
function setTheme(name) {
  document.documentElement.dataset.theme = name;
  $("theme").textContent = `Theme: ${THEMES[name]}`;
}
$("theme").addEventListener("click", () => {
  const names = Object.keys(THEMES), next = names[(names.indexOf(document.documentElement.dataset.theme || "") + 1) % names.length];
  setTheme(next);
  kept(next);
});
setTheme(kept() in THEMES ? kept() : "");
const below = () => document.documentElement.style.setProperty("--below", `${$("choices").hidden ? 0 : $("choices").offsetHeight}px`);
window.addEventListener("resize", below);

chooseGroup();
below();
if (location.hash.startsWith("#method-")) { const section = document.querySelector(location.hash); if (section) section.open = true; }

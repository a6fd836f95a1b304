// The plate page: every drop at a glance, moved through and scored by keys; the chosen drop large beside it.

import { artCard, peopleCard, scoreButtons } from "./card.js";
import { api, change, classByKey, classByName, classes, isBlind, keep, kept, keys, mayScore, notice, setQueue, tell } from "./core.js";
import { $, fill, day, h, imageUrl, number, picture, plusDays } from "./dom.js";
import { enterScore, onScores, undoScore } from "./scores.js";
import { looked } from "./seen.js";
import { sheetLoader } from "./sheets.js";
import { makeTile, newest, ownThumbnail, paintTile } from "./tiles.js";

const { barcode, number: inspection } = document.body.dataset;
const grid = $("plate");
const base = `/api/plates/${encodeURIComponent(barcode)}/${inspection}`;
/** Width of a drop's thumbnail; 0: as wide as the plate fits. */
const SIZES = [0, 72, 120, 200];

let plate = null;
let byId = new Map();
let tiles = new Map();
let visible = [];
let chosen = null;
let anchor = null;
let selected = new Set();
let groups = new Set();
let advance = kept("advance", true);
let sheets = null;
/** Counts the questions: the answers to two come in any order. */
let asked = 0;

// ---- loading -------------------------------------------------------------------------------------------------------

async function load() {
  grid.setAttribute("aria-busy", "true");
  const mine = ++asked;
  const answer = await api(`${base}?blind=${isBlind()}`);
  if (mine !== asked) return;
  plate = answer;
  byId = new Map(plate.drops.map((drop) => [drop.id, drop]));
  sheets = sheetLoader(plate);
  showInspections();
  showSubwells();
  showChoices();
  build();
  grid.removeAttribute("aria-busy");
  const wanted = Number(location.hash.slice(1));
  choose(byId.get(wanted) ?? (byId.has(chosen?.id) ? byId.get(chosen.id) : visible[0]), { focus: document.activeElement === document.body });
  change(`${base}/opened`, {}).catch(() => {});
  const earlier = await api(`${base}/earlier?blind=${isBlind()}`).catch(() => ({}));
  if (mine !== asked) return;
  for (const drop of plate.drops) {
    drop.earlier = earlier[`${drop.column}.${drop.row}.${drop.subwell}`] ?? [];
    if (drop.earlier.length) paintTile(tiles.get(drop.id), drop);
  }
  if ($("filter").value === "earlier") filter();
}

function showInspections() {
  fill($("inspections"), plate.inspections.map((step) => h("a", {
    href: `/plates/${encodeURIComponent(barcode)}/${step.number}`, title: day(step.takenAt), "aria-current": step.number === plate.inspection ? "page" : null,
  }, `#${step.number}`, h("small", {}, plusDays(step.days)))));
}

function showSubwells() {
  const found = [...new Set(plate.drops.map((drop) => drop.subwell))].sort((a, b) => a - b);
  $("subwell-label").hidden = found.length < 2;
  const before = $("subwell").value || "all";
  fill($("subwell"), h("option", { value: "all" }, "all"), ...found.map((sub) => h("option", { value: String(sub) }, String.fromCharCode(96 + sub))));
  $("subwell").value = found.includes(Number(before)) ? before : "all";
}

// ---- the grid ------------------------------------------------------------------------------------------------------

const rowLabel = (row) => (row <= 26 ? String.fromCharCode(64 + row) : `A${String.fromCharCode(38 + row)}`);

/** The plate's own places, or one after the other by crystal probability. */
function build() {
  tiles = new Map();
  const flow = $("order").value === "crystal" && !plate.blind;
  const one = $("subwell").value;
  const drops = plate.drops.filter((drop) => one === "all" || drop.subwell === Number(one));
  const width = SIZES[Number($("size").value)];
  grid.className = `plate ${flow ? "flow" : "wells"} size-${$("size").value}`;
  if (flow) {
    const ranked = [...drops].sort((a, b) => (b.art?.crystal ?? -1) - (a.art?.crystal ?? -1));
    grid.style.gridTemplateColumns = `repeat(auto-fill, minmax(${width || 96}px, 1fr))`;
    grid.replaceChildren(h("div", { role: "row", class: "line" }, ranked.map(tileOf)));
  } else buildWells(drops, width);
  filter();
}

function buildWells(drops, width) {
  const subwells = [...new Set(drops.map((drop) => drop.subwell))].sort((a, b) => a - b);
  const across = subwells.length <= 1 ? 1 : subwells.length <= 4 ? 2 : 4;
  const wells = new Map();
  for (const drop of drops) {
    const key = `${drop.row}.${drop.column}`;
    if (!wells.has(key)) wells.set(key, []);
    wells.get(key).push(drop);
  }
  const rows = [...new Set(drops.map((drop) => drop.row))].sort((a, b) => a - b);
  const columns = [...new Set(drops.map((drop) => drop.column))].sort((a, b) => a - b);
  const shownColumns = columns.length > plate.columns / 2 ? range(1, plate.columns) : columns;
  const shownRows = rows.length > plate.rows / 2 ? range(1, plate.rows) : rows;
  const room = (grid.clientWidth - 40) / shownColumns.length / across;
  grid.classList.toggle("tiny", (width || room) < 34);
  const well = width ? `${width * across + 6}px` : "minmax(0, 1fr)";
  grid.style.gridTemplateColumns = `1.6em repeat(${shownColumns.length}, ${well})`;
  grid.style.setProperty("--across", String(across));
  const head = h("div", { role: "row", class: "line" }, h("span", { role: "columnheader", class: "axis" }, h("span", { class: "hide" }, "row")),
    shownColumns.map((column) => h("span", { role: "columnheader", class: "axis" }, String(column))));
  const lines = shownRows.map((row) => h("div", { role: "row", class: "line" }, h("span", { role: "rowheader", class: "axis" }, rowLabel(row)),
    shownColumns.map((column) => h("div", { class: "well", role: "none" }, (wells.get(`${row}.${column}`) ?? []).map(tileOf)))));
  grid.replaceChildren(head, ...lines);
}

const range = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => from + index);

function tileOf(drop) {
  const tile = makeTile(drop);
  tiles.set(drop.id, tile);
  if (drop.missing) tile.classList.add("missing");
  else if (Number($("size").value) === 3) ownThumbnail(tile, drop);
  else sheets.observe(tile, drop.at);
  if (selected.has(drop.id)) tile.classList.add("selected");
  return tile;
}

// ---- filter and legend ---------------------------------------------------------------------------------------------

/** What "Show" means; "class:" and "by:" are followed by the class or the person. */
const TESTS = {
  all: () => true,
  unseen: (drop) => !drop.seen,
  unscored: (drop) => drop.people.length === 0,
  person: (drop) => drop.people.length > 0,
  mine: (drop) => drop.people.some((score) => score.mine),
  disagree: (drop) => drop.disagree,
  wrong: (drop) => (drop.art?.wrong?.length ?? 0) > 0,
  earlier: (drop) => (drop.earlier?.length ?? 0) > 0,
  class: (drop, name) => drop.art?.class === name,
  by: (drop, who) => drop.people.some((score) => score.who === who),
};

/** The classes and the people of this plate as choices; a choice that is made stays one. */
function showChoices() {
  const counted = (count) => (count ? ` (${number(count)})` : "");
  const people = [...new Set(plate.drops.flatMap((drop) => drop.people.map((score) => score.who)))].filter(Boolean).sort();
  const before = $("filter").value;
  fill($("filter-classes"), plate.blind ? null : classes.map((row) => h("option", { value: `class:${row.name}` },
    `${row.score} ${row.title}${counted(plate.drops.filter((drop) => TESTS.class(drop, row.name)).length)}`)));
  fill($("filter-people"), people.map((who) => h("option", { value: `by:${who}` }, who)));
  $("filter-people").hidden = !people.length;
  $("filter-classes").hidden = plate.blind;
  $("filter").value = before;
  if (!$("filter").value) $("filter").value = "all";
}

const groupOf = (drop) => drop.art?.group ?? (drop.hidden ? "hidden" : drop.art ? drop.art.state : "none");

function filter() {
  const [value, what] = $("filter").value.split(/:(.*)/s);
  const test = (drop) => TESTS[value](drop, what);
  const fits = (drop) => test(drop) && (!groups.size || groups.has(groupOf(drop)));
  const order = $("order").value === "crystal" && !plate.blind
    ? [...tiles.keys()].map((id) => byId.get(id))
    : [...tiles.keys()].map((id) => byId.get(id)).sort((a, b) => a.row - b.row || a.column - b.column || a.subwell - b.subwell);
  visible = order.filter(fits);
  const shown = new Set(visible.map((drop) => drop.id));
  for (const [id, tile] of tiles) tile.classList.toggle("dim", !shown.has(id));
  $("count").textContent = visible.length === plate.drops.length ? `${number(plate.drops.length)} drops` : `${number(visible.length)} of ${number(plate.drops.length)} drops`;
  showLegend();
}

const LEGEND = [["crystal", "Crystals"], ["precipitate", "Precipitate"], ["other", "Other"], ["clear", "Clear"], ["unsure", "Unsure"], ["no_drop", "No drop"],
  ["failed", "Failed"], ["hidden", "Hidden"], ["none", "No ARTscore"], ["in_work", "Being scored"], ["claimed", "Waiting"], ["refused", "No image"]];

function showLegend() {
  const counts = new Map();
  for (const drop of plate.drops) counts.set(groupOf(drop), (counts.get(groupOf(drop)) ?? 0) + 1);
  fill($("legend"), LEGEND.filter(([group]) => counts.has(group)).map(([group, title]) => h("button", {
    type: "button", class: `key g-${group}`, "aria-pressed": String(groups.has(group)), data: { group },
    onclick: () => {
      if (!groups.delete(group)) groups.add(group);
      filter();
    },
  }, h("span", { class: "swatch" }), group === "other" ? h("span", { class: "swatch k-null_experiment", title: "null experiment" }) : null, title, h("small", {}, number(counts.get(group))))));
}

// ---- choosing ------------------------------------------------------------------------------------------------------

function choose(drop, { focus = true, extend = false } = {}) {
  if (!drop || !tiles.has(drop.id)) return;
  const before = chosen && tiles.get(chosen.id);
  if (before) before.tabIndex = -1;
  if (before) before.classList.remove("chosen");
  chosen = drop;
  const tile = tiles.get(drop.id);
  tile.tabIndex = 0;
  tile.classList.add("chosen");
  if (focus) {
    tile.focus({ preventScroll: true });
    tile.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  if (extend) {
    anchor ??= drop;
    const from = visible.indexOf(anchor);
    const to = visible.indexOf(drop);
    selected = new Set(visible.slice(Math.min(from, to), Math.max(from, to) + 1).map((one) => one.id));
    paintSelected();
  }
  showPanel();
}

function paintSelected() {
  for (const [id, tile] of tiles) tile.classList.toggle("selected", selected.has(id));
}

function clearSelected() {
  selected = new Set();
  anchor = null;
  paintSelected();
}

function chooseNone() {
  clearSelected();
  showPanel();
}

function step(by, extend) {
  if (!visible.length) return;
  if (extend) anchor ??= chosen;
  const at = visible.indexOf(chosen);
  choose(visible[Math.min(visible.length - 1, Math.max(0, at + by))], { extend });
}

/** Up and down: the nearest drop in that direction on the screen. */
function climb(direction, extend) {
  if (!chosen) return;
  if (extend) anchor ??= chosen;
  const from = tiles.get(chosen.id).getBoundingClientRect();
  let best = null;
  for (const drop of visible) {
    const frame = tiles.get(drop.id).getBoundingClientRect();
    const down = (frame.top - from.top) * direction;
    if (down < 2) continue;
    const distance = down + 3 * Math.abs(frame.left - from.left);
    if (!best || distance < best.distance) best = { drop, distance };
  }
  if (best) choose(best.drop, { extend });
}

// A finger has no Ctrl: held on a drop for a moment it chooses it, and the next taps choose more.
const HELD = 450;
let holding = 0;
let held = false;

grid.addEventListener("pointerdown", (event) => {
  const tile = event.target.closest(".tile");
  held = false;
  clearTimeout(holding);
  if (event.pointerType !== "touch" || !event.isPrimary || !tile) return;
  holding = setTimeout(() => {
    held = true;
    toggleSelected(byId.get(Number(tile.dataset.id)));
  }, HELD);
});
for (const name of ["pointerup", "pointercancel", "pointerleave"]) grid.addEventListener(name, () => clearTimeout(holding));
grid.addEventListener("contextmenu", (event) => { if (held) event.preventDefault(); });

grid.addEventListener("click", (event) => {
  const tile = event.target.closest(".tile");
  if (!tile) return;
  if (held) {
    held = false;
    return;
  }
  const drop = byId.get(Number(tile.dataset.id));
  if (event.ctrlKey || event.metaKey || (event.pointerType === "touch" && selected.size)) toggleSelected(drop);
  else if (event.shiftKey) {
    anchor ??= chosen;
    choose(drop, { extend: true });
  } else {
    clearSelected();
    choose(drop);
  }
});
grid.addEventListener("dblclick", (event) => {
  if (event.target.closest(".tile")) openDrop();
});

function toggleSelected(drop) {
  if (!selected.delete(drop.id)) selected.add(drop.id);
  paintSelected();
  choose(drop);
}

function openDrop() {
  if (!chosen) return;
  setQueue({ title: `${barcode} #${inspection}`, back: `${location.pathname}#`, ids: visible.map((drop) => drop.id) });
  location.href = `/drops/${chosen.id}`;
}

// ---- the chosen drop -----------------------------------------------------------------------------------------------

function showPanel() {
  const drop = chosen;
  if (!drop) return;
  const many = selected.size > 1 && selected.has(drop.id);
  const said = newest(drop);
  const preview = h("button", { type: "button", class: `preview ${drop.art?.class ? `k-${drop.art.class} framed` : ""}`, onclick: openDrop, title: "Open the drop (Enter)" },
    drop.missing || !drop.image ? h("span", { class: "no-image" }, drop.image ? `The file ${drop.image} is missing.` : "This drop has no image.")
      : picture(imageUrl(drop.id, "screen", drop.image), { alt: `Drop ${drop.label}`, decoding: "async" }, "This image can not be shown: open the drop to see why."));
  fill($("panel"),
    h("div", { class: "panel-head" }, h("h2", {}, many ? `${selected.size} drops` : drop.label), h("span", { class: "grow" }),
      selected.size ? h("button", { type: "button", class: "quiet", id: "choose-none", onclick: chooseNone, title: "Choose none (Esc)" }, "Choose none") : null,
      h("button", { type: "button", class: "main small", onclick: openDrop }, "Open ", h("kbd", {}, "Enter"))),
    preview,
    drop.earlier?.length ? h("p", { class: "earlier" }, "Crystals at ", drop.earlier.map((hit) => h("a", { href: `/drops/${hit.id}` }, `#${hit.number} (${hit.by})`))) : null,
    scoreButtons((row) => scoreNow(row), said?.mine ? said.score : null, undo),
    many ? null : artCard(drop, callWrong), many ? null : peopleCard(drop));
  dwell(drop);
}

let dwelling = 0;
/** Looked at is what was chosen for a moment, not what one hurried past. */
function dwell(drop) {
  clearTimeout(dwelling);
  dwelling = setTimeout(() => {
    if (chosen !== drop) return;
    looked(drop.id);
    drop.seen = true;
    tiles.get(drop.id)?.classList.add("seen");
  }, 700);
}

// ---- scoring -------------------------------------------------------------------------------------------------------

function scoreNow(row) {
  if (!mayScore) return notice("Looking only: scoring is off, or your role does not allow it.");
  const targets = selected.size > 1 ? visible.filter((drop) => selected.has(drop.id)) : chosen ? [chosen] : [];
  const withImage = targets.filter((drop) => drop.image);
  if (!withImage.length) return notice("There is no image to score.", { kind: "problem" });
  enterScore(row.score, withImage.map((drop) => ({ id: drop.id, image: drop.image, known: drop.people.map((score) => score.scoreId) })));
  for (const drop of withImage) {
    drop.people = [...drop.people, { scoreId: null, score: row.score, title: row.title, group: row.group, class: row.name, who: document.body.dataset.person, at: null, mine: true }];
    drop.seen = true;
    refresh(drop);
  }
  if (withImage.length > 1) notice(`${withImage.length} drops: ${row.score} ${row.title}. u takes it back.`);
  const lone = targets.length === 1;
  clearSelected();
  if (lone && advance) step(1, false);
  else showPanel();
}

function refresh(drop) {
  drop.disagree = Boolean(drop.art?.group && newest(drop)?.group && newest(drop).group !== drop.art.group);
  const tile = tiles.get(drop.id);
  if (tile) paintTile(tile, drop);
  if (tile && drop === chosen) tile.classList.add("chosen");
}

onScores(({ kind, entry, answer }) => {
  for (const { id } of entry.drops) {
    const drop = byId.get(id);
    if (!drop) continue;
    const mine = drop.people.findLast((score) => score.scoreId === null && score.score === entry.score);
    if (kind === "refused") drop.people = drop.people.filter((score) => score !== mine);
    else if (mine) {
      const row = answer.scores.find((score) => score.id === id);
      if (row) Object.assign(mine, { scoreId: row.scoreId, at: row.at });
    }
    for (const other of answer?.others ?? []) if (other.inspectionId === id) drop.people.splice(-1, 0, other);
    refresh(drop);
  }
  if (plate?.blind && kind === "entered") reveal(entry.drops.map((drop) => drop.id));
  showPanel();
});

/** In blind mode the server shows a drop's ARTscore once one has scored it. */
async function reveal(ids) {
  const fresh = await api(`${base}?blind=true`).catch(() => null);
  for (const drop of fresh?.drops ?? []) {
    if (!ids.includes(drop.id) || !byId.has(drop.id)) continue;
    const before = byId.get(drop.id);
    Object.assign(before, { art: drop.art, people: drop.people, hidden: drop.hidden, disagree: drop.disagree });
    refresh(before);
  }
  showLegend();
  showPanel();
}

async function undo() {
  if (!mayScore) return;
  try {
    const answer = await undoScore();
    for (const { id, scoreId } of answer?.undone ?? []) {
      const drop = byId.get(id);
      if (!drop) continue;
      drop.people = drop.people.filter((score) => score.scoreId !== scoreId);
      refresh(drop);
      choose(drop);
    }
  } catch (error) {
    tell(error);
  }
}

async function callWrong() {
  const art = chosen?.art;
  if (!art?.scoredAt || !mayScore) return;
  const me = document.body.dataset.person;
  const wrong = !(art.wrong ?? []).includes(me);
  try {
    await change("/api/marks", { image_id: art.imageId, wrong });
    art.wrong = wrong ? [...(art.wrong ?? []), me] : art.wrong.filter((name) => name !== me);
    refresh(chosen);
    showPanel();
    notice(wrong ? "Noted: this ARTscore is wrong. It is kept for the next training." : "Withdrawn.");
  } catch (error) {
    tell(error);
  }
}

// ---- keys ----------------------------------------------------------------------------------------------------------

function toInspection(by) {
  const at = plate.inspections.findIndex((one) => one.number === plate.inspection);
  const next = plate.inspections[at + by];
  if (next) location.href = `/plates/${encodeURIComponent(barcode)}/${next.number}`;
}

function nextUnseen() {
  const at = visible.indexOf(chosen);
  const next = [...visible.slice(at + 1), ...visible.slice(0, at)].find((drop) => !drop.seen);
  if (next) choose(next);
  else notice("You have seen all of them.");
}

const scoreKeys = Object.fromEntries(Object.entries(classByKey).map(([key, row]) => [key, () => scoreNow(row)]));
const pick = (names) => Object.fromEntries(names.map((name) => [classByName[name].key, scoreKeys[classByName[name].key]]));
keys([
  {
    title: "Move",
    keys: [
      ["← → ↑ ↓", "to the next drop", {
        ArrowLeft: () => step(-1), ArrowRight: () => step(1), ArrowUp: () => climb(-1), ArrowDown: () => climb(1),
      }],
      ["q e", "first, last", { q: () => choose(visible[0]), e: () => choose(visible[visible.length - 1]) }],
      ["n", "next that you have not seen", { n: nextUnseen }],
      ["Enter", "open the drop", { Enter: openDrop }],
      [", .", "earlier, later inspection", { ",": () => toInspection(-1), ".": () => toInspection(1) }],
      ["Shift+←→↑↓ Space", "choose several", {
        "Shift+ArrowLeft": () => step(-1, true), "Shift+ArrowRight": () => step(1, true), "Shift+ArrowUp": () => climb(-1, true),
        "Shift+ArrowDown": () => climb(1, true), " ": () => chosen && toggleSelected(chosen),
      }],
      ["Esc", "choose none", { Escape: chooseNone }],
    ],
  },
  {
    title: "Score",
    keys: [
      ["1 2 3", "crystals: harvestable, bad form, overnucleated", pick(["crystals_harvestable", "crystals_bad_form", "crystals_overnucleated"])],
      ["4 5 6", "precipitate: good, plain, bad", pick(["precipitate_good", "precipitate", "precipitate_bad"])],
      ["7 8 9 0", "phase separation, spherulites, other, null experiment", pick(["phase_separation", "spherulites", "other", "null_experiment"])],
      ["c f", "clear, clear with other features", pick(["clear", "clear_with_other_features"])],
      ["u", "undo your last", { u: undo }],
      ["x", "the ARTscore is wrong", { x: callWrong }],
      ["a", "go on by itself after a score: on, off", { a: () => { advance = !advance; keep("advance", advance); notice(`Auto-advance is ${advance ? "on" : "off"}.`); } }],
    ],
  },
  {
    title: "Show",
    keys: [
      ["s", "order: plate, likeliest crystals first", { s: () => { $("order").value = $("order").value === "plate" ? "crystal" : "plate"; build(); choose(visible[0]); } }],
      ["+ -", "size of the thumbnails", { "+": () => resize(1), "-": () => resize(-1) }],
    ],
  },
]);

function resize(by) {
  $("size").value = String(Math.min(3, Math.max(0, Number($("size").value) + by)));
  resized();
}

function resized() {
  keep("size", Number($("size").value));
  build();
  choose(chosen, { focus: false });
}

/** Who chose with the mouse goes on with the plate's keys; who chose by keys stays in the list that one is in. */
const byMouse = (event) => !event.target.matches(":focus-visible");

$("size").value = String(kept("size", 0));
$("size").addEventListener("input", resized);
for (const id of ["order", "subwell"]) $(id).addEventListener("change", (event) => { build(); choose(visible.includes(chosen) ? chosen : visible[0], { focus: byMouse(event) }); });
$("filter").addEventListener("change", (event) => { filter(); choose(visible.includes(chosen) ? chosen : visible[0], { focus: byMouse(event) }); });
document.addEventListener("blind", () => load().catch(tell));
load().catch(tell);

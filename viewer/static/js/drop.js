// The drop page: one drop large, with its course in time, the regions that decided, and both evaluations.

import { artCard, classBars, peopleCard, scoreButtons } from "./card.js";
import { api, change, classByKey, classByName, isBlind, keep, kept, keys, mayScore, notice, queue, setQueue, tell } from "./core.js";
import { $, fill, day, h, imageUrl, picture, plusDays } from "./dom.js";
import { enterScore, onScores, undoScore } from "./scores.js";
import { looked } from "./seen.js";
import { Stage } from "./stage.js";
import { newest } from "./tiles.js";

const stage = new Stage($("stage"), (by) => go(by));
const ready = new Map();
let drop = null;
/** The drop that one has asked for; it is shown as soon as it is there. */
let wanted = 0;
let image = null;
let list = queue();
let advance = kept("advance", true);
let comparing = null;
let keepZoom = false;

// ---- going from drop to drop ---------------------------------------------------------------------------------------

/** A drop's view and its picture, asked for once; the neighbours are there before one goes to them. */
function fetchDrop(id) {
  if (!ready.has(id)) {
    const asked = api(`/api/drops/${id}?blind=${isBlind()}`).then((view) => {
      const shown = view.images.find((one) => one.name === view.image);
      if (shown?.width) new Image().src = imageUrl(id, "screen", shown.name, shown.version);
      return view;
    });
    asked.catch(() => ready.delete(id));
    ready.set(id, asked);
  }
  return ready.get(id);
}

async function show(id, { push = true } = {}) {
  const began = performance.now();
  wanted = id;
  let view;
  try {
    view = await fetchDrop(id);
  } catch (error) {
    if (wanted === id) wanted = drop?.id ?? id;
    return tell(error);
  }
  if (wanted !== id) return;
  drop = view;
  comparing = null;
  image = view.images.find((one) => one.name === view.image) ?? view.images[0] ?? null;
  if (push) history.replaceState(null, "", `/drops/${id}`);
  document.title = `${view.label} · ${view.plate.barcode} #${view.inspection} · Crystal Search`;
  showHead();
  showCourse();
  showPanel();
  looked(id);
  await stage.show(id, image ?? { name: "", problem: "This drop has no image." }, { keepZoom });
  performance.measure("next-drop", { start: began });
  if (wanted !== id) return;
  await ensureList();
  for (const by of [1, -1, 2]) if (neighbour(by)) fetchDrop(neighbour(by)).catch(() => {});
}

/** Without a list from where one came, the drops of the plate's inspection in order. */
async function ensureList() {
  if (list?.ids.includes(drop.id) || list?.own === `${drop.plate.barcode}#${drop.inspection}`) return;
  const plate = await api(`/api/plates/${encodeURIComponent(drop.plate.barcode)}/${drop.inspection}?blind=true`).catch(() => null);
  if (!plate) return;
  list = {
    title: `${drop.plate.barcode} #${drop.inspection}`, own: `${drop.plate.barcode}#${drop.inspection}`,
    back: `/plates/${encodeURIComponent(drop.plate.barcode)}/${drop.inspection}#`, ids: plate.drops.map((one) => one.id),
  };
  setQueue(list);
  showHead();
}

function neighbour(by) {
  const at = list?.ids.indexOf(wanted) ?? -1;
  return at < 0 ? null : list.ids[at + by] ?? null;
}

function go(by) {
  const id = neighbour(by);
  if (id) show(id);
  else notice(by > 0 ? "That was the last one." : "This is the first one.");
}

function back() {
  location.href = list?.back?.startsWith("/plates") ? `${list.back}${drop.id}` : list?.back ?? `/plates/${encodeURIComponent(drop.plate.barcode)}/${drop.inspection}#${drop.id}`;
}

/** Another inspection of this drop; the list stays, at the place where it was. */
function goInspection(by) {
  const at = drop.course.findIndex((step) => step.id === drop.id);
  const next = drop.course[at + by];
  if (!next) return;
  toInspection(next.id);
}

function toInspection(id) {
  if (list) list = { ...list, ids: list.ids.map((one) => (one === drop.id ? id : one)) };
  show(id);
}

// ---- what is shown -------------------------------------------------------------------------------------------------

function showHead() {
  const at = list?.ids.indexOf(drop.id) ?? -1;
  fill($("head"),
    h("h1", {}, drop.label), h("a", { class: "crumb", href: `/plates/${encodeURIComponent(drop.plate.barcode)}/${drop.inspection}#${drop.id}` }, drop.plate.name),
    h("span", { class: "muted" }, `#${drop.inspection} · ${day(drop.takenAt)} ${plusDays(drop.days)}`),
    drop.images.length > 1 ? h("span", { class: "steps", role: "group", "aria-label": "Images" }, drop.images.map((one) => h("button", {
      type: "button", "aria-pressed": String(one === image), onclick: () => showImage(one),
    }, one.uv ? "UV" : one.profile ?? "image"))) : null,
    h("span", { class: "grow" }),
    h("span", { class: "toggles", role: "group", "aria-label": "Show" },
      toggleButton("o", "Regions", () => stage.overlay, toggleOverlay), toggleButton("d", "Drop", () => stage.outline, toggleOutline),
      toggleButton("m", "Measure", () => stage.measuring, toggleMeasure),
      drop.course.length > 1 ? toggleButton("k", "Change", () => comparing !== null, compareNext) : null),
    h("span", { class: "turn" }, at >= 0 ? h("span", { class: "muted" }, `${at + 1} of ${list.ids.length}`) : null,
      h("button", { type: "button", class: "quiet", onclick: () => go(-1), "aria-label": "Previous drop" }, "←"),
      h("button", { type: "button", class: "quiet", onclick: () => go(1), "aria-label": "Next drop" }, "→")));
}

function toggleButton(key, title, isOn, act) {
  return h("button", { type: "button", class: "quiet", "aria-pressed": String(isOn()), onclick: act, title: `${title} (${key})` }, title);
}

function showCourse() {
  $("course").hidden = drop.course.length < 2;
  fill($("course"), drop.course.map((step) => h("button", {
    type: "button", class: `step ${step.art?.class ? `k-${step.art.class} framed` : ""}`, "aria-current": step.id === drop.id ? "step" : null, onclick: () => toInspection(step.id),
    "aria-label": `Inspection ${step.number}, ${plusDays(step.days)}${step.art ? `, ${step.art.title}` : ""}`,
  }, step.image ? picture(imageUrl(step.id, "thumbnail", step.image), { alt: "", loading: "lazy" }) : h("span", { class: "no-image" }),
    h("span", { class: "step-label" }, h("b", {}, `#${step.number}`), ` ${plusDays(step.days)}`, step.art?.score ? ` · ${step.art.score}` : "",
      step.people.length ? h("span", { class: `person k-${newest(step).class ?? ""}` }, newest(step).score ?? "") : null))));
  $("course").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
}

function showPanel() {
  const said = newest(drop);
  const before = previous();
  const changed = before && before.art && drop.art && before.art.title !== drop.art.title ? `Since #${before.number}: ${before.art.title} → ${drop.art.title}` : null;
  fill($("panel"),
    scoreButtons(scoreNow, said?.mine ? said.score : null, undo), changed ? h("p", { class: "earlier" }, h("b", {}, changed)) : null,
    artCard(drop, callWrong), peopleCard(drop), classBars(image),
    drop.others.length ? h("details", { class: "evaluation" }, h("summary", {}, `${drop.others.length} other scorings`),
      h("ul", { class: "people" }, drop.others.map((art) => h("li", { class: art.class ? `k-${art.class}` : "" }, h("span", { class: "swatch" }), `${art.score ?? ""} ${art.title} `,
        h("span", { class: "muted" }, [art.model, art.scoredAt].filter(Boolean).join(", "))))))
      : null,
    image ? h("p", { class: "muted small file" }, image.name, image.width ? ` · ${image.width} × ${image.height} px` : "", image.umPerPx ? ` · ${image.umPerPx} µm/px` : " · scale unknown",
      image.overlay ? [h("br"), h("a", { href: imageUrl(drop.id, "overlay", image.name), target: "_blank" }, "The overlay as the volunteer drew it")] : null) : null);
}

function previous() {
  const at = drop.course.findIndex((step) => step.id === drop.id);
  return drop.course[at - 1] ?? null;
}

function showImage(one) {
  image = one;
  stage.show(drop.id, one, { keepZoom: true });
  showHead();
  showPanel();
}

function nextImage() {
  if (drop.images.length < 2) return notice("This drop has one image only.");
  showImage(drop.images[(drop.images.indexOf(image) + 1) % drop.images.length]);
}

function toggleOverlay() {
  stage.overlay = !stage.overlay;
  stage.draw();
  showHead();
}

function toggleOutline() {
  stage.outline = !stage.outline;
  stage.draw();
  showHead();
}

function toggleMeasure() {
  if (stage.toggleMeasure()) notice("Drag over the image to measure.");
  showHead();
}

/** The image of the inspection before over this one: alone, then as the difference, then away. */
function compareNext() {
  const before = previous();
  if (!before?.image) return notice("There is no earlier image of this drop.");
  comparing = { null: "blink", blink: "difference", difference: null }[comparing];
  stage.compare(comparing ? imageUrl(before.id, "screen", before.image) : null, comparing ?? "blink");
  notice(comparing === "blink" ? `Shown: inspection #${before.number}` : comparing === "difference" ? `Difference from #${before.number}: black is unchanged` : `Shown: inspection #${drop.inspection}`, { key: "compare" });
  if (!comparing) setTimeout(() => notice(`Shown: inspection #${drop.inspection}`, { key: "compare", seconds: 1 }).remove(), 1200);
  showHead();
}

// ---- scoring -------------------------------------------------------------------------------------------------------

function scoreNow(row) {
  if (!mayScore) return notice("Looking only: scoring is off, or your role does not allow it.");
  if (wanted !== drop.id) return notice("The next drop is still on its way; nothing was scored.");
  const name = image?.name ?? drop.image;
  if (!name) return notice("There is no image to score.", { kind: "problem" });
  enterScore(row.score, [{ id: drop.id, image: name, known: drop.people.map((score) => score.scoreId) }]);
  drop.people.push({ scoreId: null, score: row.score, title: row.title, group: row.group, class: row.name, who: document.body.dataset.person, at: null, mine: true });
  drop.disagree = Boolean(drop.art?.group && drop.art.group !== row.group);
  showPanel();
  if (advance && !isBlind() && neighbour(1)) go(1);
}

onScores(({ entry }) => {
  for (const { id } of entry.drops) {
    ready.delete(id);
    if (drop?.id === id) reload();
    else fetchDrop(id).catch(() => {});
  }
});

async function reload() {
  const id = drop.id;
  ready.delete(id);
  const view = await fetchDrop(id).catch(tell);
  if (!view || drop.id !== id) return;
  drop = view;
  const name = image?.name;
  image = view.images.find((one) => one.name === name) ?? view.images[0] ?? null;
  if (image) Object.assign(stage, { shown: image });
  stage.draw();
  showHead();
  showCourse();
  showPanel();
}

async function undo() {
  try {
    const answer = await undoScore();
    for (const { id } of answer?.undone ?? []) ready.delete(id);
    const id = answer?.undone[0]?.id;
    if (id && id !== drop.id) show(id);
    else if (id) reload();
  } catch (error) {
    tell(error);
  }
}

async function callWrong() {
  const art = drop?.art;
  if (!art?.scoredAt || !mayScore) return;
  const wrong = !(art.wrong ?? []).includes(document.body.dataset.person);
  try {
    await change("/api/marks", { image_id: art.imageId, wrong });
    notice(wrong ? "Noted: this ARTscore is wrong. It is kept for the next training." : "Withdrawn.");
    reload();
  } catch (error) {
    tell(error);
  }
}

// ---- keys ----------------------------------------------------------------------------------------------------------

const pick = (names) => Object.fromEntries(names.map((name) => [classByName[name].key, () => scoreNow(classByKey[classByName[name].key])]));
keys([
  {
    title: "Move",
    keys: [
      ["← →", "previous, next drop", { ArrowLeft: () => go(-1), ArrowRight: () => go(1) }],
      ["q e", "first, last of the list", { q: () => list && show(list.ids[0]), e: () => list && show(list.ids[list.ids.length - 1]) }],
      [", . ↑ ↓", "earlier, later inspection", { ",": () => goInspection(-1), ".": () => goInspection(1), ArrowUp: () => goInspection(-1), ArrowDown: () => goInspection(1) }],
      ["Esc", "back to the plate or list", { Escape: back }],
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
      ["+ -", "zoom", { "+": () => stage.zoomAt(1.4), "=": () => stage.zoomAt(1.4), "-": () => stage.zoomAt(1 / 1.4) }],
      ["z", "all of it, or pixel for pixel", { z: () => stage.toggleZoom() }],
      ["o", "regions that decided", { o: toggleOverlay }],
      ["d", "the drop's outline", { d: toggleOutline }],
      ["m", "measure", { m: toggleMeasure }],
      ["k", "change since the last inspection", { k: compareNext }],
      ["v", "next image, such as UV", { v: nextImage }],
      ["l", "keep the zoom from drop to drop", { l: () => { keepZoom = !keepZoom; notice(`The zoom ${keepZoom ? "is kept" : "starts anew"} from drop to drop.`); } }],
    ],
  },
]);

document.addEventListener("blind", () => { ready.clear(); show(drop.id); });
show(Number(document.body.dataset.drop), { push: false });

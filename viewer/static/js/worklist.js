// The work list: the likeliest crystals across plates, plates with new images, and where a person and the ARTscore differ.

import { api, isBlind, keys, kept, keep, setQueue, tell } from "./core.js";
import { $, fill, day, h, number, percent } from "./dom.js";
import { makeTile, ownThumbnail } from "./tiles.js";

const GROUPS = ["crystal", "precipitate", "other", "clear", "unsure", "no_drop", "failed"];
let found = null;
let open = kept("worklist", "crystals");
let tiles = [];
let at = 0;
/** Counts the questions: one may switch to blind and back before the first answer is there, and the answers come in any order. */
let asked = 0;

async function load() {
  fill($("list"), h("p", { class: "muted" }, "Reading the newest plates …"));
  const mine = ++asked;
  const answer = await api(`/api/worklist?blind=${isBlind()}`);
  if (mine !== asked) return;
  found = answer;
  showTabs();
  show(found.blind ? "plates" : open);
}

const TABS = () => [
  found.blind ? null : ["crystals", "Crystals first", found.crystalWells],
  ["plates", "Plates", found.plates.filter((plate) => plate.new).length],
  found.blind ? null : ["disagreements", "Person and ARTscore differ", found.disagreements.length],
  found.blind ? null : ["wrong", "Called wrong", found.wrong.length],
].filter(Boolean);

function showTabs() {
  fill($("tabs"), TABS().map(([name, title, count]) => h("button", {
    type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "list", "aria-selected": "false", tabindex: "-1", onclick: () => show(name),
  }, title, count ? h("small", {}, number(count)) : null)));
}

function show(name) {
  const names = TABS().map(([tab]) => tab);
  open = names.includes(name) ? name : names[0];
  keep("worklist", open);
  for (const tab of $("tabs").children) {
    const on = tab.id === `tab-${open}`;
    tab.setAttribute("aria-selected", String(on));
    tab.tabIndex = on ? 0 : -1;
  }
  $("list").setAttribute("aria-labelledby", `tab-${open}`);
  tiles = [];
  fill($("list"), { crystals, plates, disagreements, wrong }[open]());
  at = 0;
  if (tiles.length) tiles[0].tabIndex = 0;
}

function crystals() {
  const count = found.crystalWells;
  const share = percent(found.crystalShare);
  if (!count) return [empty("Nothing waits here", "Every drop of the newest plates was scored by a person, or has no ARTscore yet.")];
  return [
    h("p", { class: "lead" }, "Look at these ", h("b", {}, `${number(count)} ${count === 1 ? "well" : "wells"}`), ` to find ${share} of the crystals`,
      h("span", { class: "muted" }, ` of ${number(found.openDrops)} drops that nobody has scored; ${number(found.expectedCrystals, 1)} crystals are expected among them.`)),
    flow(found.crystals, "likeliest crystals", (drop) => percent(drop.art?.crystal)),
  ];
}

function disagreements() {
  if (!found.disagreements.length) return [empty("No disagreements", "Where people have scored, the ARTscore's group is the same.")];
  return [h("p", { class: "lead" }, "A person and the ARTscore put these drops into different groups."),
    flow(found.disagreements, "person and ARTscore differ", (drop) => `${drop.people[drop.people.length - 1].score} / ${drop.art.score}`)];
}

function wrong() {
  if (!found.wrong.length) return [empty("None so far", "On a drop, x says that its ARTscore is wrong; the next training learns from them.")];
  return [h("p", { class: "lead" }, "ARTscores that people called wrong."), flow(found.wrong, "called wrong", (drop) => drop.art.score ?? "")];
}

const empty = (title, line) => h("div", { class: "empty" }, h("h2", {}, title), h("p", {}, line));

/** Tiles from several plates; the drop page then goes through them in this order. */
function flow(drops, title, caption) {
  const box = h("div", { class: "flow", role: "list" });
  for (const drop of drops) {
    const tile = makeTile(drop, "link");
    ownThumbnail(tile, drop);
    tile.addEventListener("click", () => openDrop(drops, title, drop));
    tile.addEventListener("focus", () => { at = tiles.indexOf(tile); });
    tiles.push(tile);
    box.append(h("div", { role: "listitem", class: "captioned" }, tile, h("span", { class: "caption" }, h("b", {}, drop.label), h("span", { class: "where" }, `${drop.plateName} #${drop.inspection}`),
      h("span", { class: "value" }, caption(drop)))));
  }
  return box;
}

function openDrop(drops, title, drop) {
  setQueue({ title, back: "/", ids: drops.map((one) => one.id) });
  location.href = `/drops/${drop.id}`;
}

function plates() {
  if (!found.plates.length) return [empty("No plates", "XtalTrak has no inspection of a plate that you may see.")];
  return [h("table", { class: "plates" }, h("thead", {}, h("tr", {}, ["Plate", "Project", "Inspection", "ARTscores", "Likeliest crystal", "By people"].map((title) => h("th", { scope: "col" }, title)))),
    h("tbody", {}, found.plates.map(plateRow)))];
}

function plateRow(plate) {
  const link = h("a", { href: `/plates/${encodeURIComponent(plate.barcode)}/${plate.inspection}`, class: "plate-link" }, plate.name, plate.name === plate.barcode ? null : h("small", {}, ` ${plate.barcode}`));
  link.addEventListener("focus", () => { at = tiles.indexOf(link); });
  tiles.push(link);
  return h("tr", { class: plate.new ? "new" : "" }, h("th", { scope: "row" }, plate.new ? h("span", { class: "dot", title: "not opened by you yet" }, h("span", { class: "hide" }, "new ")) : null, link),
    h("td", {}, plate.project ?? ""), h("td", {}, `#${plate.inspection} · ${day(plate.takenAt)}`), h("td", {}, plate.crystals === null ? h("span", { class: "muted" }, "hidden") : stack(plate)),
    h("td", {}, plate.likeliest?.label ? [percent(plate.likeliest.probability), h("span", { class: "muted" }, ` ${plate.likeliest.label}`)] : ""),
    h("td", {}, `${number(plate.scoredByPeople)} of ${number(plate.drops)}`, plate.peopleCrystals ? h("span", { class: "chip k-crystals_harvestable" }, `${plate.peopleCrystals} with crystals`) : null));
}

/** How the drops of a plate divide into groups, as one bar with its numbers. */
function stack(plate) {
  const parts = GROUPS.filter((group) => plate.groups[group]);
  const text = parts.map((group) => `${plate.groups[group]} ${group.replace("_", " ")}`).join(", ") || "none yet";
  return h("div", { class: "stack-cell", title: text }, h("div", { class: "stack", role: "img", "aria-label": text }, parts.map((group) => h("span", { class: `g-${group}`, style: { "flex-grow": String(plate.groups[group]) } }))),
    h("small", {}, crystalsOf(plate, parts.reduce((sum, group) => sum + plate.groups[group], 0))));
}

/** A plate that is not evaluated, or not to the end, is not called one without crystals. */
function crystalsOf(plate, evaluated) {
  if (plate.crystals) return `${number(plate.crystals)} ${plate.crystals === 1 ? "crystal" : "crystals"}`;
  return evaluated === 0 ? "no ARTscores yet" : evaluated < plate.drops ? "no crystals so far" : "no crystals";
}

// ---- keys ----------------------------------------------------------------------------------------------------------

function move(to) {
  if (!tiles.length) return;
  tiles[at].tabIndex = tiles[at].matches("a") ? 0 : -1;
  at = Math.min(tiles.length - 1, Math.max(0, to));
  tiles[at].tabIndex = 0;
  tiles[at].focus();
}

/** How many tiles stand in a row. */
function across() {
  const top = tiles[0]?.getBoundingClientRect().top;
  const count = tiles.findIndex((tile) => tile.getBoundingClientRect().top > top + 2);
  return count < 1 ? tiles.length : count;
}

function turn(by) {
  if (!found) return;
  const names = TABS().map(([name]) => name);
  show(names[(names.indexOf(open) + by + names.length) % names.length]);
  $(`tab-${open}`).focus();
}

/** One may press before the list is there. */
function toTab(index) {
  if (found) show((TABS()[index] ?? [open])[0]);
  else open = ["crystals", "plates", "disagreements", "wrong"][index];
}

keys([{
  title: "Work list",
  keys: [
    ["← → ↑ ↓", "to the next drop or plate; on the tabs, to the next list", {
      ArrowLeft: () => (document.activeElement.matches("[role=tab]") ? turn(-1) : move(at - 1)),
      ArrowRight: () => (document.activeElement.matches("[role=tab]") ? turn(1) : move(at + 1)),
      ArrowUp: () => move(at - across()), ArrowDown: () => (document.activeElement.matches("[role=tab], body") ? move(at) : move(at + across())),
    }],
    ["q e", "first, last", { q: () => move(0), e: () => move(tiles.length - 1) }],
    ["Enter", "open", { Enter: () => tiles[at]?.click() }],
    ["1 2 3 4", "the lists", Object.fromEntries([0, 1, 2, 3].map((index) => [String(index + 1), () => toTab(index)]))],
  ],
}]);

document.addEventListener("blind", () => load().catch(tell));
load().catch(tell);

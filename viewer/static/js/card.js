// Both evaluations of a drop beside its image: who, when, which model; the buttons to score; the regions that decided.

import { classes, mayScore, person } from "./core.js";
import { day, h, percent } from "./dom.js";

const GROUPS = [["crystal", "Crystals"], ["precipitate", "Precipitate"], ["other", "Other"], ["clear", "Clear"]];

/** The twelve classes by group, each with its key, and the way back. */
export function scoreButtons(onScore, current, onUndo) {
  if (!mayScore) return h("p", { class: "muted small" }, "Looking only: scoring is off, or your role does not allow it.");
  return h("div", { class: "score-buttons", role: "group", "aria-label": "Your score" },
    GROUPS.map(([group, title]) => h("div", { class: `score-group g-${group}` }, h("h3", {}, title),
      classes.filter((row) => row.group === group).sort((a, b) => order(a) - order(b)).map((row) =>
        h("button", {
          type: "button", class: `score k-${row.name}${current === row.score ? " chosen" : ""}`, data: { score: row.score },
          "aria-pressed": String(current === row.score), onclick: () => onScore(row),
        }, h("kbd", {}, row.key), h("span", { class: "swatch" }), h("span", { class: "what" }, short(row)), h("small", {}, row.score))),
      group === "clear" ? h("button", { type: "button", class: "quiet undo", onclick: onUndo }, h("kbd", {}, "u"), " Undo my last") : null)));
}

const order = (row) => "1234567890cf".indexOf(row.key);

/** Without the group's own name: "harvestable" below "Crystals". */
function short(row) {
  const text = row.title.replace(/^(Crystals|Precipitate|Clear) /, "");
  return text === row.title ? row.title : text[0].toUpperCase() + text.slice(1);
}

/** The ARTscore with its class, probabilities and model. */
export function artCard(drop, onWrong) {
  if (drop.hidden) {
    return h("section", { class: "evaluation" }, h("h3", {}, "ARTscore"), h("p", { class: "muted" }, "Blind: it shows when you have scored this drop."));
  }
  const art = drop.art;
  if (!art) return h("section", { class: "evaluation" }, h("h3", {}, "ARTscore"), h("p", { class: "muted" }, "Not scored yet."));
  const wrong = art.wrong ?? [];
  return h("section", { class: `evaluation ${art.class ? `k-${art.class}` : ""}` },
    h("h3", {}, "ARTscore"),
    h("p", { class: "verdict" }, h("span", { class: "swatch" }), h("b", {}, art.score ? `${art.score} ${art.title}` : art.title),
      art.probability !== null ? h("span", { class: "share" }, percent(art.probability)) : null),
    art.crystal !== null ? meter("some crystal", art.crystal) : null,
    h("p", { class: "muted small" }, [art.model, art.scoredAt ? `${art.scoredAt} UTC` : null, drop.inXtalTrak ? "in XtalTrak" : art.score ? "not in XtalTrak" : null,
      art.reason].filter(Boolean).join(" · ")),
    wrong.length ? h("p", { class: "called" }, `Called wrong by ${wrong.join(", ")}`) : null,
    onWrong && mayScore && art.scoredAt ? h("button", { type: "button", class: "quiet", id: "wrong", onclick: onWrong }, h("kbd", {}, "x"),
      wrong.includes(person) ? " Withdraw: it is not wrong" : " The ARTscore is wrong") : null);
}

/** What people said of this inspection's drop, the newest first. */
export function peopleCard(drop) {
  const said = [...drop.people].reverse();
  return h("section", { class: "evaluation" }, h("h3", {}, "People"),
    drop.hidden ? h("p", { class: "muted" }, "Blind: others' scores show when you have scored.")
      : said.length ? h("ul", { class: "people" }, said.map((score) => h("li", { class: score.class ? `k-${score.class}` : "" },
        h("span", { class: "swatch" }), h("b", {}, `${score.score ?? "–"} ${score.title}`), h("span", { class: "muted" }, ` ${score.who ?? "no name"}, ${day(score.at)}`))))
        : h("p", { class: "muted" }, "Nobody has scored this inspection."),
    drop.disagree ? h("p", { class: "called" }, "Person and ARTscore differ.") : null);
}

/** The largest probability of each class anywhere in the drop; among the best regions only where the result is gone or does not say. */
export function classBars(image) {
  if (!image?.classes?.length) return null;
  return h("section", { class: "evaluation" }, h("h3", {}, image.everyClass ? "All classes, each where it is most probable" : "Classes in the best regions"),
    image.classes.map((row) => h("div", { class: `k-${row.class}` }, meter(`${row.score} ${row.title}`, row.probability))));
}

function meter(label, value) {
  return h("div", { class: "meter" }, h("span", { class: "meter-label" }, label), h("span", { class: "meter-track" },
    h("span", { class: "meter-fill", style: { width: `${Math.max(1, 100 * value)}%` } })), h("span", { class: "meter-value" }, percent(value)));
}

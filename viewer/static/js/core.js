// What every page shares: asking the server, notices, preferences, keys.

import { $, fill, h } from "./dom.js";

const body = document.body;
export const person = body.dataset.person ?? "";
export const mayScore = body.dataset.mayScore === "yes";
let csrf = body.dataset.csrf ?? "";

// ---- the server ----------------------------------------------------------------------------------------------------

export class Answer extends Error {
  constructor(status, line) {
    super(line);
    this.status = status;
  }
}

/** JSON of the API. Throws `Answer` with one line: status 0 when nobody answers, 401 when one has to sign in. */
export async function api(path, change) {
  const options = { headers: { Accept: "application/json" } };
  if (change !== undefined) {
    options.method = "POST";
    options.body = JSON.stringify(change);
    options.headers["Content-Type"] = "application/json";
    options.headers["X-CSRF-Token"] = csrf;
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Answer(0, "The viewer does not answer.");
  }
  const content = response.status === 204 ? {} : await response.json().catch(() => ({ error: `The viewer answered ${response.status}.` }));
  if (!response.ok) throw new Answer(response.status, content.error ?? `The viewer answered ${response.status}.`);
  return content;
}

/** A change; after a new sign-in of the same person, in another tab, it goes on with that one's token. */
export async function change(path, content) {
  try {
    return await api(path, content);
  } catch (error) {
    if (error.status !== 403) throw error;
    const session = await api("/api/session");
    if (session.person !== person || session.csrf === csrf) throw error;
    csrf = session.csrf;
    return api(path, content);
  }
}

// ---- notices -------------------------------------------------------------------------------------------------------

/** One line at the top; with a `key` it replaces the one of that key and stays, else it goes by itself. */
export function notice(line, { key = null, kind = "info", actions = [], seconds = 6 } = {}) {
  const box = $("notices");
  if (key) dismiss(key);
  for (const shown of box.children) if (!key && !shown.dataset.key && shown.firstElementChild.textContent === line) shown.remove();
  const made = h("div", { class: `notice ${kind}`, data: key ? { key } : {} }, h("span", {}, line), actions);
  box.append(made);
  if (!key) setTimeout(() => made.remove(), seconds * 1000);
  return made;
}

export function dismiss(key) {
  for (const shown of $("notices").querySelectorAll(".notice")) if (shown.dataset.key === key) shown.remove();
}

export function tell(error) {
  if (error.status === 401) signedOut("");
  else notice(error.message, { kind: "problem", seconds: 10 });
}

export function signedOut(more) {
  const link = h("a", { href: `/sign-in?next=${encodeURIComponent(location.pathname)}`, target: "_blank", rel: "opener" }, "Sign in");
  notice(`You are signed out. ${more}`, { key: "signed-out", kind: "problem", actions: [link] });
}

// ---- preferences ---------------------------------------------------------------------------------------------------

export function kept(key, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(`viewer:${key}`)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

export function keep(key, value) {
  try {
    localStorage.setItem(`viewer:${key}`, JSON.stringify(value));
  } catch {
    // a browser that keeps nothing: the preference lasts as long as the page
  }
}

export const isBlind = () => kept("blind", false);

/** The drops that one is working through, for the drop page: {title, back, ids}. */
export function setQueue(queue) {
  try {
    sessionStorage.setItem("queue", JSON.stringify(queue));
  } catch {
    // without it the drop page takes the plate's order
  }
}

export function queue() {
  try {
    return JSON.parse(sessionStorage.getItem("queue"));
  } catch {
    return null;
  }
}

// ---- classes -------------------------------------------------------------------------------------------------------

export const classes = [...($("class-table")?.content.children ?? [])].map((row) => ({ ...row.dataset }));
export const classByKey = Object.fromEntries(classes.map((row) => [row.key, row]));
export const classByName = Object.fromEntries(classes.map((row) => [row.name, row]));

// ---- keys ----------------------------------------------------------------------------------------------------------

const groups = [];
const handlers = {};

/** Keys of a page: [{title, keys: [[shown, what, {key: function}]]}]. They do not act while one types. */
export function keys(sections) {
  for (const section of sections) {
    groups.push(section);
    for (const [, , map] of section.keys) Object.assign(handlers, map);
  }
}

function typing(target) {
  return target.closest("input:not([type=range]), textarea, select, [contenteditable]") !== null;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("help")?.open) return;
  if (typing(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const onControl = event.target.closest("button, a, summary, input") !== null;
  if (onControl && (event.key === "Enter" || event.key === " ")) return;
  if (event.target.matches("input[type=range]") && event.key.startsWith("Arrow")) return;
  const name = event.shiftKey && event.key.startsWith("Arrow") ? `Shift+${event.key}` : event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const handler = handlers[name];
  if (!handler) return;
  event.preventDefault();
  handler(event);
});

function showHelp() {
  const made = groups.map((group) =>
    h("section", {}, h("h3", {}, group.title),
      h("dl", {}, group.keys.map(([shown, what]) => [h("dt", {}, shown.split(" ").map((key) => h("kbd", {}, key))), h("dd", {}, what)]))));
  fill($("help-body"), made);
  $("help").showModal();
}

const toggle = (id, isOn, set) => {
  const button = $(id);
  if (!button) return;
  button.setAttribute("aria-pressed", String(isOn()));
  button.addEventListener("click", (event) => {
    if (event.detail) button.blur();  // after a mouse's click Enter and Space mean the drop again
    set(!isOn());
    button.setAttribute("aria-pressed", String(isOn()));
  });
};

const root = document.documentElement;
function plainKeep(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // see keep
  }
}
toggle("dark", () => root.classList.contains("dark"), (on) => {
  root.classList.toggle("dark", on);
  plainKeep("theme", on ? "dark" : "light");
});
toggle("safe", () => root.classList.contains("safe"), (on) => {
  root.classList.toggle("safe", on);
  plainKeep("palette", on ? "safe" : "paper");
});
toggle("blind", isBlind, (on) => {
  keep("blind", on);
  document.dispatchEvent(new CustomEvent("blind", { detail: on }));
});

keys([{
  title: "Everywhere",
  keys: [
    ["?", "these keys", { "?": showHelp }],
    ["b", "blind: hide ARTscores until you have scored", { b: () => $("blind").click() }],
    ["w", "work list", { w: () => { location.href = "/"; } }],
    ["g", "the grid's pulse", { g: () => { location.href = "/grid"; } }],
    ["/", "find a plate", { "/": () => $("find-plate").focus() }],
  ],
}]);

// A menu goes away as it does everywhere: Esc, a click beside it, and once one has chosen.
const closeMenus = () => [...document.querySelectorAll("details.menu[open]")].map((menu) => menu.removeAttribute("open")).length > 0;
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && closeMenus()) event.stopImmediatePropagation();
}, true);
document.addEventListener("click", (event) => { if (!event.target.closest("details.menu summary")) closeMenus(); });

$("help-button")?.addEventListener("click", showHelp);
$("sign-out")?.addEventListener("click", async () => {
  await change("/sign-out", {}).catch(tell);
  location.href = "/sign-in";
});

// ---- finding a plate -----------------------------------------------------------------------------------------------

const find = $("find");
if (find) {
  let waiting = 0;
  find.addEventListener("submit", (event) => {
    event.preventDefault();
    const barcode = $("find-plate").value.trim();
    if (barcode) location.href = `/plates/${encodeURIComponent(barcode)}`;
  });
  $("find-plate").addEventListener("input", (event) => {
    clearTimeout(waiting);
    const start = event.target.value.trim();
    if (!start) return;
    waiting = setTimeout(async () => {
      const found = await api(`/api/plates?start=${encodeURIComponent(start)}`).catch(() => []);
      fill($("plates-found"), found.map((plate) => h("option", { value: plate.barcode }, plate.name)));
    }, 150);
  });
}

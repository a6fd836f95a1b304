// People's scores on their way: kept in the browser until the server has them, so that nothing is lost by a sign-in that expires
// or a server that is away. Each key press is one action with a number of its own: sent twice, entered once.

import { Answer, change, dismiss, kept, keep, notice, person, signedOut } from "./core.js";
import { h } from "./dom.js";
import { looked } from "./seen.js";

const KEY = `pending:${person}`;
const RETRY_SECONDS = 5;
let pending = kept(KEY, []);
let sending = false;
let timer = 0;
const listeners = [];

/** `listener({kind: "entered" | "refused", entry, answer | line})`. */
export const onScores = (listener) => listeners.push(listener);
const emit = (event) => listeners.forEach((listener) => listener(event));

export const newAction = () => crypto.randomUUID?.() ?? `${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 14)}`;

/** Enter a score for drops [{id, image, known}]. */
export function enterScore(score, drops) {
  const entry = {
    action: newAction(), score, drops: drops.map(({ id, image }) => ({ id, image })), known: drops.flatMap((drop) => drop.known ?? []),
  };
  pending.push(entry);
  keep(KEY, pending);
  drops.forEach(({ id }) => looked(id));
  send();
  return entry;
}

export const waitingCount = () => pending.reduce((sum, entry) => sum + entry.drops.length, 0);

/** Whether a drop's newest score is still on its way. */
export const isWaiting = (id) => pending.some((entry) => entry.drops.some((drop) => drop.id === id));

async function send() {
  clearTimeout(timer);
  if (sending) return;
  sending = true;
  while (pending.length) {
    const entry = pending[0];
    try {
      const answer = await change("/api/scores", entry);
      done();
      dismiss("away");
      dismiss("signed-out");
      emit({ kind: "entered", entry, answer });
      for (const other of answer.others) {
        notice(`${other.who ?? "Somebody"} has scored this drop too: ${other.score} ${other.title}. Both scores stay.`, { seconds: 12 });
      }
    } catch (error) {
      if (!(error instanceof Answer)) throw error;
      const lasting = error.status >= 400 && error.status < 500 && ![401, 408, 429].includes(error.status);
      if (lasting && error.status !== 403) {
        done();
        emit({ kind: "refused", entry, line: error.message });
        notice(`Not entered: ${error.message}`, { kind: "problem", seconds: 15 });
        continue;
      }
      const waits = `${waitingCount()} ${waitingCount() === 1 ? "score waits" : "scores wait"} in this browser and will be sent.`;
      if (error.status === 401) signedOut(waits);
      else {
        const drop = h("button", { type: "button", onclick: discard }, "Forget them");
        notice(`${error.message} ${waits}`, { key: "away", kind: "problem", actions: error.status === 403 ? [drop] : [] });
      }
      timer = setTimeout(send, RETRY_SECONDS * 1000);
      break;
    }
  }
  sending = false;
}

function done() {
  pending.shift();
  keep(KEY, pending);
}

function discard() {
  for (const entry of pending) emit({ kind: "refused", entry, line: "forgotten" });
  pending = [];
  keep(KEY, pending);
  dismiss("away");
}

/** Take the latest action back: one that is being sent is waited for, one that could not be sent is taken out of the browser. */
export async function undoScore() {
  while (sending) await new Promise((resolve) => setTimeout(resolve, 20));
  const entry = pending[pending.length - 1];
  let answer;
  try {
    answer = await change("/api/scores/undo", entry ? { action: entry.action } : {});
  } catch (error) {
    if (!entry || error.status !== 404) throw error;
    answer = { undone: entry.drops.map(({ id }) => ({ id, scoreId: null })), left: [] };  // it has never arrived
  }
  if (entry) {
    pending = pending.filter((one) => one !== entry);
    keep(KEY, pending);
    if (!pending.length) dismiss("away");
    emit({ kind: "refused", entry, line: "undone" });
  }
  const count = answer.undone.length;
  notice(count ? `Undone: ${count} ${count === 1 ? "score" : "scores"} of yours.` : "Nothing was undone.");
  if (answer.left.length) notice(`${answer.left.length} of them were changed since, and were left.`, { kind: "problem" });
  return answer;
}

if (pending.length) send();
addEventListener("online", send);
addEventListener("focus", () => { if (pending.length) send(); });

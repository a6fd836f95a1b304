// Drops that one has looked at, told in bundles so that looking costs nothing.

import { change } from "./core.js";

const told = new Set();
let fresh = [];
let timer = 0;

export function looked(id) {
  if (told.has(id)) return;
  told.add(id);
  fresh.push(id);
  clearTimeout(timer);
  timer = setTimeout(tellSeen, 1500);
}

function tellSeen() {
  const drops = fresh;
  fresh = [];
  if (drops.length) change("/api/seen", { drops }).catch(() => drops.forEach((id) => told.delete(id)));
}

document.addEventListener("visibilitychange", () => { if (document.hidden) tellSeen(); });

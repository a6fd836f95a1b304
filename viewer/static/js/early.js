// Before the first paint, so that no page flashes in the other theme.
(() => {
  const root = document.documentElement;
  const kept = (key) => { try { return localStorage.getItem(key); } catch { return null; } };
  const dark = kept("theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  root.classList.toggle("dark", dark === "dark");
  root.classList.toggle("safe", kept("palette") === "safe");
})();

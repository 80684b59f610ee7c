// Light or dark: as the system says, until somebody presses the switch in this browser.

import { load, save } from "./storage.js";

const THEME = "rayquiz.theme";
const lightSystem = matchMedia("(prefers-color-scheme: light)");

// "light" or "dark": what is shown now.
export function themeNow() {
  return document.documentElement.dataset.theme ?? (lightSystem.matches ? "light" : "dark");
}

export function chooseTheme(theme) {
  save(THEME, theme);
  show(theme);
}

// Tell when the theme changes by the system; returns how to stop that.
export function onSystemTheme(listener) {
  lightSystem.addEventListener("change", listener);
  return () => lightSystem.removeEventListener("change", listener);
}

function show(theme) {
  document.documentElement.dataset.theme = theme;
  const colour = getComputedStyle(document.documentElement).getPropertyValue("--night");
  for (const meta of document.querySelectorAll('meta[name="theme-color"]')) meta.content = colour;
}

const chosen = load(THEME);
if (chosen === "light" || chosen === "dark") show(chosen);

// Small switches that stand in the head of a page.

import { html, useEffect, useState } from "../../vendor/preact-htm.js";
import { chooseTheme, onSystemTheme, themeNow } from "../lib/theme.js";

const PATHS = {
  sun: "M12 7a5 5 0 1 1 0 10 5 5 0 0 1 0-10zM11 1h2v4h-2zM11 19h2v4h-2zM1 11h4v2H1zM19 11h4v2h-4zM4.900 3.500l2.800 2.800-1.400 1.400-2.800-2.800zM17.700 16.300l2.800 2.800-1.400 1.400-2.800-2.800zM19.100 3.500l1.400 1.400-2.800 2.800-1.400-1.400zM6.300 16.300l1.400 1.400-2.800 2.800-1.400-1.400z",
  moon: "M9.500 2.200A10 10 0 1 0 21.800 14.500 8 8 0 0 1 9.500 2.200z",
};

function IconButton({ icon, label, onClick }) {
  return html`<button type="button" class="icon-button" aria-label=${label} title=${label} onClick=${onClick}>
    <svg viewBox="0 0 24 24" aria-hidden="true"><path d=${PATHS[icon]} /></svg>
  </button>`;
}

export function ThemeSwitch() {
  const [theme, setTheme] = useState(themeNow);
  useEffect(() => onSystemTheme(() => setTheme(themeNow())), []);
  const other = theme === "light" ? "dark" : "light";
  const change = () => {
    chooseTheme(other);
    setTheme(other);
  };
  return html`<${IconButton} icon=${other === "light" ? "sun" : "moon"} label="Switch to the ${other} theme" onClick=${change} />`;
}

// Small switches that stand in the head of a page.

import { html, useEffect, useState } from "../../vendor/preact-htm.js";
import { chooseTheme, onSystemTheme, themeNow } from "../lib/theme.js";

const PATHS = {
  sun: "M12 7a5 5 0 1 1 0 10 5 5 0 0 1 0-10zM11 1h2v4h-2zM11 19h2v4h-2zM1 11h4v2H1zM19 11h4v2h-4zM4.900 3.500l2.800 2.800-1.400 1.400-2.800-2.800zM17.700 16.300l2.800 2.800-1.400 1.400-2.800-2.800zM19.100 3.500l1.400 1.400-2.800 2.800-1.400-1.400zM6.300 16.300l1.400 1.400-2.800 2.800-1.400-1.400z",
  sound: "M3 9v6h4l6 5V4L7 9zM15.500 8.200v7.600a4.500 4.500 0 0 0 0-7.600zM15.500 3.500v2.100a7 7 0 0 1 0 12.800v2.100a9 9 0 0 0 0-17z",
  silence: "M3 9v6h4l6 5V4L7 9zM22 9.400 20.600 8l-2.400 2.400L15.800 8l-1.400 1.400 2.400 2.400-2.400 2.400 1.400 1.400 2.400-2.400 2.400 2.400 1.400-1.400-2.400-2.400z",
  full: "M3 3h7v2.500H5.500V10H3zM14 3h7v7h-2.500V5.500H14zM3 14h2.500v4.500H10V21H3zM18.500 14H21v7h-7v-2.500h4.500z",
  window: "M7.500 3H10v7H3V7.500h4.500zM14 3h2.500v4.500H21V10h-7zM3 14h7v7H7.500v-4.500H3zM14 14h7v2.500h-4.500V21H14z",
  moon: "M9.500 2.200A10 10 0 1 0 21.800 14.500 8 8 0 0 1 9.500 2.200z",
};

function IconButton({ icon, label, isPressed, onClick }) {
  return html`<button type="button" class="icon-button" aria-label=${label} title=${label} aria-pressed=${isPressed} onClick=${onClick}>
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

// `sound` is that of useSound.
export function SoundSwitch({ sound }) {
  return html`<${IconButton} icon=${sound.isOn ? "sound" : "silence"} label="Sound" isPressed=${sound.isOn} onClick=${sound.toggle} />`;
}

export function FullScreenButton() {
  const [isFull, setFull] = useState(Boolean(document.fullscreenElement));
  useEffect(() => {
    const look = () => setFull(Boolean(document.fullscreenElement));
    document.addEventListener("fullscreenchange", look);
    return () => document.removeEventListener("fullscreenchange", look);
  }, []);
  if (!document.fullscreenEnabled) return null;
  const change = () => (isFull ? document.exitFullscreen() : document.documentElement.requestFullscreen());
  return html`<${IconButton} icon=${isFull ? "window" : "full"} label=${isFull ? "Leave full screen" : "Full screen"} onClick=${change} />`;
}

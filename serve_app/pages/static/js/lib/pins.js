// PINs: what people type is read with or without spaces and hyphens, what they read is in two groups.
// The server reads every style (engine/pins.py), whichever one new sessions get.

import { PIN_DIGITS, PIN_LETTERS, PIN_LONG_DIGITS } from "./facts.js";

const STYLES = {
  digits6: { input: "numeric", example: "000000", rule: `A PIN has ${PIN_DIGITS} digits.` },
  digits8: { input: "numeric", example: "00000000", rule: `A PIN has ${PIN_LONG_DIGITS} digits.` },
  letters: { input: "text", example: "BCDFGH", rule: `A PIN has ${PIN_LETTERS} letters.` },
};
const IS_PIN = new RegExp(`^(\\d{${PIN_DIGITS}}|\\d{${PIN_LONG_DIGITS}}|[A-Z]{${PIN_LETTERS}})$`);

// How the PINs of new sessions look: {input, example, rule}.
export function pinStyle() {
  const name = document.querySelector('meta[name="rayquiz-pin-style"]').content;
  return STYLES[name] ?? STYLES.digits6;
}

// The letters and digits that somebody has typed so far.
export function readPin(typed) {
  return typed.toUpperCase().replace(/[^0-9A-Z]/g, "").slice(0, PIN_LONG_DIGITS);
}

export function isPin(pin) {
  return IS_PIN.test(pin);
}

// "123 456" or "1234 5678"; of one that is not whole yet, what there is.
export function groupPin(pin, chars = pin.length) {
  const half = Math.max(chars, pin.length) > PIN_DIGITS ? PIN_LONG_DIGITS / 2 : PIN_DIGITS / 2;
  return `${pin.slice(0, half)} ${pin.slice(half)}`.trim();
}

// Numbers in words.

const ENDINGS = { one: "st", two: "nd", few: "rd", other: "th" };
const ordinals = new Intl.PluralRules("en", { type: "ordinal" });

export function number(value) {
  return value.toLocaleString("en");
}

export function plural(count, one, many = `${one}s`) {
  return `${number(count)} ${count === 1 ? one : many}`;
}

const graphemes = globalThis.Intl?.Segmenter && new Intl.Segmenter();

// How many characters people see: a family is one, and so is a letter with its marks.
export function countSeen(text) {
  return [...(graphemes ? graphemes.segment(text) : text)].length;
}

const IS_CODE = /^[ \t]+\S|\S(\t|[ \t]{2,})\S/m;

// Whether spaces tell texts apart, as in lines of a program: then every letter is as wide as a space.
export function isCode(texts) {
  return texts.some((text) => IS_CODE.test(text));
}

// A share as people read it; a dash where there is nothing to share.
export function percent(part, whole) {
  return whole ? `${Math.round((100 * part) / whole)}%` : "–";
}

export function ordinal(value) {
  return `${number(value)}${ENDINGS[ordinals.select(value)]}`;
}

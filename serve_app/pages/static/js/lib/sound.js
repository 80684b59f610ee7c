// Sound for a room: made here, note by note, so that nothing is fetched. Off until somebody switches it on.

import { useEffect, useRef, useState } from "../../vendor/preact-htm.js";
import { pauseBefore, stepsOf } from "./reveal.js";
import { load, save } from "./storage.js";

const LOUDNESS = 0.22;
const LOBBY_STEP_MS = 460;
const TICKS_S = 5;
const LOOK_MS = 100;
// Hertz. A scale of five tones has no pair that sounds wrong.
const LOBBY = [262, 330, 392, 440, 523, 440, 392, 330];
const ASK = [392, 523];
const REVEAL = [523, 659, 784, 1047];
const STEPS = [330, 392, 523];
const FANFARE = [523, 659, 784, 1047, 784, 1047];

class Synth {
  #context = new AudioContext();
  #out = this.#context.createGain();

  constructor() {
    this.#out.gain.value = LOUDNESS;
    this.#out.connect(this.#context.destination);
  }

  // Browsers let a page sound only after somebody has touched it.
  wake() {
    this.#context.resume();
  }

  // One tone: when (seconds from now), how long, what kind of wave, how loud (up to 1).
  note(hertz, { after = 0, lasts = 0.3, wave = "triangle", loud = 0.6 } = {}) {
    if (this.#context.state !== "running") return;
    const start = this.#context.currentTime + after;
    const tone = this.#context.createOscillator();
    const level = this.#context.createGain();
    tone.type = wave;
    tone.frequency.value = hertz;
    level.gain.setValueAtTime(0, start);
    level.gain.linearRampToValueAtTime(loud, start + 0.015);
    level.gain.exponentialRampToValueAtTime(0.001, start + lasts);
    tone.connect(level).connect(this.#out);
    tone.start(start);
    tone.stop(start + lasts);
  }

  row(tones, { every, ...how }) {
    tones.forEach((hertz, index) => this.note(hertz, { ...how, after: index * every }));
  }
}

// Phase -> what begins with it; returns how to stop it.
const SCORES = {
  lobby(synth) {
    let step = 0;
    const timer = setInterval(() => {
      synth.note(LOBBY[step % LOBBY.length], { loud: 0.3, lasts: 0.42 });
      if (step % 4 === 0) synth.note(LOBBY[0] / 2, { wave: "sine", loud: 0.5, lasts: 0.9 });
      step += 1;
    }, LOBBY_STEP_MS);
    return () => clearInterval(timer);
  },
  preview(synth) {
    synth.row(ASK, { every: 0.16 });
  },
  question_open(synth, { question }, clock) {
    let told = 0;
    const timer = setInterval(() => {
      const seconds = Math.ceil(clock.msUntil(question.closes_ms) / 1000);
      if (seconds === told || seconds > TICKS_S || seconds < 1) return;
      told = seconds;
      synth.note(seconds === 1 ? 880 : 660, { wave: "square", loud: 0.25, lasts: 0.09 });
    }, LOOK_MS);
    return () => clearInterval(timer);
  },
  question_closed(synth) {
    synth.row(REVEAL, { every: 0.09, lasts: 0.7, loud: 0.4 });
  },
  finished(synth, { scoreboard }) {
    const timers = [];
    let at = 0;
    const count = stepsOf(scoreboard).size;
    for (let shown = 0; shown < count; shown += 1) {
      at += pauseBefore(shown);
      const isLast = shown + 1 === count;
      const play = () => (isLast ? synth.row(FANFARE, { every: 0.15, lasts: 0.8 }) : synth.note(STEPS[shown], { lasts: 0.8 }));
      timers.push(setTimeout(play, at));
    }
    return () => timers.forEach(clearTimeout);
  },
};

// Sound on the page `place` ("board" or "host"), which remembers its own switch: {isOn, toggle}.
export function useSound(place, view, clock) {
  const key = `rayquiz.sound.${place}`;
  const [isOn, setOn] = useState(() => load(key) === true);
  const synth = useRef(null);
  if (isOn) synth.current ??= new Synth();
  const { phase, opening_no: opening, question } = view ?? {};
  useEffect(() => {
    if (!isOn) return undefined;
    const wake = () => synth.current.wake();
    wake();
    addEventListener("pointerdown", wake);
    addEventListener("keydown", wake);
    return () => {
      removeEventListener("pointerdown", wake);
      removeEventListener("keydown", wake);
    };
  }, [isOn]);
  useEffect(() => {
    if (isOn && view) return SCORES[phase]?.(synth.current, view, clock);
    return undefined;
  }, [isOn, phase, opening, question?.closes_ms]);
  const toggle = () => {
    save(key, !isOn);
    setOn(!isOn);
  };
  return { isOn, toggle };
}

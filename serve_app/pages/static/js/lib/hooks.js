// What components need from a session and from the browser.

import { useEffect, useLayoutEffect, useRef, useState } from "../../vendor/preact-htm.js";

// The newest state, at most once for each picture that the screen shows: a slow machine leaves
// states out instead of falling behind. A hidden page shows no pictures.
export function useSession(session) {
  const [state, setState] = useState(session.state);
  useEffect(() => {
    let isDue = false;
    const take = () => {
      isDue = false;
      setState(session.state);
    };
    return session.subscribe(() => {
      if (isDue) return;
      isDue = true;
      if (document.hidden) setTimeout(take);
      else requestAnimationFrame(take);
    });
  }, [session]);
  return state;
}

// Milliseconds until a deadline of the server's clock, a few times a second; null without one.
export function useCountdown(clock, deadlineMs) {
  const [, redraw] = useState(0);
  useEffect(() => {
    if (!deadlineMs) return undefined;
    const timer = setInterval(() => redraw((n) => n + 1), 200);
    return () => clearInterval(timer);
  }, [deadlineMs]);
  return deadlineMs ? clock.msUntil(deadlineMs) : null;
}

export function usePrefersStill() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

const FIT_STEP = 0.94;
const FIT_STEPS = 24;
const WHOLE_STEPS = 14;
const WHOLE = ".whole-words .choice-text, .whole-words .question-text";

function isWideEnough({ scrollWidth, clientWidth }) {
  return scrollWidth <= clientWidth + 1;
}


// Size the text of an element so that its content just fits: question and choices of any length
// must be seen whole on a projector, where nobody can scroll. The style sheet asks for it with
// `--fit-max`: how large the text may get.
export function useFit(deps) {
  const ref = useRef(null);
  useLayoutEffect(() => {
    const box = ref.current;
    if (!box) return undefined;
    const largest = Number(getComputedStyle(box).getPropertyValue("--fit-max"));
    if (!largest) return undefined;
    // Every look costs a layout, so sizes are halved down to the first that fits, not walked through.
    const fits = (step) => {
      box.style.setProperty("--fit", String(largest * FIT_STEP ** step));
      if (box.scrollHeight > box.clientHeight + 1) return false;
      return isWideEnough(box) && [...box.querySelectorAll(WHOLE)].every(isWideEnough);
    };
    // Smaller letters are better than words broken inside, down to some size.
    const fit = () => {
      box.classList.add("whole-words");
      if (!fits(WHOLE_STEPS)) box.classList.remove("whole-words");
      let low = 0;
      let high = FIT_STEPS;
      for (let middle = 0; low < high; middle = (low + high) >> 1) {
        if (fits(middle)) high = middle;
        else low = middle + 1;
      }
      fits(low);
    };
    fit();
    const observer = new ResizeObserver(fit);
    observer.observe(box);
    document.fonts?.ready.then(fit);
    return () => observer.disconnect();
  }, deps);
  return ref;
}

const STATES = {
  lobby: "Lobby",
  scoreboard: "Scoreboard",
  self_paced_open: "At your own pace",
  finished: "Final result",
  cancelled: "Cancelled",
};

// The tab says where the quiz is, for whoever has several.
export function useTitle(view) {
  const count = view?.question && `${view.question.question_index + 1} of ${view.question_count}`;
  const verb = view?.phase === "question_closed" ? "Answer to question" : "Question";
  const state = view && (STATES[view.phase] ?? `${verb} ${count}`);
  useEffect(() => {
    if (state) document.title = `${state} · ${view.title} · Rayquiz`;
  }, [state]);
}

// Begin at the top when a new screen comes: a page that was scrolled down hides its beginning.
export function useTopOn(key) {
  const first = useRef(true);
  useLayoutEffect(() => {
    if (!first.current) {
      scrollTo(0, 0);
      document.querySelector("main")?.scrollTo(0, 0);
    }
    first.current = false;
  }, [key]);
}

// What a person sees as one screen: answers open below a question that stays where it is.
export function screenOf(view) {
  const asks = view.phase === "preview" || view.phase === "question_open";
  return `${asks ? "question" : view.phase}:${view.opening_no}`;
}

// Keep the screen awake while `isOn`: nobody touches a board, and a phone waits for its question. A browser
// lets go of it whenever the page is hidden, and has none at all on plain http.
export function useAwake(isOn) {
  useEffect(() => {
    if (!isOn || !navigator.wakeLock) return undefined;
    let held = null;
    let isOver = false;
    const ask = async () => {
      if (document.hidden) return;
      try {
        held = await navigator.wakeLock.request("screen");
        if (isOver) held.release();
      } catch {
        // Refused, to save the battery.
      }
    };
    ask();
    document.addEventListener("visibilitychange", ask);
    return () => {
      isOver = true;
      document.removeEventListener("visibilitychange", ask);
      held?.release();
    };
  }, [isOn]);
}

// What browsers call a key that an input method has taken.
const COMPOSING_KEY = 229;

// Enter that ends the composing of an input method is no Enter to send: `keys` belong to the field, and
// `isOn` says whether the key that is pressed was the input method's.
export function useComposing() {
  const isComposing = useRef(false);
  const onKeyDown = (event) => (isComposing.current = event.isComposing || event.keyCode === COMPOSING_KEY);
  const onKeyUp = () => (isComposing.current = false);
  return { isOn: () => isComposing.current, keys: { onKeyDown, onKeyUp } };
}

let shown = false;

// Say something to screen readers. The same words twice are told apart by a space.
export function announce(text) {
  const region = document.getElementById("announcer");
  shown = !shown;
  region.textContent = shown ? text : `${text}\u00a0`;
}

// Move the focus to the heading of a new screen, so that the keyboard goes on from there.
export function useFocusOn(key) {
  const ref = useRef(null);
  const first = useRef(true);
  useEffect(() => {
    // A field that came with the screen has taken the focus already, and is the better place for it.
    const isTaken = document.activeElement?.matches("input");
    if (!first.current && !isTaken) ref.current?.focus({ preventScroll: true });
    first.current = false;
  }, [key]);
  return ref;
}

// A participant: name, lobby, question, answer, result, final place. Phone first.

import { html, render, useEffect, useMemo, useRef, useState } from "../../vendor/preact-htm.js";
import { callUntilAnswered, waitingText } from "../lib/api.js";
import { announce, screenOf, useFocusOn, useAwake, useSession, useTitle, useTopOn } from "../lib/hooks.js";
import { randomKey } from "../lib/keys.js";
import { groupPin, readPin } from "../lib/pins.js";
import { keepPlace, placeOf } from "../lib/place.js";
import { keepForReview } from "../lib/review.js";
import { Session } from "../lib/session.js";
import { plural } from "../lib/words.js";
import { AnswerPad } from "../parts/answer.js";
import { canShow, ConnectionBanner, NoView } from "../parts/banner.js";
import { ComeBack, OwnCode } from "../parts/comeback.js";
import { Bar, OpensIn } from "../parts/countdown.js";
import { JoinForm } from "../parts/join.js";
import { questionNote, QuestionText } from "../parts/question.js";
import { SelfPaced } from "../parts/selfpaced.js";
import { Finale, ResultCard, Standing } from "../parts/standing.js";

// The server sends a result right behind the close; when it does not, ask where one stands.
const RESULT_WAIT_MS = 3000;

function Play({ pin }) {
  const [info, setInfo] = useState(null);
  const [place, setPlace] = useState(null);
  const [problem, setProblem] = useState("");
  const [tries, setTries] = useState(0);
  useEffect(() => {
    const found = (data) => {
      const mine = placeOf(pin, data.session_id);
      keepPlace(pin, mine);
      setInfo(data);
      setPlace(mine);
    };
    const failed = (error) => {
      // The PIN may be given up already while one's place is still there to be seen.
      const kept = placeOf(pin);
      if (kept.token) setPlace(kept);
      else setProblem(error.code === "not_found" ? `No quiz is running under ${groupPin(pin)}.` : error.message);
    };
    callUntilAnswered("GET", `/pins/${pin}`, {}, (error) => setProblem(waitingText(error))).then(found, failed);
  }, [tries]);

  if (place?.token) return html`<${Playing} pin=${pin} place=${place} onPlace=${setPlace} />`;
  // Whoever has sent a name already may be in: the join itself tells.
  if (place && info?.locked && !place.nickname) {
    return html`<main class="center-page">
      <h1>${info.started ? "This quiz has already started" : "The host has locked this game"}</h1>
      <p>${info.started ? "Nobody new can join after the start." : "Nobody new can join now. Ask the host to unlock it."}</p>
      <button class="button primary" onClick=${() => setTries(tries + 1)}>Try again</button>
      <${ComeBack} pin=${pin} onJoined=${setPlace} />
      <p><a href="/">Type another PIN</a></p>
    </main>`;
  }
  if (place && info) return html`<${JoinForm} pin=${pin} title=${info.title} place=${place} onJoined=${setPlace} />`;
  return html`<main class="center-page">
    ${problem ? html`<h1>${problem}</h1>` : html`<span class="spinner large"></span><p>Looking for the quiz…</p>`}
    <p><a href="/">Type another PIN</a></p>
  </main>`;
}

function Playing({ pin, place, onPlace }) {
  const session = useMemo(() => {
    const onToken = (token) => keepPlace(pin, { ...place, token });
    return new Session(place.token, { ticket: place.ticket, onToken });
  }, [place.token]);
  useEffect(() => session.start(), [session]);
  const state = useSession(session);
  useAwake(!state.ended);
  useTitle(state.view);
  // A token that was ended is no reason to leave: the join key gives the same place again.
  const mayReturn = place.joinKey && place.nickname && !place.hasReturned;
  const returns = state.ended?.name === "unauthorized" && mayReturn;
  useEffect(() => {
    if (returns) returnTo(pin, place).then(onPlace);
  }, [returns]);
  if (returns) return html`<${NoView} session=${session} state=${{ ...state, ended: null }} />`;
  if (!canShow(state)) return html`<${NoView} session=${session} state=${state} />`;
  const { view, you } = state;
  const isAnswering = view.phase === "question_open" || view.phase === "self_paced_open";
  return html`
    <header class="play-bar">
      <bdi class="nickname">${you.nickname}</bdi>
      <span key=${you.points} class="play-points">${plural(you.points ?? 0, "point")}</span>
    </header>
    <${ConnectionBanner} state=${state} kept=${isAnswering ? "Your answer is kept." : "Your place is kept."} />
    <main class="play-main phase-${view.phase}"><${PlayPhase} session=${session} state=${state} /></main>`;
}

// Once for each page, so that a server that refuses is not asked for ever.
async function returnTo(pin, place) {
  const returned = { ...place, hasReturned: true };
  try {
    const json = { nickname: place.nickname, join_key: place.joinKey };
    const joined = await callUntilAnswered("POST", `/pins/${pin}/participants`, { json });
    keepPlace(pin, { ...place, token: joined.token });
    return { ...returned, token: joined.token, ticket: joined.ticket };
  } catch (error) {
    if (error.code === "unauthorized") return leave(pin);
    return returned;
  }
}

// The place has gone to another device: this one may join anew, or take it back with the code.
function leave(pin) {
  const place = { joinKey: randomKey(), sessionId: "", nickname: "", token: "", isLeft: true };
  keepPlace(pin, place);
  return place;
}

function PlayPhase({ session, state }) {
  const { view, you, refusals, isWithoutResult } = state;
  const { phase, question, opening_no: opening } = view;
  const result = you.result?.opening_no === opening ? you.result : null;
  const heading = useFocusOn(`${phase}:${opening}:${Boolean(result)}`);
  useTopOn(result && phase !== "finished" ? `result:${opening}` : screenOf(view));
  const lacksResult = (phase === "question_closed" || phase === "scoreboard") && !result;
  useEffect(() => {
    if (!lacksResult) return undefined;
    const timer = setTimeout(() => session.sayHelloAgain(), RESULT_WAIT_MS);
    return () => clearTimeout(timer);
  }, [lacksResult, opening]);
  useEffect(() => {
    if (!result || !view.reveal) return;
    const { correct, gained: points } = result;
    const answer = result.answered ? session.answerOf(opening) : null;
    keepForReview(session.claims, { question, key: view.reveal, answer, correct, points });
  }, [result, opening]);
  const hasPlayed = useRef(false);
  if (phase !== "finished") hasPlayed.current = true;
  const told = useRef(0);
  useEffect(() => {
    if (phase !== "preview" && phase !== "question_open") return;
    announce(told.current === opening ? "Answers are open" : question.text);
    told.current = opening;
  }, [phase, opening]);

  // Every screen is made anew (`key`): a browser that translates the page has put its own text where ours
  // was, and would go on showing that.
  switch (phase) {
    case "lobby":
      return html`<section key="lobby" class="waiting in-lobby">
        <span class="rays" aria-hidden="true"></span>
        <h1>You’re in!</h1>
        <p class="lobby-name"><bdi>${you.nickname}</bdi></p>
        <p>Look at the big screen. The quiz starts soon.</p>
        <p class="quiet">${plural(view.participants_count, "player")} here</p>
        <${OwnCode} code=${state.code} />
      </section>`;
    case "preview":
      return html`<section key="preview:${opening}" class="answering preview">
        <p class="eyebrow">${questionNote(view, question)}</p>
        <${QuestionText} text=${question.text} heading=${heading} />
        <${OpensIn} clock=${session.clock} question=${question} />
      </section>`;
    case "question_open":
      return html`<section key="open:${opening}" class="answering">
        <${Bar} clock=${session.clock} question=${question} />
        <p class="eyebrow">${questionNote(view, question)}</p>
        <${QuestionText} text=${question.text} heading=${heading} />
        <${AnswerPad} key=${opening} session=${session} question=${question} />
      </section>`;
    case "question_closed":
    case "scoreboard":
      if (result) {
        return html`<${ResultCard} key=${opening} view=${view} result=${result} refusal=${refusals[opening]}
          draft=${session.drafts.get(opening)} isSentAtEnd=${session.sentAtEnd.has(opening)} heading=${heading} code=${state.code} />`;
      }
      if (isWithoutResult) return html`<${JustJoined} view=${view} you=${you} code=${state.code} />`;
      return html`<section key="closed:${opening}" class="waiting"><h1>Time’s up</h1><p>Counting the answers…</p></section>`;
    case "self_paced_open":
      return html`<${SelfPaced} session=${session} state=${state} />`;
    case "finished":
      return html`<${Finale} claims=${session.claims} view=${view} you=${you} heading=${heading} isWatched=${hasPlayed.current} />`;
    default:
      return html`<section class="waiting"><h1 ref=${heading} tabindex="-1">The host has ended this quiz</h1><p><a href="/">To the start</a></p></section>`;
  }
}

// For whoever came after the close.
function JustJoined({ view, you, code }) {
  const isLast = view.question.question_index + 1 >= view.question_count;
  return html`<section class="waiting">
    <h1>You’re in!</h1>
    <p>${isLast ? "The last question has just closed." : "You play from the next question on."}</p>
    <${Standing} rank=${you.rank} points=${you.points ?? 0} count=${view.participants_count} />
    <${OwnCode} code=${code} />
  </section>`;
}

const pin = readPin(new URLSearchParams(location.search).get("pin") ?? "");
if (pin) render(html`<${Play} pin=${pin} />`, document.getElementById("app"));
else location.replace("/");

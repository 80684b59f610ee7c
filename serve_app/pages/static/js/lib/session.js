// A quiz session as this page sees it: the view, one's own place, what is on its way.
// Every change makes a new `state` object and calls the listeners.

import { ServerClock } from "./clock.js";
import { Connection } from "./connection.js";
import { Credentials } from "./credentials.js";
import { PROTOCOL_VERSION } from "./facts.js";
import { randomKey } from "./keys.js";
import { Outbox } from "./outbox.js";

const PUMP_MS = 500;
// Spread, because a whole hall has joined in the same minute.
const RENEW_LOOK_MS = 600_000 * (0.8 + 0.4 * Math.random());

export class Session {
  clock = new ServerClock();
  state = {
    connection: "connecting",
    ended: null, // of CLOSE_CODES, when there is no way back
    view: null,
    you: null,
    receipts: {}, // opening -> receipt
    refusals: {}, // opening -> error
    question: null, // self-paced play: the question that was asked for
    sending: [], // keys in the outbox
    fault: null, // the last error that belongs to no answer
    isWithoutResult: false, // whoever joins after the close has none, and waits for none
    isOutdated: false,
    code: "", // a participant's own, to come back with on another device
  };

  // Opening -> what is ticked or typed and not sent; openings whose draft was sent when time was up.
  drafts = new Map();
  sentAtEnd = new Set();

  #outbox = new Outbox();
  #connection;
  #listeners = new Set();
  #asked = 0;
  // Self-paced play: openings up to this one are in `you.points` already.
  #countedUpTo = 0;

  // `given` may have the `ticket` of a join, and `onToken`, which is told a token that was renewed.
  constructor(token, given = {}) {
    const onToken = (renewed) => {
      given.onToken?.(renewed);
      this.#set({});
    };
    this.credentials = new Credentials(token, { ...given, onToken });
    const { claims } = this.credentials;
    if (claims.pid) this.#outbox.persistAs(`rayquiz.taps.${claims.sid}.${claims.pid}`);
    this.claims = claims;
    this.#connection = new Connection({
      credentials: this.credentials,
      lastSeen: () => ({
        epoch: this.state.view?.epoch ?? 0,
        version: this.state.view?.version ?? 0,
      }),
      onMessage: (message) => this.#receive(message),
      onState: (connection, ended) => this.#set({ connection, ended }),
    });
  }

  start() {
    this.#connection.start();
    setInterval(() => this.#pump(), PUMP_MS);
    setInterval(() => {
      if (this.state.view) this.credentials.renewAtNeed(this.clock);
    }, RENEW_LOOK_MS);
  }

  // Say hello anew: to take this place back from another tab, or to be told where one stands.
  sayHelloAgain() {
    this.#connection.restart();
  }

  subscribe(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  // The first answer to an opening stands, here as on the server.
  answer(opening, { choices = [], text = "" }) {
    if (this.answerState(opening) !== "open") return;
    const message = { type: "answer", opening };
    if (text) message.text = text.trim();
    else message.choices = choices;
    this.#outbox.add(`answer:${opening}`, message);
    this.#pump();
  }

  // "open", "sending", "received" or "refused".
  answerState(opening) {
    if (this.state.receipts[opening]) return "received";
    if (this.#outbox.get(`answer:${opening}`)) return "sending";
    return this.state.refusals[opening] ? "refused" : "open";
  }

  // What was answered, whether it has arrived or not.
  answerOf(opening) {
    return this.state.receipts[opening] ?? this.#outbox.get(`answer:${opening}`);
  }

  ask(opening) {
    this.#asked = opening;
    this.#connection.send({ type: "ask", opening });
  }

  // Move the session on from what is on the screen now. A second press while the first is on its
  // way is the same press.
  move(step, extra = {}) {
    const { view } = this.state;
    const who = extra.participants ? `${extra.participants[0]}+${extra.participants.length}` : (extra.participant ?? 0);
    const key = `${step}:${view.phase}:${view.opening_no}:${who}`;
    if (this.#outbox.get(key)) return;
    const where = { phase: view.phase, opening: view.opening_no };
    this.#outbox.add(key, { type: "move", command_id: randomKey(), step, ...where, ...extra });
    this.#set({ fault: null });
    this.#pump();
  }

  #receive(message) {
    switch (message.type) {
      case "welcome":
        return this.#welcome(message);
      case "snapshot":
        return this.#snapshot(message);
      case "delta":
        return this.#delta(message);
      case "receipt":
        return this.#receipt(message);
      case "result":
        return this.#result(message.result);
      case "question":
        return this.#question(message.question);
      case "done":
        return this.#done(message.command_id);
      case "error":
        return this.#error(message);
    }
  }

  #welcome(message) {
    this.clock.reset();
    this.clock.observe(message.now_ms);
    const view = message.view ?? this.state.view;
    const you = message.you ?? null;
    const patch = { view, you, isOutdated: message.protocol !== PROTOCOL_VERSION, code: message.code ?? "" };
    if (you) {
      const hasClosed = view.phase === "question_closed" || view.phase === "scoreboard";
      patch.isWithoutResult = hasClosed && you.result?.opening_no !== view.opening_no;
      const next = you.next_opening ?? 0;
      this.#countedUpTo = next ? next - 1 : view.question_count;
      if (you.receipt) {
        this.#outbox.settle(`answer:${you.receipt.opening}`);
        patch.receipts = { ...this.state.receipts, [you.receipt.opening]: you.receipt };
      }
    }
    this.#set(patch);
    if (this.#asked) this.ask(this.#asked);
    this.#outbox.allDue();
    this.#pump();
  }

  #snapshot({ now_ms: nowMs, view }) {
    // An actor that came back may do so on another machine, with another clock.
    if (view.epoch !== this.state.view.epoch) this.clock.reset();
    this.clock.observe(nowMs);
    this.#show(view);
  }

  #delta({ epoch, version, now_ms: nowMs, changes }) {
    const { view } = this.state;
    if (epoch === view.epoch && version <= view.version) return;
    if (epoch !== view.epoch || version !== view.version + 1) {
      this.#set({ view: { ...view, epoch: 0, version: 0 } });
      this.#connection.restart();
      return;
    }
    this.clock.observe(nowMs);
    this.#show({ ...view, version, ...changes });
  }

  // Take the next view, and what follows from it for one's own place.
  #show(view) {
    const { view: before, you } = this.state;
    const hasMoved = view.phase !== before.phase || view.opening_no !== before.opening_no;
    const patch = { view };
    if (hasMoved) patch.isWithoutResult = false;
    if (you && hasMoved && view.phase === "self_paced_open") {
      this.#countedUpTo = 0;
      patch.you = { ...you, next_opening: 1 };
    }
    this.#set(patch);
    // Self-paced play tells no results: the final rank comes with a new hello.
    const hasEnded = hasMoved && before.phase === "self_paced_open";
    if (you && (hasEnded || isMissing(you, view))) this.#connection.restart();
  }

  #receipt(receipt) {
    const { opening } = receipt;
    this.#outbox.settle(`answer:${opening}`);
    const patch = { receipts: { ...this.state.receipts, [opening]: receipt } };
    if (this.state.view.mode === "self_paced" && opening > this.#countedUpTo) {
      this.#countedUpTo = opening;
      const { you, view } = this.state;
      const next = opening < view.question_count ? opening + 1 : 0;
      const points = (you.points ?? 0) + (receipt.points ?? 0);
      patch.you = { ...you, points, next_opening: next };
    }
    this.#set(patch);
  }

  #result(result) {
    const { you } = this.state;
    this.#set({ you: { ...you, points: result.points, rank: result.rank, result } });
  }

  #question(question) {
    if (question.opening_no === this.#asked) this.#asked = 0;
    this.#set({ question });
  }

  #done(commandId) {
    for (const key of this.#outbox.keys()) {
      if (this.#outbox.get(key).command_id === commandId) this.#outbox.settle(key);
    }
    this.#set({});
  }

  #error(error) {
    const key = this.#keyOf(error);
    if (key && error.retryable) {
      this.#outbox.retryAfter(key, error.retry_after_ms ?? 1000);
    } else if (key) {
      const { opening } = this.#outbox.get(key);
      const isAnswer = key.startsWith("answer:");
      this.#outbox.settle(key);
      const refusals = { ...this.state.refusals, [opening]: error };
      this.#set(isAnswer ? { refusals } : { fault: error });
    } else if (!error.retryable) {
      this.#set({ fault: error });
    }
    // The place is gone whatever the message was about; a new hello gets the close code that says so.
    if (error.code === "removed") this.#connection.restart();
  }

  #keyOf({ opening = 0, command_id: commandId = "" }) {
    if (commandId) {
      return this.#outbox.keys().find((key) => this.#outbox.get(key).command_id === commandId);
    }
    const key = `answer:${opening}`;
    return this.#outbox.get(key) ? key : undefined;
  }

  #pump() {
    this.#outbox.sendDue((message) => this.#connection.send(message));
    const sending = this.#outbox.keys();
    if (sending.join() !== this.state.sending.join()) this.#set({ sending });
  }

  #set(patch) {
    this.state = { ...this.state, ...patch, sending: this.#outbox.keys() };
    for (const listener of this.#listeners) listener();
  }
}

// Whether a roster that names everybody leaves this participant out: the host has removed it, and a
// new hello is told so.
function isMissing(you, { roster, participants_count: count }) {
  if (roster.length < count) return false;
  return !roster.some((person) => person.participant_id === you.participant_id);
}

// Everybody who is in, for the host: search, select, remove. Pages come from the server, because a
// full game has thousands; nothing here changes by itself under the host's finger.

import { html, useEffect, useRef, useState } from "../../vendor/preact-htm.js";
import { callUntilAnswered } from "../lib/api.js";
import { REMOVED_AT_ONCE_MAX, ROSTER_PAGE_ROWS_MAX } from "../lib/facts.js";
import { number, plural } from "../lib/words.js";
import { Dialog } from "./dialog.js";

const TYPING_MS = 250;
const FILTERS = [
  ["all", "Everybody"],
  ["recent", "Last minute"],
  ["never_connected", "Never connected"],
];

export function Players({ session, state, sessionId, token, first, onClose }) {
  const [search, setSearch] = useState("");
  const [only, setOnly] = useState(first ?? "all");
  const [chosen, setChosen] = useState(new Set());
  const [asks, setAsks] = useState(false);
  const roster = useRoster({ sessionId, token, search, only });
  const isRemoving = useRemovals(state, roster.reload);

  const look = (change) => {
    change();
    setChosen(new Set());
    setAsks(false);
  };
  const choose = (who, isChosen) => {
    const next = new Set(chosen);
    if (isChosen) next.add(who);
    else next.delete(who);
    setChosen(next);
  };
  const chooseAll = async (isChosen) => {
    if (!isChosen) return setChosen(new Set());
    const people = await roster.rest();
    setChosen(new Set(people.map((person) => person.participant_id)));
  };
  const remove = () => {
    const who = [...chosen];
    for (let from = 0; from < who.length; from += REMOVED_AT_ONCE_MAX) {
      session.move("remove", { participants: who.slice(from, from + REMOVED_AT_ONCE_MAX) });
    }
    setChosen(new Set());
    setAsks(false);
  };

  const { people, matching, note } = roster;
  return html`<${Dialog} title="Players" onClose=${onClose} wide>
    <div class="players-find">
      <label for="players-search">Find a player</label>
      <input id="players-search" class="text-input" type="search" autocomplete="off" spellcheck=${false} value=${search}
        onInput=${(event) => look(() => setSearch(event.target.value))} />
      <fieldset class="players-filter">
        <legend class="unseen">Show</legend>
        ${FILTERS.map(([name, label]) => html`<label key=${name} class="filter-chip">
          <input type="radio" name="players-only" checked=${only === name} onChange=${() => look(() => setOnly(name))} />
          <span>${label}</span>
        </label>`)}
      </fieldset>
    </div>
    <div class="players-all">
      <label class="players-row">
        <input type="checkbox" checked=${matching > 0 && chosen.size === matching} disabled=${!matching || roster.isLoading}
          indeterminate=${chosen.size > 0 && chosen.size < matching} onChange=${(event) => chooseAll(event.target.checked)} />
        <span>Select all <b>${number(matching)}</b></span>
      </label>
      <button class="button small" onClick=${() => look(roster.reload)}>Refresh</button>
    </div>
    <ul class="players-list" tabindex="0" aria-label="Players, newest first">
      ${people.map((person) => html`<${Row} key=${person.participant_id} person=${person}
        isChosen=${chosen.has(person.participant_id)} onChoose=${choose} />`)}
      ${people.length < matching && html`<li key="more"><button class="button small" aria-busy=${roster.isLoading} onClick=${roster.more}>
        Show more
      </button></li>`}
    </ul>
    <p class="players-note" role="status">${isRemoving ? "Removing…" : note || (!matching && "Nobody matches.")}</p>
    ${asks
      ? html`<p><b>Remove ${plural(chosen.size, "player")}?</b> Their points go, and they cannot come back from the same device.</p>
        <div class="dialog-actions">
          <button class="button danger" onClick=${remove}>Remove ${number(chosen.size)}</button>
          <button class="button" onClick=${() => setAsks(false)}>Keep</button>
        </div>`
      : html`<div class="dialog-actions">
          <button class="button danger" disabled=${!chosen.size} onClick=${() => setAsks(true)}>
            Remove${chosen.size ? ` ${plural(chosen.size, "player")}` : ""}…
          </button>
          <button class="button" onClick=${onClose}>Done</button>
        </div>`}
  <//>`;
}

function Row({ person, isChosen, onChoose }) {
  const who = person.participant_id;
  return html`<li><label class="players-row">
    <input type="checkbox" checked=${isChosen} onChange=${(event) => onChoose(who, event.target.checked)} />
    <span class="players-who">
      <bdi class="players-name">${person.nickname}</bdi>
      <span class="players-facts">${factsOf(person)}</span>
    </span>
  </label></li>`;
}

function factsOf(person) {
  const minutes = Math.floor(person.joined_s_ago / 60);
  const since = minutes ? `joined ${number(minutes)} min ago` : "just joined";
  if (!person.has_connected) return `${since}, never connected`;
  return person.connected === false ? `${since}, not connected now` : since;
}

// Pages of the roster: what has come so far, and how to get on.
function useRoster({ sessionId, token, search, only }) {
  const [found, setFound] = useState({ people: [], matching: 0, next: null });
  const [isLoading, setIsLoading] = useState(false);
  const [note, setNote] = useState("");
  // Answers to an earlier search are thrown away.
  const asked = useRef(0);

  const page = (before) => {
    const query = new URLSearchParams({ search, only, before, limit: ROSTER_PAGE_ROWS_MAX });
    return callUntilAnswered("GET", `/sessions/${sessionId}/roster?${query}`, { token }, (error) => setNote(error.message));
  };
  // Fetch pages behind `start` until there are enough; returns everybody who was found.
  const fetchPages = async (start, isEnough) => {
    const mine = ++asked.current;
    let all = start;
    setIsLoading(true);
    try {
      do {
        const { items, matching, next } = await page(all.next ?? 0);
        if (mine !== asked.current) return all.people;
        all = { people: [...all.people, ...items], matching, next };
        setFound(all);
        setNote("");
      } while (all.next && !isEnough());
    } catch (error) {
      if (mine === asked.current) setNote(error.message);
    } finally {
      if (mine === asked.current) setIsLoading(false);
    }
    return all.people;
  };
  const reload = () => fetchPages({ people: [], matching: 0, next: null }, () => true);
  useEffect(() => {
    const timer = setTimeout(reload, search ? TYPING_MS : 0);
    return () => clearTimeout(timer);
  }, [search, only]);
  return {
    ...found,
    isLoading,
    note,
    reload,
    more: () => fetchPages(found, () => true),
    rest: () => (found.next ? fetchPages(found, () => false) : found.people),
  };
}

// Whether removals are on their way; looks anew once they are stored.
function useRemovals(state, reload) {
  const isRemoving = state.sending.some((key) => key.startsWith("remove:"));
  const was = useRef(false);
  useEffect(() => {
    if (was.current && !isRemoving) reload();
    was.current = isRemoving;
  }, [isRemoving]);
  return isRemoving;
}

// How a session is to be played; sent as it stands to POST /api/sessions.

import { html, useState } from "../../vendor/preact-htm.js";
import { lastSettings } from "../lib/sessions.js";
import { Dialog } from "./dialog.js";

const START = {
  mode: "live",
  scoring: "speed_half_floor.v1",
  streak_bonus: false,
  preview_ms: 4000,
  close_when_all_answered: true,
  late_join: true,
};

// What most people want, each as its difference to START.
const PRESETS = [
  { name: "Class", text: "Live, with time to read", patch: {} },
  { name: "Party", text: "Live and quick, with a streak bonus", patch: { preview_ms: 2000, streak_bonus: true } },
  { name: "Homework", text: "Everybody at their own pace", patch: { mode: "self_paced", scoring: "accuracy.v1" } },
];

function isPreset(settings, { patch }) {
  return Object.entries({ ...START, ...patch }).every(([name, value]) => settings[name] === value);
}

export function StartDialog({ quiz, onStart, onClose, problem, isBusy }) {
  const [settings, setSettings] = useState({ ...START, ...lastSettings() });
  const isLive = settings.mode === "live";
  const change = (patch) => setSettings({ ...settings, ...patch });
  // Only the participant sees when a question of theirs was looked at, so speed pays nothing there.
  const changeMode = (mode) =>
    change(mode === "live" ? { mode } : { mode, scoring: "accuracy.v1", streak_bonus: false });
  const check = (name, text) => html`<label class="check">
    <input type="checkbox" checked=${settings[name]} onChange=${(event) => change({ [name]: event.target.checked })} />${text}
  </label>`;
  const submit = (event) => {
    event.preventDefault();
    onStart(settings);
  };
  return html`<${Dialog} title=${quiz.title} onClose=${onClose}>
    <form class="settings" onSubmit=${submit}>
      <fieldset class="presets">
        <legend>How do you want to play?</legend>
        ${PRESETS.map((preset) => html`<label key=${preset.name} class="preset">
          <input type="radio" name="preset" checked=${isPreset(settings, preset)} onChange=${() => setSettings({ ...START, ...preset.patch })} />
          <span><b>${preset.name}</b><small>${preset.text}</small></span>
        </label>`)}
      </fieldset>
      <details class="more-options">
        <summary>More options</summary>
        <label>Pace<select value=${settings.mode} onChange=${(event) => changeMode(event.target.value)}>
          <option value="live">The host sets the pace</option>
          <option value="self_paced">Everybody at their own pace</option>
        </select></label>
        ${isLive && html`
          <label>Points<select value=${settings.scoring} onChange=${(event) => change({ scoring: event.target.value })}>
            <option value="speed_half_floor.v1">Correct and fast</option>
            <option value="accuracy.v1">Correct, whatever the time</option>
          </select></label>
          <label>Reading time <small>(longer for long questions)</small><select value=${settings.preview_ms} onChange=${(event) => change({ preview_ms: Number(event.target.value) })}>
            <option value="0">None</option><option value="2000">2 seconds</option><option value="4000">4 seconds</option>
            <option value="7000">7 seconds</option><option value="15000">15 seconds</option>
          </select></label>
          ${check("streak_bonus", "Streak bonus: extra points for correct answers in a row")}
          ${check("close_when_all_answered", "Close as soon as everybody has answered")}`}
        ${check("late_join", "Late joining: people may join after the start")}
      </details>
      <p class="field-error" role="alert">${problem}</p>
      <div class="dialog-actions">
        <button class="button primary" type="submit" aria-busy=${isBusy}>Open the lobby</button>
        <button class="button" type="button" onClick=${onClose}>Cancel</button>
      </div>
    </form>
  <//>`;
}

// Results as a table for spreadsheets: one line for each player, three columns for each question.

// A cell that begins like a formula would be run by the spreadsheet: a nickname must not be able to.
const FORMULA = /^[=+\-@\t\r]/;
const CHOICE_LETTERS = "ABCDEFGH";

function cell(value) {
  let text = String(value ?? "");
  if (typeof value === "string" && FORMULA.test(text)) text = `'${text}`;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function csvOf(results) {
  const openings = results.openings.map((summary) => [summary.opening, summary.question_index]);
  const answers = new Map(results.answers.map((a) => [`${a.opening}:${a.participant_id}`, a]));
  const head = ["rank", "name", "points", "answered", "right", "too fast"];
  for (const [opening, index] of openings) {
    const text = results.quiz.questions[index].text;
    head.push(`${opening}. ${text}`, `${opening}. points`, `${opening}. seconds`);
  }
  const lines = results.scoreboard.map((row) => {
    const line = [row.rank, row.nickname, row.points, row.answered, row.correct, row.too_fast];
    for (const [opening] of openings) {
      const answer = answers.get(`${opening}:${row.participant_id}`);
      line.push(...(answer ? [said(answer), answer.points, answer.elapsed_ms / 1000] : ["", "", ""]));
    }
    return line;
  });
  // The mark at the start tells spreadsheets that this is UTF-8.
  return `\ufeff${[head, ...lines].map((line) => line.map(cell).join(",")).join("\r\n")}\r\n`;
}

function said(answer) {
  return answer.text || answer.choices.map((index) => CHOICE_LETTERS[index]).join(" ");
}

export function download(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

// How the end is told: third, second, first. The big screen shows the steps, and phones wait for the last.

const STEPS = 3;
const FIRST_MS = 700;
const NEXT_MS = 1300;
// A step is read a moment after it has begun to grow.
const GROWS_MS = 700;

// Rank -> rows, for the steps that there are. Competition ranking leaves ranks out after a tie, and
// nobody stands on a podium for no points at all.
export function stepsOf(rows) {
  const steps = new Map();
  for (const row of rows) {
    if (row.rank > STEPS || row.points <= 0) break;
    steps.set(row.rank, [...(steps.get(row.rank) ?? []), row]);
  }
  return steps;
}

// Milliseconds before the next step is shown, after so many that are.
export function pauseBefore(shown) {
  return shown ? NEXT_MS : FIRST_MS;
}

// Milliseconds from the end until the winner is seen on the big screen.
export function revealMs(rows) {
  const count = stepsOf(rows).size;
  return count && FIRST_MS + (count - 1) * NEXT_MS + GROWS_MS;
}

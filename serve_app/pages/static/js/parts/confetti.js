// A few seconds of paper, in the shapes' colours. Nothing for those who asked for stillness.

import { html, useEffect, useRef } from "../../vendor/preact-htm.js";
import { usePrefersStill } from "../lib/hooks.js";

const COLOURS = ["#ffc53d", "#ff7a66", "#5ad1a4", "#6db3ff", "#fff6e5"];
const PIECES = 160;
const LASTS_MS = 5200;
const GRAVITY = 0.00052;

export function Confetti() {
  const canvas = useRef(null);
  const still = usePrefersStill();
  useEffect(() => (still ? undefined : rain(canvas.current)), []);
  return still ? null : html`<canvas class="confetti" ref=${canvas} aria-hidden="true"></canvas>`;
}

function rain(canvas) {
  const width = (canvas.width = innerWidth);
  const height = (canvas.height = innerHeight);
  const pen = canvas.getContext("2d");
  const pieces = Array.from({ length: PIECES }, (_, index) => {
    const fromLeft = index % 2 === 0;
    return {
      x: fromLeft ? -10 : width + 10,
      y: height * 0.62,
      vx: (fromLeft ? 1 : -1) * width * (0.00012 + Math.random() * 0.00058),
      vy: -height * (0.0006 + Math.random() * 0.0008),
      size: 6 + Math.random() * (width / 150),
      turn: Math.random() * 6.3,
      spin: (Math.random() - 0.5) * 0.012,
      colour: COLOURS[index % COLOURS.length],
    };
  });
  let frame = 0;
  let before = performance.now();
  const start = before;
  const draw = (now) => {
    const dt = Math.min(40, now - before);
    before = now;
    pen.clearRect(0, 0, width, height);
    pen.globalAlpha = Math.min(1, (LASTS_MS - (now - start)) / 900);
    for (const piece of pieces) {
      piece.vy += GRAVITY * (height / 1080) * dt;
      piece.vx *= 0.995;
      piece.x += piece.vx * dt;
      piece.y += piece.vy * dt * 0.6;
      piece.turn += piece.spin * dt;
      pen.setTransform(Math.cos(piece.turn), Math.sin(piece.turn), 0, 1, piece.x, piece.y);
      pen.fillStyle = piece.colour;
      pen.fillRect(-piece.size / 2, -piece.size / 3, piece.size, piece.size * 0.66);
    }
    pen.setTransform(1, 0, 0, 1, 0, 0);
    if (now - start < LASTS_MS) frame = requestAnimationFrame(draw);
    else pen.clearRect(0, 0, width, height);
  };
  frame = requestAnimationFrame(draw);
  return () => cancelAnimationFrame(frame);
}

// What the server promises, as the pages know it. A test compares every value with the server's own.

export const PROTOCOL_VERSION = 1;
export const PIN_DIGITS = 6;
export const PIN_LONG_DIGITS = 8;
export const PIN_LETTERS = 6;
export const NICKNAME_CHARS_MAX = 24;
export const RETURN_CODE_DIGITS = 6;
export const TYPED_CHARS_MAX = 200;
export const QUIZ_BYTES_MAX = 4194304;
export const TOKEN_RENEW_S = 21600;
export const TICKET_LIFE_S = 90;
export const EXTEND_MS = 10000;
export const ROSTER_PAGE_ROWS_MAX = 100;
export const REMOVED_AT_ONCE_MAX = 500;

// Websocket close codes. Where `reconnect` is false the text is the last word on the page, unless the
// person presses `again`.
export const CLOSE_CODES = {
  4000: {
    name: "hello_expected",
    reconnect: false,
    text: "The connection could not be made.",
    again: "Try again",
  },
  4001: {
    name: "unauthorized",
    reconnect: false,
    text: "This link is not valid any more. Ask for a new one.",
  },
  4002: { name: "session_over", reconnect: false, text: "This quiz is over." },
  4003: { name: "removed", reconnect: false, text: "The host removed you from this quiz." },
  4004: { name: "slow_consumer", reconnect: true, text: "" },
  4005: {
    name: "too_many_faults",
    reconnect: false,
    text: "The server closed the connection.",
    again: "Come back",
  },
  4006: { name: "replica_full", reconnect: true, text: "" },
  4007: {
    name: "replaced",
    reconnect: false,
    text: "You are playing in another tab or on another device now.",
    again: "Play here",
  },
  4008: { name: "hello_late", reconnect: true, text: "" },
  4010: {
    name: "quarantined",
    reconnect: false,
    text: "This quiz has been stopped by a fault. Whoever runs the server can start it again.",
    again: "Try again",
  },
  4012: {
    name: "failed",
    reconnect: false,
    text: "Something broke on the server. It has been noted there.",
    again: "Try again",
  },
  1012: { name: "restart", reconnect: true, text: "" },
};

// What an error code means to the person in front of the page.
export const ERROR_TEXTS = {
  malformed: "The server did not understand that.",
  unauthorized: "This link is not valid any more. Ask for a new one.",
  not_found: "Nothing was found under that name or number.",
  wrong_phase: "That is not possible at this point of the quiz.",
  stale_command: "The quiz had already moved on, so nothing was changed.",
  not_open: "The question does not take answers yet.",
  late: "Too late: the question had closed before your answer arrived. It does not count.",
  bad_choice: "This answer does not fit the question.",
  nickname_taken: "Somebody here has this name already, or one that looks the same. Choose another one.",
  wrong_code: "Nobody in this quiz has this code.",
  nickname_invalid: "This name cannot be used.",
  session_full: "This quiz is full.",
  session_over: "This quiz is over.",
  locked: "The host has locked this game. Nobody new can join now.",
  quarantined: "This quiz has been stopped by a fault. Whoever runs the server can start it again.",
  removed: "The host removed you from this quiz.",
  too_many: "That was too much at once. Wait a moment.",
  too_large: "That is larger than the server takes.",
  invalid_quiz: "This quiz cannot be used.",
  quiz_empty: "No question that can be used was found in the file.",
  hello_expected: "The connection was not ready. Reload the page.",
  hello_twice: "The connection was not ready. Reload the page.",
  retry: "The server is busy with itself. Trying again.",
  overloaded: "The server has a lot to do. Trying again.",
  internal: "Something broke on the server. It has been noted there.",
};

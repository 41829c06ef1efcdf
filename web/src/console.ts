// The console: sends a request as it is written, on the page's own connection, and shows the frames that go by. Closed, it costs nothing.

import { byId, make, say } from "./dom.js";
import { clock } from "./format.js";
import { load, store } from "./settings.js";

interface Frame {
  way: "in" | "out";
  text: string;
  atMs: number;
}

const FRAMES_MAX = 100;
const TEXT_MAX = 2_000;
/** Nobody reads faster. */
const PAINT_EVERY_MS = 200;
const REQUESTS = [
  '{"action":"list"}',
  '{"action":"ping"}',
  '{"action":"subscribe","symbols":["TSLA"],"snapshot":true,"id":1}',
  '{"action":"unsubscribe","symbols":["TSLA"],"id":2}',
];

export class Console {
  #frames: Frame[] = [];
  #isOpen = false;
  #isPaused = false;
  #isDirty = false;
  #paintedAt = 0;
  readonly #ask: () => void;
  readonly #filter = byId<HTMLInputElement>("console-filter");

  constructor(send: (text: string) => boolean, ask: () => void) {
    this.#ask = ask;
    const request = byId<HTMLInputElement>("request");
    request.value = REQUESTS[0]!;
    byId("requests").append(...REQUESTS.map((text) => Object.assign(document.createElement("option"), { value: text })));
    byId("console-form").addEventListener("submit", (event) => {
      event.preventDefault();
      say(byId("console-note"), problem(request.value) ?? (send(request.value) ? "" : "There is no connection."));
    });
    byId("console-open").addEventListener("click", () => this.#open(!this.#isOpen));
    byId("console-clear").addEventListener("click", () => {
      this.#frames = [];
      this.#change();
    });
    const pause = byId<HTMLButtonElement>("console-pause");
    pause.addEventListener("click", () => {
      this.#isPaused = !this.#isPaused;
      pause.ariaPressed = String(this.#isPaused);
      say(pause, this.#isPaused ? "Go on" : "Pause");
    });
    this.#filter.addEventListener("input", () => this.#change());
    this.#open(load("console") === "open");
  }

  frame(way: Frame["way"], text: string): void {
    if (!this.#isOpen || this.#isPaused) return;
    // What the person wrote may be a token.
    const shown = way === "out" ? text.replace(/("token"\s*:\s*)"(?:[^"\\]|\\.)*"/g, '$1"…"') : text;
    this.#frames.push({ way, text: shown.slice(0, TEXT_MAX), atMs: Date.now() });
    if (this.#frames.length > FRAMES_MAX) this.#frames.shift();
    this.#isDirty = true;
  }

  paint(now = performance.now()): void {
    if (!this.#isDirty || !this.#isOpen) return;
    if (now - this.#paintedAt < PAINT_EVERY_MS) return void setTimeout(this.#ask, PAINT_EVERY_MS);
    this.#paintedAt = now;
    this.#isDirty = false;
    const wanted = this.#filter.value;
    const list = byId("frames");
    const frames = this.#frames.filter(({ text }) => text.includes(wanted)).reverse();
    frames.forEach(({ way, text, atMs }, index) => {
      const line = list.children[index] ?? list.appendChild(make("li", "", make("span", "time"), make("span", "way"), make("code")));
      const [time, sign, code] = line.children as unknown as [Element, Element, Element];
      (line as HTMLElement).dataset.way = way;
      say(time, clock(atMs));
      say(sign, way === "in" ? "←" : "→");
      say(code, text);
    });
    while (list.children.length > frames.length) list.lastElementChild!.remove();
  }

  #change(): void {
    this.#isDirty = true;
    this.#paintedAt = 0;
    this.#ask();
  }

  #open(isOpen: boolean): void {
    this.#isOpen = isOpen;
    byId("console").hidden = !isOpen;
    byId("console-open").ariaExpanded = String(isOpen);
    byId("panel-console").classList.toggle("open", isOpen);
    store("console", isOpen ? "open" : "");
  }
}

/** Why a text can't be a request. */
function problem(text: string): string | undefined {
  try {
    JSON.parse(text);
    return undefined;
  } catch (thrown) {
    return `No JSON: ${(thrown as Error).message}`;
  }
}

// The console: sends a request as it is written and shows the frames that go by, on the page's own connection or, in another form, on one of
// its own. Closed, it costs nothing.

import { byId, make, say } from "./dom.js";
import { address } from "./feed.js";
import { clock } from "./format.js";
import { dialects, type Form, forms, NAMES } from "./forms.js";
import { withoutSecrets } from "./secret.js";
import { DIALECTS, load, store, TYPES } from "./settings.js";
import { type Speaker, speak } from "./speaker.js";

interface Frame {
  way: "in" | "out";
  text: string;
  atMs: number;
}

/** What the console has of the page. */
export interface Page {
  /** Sends a request on the page's connection, if there is one. */
  send(text: string): boolean;
  /** The selected symbol. */
  symbol(): string;
  token(): string;
  ask(): void;
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
  /** The connection in the chosen form, unless that is the page's own; and the form as it is shown, without the token. */
  #speaker: Speaker | undefined;
  #shown: Form | undefined;
  readonly #page: Page;
  readonly #filter = byId<HTMLInputElement>("console-filter");
  readonly #request = byId<HTMLInputElement>("request");
  readonly #way = byId<HTMLSelectElement>("way");

  constructor(page: Page) {
    this.#page = page;
    byId("console-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit(this.#request.value);
    });
    byId("console-open").addEventListener("click", () => this.#open(!this.#isOpen));
    byId("console-clear").addEventListener("click", () => this.#clear());
    const pause = byId<HTMLButtonElement>("console-pause");
    pause.addEventListener("click", () => {
      this.#isPaused = !this.#isPaused;
      pause.ariaPressed = String(this.#isPaused);
      say(pause, this.#isPaused ? "Go on" : "Pause");
    });
    this.#filter.addEventListener("input", () => this.#change());
    const { on, off } = dialects(DIALECTS);
    this.#way.append(...forms(on, TYPES, "", "").map(({ name, path }) => make("option", "", `${name}: /${path.replace(/\?(?!batch).*/, "")}`)));
    this.#way.append(...off.map((name) => Object.assign(make("option", "", `${NAMES[name]}: off, DIALECTS=${name}`), { disabled: true })));
    this.#way.addEventListener("change", () => this.#choose());
    this.#open(load("console") === "open");
  }

  open(): void {
    if (!this.#isOpen) this.#open(true);
  }

  /** A frame of the page's connection. */
  frame(way: Frame["way"], text: string): void {
    if (!this.#shown) this.#add(way, text);
  }

  paint(now = performance.now()): void {
    if (!this.#isDirty || !this.#isOpen) return;
    if (now - this.#paintedAt < PAINT_EVERY_MS) return void setTimeout(() => this.#page.ask(), PAINT_EVERY_MS);
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

  #add(way: Frame["way"], text: string): void {
    if (!this.#isOpen || this.#isPaused) return;
    // What the person wrote may be a token.
    const shown = way === "out" ? withoutSecrets(text) : text;
    this.#frames.push({ way, text: shown.slice(0, TEXT_MAX), atMs: Date.now() });
    if (this.#frames.length > FRAMES_MAX) this.#frames.shift();
    this.#isDirty = true;
  }

  /** What a client in the chosen form does, with the page's symbol. */
  #form(token: string): Form {
    return forms(dialects(DIALECTS).on, TYPES, this.#page.symbol() || "AAPL", token)[Math.max(0, this.#way.selectedIndex)]!;
  }

  /** Shows where clients of the chosen form connect; returns what they send, without the token. */
  #show(): Form {
    const shown = this.#form(this.#page.token() && "TOKEN");
    say(byId("way-url"), shown.lines.length ? address(shown.path) : new URL(shown.path, location.href).href);
    return shown;
  }

  /** Shows how clients connect in the chosen form, and does it; the page's own is connected already. */
  #choose(): void {
    this.#speaker?.close();
    this.#speaker = undefined;
    const shown = this.#show();
    const isPages = this.#way.selectedIndex <= 0;
    this.#shown = isPages ? undefined : shown;
    const isStream = !shown.lines.length;
    say(byId("way-docs"), shown.docs);
    const requests = isPages ? REQUESTS : shown.lines;
    this.#request.value = (isPages ? REQUESTS[0] : shown.lines.at(-1)) ?? "";
    for (const control of [this.#request, byId<HTMLButtonElement>("console-send")]) control.disabled = isStream;
    byId("requests").replaceChildren(...requests.map((text) => Object.assign(make("option"), { value: text })));
    say(byId("console-note"), "");
    this.#clear();
    if (!isPages) this.#speak();
  }

  #speak(lastLine?: string): void {
    this.#speaker?.close();
    const form = this.#form(this.#page.token());
    // The page's token and symbol may be others than when the form was chosen.
    const shown = (this.#shown = this.#show());
    if (lastLine !== undefined) form.lines.splice(-1, 1, lastLine);
    const add = (way: Frame["way"], text: string) => {
      this.#add(way, text);
      this.#page.ask();
    };
    this.#speaker = speak(form, {
      received: (text) => add("in", text),
      sent: (index) => add("out", (index === form.lines.length - 1 ? lastLine : undefined) ?? shown.lines[index]!),
      ended: (why) => say(byId("console-note"), `This connection has ended (${why}). ${form.lines.length ? "Send connects again." : "Choose the form to connect again."}`),
    });
  }

  #submit(text: string): void {
    const isJson = !this.#shown?.path.startsWith("socket.io");
    const problem = isJson ? problemOf(text) : undefined;
    if (problem !== undefined) return say(byId("console-note"), problem);
    say(byId("console-note"), "");
    if (!this.#shown) {
      if (!this.#page.send(text)) say(byId("console-note"), "There is no connection.");
    } else if (this.#speaker?.send(text)) this.#add("out", text);
    else this.#speak(text);
    this.#page.ask();
  }

  #clear(): void {
    this.#frames = [];
    this.#change();
  }

  #change(): void {
    this.#isDirty = true;
    this.#paintedAt = 0;
    this.#page.ask();
  }

  #open(isOpen: boolean): void {
    this.#isOpen = isOpen;
    byId("console").hidden = !isOpen;
    byId("console-open").ariaExpanded = String(isOpen);
    byId("panel-console").classList.toggle("open", isOpen);
    store("console", isOpen ? "open" : "");
    this.#way.selectedIndex = 0;
    this.#choose();
  }
}

/** Why a text can't be a request. */
function problemOf(text: string): string | undefined {
  try {
    JSON.parse(text);
    return undefined;
  } catch (thrown) {
    return `No JSON: ${(thrown as Error).message}`;
  }
}

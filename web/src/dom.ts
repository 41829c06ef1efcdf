// What the views share for making and finding elements. Text from outside becomes text, never markup.

import { millis, when } from "./format.js";

/** The element of that id, which index.html has. */
export function byId<T extends Element = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found as Element as T;
}

/** An element with a class and children. */
export function make<K extends keyof HTMLElementTagNameMap>(tag: K, className = "", ...children: (Node | string)[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/** A time as people read it. */
export function time(timestamp: unknown): HTMLTimeElement {
  const element = make("time", "", when(timestamp));
  const date = new Date(millis(Number(timestamp)));
  if (!Number.isNaN(date.getTime())) element.dateTime = date.toISOString();
  return element;
}

/** Another day has begun: times of the one before get their date. */
export function redate(): void {
  for (const element of document.querySelectorAll("time")) if (element.dateTime) say(element, when(Date.parse(element.dateTime)));
}

/** A button that says what it does. */
export function button(className: string, text: string, label: string, onClick: () => void): HTMLButtonElement {
  const made = make("button", className, text);
  made.type = "button";
  made.ariaLabel = made.title = label;
  made.addEventListener("click", onClick);
  return made;
}

/** Sets a text that has changed; an unchanged one costs no layout. */
export function say(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

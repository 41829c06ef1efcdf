// On a phone one part of the page is shown at a time, and tabs lead from one to the other. Wider screens show all, and no tabs.

import { byId, make } from "./dom.js";

const TABS = { watch: "Watchlist", chart: "Chart", tape: "Trades", news: "News", room: "Room", console: "Console" } as const;
export type Tab = keyof typeof TABS;

/** Sets up the tabs and returns what goes to one of them; `chosen` is told of the one that a person has chosen. */
export function tabs(available: readonly Tab[], chosen: (tab: Tab) => void): (tab: Tab) => void {
  const nav = byId("tabs");
  const go = (tab: Tab) => {
    byId("desk").dataset.tab = tab;
    for (const control of nav.querySelectorAll("button")) {
      if (control.dataset.tab === tab) control.setAttribute("aria-current", "true");
      else control.removeAttribute("aria-current");
    }
  };
  for (const tab of available) {
    const control = make("button", "", TABS[tab]);
    control.type = "button";
    control.dataset.tab = tab;
    control.addEventListener("click", () => {
      go(tab);
      chosen(tab);
    });
    nav.append(control);
  }
  go("watch");
  return go;
}

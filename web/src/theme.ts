// Light or dark: as the system has it, or as the person has chosen.

import { byId } from "./dom.js";
import { load, store } from "./settings.js";

const THEMES = { auto: "Theme: as the system", light: "Theme: light", dark: "Theme: dark" } as const;
const SIGNS: Record<Theme, string> = { auto: "◐", light: "○", dark: "●" };
type Theme = keyof typeof THEMES;

/** Sets up the switch; `changed` is called when colours are others. */
export function theme(changed: () => void): void {
  const themes = Object.keys(THEMES) as Theme[];
  let chosen = themes.find((name) => name === load("theme")) ?? "auto";
  const control = byId<HTMLButtonElement>("theme");
  const show = () => {
    document.documentElement.dataset.theme = chosen;
    control.textContent = SIGNS[chosen];
    control.ariaLabel = control.title = THEMES[chosen];
  };
  control.addEventListener("click", () => {
    chosen = themes[(themes.indexOf(chosen) + 1) % themes.length]!;
    store("theme", chosen);
    show();
    changed();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
  show();
}

/** A colour of the style sheet, as it is now. */
export function colour(variable: string): string {
  const probe = document.createElement("span");
  probe.hidden = true;
  probe.style.color = `var(${variable})`;
  document.body.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

// Names of symbols as people write them and as the gateway knows them. Pure.

/** The distinct names of a list with commas. */
export function split(text: string): string[] {
  return [...new Set(text.split(",").map((name) => name.trim()).filter(Boolean))];
}

/** What a person types: symbols may have spaces, so those separate them only where there is no comma. */
export function typed(text: string): string[] {
  return split(text.includes(",") ? text : text.trim().replace(/\s+/g, ","));
}

export const isPattern = (name: string): boolean => name.endsWith("*");

/** Whether a pattern among the names covers the symbol. */
export function isMatched(symbol: string, names: Iterable<string>): boolean {
  for (const name of names) if (isPattern(name) && symbol.startsWith(name.slice(0, -1))) return true;
  return false;
}

/** The list with `name` moved to `index`, which is held to the list's ends. */
export function moved(names: readonly string[], name: string, index: number): string[] {
  const others = names.filter((other) => other !== name);
  if (others.length === names.length) return [...names];
  others.splice(Math.max(0, Math.min(others.length, index)), 0, name);
  return others;
}

/** Whether a row is shown while that is being typed; a list of several names hides nothing. */
export function isFound(symbol: string, search: string): boolean {
  const wanted = search.trim().toUpperCase();
  return !wanted || /[\s,*]/.test(wanted) || symbol.toUpperCase().includes(wanted);
}

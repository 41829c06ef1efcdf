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

/** Whether a text is part of one name: no list of several, no pattern. */
export const isOne = (search: string): boolean => /^[^\s,*]+$/.test(search.trim());

/** Whether a row is shown while that is being typed; a list of several names hides nothing. */
export function isFound(symbol: string, search: string): boolean {
  return !isOne(search) || symbol.toUpperCase().includes(search.trim().toUpperCase());
}

/** The symbol that a search means: the one of that name, else the first that begins so, else the first that has it in its name. */
export function meant(symbols: readonly string[], search: string): string | undefined {
  if (!isOne(search)) return undefined;
  const text = search.trim();
  const wanted = text.toUpperCase();
  const upper = (is: (symbol: string) => boolean) => symbols.find((symbol) => is(symbol.toUpperCase()));
  return symbols.find((symbol) => symbol === text) ?? upper((symbol) => symbol === wanted) ?? upper((symbol) => symbol.startsWith(wanted)) ?? upper((symbol) => symbol.includes(wanted));
}

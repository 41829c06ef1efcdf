// What of a frame is shown: not what lets somebody in.

/** Text in quotes, which may not end, or what stands in its place. */
const VALUE = String.raw`(?:"(?:[^"\\]|\\.)*"?|[^\s",[\]{}]+)`;
const SECRET = new RegExp(String.raw`("(?:token|key|secret)"\s*:\s*)${VALUE}`, "g");
/** Massive's clients send their key under the name that other requests have for their channels. */
const PARAMS = new RegExp(String.raw`("params"\s*:\s*)${VALUE}`, "g");
const IS_AUTH = /"action"\s*:\s*"auth"/;

/** A request without the token or key in it, in whichever form. */
export function withoutSecrets(text: string): string {
  const shown = text.replace(SECRET, '$1"…"');
  return IS_AUTH.test(shown) ? shown.replace(PARAMS, '$1"…"') : shown;
}

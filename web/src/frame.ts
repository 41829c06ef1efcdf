// At most one paint a frame, however many events come: views ask for a paint, and all of them are painted together.

/** Calls each of `paints` in the next frame, once, however often it was asked for. */
export class Frame {
  #wanted = 0;
  readonly #paints: readonly (() => void)[];
  readonly #request: (run: () => void) => unknown;

  constructor(paints: readonly (() => void)[], request: (run: () => void) => unknown = (run) => requestAnimationFrame(run)) {
    this.#paints = paints;
    this.#request = request;
  }

  ask(): void {
    if (this.#wanted++) return;
    this.#request(() => {
      this.#wanted = 0;
      for (const paint of this.#paints) paint();
    });
  }
}

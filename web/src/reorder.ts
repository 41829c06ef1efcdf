// Moves rows of the watchlist: by pointer at the grip, by keyboard with Alt and the arrows. Arrows alone go from row to row.

export interface Order {
  move(symbol: string, index: number): void;
  drop(symbol: string): void;
}

const rowOf = (target: EventTarget | null) => (target instanceof Element ? target.closest<HTMLLIElement>("li[data-symbol]") : null);
const named = (list: HTMLElement) => [...list.querySelectorAll<HTMLLIElement>("li[data-named]:not([hidden])")];

export function reorder(list: HTMLOListElement, order: Order): void {
  list.addEventListener("keydown", (event) => {
    const row = rowOf(event.target);
    if (!row) return;
    const step = event.key === "ArrowUp" ? -1 : event.key === "ArrowDown" ? 1 : 0;
    if (step && event.altKey) {
      const index = named(list).indexOf(row);
      if (index >= 0) {
        order.move(row.dataset.symbol!, index + step);
        (event.target as HTMLElement).focus();
      }
    } else if (step) {
      const rows = [...list.querySelectorAll<HTMLLIElement>("li:not([hidden])")];
      rows[rows.indexOf(row) + step]?.querySelector<HTMLElement>(".pick")?.focus();
    } else if (event.key === "Delete" && row.hasAttribute("data-named")) {
      const rows = named(list);
      const next = rows[rows.indexOf(row) + 1] ?? rows[rows.indexOf(row) - 1];
      order.drop(row.dataset.symbol!);
      next?.querySelector<HTMLElement>(".pick")?.focus();
    } else {
      return;
    }
    event.preventDefault();
  });

  list.addEventListener("pointerdown", (event) => {
    const grip = event.target instanceof Element ? event.target.closest<HTMLElement>(".grip") : null;
    const row = rowOf(grip);
    if (!grip || !row || event.button !== 0) return;
    grip.setPointerCapture(event.pointerId);
    row.classList.add("dragged");
    const drag = ({ clientY }: PointerEvent) => {
      const rows = named(list);
      const from = rows.indexOf(row);
      const to = rows.findIndex((other) => {
        const { top, height } = other.getBoundingClientRect();
        return clientY >= top && clientY < top + height;
      });
      if (to < 0 || to === from) return;
      const { top, height } = rows[to]!.getBoundingClientRect();
      // Behind the middle of the other row, or two rows of unequal height would change places for ever.
      if (to > from ? clientY > top + height / 2 : clientY < top + height / 2) order.move(row.dataset.symbol!, to);
    };
    const end = () => {
      row.classList.remove("dragged");
      grip.removeEventListener("pointermove", drag);
    };
    grip.addEventListener("pointermove", drag);
    grip.addEventListener("lostpointercapture", end, { once: true });
    event.preventDefault();
    grip.focus();
  });
}

// Watches a page from inside: how often it painted the watchlist, how long its frames took, and what it did in those of more than 50 ms.
// It leaves `window.seen`, and `window.look(true)` to say that a test is about to stop the page for a look, `look(false)` that it has.
// What it keeps is bounded, as tests measure the page's memory beside it.
(() => {
  const LATE_MS = 50;
  const WORST_MAX = 10;
  const seen = (window.seen = { frames: 0, longestMs: 0, late: 0, causes: {}, worst: [], paints: 0, twiceInAFrame: 0 });
  /** Late frames that no cause is known of yet; frames that the browser calls long; looks of the test: each with its begin and end. */
  let late = [];
  let long = [];
  let looks = [];
  let last = performance.now();
  let paintsInFrame = 0;

  // Changes come to an observer behind the callback that made them, and the page asks for its callback later than this one does: so two
  // of its paints between two callbacks of this one are two in one frame.
  function frame(now) {
    requestAnimationFrame(frame);
    paintsInFrame = 0;
    seen.frames++;
    if (now - last > LATE_MS) {
      seen.late++;
      late.push([last, now]);
    }
    seen.longestMs = Math.max(seen.longestMs, now - last);
    last = now;
  }
  requestAnimationFrame(frame);
  new MutationObserver(() => {
    seen.paints++;
    if (++paintsInFrame > 1) seen.twiceInAFrame++;
  }).observe(document.querySelector("#rows"), { subtree: true, childList: true, characterData: true });

  new PerformanceObserver((list) => {
    for (const { startTime, duration, styleAndLayoutStart, scripts } of list.getEntries()) {
      const end = startTime + duration;
      const parts = scripts.map(({ invoker, sourceFunctionName, duration }) => [`${invoker} ${sourceFunctionName}`.trim(), duration]);
      parts.push(["style, layout, paint", styleAndLayoutStart ? end - styleAndLayoutStart : 0]);
      parts.sort(([, a], [, b]) => b - a);
      long.push([startTime, end, `${parts[0][0]} (${Math.round(parts[0][1])} of ${Math.round(duration)} ms)`, parts[0][0]]);
    }
  }).observe({ type: "long-animation-frame" });

  window.look = (isLooking) => {
    if (isLooking) looks.push([performance.now(), Infinity]);
    else looks.at(-1)[1] = performance.now();
  };

  /** What the frame was late for: its kind, and more of it. */
  function causeOf([from, to]) {
    const overlap = ([begin, end]) => Math.min(end, to) - Math.max(begin, from);
    if (looks.some((look) => overlap(look) > 0)) return ["the test's own look", ""];
    const [worst] = long.filter((one) => overlap(one) > (to - from) / 4).sort((a, b) => overlap(b) - overlap(a));
    return worst ? [worst[3], worst[2]] : ["no work of the page that took 50 ms", ""];
  }

  // The browser tells of long frames behind them.
  window.classify = (before = Infinity) => {
    for (const one of late.filter(([, to]) => to < before)) {
      const [kind, more] = causeOf(one);
      seen.causes[kind] = (seen.causes[kind] ?? 0) + 1;
      seen.worst.push({ ms: Math.round(one[1] - one[0]), atS: Math.round(one[1] / 1_000), cause: more || kind });
    }
    seen.worst.sort((a, b) => b.ms - a.ms).splice(WORST_MAX);
    [late, long, looks] = [late, long, looks].map((list) => list.filter(([, to]) => to >= before - 5_000));
    late = late.filter(([, to]) => to >= before);
    return seen;
  };
  setInterval(() => window.classify(performance.now() - 2_000), 1_000);
})();

// Builds the page into dist/, which the gateway embeds: from the sources and from what package-lock.json pins, the same bytes each time.
//
//   node build.mjs            dist/
//   node build.mjs --tests    build/, the tests as Node runs them
import { build } from "esbuild";
import { mkdir, readFile, readdir, writeFile } from "node:fs/promises";

const common = { bundle: true, charset: "utf8", logLevel: "warning", target: ["es2022", "chrome123", "firefox120", "safari17.5"] };

// A file that already has these bytes keeps its time: cargo would otherwise build anew all that embeds it.
const keep = async (path, bytes) => {
  const old = await readFile(path).catch(() => undefined);
  if (!old?.equals(bytes)) await writeFile(path, bytes);
};

const bundle = async (options) => {
  const { outputFiles } = await build({ ...common, minify: true, ...options, write: false });
  for (const { path, contents } of outputFiles) await keep(path, contents);
};

if (process.argv.includes("--tests")) {
  const entryPoints = (await readdir("test")).filter((name) => name.endsWith(".test.ts")).map((name) => `test/${name}`);
  await build({ ...common, entryPoints, outdir: "build", format: "esm", platform: "node", target: "node20", outExtension: { ".js": ".mjs" } });
} else {
  await mkdir("dist", { recursive: true });
  const script = { legalComments: "inline" };
  // The chart is a file of its own: prices are there before it has been read.
  await bundle({ ...script, entryPoints: ["src/live.ts"], outfile: "dist/live.js", format: "iife", external: ["./chart.js"] });
  await bundle({ ...script, entryPoints: ["src/chart.ts"], outfile: "dist/chart.js", format: "esm", conditions: ["production"] });
  await bundle({ entryPoints: ["src/style/live.css"], outfile: "dist/live.css" });
  await keep("dist/index.html", await readFile("src/index.html"));
}

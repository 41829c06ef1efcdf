// Builds the page into dist/, which the gateway embeds: from the sources and from what package-lock.json pins, the same bytes each time.
//
//   node build.mjs            dist/
//   node build.mjs --tests    build/, the tests as Node runs them
import { build } from "esbuild";
import { copyFile, mkdir, readdir } from "node:fs/promises";

const common = { bundle: true, charset: "utf8", logLevel: "warning", target: ["es2022", "chrome123", "firefox120", "safari17.5"] };

if (process.argv.includes("--tests")) {
  const entryPoints = (await readdir("test")).filter((name) => name.endsWith(".test.ts")).map((name) => `test/${name}`);
  await build({ ...common, entryPoints, outdir: "build", format: "esm", platform: "node", target: "node20", outExtension: { ".js": ".mjs" } });
} else {
  await mkdir("dist", { recursive: true });
  const script = { ...common, minify: true, legalComments: "inline" };
  // The chart is a file of its own: prices are there before it has been read.
  await build({ ...script, entryPoints: ["src/live.ts"], outfile: "dist/live.js", format: "iife", external: ["./chart.js"] });
  await build({ ...script, entryPoints: ["src/chart.ts"], outfile: "dist/chart.js", format: "esm", conditions: ["production"] });
  await build({ ...common, minify: true, entryPoints: ["src/style/live.css"], outfile: "dist/live.css" });
  await copyFile("src/index.html", "dist/index.html");
}

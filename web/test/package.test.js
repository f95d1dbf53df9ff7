import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { test } from "node:test";

const web = resolve(import.meta.dirname, "..");
const run = (dir, program, ...args) => execFileSync(program, args, { cwd: dir, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });

/** What a shop's programmer writes; the last lines must not compile. */
const user = `
import { connect, live, type Fragment, type Status } from "shelfcast";
import "shelfcast/worker";

const said: Status[] = [];
const connection = connect({ endpoint: "https://live.shop.example", mode: "notify", highlight: true, onStatus: (s) => void said.push(s) });
const stop: () => void = connection.watch({ id: 42, view: "card" }, (f: Fragment) => f.version > 0);
connection.morph = (element, fresh) => element.replaceWith(fresh);
stop();
live?.close();
document.addEventListener("shelfcast:before-update", (event) => {
  if (event.detail.previous > event.detail.version && event.detail.fresh.id) event.preventDefault();
});
document.querySelector("main")?.addEventListener("shelfcast:updated", ({ detail }) => detail.id.toFixed());
// @ts-expect-error
connect({ mode: "sometimes" });
// @ts-expect-error
connection.watch({ view: "card" }, () => {});
// @ts-expect-error
connection.status = "live";
`;

test("the package installs, compiles for its users, and may be imported on a server", (t) => {
  const dir = mkdtempSync(join(tmpdir(), "shelfcast-package-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const [{ filename, files }] = JSON.parse(run(join(web, "client"), "npm", "pack", "--json", "--pack-destination", dir));
  const names = files.map(({ path }) => path).sort();
  for (const name of ["shelfcast.js", "shelfcast-worker.js", "index.d.ts", "worker.d.ts", "README.md", "package.json"]) assert.ok(names.includes(name), name);
  assert.deepEqual(names.filter((name) => !/\.js$|\.d\.ts$|^README\.md$|^package\.json$/.test(name)), []);
  writeFileSync(join(dir, "package.json"), JSON.stringify({ private: true, type: "module" }));
  run(dir, "npm", "install", "--offline", "--no-audit", "--no-fund", join(dir, filename));
  writeFileSync(join(dir, "user.ts"), user);
  const tsc = join(web, "node_modules", ".bin", "tsc");
  for (const module of [["NodeNext", "NodeNext"], ["ESNext", "Bundler"]]) {
    run(dir, tsc, "--ignoreConfig", "--noEmit", "--strict", "--target", "ES2022", "--lib", "ES2022,DOM,DOM.Iterable", "--types", "", "--module", module[0], "--moduleResolution", module[1], "user.ts");
  }
  assert.equal(run(dir, process.execPath, "--input-type=module", "-e", 'import { connect, live } from "shelfcast"; console.log(typeof connect, live)'), "function undefined\n");
});

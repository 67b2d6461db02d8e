# Npm install express, offline; a server and its test.
cp -r /cache/npm/cache .npm-cache && npm init -y >/dev/null
npm install --offline --cache .npm-cache --no-audit --no-fund express
cat > server.test.js <<'END'
const test = require("node:test"), assert = require("node:assert"), express = require("express");
test("it answers", async () => {
  const app = express(); app.get("/", (q, r) => r.json({ok: true}));
  const server = app.listen(0, "127.0.0.1"); await new Promise(r => server.once("listening", r));
  assert.deepStrictEqual(await (await fetch(`http://127.0.0.1:${server.address().port}/`)).json(), {ok: true});
  server.close(); server.closeAllConnections && server.closeAllConnections();
});
END
npm pkg set scripts.test="node --test" && npm test && npm ls && npm uninstall --offline --cache .npm-cache express

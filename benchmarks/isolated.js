// isolated-vm as its page says: a new isolate and context for each run, or one that stays. Answers lines of JSON.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const readline = require('node:readline');
const ivm = require(path.join(process.argv[2], 'isolated-vm/node_modules/isolated-vm'));

const check = (got, wanted) => { if (got !== wanted) throw new Error(`got ${got} instead of ${wanted}`); };
const opened = () => { const isolate = new ivm.Isolate({ memoryLimit: 64 }); return [isolate, isolate.createContextSync()]; };
const privateBytes = () => 1024 * Number(/^Private_Dirty: +(\d+) kB$/m.exec(fs.readFileSync('/proc/self/smaps_rollup', 'utf8'))[1]);
const [, kept] = opened();
kept.global.setSync('twice', new ivm.Callback((n) => 2 * n));

const does = {
  fresh(count, code, wanted) {
    for (let i = 0; i < count; i++) {
      const [isolate, context] = opened();
      check(context.evalSync(code, { timeout: 1000 }), wanted);
      isolate.dispose();
    }
  },
  warm(count, code, wanted) { for (let i = 0; i < count; i++) check(kept.evalSync(code, { timeout: 1000 }), wanted); },
  stream(count, code, wanted) {
    const next = kept.evalSync(`(() => { const items = (function* () { ${code} })(); return () => items.next().value; })()`,
      { reference: true });
    let sum = 0;
    for (let i = 0; i < count; i++) sum += next.applySync(undefined, [], { timeout: 1000 });
    check(sum, wanted);
  },
  density(count, code, wanted) {
    const before = privateBytes();
    const living = Array.from({ length: count }, opened);
    for (const [, context] of living) check(context.evalSync(code, { timeout: 1000 }), wanted);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3000); // they wait, as the others do
    const each = (privateBytes() - before) / count;
    for (const [isolate] of living) isolate.dispose();
    return each;
  },
  async spin(count, wall) {
    const living = Array.from({ length: count }, opened);
    const late = await Promise.all(living.map(async ([isolate, context]) => {
      const begin = process.hrtime.bigint();
      const failed = await context.eval('for (;;);', { timeout: wall * 1000 }).then(() => '', (error) => error.message);
      const took = Number(process.hrtime.bigint() - begin);
      check(failed, 'Script execution timed out.');
      isolate.dispose();
      return took - wall * 1e9;
    }));
    return late;
  },
};
(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [what, ...request] = JSON.parse(line);
    try {
      console.log(JSON.stringify({ done: (await does[what](...request)) ?? null }));
    } catch (error) { console.log(JSON.stringify({ error: String(error) })); }
  }
})();

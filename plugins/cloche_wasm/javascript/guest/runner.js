// How the host runs code: `encode` is given what the code came to, `poll` says it once all jobs are through,
// `prepare` sets up one run, `command` does the rest. Nothing here can be reached by the code that runs.
(() => {
  'use strict';
  const boot = globalThis.__boot;
  const { stringify, parse, pack, simple, unpack, describe, own, then, take, printing, sizes, fileLimits } = boot;
  const { Promise, Generator, TooLarge, offer, settle, forget, reseed, flowNext, flowReturn } = boot;
  let ready = false; // else it waits
  let good = true; // whether `result` is a value, not an error
  let result;
  let turn = 0; // what a promise of an earlier run comes to is nobody's
  let topAwait = false;
  let flow = null; // the generator of the stream that is going on

  // What is packed already: most that a stream yields.
  class Said {
    json;
    constructor(json) {
      this.json = json;
    }
  }

  // The text is [kind, value, console]: kind 0 plain, 1 tagged, 2 an error, 3 too large; console only if it has lines.
  const say = (kind, json) =>
    printing.lines.length ? `[${kind},${json},${stringify(take())}]` : `[${kind},${json}]`;
  const thrown = (error) => {
    if (error instanceof TooLarge) return say(3, stringify(error.message));
    if (error instanceof boot.Error) return say(2, stringify(describe(error)));
    let shown;
    try {
      shown = pack(error).json;
    } catch {
      shown = boot.text(error);
    }
    return say(2, stringify(['Uncaught', shown, '']));
  };
  const told = (fine, value) => {
    if (!fine) return thrown(value);
    const json = simple(value);
    if (json !== '') return say(0, json);
    if (value instanceof Said) return say(0, value.json);
    try {
      const packed = pack(value);
      return say(packed.tagged ? 1 : 0, packed.json);
    } catch (error) {
      return thrown(error);
    }
  };
  const done = (fine, value) => {
    ready = true;
    good = fine;
    result = value;
  };
  const wait = (promise, unwrap) => {
    const mine = ++turn;
    const end = (fine, value) => {
      if (mine === turn) done(fine, value);
    };
    ready = false;
    then(promise, (value) => end(true, unwrap(value)), (error) => end(false, error));
  };
  const same = (value) => value;

  // Code with `await` at its top level comes to a promise of { value }, which may be a promise again.
  const inner = ({ value }) => value;
  const awaited = (promise) => then(promise, inner);
  globalThis.__encode = (value, fine) => {
    const asynchronous = topAwait;
    topAwait = false;
    if (fine && typeof value === 'object' && value instanceof Promise) wait(asynchronous ? awaited(value) : value, same);
    else {
      turn++;
      done(fine, value);
    }
  };
  globalThis.__poll = () => {
    if (!ready) return undefined;
    const value = result;
    ready = false;
    result = undefined;
    return told(good, value);
  };
  globalThis.__prepare = (sent) => {
    const asked = parse(sent);
    topAwait = asked.await === true;
    if (asked.console !== undefined) printing.mode = asked.console;
    if (asked.room !== undefined) printing.most = printing.left = asked.room;
    if (asked.value !== undefined) sizes.most = asked.value;
    if (asked.functions !== undefined) for (const [name, later] of asked.functions) offer(name, later);
    if (asked.variables !== undefined) {
      const variables = unpack(asked.variables);
      for (const name of boot.keys(variables)) own(globalThis, name, variables[name]);
    }
    return '';
  };
  const item = ({ value, done }) => {
    const json = done ? '' : simple(value);
    return json === '' ? { __proto__: null, value, done } : new Said(`{"value":${json},"done":false}`);
  };
  const commands = {
    __proto__: null,
    start: (code) => {
      try {
        flow = new Generator(code)();
      } catch (error) {
        return thrown(error);
      }
      return '';
    },
    next: (sent) => {
      wait(sent === undefined ? flowNext(flow) : flowNext(flow, unpack(sent)), item);
    },
    stop: () => {
      wait(flowReturn(flow), item);
    },
    settle: (sent) => {
      for (const [token, said] of parse(sent)) settle(token, said);
    },
    lines: () => say(0, 'null'),
    // What the interpreter that was saved had been told is not what this one is told.
    restored: () => {
      take();
      printing.mode = 'collect';
      printing.most = printing.left = 65536;
      sizes.most = 64 << 20;
      reseed();
      forget();
      fileLimits.disk = -1;
      return '';
    },
  };
  globalThis.__command = (name, sent) => commands[name](sent);
})();

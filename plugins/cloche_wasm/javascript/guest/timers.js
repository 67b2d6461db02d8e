// Timers: the host wakes the code, as it does for its own functions. One that nobody awaits is forgotten with its run.
(() => {
  'use strict';
  const boot = globalThis.__boot;
  const { host, Map, Number, TypeError, mapSet, mapHas, mapDelete, defineProperty, freeze, pend, unpend } = boot;
  const complain = globalThis.console.error;
  const live = new Map(); // id -> its token now
  let next = 1;

  const arm = (id, f, delay, args, again) => {
    const fire = () => {
      if (!mapHas(live, id)) return;
      mapDelete(live, id);
      if (again) arm(id, f, delay, args, again);
      f(...args);
    };
    const token = pend(fire, (error) => complain('Uncaught', error), () => mapDelete(live, id));
    mapSet(live, id, token);
    const said = host('timer', `${token}`, `${delay}`);
    if (said !== undefined && said[0] !== 'e') return;
    unpend(token);
    mapDelete(live, id);
    throw new boot.Error(said === undefined ? 'the host gave no answer' : boot.slice(said, 1));
  };
  const start = (again) => (f, delay, ...args) => {
    if (typeof f !== 'function') throw new TypeError('a timer needs a function');
    const wanted = Number(delay);
    const id = next++;
    arm(id, f, wanted >= 1 && wanted <= 2147483647 ? wanted - (wanted % 1) : again ? 1 : 0, args, again);
    return id;
  };
  const stop = (id) => {
    const token = boot.mapGet(live, id);
    if (token === undefined) return;
    mapDelete(live, id);
    unpend(token);
  };
  const given = {
    setTimeout: start(false), setInterval: start(true), clearTimeout: (id) => stop(id), clearInterval: (id) => stop(id),
  };
  for (const name of boot.keys(given)) {
    defineProperty(given[name], 'name', { __proto__: null, value: name });
    const place = { __proto__: null, value: freeze(given[name]), writable: true, enumerable: false, configurable: true };
    defineProperty(globalThis, name, place);
  }
})();

// require: a module's text comes from the host, which says what may be had. Each is run once.
(() => {
  'use strict';
  const boot = globalThis.__boot;
  const { host, String, Map, Error, Function, own, parse, slice, endsWith, startsWith, split, push, join } = boot;
  const { mapGet, mapSet, mapHas, mapDelete, freeze } = boot;
  const loaded = new Map();
  const supplied = new Map(); // texts of what is loaded when the interpreter is prepared

  const failure = (code, said) => {
    const error = new Error(said);
    own(error, 'code', code);
    return error;
  };
  // "./b" in "@scope/pkg/a" is "@scope/pkg/b"; it never leaves the name's first part.
  const resolve = (base, name) => {
    if (!startsWith(name, './') && !startsWith(name, '../')) return name;
    const kept = split(base, '/');
    kept.length -= 1;
    const parts = split(name, '/');
    for (let i = 0; i < parts.length; i++) {
      if (parts[i] === '..') kept.length -= kept.length ? 1 : 0;
      else if (parts[i] !== '.') push(kept, parts[i]);
    }
    return join(kept, '/');
  };
  // The host says "+" and the text, "?" for one that has none, "!" for one that may not be had.
  const source = (name) => {
    if (mapHas(supplied, name)) return mapGet(supplied, name);
    const said = host('require', name);
    if (said === undefined || said[0] === '?') throw failure('MODULE_NOT_FOUND', `there is no module '${name}'`);
    if (said[0] === '!') throw failure('MODULE_REFUSED', `the module '${name}' may not be used here`);
    return slice(said, 1);
  };
  const run = (name, code) => {
    const module = { exports: {} };
    if (endsWith(name, '.json')) {
      module.exports = parse(code);
      mapSet(loaded, name, module);
      return module.exports;
    }
    mapSet(loaded, name, module); // before it runs: modules may need each other
    try {
      const body = new Function('module', 'exports', 'require', `${code}\n//# sourceURL=${name}`);
      body(module, module.exports, (other) => require(name, String(other)));
    } catch (error) {
      mapDelete(loaded, name);
      throw error;
    }
    return module.exports;
  };
  const require = (base, asked) => {
    const name = resolve(base, asked);
    return mapHas(loaded, name) ? mapGet(loaded, name).exports : run(name, source(name));
  };
  globalThis.require = freeze((name) => require('', String(name)));
  globalThis.__boot = {
    ...boot,
    preload: (names, sources) => {
      for (const [name, text] of sources) mapSet(supplied, name, text);
      for (const name of names) require('', name);
      for (const [name] of sources) mapDelete(supplied, name);
    },
  };
})();

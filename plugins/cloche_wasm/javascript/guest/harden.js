// The language's own objects are frozen. What ordinary code may do to objects that inherit from them (give an error a
// name, a class a toString) stays possible: such members become pairs of accessors that define on whoever is assigned to.
(() => {
  'use strict';
  const { getOwnPropertyDescriptor, ownKeys, getPrototypeOf, defineProperty, freeze, String, TypeError, WeakSet } = globalThis.__boot;
  const seen = new WeakSet();
  const overridable = (owner, names) => {
    for (const name of names) {
      const place = getOwnPropertyDescriptor(owner, name);
      if (place === undefined || !('value' in place) || !place.configurable) continue;
      const { value, enumerable } = place;
      defineProperty(owner, name, {
        configurable: true,
        enumerable,
        get: () => value,
        set(changed) {
          if (this === owner) throw new TypeError(`Cannot assign to read only property '${String(name)}'`);
          defineProperty(this, name, { value: changed, writable: true, enumerable: true, configurable: true });
        },
      });
    }
  };
  const harden = (value) => {
    const todo = [value];
    while (todo.length) {
      const next = todo.pop();
      if (next === null || (typeof next !== 'object' && typeof next !== 'function') || seen.has(next)) continue;
      seen.add(next);
      for (const name of ownKeys(next)) {
        const place = getOwnPropertyDescriptor(next, name);
        if ('value' in place) todo.push(place.value);
        else todo.push(place.get, place.set);
      }
      todo.push(getPrototypeOf(next));
      freeze(next);
    }
  };
  overridable(Object.prototype, ownKeys(Object.prototype).filter((name) => name !== '__proto__'));
  overridable(Function.prototype, ['constructor', 'bind', 'call', 'apply', 'toString', 'name', 'length', Symbol.hasInstance]);
  for (const kind of [Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError, AggregateError])
    overridable(kind.prototype, ['constructor', 'message', 'name', 'toString']);
  overridable(Array.prototype, ['constructor', 'toString', 'push', 'concat', 'map', 'slice', Symbol.iterator]);
  for (const kind of [Date, RegExp, Map, Set, Promise, Iterator])
    overridable(kind.prototype, ['constructor', 'toString', 'then', 'catch', Symbol.iterator, Symbol.toStringTag]);
  const hidden = [function* () {}, async function () {}, async function* () {}, [][Symbol.iterator](), new Map().entries()];
  const own = ['globalThis', '__boot'];
  for (const name of ownKeys(globalThis)) {
    const place = getOwnPropertyDescriptor(globalThis, name);
    if (!own.includes(name) && 'value' in place) harden(place.value);
  }
  for (const value of hidden) harden(getPrototypeOf(value));
})();

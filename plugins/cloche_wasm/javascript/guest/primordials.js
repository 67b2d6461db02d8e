// What the code of others must not be able to change under us is taken here, before any of it runs.
// `__boot` is shared by the scripts of this folder and gone when they are through.
(() => {
  'use strict';
  const { apply, defineProperty, getPrototypeOf, getOwnPropertyDescriptor, ownKeys } = Reflect;
  const method = (owner, name) => {
    const f = owner.prototype[name];
    return (self, ...rest) => apply(f, self, rest);
  };
  const gate = globalThis.__host;
  delete globalThis.__host;
  const Generator = getPrototypeOf(async function* () {}).constructor; // of functions that may both yield and await
  const flow = Generator.prototype.prototype;
  const { fromBase64 } = Uint8Array;
  const show = BigInt.prototype.toString;
  globalThis.__boot = {
    host: gate, apply, defineProperty, getPrototypeOf, getOwnPropertyDescriptor, ownKeys,
    keys: Object.keys, freeze: Object.freeze, is: Object.is,
    isArray: Array.isArray, isView: ArrayBuffer.isView,
    stringify: JSON.stringify, parse: JSON.parse, imul: Math.imul,
    Map, Set, WeakSet, Date, Error, TypeError, RangeError, Promise, Proxy, Function, String, Number, BigInt, Generator,
    Boolean, ArrayBuffer, Uint8Array, DataView, RegExp, Symbol, Object,
    mapGet: method(Map, 'get'), mapSet: method(Map, 'set'), mapHas: method(Map, 'has'), mapDelete: method(Map, 'delete'),
    mapEach: method(Map, 'forEach'), setEach: method(Set, 'forEach'), setAdd: method(Set, 'add'),
    seenHas: method(WeakSet, 'has'), seenAdd: method(WeakSet, 'add'), seenDelete: method(WeakSet, 'delete'),
    then: method(Promise, 'then'), push: method(Array, 'push'), join: method(Array, 'join'), sort: method(Array, 'sort'),
    split: method(String, 'split'), slice: method(String, 'slice'), startsWith: method(String, 'startsWith'),
    endsWith: method(String, 'endsWith'), hex: (value) => apply(show, value, [16]), toBase64: method(Uint8Array, 'toBase64'),
    fromBase64: (text) => apply(fromBase64, Uint8Array, [text]),
    flowNext: method({ prototype: flow }, 'next'), flowReturn: method({ prototype: flow }, 'return'),
    getTime: method(Date, 'getTime'), symbolText: method(Symbol, 'toString'), patternText: method(RegExp, 'toString'),
  };
})();

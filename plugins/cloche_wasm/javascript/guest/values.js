// Values on their way out and in: JSON, with {"$t": kind, "v": ...} for what JSON has no word for.
// An object of the guest's own that has a key "$t" goes as {"$t": "object", "v": ...}.
(() => {
  'use strict';
  const boot = globalThis.__boot;
  const { is, isArray, isView, keys, stringify, parse, String, BigInt, Number, Error, TypeError, Map, Set, Date } = boot;
  const { mapEach, mapSet, setEach, setAdd, getTime, symbolText, patternText, push, getPrototypeOf } = boot;
  const { Promise, RegExp, ArrayBuffer, Uint8Array, DataView, WeakSet, seenHas, seenAdd, seenDelete } = boot;
  const { defineProperty, Boolean, Object, toBase64, fromBase64, hex } = boot;
  const DEEPEST = 100;
  const SAFE = 9007199254740991;
  const sizes = { most: 64 << 20 };
  let left = 0;
  let tagged = false;
  let above = null; // what the value stands in, to refuse circles

  class TooLarge extends Error {}
  const charge = (n) => {
    left -= n;
    if (left < 0) throw new TooLarge(`the value is larger than the ${sizes.most} bytes that may cross`);
  };
  const tag = (kind, v) => {
    tagged = true;
    return { __proto__: null, $t: kind, v };
  };
  const own = (object, key, value) =>
    defineProperty(object, key, { __proto__: null, value, writable: true, enumerable: true, configurable: true });

  const base64 = (bytes) => {
    charge(bytes.length * 1.34);
    return toBase64(bytes);
  };

  const text = (value) => {
    try {
      return String(value);
    } catch {
      return '';
    }
  };
  const describe = (error) => {
    const part = (name) => {
      try {
        const found = error[name];
        return found === undefined ? '' : text(found);
      } catch {
        return '';
      }
    };
    return [part('name') || 'Error', part('message'), part('stack')];
  };

  const encodeObject = (value, depth) => {
    if (value instanceof Date) return tag('date', getTime(value));
    if (value instanceof Error) return tag('error', describe(value));
    if (value instanceof Map) {
      const pairs = [];
      mapEach(value, (v, k) => push(pairs, [encode(k, depth + 1), encode(v, depth + 1)]));
      return tag('map', pairs);
    }
    if (value instanceof Set) {
      const items = [];
      setEach(value, (v) => push(items, encode(v, depth + 1)));
      return tag('set', items);
    }
    if (value instanceof ArrayBuffer) return tag('bytes', base64(new Uint8Array(value)));
    if (isView(value)) {
      if (value instanceof Uint8Array) return tag('bytes', base64(value));
      if (value instanceof DataView) return tag('bytes', base64(new Uint8Array(value.buffer, value.byteOffset, value.byteLength)));
      return encodeArray(value, depth);
    }
    if (value instanceof RegExp) return tag('opaque', patternText(value));
    if (value instanceof Promise) return tag('opaque', '[Promise]');
    if (value instanceof Number || value instanceof String || value instanceof Boolean) return encode(value.valueOf(), depth);
    if (typeof value.toJSON === 'function') return encode(value.toJSON(), depth + 1);
    return encodeRecord(value, depth);
  };
  const encodeArray = (value, depth) => {
    const { length } = value;
    charge(length);
    const out = [];
    for (let i = 0; i < length; i++) out[i] = encode(value[i], depth + 1);
    return out;
  };
  const encodeRecord = (value, depth) => {
    const out = { __proto__: null };
    const names = keys(value);
    let mine = false;
    for (let i = 0; i < names.length; i++) {
      const name = names[i];
      charge(name.length + 4);
      mine ||= name === '$t';
      out[name] = encode(value[name], depth + 1);
    }
    return mine ? tag('object', out) : out;
  };
  const encode = (value, depth) => {
    switch (typeof value) {
      case 'string':
        charge(value.length + 2);
        return value;
      case 'boolean':
        return value;
      case 'number':
        charge(1);
        if (value <= SAFE && value >= -SAFE && !is(value, -0)) return value;
        return tag('number', is(value, -0) ? '-0' : String(value));
      case 'bigint': {
        const shown = hex(value);
        charge(shown.length);
        return tag('bigint', shown);
      }
      case 'undefined':
        return tag('undefined');
      case 'symbol':
        return tag('opaque', symbolText(value));
      case 'function':
        return tag('opaque', `[Function: ${text(value.name)}]`);
    }
    if (value === null) return null;
    if (depth > DEEPEST) throw new TypeError(`a value nested deeper than ${DEEPEST} can't leave`);
    if (seenHas(above, value)) throw new TypeError("a value that holds itself can't leave");
    seenAdd(above, value);
    charge(2);
    const out = isArray(value) ? encodeArray(value, depth) : encodeObject(value, depth);
    seenDelete(above, value);
    return out;
  };

  const decode = (value) => {
    if (value === null || typeof value !== 'object') return value;
    if (isArray(value)) {
      for (let i = 0; i < value.length; i++) value[i] = decode(value[i]);
      return value;
    }
    if ('$t' in value) return decodeTagged(value.$t, value.v);
    return decodeRecord(value);
  };
  const decodeRecord = (value) => {
    const names = keys(value);
    for (let i = 0; i < names.length; i++) own(value, names[i], decode(value[names[i]]));
    return value;
  };
  const decodeTagged = (kind, v) => {
    switch (kind) {
      case 'undefined':
        return undefined;
      case 'bigint':
        return v[0] === '-' ? -BigInt(boot.slice(v, 1)) : BigInt(v);
      case 'number':
        return Number(v);
      case 'date':
        return new Date(v);
      case 'bytes':
        return fromBase64(v);
      case 'object':
        return decodeRecord(v);
      case 'set': {
        const set = new Set();
        for (let i = 0; i < v.length; i++) setAdd(set, decode(v[i]));
        return set;
      }
      case 'map': {
        const map = new Map();
        for (let i = 0; i < v.length; i++) mapSet(map, decode(v[i][0]), decode(v[i][1]));
        return map;
      }
      case 'error': {
        const error = new Error(v[1]);
        own(error, 'name', v[0]);
        return error;
      }
    }
    throw new TypeError('the host sent what this guest does not know');
  };

  // What most runs come to; each object that is not touched is one page less of the interpreter's own.
  const simple = (value) => {
    switch (typeof value) {
      case 'number':
        return value <= SAFE && value >= -SAFE && (value !== 0 || 1 / value > 0) ? `${value}` : '';
      case 'boolean':
        return value ? 'true' : 'false';
      case 'string':
        return value.length < 1000 && value.length < sizes.most ? stringify(value) : '';
      default:
        return value === null ? 'null' : '';
    }
  };
  // Statements one by one: taking arrays apart asks an iterator, which takes time and touches pages.
  const pack = (value) => {
    const outer = { __proto__: null, left, tagged, above }; // a getter of the value may itself call the host
    left = sizes.most;
    tagged = false;
    above = new WeakSet();
    try {
      const json = stringify(encode(value, 0));
      return { __proto__: null, json, tagged };
    } finally {
      left = outer.left;
      tagged = outer.tagged;
      above = outer.above;
    }
  };
  // The host's text: "v" and plain JSON, or "t" and JSON with tags in it.
  const unpack = (sent) => {
    const value = parse(boot.slice(sent, 1));
    return sent[0] === 't' ? decode(value) : value;
  };
  const plainPrototype = (value) => {
    const proto = getPrototypeOf(value);
    return proto === null || proto === Object.prototype;
  };
  globalThis.__boot = { ...boot, pack, simple, unpack, decode, describe, text, own, sizes, TooLarge, plainPrototype };
})();

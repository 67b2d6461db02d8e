// Functions of the host: globals that copy their arguments out and the answer in.
(() => {
  'use strict';
  const boot = globalThis.__boot;
  const { host, String, Map, Error, Promise, pack, simple, unpack, slice, mapGet, mapSet, mapDelete, defineProperty, freeze } = boot;
  const waiting = new Map(); // token -> [resolve, reject, and for what is no call of the host: forget]
  let next = 1;

  const failure = (said) => {
    const error = new Error(said);
    boot.own(error, 'name', 'HostError');
    return error;
  };
  const packed = (args) => {
    let text = 'v[';
    for (let i = 0; i < args.length; i++) {
      const one = simple(args[i]);
      if (one === '') return encoded(args);
      text += i ? `,${one}` : one;
    }
    return `${text}]`;
  };
  const encoded = (args) => {
    const { json, tagged } = pack(args);
    return (tagged ? 't' : 'v') + json;
  };
  // The host's word begins with "v" or "t" for a value, "e" for an error's text.
  const answer = (said) => {
    if (said === undefined) throw failure('the host gave no answer');
    if (said[0] === 'e') throw failure(slice(said, 1));
    return unpack(said);
  };
  const plain = (name) => (...args) => answer(host('call', name, packed(args)));
  const later = (name) => (...args) => {
    const token = next++;
    const sent = packed(args);
    return new Promise((resolve, reject) => {
      mapSet(waiting, token, [resolve, reject]);
      const said = host('start', `${token} ${name}`, sent);
      if (said === undefined || said[0] === 'e') {
        mapDelete(waiting, token);
        reject(failure(said === undefined ? 'the host gave no answer' : slice(said, 1)));
      }
    });
  };
  const offer = (name, asynchronous) => {
    const f = asynchronous ? later(name) : plain(name);
    defineProperty(f, 'name', { __proto__: null, value: name });
    const place = { __proto__: null, value: freeze(f), writable: true, enumerable: false, configurable: true };
    defineProperty(globalThis, name, place);
  };
  const settle = (token, said) => {
    const found = mapGet(waiting, token);
    if (found === undefined) return;
    mapDelete(waiting, token);
    try {
      found[0](answer(said));
    } catch (error) {
      found[1](error);
    }
  };
  // What was going on in another process will never end here.
  const forget = () => {
    const lost = waiting;
    boot.mapEach(lost, ([, reject, drop], token) => {
      mapDelete(lost, token);
      if (drop !== undefined) drop();
      else reject(failure('the call did not outlive the snapshot'));
    });
  };
  const pend = (resolve, reject, drop) => {
    const token = next++;
    mapSet(waiting, token, [resolve, reject, drop]);
    return token;
  };
  const unpend = (token) => mapDelete(waiting, token);
  globalThis.__boot = { ...boot, offer, settle, forget, pend, unpend };
})();

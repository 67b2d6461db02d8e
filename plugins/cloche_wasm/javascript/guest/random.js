// Math.random: xoshiro128**, whose seed is asked of the host when a number is first wanted, so that no two
// interpreters made of one template draw alike.
(() => {
  'use strict';
  const boot = globalThis.__boot;
  const { host, imul, parse } = boot;
  let seeded = false;
  let a, b, c, d;
  const turn = (x, k) => (x << k) | (x >>> (32 - k));
  const word = () => {
    const out = imul(turn(imul(b, 5), 7), 9);
    const t = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= t;
    d = turn(d, 11);
    return out >>> 0;
  };
  Math.random = function random() {
    if (!seeded) {
      [a, b, c, d] = parse(host('seed'));
      seeded = true;
    }
    return (word() * 2097152 + (word() >>> 11)) / 9007199254740992;
  };
  globalThis.__boot = {
    ...boot,
    reseed: () => {
      seeded = false;
    },
  };
})();

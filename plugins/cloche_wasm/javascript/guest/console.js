// console: lines are kept for the end of the run, or given to the host at once; all of a run's are bounded.
(() => {
  'use strict';
  const boot = globalThis.__boot;
  const { host, isArray, isView, keys, stringify, String, Map, Set, Date, Error, RegExp, Promise, WeakSet } = boot;
  const { mapEach, setEach, seenHas, seenAdd, seenDelete, push, join, text, symbolText, patternText, slice } = boot;
  const { getPrototypeOf, freeze, plainPrototype, startsWith } = boot;
  const SHOWN = 100; // items of one collection
  const state = { mode: 'collect', lines: [], left: 65536, most: 65536 }; // most: before the host is asked

  const name = (value) => {
    try {
      const made = getPrototypeOf(value)?.constructor;
      return typeof made === 'function' ? text(made.name) : '';
    } catch {
      return '';
    }
  };
  const several = (open, parts, total, close) => {
    if (total > parts.length) push(parts, `... ${total - parts.length} more`);
    return parts.length ? `${open} ${join(parts, ', ')} ${close}` : open + close;
  };
  const word = (key) => (/^[A-Za-z_$][\w$]*$/.test(key) ? key : stringify(key));
  const showObject = (value, depth, seen) => {
    if (value instanceof Error) return text(value.stack) ? `${text(value)}\n${text(value.stack)}` : text(value);
    if (value instanceof Date) return isNaN(value) ? 'Invalid Date' : value.toISOString();
    if (value instanceof RegExp) return patternText(value);
    if (value instanceof Promise) return 'Promise {}';
    if (depth > 4) return isArray(value) ? '[Array]' : '[Object]';
    const parts = [];
    const inner = (v) => show(v, depth + 1, seen);
    if (isArray(value) || (isView(value) && value.length !== undefined)) {
      for (let i = 0; i < value.length && i < SHOWN; i++) push(parts, inner(value[i]));
      const kind = isArray(value) ? '' : `${name(value)}(${value.length}) `;
      return kind + several('[', parts, value.length, ']');
    }
    if (value instanceof Map) {
      mapEach(value, (v, k) => parts.length < SHOWN && push(parts, `${inner(k)} => ${inner(v)}`));
      return `Map(${value.size}) ${several('{', parts, value.size, '}')}`;
    }
    if (value instanceof Set) {
      setEach(value, (v) => parts.length < SHOWN && push(parts, inner(v)));
      return `Set(${value.size}) ${several('{', parts, value.size, '}')}`;
    }
    const names = keys(value);
    for (let i = 0; i < names.length && i < SHOWN; i++) push(parts, `${word(names[i])}: ${inner(value[names[i]])}`);
    const kind = plainPrototype(value) ? '' : `${name(value)} `;
    return kind + several('{', parts, names.length, '}');
  };
  const show = (value, depth, seen) => {
    switch (typeof value) {
      case 'string':
        return depth ? stringify(value) : value;
      case 'bigint':
        return `${String(value)}n`;
      case 'symbol':
        return symbolText(value);
      case 'function':
        return `[${startsWith(text(value), 'class') ? 'class' : 'Function'}: ${text(value.name) || '(anonymous)'}]`;
      case 'object':
        break;
      default:
        return Object.is(value, -0) ? '-0' : String(value);
    }
    if (value === null) return 'null';
    if (seenHas(seen, value)) return '[Circular]';
    seenAdd(seen, value);
    const out = showObject(value, depth, seen);
    seenDelete(seen, value);
    return out;
  };
  const line = (values) => {
    const parts = [];
    for (let i = 0; i < values.length; i++) {
      try {
        push(parts, show(values[i], 0, new WeakSet()));
      } catch (error) {
        push(parts, `[could not be shown: ${text(error)}]`);
      }
    }
    return join(parts, ' ');
  };

  // The host counts what it is told of and gives more room, or ends the run and gives none.
  const room = (size) => {
    if (state.left < size) state.left += +host('room', String(size));
    if (state.left < size) throw new Error('the limit of output is reached');
    state.left -= size;
  };
  const print = (level, values) => {
    if (state.mode === 'off') return;
    const said = line(values);
    if (state.mode === 'live') return void host('log', level, said);
    room(said.length + 1);
    push(state.lines, [level, said]);
  };
  globalThis.console = freeze({
    log: (...values) => print('log', values),
    info: (...values) => print('info', values),
    warn: (...values) => print('warn', values),
    error: (...values) => print('error', values),
    debug: (...values) => print('debug', values),
    dir: (value) => print('log', [value]),
    trace: (...values) => print('debug', [...values, slice(text(new Error().stack), 0, 4096)]),
    assert: (right, ...values) => right || print('error', ['Assertion failed', ...values]),
  });
  const take = () => {
    const { lines } = state;
    state.lines = [];
    state.left = state.most;
    return lines;
  };
  globalThis.__boot = { ...boot, printing: state, take };
})();

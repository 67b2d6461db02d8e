// $fs: a small tree of files that lives and dies with the interpreter. Paths are text; folders are only parts of names.
(() => {
  'use strict';
  const boot = globalThis.__boot;
  const { host, String, Uint8Array, Map, Error, freeze, own, parse } = boot;
  const { mapGet, mapSet, mapHas, mapDelete, mapEach, push, join, sort, split, startsWith } = boot;
  const files = new Map(); // path -> { data, fixed }
  const limits = { disk: -1, files: -1 }; // asked of the host when first needed
  let used = 0;

  const failure = (code, said) => {
    const error = new Error(`${code}: ${said}`);
    own(error, 'code', code);
    return error;
  };
  const clean = (path) => {
    const parts = split(String(path), '/');
    const kept = [];
    for (let i = 0; i < parts.length; i++) {
      if (parts[i] === '..') kept.length -= kept.length ? 1 : 0;
      else if (parts[i] !== '' && parts[i] !== '.') push(kept, parts[i]);
    }
    return `/${join(kept, '/')}`;
  };
  const found = (path) => {
    const file = mapGet(files, path);
    if (file === undefined) throw failure('ENOENT', `no such file: ${path}`);
    return file;
  };
  const changeable = (path) => {
    const file = mapGet(files, path);
    if (file?.fixed) throw failure('EACCES', `the file is read-only: ${path}`);
    return file;
  };
  // Text is kept as it is, two bytes a character at most; a name takes room as well.
  const weight = (path, data) => 2 * path.length + (typeof data === 'string' ? 2 * data.length : data.byteLength);
  const bounds = () => {
    if (limits.disk < 0) [limits.disk, limits.files] = parse(host('limits'));
    return limits;
  };
  const put = (path, data) => {
    if (path === '/') throw failure('EISDIR', 'a file needs a name');
    const old = changeable(path);
    const total = used + weight(path, data) - (old === undefined ? 0 : weight(path, old.data));
    if (total > bounds().disk) throw failure('ENOSPC', `the files may hold ${bounds().disk} bytes`);
    if (old === undefined && files.size >= bounds().files) throw failure('EMFILE', `there may be ${bounds().files} files`);
    mapSet(files, path, { data, fixed: false });
    used = total;
  };
  const contents = (data) => (data instanceof Uint8Array ? new Uint8Array(data) : String(data));
  const names = (folder) => {
    const below = folder === '/' ? '/' : `${folder}/`;
    const out = [];
    mapEach(files, (_, path) => startsWith(path, below) && push(out, path));
    return sort(out);
  };

  globalThis.$fs = freeze({
    write: (path, data) => put(clean(path), contents(data)),
    append: (path, data) => {
      const name = clean(path);
      const old = mapGet(files, name);
      put(name, old === undefined ? contents(data) : String(old.data) + String(data));
    },
    read: (path) => {
      const { data } = found(clean(path));
      return typeof data === 'string' ? data : new Uint8Array(data);
    },
    exists: (path) => mapHas(files, clean(path)),
    list: (folder = '/') => names(clean(folder)),
    remove: (path) => {
      const name = clean(path);
      const { data } = found(name);
      changeable(name);
      used -= weight(name, data);
      mapDelete(files, name);
    },
    protect: (path) => {
      found(clean(path)).fixed = true;
    },
    usage: () => ({ used, files: files.size, disk: bounds().disk, most: bounds().files }),
  });
  globalThis.__boot = { ...boot, fileLimits: limits };
})();

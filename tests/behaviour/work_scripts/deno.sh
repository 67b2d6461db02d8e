# Deno: a script, its formatter and its tests.
unset NODE_OPTIONS NODE_ENV
python3 -m zipfile -e /cache/wheels/deno-*.whl w && chmod +x $(find w -name 'deno' -type f) && export DENO_DIR=$PWD/.deno
deno=$(find w -name deno -type f | head -1)
echo 'const x: number = 2; console.log(x * 21); await Deno.writeTextFile("out", "x");' > a.ts
echo 'Deno.test("adds", () => { if (1 + 1 !== 2) throw new Error("no"); });' > a_test.ts
$deno run --no-remote --allow-write=. a.ts && $deno fmt a.ts && $deno test --no-remote a_test.ts && $deno eval 'console.log(1)'

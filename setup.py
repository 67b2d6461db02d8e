"""Build of the native parts; everything else is in pyproject.toml."""

import shutil
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext

FLAGS = [
    "-std=c11", "-O2", "-Wall", "-Wextra", "-Wshadow", "-Wstrict-prototypes", "-Wmissing-prototypes",
    "-fstack-protector-strong", "-ffunction-sections", "-fdata-sections",
]  # fmt: skip
PROGRAMS = {
    "cloche-init": ["native/init/*.c"],
    "cloche-inner": [
        "native/inner/*.c",
        *(f"native/init/{name}.c" for name in ("wire", "control", "execute", "bounds", "signals")),
    ],
}
LIBRARIES = {"cloche-statx.so": ["native/shim/statx.c"]}
SHARED = ["-fPIC", "-fvisibility=hidden", "-fno-asynchronous-unwind-tables"]
SMALL = "-Wl,--gc-sections,--build-id=none,--hash-style=gnu,-z,norelro,-z,noseparate-code"
"""Each program of a guest loads it: each segment and page costs a tenth of a millisecond."""
MULTIARCH = sysconfig.get_config_var("MULTIARCH") or ""


class BuildNative(build_ext):
    """Also compiles the static executables cloche-init and cloche-inner, beside cloche_native._lib.

    And what guests load without the C library that it was compiled with: cloche-statx.so.
    """

    def run(self) -> None:  # noqa: D102 - setuptools says what it is
        super().run()
        headers, libc = self._choose_libc()
        for path in self._made(PROGRAMS):
            # Static: they run in sandboxes that have no C library of their own.
            self.compiler.link_executable(
                self._compile(path.name, PROGRAMS[path.name], libc, headers),
                path.name,
                output_dir=str(path.parent),
                extra_postargs=["-static", "-no-pie", "-Wl,--gc-sections", "-s"],
            )
            path.chmod(0o755)
        for path in self._made(LIBRARIES):
            self.compiler.link_shared_object(
                self._compile(path.name, LIBRARIES[path.name], libc, [*headers, *SHARED]),
                path.name,
                output_dir=str(path.parent),
                extra_postargs=["-nostdlib", SMALL, "-s"],
            )
            path.chmod(0o755)

    def _compile(self, name: str, patterns: list[str], libc: str, more: list[str]) -> list[str]:
        sources = sorted(path.as_posix() for pattern in patterns for path in Path().glob(pattern))
        if not sources:
            raise FileNotFoundError(f"{patterns}: the sources of {name} are missing")
        return self.compiler.compile(
            sources,
            output_dir=f"{self.build_temp}/{libc}",
            include_dirs=["native/src"],
            macros=[("_GNU_SOURCE", "1")],
            depends=[*sorted(path.as_posix() for path in Path("native").glob("*/*.h"))],
            extra_postargs=[*FLAGS, *more],
        )

    def _choose_libc(self) -> tuple[list[str], str]:
        """Compile for musl if it is there: each start costs some 0.3 ms less (docs/decisions/0017-musl.md).

        Gives arguments for the kernel's headers, which musl-gcc does not look for, and the library's name.
        """
        musl = shutil.which("musl-gcc")
        if musl is None or Path(self.compiler.compiler_so[0]).name not in {"gcc", "cc", f"{MULTIARCH}-gcc"}:
            return [], "libc"
        for name in ("compiler_so", "linker_exe"):
            setattr(self.compiler, name, [musl, *getattr(self.compiler, name)[1:]])
        return ["-idirafter", f"/usr/include/{MULTIARCH}", "-idirafter", "/usr/include"], "musl"

    def get_outputs(self) -> list[str]:  # noqa: D102 - the same
        return [*super().get_outputs(), *map(str, self._made([*PROGRAMS, *LIBRARIES]))]

    def _made(self, names: Iterable[str]) -> list[Path]:
        folder = Path(self.get_ext_fullpath("cloche_native._lib")).parent
        return [folder / name for name in names]


setup(cffi_modules=["native/build_native.py:ffi"], cmdclass={"build_ext": BuildNative})

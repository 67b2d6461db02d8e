"""Build of the native parts; everything else is in pyproject.toml."""

import shutil
import sysconfig
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext

INIT_FLAGS = [
    "-std=c11", "-O2", "-Wall", "-Wextra", "-Wshadow", "-Wstrict-prototypes", "-Wmissing-prototypes",
    "-fstack-protector-strong", "-ffunction-sections", "-fdata-sections",
]  # fmt: skip
MULTIARCH = sysconfig.get_config_var("MULTIARCH") or ""


class BuildNative(build_ext):
    """Also compiles native/init/*.c into the static executable cloche-init, beside cloche_native._lib."""

    def run(self) -> None:  # noqa: D102 - setuptools says what it is
        super().run()
        sources = sorted(path.as_posix() for path in Path("native/init").glob("*.c"))
        if not sources:
            raise FileNotFoundError("native/init/*.c: the sources of cloche-init are missing")
        headers, libc = self._choose_libc()
        objects = self.compiler.compile(
            sources,
            output_dir=f"{self.build_temp}/{libc}",
            include_dirs=["native/src"],
            macros=[("_GNU_SOURCE", "1")],
            depends=[*sorted(path.as_posix() for path in Path("native").glob("*/*.h"))],
            extra_postargs=[*INIT_FLAGS, *headers],
        )
        # Static: it runs in sandboxes that have no C library of their own.
        self.compiler.link_executable(
            objects,
            self._init_path().name,
            output_dir=str(self._init_path().parent),
            extra_postargs=["-static", "-no-pie", "-Wl,--gc-sections", "-s"],
        )
        self._init_path().chmod(0o755)

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
        return [*super().get_outputs(), str(self._init_path())]

    def _init_path(self) -> Path:
        return Path(self.get_ext_fullpath("cloche_native._lib")).parent / "cloche-init"


setup(cffi_modules=["native/build_native.py:ffi"], cmdclass={"build_ext": BuildNative})

"""Build of the native parts; everything else is in pyproject.toml."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext

INIT_FLAGS = [
    "-std=c11", "-O2", "-Wall", "-Wextra", "-Wshadow", "-Wstrict-prototypes", "-Wmissing-prototypes",
    "-fstack-protector-strong", "-ffunction-sections", "-fdata-sections",
]  # fmt: skip


class BuildNative(build_ext):
    """Also compiles native/init/*.c into the static executable cloche-init, beside cloche_native._lib."""

    def run(self) -> None:  # noqa: D102 - setuptools says what it is
        super().run()
        sources = sorted(path.as_posix() for path in Path("native/init").glob("*.c"))
        if not sources:
            raise FileNotFoundError("native/init/*.c: the sources of cloche-init are missing")
        objects = self.compiler.compile(
            sources,
            output_dir=self.build_temp,
            include_dirs=["native/src"],
            macros=[("_GNU_SOURCE", "1")],
            depends=[*sorted(path.as_posix() for path in Path("native").glob("*/*.h"))],
            extra_postargs=INIT_FLAGS,
        )
        # Static: it runs in sandboxes that have no C library of their own.
        self.compiler.link_executable(
            objects,
            self._init_path().name,
            output_dir=str(self._init_path().parent),
            extra_postargs=["-static", "-Wl,--gc-sections", "-s"],
        )
        self._init_path().chmod(0o755)

    def get_outputs(self) -> list[str]:  # noqa: D102 - the same
        return [*super().get_outputs(), str(self._init_path())]

    def _init_path(self) -> Path:
        return Path(self.get_ext_fullpath("cloche_native._lib")).parent / "cloche-init"


setup(cffi_modules=["native/build_native.py:ffi"], cmdclass={"build_ext": BuildNative})

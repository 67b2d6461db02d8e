"""What cffi builds from native/src/cdef.h, as far as the wrapper uses it."""

from typing import Any

class _Lib:
    CLO_STEP_NONE: int
    CLO_STEP_STACK: int
    CLO_STEP_CLONE: int
    CLO_STEP_SIGNALS: int
    CLO_STEP_CGROUP: int
    CLO_STEP_NAMESPACE: int
    CLO_STEP_STAGE_FOLDER: int
    CLO_STEP_STAGE_SOURCE: int
    CLO_STEP_STAGE_TARGET: int
    CLO_STEP_STAGE_IDMAP: int
    CLO_STEP_STAGE_ATTACH: int
    CLO_STEP_DESCRIPTORS: int
    CLO_STEP_SESSION: int
    CLO_STEP_GROUPS: int
    CLO_STEP_GID: int
    CLO_STEP_UID: int
    CLO_STEP_CWD: int
    CLO_STEP_PARENT: int
    CLO_STEP_EXEC: int
    CLO_STEP_ENTER: int
    CLO_STEP_CAPABILITIES: int
    CLO_ARCH_X86_64: int
    CLO_ARCH_AARCH64: int
    CLO_STANDARD: int
    CLO_ENHANCED: int
    CLO_MAXIMUM: int
    CLO_SOCKETS_ALL: int
    CLO_SOCKETS_UNIX: int
    CLO_SOCKETS_NONE: int
    CLO_SOCKETS_INET: int
    CLO_RESOLVE_NO_XDEV: int
    CLO_RESOLVE_NO_MAGICLINKS: int
    CLO_RESOLVE_NO_SYMLINKS: int
    CLO_RESOLVE_BENEATH: int
    CLO_RESOLVE_IN_ROOT: int
    CLO_RESOLVE_CACHED: int
    def clo_spawn(self, spawn: Any) -> int: ...
    def clo_idmap_userns(self, from_uid: int, to_uid: int, from_gid: int, to_gid: int) -> int: ...
    def clo_seccomp_program(self, request: Any, code: Any, room: int) -> int: ...
    def clo_syscall_number(self, name: bytes, arch: int) -> int: ...
    def clo_syscall_name(self, index: int) -> Any: ...
    def clo_landlock_abi(self) -> int: ...
    def clo_openat2(self, dirfd: int, path: bytes, flags: int, mode: int, resolve: int) -> int: ...

class _FFI:
    NULL: Any
    def new(self, kind: str, init: Any = ...) -> Any: ...
    def string(self, data: Any) -> bytes: ...
    def buffer(self, data: Any, size: int = ...) -> Any: ...

lib: _Lib
ffi: _FFI

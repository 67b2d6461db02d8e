"""The caller's folders as Landlock rules: whole ones, or entry by entry where not all of a folder is allowed the same.

Landlock only adds rights, from a folder down to all that it holds. So of a folder that holds something protected only
what is allowed everywhere in it gets a rule, and each thing in it one of its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cloche_native as native
from cloche import Access, PathPermissions, Spec, SpecError
from cloche_native import agent as wire
from cloche_native.agent import access_of

RULES_MAX = 4096
LOOKED_MAX = 20_000
TRUNCATE_SINCE = 3  # Landlock ABI that judges truncate(2), Linux 6.2 (landlock(7))
CHANGING = {"write", "create", "delete"}

Rule = tuple[wire.Access, str]


def rules(spec: Spec, workspace: str) -> list[Rule]:
    """Give the rules for the mounts and the work folder of ``spec``. Raises ``SpecError`` where they are too many."""
    listing = _Listing(Access.of(spec, workspace=workspace))
    out = [rule for folder in _folders(spec, workspace) for rule in listing.of(folder)]
    if len(out) > RULES_MAX:
        raise SpecError(
            f"paths: {len(out)} rules would be needed here; at most {RULES_MAX}. Name whole folders instead"
        )
    return out


def problems(spec: Spec, shown: Sequence[str]) -> list[str]:
    """Give what of the paths could not be kept over the folders ``shown``, and why."""
    everything = Access.of(replace(spec, paths=PathPermissions()))
    out = [
        f"{pattern} can't be forbidden below the allowed {folder}: Landlock only allows"
        for pattern in spec.paths.forbidden
        for folder in dict.fromkeys((*shown, spec.workspace.target))
        if not Access(PathPermissions(forbidden=(pattern,)), ()).everywhere(folder)
    ]
    target, source = spec.workspace.target, spec.workspace.source
    judged = Access.of(replace(spec, paths=PathPermissions(read_only=spec.paths.read_only)))
    touched = judged.everywhere(target) != everything.everywhere(target)
    if (target != source and touched) or (source is None and spec.paths.allowed):
        out.append(f"paths in {target}: the work folder lies elsewhere without a mount namespace; name its own path")
    for one in spec.mounts:
        if CHANGING & one.allows and "write" not in one.allows and native.landlock_abi() < TRUNCATE_SINCE:
            out.append(f"mount {one.target}: without write, but Landlock before Linux 6.2 lets files be emptied")
        out += [
            f"mount {other.target}: {one.source} leads into it, where more is allowed"
            for other in spec.mounts
            if one.allows - other.allows and _leads_into(one.source, other.source)
        ]
    return out


def caveats(spec: Spec) -> list[str]:
    """Give what is kept otherwise than one might think."""
    out = ["names, owners and times of files can be seen, and those of the caller's own changed"]
    if spec.paths.allowed or spec.paths.read_only or uneven(spec):
        out.append("directly in a folder that holds something protected, nothing can be made, removed or listed")
    return out


def uneven(spec: Spec) -> bool:
    """Say whether a mount lies in the work folder or another mount, where more is allowed."""
    rule = Access.of(spec, workspace=spec.workspace.source)
    folders = _folders(spec, spec.workspace.source or spec.workspace.target)
    return any(rule.everywhere(folder) != {o for o, v in rule.explain(folder).items() if v} for folder in folders)


@dataclass(slots=True)
class _Listing:
    access: Access
    looked: int = 0

    def of(self, folder: str) -> Iterator[Rule]:
        """Give the rules of one folder, or file, of the caller's."""
        return self._below(folder, os.path.realpath(folder), wire.Access.NONE)

    def _below(self, path: str, real: str, how: wire.Access) -> Iterator[Rule]:
        self.looked += 1
        if self.looked > LOOKED_MAX:
            raise SpecError(f"paths: the patterns lead through over {LOOKED_MAX} files; name whole folders instead")
        here = {operation for operation, verdict in self.access.explain(path).items() if verdict}
        always = self.access.everywhere(path) if os.path.isdir(real) else frozenset(here)
        if access_of(always):
            yield access_of(always) | how, real
        if here == always:
            return
        try:
            entries = sorted(os.scandir(real), key=lambda entry: entry.name)
        except OSError as error:
            raise SpecError(f"paths: {path} can't be looked into ({error.strerror}); make it readable") from None
        for entry in entries:
            if not entry.is_symlink():
                yield from self._below(f"{path.rstrip('/')}/{entry.name}", entry.path, wire.Access.NO_LINKS)


def _leads_into(path: str, folder: str) -> bool:
    """Say whether a path that is not below ``folder`` as it is written is so by a symbolic link."""
    return not path.startswith(folder + "/") and f"{os.path.realpath(path)}/".startswith(f"{os.path.realpath(folder)}/")


def _folders(spec: Spec, workspace: str) -> list[str]:
    return list(dict.fromkeys([*(mount.target for mount in spec.mounts), workspace]))

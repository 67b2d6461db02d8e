"""The machine that Python runs in, the same for all interpreters of a process."""

from __future__ import annotations

from functools import lru_cache

from cloche import InterpreterSpec, SpecError
from cloche_native import wasm
from cloche_wasm import bridge
from cloche_wasm.cache import user_cache
from cloche_wasm.engine import ADDRESSED, Engine, engine
from cloche_wasm.living import memory_of
from cloche_wasm.python.build import linked_to_host, template


class Machine:
    """The template, linked in an engine."""

    def __init__(self, used: Engine) -> None:
        """Build the template, where the user's cache has none."""
        self.template = template(used, user_cache())
        self._engine = bridge.bridged(used)
        self._pre, self._functions = linked_to_host(used, self.template.module)

    def mold(self, spec: InterpreterSpec) -> wasm.Mold:
        """Give what interpreters of one spec are made of. Raises ``SpecError`` for less memory than they begin with."""
        memory = memory_of(spec)
        made = self.template
        if memory < len(made.image):
            raise SpecError(
                f"limits.memory: Python begins with {len(made.image)} bytes, and may have {memory}; give it more"
            )
        return wasm.Mold(
            self._engine,
            self._pre,
            functions=self._functions,
            image=made.image,
            stack_pointer=made.stack_pointer,
            dead=made.stack_pointer,  # the stack comes first, and is empty between calls
            memory=memory,
            result=2 * spec.bounds.value + 2 * (spec.limits.output or ADDRESSED) + 65536,
            clock=spec.clock,
            stops=True,
        )


@lru_cache(8)
def machine(stack: int) -> Machine:
    """Give the machine of this process. Raises ``RuntimeUnavailable``, ``StartError``, ``SpecError`` for ``stack``."""
    return Machine(engine(stack))

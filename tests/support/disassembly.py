"""Finds ways out of a function that leave the upper halves of the AVX registers in use.

On many processors code for SSE is slow while the upper halves are in use; `vzeroupper` ends that.
Compilers write it before a return, but not before each jump into another function.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SYMBOL = re.compile(r"[0-9a-f]+ <(.+)>:")
INSTRUCTION = re.compile(r" *([0-9a-f]+):\t(?:(?:bnd|notrack|rep|repz|data16|cs) +)*(\S+) *(.*)")
ADDRESS = re.compile(r"([0-9a-f]+) <")
WIDE = re.compile(r"%[yz]mm")
# A compiler may move the rare part of a function elsewhere, under the function's name and this.
COLD = re.compile(r"\.cold(\.\d+)?$")


class Instruction(NamedTuple):
    """What objdump writes about an instruction."""

    address: int
    name: str
    operands: str

    @property
    def target(self) -> int | None:
        """The address that a jump names; None for an address in a register or in memory."""
        found = ADDRESS.match(self.operands)
        return int(found.group(1), 16) if found else None


class Function(NamedTuple):
    """The instructions of a function; the first one begins it."""

    name: str
    code: list[Instruction]

    @property
    def is_wide(self) -> bool:
        """Tell whether an instruction names a register of more than 128 bits."""
        return any(WIDE.search(instruction.operands) for instruction in self.code)


def disassemble(module: Path) -> str:
    """Return the code of a compiled module as text; raises FileNotFoundError without objdump."""
    command = ["objdump", "--disassemble", "--no-show-raw-insn", "--wide", str(module)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def functions(text: str) -> list[Function]:
    """Split what objdump wrote into functions."""
    parts: list[Function] = []
    for line in text.splitlines():
        if symbol := SYMBOL.match(line):
            parts.append(Function(symbol.group(1), []))
        elif parts and (instruction := INSTRUCTION.match(line)):
            address, name, operands = instruction.groups()
            parts[-1].code.append(Instruction(int(address, 16), name, operands))
    whole = [part for part in parts if not COLD.search(part.name)]
    for cold in (part for part in parts if COLD.search(part.name)):
        for function in whole:
            if function.name == COLD.sub("", cold.name):
                function.code.extend(cold.code)
    return [function for function in whole if function.code]


def unclean_exits(function: Function) -> Iterator[Instruction]:
    """Yield each `ret`, `call` and jump out that a path reaches with the upper halves in use.

    A jump to an address in a register or in memory counts as one that leaves the function.
    """
    places = {instruction.address: place for place, instruction in enumerate(function.code)}
    waiting, seen = [(0, False)], set()
    while waiting:
        place, in_use = state = waiting.pop()
        if state in seen or place == len(function.code):
            continue
        seen.add(state)
        instruction = function.code[place]
        name, target = instruction.name, places.get(instruction.target or -1)
        is_jump = name.startswith("j")
        if in_use and (name.startswith(("ret", "call")) or (is_jump and target is None)):
            yield instruction
        if name.startswith(("vzero", "call")):
            in_use = False
        elif WIDE.search(instruction.operands):
            in_use = True
        if is_jump and target is not None:
            waiting.append((target, in_use))
        if not name.startswith(("ret", "jmp", "hlt", "ud2")):
            waiting.append((place + 1, in_use))

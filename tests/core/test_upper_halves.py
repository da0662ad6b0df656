"""The compiled modules leave no AVX2 code with the upper halves of the registers in use.

Where they do, the code for SSE that follows is slow: on an AMD Zen 3 each such step costs 110 ns,
more than base64 of 48 bytes.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from disassembly import disassemble, functions, unclean_exits

from kinesis_fast import _core
from kinesis_fast._core import kernels

NEEDS_OBJDUMP = pytest.mark.skipif(
    shutil.which("objdump") is None, reason="needs objdump (Debian: apt-get install binutils)"
)
(CORE,) = _core.__path__
UNOPTIMISED = (b"__asan_init", b"__tsan_init", b"__gcov_init")


def exits(code: str) -> list[str]:
    """Return the unclean exits of one function, whose instructions are at 10, 20, 30 and so on."""
    lines = [
        f"      {number * 10}:\t{instruction}"
        for number, instruction in enumerate(code.split("; "), start=1)
    ]
    (function,) = functions("\n".join(["0000000000000010 <one>:", *lines]))
    return [f"{exit.name} {exit.operands}".strip() for exit in unclean_exits(function)]


@pytest.mark.parametrize(
    ("code", "unclean"),
    [
        ("vpaddd %ymm1,%ymm0,%ymm0; ret", ["ret"]),
        ("vpaddd %ymm1,%ymm0,%ymm0; vzeroupper; ret", []),
        ("vpaddd %xmm1,%xmm0,%xmm0; ret", []),
        ("vmovdqu64 (%rdi),%zmm0; jmp 900 <other>", ["jmp 900 <other>"]),
        ("vmovdqu (%rdi),%ymm0; jne 900 <other>; vzeroupper; ret", ["jne 900 <other>"]),
        ("vmovdqu (%rdi),%ymm0; call 900 <other>; ret", ["call 900 <other>"]),
        ("vmovdqu (%rdi),%ymm0; notrack jmp *%rax", ["jmp *%rax"]),
        ("vmovdqu (%rdi),%ymm0; vzeroupper; bnd jmp 900 <other>", []),
        # Only one of two paths clears them.
        ("vmovdqu (%rdi),%ymm0; je 40 <one+0x30>; vzeroupper; ret", ["ret"]),
        # They are in use from the second turn of the loop on.
        ("cmp %rax,%rbx; je 50 <one+0x40>; vmovdqu (%rdi),%ymm0; jmp 10 <one>; ret", ["ret"]),
        # The instruction that uses them comes after the exit, but only on another path.
        ("je 30 <one+0x20>; ret; vmovdqu (%rdi),%ymm0; vzeroupper; ret", []),
    ],
)
def test_exits_are_found(code: str, unclean: list[str]) -> None:
    assert exits(code) == unclean


def test_the_rare_part_of_a_function_belongs_to_it() -> None:
    text = """
0000000000000010 <one.cold>:
      10:\tvmovdqu (%rdi),%ymm0
      20:\tjmp    40 <one+0x10>

0000000000000030 <one>:
      30:\tjne    10 <one.cold>
      40:\tret

0000000000000050 <two>:
      50:\tret
"""
    one, two = functions(text)

    assert [exit.address for exit in unclean_exits(one)] == [0x40]
    assert list(unclean_exits(two)) == []


@pytest.mark.heavy
@NEEDS_OBJDUMP
def test_no_function_leaves_the_upper_halves_in_use() -> None:
    modules = sorted(Path(CORE).glob("*.so"))
    assert modules
    if any(name in module.read_bytes() for module in modules for name in UNOPTIMISED):
        pytest.skip("this build is not optimised")
    wide = [
        (module.name, function)
        for module in modules
        for function in functions(disassemble(module))
        if function.is_wide
    ]
    if kernels.levels()[-1] == "avx2":
        assert wide
    assert not [
        f"{module}: {function.name}: {exit.address:x} {exit.name} {exit.operands}"
        for module, function in wide
        for exit in unclean_exits(function)
    ]

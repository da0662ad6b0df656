"""Writes src_pyx/kernels/powers_of_ten.hpp: python tools/make_powers_of_ten.py

Each power is rounded up to 128 significant bits. The range is what the shortest decimals of doubles
need: 10 ** -k, k being floor(log10) of the spacing of doubles, which is 2 ** -1074 to 2 ** 971.
"""

from pathlib import Path

HEADER = Path(__file__).resolve().parent.parent / "src_pyx" / "kernels" / "powers_of_ten.hpp"
FIRST, LAST = -292, 324
BITS = 128

TEXT = """\
// Powers of ten, rounded up to 128 bits, the highest of them set; the upper half comes first.
// Made by tools/make_powers_of_ten.py.
#ifndef KF_POWERS_OF_TEN_HPP
#define KF_POWERS_OF_TEN_HPP

#include <cstdint>

#define KF_FIRST_POWER ({first})

static const uint64_t kf_powers_of_ten[{n}][2] = {{
{rows}
}};

#endif
"""


def power_of_ten(exponent: int) -> int:
    """The BITS leading bits of 10 ** exponent, rounded up."""
    numerator: int = 10 ** max(exponent, 0)
    denominator: int = 10 ** max(-exponent, 0)
    shift = BITS - numerator.bit_length() + denominator.bit_length()
    if numerator << max(shift, 0) >= denominator << BITS + max(-shift, 0):
        shift -= 1
    numerator <<= max(shift, 0)
    denominator <<= max(-shift, 0)
    return -(-numerator // denominator)


def header() -> str:
    """The text of the header."""
    pairs = []
    for exponent in range(FIRST, LAST + 1):
        power = power_of_ten(exponent)
        assert power.bit_length() == BITS, exponent
        high, low = divmod(power, 2**64)
        pairs.append(f"{{0x{high:016X}u, 0x{low:016X}u}},")
    rows = [" ".join(["   ", *pairs[i : i + 2]]) for i in range(0, len(pairs), 2)]
    return TEXT.format(first=FIRST, n=len(pairs), rows="\n".join(rows))


if __name__ == "__main__":
    HEADER.write_text(header())

// Writes the inside of a JSON string, one block at a time. Each CPU level includes this file in its
// own namespace, after KF_TARGET, Block, BLOCK and the operations on blocks.

// 0xFF for each byte that needs an escape, 0 for the others.
KF_TARGET static inline Block needs_escape(Block block)
{
    const Block control = at_most(block, all(0x1F));
    const Block quote = equal(block, all('"'));
    const Block backslash = equal(block, all('\\'));
    return either(control, either(quote, backslash));
}

// Zero if each byte fits the three bytes before it. The bytes before the block count as ASCII. A
// character that the end of the block cuts off is not an error.
KF_TARGET static inline Block utf8_errors(Block block)
{
    const Block first = before<1>(block);
    const Block pair = both(both(look_up(kf_utf8_first_high.data(), high_nibbles(first)),
                                 look_up(kf_utf8_first_low.data(), both(first, all(0x0F)))),
                            look_up(kf_utf8_second_high.data(), high_nibbles(block)));
    const Block third_due = above(before<2>(block), all(0xE0 - 0x80));
    const Block fourth_due = above(before<3>(block), all(0xF0 - 0x80));
    return differing(both(either(third_due, fourth_due), all(0x80)), pair);
}

// The number of bytes of the complete characters in the first n bytes; 0 if they are not UTF-8.
KF_TARGET static inline size_t whole_characters(Block block, size_t n)
{
    if (n < BLOCK)
        block = both(block, load(kf_keep.data() + 32 - n));
    if (!is_zero(utf8_errors(block)))
        return 0;
    const Block cut_off = above(block, load(kf_utf8_complete.data() + 32 - BLOCK));
    const uint32_t complete = high_bits(equal(cut_off, all(0)));
    const uint64_t starts = (uint64_t)~complete | 1ull << BLOCK;
    const size_t n_whole = (size_t)__builtin_ctzll(starts);
    return n_whole < n ? n_whole : n;
}

// Writes the first n bytes at p with their escapes; the caller has copied the block to `out`. Reads
// two blocks from p on.
KF_TARGET static inline uint8_t *write_escapes(uint8_t *out, const uint8_t *p, size_t n,
                                               uint32_t escapes)
{
    size_t done = 0;
    for (; escapes; escapes &= escapes - 1) {
        const size_t at = (size_t)__builtin_ctz(escapes);
        out = kf_write_escape(out + (at - done), p[at]);
        done = at + 1;
        store(out, load(p + done));
    }
    return out + (n - done);
}

// Copies blocks as long as they are ASCII and need no escapes; returns the number of bytes.
KF_TARGET static inline size_t copy_plain(uint8_t *out, const uint8_t *src, size_t n)
{
    size_t i = 0;
    for (; n - i >= BLOCK; i += BLOCK) {
        const Block block = load(src + i);
        store(out + i, block);
        if (any_high_bit(either(needs_escape(block), block)))
            break;
    }
    return i;
}

KF_TARGET static uint8_t *escape(uint8_t *out, const uint8_t *src, size_t n,
                                 const uint8_t *readable_end)
{
    const uint8_t *end = src + n;
    while (src < end && readable_end - src >= 2 * BLOCK) {
        const size_t n_plain = copy_plain(out, src, (size_t)(end - src));
        src += n_plain;
        out += n_plain;
        if (src == end || readable_end - src < 2 * BLOCK)
            break;
        const size_t left = (size_t)(end - src);
        size_t n_block = left < BLOCK ? left : BLOCK;
        const uint32_t used = (uint32_t)((1ull << n_block) - 1);
        const Block block = load(src);
        store(out, block);
        uint32_t escapes = high_bits(needs_escape(block)) & used;
        if (high_bits(block) & used) {
            n_block = whole_characters(block, n_block);
            if (n_block == 0) {
                out = kf_escape_bytewise(out, &src, src + (left < BLOCK ? left : BLOCK), end);
                continue;
            }
            escapes &= (uint32_t)((1ull << n_block) - 1);
        }
        out = write_escapes(out, src, n_block, escapes);
        src += n_block;
    }
    leave();
    return kf_escape_scalar(out, src, (size_t)(end - src), readable_end);
}

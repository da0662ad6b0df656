// The steps of MD5 (RFC 1321, section 3.4) for LANES messages at a time. md5.hpp includes this file
// in a namespace for each number of lanes, after KF_TARGET and LANES.

typedef uint32_t Words __attribute__((vector_size(4 * LANES))); // a word of each message

KF_TARGET static inline Words rotated(Words words, int n)
{
    return words << n | words >> (32 - n);
}

// x where the bit of `which` is set, otherwise y.
KF_TARGET static inline Words chosen(Words which, Words x, Words y)
{
    return ((x ^ y) & which) ^ y;
}

KF_TARGET static inline void load_block(Words *w, const uint8_t *const *blocks, size_t at)
{
    for (int i = 0; i < 16; i++)
        for (int lane = 0; lane < LANES; lane++)
            w[i][lane] = kf_md5_load(blocks[lane] + at + 4 * i);
}

KF_TARGET static void add_blocks(kf_md5_state *states, const uint8_t *const *blocks,
                                 size_t n_blocks)
{
    const uint32_t *sine = kf_md5_sines.data();
    Words state[4], w[16];
    for (int word = 0; word < 4; word++)
        for (int lane = 0; lane < LANES; lane++)
            state[word][lane] = states[lane][word];
    Words a = state[0], b = state[1], c = state[2], d = state[3];
    for (size_t at = 0; at < n_blocks * KF_MD5_BLOCK; at += KF_MD5_BLOCK) {
        const Words old_a = a, old_b = b, old_c = c, old_d = d;
        load_block(w, blocks, at);
        for (int i = 0; i < 16; i += 4) {
            a = b + rotated(a + w[i] + sine[i] + chosen(b, c, d), 7);
            d = a + rotated(d + w[i + 1] + sine[i + 1] + chosen(a, b, c), 12);
            c = d + rotated(c + w[i + 2] + sine[i + 2] + chosen(d, a, b), 17);
            b = c + rotated(b + w[i + 3] + sine[i + 3] + chosen(c, d, a), 22);
        }
        // (c & ~d) and (b & d) share no bits, so both can be added; only the second waits for b.
        for (int i = 16, k = 1; i < 32; i += 4, k += 20) {
            a = b + rotated(a + w[k & 15] + sine[i] + (c & ~d) + (b & d), 5);
            d = a + rotated(d + w[(k + 5) & 15] + sine[i + 1] + (b & ~c) + (a & c), 9);
            c = d + rotated(c + w[(k + 10) & 15] + sine[i + 2] + (a & ~b) + (d & b), 14);
            b = c + rotated(b + w[(k + 15) & 15] + sine[i + 3] + (d & ~a) + (c & a), 20);
        }
        for (int i = 32, k = 5; i < 48; i += 4, k += 12) {
            a = b + rotated(a + w[k & 15] + sine[i] + (b ^ c ^ d), 4);
            d = a + rotated(d + w[(k + 3) & 15] + sine[i + 1] + (a ^ b ^ c), 11);
            c = d + rotated(c + w[(k + 6) & 15] + sine[i + 2] + (d ^ a ^ b), 16);
            b = c + rotated(b + w[(k + 9) & 15] + sine[i + 3] + (c ^ d ^ a), 23);
        }
        for (int i = 48, k = 0; i < 64; i += 4, k += 28) {
            a = b + rotated(a + w[k & 15] + sine[i] + (c ^ (b | ~d)), 6);
            d = a + rotated(d + w[(k + 7) & 15] + sine[i + 1] + (b ^ (a | ~c)), 10);
            c = d + rotated(c + w[(k + 14) & 15] + sine[i + 2] + (a ^ (d | ~b)), 15);
            b = c + rotated(b + w[(k + 21) & 15] + sine[i + 3] + (d ^ (c | ~a)), 21);
        }
        a += old_a;
        b += old_b;
        c += old_c;
        d += old_d;
    }
    const Words result[4] = {a, b, c, d};
    for (int word = 0; word < 4; word++)
        for (int lane = 0; lane < LANES; lane++)
            states[lane][word] = result[word][lane];
}

// Compresses with zlib: one state for many texts. Nothing in the output depends on the time, the
// machine or earlier texts. Formats: RFC 1950 (zlib), RFC 1952 (gzip).
#ifndef KF_DEFLATE_HPP
#define KF_DEFLATE_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <zlib.h>

// No file name, no time, no hint about the level, unknown system.
static const uint8_t kf_gzip_header[10] = {0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF};
#define KF_GZIP_TRAILER 8 // CRC-32 and length, little-endian

struct kf_deflater {
    z_stream stream;
    bool is_gzip;
};

// Returns false if there is no memory. A new state costs more than the compression of a short text.
static inline bool kf_deflate_open(kf_deflater *deflater, int level, bool is_gzip)
{
    std::memset(&deflater->stream, 0, sizeof deflater->stream);
    deflater->is_gzip = is_gzip;
    const int window = is_gzip ? -MAX_WBITS : MAX_WBITS; // negative: no header of zlib's own
    return deflateInit2(&deflater->stream, level, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY) ==
           Z_OK;
}

static inline void kf_deflate_close(kf_deflater *deflater)
{
    deflateEnd(&deflater->stream);
}

// The room that n bytes may need, headers and trailers included.
static inline size_t kf_deflate_bound(kf_deflater *deflater, size_t n)
{
    return (size_t)deflateBound(&deflater->stream, (uLong)n) + sizeof kf_gzip_header +
           KF_GZIP_TRAILER;
}

static inline uint8_t *kf_write_u32_le(uint8_t *out, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        *out++ = (uint8_t)(value >> 8 * i);
    return out;
}

// Compresses n bytes (< 2^31) and returns the length; needs kf_deflate_bound(n) bytes of room.
// Returns 0 if zlib fails, which it does not with enough room.
static inline size_t kf_deflate(kf_deflater *deflater, uint8_t *out, size_t room,
                                const uint8_t *src, size_t n)
{
    z_stream *stream = &deflater->stream;
    const size_t header = deflater->is_gzip ? sizeof kf_gzip_header : 0;
    std::memcpy(out, kf_gzip_header, header);
    deflateReset(stream);
    stream->next_in = const_cast<uint8_t *>(src); // zlib only reads it
    stream->avail_in = (uInt)n;
    stream->next_out = out + header;
    stream->avail_out = (uInt)(room - header - (deflater->is_gzip ? KF_GZIP_TRAILER : 0));
    if (deflate(stream, Z_FINISH) != Z_STREAM_END)
        return 0;
    uint8_t *end = stream->next_out;
    if (deflater->is_gzip) {
        end = kf_write_u32_le(end, (uint32_t)crc32(0, src, (uInt)n));
        end = kf_write_u32_le(end, (uint32_t)n);
    }
    return (size_t)(end - out);
}

#endif

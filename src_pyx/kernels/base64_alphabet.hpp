// The characters of base64 (RFC 4648, section 4).
#ifndef KF_BASE64_ALPHABET_HPP
#define KF_BASE64_ALPHABET_HPP

static constexpr char kf_base64_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#endif

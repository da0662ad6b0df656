// All kernels of this build, by CPU level.
#ifndef KF_ALL_KERNELS_HPP
#define KF_ALL_KERNELS_HPP

#include "base64.hpp"
#include "json_escape.hpp"
#include "kernel_table.hpp"
#include "level.hpp"
#include "md5.hpp"

#ifdef KF_X86_BLOCKS
#include "blocks_avx2.hpp"
#include "blocks_ssse3.hpp"
#endif
#ifdef KF_NEON_BLOCKS
#include "blocks_neon.hpp"
#endif

// `level` must not exceed the best level of this CPU.
static inline kf_kernel_table kf_kernels_of(kf_level level)
{
#ifdef KF_X86_BLOCKS
    if (level == KF_AVX2)
        return {kf_avx2::escape, kf_base64_avx2, kf_md5_avx2};
    if (level == KF_SSSE3)
        return {kf_ssse3::escape, kf_base64_ssse3, kf_md5_plain};
#endif
#ifdef KF_NEON_BLOCKS
    if (level == KF_NEON)
        return {kf_neon::escape, kf_base64_neon, kf_md5_neon};
#endif
    (void)level;
    return {kf_escape_scalar, kf_base64_scalar, kf_md5_plain};
}

#endif

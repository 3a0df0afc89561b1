// Chooses among the compiled levels, once.
#include "kernels.hpp"

namespace fastopt {

namespace baseline {
extern const Kernels kernels;
}
#if defined(FASTOPT_X86_LEVELS)
namespace avx2 {
extern const Kernels kernels;
}
namespace avx512 {
extern const Kernels kernels;
}
#endif

const Kernels& kernels() {
#if defined(FASTOPT_X86_LEVELS)
    if (isa() == Isa::avx512) return avx512::kernels;
    if (isa() == Isa::avx2) return avx2::kernels;
#endif
    return baseline::kernels;
}

template <> const CboKernels<double>& cbo_kernels<double>() { return kernels().cbo_f64; }
template <> const CboKernels<float>& cbo_kernels<float>() { return kernels().cbo_f32; }

template <> const SketchKernels<double>& sketch_kernels<double>() { return kernels().sketch_f64; }
template <> const SketchKernels<float>& sketch_kernels<float>() { return kernels().sketch_f32; }

void fill_normal(float* out, std::uint64_t first, index_t count, const Draw& draw) {
    kernels().random.normal_f32(out, first, count, draw);
}
void fill_normal(double* out, std::uint64_t first, index_t count, const Draw& draw) {
    kernels().random.normal_f64(out, first, count, draw);
}
void fill_uniform(float* out, std::uint64_t first, index_t count, const Draw& draw) {
    kernels().random.uniform_f32(out, first, count, draw);
}
void fill_uniform(double* out, std::uint64_t first, index_t count, const Draw& draw) {
    kernels().random.uniform_f64(out, first, count, draw);
}
void fill_words(std::uint32_t* out, std::uint64_t first, index_t count, const Draw& draw) {
    kernels().random.words(out, first, count, draw);
}

} // namespace fastopt

// The inner loop of sparse sketches as compiled for one instruction set (csrc/kernels.hpp).
#pragma once

#include "core/types.hpp"

namespace fastopt {

template <class T> struct Scatter {
    const T* from = nullptr; // rows x cols, leading dimension `from_ld`
    T* to = nullptr;         // leading dimension `to_ld`
    index_t from_ld = 0, to_ld = 0, rows = 0, cols = 0, nonzeros = 0;
    const std::uint32_t* target =
        nullptr;              // rows x nonzeros: row of `to`, shifted left by one; sign bit
    const T* scale = nullptr; // one per row, or nullptr
    T unit = 1;
};

template <class T> struct SketchKernels {
    // to[target(i, k)] += +-unit scale_i from[i]
    void (*scatter)(const Scatter<T>&);
    // a = x + y, b = x - y for vectors of length n (one butterfly of the Hadamard transform)
    void (*butterfly)(T* x, T* y, index_t n);
};

template <class T> const SketchKernels<T>& sketch_kernels();

} // namespace fastopt

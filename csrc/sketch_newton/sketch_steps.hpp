// Sketches where the kernels run: a kernel seam, defined by sketch_steps.cpp and sketch_steps.cu.
#pragma once

#include "sketch_newton/sketch.hpp"

namespace fastopt {

// out (size x cols) = S diag(scale) A. A was placed in `queue` (data_matrix.hpp); scale, which may
// be nullptr, and out are kernels' arrays.
template <class T>
void sketch(const std::shared_ptr<Queue>& queue, const DataMatrix<T>& a, const T* scale,
            const SketchOptions& options, T* out);

} // namespace fastopt

// The kernel of exchange.cu: a functor for `each` (launch.cuh).
#pragma once

#include "backend/exchange.hpp"

namespace fastopt {
namespace gpu {

// Bytes: reads From count; writes To count.
template <class From, class To> struct CopyRows {
    Strided<From> from;
    To* to;
    __device__ void operator()(index_t i) const {
        const index_t row = i / from.cols, col = i - row * from.cols;
        to[i] = static_cast<To>(from.data[row * from.row_stride + col * from.col_stride]);
    }
};

} // namespace gpu
} // namespace fastopt

// Errors leave the core as standard exceptions; pybind11 maps them to Python's.
#pragma once

#include <stdexcept>
#include <string>

// Checks stand at the entry of public functions; kernels assume.
#define FASTOPT_REQUIRE(condition, message)                                                        \
    do {                                                                                           \
        if (!(condition)) throw std::invalid_argument(message);                                    \
    } while (false)

namespace fastopt {

// A vendor library (BLAS, LAPACK, CUDA) refused; never the user's fault.
class BackendError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

} // namespace fastopt

// A data matrix as Python holds it.
#pragma once

#include <memory>

#include "bindings/communicator.hpp"
#include "core/error.hpp"
#include "sketch_newton/data_matrix.hpp"

namespace fastopt {

// On NumPy's memory, which it keeps alive; or where the kernels run only, for sketches.
struct PyMatrix {
    py::object values, indices, indptr;
    bool single = false;
    DataMatrix<double> f64;
    DataMatrix<float> f32;
    std::unique_ptr<PyCommunicator> ranks; // that have the other rows
    index_t rows() const { return single ? f32.rows : f64.rows; }
    index_t cols() const { return single ? f32.cols : f64.cols; }
    void require_host() const { FASTOPT_REQUIRE(values, "A must be on the host here"); }
};

} // namespace fastopt

// The other processes, seen from a solver: fastopt.distributed.Ranks.
#pragma once

#include <algorithm>
#include <string>

#include "bindings/arrays.hpp"
#include "core/communicator.hpp"
#include "core/error.hpp"

namespace fastopt {

class PyCommunicator final : public Communicator {
  public:
    explicit PyCommunicator(py::object ranks)
        : ranks_(std::move(ranks)), rank_(ranks_.attr("rank").cast<int>()),
          size_(ranks_.attr("size").cast<int>()) {}
    ~PyCommunicator() override {
        const py::gil_scoped_acquire gil;
        ranks_ = py::object();
    }
    int rank() const override { return rank_; }
    int size() const override { return size_; }
    void allgather(const double* mine, index_t n, double* all) override {
        const py::gil_scoped_acquire gil;
        take(ranks_.attr("allgather")(copy_of(mine, n)), n * size_, all);
    }
    // In pieces, so that the copies stay small beside a large sum.
    void allreduce(double* x, index_t n) override {
        const py::gil_scoped_acquire gil;
        for (index_t i = 0; i < n; i += most) {
            const index_t count = std::min(most, n - i);
            take(ranks_.attr("allreduce")(copy_of(x + i, count)), count, x + i);
        }
    }

  private:
    static constexpr index_t most = index_t{1} << 20; // numbers of one exchange: 8 MB

    static void take(const py::object& answer, index_t n, double* to) {
        const auto array = answer.cast<Rows<double>>();
        FASTOPT_REQUIRE(array.size() == n,
                        "comm: an exchange of " + std::to_string(n) + " numbers returned " +
                            std::to_string(array.size()) +
                            ": allgather must return one row for each rank, and allreduce an "
                            "array of the shape that it got");
        std::copy_n(array.data(), n, to);
    }

    py::object ranks_;
    int rank_, size_;
};

} // namespace fastopt

// One problem on several processes: what a solver asks of the other ranks. Every rank makes the
// same calls in the same order; a rank that cannot leaves by an exception, which ends the others.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "core/types.hpp"

namespace fastopt {

class Communicator {
  public:
    virtual ~Communicator() = default;
    virtual int rank() const = 0;
    virtual int size() const = 0;
    // all = the n numbers of every rank, one rank after another: size() n numbers.
    virtual void allgather(const double* mine, index_t n, double* all) = 0;
    // x = its sum over the ranks, with the same bits on each.
    virtual void allreduce(double* x, index_t n) = 0;
};

// The part of `items` that is a rank's: shares are contiguous, in the order of the ranks, and
// differ by one at most. Without a communicator, all of them.
struct Share {
    index_t begin, end;
    index_t count() const { return end - begin; }
};
inline Share share_of(index_t items, index_t rank, index_t size) {
    return {items / size * rank + std::min(rank, items % size),
            items / size * (rank + 1) + std::min(rank + 1, items % size)};
}
inline Share share_of(index_t items, const Communicator* comm) {
    return comm ? share_of(items, comm->rank(), comm->size()) : Share{0, items};
}

// x = its sum over the ranks; what a process alone has is that already.
inline void sum_over_ranks(Communicator* comm, double* x, index_t n) {
    if (comm) comm->allreduce(x, n);
}

// Whether one of the ranks says so.
inline bool any_rank(Communicator* comm, bool told) {
    if (!comm) return told;
    double number = told ? 1 : 0;
    comm->allreduce(&number, 1);
    return number > 0;
}

// x of rank `from` on all ranks, bit for bit: as whole numbers of 32 bits, which sums keep.
inline void broadcast(Communicator& comm, int from, double* x, index_t n) {
    std::vector<double> halves(2 * static_cast<std::size_t>(n));
    std::uint64_t bits;
    for (index_t k = 0; comm.rank() == from && k < n; ++k) {
        std::memcpy(&bits, x + k, sizeof bits);
        halves[2 * k] = static_cast<double>(bits >> 32);
        halves[2 * k + 1] = static_cast<double>(bits & 0xffffffffu);
    }
    comm.allreduce(halves.data(), 2 * n);
    for (index_t k = 0; k < n; ++k) {
        bits = static_cast<std::uint64_t>(halves[2 * k]) << 32 |
               static_cast<std::uint64_t>(halves[2 * k + 1]);
        std::memcpy(x + k, &bits, sizeof bits);
    }
}

// The sum in double precision.
inline void sum_over_ranks(Communicator* comm, float* x, index_t n) {
    if (!comm) return;
    std::vector<double> sums(x, x + n);
    comm->allreduce(sums.data(), n);
    std::transform(sums.begin(), sums.end(), x, [](double s) { return static_cast<float>(s); });
}

// a = its sum over the ranks in the lower triangle (with the diagonal) or in the strict upper one,
// which alone travels, some rows at a time.
template <class T> void sum_triangle_over_ranks(Communicator* comm, T* a, index_t n, bool lower) {
    if (!comm) return;
    constexpr std::size_t piece = std::size_t{1} << 20;
    std::vector<double> packed;
    for (index_t first = 0, end = 0; first < n; first = end) {
        packed.clear();
        for (; end < n && packed.size() < piece; ++end)
            packed.insert(packed.end(), a + end * n + (lower ? 0 : end + 1),
                          a + end * n + (lower ? end + 1 : n));
        comm->allreduce(packed.data(), static_cast<index_t>(packed.size()));
        const double* from = packed.data();
        for (index_t i = first; i < end; ++i)
            for (index_t j = lower ? 0 : i + 1; j < (lower ? i + 1 : n); ++j)
                a[i * n + j] = static_cast<T>(*from++);
    }
}

// The largest x of all ranks.
inline double max_over_ranks(Communicator* comm, double x) {
    if (!comm) return x;
    std::vector<double> all(static_cast<std::size_t>(comm->size()));
    comm->allgather(&x, 1, all.data());
    return *std::max_element(all.begin(), all.end());
}

} // namespace fastopt

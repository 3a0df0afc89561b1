// One problem on several processes: what a solver asks of the other ranks. Every rank makes the
// same calls in the same order; a rank that cannot leaves by an exception, which ends the others.
#pragma once

#include <algorithm>

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

} // namespace fastopt
